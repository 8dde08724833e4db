"""Slack's Web API: counts calls, and turns error codes into exceptions."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, cast

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.domain import (
    MessageGone,
    NotAllowedHere,
    OutcomeUnknown,
    PayloadRefused,
    ScopeMissing,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    TokenRefused,
    ViewGone,
)
from bot.domain.ports import Metrics, RequestOutcome

_OUTCOMES: dict[type[SlackError], RequestOutcome] = {
    SlackBusy: RequestOutcome.RATE_LIMITED,
    TokenRefused: RequestOutcome.KEY_REFUSED,
    OutcomeUnknown: RequestOutcome.UNANSWERED,
    SlackUnreachable: RequestOutcome.SERVER_ERROR,
}


def outcome_of(error: SlackError) -> RequestOutcome:
    """Return how the metrics count an error."""
    return _OUTCOMES.get(type(error), RequestOutcome.REFUSED)


class MeteredWebClient(AsyncWebClient):
    """The SDK's client, with metrics of each call."""

    def __init__(self, metrics: Metrics, **more: Any) -> None:
        """`more`: see the base class."""
        super().__init__(**more)
        self.proxy = None  # the SDK reads HTTPS_PROXY without NO_PROXY; the session knows both
        self._metrics = metrics

    async def api_call(self, api_method: str, **more: Any) -> AsyncSlackResponse:
        """See the base class. All its methods use this one."""
        outcome = RequestOutcome.ABANDONED
        try:
            response = await super().api_call(api_method, **more)
            outcome = RequestOutcome.OK
        except SlackApiError as error:
            outcome = outcome_of(refusal(error.response))
            raise
        except aiohttp.ClientConnectorError:
            outcome = RequestOutcome.NOT_SENT
            raise
        except Exception:
            outcome = RequestOutcome.UNANSWERED
            raise
        finally:
            self._metrics.slack_call(api_method, outcome)
        return response


def session_of(client: AsyncWebClient) -> aiohttp.ClientSession:
    """Return the session of a client that `slack_client` built."""
    return cast(aiohttp.ClientSession, client.session)


LONGEST_RETRY_AFTER_SECONDS = 300.0

_CODES: dict[type[SlackError], str] = {
    NotAllowedHere: """
        not_in_channel channel_not_found no_permission is_archived is_inactive restricted_action
        restricted_action_read_only_channel restricted_action_thread_only_channel
        restricted_action_non_threadable_channel restricted_action_thread_locked messages_tab_disabled
        cannot_dm_bot user_not_found user_disabled user_not_visible posting_to_channel_denied
        not_in_dm invalid_channel channel_is_archived method_not_supported_for_channel_type access_denied
        app_access_restricted ekm_access_denied team_access_not_granted accesslimited user_not_in_channel not_enabled
        file_uploads_disabled file_uploads_except_images_disabled file_type_not_allowed storage_limit_reached
    """,
    MessageGone: """
        message_not_found cant_update_message edit_window_closed block_mismatch cannot_reply_to_message
        thread_not_found cannot_find_message
    """,
    ViewGone: """
        expired_trigger_id exchanged_trigger_id invalid_trigger_id not_found hash_conflict
    """,
    PayloadRefused: """
        invalid_blocks invalid_blocks_format msg_blocks_too_long msg_too_long invalid_attachments
        too_many_attachments attachment_payload_limit_exceeded no_text markdown_text_conflict
        invalid_arguments invalid_metadata_format metadata_too_large missing_argument alt_txt_too_large
        snippet_too_large file_upload_size_restricted
    """,
    ScopeMissing: "missing_scope",
    TokenRefused: """
        account_inactive token_revoked invalid_auth not_authed token_expired not_allowed_token_type
    """,
    SlackUnreachable: """
        team_added_to_org org_login_required external_channel_migrating message_limit_exceeded file_not_found
    """,
}

_BY_CODE = {code: error for error, codes in _CODES.items() for code in codes.split()}

_INVALID_REQUEST = re.compile(r"(?:invalid|unsupported|too_many)_\w+|\w+_too_(?:long|large|many)")
"""Codes that Slack uses for invalid requests. New ones of this form appear."""

_SLACK_FAILED = re.compile(r"\w*_error|\w*(?:unavailable|timeout|timed_out)|\w+_failed|failed_\w+")
"""Codes that Slack uses when it failed itself, such as `internal_error`, `service_unavailable` and `update_failed`."""

_BUSY_CODES = {"ratelimited", "rate_limited"}


def error_for(code: str, *, status: int, retry_after: str | None) -> SlackError:
    """Return the exception for an error code.

    A code that says that Slack failed gives OutcomeUnknown, since the request may have had its effect: "part of the
    action may have happened", say the docs of `fatal_error`. Any other refusal is final.

    Args:
        code: the `error` of a body with `ok: false`, or "" if there was none.
        status: the HTTP status.
        retry_after: the header of that name, in seconds.
    """
    if status == 429 or code in _BUSY_CODES:
        return SlackBusy(code or "ratelimited", _seconds(retry_after))
    if code in _BY_CODE:
        return _BY_CODE[code](code)
    if _INVALID_REQUEST.fullmatch(code):
        return PayloadRefused(code)
    if not code or status >= 500 or _SLACK_FAILED.fullmatch(code):
        return OutcomeUnknown(code or f"http_{status}")
    return NotAllowedHere(code)


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.1, min(float(retry_after or ""), LONGEST_RETRY_AFTER_SECONDS))
    except ValueError:
        return 1.0


async def call(request: Callable[[], Awaitable[AsyncSlackResponse]]) -> AsyncSlackResponse:
    """Make one request with the SDK. Raises SlackError."""
    try:
        return await request()
    except SlackApiError as error:
        raise refusal(error.response) from error
    except aiohttp.ClientConnectorError as error:
        raise SlackUnreachable("no_connection") from error
    except (SlackClientError, aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise OutcomeUnknown(type(error).__name__) from error
    except (AttributeError, UnicodeDecodeError) as error:
        # The SDK fails on a body that is not a JSON object, such as a line of text from a proxy.
        raise OutcomeUnknown("nonsense") from error


def field(response: AsyncSlackResponse, *path: str) -> Any:
    """Return a field of a response. Raises OutcomeUnknown if it is missing, as in the body of a proxy."""
    value: Any = response.data
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:
        raise OutcomeUnknown("nonsense")
    return value


def refusal(response: Any) -> SlackError:
    """Return the exception for an error response: the SDK's, or aiohttp's if it was not JSON."""
    if not isinstance(response, AsyncSlackResponse):
        return error_for("", status=response.status, retry_after=response.headers.get("Retry-After"))
    code = response.get("error") if isinstance(response.data, dict) and response.get("ok") is False else ""
    headers = response.headers or {}
    return error_for(str(code or ""), status=response.status_code, retry_after=headers.get("Retry-After"))
