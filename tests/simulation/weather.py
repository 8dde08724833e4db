"""Schedules of failures. Every failure ends, so that all accepted work can finish."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.simulation.wire import OK, Fate

SLACK_TROUBLE = (
    "busy",
    "refused",
    "reset",
    "reset_after",
    "down",
    "down_after",
    "nonsense",
    "slow",
    "late",
)
OMNI_TROUBLE = ("busy", "refused", "reset", "reset_after", "down", "nonsense", "slow", "late", "gone")
DISK_TROUBLE = ("locked", "full", "lost", "slow")


@dataclass(frozen=True, slots=True)
class Front:
    """So often, from then to then, the requests to a service meet one of these fates."""

    service: str
    """"slack", "omni", "whisper" or "disk"."""
    begins: float
    ends: float
    share: float
    kinds: tuple[str, ...]
    on: str = ""
    """Only requests with this in their name; all if empty."""


class Weather:
    """Decides the fate of each request."""

    def __init__(self, fronts: list[Front], random: Random, seconds: Callable[[], float]) -> None:
        self.fronts = fronts
        self._random = random
        self._seconds = seconds
        self.may_be_gone: Callable[[str], bool] = lambda _name: False
        """Whether a request to Omni may meet a 404 that is not meant."""

    @property
    def clears_at(self) -> float:
        """When the last front has passed."""
        return max((front.ends for front in self.fronts), default=0.0)

    def fate(self, service: str, name: str) -> Fate:
        """Outcome of a request."""
        kind = self._met(service, name)
        if kind is None or (kind == "gone" and not self.may_be_gone(name)):
            return OK
        if kind == "busy":
            return Fate(kind, self._random.choice((1, 1, 3, 20)))
        if kind == "busy_briefly":
            return Fate("busy", 1)
        if kind == "slow":
            return Fate(kind, self._random.choice((0.5, 3.0, 9.0, 9.0)))
        return Fate(kind)

    def of_disk(self, sql: str) -> tuple[float, str | None]:
        """How long a statement takes, and what is wrong with it."""
        kind = self._met("disk", sql)
        if kind is None:
            return 0.0, None
        if kind == "slow":
            return self._random.choice((0.01, 0.3, 4.0)), None
        if kind == "full" and sql.startswith(("SELECT", "BEGIN", "PRAGMA")):
            return 0.0, None
        if kind == "locked" and sql.startswith(("BEGIN", "PRAGMA")):
            return 0.0, None
        return 0.0, kind

    def _met(self, service: str, name: str) -> str | None:
        now = self._seconds()
        for front in self.fronts:
            if (
                front.service == service
                and front.begins <= now < front.ends
                and front.on in name
                and self._random.random() < front.share
            ):
                return self._random.choice(front.kinds)
        return None
