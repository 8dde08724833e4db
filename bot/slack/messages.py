"""Slack's messages and files over the Web API. What its error codes ask of us is in `slackcodes`.

Source of methods and limits: the method pages at docs.slack.dev/reference/methods.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

import aiohttp
import structlog
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.domain import (
    ChannelId,
    ChannelRef,
    Message,
    MessageGone,
    MessageTs,
    OutcomeUnknown,
    SlackError,
    SlackUnreachable,
    TeamId,
    TokenRefused,
    Upload,
    UserId,
)
from bot.domain.ports import NO_METRICS, Metrics
from bot.slack.web_api import MeteredWebClient, call, meaning

log = structlog.get_logger()

EVENT_TYPE = "omni_job_watch"
"""The metadata event type that marks what this bot posts; its payload holds the mark of the post."""
TIMEOUT_SECONDS = 10
UPLOAD_WITHIN_SECONDS = 60
"""How long the bytes of a file may take."""
LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
"""More than a page of messages as long as Slack takes them; a bound on the memory that one answer takes."""
LONGEST_ALT = 1_000
"""Characters. Source: docs.slack.dev/reference/methods/files.getUploadURLExternal."""
MESSAGES_PER_PAGE = 200
"""How many messages are asked for at once when a post that was not answered is looked for.
Source: docs.slack.dev/apis/web-api/pagination, "no more than 200 results at a time"."""


class WebApiMessages:
    """`SlackMessages` over Slack's Web API."""

    def __init__(self, client: AsyncWebClient) -> None:
        """`client` comes from `slack_client`: one that never posts again by itself."""
        self._client = client
        self.refused: str | None = None
        """Slack's word for why it refuses the token; None while it takes it."""

    async def post(
        self, channel: ChannelRef, message: Message, *, mark: str, thread: MessageTs | None = None
    ) -> MessageTs:
        """See `SlackMessages.post`."""
        answer = await self._call(
            lambda: self._client.chat_postMessage(
                channel=channel.id,
                text=message.text,
                blocks=list(message.blocks),
                thread_ts=thread,
                metadata={"event_type": EVENT_TYPE, "event_payload": {"mark": mark}},
                unfurl_links=False,
                unfurl_media=False,
            )
        )
        ts = MessageTs(str(answer["ts"]))
        if thread is not None and "thread_ts" not in (answer.get("message") or {"thread_ts": thread}):
            await self._make_sure_of_parent(channel, ts, thread)
        return ts

    async def _make_sure_of_parent(self, channel: ChannelRef, ts: MessageTs, thread: MessageTs) -> None:
        """Take a reply back whose parent is gone: Slack has put it at the top level, without a word
        (slack-go/slack#1571). Raises MessageGone."""
        try:
            await self.permalink(channel, thread)
        except MessageGone:
            log.info("reply without a parent", channel=channel.id)
            with suppress(SlackError):  # then it stays there
                await self.delete(channel, ts)
            raise
        except SlackError as error:
            log.info("parent not known", channel=channel.id, code=error.code)

    async def update(self, channel: ChannelRef, ts: MessageTs, message: Message) -> None:
        """See `SlackMessages.update`. Text and blocks always go together: text alone would remove the blocks."""
        await self._call(
            lambda: self._client.chat_update(
                channel=channel.id, ts=ts, text=message.text, blocks=list(message.blocks)
            )
        )

    async def delete(self, channel: ChannelRef, ts: MessageTs) -> None:
        """See `SlackMessages.delete`."""
        with suppress(MessageGone):  # somebody was faster
            await self._call(lambda: self._client.chat_delete(channel=channel.id, ts=ts))

    async def find_by_metadata(
        self, channel: ChannelRef, *, mark: str, since: datetime, thread: MessageTs | None = None
    ) -> MessageTs | None:
        """See `SlackMessages.find_by_metadata`."""
        cursor = ""
        while True:
            answer = await self._messages(channel, since, thread, cursor)
            for found in answer["messages"]:
                is_parent = found.get("ts") == thread
                if not is_parent and _mark_of(found) == mark:
                    return MessageTs(str(found["ts"]))
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return None

    async def _messages(
        self, channel: ChannelRef, since: datetime, thread: MessageTs | None, cursor: str
    ) -> AsyncSlackResponse:
        """One page of a channel's messages, or of a thread's, that are newer than `since`."""
        page: dict[str, Any] = {
            "channel": channel.id,
            "oldest": f"{since.timestamp():.6f}",
            "limit": MESSAGES_PER_PAGE,
            "include_all_metadata": True,
            "cursor": cursor or None,
        }
        if thread is None:
            return await self._call(lambda: self._client.conversations_history(**page))
        return await self._call(lambda: self._client.conversations_replies(ts=thread, **page))

    async def upload(self, channel: ChannelRef, upload: Upload, *, thread: MessageTs | None = None) -> None:
        """See `SlackMessages.upload`. Slack takes a file in three steps, and only the last one shows it."""
        try:
            file = await self._send_file(upload)
        except OutcomeUnknown as error:
            raise SlackUnreachable(error.code) from error
        await self._call(
            lambda: self._client.files_completeUploadExternal(
                files=[{"id": file, "title": upload.title}], channel_id=channel.id, thread_ts=thread
            )
        )

    async def _send_file(self, upload: Upload) -> str:
        """Let Slack have the file, in no conversation yet. Returns its id."""
        alt = upload.alt[:LONGEST_ALT] if upload.alt else None
        promised = await self._call(
            lambda: self._client.files_getUploadURLExternal(
                filename=upload.name, length=len(upload.content), alt_txt=alt
            )
        )
        await send_bytes(str(promised["upload_url"]), upload.content)
        return str(promised["file_id"])

    async def permalink(self, channel: ChannelRef, ts: MessageTs) -> str:
        """See `SlackMessages.permalink`."""
        answer = await self._call(lambda: self._client.chat_getPermalink(channel=channel.id, message_ts=ts))
        return str(answer["permalink"])

    async def open_dm(self, channel: ChannelRef, user: UserId) -> ChannelRef:
        """See `SlackMessages.open_dm`."""
        answer = await self._call(lambda: self._client.conversations_open(users=user))
        return ChannelRef(channel.team, ChannelId(str(answer["channel"]["id"])))

    async def _call(self, request: Callable[[], Awaitable[AsyncSlackResponse]]) -> AsyncSlackResponse:
        try:
            answer = await call(request)
        except TokenRefused as error:
            if self.refused is None:
                log.error("slack refuses the token", code=error.code)
            self.refused = error.code
            raise
        self.refused = None
        return answer


