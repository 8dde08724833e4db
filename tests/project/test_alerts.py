"""Alerting rules are valid PromQL and use the bot's metrics."""

import re
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bot.domain.jobs import JobState
from bot.domain.ports.metrics import GaugeSnapshot, RequestOutcome
from bot.server.metrics import PrometheusMetrics
from tests.support.paths import ROOT

DOCS = ROOT / "docs"
DOCUMENT: dict[str, Any] = yaml.safe_load((DOCS / "alerts.yml").read_text("utf-8"))
QUERIES = re.findall(r"`(\w+\([^`]*omni_job_bot_[^`]*)`", (DOCS / "operating.md").read_text("utf-8"))
RULES: list[dict[str, Any]] = [rule for group in DOCUMENT["groups"] for rule in group["rules"]]
PROMETHEUS_OWN = "up"
each_rule = pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])


def exposed() -> dict[str, list[dict[str, str]]]:
    """The labels of every series that the bot shows, by its name, when all has happened once."""
    metrics = PrometheusMetrics()
    for outcome in RequestOutcome:
        metrics.omni_request(outcome)
        metrics.slack_call("chat.update", outcome)
    metrics.edit_sent()
    metrics.end_shown(1.0)
    reading = GaugeSnapshot(
        states=[JobState.QUEUED], waiting=dict.fromkeys(["omni_requests", "cards", "interactions"], 1)
    )
    problems = dict.fromkeys(["slack", "token", "database", "follows"])
    text = metrics.text([reading], everywhere=1, problems=problems).decode()
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(dict(sample.labels))
    return found


def selectors(expression: Any) -> list[Any]:
    """Every selector of series in an expression."""
    if isinstance(expression, promql_parser.VectorSelector):
        return [expression]
    parts = [getattr(expression, name, None) for name in ("expr", "lhs", "rhs", "vector_selector")]
    inner = [part for part in [*parts, *getattr(expression, "args", [])] if part is not None]
    return [selector for part in inner for selector in selectors(part)]


@each_rule
def test_rules_query_existing_series(rule: dict[str, Any]) -> None:
    found = selectors(promql_parser.parse(rule["expr"]))

    assert found
    for selector in found:
        if selector.name != PROMETHEUS_OWN:
            assert selector.name in exposed()
            for matcher in selector.matchers.matchers:
                has = {labels.get(matcher.name) for labels in exposed()[selector.name]}
                assert set(matcher.value.split("|")) <= has


@pytest.mark.parametrize("query", QUERIES)
def test_documented_queries_use_existing_series(query: str) -> None:
    found = selectors(promql_parser.parse(query))

    assert found
    assert {selector.name for selector in found} <= set(exposed())


def test_docs_contain_queries() -> None:
    assert len(QUERIES) >= 5


@each_rule
def test_rules_group_by_existing_labels(rule: dict[str, Any]) -> None:
    (*_, first) = exposed()[selectors(promql_parser.parse(rule["expr"]))[0].name] if by(rule) else [{}]

    assert by(rule) <= set(first)
    assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= by(rule)


@each_rule
def test_rules_have_severity_and_remedy(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"]


def test_rule_names_are_unique() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def by(rule: dict[str, Any]) -> set[str]:
    return {label for labels in re.findall(r"by \((\w+)\)", rule["expr"]) for label in labels.split(", ")}
