"""Requesters and followers in the database over time: the jobs that the bot has accepted."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from tests.simulation.sqlite import Disk

Follow = tuple[str, str, str]
"""A job, a channel, and a person."""


class Row(NamedTuple):
    """A card's row."""

    job: str
    channel: str
    requester: str
    asked_at: float
    is_given_up: bool


class Followed:
    """Committed rows, read after each commit."""

    def __init__(self, disk: Disk, now: Callable[[], float]) -> None:
        self._disk = disk
        self._now = now
        self._rows: dict[str, Row] = {}
        """By their ids, with the requesters that they should have."""
        self._there: set[tuple[str, str]] = set()
        """The ids of rows, and who follows them."""
        self._gone_at: dict[Follow, float] = {}
        self._firsts: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        """For each job who was its first requester from when on; empty where there was none."""
        self.requesters: defaultdict[str, set[str]] = defaultdict(set)
        """Who was ever stored as a requester of a job."""
        self.changed_hands: dict[tuple[Row, str], None] = {}
        """The rows whose requester was replaced by one that did not ask before, with that one."""
        self.dropped: list[Follow] = []
        """Followers who were removed from a job that stayed, unless they were notified that it has no card."""

    def look(self) -> None:
        """Read who stands there."""
        before, rows = self._rows, self._read_rows()
        there = set(self._disk.rows.execute("SELECT watch, user FROM followers"))
        for id_, row in rows.items():
            kept = before.get(id_)
            if kept is not None and kept.requester != row.requester and not _is_merged(row, before):
                self.changed_hands[kept, row.requester] = None
                rows[id_] = row._replace(requester=kept.requester, asked_at=kept.asked_at)
        self._rows = rows
        here = {(rows[id_].job, user) for id_, user in there}
        for id_, user in sorted(self._there - there):
            was = before[id_]
            self._gone_at[was.job, was.channel, user] = self._now()
            if id_ in rows and not was.is_given_up and (was.job, user) not in here:
                self.dropped.append((was.job, was.channel, user))
        self._there = there
        if rows != before:
            self._note_firsts(before)

    def _read_rows(self) -> dict[str, Row]:
        read = self._disk.rows.execute(
            "SELECT id, job, channel, requester, asked_at, "
            "given_up IS NOT NULL AND closed_at IS NOT NULL AND card IS NULL FROM watches"
        )
        return {id_: Row(*row) for id_, *row in read}

    def _note_firsts(self, before: dict[str, Row]) -> None:
        by_age = sorted(self._rows.items(), key=lambda item: (item[1].asked_at, item[0]))
        firsts: dict[str, str] = {}
        for _, row in by_age:
            self.requesters[row.job].add(row.requester)
            if not row.is_given_up:
                firsts.setdefault(row.job, row.requester)
        for job in {row.job for row in (*before.values(), *self._rows.values())}:
            first = firsts.get(job, "")
            if not self._firsts[job] or self._firsts[job][-1][1] != first:
                self._firsts[job].append((self._now(), first))

    def stood_there(self, follow: Follow, since: float) -> bool:
        """Whether they stood there at that time, or later."""
        job, channel, user = follow
        is_there = any(
            (self._rows[id_].job, self._rows[id_].channel) == (job, channel)
            for id_, one in self._there
            if one == user
        )
        return is_there or self._gone_at.get(follow, since) > since

    def firsts(self, job: str, since: float, until: float) -> set[str]:
        """Who was the first requester of a job between those times; with an empty name where there was none."""
        times = self._firsts[job]
        begun = bisect_right(times, since, key=lambda entry: entry[0])
        at_first = times[begun - 1][1] if begun else ""
        return {at_first, *(first for at, first in times[begun:] if at <= until)}

    def forget(self) -> None:
        """Drop what is over."""
        self._gone_at.clear()
        self._firsts.clear()
        self.requesters.clear()


def _is_merged(row: Row, before: dict[str, Row]) -> bool:
    """Whether another row of its job had that requester, who asked then: the two have become one."""
    return any(
        (other.job, other.requester, other.asked_at) == (row.job, row.requester, row.asked_at)
        for other in before.values()
    )
