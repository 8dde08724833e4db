"""Slack's modals and Home tabs, and lines for one person, over the Web API.

Source of methods: the method pages at docs.slack.dev/reference/methods.
"""

from slack_sdk.web.async_client import AsyncWebClient

from bot.ports import Message
from bot.slackcodes import call
from bot.watch import Place, Ts, UserId


class SlackViews:
    """`Views` over Slack's Web API. Each call is made once: all but `open` and `whisper` may be made again."""

    def __init__(self, client: AsyncWebClient) -> None:
        """`client` comes from `slack_client`."""
        self._client = client

    async def open(self, trigger: str, view: dict[str, object]) -> str:
        """See `Views.open`. Raises ViewGone where the 3 s are over, or the trigger is used up."""
        answer = await call(lambda: self._client.views_open(trigger_id=trigger, view=view))
        return str(answer["view"]["id"])

    async def update(self, view_id: str, view: dict[str, object]) -> None:
        """See `Views.update`. Raises ViewGone where the person has closed it."""
        await call(lambda: self._client.views_update(view_id=view_id, view=view))

    async def publish(self, user: UserId, view: dict[str, object]) -> None:
        """See `Views.publish`. Raises NotAllowedHere where the app has no Home tab, or the person none of ours."""
        await call(lambda: self._client.views_publish(user_id=user, view=view))

    async def whisper(
        self, place: Place, user: UserId, message: Message, *, thread: Ts | None = None
    ) -> None:
        """See `Views.whisper`. Raises NotAllowedHere where the bot or the person is no member."""
        await call(
            lambda: self._client.chat_postEphemeral(
                channel=place.channel,
                user=user,
                text=message.text,
                blocks=list(message.blocks),
                thread_ts=thread,
            )
        )
