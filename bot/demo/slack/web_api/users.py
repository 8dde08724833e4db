"""The methods of the Web API about who people are and what kind of conversation a channel is. No I/O."""

from typing import Any

from bot.demo.slack.limits import TIER_3, TIER_4
from bot.demo.slack.records import ORGANIZATION, Channel, User
from bot.demo.slack.web_api.call import (
    Answer,
    Call,
    Method,
    Refused,
    need_scope,
    page_number,
    visible_channel,
)

_READ_SCOPE = {"public": "channels:read", "private": "groups:read", "direct": "im:read"}


def _users_info(call: Call) -> Answer:
    user = call.workspace.users.get(call.text("user"))
    if user is None:
        raise Refused("user_not_found")
    return {"ok": True, "user": _user_json(call, user)}


def _users_lookup_by_email(call: Call) -> Answer:
    """Source: docs.slack.dev/reference/methods/users.lookupByEmail. Deactivated users and bots are not found, and here
    neither are people of other workspaces."""
    email = call.text("email").casefold()
    for user in call.workspace.users.values():
        if (
            user.email
            and user.email.casefold() == email
            and call.workspace.is_member(user)
            and not user.deactivated
        ):
            return {"ok": True, "user": _user_json(call, user)}
    raise Refused("users_not_found")


def _user_json(call: Call, user: User) -> Answer:
    body: dict[str, Any] = {
        "id": user.id,
        "team_id": user.team,
        "name": user.name,
        "real_name": user.real_name,
        "deleted": user.deactivated,
        "is_bot": user.is_bot,
        "is_app_user": False,
        "tz_offset": 0,
        "profile": _profile(call, user),
    }
    if user.grid_teams:
        # Source: looker/lookerbot#184, slackapi/bolt-js#1875.
        body["enterprise_user"] = {
            "id": user.id,
            "enterprise_id": ORGANIZATION,
            "enterprise_name": "Omni Grid",
            "is_admin": False,
            "is_owner": False,
            "teams": list(user.grid_teams),
        }
    if not user.team:
        del body["team_id"]
    if call.workspace.is_member(user):
        # Not returned for users of other workspaces (docs.slack.dev/apis/slack-connect, external members).
        body["is_restricted"] = user.guest is not None
        body["is_ultra_restricted"] = user.guest == "ultra_restricted"
    else:
        body["is_stranger"] = call.workspace.is_stranger(user)
    return body


def _profile(call: Call, user: User) -> Answer:
    """The email address needs its own scope, and is never returned for other workspaces. That may be too strict.

    Source: docs.slack.dev/reference/methods/users.info (email addresses).
    """
    profile = {"real_name": user.real_name, "display_name": user.name, "team": user.team}
    if user.email and call.workspace.is_member(user) and "users:read.email" in call.scopes:
        profile["email"] = user.email
    return profile


def _conversations_info(call: Call) -> Answer:
    channel = visible_channel(call)
    need_scope(call, _READ_SCOPE[channel.kind])
    if channel.kind == "direct":
        (other,) = channel.members - {call.workspace.bot.id}
        return {
            "ok": True,
            "channel": {"id": channel.id, "is_im": True, "user": other, "is_org_shared": False},
        }
    return {"ok": True, "channel": _channel_json(call, channel)}


def _conversations_members(call: Call) -> Answer:
    """Pages of members. Source: docs.slack.dev/reference/methods/conversations.members."""
    channel = visible_channel(call)
    need_scope(call, _READ_SCOPE[channel.kind])
    members = sorted(channel.members)
    limit = page_number(call, "limit", 100, 1, 999)
    start = page_number(call, "cursor", 0, 0, len(members))
    more = str(start + limit) if start + limit < len(members) else ""
    return {
        "ok": True,
        "members": members[start : start + limit],
        "response_metadata": {"next_cursor": more},
    }


def _channel_json(call: Call, channel: Channel) -> Answer:
    """Source: docs.slack.dev/reference/objects/conversation-object. Slack may leave `is_ext_shared` out where it is
    false, as here in private channels."""
    body: Answer = {
        "id": channel.id,
        "name": channel.name,
        "is_channel": channel.kind == "public",
        "is_group": channel.kind == "private",
        "is_im": False,
        "is_mpim": False,
        "is_private": channel.kind == "private",
        "is_archived": channel.archived,
        "is_member": call.workspace.bot.id in channel.members,
        "is_shared": channel.shared == "external",
        "is_ext_shared": channel.shared == "external",
        "is_org_shared": False,
        "is_pending_ext_shared": channel.shared == "pending",
        "context_team_id": call.workspace.team,
    }
    if channel.kind == "private" and channel.shared != "external":
        del body["is_ext_shared"]
    return body


PEOPLE_METHODS = {
    "users.info": Method(_users_info, TIER_4, frozenset({"user", "include_locale"}), "users:read"),
    "users.lookupByEmail": Method(_users_lookup_by_email, TIER_3, frozenset({"email"}), "users:read.email"),
    "conversations.info": Method(
        _conversations_info, TIER_3, frozenset({"channel", "include_locale", "include_num_members"})
    ),
    "conversations.members": Method(
        _conversations_members, TIER_4, frozenset({"channel", "cursor", "limit"})
    ),
}
