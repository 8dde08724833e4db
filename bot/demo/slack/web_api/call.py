"""One request to the Web API, and the checks that several methods share. No I/O."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bot.demo.slack.block_kit.messages import Refusal
from bot.demo.slack.limits import Limits
from bot.demo.slack.workspace import Channel, StoredMessage, Workspace, is_ts

Answer = dict[str, Any]


class Refused(Exception):
    """A request that Slack answers with `ok: false`; with `retry_after` (seconds) also with HTTP 429."""

    def __init__(
        self, error: str, messages: tuple[str, ...] = (), *, retry_after: int | None = None, **more: Any
    ) -> None:
        super().__init__(error)
        self.error = error
        self.messages = messages
        self.retry_after = retry_after
        self.more = more

    def body(self) -> Answer:
        """The JSON that Slack answers with."""
        body: Answer = {"ok": False, "error": self.error, **self.more}
        if self.messages:
            body["errors"] = list(self.messages)
            body["response_metadata"] = {"messages": [f"[ERROR] {message}" for message in self.messages]}
        return body


@dataclass(frozen=True, slots=True)
class Call:
    """One request whose token is good. `limits` is None where rate limits are turned off."""

    workspace: Workspace
    args: Mapping[str, Any]
    scopes: frozenset[str]
    limits: Limits | None
    now: float
    socket_url: Callable[[], str]
    """Issues a single-use address for a Socket Mode connection."""

    def text(self, name: str) -> str:
        """A required string argument.

        Raises:
            Refused: `invalid_arguments`, where it is missing or no string.
        """
        value = self.args.get(name)
        if value is None:
            raise Refused("invalid_arguments", (f"missing required field: {name}",))
        if not isinstance(value, str):
            raise Refused("invalid_arguments", (f"must be a string [json-pointer:/{name}]",))
        return value

    def flag(self, name: str) -> bool:
        """An optional yes-or-no argument; queries spell it 1 or true."""
        return self.args.get(name) in (True, 1, "1", "true", "True")


@dataclass(frozen=True, slots=True)
class Method:
    """Slack's documented rules for a method. `scope` is None if any token of its kind works."""

    serve: Callable[[Call], Answer]
    per_minute: int
    arguments: frozenset[str]
    scope: str | None = None
    token: Literal["bot", "app"] = "bot"


def need_scope(call: Call, scope: str) -> None:
    """Refuse a token that was not granted a scope.

    Raises:
        Refused: `missing_scope`, with `needed` and `provided`.
    """
    if scope not in call.scopes:
        raise Refused("missing_scope", needed=scope, provided=",".join(sorted(call.scopes)))


def visible_channel(call: Call, argument: str = "channel") -> Channel:
    """The channel that an argument names, if it is an id and the bot may know that it exists.

    For the bot, a private channel or direct message without it does not exist (slackapi/bolt-js#365).

    Raises:
        Refused: `channel_not_found`, also for `U…`: direct messages go by their `D…`
            (slackapi/bolt-python#626).
    """
    channel = call.workspace.channels.get(call.text(argument))
    if channel is None:
        raise Refused("channel_not_found")
    if channel.kind != "public" and call.workspace.bot.id not in channel.members:
        raise Refused("channel_not_found")
    return channel


def need_membership(call: Call, channel: Channel) -> None:
    """Refuse a public channel that the bot has not joined; `chat:write.public` is not among its scopes.

    Raises:
        Refused: `not_in_channel`.
    """
    if call.workspace.bot.id not in channel.members:
        raise Refused("not_in_channel")


def page_number(call: Call, name: str, default: int, least: int, most: int) -> int:
    """An optional whole number of a method with pages; queries spell it as text.

    Raises:
        Refused: `invalid_limit` or `invalid_cursor`.
    """
    given: Any = call.args.get(name)
    if given in (None, ""):
        return default
    try:
        value = int(given)
    except (TypeError, ValueError):
        raise Refused(f"invalid_{name}") from None
    if not least <= value <= most:
        raise Refused(f"invalid_{name}")
    return value


def need_content(refusal: Refusal | None) -> None:
    """Pass on what the judge of payloads said.

    Raises:
        Refused: with the judge's error code and details.
    """
    if refusal is not None:
        raise Refused(refusal.error, refusal.messages)


def stored_message(channel: Channel, ts: str) -> StoredMessage:
    """A message by its ts; ephemeral ones can't be reached by any method.

    Raises:
        Refused: `message_not_found`.
    """
    if ts not in channel.messages:
        raise Refused("message_not_found")
    return channel.messages[ts]


def thread_argument(call: Call, channel: Channel) -> str | None:
    """The parent that `thread_ts` names, if it is given.

    A well-formed ts of no message is let through: the post then lands at the top level (see
    `Workspace.post`). The docs ask for the parent's ts and never a reply's; refusing the latter, and with
    this code, is an assumption.

    Raises:
        Refused: `invalid_thread_ts` where it has no ts's form (jenkinsci/slack-plugin#584),
            `cannot_reply_to_message` where it is a reply's.
    """
    thread = call.args.get("thread_ts")
    if thread is None:
        return None
    if not is_ts(thread):
        raise Refused("invalid_thread_ts", (f"{thread} is not a valid thread_ts",))
    parent = channel.messages.get(thread)
    if parent is not None and parent.thread_ts is not None:
        raise Refused("cannot_reply_to_message")
    return str(thread)


def message_json(workspace: Workspace, message: StoredMessage, *, all_metadata: bool = False) -> Answer:
    """A message as the Web API and interactive payloads show it.

    Without `all_metadata` only the type of the metadata is shown, as conversations.history does.
    """
    body: Answer = {"type": "message", "user": message.user, "ts": message.ts, "text": message.text}
    body["team"] = workspace.team
    if message.by_bot:
        body |= {"bot_id": workspace.bot_id, "app_id": workspace.app}
    if message.blocks:
        body["blocks"] = [
            {"block_id": f"{message.ts[-4:]}{index}", **block} for index, block in enumerate(message.blocks)
        ]
    if message.files:
        body["files"] = [file.as_json() for file in message.files]
    if message.metadata is not None:
        whole = message.metadata
        body["metadata"] = dict(whole) if all_metadata else {"event_type": whole["event_type"]}
    replies = workspace.channels[message.channel].replies(message.ts)
    if replies:
        body |= {"thread_ts": message.ts, "reply_count": len(replies), "latest_reply": replies[-1].ts}
        body["reply_users"] = sorted({reply.user for reply in replies})
    elif message.thread_ts is not None:
        body["thread_ts"] = message.thread_ts
    return body
