"""Listeners for mentions of the bot and for its direct messages.

Bolt acknowledges an event before it calls a listener, but after the listener's middleware, so the middleware saves the
event here. Slack sends an event again if it is not acknowledged. A message is handled once, however many events it has.
"""

from functools import partial
from typing import Any, cast

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.response import BoltResponse

from bot.domain import TeamId, UserId, is_job_request
from bot.handlers.background import InteractionRunner
from bot.rendering import ask_replies
from bot.services import AskRequest, AskService, FollowService, Response, SavedRequest, parse_private_flag
from bot.slack import IncomingMessage, incoming_message

_GREETINGS = frozenset(["", "help", "hi", "hello", "hey", "hi there", "good morning", "test"])
_THANKS = frozenset(["thanks", "thank you", "thx", "ok", "okay", "great", "perfect", "bye"])
_LIST = "list"


class MessageHandlers:
    """Listeners for messages to the bot."""

    def __init__(
        self,
        follow_service: FollowService,
        ask_service: AskService,
        interactions: InteractionRunner,
        *,
        team: TeamId,
        bot_user: UserId,
    ) -> None:
        """`team`: the app's workspace, for payloads without one."""
        self._follow_service = follow_service
        self._ask_service = ask_service
        self._interactions = interactions
        self._team = team
        self._bot_user = bot_user

    def register(self, app: AsyncApp) -> None:
        """Register the listeners. `manifest.yml` lists the same."""
        app.event("app_mention", middleware=[self.on_mention])(_handled_by_middleware)
        app.event("message", middleware=[self.on_message])(_handled_by_middleware)

    async def on_mention(self, body: dict[str, Any]) -> BoltResponse:
        """Handle a mention of the bot."""
        return await self._answer(body, only_to_bot=True)

    async def on_message(self, body: dict[str, Any]) -> BoltResponse:
        """Handle a message in the bot's direct messages; ignore those in channels."""
        is_direct = (body.get("event") or {}).get("channel_type") == "im"
        return await self._answer(body) if is_direct else BoltResponse(status=200)

    async def _answer(self, body: dict[str, Any], *, only_to_bot: bool = False) -> BoltResponse:
        """`only_to_bot`: ignore a text that does not mention the bot."""
        response = BoltResponse(status=503)

        async def ack() -> None:
            response.status = 200

        message = incoming_message(body, self._team, self._bot_user)
        is_ours = message is not None and (message.is_to_bot or not only_to_bot)
        if message is None or not is_ours or message.user == self._bot_user:
            await ack()
            return response
        # An edited message mentions the bot again, in an event with an id of its own.
        is_named = message.message_ts and self._local_reply(message) is None
        request_id = (
            f"{message.channel.id} {message.message_ts}" if is_named else str(body.get("event_id") or "")
        )
        reply = self._interactions.ephemeral_reply(message.channel, message.user, thread=message.thread)
        await self._interactions.ack_when_saved(cast(AsyncAck, ack), request_id, self._work(message), reply)
        return response

    async def _work(self, message: IncomingMessage) -> SavedRequest | Response:
        channel, user, request_id = message.channel, message.user, message.message_ts
        if (local := self._local_reply(message)) is not None:
            return local
        if is_job_request(message.text):
            return await self._follow_service.follow(
                message.text, channel, user, request_id=request_id, thread=message.thread
            )
        if message.thread is not None:
            request = AskRequest(message.text, request_id=request_id)
            return await self._ask_service.follow_up_in_thread(request, channel, message.thread, user)
        prompt, private = parse_private_flag(message.text)
        request = AskRequest(prompt, private=private, request_id=request_id)
        return await self._ask_service.ask(request, channel, user)

    def _local_reply(self, message: IncomingMessage) -> SavedRequest | None:
        """Return the reply to a message that is obviously neither a question nor a job. Nothing is lost with it."""
        said = message.text.lower().strip(" .!?")
        if said in _GREETINGS:
            return SavedRequest(partial(_text, ask_replies.help_text()))
        if said in _THANKS:
            return SavedRequest(partial(_text, ask_replies.welcome()))
        if said == _LIST:
            return SavedRequest(partial(self._follow_service.follows, message.channel.team, message.user))
        return None


async def _text(text: str) -> Response:
    return text


async def _handled_by_middleware() -> None:
    """Do nothing: the middleware has handled the event."""
