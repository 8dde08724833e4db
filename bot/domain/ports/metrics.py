"""What is counted for whoever runs the bot. Who keeps the counts is `metrics`; the core only says what has happened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from bot.domain.jobs import JobState


class RequestOutcome(StrEnum):
    """What came of a request to Omni or Slack. Few, since each is a time series of its own where they are collected."""

    OK = "ok"
    RATE_LIMITED = "rate_limited"
    """429, or Slack's words for it."""
    KEY_REFUSED = "key_refused"
    """The key or the token is not taken."""
    REFUSED = "refused"
    """The service says no, for another reason."""
    SERVER_ERROR = "server_error"
    """5xx, or a gateway's error in the place of Omni. The effect of a 5xx of Slack's Web API is unknown, so it is
    unanswered."""
    UNANSWERED = "unanswered"
    """Nothing usable came back, or not in time; the request may have had its effect."""
    NOT_SENT = "not_sent"
    """There was no connection."""
    ABANDONED = "abandoned"
    """Whoever waited for it has given up, or the process ended."""


class Metrics(Protocol):
    """Takes note. No method raises or waits."""

    def omni_request(self, outcome: RequestOutcome) -> None:
        """A request has gone to Omni, at the cost of one from the key's budget."""
        ...

    def slack_call(self, method: str, outcome: RequestOutcome) -> None:
        """A method of Slack's Web API was called, by Slack's own name, or an address that it gave for an answer."""
        ...

    def webhook(self, status: int) -> None:
        """Omni, or somebody else, has called the address at which it tells of jobs, and was answered that."""
        ...

    def edit_sent(self) -> None:
        """Slack has taken the edit of a card."""
        ...

    def edit_coalesced(self) -> None:
        """A look that was wished for was replaced by a newer one before it was sent."""
        ...

    def end_shown(self, after_seconds: float) -> None:
        """A card shows how its job ended, so long after it ended by Omni's clock."""
        ...


class NoMetrics:
    """A `Metrics` for where nobody asks."""

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


NO_METRICS = NoMetrics()


@dataclass(frozen=True, slots=True)
class GaugeSnapshot:
    """How one Slack workspace and its Omni stand at one moment, as this process sees it."""

    states: Sequence[JobState | None] = ()
    """Of each job that this process follows; None for one that Omni has not been heard of yet."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """How much waits in each queue, by the queue's name; the names are fixed."""
    requests_per_minute: int = 0
    """What Omni allows the key; 0 where another reading says so of the same key."""
    requests_left: float | None = None
    """How many requests to Omni could go without a wait. None if the database does not say."""
