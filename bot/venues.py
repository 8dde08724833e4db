"""Where people of another organisation read along. What can't be found out counts as such a place."""

import asyncio

import structlog

from bot.access import is_direct
from bot.errors import BoardBusy, BoardError, BoardUnreachable, TokenRefused, Unanswered
from bot.person import Directory
from bot.posting import back_off
from bot.watch import Place

log = structlog.get_logger()

AGAIN_AFTER_SECONDS = 1.0
"""When Slack is asked once more while somebody waits for an answer."""


class Venues:
    """Tells in which places no answer may be posted."""

    def __init__(self, directory: Directory, *, allow_shared: bool) -> None:
        """`allow_shared`: the operator lets answers be posted anywhere; then Slack is asked nothing."""
        self._directory = directory
        self._allow_shared = allow_shared

    async def is_shared(self, place: Place) -> bool:
        """Whether no answer may be posted there; True where Slack does not say so soon."""
        if self._allow_shared or is_direct(place):
            return False
        try:
            try:
                return (await self._directory.venue(place)).is_shared
            except (BoardUnreachable, Unanswered):
                await asyncio.sleep(AGAIN_AFTER_SECONDS)
                return (await self._directory.venue(place)).is_shared
        except BoardError as error:
            return self._counts_as_shared(place, error)

    async def is_shared_at_the_end(self, place: Place) -> bool:
        """The same for the last look of a card: asked anew, and for as long as Slack does not answer at all, since
        nothing could be posted either. True where Slack won't tell."""
        if self._allow_shared or is_direct(place):
            return False
        failures = 0
        while True:
            try:
                return (await self._directory.venue(place)).is_shared
            except BoardBusy as error:
                await asyncio.sleep(error.retry_after_seconds)
            except (BoardUnreachable, Unanswered, TokenRefused) as error:
                failures = await back_off(error, failures)
            except BoardError as error:
                return self._counts_as_shared(place, error)

    def _counts_as_shared(self, place: Place, error: BoardError) -> bool:
        log.warning("venue not known", channel=place.channel, code=error.code)
        return True
