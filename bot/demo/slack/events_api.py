"""The events that Slack sends to an app, and what has to be so for it to send them. No I/O.

Source: docs.slack.dev/reference/events (app_mention, message.im, app_home_opened,
app_uninstalled, tokens_revoked) and
docs.slack.dev/apis/events-api (the callback around them).
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bot.demo.slack.message_text import mentions
from bot.demo.slack.records import Channel, StoredMessage
from bot.demo.slack.view_interactions import view_json
from bot.demo.slack.workspace import Workspace

Event = dict[str, Any]

SCOPES = {
    "app_mention": "app_mentions:read",
    "message.im": "im:history",
    "app_home_opened": None,
    "app_uninstalled": None,
    "tokens_revoked": None,
}
"""Scopes that each event needs."""


@dataclass(slots=True)
class EventSettings:
    """Events in the app's manifest. Changed in place while the service runs."""

    subscribed: set[str] = field(default_factory=lambda: set(SCOPES))


def callback(workspace: Workspace, event: Event) -> Event:
    """The body of an `events_api` envelope. Its `event_id` stays the same when it is sent again."""
    channel = workspace.channels.get(str(event.get("channel")))
    team = workspace.team if channel is None else workspace.team_of(channel)
    organization = workspace.organization
    return {
        "token": "deprecated-verification-token",
        "team_id": team,
        **({"context_team_id": team, "context_enterprise_id": organization} if organization else {}),
        "api_app_id": workspace.app,
        "event": event,
        "type": "event_callback",
        "event_id": f"Ev{secrets.token_hex(5).upper()}",
        "event_time": int(float(event["event_ts"])),
        "authorizations": [
            {
                "enterprise_id": organization or None,
                "team_id": None if organization else team,
                "user_id": workspace.bot.id,
                "is_bot": True,
                "is_enterprise_install": bool(organization),
            }
        ],
        "is_ext_shared_channel": channel is not None and channel.shared == "external",
        "event_context": f"4-{secrets.token_hex(8)}",
    }


def caused_by(workspace: Workspace, message: StoredMessage) -> Iterator[Event]:
    """Events for a user's new message. Not called for the app's own posts: Slack sends those only in direct
    messages, and Bolt drops them."""
    channel = workspace.channels[message.channel]
    is_direct = channel.kind == "direct"
    is_member = workspace.bot.id in channel.members
    if is_direct and is_member:
        yield _said(workspace, message, "message") | {"channel_type": "im"}
    if not is_direct and is_member and mentions(message.text, workspace.bot.id):
        yield _said(workspace, message, "app_mention")


def kind_of(event: Event) -> str:
    """The name under which an app subscribes to an event."""
    return "message.im" if event["type"] == "message" else str(event["type"])


def home_opened(workspace: Workspace, user: str, channel: Channel) -> Event:
    """The event for an opened Home tab; it has a `view` only if one was published."""
    event = {
        "type": "app_home_opened",
        "user": user,
        "channel": channel.id,
        "tab": "home",
        "event_ts": workspace.next_ts(),
    }
    home = workspace.surfaces.homes.get(user)
    return event if home is None else event | {"view": view_json(workspace, home)}


def uninstalled(workspace: Workspace) -> Event:
    """The event for a removed app."""
    return {"type": "app_uninstalled", "event_ts": workspace.next_ts()}


def revoked(workspace: Workspace) -> Event:
    """The event for a revoked token, which is also sent when the app is removed."""
    tokens = {"oauth": [], "bot": [workspace.bot.id]}
    return {"type": "tokens_revoked", "tokens": tokens, "event_ts": workspace.next_ts()}


def _said(workspace: Workspace, message: StoredMessage, kind: str) -> Event:
    event: Event = {
        "type": kind,
        "user": message.user,
        "text": message.text,
        "ts": message.ts,
        "channel": message.channel,
        "event_ts": message.ts,
        "client_msg_id": secrets.token_hex(16),
        "team": workspace.users[message.user].team,
    }
    if message.thread_ts is not None:
        event |= {"thread_ts": message.thread_ts}
    team = workspace.users[message.user].team
    return event if team == workspace.team else event | {"user_team": team, "source_team": team}
