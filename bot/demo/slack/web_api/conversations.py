"""The methods of the Web API that read conversations, and those about connections. No I/O."""

from collections.abc import Sequence

from bot.demo.slack.limits import TIER_2, TIER_3
from bot.demo.slack.web_api.call import (
    Answer,
    Call,
    Method,
    Refused,
    message_json,
    need_membership,
    need_scope,
    page_number,
    visible_channel,
)
from bot.demo.slack.workspace import Channel, StoredMessage, is_ts

_HISTORY_SCOPE = {"public": "channels:history", "private": "groups:history", "direct": "im:history"}
_PAGE = {"channel", "cursor", "include_all_metadata", "inclusive", "latest", "limit", "oldest"}


def _open(call: Call) -> Answer:
    users = str(call.args.get("users") or "")
    if not users:
        raise Refused("users_list_not_supplied")
    if "," in users:
        need_scope(call, "mpim:write")
    user = call.workspace.users.get(users)
    if user is None:
        raise Refused("user_not_found")
    if user.is_bot:
        raise Refused("cannot_dm_bot")
    channel = call.workspace.direct(user.id)
    answer: Answer = {"ok": True, "channel": {"id": channel.id}}
    if call.flag("return_im"):
        answer["channel"] |= {"is_im": True, "user": user.id}
    return answer


def _history(call: Call) -> Answer:
    channel = _readable(call)
    messages = [message for message in channel.messages.values() if message.thread_ts is None]
    return _page(call, messages[::-1], default_limit=100)


def _replies(call: Call) -> Answer:
    channel = _readable(call)
    ts = call.text("ts")
    parent = channel.messages.get(ts)
    if parent is None and ts not in channel.tombstones:
        raise Refused("thread_not_found")
    head = [_tombstone(channel, ts)] if parent is None else [parent]
    return _page(call, channel.replies(ts), default_limit=1000, head=head)


def _tombstone(channel: Channel, ts: str) -> StoredMessage:
    """Placeholder of a deleted message with replies."""
    return StoredMessage(ts, channel.id, "USLACKBOT", "This message was deleted.")


def _readable(call: Call) -> Channel:
    channel = visible_channel(call)
    need_scope(call, _HISTORY_SCOPE[channel.kind])
    need_membership(call, channel)
    return channel


def _page(
    call: Call, messages: Sequence[StoredMessage], *, default_limit: int, head: Sequence[StoredMessage] = ()
) -> Answer:
    """One page of messages between `oldest` and `latest`; `head` leads every one.

    The cursor is the number of messages already shown. Slack caps a page at 999 (conversations.history)
    and 1,000 (conversations.replies).
    """
    limit = page_number(call, "limit", default_limit, 1, 1000)
    if call.limits is not None:
        limit = min(limit, call.limits.history_page)
    start = page_number(call, "cursor", 0, 0, len(messages))
    inside = [message for message in messages if _is_inside(call, message.ts)]
    page = [*head, *inside[start : start + limit]]
    more = len(inside) > start + limit
    answer: Answer = {
        "ok": True,
        "messages": [
            message_json(call.workspace, message, all_metadata=call.flag("include_all_metadata"))
            for message in page
        ],
        "has_more": more,
    }
    if more:
        answer["response_metadata"] = {"next_cursor": str(start + limit)}
    return answer


def _is_inside(call: Call, ts: str) -> bool:
    """Both ends are left out unless `inclusive`. A ts compares as text: all have the same length."""
    oldest, latest = _bound(call, "oldest"), _bound(call, "latest")
    if call.flag("inclusive") and ts in (oldest, latest):
        return True
    return (oldest is None or ts > oldest) and (latest is None or ts < latest)


def _bound(call: Call, name: str) -> str | None:
    """A bound as a ts; seconds without or with fewer decimals are filled up, as Slack takes them too."""
    given = call.args.get(name)
    if given in (None, "", "0", 0):
        return None
    if is_ts(given):
        return str(given)
    try:
        return f"{float(given):017.6f}"
    except (TypeError, ValueError):
        raise Refused(f"invalid_ts_{name}") from None


def _auth_test(call: Call) -> Answer:
    workspace = call.workspace
    if workspace.organization:
        return {
            "ok": True,
            "url": workspace.url,
            "team": "Omni Grid",
            "user": workspace.bot.name,
            "team_id": workspace.organization,
            "user_id": workspace.bot.id,
            "bot_id": workspace.bot_id,
            "enterprise_id": workspace.organization,
            "is_enterprise_install": True,
        }
    return {
        "ok": True,
        "url": workspace.url,
        "team": "Omni demo",
        "user": workspace.bot.name,
        "team_id": workspace.team,
        "user_id": workspace.bot.id,
        "bot_id": workspace.bot_id,
        "is_enterprise_install": False,
    }


def _teams_list(call: Call) -> Answer:
    """One workspace a page, so that the pages are read."""
    if not call.workspace.organization:
        raise Refused("not_allowed_token_type")
    start = page_number(call, "cursor", 0, 0, len(call.workspace.teams))
    shown = call.workspace.teams[start : start + 1]
    more = str(start + 1) if start + 1 < len(call.workspace.teams) else ""
    return {
        "ok": True,
        "teams": [{"id": team, "name": team.title()} for team in shown],
        "response_metadata": {"next_cursor": more},
    }


def _connections_open(call: Call) -> Answer:
    return {"ok": True, "url": call.socket_url()}


OTHER_METHODS = {
    "auth.test": Method(_auth_test, 300, frozenset()),
    # Tier 3 on the method's page, Tier 1 elsewhere in Slack's own code; a reconnect needs more than one.
    "apps.connections.open": Method(_connections_open, TIER_3, frozenset(), token="app"),
    "auth.teams.list": Method(_teams_list, TIER_2, frozenset({"cursor", "limit", "include_icon"})),
    "conversations.open": Method(
        _open, TIER_3, frozenset({"users", "return_im", "prevent_creation"}), "im:write"
    ),
    "conversations.history": Method(_history, TIER_3, frozenset(_PAGE)),
    "conversations.replies": Method(_replies, TIER_3, frozenset({*_PAGE, "ts"})),
}
