"""What people can have asked of Omni: a question, one that goes on from an answer, and the same one again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from bot.access import Access
from bot.arrivals import Arrivals
from bot.ask import Asking, ModelId
from bot.asks import Asks
from bot.desk import Desk
from bot.job import JobId
from bot.ports import Board, Message, Omni, Watches
from bot.watch import Place, Ts, UserId, WatchId
from bot.whole import WholeSteps


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants to have asked."""

    prompt: str = field(repr=False)
    model: ModelId | None = None
    """None: the one that they chose last, or else the operator's."""
    topic: str | None = None
    private: bool = False
    """Whether the card is to go to their direct messages."""


class AskDesk:
    """Takes questions from people. Every method returns what to tell them privately, or None where the card speaks
    for itself, and raises nothing that a person or the world around can cause."""

    def __init__(
        self,
        *,
        omni: Omni,
        asking: Asking,
        board: Board,
        watches: Watches,
        asks: Asks,
        arrivals: Arrivals,
        access: Access,
        desk: Desk,
        start: Callable[[JobId], Awaitable[None]],
        steps: WholeSteps,
        now: Callable[[], datetime],
        default_model: ModelId | None,
    ) -> None:
        """`desk`: tells what became of a card. `start` sees that a job is followed. `steps`: what is settled before
        the process ends. `default_model`: whom to ask where a person has chosen none."""
        raise NotImplementedError

    async def ask(
        self, wish: Wish, place: Place, user: UserId, stored: Callable[[], None] = lambda: None
    ) -> Message | None:
        """Ask a question. `stored` is called once a crash can no longer make it forgotten without a word."""
        raise NotImplementedError

    async def follow_up(
        self, prompt: str, watch: WatchId, place: Place, card: Ts, user: UserId
    ) -> Message | None:
        """Ask on from a card, in its thread. The watch, named by a button, must be the one of that card."""
        raise NotImplementedError

    async def mentioned(self, prompt: str, place: Place, thread: Ts, user: UserId) -> Message | None:
        """Ask on from the newest card in a thread."""
        raise NotImplementedError

    async def retry(self, watch: WatchId, place: Place, card: Ts, user: UserId) -> Message | None:
        """Ask a card's question again. The watch, named by a button, must be the one of that card."""
        raise NotImplementedError

    async def try_again(self, prompt: str, place: Place, user: UserId) -> Message | None:
        """Ask a question again of which nobody knows whether Omni took it."""
        raise NotImplementedError

    async def tell_orphans(self) -> None:
        """Tell people whose question was in the hands of a process that is gone. For the sweep."""
        raise NotImplementedError

    async def end(self) -> None:
        """Leave what waits behind another job to `tell_orphans`. For the end of the process."""
        raise NotImplementedError
