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
        return await self._answer(body)

    async def on_message(self, body: dict[str, Any]) -> BoltResponse:
        """Handle a message in the bot's direct messages; ignore those in channels."""
        is_direct = (body.get("event") or {}).get("channel_type") == "im"
        return await self._answer(body) if is_direct else BoltResponse(status=200)

    async def _answer(self, body: dict[str, Any]) -> BoltResponse:
        response = BoltResponse(status=503)

        async def ack() -> None:
            response.status = 200

        words = incoming_message(body, self._team, self._bot_user)
        if words is None or words.person == self._bot_user:
            await ack()
            return response
        # An edited message mentions the bot again, in an event with an id of its own.
        is_named = words.message and self._local_reply(words) is None
        delivery = f"{words.place.id} {words.message}" if is_named else str(body.get("event_id") or "")
        tell = self._interactions.ephemeral_reply(words.place, words.person, thread=words.thread)
        await self._interactions.ack_when_saved(cast(AsyncAck, ack), delivery, self._work(words), tell)
        return response

    async def _work(self, words: IncomingMessage) -> SavedRequest | Response:
        place, person, request_id = words.place, words.person, words.message
        if (local := self._local_reply(words)) is not None:
            return local
        if words.thread is not None:
            request = AskRequest(words.words, request_id=request_id)
            return await self._ask_service.follow_up_in_thread(request, place, words.thread, person)
        if is_job_request(words.words):
            return await self._follow_service.follow(words.words, place, person, request_id=request_id)
        prompt, private = parse_private_flag(words.words)
        request = AskRequest(prompt, private=private, request_id=request_id)
        return await self._ask_service.ask(request, place, person)

    def _local_reply(self, words: IncomingMessage) -> SavedRequest | None:
        """Return the reply to a message that is obviously neither a question nor a job. Nothing is lost with it."""
        said = words.words.lower().strip(" .!?")
        if said in _GREETINGS:
            return SavedRequest(partial(_text, ask_replies.help_text()))
        if said in _THANKS:
            return SavedRequest(partial(_text, ask_replies.welcome()))
        if said == _LIST:
            return SavedRequest(partial(self._follow_service.follows, words.place.team, words.person))
        return None


async def _text(text: str) -> Response:
    return text


async def _handled_by_middleware() -> None:
    """Do nothing: the middleware has handled the event."""
