"""Slack's messages over the Web API, and what each of Slack's error codes asks of us.

Source of codes and limits: the method pages at docs.slack.dev/reference/methods.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.ports import (
    BoardBusy,
    BoardError,
    BoardUnreachable,
    Message,
    MessageGone,
    NotAllowedHere,
    PayloadRefused,
    ScopeMissing,
    TokenRefused,
    Unanswered,
)
from bot.watch import ChannelId, Place, TeamId, Ts, UserId

log = structlog.get_logger()

EVENT_TYPE = "omni_job_watch"
"""The metadata event type that marks what this bot posts; its payload holds the mark of the post."""
TIMEOUT_SECONDS = 10
LONGEST_RETRY_AFTER_SECONDS = 300.0
MESSAGES_PER_PAGE = 200
"""How many messages are asked for at once when a post that was not answered is looked for.
Source: docs.slack.dev/apis/web-api/pagination, "no more than 200 results at a time"."""

METHOD_SCOPES = {
    "auth.test": set[str](),
    "apps.connections.open": set[str](),
    "chat.postMessage": {"chat:write"},
    "chat.update": {"chat:write"},
    "chat.delete": {"chat:write"},
    "chat.getPermalink": set[str](),
    "conversations.open": {"im:write"},
    "conversations.history": {"channels:history", "groups:history", "im:history", "mpim:history"},
    "conversations.replies": {"channels:history", "groups:history", "im:history", "mpim:history"},
}
"""Every Web API method used here, with the scopes it needs; `manifest.yml` asks for just these."""

COMMANDS_SCOPE = "commands"
"""What receiving `/omni-job` needs."""
OPTIONAL_SCOPES = frozenset(METHOD_SCOPES["conversations.history"])
"""Scopes that the bot runs without: it then can't look whether an unanswered post arrived."""

REQUIRED_SCOPES = frozenset({COMMANDS_SCOPE}.union(*METHOD_SCOPES.values())) - OPTIONAL_SCOPES
"""Scopes without which the bot can't do its work."""

_MEANINGS: dict[type[BoardError], str] = {
    NotAllowedHere: """
        not_in_channel channel_not_found no_permission is_archived is_inactive restricted_action
        restricted_action_read_only_channel restricted_action_thread_only_channel
        restricted_action_non_threadable_channel restricted_action_thread_locked messages_tab_disabled
        cannot_dm_bot user_not_found user_disabled user_not_visible posting_to_channel_denied
        not_in_dm channel_is_archived method_not_supported_for_channel_type access_denied
        app_access_restricted ekm_access_denied team_access_not_granted accesslimited user_not_in_channel
    """,
    MessageGone: """
        message_not_found cant_update_message edit_window_closed block_mismatch cannot_reply_to_message
        thread_not_found
    """,
    PayloadRefused: """
        invalid_blocks invalid_blocks_format msg_blocks_too_long msg_too_long invalid_attachments
        too_many_attachments attachment_payload_limit_exceeded no_text markdown_text_conflict
        invalid_arguments invalid_metadata_format metadata_too_large
    """,
    ScopeMissing: "missing_scope",
    TokenRefused: """
        account_inactive token_revoked invalid_auth not_authed token_expired not_allowed_token_type
    """,
    BoardUnreachable: """
        team_added_to_org org_login_required external_channel_migrating message_limit_exceeded
    """,
}
_BY_CODE = {code: error for error, codes in _MEANINGS.items() for code in codes.split()}
_REFUSES_CONTENT = re.compile(r"(?:invalid|unsupported|too_many)_\w+|\w+_too_(?:long|large|many)")
"""How Slack words what it finds wrong with a request before it does anything; new codes of that kind appear."""
_BUSY_CODES = {"ratelimited", "rate_limited"}


def meaning(code: str, *, status: int, retry_after: str | None) -> BoardError:
    """What one of Slack's refusals asks of us.

    Args:
        code: the `error` of the body, or "" where there was none.
        status: the HTTP status.
        retry_after: the header of that name, in seconds.

    Returns:
        The error to raise. A code that is neither in the table nor of a kind that is may have had its effect
        ("part of the action may have happened", say the docs of `fatal_error`), so it is `Unanswered`.
    """
    if status == 429 or code in _BUSY_CODES:
        return BoardBusy(code or "ratelimited", _seconds(retry_after))
    if code in _BY_CODE:
        return _BY_CODE[code](code)
    if _REFUSES_CONTENT.fullmatch(code):
        return PayloadRefused(code)
    return Unanswered(code or f"http_{status}")


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.1, min(float(retry_after or ""), LONGEST_RETRY_AFTER_SECONDS))
    except ValueError:
        return 1.0


