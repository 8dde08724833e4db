"""The figures for Prometheus: what is counted as it happens, and how things stand when they are asked for.

No label holds an id or anything that people type: the number of time series is bounded, and nothing in them is secret.
Source of the format and of how to name things: prometheus.io/docs/instrumenting/exposition_formats and
prometheus.io/docs/practices/naming.
"""

import hmac
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from bot.domain import JobState, StoreUnavailable
from bot.domain.ports import GaugeSnapshot, RequestOutcome
from bot.server.health import Health

NAMESPACE = "omni_job_bot"

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

DELAY_BUCKETS_SECONDS = (0.5, 1, 2, 3, 4, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 900, 3_600)
"""Close together where the delay is on most days, and wide apart where something is wrong."""

UNSEEN = "unseen"
"""The state of a job that Omni has not been heard of yet."""

STATES = (*(state.value.lower() for state in JobState), UNSEEN)
"""A job that has ended is followed until its cards show it and its people are told."""


class PrometheusMetrics:
    """`Metrics` over a registry of its own, so that several can be in one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._omni_requests = self._counter(
            "omni_requests", "Requests sent to Omni, by what came of them.", "outcome"
        )
        self._slack_calls = self._counter(
            "slack_calls", "Calls of Slack's Web API, by method and what came of them.", "method", "outcome"
        )
        self._webhooks = self._counter(
            "webhooks", "What Omni tells by itself, by the answer to it.", "status"
        )
        self._edits_sent = self._counter("edits_sent", "Edits of cards that Slack has taken.")
        self._edits_coalesced = self._counter(
            "edits_coalesced", "Looks of cards that a newer one replaced before they were sent."
        )
        self._end_delay = Histogram(
            "end_delay_seconds",
            "From the end of a job, by Omni's clock, until a card shows it.",
            namespace=NAMESPACE,
            buckets=DELAY_BUCKETS_SECONDS,
            registry=self._registry,
        )
        self._tracked = self._gauge(
            "follows", "Jobs that this process follows, by their state in Omni.", "state"
        )
        self._follows_everywhere = self._gauge(
            "follows_everywhere", "Jobs that are to be followed, by whichever process; NaN if not known."
        )
        self._waiting = self._gauge("waiting", "What waits in a queue of this process.", "queue")
        self._requests_left = self._gauge(
            "omni_requests_left", "Requests to Omni that could go without a wait; NaN if not known."
        )
        self._requests_per_minute = self._gauge(
            "omni_requests_per_minute", "Requests that Omni allows in a minute."
        )
        self._part_up = self._gauge("part_up", "Whether what the bot depends on works: 1, or 0.", "part")
        self._ready = self._gauge("ready", "What /readyz says: 1 if ready, or 0.")
        for outcome in RequestOutcome:
            # A series that begins with its first failure shows no increase by it.
            self._omni_requests.labels(outcome.value)
        for status in ("200", "401", "503"):
            self._webhooks.labels(status)

    def omni_request(self, outcome: RequestOutcome) -> None:
        """See `Metrics.omni_request`."""
        self._omni_requests.labels(outcome.value).inc()

    def slack_call(self, method: str, outcome: RequestOutcome) -> None:
        """See `Metrics.slack_call`."""
        self._slack_calls.labels(method, outcome.value).inc()

    def webhook(self, status: int) -> None:
        """See `Metrics.webhook`."""
        self._webhooks.labels(str(status)).inc()

    def edit_sent(self) -> None:
        """See `Metrics.edit_sent`."""
        self._edits_sent.inc()

    def edit_coalesced(self) -> None:
        """See `Metrics.edit_coalesced`."""
        self._edits_coalesced.inc()

    def end_shown(self, after_seconds: float) -> None:
        """See `Metrics.end_shown`."""
        self._end_delay.observe(after_seconds)

    def text(
        self, readings: Sequence[GaugeSnapshot], *, everywhere: int | None, problems: Mapping[str, str | None]
    ) -> bytes:
        """Everything, in Prometheus' text format.

        Args:
            readings: one for each workspace.
            everywhere: how many jobs are to be followed in all processes; None if the database does not say.
            problems: what is wrong with each part that the bot depends on; None where nothing is.
        """
        self._show_follows(readings, everywhere)
        waiting: Tally[str] = Tally()
        for reading in readings:
            waiting.update(reading.waiting)
        # Of a workspace that has closed, nothing waits any more.
        self._waiting.clear()
        for queue, number in waiting.items():
            self._waiting.labels(queue).set(number)
        self._show_budget(readings)
        for part, problem in problems.items():
            self._part_up.labels(part).set(problem is None)
        self._ready.set(bool(problems) and not any(problems.values()))
        return generate_latest(self._registry)

    def _show_follows(self, readings: Sequence[GaugeSnapshot], everywhere: int | None) -> None:
        states = Tally(
            UNSEEN if state is None else state.value.lower()
            for reading in readings
            for state in reading.states
        )
        for state in STATES:
            self._tracked.labels(state).set(states[state])
        self._follows_everywhere.set(_or_nan(everywhere))

    def _show_budget(self, readings: Sequence[GaugeSnapshot]) -> None:
        """Of several keys, the tightest: that is the one whose people wait."""
        left = [reading.requests_left for reading in readings if reading.requests_left is not None]
        self._requests_left.set(_or_nan(min(left, default=None)))
        self._requests_per_minute.set(sum(reading.requests_per_minute for reading in readings))

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, namespace=NAMESPACE, registry=self._registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(name, what, labels, namespace=NAMESPACE, registry=self._registry)


def _or_nan(number: float | None) -> float:
    return float("nan") if number is None else float(number)


class MetricsEndpoint:
    """What `/metrics` answers. `read` and `count` are set once there is something to be read."""

    def __init__(self, token: str | None, metrics: PrometheusMetrics, health: Health) -> None:
        """`token`: what has to be sent. None: there is no `/metrics`, since on the same port may be what all the
        internet reaches."""
        self.read: Callable[[], Awaitable[Sequence[GaugeSnapshot]]] = _nothing
        """How each workspace stands."""
        self.count: Callable[[], Awaitable[int | None]] = _not_known
        """How many jobs are to be followed in all processes. Raises StoreUnavailable."""
        self._token = token
        self._metrics = metrics
        self._health = health

    def routes(self) -> list[web.RouteDef]:
        """What Prometheus asks.

        - `/metrics`: 200 and the figures for `Authorization: Bearer METRICS_TOKEN`, else 401. Also while the bot is not
          ready: the figures say so.
        """
        if self._token is None:
            return []
        expected = f"Bearer {self._token}".encode()

        async def metrics(request: web.Request) -> web.Response:
            sent = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(sent, expected):
                return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"}, text="unauthorized\n")
            return web.Response(body=await self._text(), headers={"Content-Type": CONTENT_TYPE})

        return [web.get("/metrics", metrics)]

    async def _text(self) -> bytes:
        problems = await self._health.problems()
        try:
            everywhere = await self.count()
        except StoreUnavailable:
            everywhere = None
        return self._metrics.text(await self.read(), everywhere=everywhere, problems=problems)


async def _nothing() -> Sequence[GaugeSnapshot]:
    return ()


async def _not_known() -> None:
    return None
