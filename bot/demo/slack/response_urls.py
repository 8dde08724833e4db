"""The addresses that commands and clicks bring along: five answers in thirty minutes, then dead. No I/O.

Source: docs.slack.dev/interactivity/handling-user-interaction. They need no membership: this is how an
app can answer in a private channel or a foreign direct message (slackapi/bolt-js#365).
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.demo.slack.block_kit import messages
from bot.demo.slack.web_api.call import Refused, need_content
from bot.demo.slack.workspace import Channel, StoredMessage, Workspace, is_ts

USES_MOST = 5
LIFE_SECONDS = 30 * 60.0
_KEYS = {
    "text",
    "blocks",
    "attachments",
    "response_type",
    "replace_original",
    "delete_original",
    "thread_ts",
    "unfurl_links",
    "unfurl_media",
    "metadata",
}


@dataclass(slots=True)
class _Address:
    channel: Channel
    user: str
    original: StoredMessage | None
    """The message whose button was clicked; None for a command, which leaves no message to replace."""
    expires_at: float
    uses: int = 0


class ResponseUrls:
    """All addresses of a workspace, by the secret at their end."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._addresses: dict[str, _Address] = {}

    def issue(self, channel: Channel, user: str, original: StoredMessage | None, now: float) -> str:
        """A new address for one command or click; returns its secret."""
        secret = secrets.token_urlsafe(18)
        self._addresses[secret] = _Address(channel, user, original, now + LIFE_SECONDS)
        return secret

    def use(self, secret: str, body: Mapping[str, Any], now: float) -> None:
        """Do what a POST to an address asks for. A refused payload costs a use too: the stricter way.

        Raises:
            Refused: `used_url` and `expired_url` are names that Slack's docs do not give; the rest as
                chat.postMessage.
        """
        address = self._addresses.get(secret)
        if address is None or now > address.expires_at:
            raise Refused("expired_url")
        if address.uses >= USES_MOST:
            raise Refused("used_url")
        address.uses += 1
        unknown = sorted(set(body) - _KEYS)
        if unknown:
            raise Refused(
                "invalid_arguments", tuple(f"invalid additional property: {name}" for name in unknown)
            )
        if body.get("delete_original") or body.get("replace_original"):
            self._change_original(address, body)
        else:
            say(self._workspace, address.channel, address.user, body)

    def _change_original(self, address: _Address, body: Mapping[str, Any]) -> None:
        original = address.original
        if original is None:
            # Not for the message that invoked a slash command; what Slack answers is not documented.
            raise Refused("invalid_arguments", ("there is no original message to change",))
        if body.get("response_type") not in (None, "ephemeral" if original.only_for else "in_channel"):
            raise Refused("invalid_arguments", ("a message can't change who sees it",))
        if not _exists(self._workspace, original):
            raise Refused("message_not_found")
        if body.get("delete_original"):
            self._workspace.delete(original)
        else:
            text, blocks = _content(body)
            self._workspace.update(original, text, blocks)


def say(workspace: Workspace, channel: Channel, user: str, body: Mapping[str, Any]) -> StoredMessage:
    """Show a response: to the person alone, or to everyone with `response_type: in_channel`.

    Raises:
        Refused: as chat.postMessage for the content; `invalid_arguments` for a response type that is
            none; `is_archived`.
    """
    text, blocks = _content(body)
    if channel.archived:
        raise Refused("is_archived")
    kind = body.get("response_type", "ephemeral")
    thread = body.get("thread_ts")
    if kind not in ("ephemeral", "in_channel"):
        raise Refused("invalid_arguments", (f"unknown response_type {kind}",))
    if thread is not None and (kind != "in_channel" or not is_ts(thread)):
        raise Refused("invalid_thread_ts")
    if kind == "in_channel":
        return workspace.post(channel, workspace.bot.id, text, blocks=blocks, thread=thread)
    return workspace.whisper(channel, user, text, blocks=blocks)


def _content(body: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Markdown blocks are documented for the Web API only: refused here, the stricter way."""
    if body.get("attachments"):
        raise Refused("invalid_attachments")
    need_content(messages.judge(body.get("text"), body.get("blocks"), markdown_allowed=False))
    return body.get("text") or "", messages.decode_blocks(body.get("blocks"))


def _exists(workspace: Workspace, message: StoredMessage) -> bool:
    if message.only_for is not None:
        return message in workspace.private
    return message.ts in workspace.channels[message.channel].messages
