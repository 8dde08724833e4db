"""Modals, Home tabs and ephemeral messages over Slack's Web API.

Source of methods: the method pages at docs.slack.dev/reference/methods.
"""

from typing import Any

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import ChannelRef, Message, MessageTs, OutcomeUnknown, SlackError, SlackUnreachable, UserId
from bot.domain.ports import Metrics, RequestOutcome
from bot.slack.web_api import call, error_for, field, outcome_of


class WebApiViews:
    """`SlackViews` over Slack's Web API. Never retries; the callers may, except for `open`."""

    def __init__(self, client: AsyncWebClient) -> None:
        """`client` must come from `slack_client`."""
        self._client = client

    async def open(self, trigger: str, view: dict[str, object]) -> str:
        """See `SlackViews.open`. Raises ViewGone if the trigger was used or is older than 3 s."""
        response = await call(lambda: self._client.views_open(trigger_id=trigger, view=view))
        return str(field(response, "view", "id"))

    async def update(self, view_id: str, view: dict[str, object]) -> None:
        """See `SlackViews.update`. Raises ViewGone if the user has closed it."""
        await call(lambda: self._client.views_update(view_id=view_id, view=view))

    async def publish(self, user: UserId, view: dict[str, object]) -> None:
        """See `SlackViews.publish`. Raises NotAllowedHere if the app or the user has no Home tab."""
        await call(lambda: self._client.views_publish(user_id=user, view=view))

    async def post_ephemeral(
        self, channel: ChannelRef, user: UserId, message: Message, *, thread: MessageTs | None = None
    ) -> None:
        """See `SlackViews.post_ephemeral`. Raises NotAllowedHere if the bot or the user is not a member."""
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
"""Method name for the metrics. `response_url` would look as if an address were logged."""

NO_CONNECTION = "no_connection"


async def reply_to_response_url(
    session: aiohttp.ClientSession, metrics: Metrics, response_url: str, message: Message
) -> None:
    """Send an ephemeral message to an interaction's response_url. Raises SlackError.

    A 5xx or an HTML page counts as not sent: an ephemeral message is better sent twice than never.

    Args:
        session: from `slack_session`, which follows no redirects.
        metrics: counts the call.
        response_url: from the interaction's payload.
        message: its content.
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
        async with session.post(response_url, json=body) as response:
            status, retry_after = response.status, response.headers.get("Retry-After")
            is_page = (await response.text(errors="replace")).lstrip().startswith("<")
    except aiohttp.ClientConnectorError as error:
        raise SlackUnreachable(NO_CONNECTION) from error
    except aiohttp.TooManyRedirects as error:
        raise SlackError(f"http_{error.status}") from error
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise OutcomeUnknown(type(error).__name__) from error
    if status >= 500:
        raise SlackUnreachable(f"http_{status}")
    if status == 200 and is_page:
        # A proxy answered: Slack's own body is a word or an object.
        raise SlackUnreachable("nonsense")
    if status == 429:
        raise error_for("", status=status, retry_after=retry_after)
    if status != 200:
        # The address was used up, or is older than 30 minutes: docs.slack.dev/interactivity/handling-user-interaction.
        raise SlackError(f"http_{status}")
