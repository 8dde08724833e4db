"""Who has stood in the table as a follower, from when to when: what the bot has taken on, whatever comes of it."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.sqlite import Disk

Follow = tuple[str, str, str]
"""A job, a channel, and a person."""


@dataclass(slots=True)
class _Stay:
    begins: float
    ends: float | None = None


class Followed:
    """What was committed, read after each commit."""

    def __init__(self, disk: Disk, now: Callable[[], float]) -> None:
        self._disk = disk
        self._now = now
        self._stays: dict[Follow, list[_Stay]] = {}
        self._there: set[Follow] = set()

    def look(self) -> None:
        """Read who stands there."""
        rows = self._disk.rows.execute(
            "SELECT watches.job, watches.channel, followers.user FROM followers "
            "JOIN watches ON watches.id = followers.watch"
        )
        there = set(rows)
        for gone in self._there - there:
            self._stays[gone][-1].ends = self._now()
        for come in there - self._there:
            self._stays.setdefault(come, []).append(_Stay(self._now()))
        self._there = there

    def stood_there(self, follow: Follow, since: float) -> bool:
        """Whether they stood there at that time, or later."""
        return any(stay.ends is None or stay.ends > since for stay in self._stays.get(follow, ()))

    def forget(self) -> None:
        """Drop what is over."""
        self._stays = {follow: self._stays[follow][-1:] for follow in self._there}
