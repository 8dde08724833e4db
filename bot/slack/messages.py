"""Posts, updates, finds and deletes messages and uploads files over Slack's Web API.

Source of methods and limits: the method pages at docs.slack.dev/reference/methods.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.domain import (
    Block,
    ChannelId,
    ChannelRef,
    FileId,
    Message,
    MessageGone,
    MessageTs,
    OutcomeUnknown,
    PayloadRefused,
    ScopeMissing,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    TeamId,
    TokenRefused,
    Upload,
    UserId,
)
from bot.domain.ports import NO_METRICS, Metrics
from bot.network import Connector
from bot.slack.web_api import MeteredWebClient, call, error_for, field, session_of

log = structlog.get_logger()

EVENT_TYPE = "omni_job_watch"
"""Metadata event type of the bot's messages. Its payload holds the mark by which a post is found again."""
TIMEOUT_SECONDS = 10
UPLOAD_WITHIN_SECONDS = 60
"""For sending the bytes of a file."""
LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
"""Bounds memory. More than a page of the longest messages that Slack accepts."""
LONGEST_ALT = 1_000
"""Characters. Source: docs.slack.dev/reference/methods/files.getUploadURLExternal."""
TEAMS_PER_PAGE = 100
MOST_PAGES = 20
"""Of one search. For an app that is distributed outside the Marketplace, Slack allows one page of 15 messages a minute
(docs.slack.dev/changelog/2025/05/29/rate-limit-changes-for-non-marketplace-apps)."""
MESSAGES_PER_PAGE = 200
"""Page size when looking for a post whose response was lost.
Source: docs.slack.dev/apis/web-api/pagination, "no more than 200 results at a time"."""

_FILE_GONE = ("file_not_found", "file_deleted")
"""Errors of files.delete for a file that is not there. Source: docs.slack.dev/reference/methods/files.delete."""


