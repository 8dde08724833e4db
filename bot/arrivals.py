"""How a command turned out, handed from the coroutine that follows the job to the one that answers the person."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

from bot.watch import WatchId


class Arrival(Enum):
    """What became of a new watch."""

    POSTED = auto()
    """Its card is in its place."""
    MOVED = auto()
    """The bot can't post there; the card goes to the direct messages of those who follow."""
    NOWHERE = auto()
    """The bot can't post there nor in the person's direct messages."""
    NO_SUCH_JOB = auto()
    """Omni knows no such job; nothing was posted."""
    KEY_REFUSED = auto()
    """Omni refuses the bot's key; nothing was posted."""
    UNCONFIRMED = auto()
    """Slack did not say whether it took the card, and it can't be looked for; the watch was given up."""


@dataclass(slots=True)
class _Expected:
    arrival: asyncio.Future[Arrival]
    waiting: int = 0


class Arrivals:
    """The people who wait to hear what became of a watch. Several may wait for the same one."""

    def __init__(self) -> None:
        self._expected: dict[WatchId, _Expected] = {}

    @contextmanager
    def waiting(self, watch: WatchId) -> Iterator[asyncio.Future[Arrival]]:
        """What to wait for, as long as the context lasts; shared with everybody who waits for the watch."""
        expected = self._expected.get(watch)
        if expected is None:
            expected = self._expected[watch] = _Expected(asyncio.get_running_loop().create_future())
        expected.waiting += 1
        try:
            yield expected.arrival
        finally:
            expected.waiting -= 1
            if expected.waiting == 0 and self._expected.get(watch) is expected:
                del self._expected[watch]

    def is_awaited(self, watch: WatchId) -> bool:
        """Whether anybody waits to be told."""
        return watch in self._expected

    def came(self, watch: WatchId, arrival: Arrival) -> None:
        """Tell everybody who waits."""
        expected = self._expected.pop(watch, None)
        if expected is not None and not expected.arrival.done():
            expected.arrival.set_result(arrival)
