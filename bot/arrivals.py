"""How a command turned out, handed from the coroutine that follows the job to the one that answers the person."""

import asyncio
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


class Arrivals:
    """The people who wait to hear what became of a watch. Several may wait for the same one."""

    def __init__(self) -> None:
        self._expected: dict[WatchId, asyncio.Future[Arrival]] = {}

    def expect(self, watch: WatchId) -> asyncio.Future[Arrival]:
        """Something to wait for; shared with everybody who waits for the same watch."""
        if watch not in self._expected:
            self._expected[watch] = asyncio.get_running_loop().create_future()
        return self._expected[watch]

    def is_awaited(self, watch: WatchId) -> bool:
        """Whether anybody waits to be told."""
        return watch in self._expected

    def came(self, watch: WatchId, arrival: Arrival) -> None:
        """Tell everybody who waits."""
        future = self._expected.pop(watch, None)
        if future is not None and not future.done():
            future.set_result(arrival)

    def forget(self, watch: WatchId) -> None:
        """Nobody waits any more."""
        self._expected.pop(watch, None)
