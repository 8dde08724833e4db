"""The figures as Prometheus reads them: what was counted, how things stand, and nothing that grows or tells."""

import math
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.domain.jobs import JobState
from bot.domain.ports.metrics import GaugeSnapshot, Metrics, RequestOutcome
from bot.server.metrics import DELAY_BUCKETS_SECONDS, STATES, PrometheusMetrics
from tests.support.paths import ROOT

WELL = {"slack": None, "database": None}
Figures = dict[str, float]


def read(
    metrics: PrometheusMetrics,
    *readings: GaugeSnapshot,
    everywhere: int | None = 0,
    problems: dict[str, str | None] | None = None,
) -> Figures:
    """Each sample by its name and labels, as they are written."""
    text = metrics.text(readings, everywhere=everywhere, problems=WELL if problems is None else problems)
    return {
        f"{sample.name.removeprefix('omni_job_bot_')}{_braced(sample.labels)}": sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def _braced(labels: dict[str, str]) -> str:
    return f"{{{','.join(labels.values())}}}" if labels else ""


def test_events_are_counted_by_outcome() -> None:
    metrics = PrometheusMetrics()
    for outcome in (RequestOutcome.OK, RequestOutcome.OK, RequestOutcome.RATE_LIMITED):
        metrics.omni_request(outcome)
    metrics.slack_call("chat.update", RequestOutcome.OK)
    metrics.slack_call("chat.update", RequestOutcome.RATE_LIMITED)
    metrics.webhook(200)
    metrics.edit_sent()
    for _ in range(3):
        metrics.edit_coalesced()
    figures = read(metrics)
    assert figures["omni_requests_total{ok}"] == 2
    assert figures["omni_requests_total{rate_limited}"] == 1
    assert figures["slack_calls_total{chat.update,ok}"] == 1
    assert figures["slack_calls_total{chat.update,rate_limited}"] == 1
    assert (figures["webhooks_total{200}"], figures["webhooks_total{401}"]) == (1, 0)
    assert (figures["edits_sent_total"], figures["edits_coalesced_total"]) == (1, 3)


def test_outcome_series_start_at_zero() -> None:
    figures = read(PrometheusMetrics())
    assert [figures[f"omni_requests_total{{{outcome}}}"] for outcome in RequestOutcome] == [0.0] * len(
        RequestOutcome
    )


def test_end_delay_falls_into_its_bucket() -> None:
    metrics = PrometheusMetrics()
    for seconds in (0.2, 2.5, 4_000.0):
        metrics.end_shown(seconds)
    figures = read(metrics)
    assert figures["end_delay_seconds_count"] == 3
    assert figures["end_delay_seconds_sum"] == pytest.approx(4_002.7)
    assert figures["end_delay_seconds_bucket{0.5}"] == 1
    assert figures["end_delay_seconds_bucket{2.0}"] == 1
    assert figures["end_delay_seconds_bucket{3.0}"] == 2
    assert figures[f"end_delay_seconds_bucket{{{float(DELAY_BUCKETS_SECONDS[-1])}}}"] == 2
    assert figures["end_delay_seconds_bucket{+Inf}"] == 3


def test_jobs_are_counted_by_current_state() -> None:
    metrics = PrometheusMetrics()
    states = [JobState.EXECUTING, JobState.EXECUTING, JobState.UNKNOWN, None]
    figures = read(
        metrics, GaugeSnapshot(states=states), GaugeSnapshot(states=[JobState.EXECUTING]), everywhere=9
    )
    assert {state: figures[f"follows{{{state}}}"] for state in STATES} == dict.fromkeys(STATES, 0) | {
        "executing": 3,
        "unknown": 1,
        "unseen": 1,
    }
    assert figures["follows_everywhere"] == 9
    assert sum(read(metrics)[f"follows{{{state}}}"] for state in STATES) == 0


def test_every_job_state_has_a_series() -> None:
    figures = read(PrometheusMetrics(), GaugeSnapshot(states=[*JobState, None]))
    assert [figures[f"follows{{{state}}}"] for state in STATES] == [1] * (len(JobState) + 1)


def test_tightest_key_is_shown() -> None:
    readings = [
        GaugeSnapshot(requests_per_minute=60, requests_left=2.5, waiting={"cards": 1, "interactions": 0}),
        GaugeSnapshot(requests_per_minute=500, requests_left=0.5, waiting={"cards": 2, "interactions": 1}),
        GaugeSnapshot(requests_per_minute=60, requests_left=None),
    ]
    figures = read(PrometheusMetrics(), *readings)
    assert (figures["omni_requests_left"], figures["omni_requests_per_minute"]) == (0.5, 620)
    assert (figures["waiting{cards}"], figures["waiting{interactions}"]) == (3, 1)


def test_closed_workspace_has_no_queues() -> None:
    metrics = PrometheusMetrics()
    assert read(metrics, GaugeSnapshot(waiting={"cards": 3}))["waiting{cards}"] == 3
    assert read(metrics).get("waiting{cards}", 0) == 0


def test_unknown_job_count_is_nan() -> None:
    metrics = PrometheusMetrics()
    read(metrics, GaugeSnapshot(requests_left=3.0), everywhere=7)
    figures = read(metrics, GaugeSnapshot(requests_left=None), everywhere=None)
    assert math.isnan(figures["omni_requests_left"]) and math.isnan(figures["follows_everywhere"])


@pytest.mark.parametrize(
    "problems, ready", [(WELL, 1), ({"slack": None, "database": "can't be written"}, 0), ({}, 0)]
)
def test_each_part_has_a_health_gauge(problems: dict[str, str | None], ready: int) -> None:
    figures = read(PrometheusMetrics(), problems=problems)
    assert figures["ready"] == ready
    assert {part: figures[f"part_up{{{part}}}"] for part in problems} == {
        part: float(problem is None) for part, problem in problems.items()
    }


def test_two_are_apart() -> None:
    one, other = PrometheusMetrics(), PrometheusMetrics()
    one.edit_sent()
    assert read(other)["edits_sent_total"] == 0


def test_number_of_series_is_bounded() -> None:
    metrics, numbers = PrometheusMetrics(), set()
    for jobs in (1, 100, 1_000):
        for outcome in RequestOutcome:
            metrics.omni_request(outcome)
            metrics.slack_call("chat.update", outcome)
        metrics.end_shown(float(jobs))
        numbers.add(len(read(metrics, GaugeSnapshot(states=[*JobState] * jobs, waiting={"cards": jobs}))))
    assert len(numbers) == 1 and max(numbers) < 150


def test_docs_list_exactly_the_metrics() -> None:
    text = PrometheusMetrics().text([], everywhere=0, problems={}).decode()
    kinds = dict(re.findall(r"^# TYPE (omni_job_bot_\w+) (\w+)$", text, re.MULTILINE))
    kinds = {name: kind for name, kind in kinds.items() if not name.endswith("_created")}
    told = (ROOT / "docs" / "operating.md").read_text("utf-8")
    assert dict(re.findall(r"^\| `(omni_job_bot_\w+)` \| (\w+) \|", told, re.MULTILINE)) == kinds
    used = set(re.findall(r"omni_job_bot_\w+", told))
    assert {name.removesuffix("_bucket") for name in used} <= kinds.keys()


def test_the_docs_name_every_outcome() -> None:
    told = (ROOT / "docs" / "operating.md").read_text("utf-8")
    (row,) = re.findall(r"^\| `omni_job_bot_omni_requests_total` .*$", told, re.MULTILINE)
    assert {outcome for outcome in RequestOutcome if f"`{outcome}`" not in row} == set()


def test_it_is_a_meter() -> None:
    metrics: Metrics = PrometheusMetrics()
    assert metrics
