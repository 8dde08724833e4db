"""What the button `Cancel job` does: asks Omni to cancel, and tells apart what may come of it."""

from collections.abc import Awaitable, Callable

from bot.access import Access
from bot.ask import Asking
from bot.job import JobId
from bot.ports import Message, Watches
from bot.watch import Place, Ts, UserId, WatchId


class CancelDesk:
    """Takes clicks from people. Returns the line to tell them privately, and raises nothing that a person or the
    world around can cause."""

    def __init__(
        self, *, asking: Asking, watches: Watches, access: Access, start: Callable[[JobId], Awaitable[None]]
    ) -> None:
        """`start` sees that a job is followed."""
        self._asking = asking
        self._watches = watches
        self._access = access
        self._start = start

    async def cancel(self, watch: WatchId, place: Place, card: Ts, user: UserId) -> Message | None:
        """Cancel the job of a card. The watch, named by a button, must be the one of that card."""
        raise NotImplementedError