def slack_client(
    token: str, base_url: str, session: aiohttp.ClientSession, metrics: Metrics = NO_METRICS
) -> AsyncWebClient:
    """A Web API client without retries of its own, over a session from `slack_session`.

    The SDK's default repeats a request whose connection broke, which posts a message twice when only the
    answer was lost. What may be repeated is decided by our callers.
    """
    return MeteredWebClient(metrics, token=token, base_url=base_url, session=session, retry_handlers=[])


def slack_session() -> aiohttp.ClientSession:
    """Connections to Slack, kept open between requests. No request takes longer than the time-out or is redirected."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        middlewares=[_refuse_redirect],
        response_class=BoundedResponse,
    )


class BoundedResponse(aiohttp.ClientResponse):
    """A response of which at most LARGEST_ANSWER_BYTES are read. aiohttp inflates a compressed one in small steps."""

    async def read(self) -> bytes:
        """See the base class. Raises aiohttp.ClientPayloadError for more."""
        if self._body is None:
            body = bytearray()
            async for chunk in self.content.iter_any():
                body += chunk
                if len(body) > LARGEST_ANSWER_BYTES:
                    self.close()
                    raise aiohttp.ClientPayloadError("the answer is too large")
            self._body = bytes(body)
        return await super().read()


async def _refuse_redirect(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Raise TooManyRedirects: Slack redirects no API call, and another host must get neither token nor text."""
    response = await handler(request)
    if response.status in (301, 302, 303, 307, 308):
        response.close()
        raise aiohttp.TooManyRedirects(response.request_info, (response,), status=response.status)
    return response


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the bot is in Slack, and what it may do there."""

    team: TeamId
    team_name: str
    user: UserId
    bot_id: str
    scopes: frozenset[str]


async def identify(client: AsyncWebClient) -> Identity:
    """Ask Slack who the bot token belongs to. Raises any BoardError."""
    answer = await call(client.auth_test)
    granted = str((answer.headers or {}).get("x-oauth-scopes") or "")
    return Identity(
        team=TeamId(str(answer["team_id"])),
        team_name=str(answer.get("team") or answer["team_id"]),
        user=UserId(str(answer["user_id"])),
        bot_id=str(answer.get("bot_id") or ""),
        scopes=frozenset(scope.strip() for scope in granted.split(",") if scope.strip()),
    )


async def may_connect(client: AsyncWebClient) -> None:
    """Ask Slack for a Socket Mode address, which proves the app token. Raises any BoardError."""
    await call(lambda: client.apps_connections_open(app_token=str(client.token)))


async def send_bytes(address: str, content: bytes) -> None:
    """Send a file to the address that Slack gave for it, which is its own key: no token goes there.

    Raises a BoardError.
    """
    within = aiohttp.ClientTimeout(total=UPLOAD_WITHIN_SECONDS)
    headers = {"Content-Type": "application/octet-stream"}
    try:
        async with (
            aiohttp.ClientSession(timeout=within) as session,
            session.post(address, data=BytesIO(content), headers=headers, allow_redirects=False) as answer,
        ):
            status, retry_after = answer.status, answer.headers.get("Retry-After")
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise SlackUnreachable(type(error).__name__) from error
    if status != 200:
        raise meaning("", status=status, retry_after=retry_after)


def _mark_of(found: dict[str, Any]) -> str | None:
    metadata = found.get("metadata") or {}
    if metadata.get("event_type") != EVENT_TYPE:
        return None
    mark = metadata.get("event_payload", {}).get("mark")
    return mark if isinstance(mark, str) else None