class WebApiMessages:
    """`SlackMessages` over Slack's Web API."""

    def __init__(self, client: AsyncWebClient) -> None:
        """`client` must come from `slack_client`, which never retries a post."""
        self._client = client
        self.refused: str | None = None
        """Slack's error code for a refused token; None while it is accepted."""

    async def post(
        self, channel: ChannelRef, message: Message, *, mark: str, thread: MessageTs | None = None
    ) -> MessageTs:
        """See `SlackMessages.post`."""
        response = await self._call(
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
        ts = MessageTs(str(field(response, "ts")))
        if thread is not None and "thread_ts" not in (response.get("message") or {"thread_ts": thread}):
            await self._verify_parent(channel, ts, thread)
        return ts

    async def _verify_parent(self, channel: ChannelRef, ts: MessageTs, thread: MessageTs) -> None:
        """Delete a reply whose parent is gone, and raise MessageGone.

        Slack silently posts such a reply at the top level (slack-go/slack#1571).
        """
        try:
            await self.permalink(channel, thread)
        except MessageGone:
            log.info("reply without parent deleted", channel=channel.id)
            with suppress(SlackError):
                await self.delete(channel, ts)
            raise
        except SlackError as error:
            log.info("parent not checked", channel=channel.id, code=error.code)

    async def update(self, channel: ChannelRef, ts: MessageTs, message: Message) -> None:
        """See `SlackMessages.update`. Always sends the blocks too, since text alone would remove them."""
        await self._call(
            lambda: self._client.chat_update(
                channel=channel.id, ts=ts, text=message.text, blocks=list(message.blocks)
            )
        )

    async def delete(self, channel: ChannelRef, ts: MessageTs) -> None:
        """See `SlackMessages.delete`."""
        with suppress(MessageGone):
            await self._call(lambda: self._client.chat_delete(channel=channel.id, ts=ts))

    async def delete_file(self, file: FileId) -> None:
        """See `SlackMessages.delete_file`."""
        try:
            await self._call(lambda: self._client.files_delete(file=file))
        except SlackError as error:
            if error.code not in _FILE_GONE:
                raise

    async def find_by_metadata(
        self, channel: ChannelRef, *, mark: str, since: datetime, thread: MessageTs | None = None
    ) -> MessageTs | None:
        """See `SlackMessages.find_by_metadata`."""
        cursor = ""
        for _ in range(MOST_PAGES):
            response = await self._page(channel, since, thread, cursor)
            for found in field(response, "messages"):
                is_parent = found.get("ts") == thread
                if not is_parent and _mark_of(found) == mark:
                    return MessageTs(str(found["ts"]))
            cursor = (response.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return None
        log.warning("search given up", channel=channel.id, pages=MOST_PAGES)
        raise ScopeMissing("too_many_messages")

    async def _page(
        self, channel: ChannelRef, since: datetime, thread: MessageTs | None, cursor: str
    ) -> AsyncSlackResponse:
        """Load a page, after a 429 too: a search that began anew then would never end."""
        while True:
            try:
                return await self._messages(channel, since, thread, cursor)
            except SlackBusy as error:
                if not cursor:
                    raise
                await asyncio.sleep(error.retry_after_seconds)

    async def _messages(
        self, channel: ChannelRef, since: datetime, thread: MessageTs | None, cursor: str
    ) -> AsyncSlackResponse:
        """Load one page of a channel's or thread's messages that are newer than `since`."""
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

    async def upload(self, channel: ChannelRef, upload: Upload, *, thread: MessageTs | None = None) -> FileId:
        """See `SlackMessages.upload`. It takes three requests; only the last one shows the file."""
        try:
            file = await self._send_file(upload)
        except OutcomeUnknown as error:
            raise SlackUnreachable(error.code) from error
        await self._call(
            lambda: self._client.files_completeUploadExternal(
                files=[{"id": file, "title": upload.title}], channel_id=channel.id, thread_ts=thread
            )
        )
        return file

    async def upload_private(self, upload: Upload) -> FileId:
        """See `SlackMessages.upload_private`."""
        file = await self._send_file(upload)
        await self._call(
            lambda: self._client.files_completeUploadExternal(files=[{"id": file, "title": upload.title}])
        )
        return file

    async def _send_file(self, upload: Upload) -> FileId:
        """Send the file to Slack without sharing it. Returns its id."""
        alt = upload.alt[:LONGEST_ALT] if upload.alt else None
        slot = await self._call(
            lambda: self._client.files_getUploadURLExternal(
                filename=upload.name, length=len(upload.content), alt_txt=alt
            )
        )
        await send_bytes(session_of(self._client), str(slot["upload_url"]), upload.content)
        return FileId(str(slot["file_id"]))

    async def permalink(self, channel: ChannelRef, ts: MessageTs) -> str:
        """See `SlackMessages.permalink`."""
        response = await self._call(lambda: self._client.chat_getPermalink(channel=channel.id, message_ts=ts))
        return str(field(response, "permalink"))

    async def open_dm(self, channel: ChannelRef, user: UserId) -> ChannelRef:
        """See `SlackMessages.open_dm`."""
        response = await self._call(lambda: self._client.conversations_open(users=user))
        return ChannelRef(channel.team, ChannelId(str(field(response, "channel", "id"))))

    async def _call(self, request: Callable[[], Awaitable[AsyncSlackResponse]]) -> AsyncSlackResponse:
        try:
            response = await call(request)
        except TokenRefused as error:
            if self.refused is None:
                log.error("slack token refused", code=error.code)
            self.refused = error.code
            raise
        self.refused = None
        return response


def slack_client(
    token: str,
    base_url: str,
    session: aiohttp.ClientSession,
    metrics: Metrics = NO_METRICS,
    *,
    team: TeamId | None = None,
) -> AsyncWebClient:
    """Build a Web API client without retries, over a session from `slack_session`.

    By default the SDK repeats a request whose connection broke, which posts a message twice if only the response was
    lost. The callers decide what may be repeated.

    `team`: the workspace that requests with an organization's token are about.
    """
    return MeteredWebClient(
        metrics, token=token, base_url=base_url, session=session, retry_handlers=[], team_id=team
    )


def slack_session() -> aiohttp.ClientSession:
    """Build a session with kept-open connections to Slack, a time-out and no redirects. Raises SettingsError."""
    return aiohttp.ClientSession(
        connector=Connector(),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        middlewares=[_refuse_redirect],
        response_class=BoundedResponse,
    )


class BoundedResponse(aiohttp.ClientResponse):
    """A response of at most LARGEST_ANSWER_BYTES. aiohttp inflates a compressed body in small steps."""

    async def read(self) -> bytes:
        """See the base class. Raises aiohttp.ClientPayloadError if the body is larger."""
        if self._body is None:
            body = bytearray()
            async for chunk in self.content.iter_any():
                body += chunk
                if len(body) > LARGEST_ANSWER_BYTES:
                    self.close()
                    raise aiohttp.ClientPayloadError("the response is too large")
            self._body = bytes(body)
        return await super().read()


async def _refuse_redirect(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Raise TooManyRedirects. Slack redirects no API call, and another host must not get the token or the text."""
    response = await handler(request)
    if response.status in (301, 302, 303, 307, 308):
        response.close()
        raise aiohttp.TooManyRedirects(response.request_info, (response,), status=response.status)
    return response


@dataclass(frozen=True, slots=True)
class Identity:
    """The bot's user and scopes in a workspace, or in an organization for which the app was installed as a whole."""

    teams: tuple[TeamId, ...]
    """The workspaces in which the token works."""
    team_name: str
    """The name of the workspace or of the organization."""
    user: UserId
    bot_id: str
    scopes: frozenset[str]
    organization: TeamId | None = None
    """The Enterprise Grid organization; None: the token is of one workspace."""


async def identify(client: AsyncWebClient) -> Identity:
    """Ask Slack whom the bot token belongs to. Raises SlackError."""
    response = await call(client.auth_test)
    granted = str((response.headers or {}).get("x-oauth-scopes") or "")
    organization = None
    if response.get("is_enterprise_install"):
        organization = TeamId(str(response.get("enterprise_id") or response["team_id"]))
    teams = (TeamId(str(response["team_id"])),) if organization is None else await teams_of(client)
    return Identity(
        teams=teams,
        organization=organization,
        team_name=str(response.get("team") or response.get("enterprise_name") or response["team_id"]),
        user=UserId(str(response["user_id"])),
        bot_id=str(response.get("bot_id") or ""),
        scopes=frozenset(scope.strip() for scope in granted.split(",") if scope.strip()),
    )


async def teams_of(client: AsyncWebClient) -> tuple[TeamId, ...]:
    """List the workspaces to which an organization's admins have added the app. Raises SlackError."""
    teams: list[TeamId] = []
    cursor = ""
    while True:
        page = await call(partial(client.auth_teams_list, cursor=cursor or None, limit=TEAMS_PER_PAGE))
        teams += [TeamId(str(team["id"])) for team in field(page, "teams")]
        cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
        if not cursor:
            return tuple(teams)


async def may_connect(client: AsyncWebClient) -> None:
    """Verify the app token by requesting a Socket Mode address. Raises SlackError."""
    await call(lambda: client.apps_connections_open(app_token=str(client.token)))


async def blocks_problem(client: AsyncWebClient, blocks: Sequence[Block]) -> str | None:
    """Ask Slack whether it accepts blocks. Returns its first complaint, or None. Raises SlackError."""
    try:
        await call(lambda: client.blocks_validate(blocks=list(blocks)))
    except PayloadRefused as error:
        details = (
            error.__cause__.response.get("errors") if isinstance(error.__cause__, SlackApiError) else None
        )
        return str(details[0]) if details else error.code
    return None


async def send_bytes(session: aiohttp.ClientSession, address: str, content: bytes) -> None:
    """Send a file to its upload address, without a token: the address itself is secret. Raises SlackError."""
    within = aiohttp.ClientTimeout(total=UPLOAD_WITHIN_SECONDS)
    headers = {"Content-Type": "application/octet-stream"}
    try:
        async with session.post(address, data=BytesIO(content), headers=headers, timeout=within) as response:
            status, retry_after = response.status, response.headers.get("Retry-After")
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise SlackUnreachable(type(error).__name__) from error
    if status != 200:
        raise error_for("", status=status, retry_after=retry_after)


def _mark_of(found: dict[str, Any]) -> str | None:
    metadata = found.get("metadata") or {}
    if metadata.get("event_type") != EVENT_TYPE:
        return None
    mark = metadata.get("event_payload", {}).get("mark")
    return mark if isinstance(mark, str) else None
