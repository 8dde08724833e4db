"""Who has stood in the table as a follower, and until when: what the bot has taken on, whatever comes of it."""

from collections.abc import Callable

from tests.simulation.sqlite import Disk

Follow = tuple[str, str, str]
"""A job, a channel, and a person."""


class Followed:
    """What was committed, read after each commit."""

    def __init__(self, disk: Disk, now: Callable[[], float]) -> None:
        self._disk = disk
        self._now = now
        self._there: set[Follow] = set()
        self._gone_at: dict[Follow, float] = {}

    def look(self) -> None:
        """Read who stands there."""
        rows = self._disk.rows.execute(
            "SELECT watches.job, watches.channel, followers.user FROM followers "
            "JOIN watches ON watches.id = followers.watch"
        )
        there = set(rows)
        self._gone_at |= dict.fromkeys(self._there - there, self._now())
        self._there = there

    def stood_there(self, follow: Follow, since: float) -> bool:
        """Whether they stood there at that time, or later."""
        return follow in self._there or self._gone_at.get(follow, since) > since

    def forget(self) -> None:
        """Drop what is over."""
        self._gone_at.clear()
