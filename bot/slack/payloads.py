"""Reads Slack's payloads. Missing fields become empty, and the services decide about them. Pure.

Source of the shapes: docs.slack.dev/reference/interaction-payloads and docs.slack.dev/reference/events.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.domain import ChannelId, ChannelRef, MessageTs, TeamId, UserId

Payload = Mapping[str, Any]
_SHOWN = ("text", "url", "title_link", "from_url", "fallback")
"""The keys that hold a message's visible text."""
_WRITTEN = (None, "file_share", "thread_broadcast")
"""The subtypes of a new message from a user: plain, with a file, or a reply that is also sent to the channel.
Source: docs.slack.dev/reference/events/message."""


@dataclass(frozen=True, slots=True)
class ButtonClick:
    """A click on a button, or a choice in a menu."""

    value: str = field(repr=False)
    """The value of the button or of the chosen option."""
    channel: ChannelRef
    message_ts: MessageTs
    """The message that holds the button."""
    user: UserId
    trigger_id: str = field(repr=False)
    thread: MessageTs
    """The ts of the message's thread, which may begin with it."""


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """A message to the bot from a user."""

    text: str = field(repr=False)
    """The text as it was typed, without the mention of the bot."""
    is_to_bot: bool
    """Whether the text mentions the bot."""
    channel: ChannelRef
    message_ts: MessageTs
    user: UserId
    thread: MessageTs | None
    """Set if the message is a reply."""


def click(body: Payload, team: TeamId) -> ButtonClick:
    """Read a click or a choice in a menu.

    `team`: the app's workspace. The payload names the user's, which differs in a shared channel.
    """
    container = body.get("container") or {}
    (action, *_) = body.get("actions") or [{}]
    return ButtonClick(
        value=str(action.get("value") or (action.get("selected_option") or {}).get("value") or ""),
        channel=ChannelRef(team, ChannelId(container.get("channel_id") or "")),
        message_ts=MessageTs(container.get("message_ts") or ""),
        user=user_of(body),
        trigger_id=trigger_of(body),
        thread=MessageTs(container.get("thread_ts") or container.get("message_ts") or ""),
    )


def channel_of_command(command: Payload, team: TeamId) -> ChannelRef:
    """Return the channel of a command. `team`: see `click`."""
    return ChannelRef(team, ChannelId(command.get("channel_id") or ""))


def channel_of_message(body: Payload, team: TeamId) -> ChannelRef:
    """Return the channel of a message shortcut. `team`: see `click`."""
    return ChannelRef(team, ChannelId((body.get("channel") or {}).get("id") or ""))


def thread_of_message(body: Payload) -> MessageTs | None:
    """Return the thread of a message shortcut; None if its message is no reply."""
    message = body.get("message") or {}
    thread = message.get("thread_ts")
    return MessageTs(thread) if thread and thread != message.get("ts") else None


def trigger_of(body: Payload) -> str:
    """Return the trigger id of a command or an interaction, which is also its request id."""
    return str(body.get("trigger_id") or "")


def user_of(body: Payload) -> UserId:
    """Return the user of an interaction."""
    return UserId((body.get("user") or {}).get("id") or "")


def incoming_message(body: Payload, team: TeamId, bot_user: UserId) -> IncomingMessage | None:
    """Read a message event; None if no user wrote it or it is not new. `team`: see `click`."""
    event = body.get("event") or {}
    if (
        event.get("subtype") not in _WRITTEN
        or event.get("bot_id")
        or not event.get("user")
        or not event.get("channel")
    ):
        return None
    thread, text = event.get("thread_ts"), str(event.get("text") or "")
    own = re.compile(rf"<@{re.escape(bot_user)}(?:\|[^>]*)?>")
    return IncomingMessage(
        text=_typed(own.sub(" ", text)),
        is_to_bot=own.search(text) is not None,
        channel=ChannelRef(team, ChannelId(event["channel"])),
        message_ts=MessageTs(event.get("ts") or ""),
        user=UserId(event["user"]),
        thread=MessageTs(thread) if thread and thread != event.get("ts") else None,
    )


def shown_in(message: Payload) -> str:
    """Return all visible text of a message, including blocks and attachments."""
    return "\n".join(
        [str(message.get("text") or ""), *_shown(message.get("blocks")), *_shown(message.get("attachments"))]
    )


_LINKED = re.compile(r"<([@#!]?)([^<>|]*)(?:\|([^<>]*))?>")
"""Slack's form of addresses, channels and groups in a typed text.
Source: docs.slack.dev/messaging/formatting-message-text, "retrieving messages"."""


_AFTER_NAME = re.compile(r"^(?:\s|(?!:[\w+-]+:)[:,;])+")
"""Punctuation after the bot's name at the beginning, but no emoji such as `:tada:`."""


def _typed(text: str) -> str:
    """Turn what Slack linked in a text back into the words that were typed."""
    typed = _AFTER_NAME.sub("", _LINKED.sub(_words, text)).strip()
    return typed.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _words(link: re.Match[str]) -> str:
    kind, target, label = link[1], link[2], link[3] or ""
    if not kind:
        address = target.removeprefix("mailto:").removeprefix("tel:")
        if not label or label in (address, target):
            return address
        # Slack links `acme.com` to `http://acme.com`. Any other label is a user's own.
        return label if address.rstrip("/").endswith(f"//{label.rstrip('/')}") else f"{label} ({address})"
    if kind == "@" and not label:
        return link[0]  # a user's id says more than nothing
    name = label or target.split("^")[-1]
    return name if target.startswith("date^") else f"{'#' if kind == '#' else '@'}{name.lstrip('@#')}"


def _shown(part: object) -> Iterator[str]:
    if isinstance(part, list):
        for each in part:
            yield from _shown(each)
    elif isinstance(part, Mapping):
        for name, value in part.items():
            if isinstance(value, str):
                if name in _SHOWN:
                    yield value
            else:
                yield from _shown(value)
