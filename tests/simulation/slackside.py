"""The simulated Slack without its sockets: the same workspace, rules and limits as the one that listens.

`Session` stands where the bot has its `aiohttp.ClientSession`, so the SDK and the bot's own code above it are
the real ones.
"""

import asyncio
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self, cast

import aiohttp
from aiohttp.client_reqrep import ConnectionKey

from bot.demo.slack import events_api
from bot.demo.slack.files import StoredFile
from bot.demo.slack.interactions import (
    click_payload,
    command_payload,
    find_control,
    message_shortcut_payload,
)
from bot.demo.slack.limits import Limits
from bot.demo.slack.message_text import as_stored
from bot.demo.slack.response_urls import ResponseUrls
from bot.demo.slack.simulator import HISTORY_SCOPES, SCOPES
from bot.demo.slack.web_api import dispatch
from bot.demo.slack.web_api.call import Call, Refused
from bot.demo.slack.workspace import Change, Channel, StoredMessage, User, Workspace
from bot.slack.messages import TIMEOUT_SECONDS
from tests.simulation.wire import Answer, Exchange, Unreachable, Wire

BOT_TOKEN = "xoxb-simulated"
APP_TOKEN = "xapp-simulated"
API_URL = "https://slack.simulated/api/"


_BEYOND_EDITING = {
    "message_not_found",
    "cant_update_message",
    "not_in_channel",
    "channel_not_found",
    "is_inactive",
}


NOT_USABLE = "invalid slack file"
"""Outcome of an edit that shows a file that Slack still processes."""


@dataclass(slots=True)
class Look:
    """Content of a message since a time."""

    at: float
    text: str
    blocks: list[dict[str, Any]]
    exchange: Exchange | None = None
    """The request that made it so."""
    is_doubtful: bool = False
    """The bot died before it had stored that the card shows this."""


@dataclass(slots=True)
class Posted:
    """A message of the bot, with all that it ever showed."""

    channel: str
    ts: str
    thread: str | None
    """The requested parent, even if Slack ignored it."""
    looks: list[Look]
    exchange: Exchange
    deleted_at: float | None = None
    deleted_by_bot: bool = False
    files: tuple[StoredFile, ...] = ()
    """What it shares."""
    written_off: bool = False
    """Slack answered that the bot can't edit it."""
    is_doubtful: bool = False
    """Its poster never learnt of it, or died before it was stored."""


