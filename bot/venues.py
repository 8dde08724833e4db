"""Where people of another organisation read along. What can't be found out counts as such a place."""

import asyncio
from weakref import WeakValueDictionary

import structlog

from bot.access import is_direct
from bot.errors import BoardBusy, BoardError, BoardUnreachable, TokenRefused, Unanswered
from bot.person import Directory
from bot.posting import back_off
from bot.watch import Place

log = structlog.get_logger()

KNOWN_FOR_SECONDS = 60.0
"""How long it counts for what is begun there what Slack says of a place: Slack takes about 50 questions a minute
(docs.slack.dev/reference/methods/conversations.info, tier 3)."""
KNOWN_AT_THE_END_FOR_SECONDS = 5.0
"""The same for what ends there: for many jobs of one place that end together."""
AGAIN_AFTER_SECONDS = 1.0
"""When Slack is asked once more while somebody waits for an answer."""
MOST_KNOWN = 2_000


class Venues:
    """Tells in which places no answer may be posted."""

    def __init__(self, directory: Directory, *, allow_shared: bool) -> None:
        """`allow_shared`: the operator lets answers be posted anywhere; then Slack is asked nothing."""
        self._directory = directory
        self._allow_shared = allow_shared
        self._known: dict[Place, tuple[bool, float]] = {}
        """What Slack said of a place, and at which of the loop's times."""
        self._turns: WeakValueDictionary[Place, asyncio.Lock] = WeakValueDictionary()

    async def is_shared(self, place: Place) -> bool:
        """Whether no answer may be posted there; True where Slack does not say so soon."""
        if self._allow_shared or is_direct(place):
            return False
        try:
            try:
                return await self._look(place, KNOWN_FOR_SECONDS)
            except (BoardUnreachable, Unanswered):
                await asyncio.sleep(AGAIN_AFTER_SECONDS)
                return await self._look(place, KNOWN_FOR_SECONDS)
        except BoardError as error:
            return self._counts_as_shared(place, error)

    async def is_shared_now(self, place: Place) -> bool:
        """The same for what is about to be posted: asked anew, and for as long as Slack does not answer at all, since
        nothing could be posted either. True where Slack won't tell."""
        if self._allow_shared or is_direct(place):
            return False
        failures = 0
        while True:
            try:
                return await self._look(place, KNOWN_AT_THE_END_FOR_SECONDS)
            except BoardBusy as error:
                await asyncio.sleep(error.retry_after_seconds)
            except (BoardUnreachable, Unanswered, TokenRefused) as error:
                failures = await back_off(error, failures)
            except BoardError as error:
                return self._counts_as_shared(place, error)

    async def _look(self, place: Place, known_for_seconds: float) -> bool:
        async with self._turns.setdefault(place, asyncio.Lock()):
            known = self._known.get(place)
            if known is not None and _loop_time() - known[1] < known_for_seconds:
                return known[0]
            is_shared = (await self._directory.venue(place)).is_shared
            self._known.pop(place, None)
            self._known[place] = is_shared, _loop_time()
            if len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]
            return is_shared

    def _counts_as_shared(self, place: Place, error: BoardError) -> bool:
        log.warning("venue not known", channel=place.channel, code=error.code)
        return True


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
