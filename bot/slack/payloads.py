"""What Slack's payloads say, as far as it is asked for. What one lacks is empty, and the desks' to judge. Pure.

Source of the shapes: docs.slack.dev/reference/interaction-payloads and docs.slack.dev/reference/events.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.domain import ChannelId, ChannelRef, MessageTs, TeamId, UserId

Payload = Mapping[str, Any]
_SHOWN = ("text", "url", "title_link", "from_url", "fallback")
"""The keys under which a message holds what people see of it."""
_WRITTEN = (None, "file_share", "thread_broadcast")
"""The subtypes of what a person has just written: nothing more to it, with a file, or in a thread and the conversation
too. Source: docs.slack.dev/reference/events/message."""


@dataclass(frozen=True, slots=True)
class ButtonClick:
    """Somebody has pressed a button."""

    value: str = field(repr=False)
    place: ChannelRef
    message: MessageTs
    """The message that the button is under."""
    person: UserId
    trigger: str = field(repr=False)
    thread: MessageTs
    """The thread that the message begins, or is a reply in."""


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """Somebody has written to the bot."""

    words: str = field(repr=False)
    """Without the bot's name at its beginning or end."""
    place: ChannelRef
    message: MessageTs
    person: UserId
    thread: MessageTs | None
    """The thread that it is a reply in."""


def click(body: Payload, team: TeamId) -> ButtonClick:
    """A button that was pressed. `team`: the workspace that the app runs in. The payload names the person's, which is
    another where a channel is shared."""
    container = body.get("container") or {}
    (action, *_) = body.get("actions") or [{}]
    return ButtonClick(
        value=str(action.get("value") or ""),
        place=ChannelRef(team, ChannelId(container.get("channel_id") or "")),
        message=MessageTs(container.get("message_ts") or ""),
        person=person_of(body),
        trigger=str(body.get("trigger_id") or ""),
        thread=MessageTs(container.get("thread_ts") or container.get("message_ts") or ""),
    )


def place_of_command(command: Payload, team: TeamId) -> ChannelRef:
    """Where a command was typed. `team`: as for `click`."""
    return ChannelRef(team, ChannelId(command.get("channel_id") or ""))


def place_of_message(body: Payload, team: TeamId) -> ChannelRef:
    """Where the message of a message shortcut stands. `team`: as for `click`."""
    return ChannelRef(team, ChannelId((body.get("channel") or {}).get("id") or ""))


def person_of(body: Payload) -> UserId:
    """Who interacted."""
    return UserId((body.get("user") or {}).get("id") or "")


def incoming_message(body: Payload, team: TeamId, bot_user: UserId) -> IncomingMessage | None:
    """What a person wrote to the bot; None where no person wrote it, or it is not new. `team`: as for `click`."""
    event = body.get("event") or {}
    if (
        event.get("subtype") not in _WRITTEN
        or event.get("bot_id")
        or not event.get("user")
        or not event.get("channel")
    ):
        return None
    thread = event.get("thread_ts")
    return IncomingMessage(
        words=_addressed(str(event.get("text") or ""), bot_user),
        place=ChannelRef(team, ChannelId(event["channel"])),
        message=MessageTs(event.get("ts") or ""),
        person=UserId(event["user"]),
        thread=MessageTs(thread) if thread and thread != event.get("ts") else None,
    )


def shown_in(message: Payload) -> str:
    """Everything that people see of a message, as one text: also what is only in blocks and attachments."""
    return "\n".join(
        [str(message.get("text") or ""), *_shown(message.get("blocks")), *_shown(message.get("attachments"))]
    )


def _addressed(text: str, bot_user: UserId) -> str:
    """The text as it was typed, without the mention by which it was addressed to the bot."""
    own = re.compile(rf"<@{re.escape(bot_user)}(?:\|[^>]*)?>")
    return own.sub(" ", text).strip().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


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