@dataclass(slots=True)
class SlackSide:
    """Slack, with the memory of all that the bot ever posted."""

    workspace: Workspace
    limits: Limits
    wire: Wire
    scopes: set[str] = field(default_factory=lambda: SCOPES | HISTORY_SCOPES)
    tokens: dict[str, str] = field(default_factory=lambda: {BOT_TOKEN: "bot", APP_TOKEN: "app"})
    closed_to_bot: set[str] = field(default_factory=set)
    """People whose direct messages are closed to it."""
    posted: dict[tuple[str, str], Posted] = field(default_factory=dict)
    """By channel and ts, in the order in which they came."""
    private_replies: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    """The private lines that were sent, by the secret of the address or by the thread they were sent to."""
    urls: ResponseUrls = field(init=False)
    files_arrive: bool = True
    """Whether the bytes of files come through."""
    _under_way: Exchange | None = None

    def __post_init__(self) -> None:
        self.urls = ResponseUrls(self.workspace)
        self.workspace.listeners.append(self._remember)

    @property
    def now(self) -> float:
        """Slack's clock, Unix seconds."""
        return self.workspace._now()

    # Requests of the bot.

    def serve(self, exchange: Exchange, token: str | None) -> Answer:
        """Answer a request to the Web API."""
        self._under_way = exchange
        headers = {"x-oauth-scopes": ",".join(sorted(self.scopes))}
        try:
            if exchange.name == "conversations.open" and exchange.args.get("users") in self.closed_to_bot:
                raise Refused("cannot_dm_bot")
            call = Call(
                self.workspace, exchange.args, frozenset(self.scopes), self.limits, self.now, lambda: "wss://"
            )
            body = dispatch.answer(exchange.name, token, self.tokens, call)
        except Refused as refused:
            exchange.outcome = refused.error
            if refused.messages and all(each.startswith(NOT_USABLE) for each in refused.messages):
                exchange.outcome = NOT_USABLE
            self._write_off(exchange)
            if refused.retry_after is None:
                return Answer(200, json.dumps(refused.body()).encode(), headers)
            headers["Retry-After"] = str(refused.retry_after)
            return Answer(429, json.dumps(refused.body()).encode(), headers)
        finally:
            self._under_way = None
        exchange.done = True
        exchange.outcome = str(body.get("ts") or "ok")
        return Answer(200, json.dumps(body).encode(), headers)

    def serve_whisper(self, exchange: Exchange) -> Answer:
        """Answer a request to a response_url."""
        try:
            self.urls.use(exchange.args["secret"], exchange.args["body"], self.now)
        except Refused as refused:
            exchange.outcome = refused.error
            status = 404 if refused.error in ("used_url", "expired_url") else 400
            return Answer(status, json.dumps(refused.body()).encode())
        exchange.done = True
        return Answer(200, b'{"ok":true}')

    def serve_upload(self, exchange: Exchange) -> Answer:
        """Take the bytes of a file."""
        try:
            self.workspace.files.receive(exchange.args["secret"], exchange.args["content"])
        except LookupError:
            exchange.outcome = "not_found"
            return Answer(404, b"")
        exchange.done = True
        return Answer(200, b"OK")

    def _write_off(self, exchange: Exchange) -> None:
        if exchange.name == "chat.update" and exchange.outcome in _BEYOND_EDITING:
            posted = self.posted.get((exchange.args["channel"], exchange.args["ts"]))
            if posted is not None:
                posted.written_off = True

    def _remember(self, change: Change) -> None:
        message = change.message
        if change.kind == "posted" and message["by_bot"] and self._under_way is not None:
            posted = Posted(
                change.channel,
                message["ts"],
                self._under_way.args.get("thread_ts"),
                [Look(self.now, message["text"], message["blocks"], self._under_way)],
                self._under_way,
                files=tuple(self.workspace.files.by_id[file["id"]] for file in message["files"]),
            )
            self.posted[change.channel, message["ts"]] = posted
        elif change.kind == "updated":
            self.posted[change.channel, message["ts"]].looks.append(
                Look(self.now, message["text"], message["blocks"], self._under_way)
            )
        elif change.kind == "deleted" and (there := self.posted.get((change.channel, message["ts"]))):
            there.deleted_at = self.now
            there.deleted_by_bot = self._under_way is not None

    def forget(self) -> None:
        """Drop every message and every address."""
        self.posted.clear()
        self.private_replies.clear()
        self.urls = ResponseUrls(self.workspace)
        self.workspace.private.clear()
        self.workspace.files.by_id.clear()
        for channel in self.workspace.channels.values():
            channel.messages.clear()

    # Actions of users.

    def command(self, name: str, text: str, user: User, channel: Channel) -> tuple[str, dict[str, Any]]:
        """The secret of its address and the payload of a command."""
        secret = self.urls.issue(channel, user.id, None, self.now)
        payload = command_payload(
            self.workspace,
            command=name,
            text=text,
            user=user,
            channel=channel,
            response_url=f"{self.workspace.url}response/{secret}",
        )
        return secret, payload

    def click(self, user: User, message: StoredMessage, action_id: str) -> tuple[str, dict[str, Any]] | None:
        """The secret of its address and the payload of a click; None where there is no such button."""
        action = find_control(message, action_id)
        if action is None:
            return None
        channel = self.workspace.channels[message.channel]
        secret = self.urls.issue(channel, user.id, message, self.now)
        payload = click_payload(
            self.workspace,
            user=user,
            channel=channel,
            message=message,
            action=action,
            response_url=f"{self.workspace.url}response/{secret}",
        )
        return secret, payload

    def say_in_thread(self, text: str, user: User, channel: Channel) -> StoredMessage:
        """A message as a reply to a new one."""
        parent = self.workspace.post(channel, user.id, "Who knows this?")
        stored = as_stored(text, self.workspace.users.values())
        return self.workspace.post(channel, user.id, stored, thread=parent.ts)

    def mentioned(self, message: StoredMessage) -> dict[str, Any] | None:
        """The payload of the event of a message that mentions the bot; None where the bot is not a member."""
        events = events_api.caused_by(self.workspace, message)
        return next((events_api.callback(self.workspace, event) for event in events), None)

    def shortcut(self, callback_id: str, user: User, message: StoredMessage) -> tuple[str, dict[str, Any]]:
        """The secret of its address and the payload of a shortcut on a message."""
        channel = self.workspace.channels[message.channel]
        secret = self.urls.issue(channel, user.id, None, self.now)
        payload = message_shortcut_payload(
            self.workspace,
            callback_id=callback_id,
            user=user,
            channel=channel,
            message=message,
            response_url=f"{self.workspace.url}response/{secret}",
        )
        return secret, payload

    # The session.

    async def ask(self, name: str, token: str | None, args: dict[str, Any]) -> Answer:
        """A request to the Web API, over the wire. Raises what aiohttp raises."""
        if name == "chat.postEphemeral" and args.get("thread_ts"):
            self.private_replies.setdefault(args["thread_ts"], []).append((self.now, args["text"]))
        return await self._sent("slack", name, args, lambda exchange: self.serve(exchange, token))

    async def whisper(self, secret: str, body: dict[str, Any]) -> Answer:
        """A request to a response_url, over the wire. Raises what aiohttp raises."""
        self.private_replies.setdefault(secret, []).append((self.now, body["text"]))
        args = {"secret": secret, "body": body, "text": body["text"]}
        return await self._sent("whisper", "response_url", args, self.serve_whisper)

    async def send(self, secret: str, content: bytes) -> Answer:
        """Send the bytes of a file, over the wire. Raises what aiohttp raises."""
        if not self.files_arrive:
            await asyncio.sleep(0.01)
            raise aiohttp.ServerDisconnectedError
        return await self._sent("slack", "upload", {"secret": secret, "content": content}, self.serve_upload)

    async def _sent(self, service: str, name: str, args: dict[str, Any], serve: Any) -> Answer:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self.wire.ask(service, name, args, serve)
        except Unreachable as error:
            if error.certain:
                key = ConnectionKey("slack.simulated", 443, True, True, None, None, None)
                raise aiohttp.ClientConnectorError(key, OSError(111, "refused")) from error
            raise aiohttp.ServerDisconnectedError from error


