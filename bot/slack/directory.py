"""Looks up users and channels over Slack's Web API.

Source: docs.slack.dev/reference/objects/user-object and conversation-object.
"""

from functools import partial
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import ChannelRef, ConversationInfo, ScopeMissing, SlackUser, TeamId, UserId
from bot.slack.web_api import call, field

MEMBERS_PER_PAGE = 999
"""Source: docs.slack.dev/reference/methods/conversations.members, `limit`."""
MOST_PAGES = 20


class WebApiDirectory:
    """`SlackDirectory` over Slack's Web API, without a cache."""

    def __init__(self, client: AsyncWebClient, team: TeamId) -> None:
        """`client` must come from `slack_client`. `team`: the workspace that the app is installed in."""
        self._client = client
        self._team = team

    async def user(self, user: UserId) -> SlackUser:
        """See `SlackDirectory.user`."""
        response = await call(lambda: self._client.users_info(user=user))
        return _user(user, field(response, "user"), self._team)

    async def user_by_email(self, email: str) -> SlackUser:
        """See `SlackDirectory.user_by_email`."""
        response = await call(lambda: self._client.users_lookupByEmail(email=email))
        return _user(UserId(str(field(response, "user", "id"))), field(response, "user"), self._team)

    async def conversation(self, channel: ChannelRef) -> ConversationInfo:
        """See `SlackDirectory.conversation`."""
        response = await call(lambda: self._client.conversations_info(channel=channel.id))
        return _conversation(field(response, "channel"))

    async def members_among(self, channel: ChannelRef, users: frozenset[UserId]) -> frozenset[UserId]:
        """See `SlackDirectory.members_among`. Stops at the page that shows the last of the users."""
        found: set[UserId] = set()
        cursor = ""
        for _ in range(MOST_PAGES):
            page = await call(
                partial(
                    self._client.conversations_members,
                    channel=channel.id,
                    cursor=cursor or None,
                    limit=MEMBERS_PER_PAGE,
                )
            )
            found |= users.intersection(field(page, "members"))
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
            if found == users or not cursor:
                return frozenset(found)
        raise ScopeMissing("too_many_members")


def _user(user: UserId, found: dict[str, Any], home: TeamId) -> SlackUser:
    """A user of another workspace is a stranger, which Slack does not always say.

    For a member of an Enterprise Grid, `team_id` may be missing, or name another workspace or the organization. Their
    workspaces are in `enterprise_user`, or in `teams`.
    """
    grid = found.get("enterprise_user") or {}
    grid_teams = {*(grid.get("teams") or ()), *(found.get("teams") or ())}
    is_stranger = home not in grid_teams and (bool(found.get("is_stranger")) or found.get("team_id") != home)
    named = {found.get("team_id"), grid.get("enterprise_id"), *grid_teams} - {None, ""}
    return SlackUser(
        id=user,
        teams=frozenset(TeamId(str(team)) for team in named),
        is_guest=bool(found.get("is_restricted") or found.get("is_ultra_restricted")),
        is_stranger=is_stranger,
        is_bot=bool(found.get("is_bot")),
        is_deactivated=bool(found.get("deleted")),
        email=(found.get("profile") or {}).get("email") or None,
    )


def _conversation(found: dict[str, Any]) -> ConversationInfo:
    """Slack may leave `is_ext_shared` out of a channel that is not shared, and `is_member` out of a message."""
    is_shared = bool(found.get("is_ext_shared") or found.get("is_pending_ext_shared"))
    return ConversationInfo(
        is_direct=bool(found.get("is_im")),
        is_shared=is_shared,
        is_archived=bool(found.get("is_archived")),
        has_bot=bool(found.get("is_member", True)),
    )
