"""Where a card goes that a person asks for: here, or to their direct messages, and what they are told of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from bot.domain.access import Access
from bot.domain.cards import Place, Ts, UserId, Watch, WatchId
from bot.domain.errors import BoardError, NotAllowedHere, ScopeMissing
from bot.domain.ports.slack import Board
from bot.domain.ports.storage import Watches
from bot.rendering import replies

log = structlog.get_logger()


PRIVATE = "private"
"""The last word of a command whose card is to go to the person's direct messages."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a card goes."""

    place: Place
    say: Callable[[str | None], str] | None = None
    """What to tell the person of it, given the card's permalink; None where they see for themselves."""


class Destinations:
    """Chooses between the conversation and the person's direct messages."""

    def __init__(self, board: Board, access: Access, bot_user: UserId) -> None:
        self._board = board
        self._access = access
        self._bot_user = bot_user

    async def resolve(self, place: Place, person: UserId) -> Place:
        """The place, or the person's direct messages where it is none: what is begun in no conversation belongs there.
        Raises a BoardError where those can't be had."""
        return place if place.channel else await self._board.direct(place, person)

    async def choose(self, place: Place, person: UserId, *, private: bool) -> Destination:
        """Where the card of a person's request in that place goes: to their direct messages where they wish it, or
        where people of another organisation would read the answer. Raises a BoardError where those can't be had."""
        is_kept = not private and await self._access.is_shared(place)
        if not private and not is_kept:
            return Destination(place)
        direct = await self._board.direct(place, person)
        if direct == place:
            return Destination(place)
        if is_kept:
            return Destination(direct, partial(replies.kept_private, bot_user=self._bot_user))
        return Destination(direct, replies.sent_privately)

    def not_had(self, error: BoardError) -> str:
        """What to tell a person whose card could go nowhere but to their direct messages."""
        log.warning("no direct message", code=error.code)
        if isinstance(error, NotAllowedHere | ScopeMissing):
            return replies.not_allowed_anywhere(self._bot_user)
        return replies.slack_busy()


def split_private(text: str) -> tuple[str, bool]:
    """What was typed without the last word `private`, and whether that word was there."""
    words = text.rsplit(maxsplit=1)
    if len(words) == 2 and words[1].lower() == PRIVATE:
        return words[0], True
    return text, False


LOOKS_AGAIN_AFTER_SECONDS = (0.2, 0.4, 0.8)
"""When to look again for a card that can be pressed already and is not stored yet."""


async def pressed_card(watches: Watches, watch: WatchId, place: Place, card: Ts) -> Watch | None:
    """The watch, if it is that card's. Raises StoreUnavailable."""
    known = await watches.get(watch)
    for seconds in LOOKS_AGAIN_AFTER_SECONDS:
        if known is None or known.place != place or known.card is not None or known.card_tried_at is None:
            break
        await asyncio.sleep(seconds)
        known = await watches.get(watch)
    return known if known is not None and known.is_of(place, card) else None