class SlackBoard:
    """`Board` over Slack's Web API."""

    def __init__(self, client: AsyncWebClient) -> None:
        """`client` comes from `slack_client`: one that never posts again by itself."""
        self._client = client
        self.refused: str | None = None
        """Slack's word for why it refuses the token; None while it takes it."""

    async def post(self, place: Place, message: Message, *, mark: str, thread: Ts | None = None) -> Ts:
        """See `Board.post`."""
        answer = await self._call(
            lambda: self._client.chat_postMessage(
                channel=place.channel,
                text=message.text,
                blocks=list(message.blocks),
                thread_ts=thread,
                metadata={"event_type": EVENT_TYPE, "event_payload": {"mark": mark}},
                unfurl_links=False,
                unfurl_media=False,
            )
        )
        return Ts(str(answer["ts"]))

    async def update(self, place: Place, ts: Ts, message: Message) -> None:
        """See `Board.update`. Text and blocks always go together: text alone would remove the blocks."""
        await self._call(
            lambda: self._client.chat_update(
                channel=place.channel, ts=ts, text=message.text, blocks=list(message.blocks)
            )
        )

    async def delete(self, place: Place, ts: Ts) -> None:
        """See `Board.delete`."""
        with suppress(MessageGone):  # somebody was faster
            await self._call(lambda: self._client.chat_delete(channel=place.channel, ts=ts))

    async def find(self, place: Place, *, mark: str, since: datetime, thread: Ts | None = None) -> Ts | None:
        """See `Board.find`."""
        cursor = ""
        while True:
            answer = await self._messages(place, since, thread, cursor)
            for found in answer["messages"]:
                is_parent = found.get("ts") == thread
                if not is_parent and _mark_of(found) == mark:
                    return Ts(str(found["ts"]))
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return None

    async def _messages(
        self, place: Place, since: datetime, thread: Ts | None, cursor: str
    ) -> AsyncSlackResponse:
        """One page of a channel's messages, or of a thread's, that are newer than `since`."""
        page: dict[str, Any] = {
            "channel": place.channel,
            "oldest": f"{since.timestamp():.6f}",
            "limit": MESSAGES_PER_PAGE,
            "include_all_metadata": True,
            "cursor": cursor or None,
        }
        if thread is None:
            return await self._call(lambda: self._client.conversations_history(**page))
        return await self._call(lambda: self._client.conversations_replies(ts=thread, **page))

    async def permalink(self, place: Place, ts: Ts) -> str:
        """See `Board.permalink`."""
        answer = await self._call(
            lambda: self._client.chat_getPermalink(channel=place.channel, message_ts=ts)
        )
        return str(answer["permalink"])

    async def direct(self, place: Place, user: UserId) -> Place:
        """See `Board.direct`."""
        answer = await self._call(lambda: self._client.conversations_open(users=user))
        return Place(place.team, ChannelId(str(answer["channel"]["id"])))

    async def _call(self, request: Callable[[], Awaitable[AsyncSlackResponse]]) -> AsyncSlackResponse:
        try:
            answer = await _call(request)
        except TokenRefused as error:
            if self.refused is None:
                log.error("slack refuses the token", code=error.code)
            self.refused = error.code
            raise
        self.refused = None
        return answer


def slack_client(token: str, base_url: str, session: aiohttp.ClientSession) -> AsyncWebClient:
    """A Web API client without retries of its own, over a session from `slack_session`.

    The SDK's default repeats a request whose connection broke, which posts a message twice when only the
    answer was lost. What may be repeated is decided by our callers.
    """
    return AsyncWebClient(token=token, base_url=base_url, session=session, retry_handlers=[])


def slack_session() -> aiohttp.ClientSession:
    """Connections to Slack, kept open between requests; no request takes longer than the time-out."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))


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
    answer = await _call(client.auth_test)
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
    await _call(lambda: client.apps_connections_open(app_token=str(client.token)))


async def whisper(session: aiohttp.ClientSession, response_url: str, line: str) -> None:
    """Tell a person a line that only they see, by the response_url of what they did. Raises a BoardError.

    A 5xx counts as not told: of a line that only one person sees, twice is better than never.
    """
    body = {"text": line, "response_type": "ephemeral", "replace_original": False}
    try:
        async with session.post(response_url, json=body) as answer:
            status, retry_after = answer.status, answer.headers.get("Retry-After")
    except aiohttp.ClientConnectorError as error:
        raise BoardUnreachable("no_connection") from error
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Unanswered(type(error).__name__) from error
    if status >= 500:
        raise BoardUnreachable(f"http_{status}")
    if status != 200:
        raise meaning("", status=status, retry_after=retry_after)


async def _call(request: Callable[[], Awaitable[AsyncSlackResponse]]) -> AsyncSlackResponse:
    try:
        return await request()
    except SlackApiError as error:
        raise _refusal(error.response) from error
    except aiohttp.ClientConnectorError as error:
        raise BoardUnreachable("no_connection") from error
    except (SlackClientError, aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise Unanswered(type(error).__name__) from error
    except (AttributeError, UnicodeDecodeError) as error:
        # The SDK trips over a body that is no JSON object: a proxy's line of text, say.
        raise Unanswered("nonsense") from error


def _refusal(answer: Any) -> BoardError:
    """What an answer that the SDK refused asks of us: the SDK's response, or aiohttp's where it was no JSON."""
    if not isinstance(answer, AsyncSlackResponse):
        return meaning("", status=answer.status, retry_after=answer.headers.get("Retry-After"))
    code = answer.get("error") if isinstance(answer.data, dict) else ""
    headers = answer.headers or {}
    return meaning(str(code or ""), status=answer.status_code, retry_after=headers.get("Retry-After"))


def _mark_of(found: dict[str, Any]) -> str | None:
    metadata = found.get("metadata") or {}
    if metadata.get("event_type") != EVENT_TYPE:
        return None
    mark = metadata.get("event_payload", {}).get("mark")
    return mark if isinstance(mark, str) else None
