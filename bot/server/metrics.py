"""Prometheus metrics, and the `/metrics` endpoint.

No label holds an id or a text, so the number of time series is bounded and none is secret.
Source of format and names: prometheus.io/docs/instrumenting/exposition_formats and
prometheus.io/docs/practices/naming.
"""

from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from bot.domain import JobState, Rating, StoreUnavailable
from bot.domain.ports import GaugeSnapshot, RequestOutcome
from bot.server.health import Health
from bot.server.http import has_bearer_token

NAMESPACE = "omni_job_bot"

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

DELAY_BUCKETS_SECONDS = (0.5, 1, 2, 3, 4, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 900, 3_600)
"""Narrow buckets for usual delays, wide ones for problems."""

UNSEEN = "unseen"
"""The state of a job that was not polled yet."""

STATES = (*(state.value.lower() for state in JobState), UNSEEN)
"""Includes final states: a job is tracked until its cards show the end and its followers were notified."""


class PrometheusMetrics:
    """`Metrics` with a registry of its own, so that one process can have several."""

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
            "webhooks", "Webhook requests from Omni, by the HTTP status of the response.", "status"
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
            "follows_everywhere", "Open jobs of all processes; NaN if unknown."
        )
        self._waiting = self._gauge("waiting", "Entries in a queue of this process.", "queue")
        self._requests_left = self._gauge(
            "omni_requests_left", "Requests to Omni that could be sent without waiting; NaN if unknown."
        )
        self._requests_per_minute = self._gauge(
            "omni_requests_per_minute", "Requests per minute that Omni allows."
        )
        self._conversation_list = self._gauge(
            "conversation_list", "Whether the list of Omni's conversations is in use: 1 or 0."
        )
        self._part_up = self._gauge(
            "part_up", "Whether a part that the bot depends on works: 1 or 0.", "part"
        )
        self._ready = self._gauge("ready", "Result of /readyz: 1 if ready, else 0.")
        self._ratings = self._counter("answers_rated", "Ratings of answers by users.", "rating")
        for rating in Rating:
            self._ratings.labels(rating.value)
        for outcome in RequestOutcome:
            # Without an initial 0, Prometheus would not see the first failure as an increase.
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

    def answer_rated(self, rating: Rating) -> None:
        """See `Metrics.answer_rated`."""
        self._ratings.labels(rating.value).inc()

    def text(
        self, readings: Sequence[GaugeSnapshot], *, everywhere: int | None, problems: Mapping[str, str | None]
    ) -> bytes:
        """Render all metrics in Prometheus' text format.

        Args:
            readings: one for each workspace.
            everywhere: the number of open jobs in all processes; None if the database is unavailable.
            problems: the problem of each part, or None.
        """
        self._show_follows(readings, everywhere)
        waiting: Tally[str] = Tally()
        for reading in readings:
            waiting.update(reading.waiting)
        # Drops the queues of closed workspaces.
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
        """Of several keys, show the one with the fewest requests left: its users wait."""
        left = [reading.requests_left for reading in readings if reading.requests_left is not None]
        self._requests_left.set(_or_nan(min(left, default=None)))
        self._conversation_list.set(any(reading.lists_conversations for reading in readings))
        self._requests_per_minute.set(sum(reading.requests_per_minute for reading in readings))

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, namespace=NAMESPACE, registry=self._registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(name, what, labels, namespace=NAMESPACE, registry=self._registry)


def _or_nan(number: float | None) -> float:
    return float("nan") if number is None else float(number)


class MetricsEndpoint:
    """The endpoint `/metrics`. `read` and `count` are set when the bot has started."""

    def __init__(self, token: str | None, metrics: PrometheusMetrics, health: Health) -> None:
        """`token`: the bearer token. Without one there is no `/metrics`, since the port may be public."""
        self.read: Callable[[], Awaitable[Sequence[GaugeSnapshot]]] = _nothing
        """Reads the gauges of each workspace."""
        self.count: Callable[[], Awaitable[int | None]] = _not_known
        """Counts the open jobs of all processes. Raises StoreUnavailable."""
        self._token = token
        self._metrics = metrics
        self._health = health

    def routes(self) -> list[web.RouteDef]:
        """Return the route: 200 with `Authorization: Bearer METRICS_TOKEN`, else 401. Works before the bot is ready."""
        if self._token is None:
            return []
        token = self._token

        async def metrics(request: web.Request) -> web.Response:
            if not has_bearer_token(request, token):
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
