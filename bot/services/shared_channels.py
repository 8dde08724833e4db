"""Where people of another organisation read along. A place that Slack does not let the bot see counts as such."""

import asyncio

import structlog

from bot.domain import ChannelRef, ConversationInfo, SlackError, is_direct
from bot.domain.ports import SlackDirectory
from bot.services.lookups import Lookups

log = structlog.get_logger()

KNOWN_FOR_SECONDS = 60.0
"""How long it counts for what is begun there what Slack says of a place: Slack takes about 50 questions a minute
(docs.slack.dev/reference/methods/conversations.info, tier 3)."""
KNOWN_AT_THE_END_FOR_SECONDS = 5.0
"""The same for what ends there: for many jobs of one place that end together."""
WAITED_FOR_SECONDS = 5.0
"""How long a person waits for what Slack says of a place."""


class SharedChannels:
    """Tells in which places no answer may be posted."""

    def __init__(self, directory: SlackDirectory, *, allow_shared: bool) -> None:
        """`allow_shared`: the operator lets answers be posted anywhere; then Slack is asked nothing."""
        self._lookups: Lookups[ChannelRef, ConversationInfo] = Lookups(directory.conversation)
        self._allow_shared = allow_shared

    async def is_shared(self, channel: ChannelRef) -> bool:
        """Whether it is known that no answer may be posted there. False also where Slack is slow: `is_shared_now` is
        asked before anything is posted."""
        try:
            async with asyncio.timeout(WAITED_FOR_SECONDS):
                return await self._look(channel, KNOWN_FOR_SECONDS)
        except TimeoutError:
            log.info("venue not known yet", channel=channel.id)
            return False

    async def is_shared_fresh(self, channel: ChannelRef) -> bool:
        """The same for what is about to be posted: asked anew, and for as long as Slack does not answer, since nothing
        could be posted either."""
        return await self._look(channel, KNOWN_AT_THE_END_FOR_SECONDS)

    async def _look(self, channel: ChannelRef, known_for_seconds: float) -> bool:
        """True where Slack won't say."""
        if self._allow_shared or is_direct(channel):
            return False
        try:
            return (await self._lookups.get(channel, known_for_seconds=known_for_seconds)).is_shared
        except SlackError as error:
            log.warning("venue not known", channel=channel.id, code=error.code)
            return True
