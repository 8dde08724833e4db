"""Bolt's side of what people write to the bot: mentions of it, and its direct messages.

Bolt acknowledges an event before it calls a listener, but after the listener's middleware. So that is where an event is
taken in and stored; one that is not acknowledged, Slack delivers again. A message is answered once, however many events
there are of it.
"""

from typing import Any, cast

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.response import BoltResponse

from bot.domain import NotAJobReference, TeamId, UserId, parse_reference
from bot.handlers.background import InteractionRunner
from bot.rendering import ask_replies
from bot.services import AskRequest, AskService, FollowService, Response, SavedRequest, parse_private_flag
from bot.slack import IncomingMessage, incoming_message


class MessageHandlers:
    """What can be written to the bot."""

    def __init__(
        self,
        follow_service: FollowService,
        ask_service: AskService,
        interactions: InteractionRunner,
        *,
        team: TeamId,
        bot_user: UserId,
    ) -> None:
        """`team`: the workspace of the app, for payloads that name none."""
        self._follow_service = follow_service
        self._ask_service = ask_service
        self._interactions = interactions
        self._team = team
        self._bot_user = bot_user

    def register(self, app: AsyncApp) -> None:
        """The routes; `manifest.yml` names the same."""
        app.event("app_mention", middleware=[self.on_mention])(_answered_before)
        app.event("message", middleware=[self.on_message])(_answered_before)

    async def on_mention(self, body: dict[str, Any]) -> BoltResponse:
        """The bot was mentioned in a conversation that it is in."""
        return await self._answer(body)

    async def on_message(self, body: dict[str, Any]) -> BoltResponse:
        """Something was written in the bot's direct messages, or changed or deleted there."""
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
        # Who corrects a message mentions the bot anew, and its other events have ids of their own.
        is_named = words.message and not _is_for_help(words)
        delivery = f"{words.place.id} {words.message}" if is_named else str(body.get("event_id") or "")
        tell = self._interactions.ephemeral_reply(words.place, words.person, thread=words.thread)
        await self._interactions.ack_once_when_saved(cast(AsyncAck, ack), delivery, self._work(words), tell)
        return response

    async def _work(self, words: IncomingMessage) -> SavedRequest | Response:
        place, person, request_id = words.place, words.person, words.message
        if _is_for_help(words):
            return SavedRequest(_help)  # nothing is lost with it
        if words.thread is not None:
            request = AskRequest(words.words, request_id=request_id)
            return await self._ask_service.follow_up_in_thread(request, place, words.thread, person)
        if _names_a_job(words.words):
            return await self._follow_service.follow(words.words, place, person, request_id=request_id)
        prompt, private = parse_private_flag(words.words)
        request = AskRequest(prompt, private=private, request_id=request_id)
        return await self._ask_service.ask(request, place, person)


def _is_for_help(words: IncomingMessage) -> bool:
    return words.words.lower() in ("", "help")


def _names_a_job(words: str) -> bool:
    try:
        parse_reference(parse_private_flag(words)[0])
    except NotAJobReference:
        return False
    return True


async def _help() -> str:
    return ask_replies.help_text()


async def _answered_before() -> None:
    """The listener: all is done in its middleware."""
