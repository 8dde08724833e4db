"""Finds out which channels people of another organization can read."""

import asyncio

import structlog

from bot.domain import ChannelRef, ConversationInfo, SlackError, is_direct
from bot.domain.ports import SlackDirectory
from bot.services.lookups import Lookups

log = structlog.get_logger()

KNOWN_FOR_SECONDS = 60.0
"""How long an answer of Slack counts for new cards. Slack takes about 50 `conversations.info` requests a minute
(docs.slack.dev/reference/methods/conversations.info, tier 3)."""
FRESH_FOR_SECONDS = 5.0
"""How long it counts as fresh, so that many jobs that end together in one channel cause one request."""
WAIT_SECONDS = 5.0
"""How long a user waits for Slack's answer."""


class SharedChannels:
    """Answers whether a channel is shared, from a cache in front of Slack."""

    def __init__(self, directory: SlackDirectory, *, allow_shared: bool) -> None:
        """`allow_shared`: the operator allows answers in shared channels, so Slack is not asked."""
        self._lookups: Lookups[ChannelRef, ConversationInfo] = Lookups(directory.conversation)
        self._allow_shared = allow_shared

    async def is_shared(self, channel: ChannelRef, *, fresh: bool = False) -> bool:
        """Return whether no answer may be posted because the channel is shared. True if Slack refuses to say.

        `fresh`: for a message that is about to be posted. Waits until Slack answers, since nothing could be posted
        before either. Without it, False after WAIT_SECONDS: the post checks again.
        """
        if self._allow_shared or is_direct(channel):
            return False
        known_for = FRESH_FOR_SECONDS if fresh else KNOWN_FOR_SECONDS
        try:
            async with asyncio.timeout(None if fresh else WAIT_SECONDS):
                return (await self._lookups.get(channel, known_for_seconds=known_for)).is_shared
        except TimeoutError:
            log.info("channel not known yet", channel=channel.id)
            return False
        except SlackError as error:
            log.warning("channel not known", channel=channel.id, code=error.code)
            return True
