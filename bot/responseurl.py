"""What only one person sees: told by the response_url that Slack gives with what they did."""

from typing import Any

import aiohttp

from bot.errors import BoardError, BoardUnreachable, Unanswered
from bot.meter import Meter, Outcome
from bot.ports import Message
from bot.slackclient import outcome_of
from bot.slackcodes import meaning

METHOD = "response"
"""What it is counted as. Not `response_url`: where that name stands, an address may."""
NO_CONNECTION = "no_connection"


async def whisper(session: aiohttp.ClientSession, meter: Meter, response_url: str, message: Message) -> None:
    """Tell a person what only they see, by the response_url of what they did. Raises a BoardError.

    `session` comes from `slack.slack_session`, which follows no redirect.

    A 5xx and a page count as not told: of what only one person sees, twice is better than never.
    """
    outcome = Outcome.ABANDONED
    try:
        await _send(session, response_url, message)
        outcome = Outcome.OK
    except BoardError as error:
        outcome = Outcome.NOT_SENT if error.code == NO_CONNECTION else outcome_of(error)
        raise
    finally:
        meter.slack_call(METHOD, outcome)


async def _send(session: aiohttp.ClientSession, response_url: str, message: Message) -> None:
    body: dict[str, Any] = {
        "text": message.text,
        "response_type": "ephemeral",
        "replace_original": False,
    }
    if message.blocks:
        body["blocks"] = list(message.blocks)
    try:
        async with session.post(response_url, json=body) as answer:
            status, retry_after = answer.status, answer.headers.get("Retry-After")
            is_page = (await answer.text(errors="replace")).lstrip().startswith("<")
    except aiohttp.ClientConnectorError as error:
        raise BoardUnreachable(NO_CONNECTION) from error
    except aiohttp.TooManyRedirects as error:
        raise BoardError(f"http_{error.status}") from error
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Unanswered(type(error).__name__) from error
    if status >= 500:
        raise BoardUnreachable(f"http_{status}")
    if status == 200 and is_page:
        # Somebody else answers in Slack's place, a proxy say; Slack's own body is but a word or an object.
        raise BoardUnreachable("nonsense")
    if status == 429:
        raise meaning("", status=status, retry_after=retry_after)
    if status != 200:
        # It is used up, or 30 minutes old: docs.slack.dev/interactivity/handling-user-interaction.
        raise BoardError(f"http_{status}")
