"""Who people are and what kind of conversation a place is, over the Web API.

Source: docs.slack.dev/reference/objects/user-object and conversation-object.
"""

from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import ChannelRef, ConversationInfo, SlackUser, TeamId, UserId
from bot.slack.web_api import call


class WebApiDirectory:
    """`SlackDirectory` over Slack's Web API. Remembers nothing: whoever asks often keeps the answers."""

    def __init__(self, client: AsyncWebClient, team: TeamId) -> None:
        """`client` comes from `slack_client`; `team` is the workspace that the app is installed in."""
        self._client = client
        self._team = team

    async def user(self, user: UserId) -> SlackUser:
        """See `SlackDirectory.user`. Slack says of people of other workspaces neither whether they are guests
        there nor,
        where they share a channel with the bot, that they are strangers: their team tells."""
        answer = await call(lambda: self._client.users_info(user=user))
        return _person(user, answer["user"], self._team)

    async def conversation(self, channel: ChannelRef) -> ConversationInfo:
        """See `SlackDirectory.conversation`."""
        answer = await call(lambda: self._client.conversations_info(channel=channel.id))
        return _venue(answer["channel"])


def _person(user: UserId, told: dict[str, Any], home: TeamId) -> SlackUser:
    team = TeamId(str(told.get("team_id") or ""))
    return SlackUser(
        id=user,
        team=team,
        is_guest=bool(told.get("is_restricted") or told.get("is_ultra_restricted")),
        is_stranger=bool(told.get("is_stranger")) or team != home,
        is_bot=bool(told.get("is_bot")),
        is_deactivated=bool(told.get("deleted")),
        email=(told.get("profile") or {}).get("email") or None,
    )


def _venue(told: dict[str, Any]) -> ConversationInfo:
    """A channel that does not say whether it is shared counts as shared. Direct messages say so only if they are."""
    is_direct = bool(told.get("is_im"))
    is_shared = bool(told.get("is_ext_shared", not is_direct) or told.get("is_pending_ext_shared"))
    return ConversationInfo(is_direct=is_direct, is_shared=is_shared)
