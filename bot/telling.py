"""Tells a person something in their direct messages, where there is no other way to reach them."""

import structlog

from bot.errors import NotAllowedHere, ScopeMissing, Unanswered
from bot.ports import Board, Message
from bot.watch import Place, UserId

log = structlog.get_logger()


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
