"""What a person is told of what they asked for: to be told first and forgotten then, and in their direct messages where
there is no other way to reach them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from bot.errors import NotAllowedHere, ScopeMissing, Unanswered
from bot.ports import Board, Message
from bot.watch import Place, UserId

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Word:
    """What a person is to be told, and what is to be done once they have been. Until then it is remembered that
    somebody waits, so that a process that dies between leaves it to another to tell."""

    message: Message
    once_told: Callable[[], Awaitable[None]]


class Interrupted(asyncio.CancelledError):
    """The process ends before anything came of what a person asked for. Whoever catches it tells them so, and then does
    `once_told`, as for a `Word`."""

    def __init__(self, once_told: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.once_told = once_told


async def tell_directly(board: Board, place: Place, user: UserId, message: Message, *, mark: str) -> None:
    """Tell it at most once, in the workspace of `place`, if the person's direct messages are open to the bot.

    Raises:
        BoardError: it certainly was not told, and another try may tell it.
    """
    try:
        direct = await board.direct(place, user)
    except (NotAllowedHere, ScopeMissing) as error:
        log.warning("private line not told", user=user, code=error.code)
        return
    try:
        await board.post(direct, message, mark=f"{mark}/told")
    except (NotAllowedHere, ScopeMissing, Unanswered) as error:
        log.warning("private line not told", user=user, code=error.code)
