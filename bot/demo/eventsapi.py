"""The events that Slack sends to an app, and what has to be so for it to send them. No I/O.

Source: docs.slack.dev/reference/events (app_mention, message.im, link_shared, app_home_opened,
app_uninstalled, tokens_revoked) and
docs.slack.dev/apis/events-api (the callback around them).
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bot.demo.stored import Channel, StoredMessage
from bot.demo.surfaces import Offer
from bot.demo.typed import links, mentions
from bot.demo.viewinteraction import view_json
from bot.demo.workspace import Workspace

Event = dict[str, Any]

SCOPES = {
    "app_mention": "app_mentions:read",
    "message.im": "im:history",
    "link_shared": "links:read",
    "app_home_opened": None,
    "app_uninstalled": None,
    "tokens_revoked": None,
}
"""What an app needs to get each event."""


@dataclass(slots=True)
class EventSettings:
    """What the app asked for in its manifest. Changed in place while the service runs."""

    subscribed: set[str] = field(default_factory=lambda: set(SCOPES))
    unfurl_domains: set[str] = field(default_factory=set)
    """At most five. Source: the manifest's schema."""


def callback(workspace: Workspace, event: Event) -> Event:
    """The body of an `events_api` envelope. Its `event_id` stays the same when it is sent again."""
    channel = workspace.channels.get(str(event.get("channel")))
    return {
        "token": "deprecated-verification-token",
        "team_id": workspace.team,
        "api_app_id": workspace.app,
        "event": event,
        "type": "event_callback",
        "event_id": f"Ev{secrets.token_hex(5).upper()}",
        "event_time": int(float(event["event_ts"])),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": workspace.team,
                "user_id": workspace.bot.id,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": channel is not None and channel.shared == "external",
        "event_context": f"4-{secrets.token_hex(8)}",
    }


def caused_by(workspace: Workspace, message: StoredMessage, settings: EventSettings) -> Iterator[Event]:
    """What a person's new message makes Slack send. Nobody asks this about what the app posts itself: Slack tells of
    that only in direct messages, and Bolt drops it."""
    channel = workspace.channels[message.channel]
    is_direct = channel.kind == "direct"
    is_member = workspace.bot.id in channel.members
    if is_direct and is_member:
        yield _said(workspace, message, "message") | {"channel_type": "im"}
    if not is_direct and is_member and mentions(message.text, workspace.bot.id):
        yield _said(workspace, message, "app_mention")
    if found := links(message.text, settings.unfurl_domains):
        urls = tuple(url for _, url in found)
        offer = workspace.surfaces.offer("conversations_history", channel.id, message.ts, urls)
        shared = _shared(workspace, message.user, offer, found) | {"is_bot_user_member": is_member}
        if message.thread_ts is not None:
            shared["thread_ts"] = message.thread_ts
        yield shared


def kind_of(event: Event) -> str:
    """The name under which an app subscribes to an event."""
    return "message.im" if event["type"] == "message" else str(event["type"])


def pasted(workspace: Workspace, user: str, text: str, settings: EventSettings) -> Event | None:
    """What Slack sends as soon as a link stands in somebody's composer, before anything is posted."""
    found = links(text, settings.unfurl_domains)
    if not found:
        return None
    urls = tuple(url for _, url in found)
    offer = workspace.surfaces.offer("composer", "COMPOSER", f"Uxxxxxxx-{secrets.token_hex(8)}", urls)
    return _shared(workspace, user, offer, found) | {"is_bot_user_member": True}


def home_opened(workspace: Workspace, user: str, channel: Channel) -> Event:
    """What Slack sends when a person opens the app's Home tab; `view` only where one was published."""
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
    """What Slack sends when the app was removed from the workspace."""
    return {"type": "app_uninstalled", "event_ts": workspace.next_ts()}


def revoked(workspace: Workspace) -> Event:
    """What Slack sends when the bot's token was revoked, which an uninstalled app is told of as well."""
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


def _shared(workspace: Workspace, user: str, offer: Offer, found: list[tuple[str, str]]) -> Event:
    return {
        "type": "link_shared",
        "user": user,
        "channel": offer.channel,
        "message_ts": offer.ts,
        "unfurl_id": offer.unfurl_id,
        "source": offer.source,
        "links": [{"domain": domain, "url": url} for domain, url in found],
        "event_ts": workspace.next_ts(),
    }
