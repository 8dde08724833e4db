"""Slack's modals and Home tabs, and lines for one person, over the Web API.

Source of methods: the method pages at docs.slack.dev/reference/methods.
"""

from typing import Any

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import ChannelRef, Message, MessageTs, OutcomeUnknown, SlackError, SlackUnreachable, UserId
from bot.domain.ports import Metrics, RequestOutcome
from bot.slack.web_api import call, meaning, outcome_of


class WebApiViews:
    """`SlackViews` over Slack's Web API. Each call is made once: all but `open` and `reply_to_response_url`
    may be made again."""

    def __init__(self, client: AsyncWebClient) -> None:
        """`client` comes from `slack_client`."""
        self._client = client

    async def open(self, trigger: str, view: dict[str, object]) -> str:
        """See `SlackViews.open`. Raises ViewGone where the 3 s are over, or the trigger is used up."""
        answer = await call(lambda: self._client.views_open(trigger_id=trigger, view=view))
        return str(answer["view"]["id"])

    async def update(self, view_id: str, view: dict[str, object]) -> None:
        """See `SlackViews.update`. Raises ViewGone where the person has closed it."""
        await call(lambda: self._client.views_update(view_id=view_id, view=view))

    async def publish(self, user: UserId, view: dict[str, object]) -> None:
        """See `SlackViews.publish`. Raises NotAllowedHere where the app has no Home tab, or the person none of ours."""
        await call(lambda: self._client.views_publish(user_id=user, view=view))

    async def post_ephemeral(
        self, channel: ChannelRef, user: UserId, message: Message, *, thread: MessageTs | None = None
    ) -> None:
        """See `SlackViews.post_ephemeral`. Raises NotAllowedHere where the bot or the person is no member."""
        await call(
            lambda: self._client.chat_postEphemeral(
                channel=channel.id,
                user=user,
                text=message.text,
                blocks=list(message.blocks),
                thread_ts=thread,
            )
        )


METHOD = "response"
"""What it is counted as. Not `response_url`: where that name stands, an address may."""

NO_CONNECTION = "no_connection"


async def reply_to_response_url(
    session: aiohttp.ClientSession, metrics: Metrics, response_url: str, message: Message
) -> None:
    """Tell a person what only they see, by the response_url of what they did. Raises a BoardError.

    `session` comes from `slack.slack_session`, which follows no redirect.

    A 5xx and a page count as not told: of what only one person sees, twice is better than never.
    """
    outcome = RequestOutcome.ABANDONED
    try:
        await _send(session, response_url, message)
        outcome = RequestOutcome.OK
    except SlackError as error:
        outcome = RequestOutcome.NOT_SENT if error.code == NO_CONNECTION else outcome_of(error)
        raise
    finally:
        metrics.slack_call(METHOD, outcome)


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
        raise SlackUnreachable(NO_CONNECTION) from error
    except aiohttp.TooManyRedirects as error:
        raise SlackError(f"http_{error.status}") from error
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise OutcomeUnknown(type(error).__name__) from error
    if status >= 500:
        raise SlackUnreachable(f"http_{status}")
    if status == 200 and is_page:
        # Somebody else answers in Slack's place, a proxy say; Slack's own body is but a word or an object.
        raise SlackUnreachable("nonsense")
    if status == 429:
        raise meaning("", status=status, retry_after=retry_after)
    if status != 200:
        # It is used up, or 30 minutes old: docs.slack.dev/interactivity/handling-user-interaction.
        raise SlackError(f"http_{status}")
