"""Port to the metrics: use cases report events, `server.metrics` counts them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from bot.domain.jobs import JobState
from bot.domain.results import Rating


class RequestOutcome(StrEnum):
    """Outcome of a request to Omni or Slack. Few values, since each is a time series."""

    OK = "ok"
    RATE_LIMITED = "rate_limited"
    """429, or Slack's error code for it."""
    KEY_REFUSED = "key_refused"
    """The key or the token is not accepted."""
    REFUSED = "refused"
    """Refused for another reason."""
    SERVER_ERROR = "server_error"
    """5xx, or the error of a gateway before Omni. A 5xx of Slack's Web API counts as unanswered."""
    UNANSWERED = "unanswered"
    """No usable response, or not in time; the request may have had its effect."""
    NOT_SENT = "not_sent"
    """There was no connection."""
    ABANDONED = "abandoned"
    """The caller was cancelled, or the process ended."""


class Metrics(Protocol):
    """Counters. No method raises or waits."""

    def omni_request(self, outcome: RequestOutcome) -> None:
        """Count a request to Omni, which costs one of the key's budget."""
        ...

    def slack_call(self, method: str, outcome: RequestOutcome) -> None:
        """Count a call of a Web API method, by Slack's name, or of a response_url."""
        ...

    def webhook(self, status: int) -> None:
        """Count a request to the webhook endpoint by the status of its response."""
        ...

    def edit_sent(self) -> None:
        """Count an edit of a card that Slack accepted."""
        ...

    def edit_coalesced(self) -> None:
        """Count a pending update that a newer one replaced before it was sent."""
        ...

    def end_shown(self, after_seconds: float) -> None:
        """Count a final update, so many seconds after the job ended by Omni's clock."""
        ...

    def answer_rated(self, rating: Rating) -> None:
        """Count a user's feedback on an answer."""
        ...


class NoMetrics:
    """`Metrics` that count nothing."""

    def omni_request(self, outcome: RequestOutcome) -> None:
        """See `Metrics.omni_request`."""

    def slack_call(self, method: str, outcome: RequestOutcome) -> None:
        """See `Metrics.slack_call`."""

    def webhook(self, status: int) -> None:
        """See `Metrics.webhook`."""

    def edit_sent(self) -> None:
        """See `Metrics.edit_sent`."""

    def edit_coalesced(self) -> None:
        """See `Metrics.edit_coalesced`."""

    def end_shown(self, after_seconds: float) -> None:
        """See `Metrics.end_shown`."""

    def answer_rated(self, rating: Rating) -> None:
        """See `Metrics.answer_rated`."""


NO_METRICS = NoMetrics()


@dataclass(frozen=True, slots=True)
class GaugeSnapshot:
    """Gauges of one workspace at one moment, as this process sees it."""

    states: Sequence[JobState | None] = ()
    """The state of each job that this process tracks; None before the first poll."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """The length of each queue, by the queue's name; the names are fixed."""
    requests_per_minute: int = 0
    """Omni's limit for the key; 0 if another snapshot already has it for the same key."""
    lists_conversations: bool = False
    """Whether the list of conversations is in use for the key."""
    requests_left: float | None = None
    """How many requests to Omni could be sent without a wait. None if the database is down."""