class Session:
    """Stands in for `aiohttp.ClientSession`."""

    closed = False

    def __init__(self, slack: SlackSide) -> None:
        self._slack = slack

    def request(self, _verb: str, url: str, **request: Any) -> "_Asking":
        """As the SDK calls it."""
        token = request["headers"].get("Authorization", "").removeprefix("Bearer ") or None
        if request.get("json") is not None:
            args = json.loads(json.dumps(request["json"]))
        else:
            given = {**(request.get("params") or {}), **(request.get("data") or {})}
            args = dispatch.unpacked({name: str(value) for name, value in given.items() if value is not None})
        args.pop("token", None)
        return _Asking(self._slack.ask(url.rsplit("/", 1)[-1], token, args))

    def post(self, url: str, *, json: dict[str, Any]) -> "_Asking":
        """As the bot calls it for a private line."""
        return _Asking(self._slack.whisper(url.rsplit("/", 1)[-1], json))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class _Asking:
    def __init__(self, asking: Any) -> None:
        self._asking = asking

    async def __aenter__(self) -> "_Response":
        return _Response(await self._asking)

    async def __aexit__(self, *_: object) -> None:
        pass


class _Response:
    """The parts of a response that the SDK and the bot read."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.status = answer.status
        self.headers = answer.headers
        self.content_type = answer.content_type

    async def json(self) -> Any:
        if self.content_type != "application/json":
            info = cast(aiohttp.RequestInfo, SimpleNamespace(real_url=API_URL))
            raise aiohttp.ContentTypeError(info, (), message="not JSON")
        return json.loads(self._answer.body)

    async def text(self, errors: str = "strict") -> str:
        return self._answer.body.decode(errors=errors)
