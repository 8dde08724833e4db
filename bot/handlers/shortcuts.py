"""Listeners for shortcuts: in the menu of a message, also in threads, and from anywhere."""

from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.domain import ChannelRef, TeamId, find_reference
from bot.handlers.background import InteractionRunner
from bot.handlers.modals import NOWHERE, ModalHandlers
from bot.rendering import modals, replies
from bot.services import FollowService, Response, SavedRequest
from bot.slack import channel_of_message, shown_in, user_of

FOLLOW_MESSAGE = "follow_message"
FOLLOW_ANY = "follow_any"
ASK_ANYWHERE = "ask_anywhere"
"""The callback ids of the shortcuts in `manifest.yml`."""


class Shortcuts:
    """Listeners for shortcuts."""

    def __init__(
        self,
        follow_service: FollowService,
        modal_handlers: ModalHandlers,
        interactions: InteractionRunner,
        team: TeamId,
    ) -> None:
        """`team`: the app's workspace, for payloads without one."""
        self._follow_service = follow_service
        self._modal_handlers = modal_handlers
        self._interactions = interactions
        self._team = team

    def register(self, app: AsyncApp) -> None:
        """Register the listeners. `manifest.yml` lists the same."""
        app.shortcut(FOLLOW_MESSAGE)(self.on_message)
        app.shortcut(FOLLOW_ANY)(self.on_follow)
        app.shortcut(ASK_ANYWHERE)(self.on_ask)

    async def on_message(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Follow the job that a message names."""
        trigger = str(body.get("trigger_id") or "")
        channel, user = channel_of_message(body, self._team), user_of(body)
        reference = find_reference(shown_in(body.get("message") or {}))

        async def follow() -> SavedRequest | Response:
            if reference is None:
                return replies.nothing_to_follow()
            return await self._follow_service.follow(reference, channel, user, request_id=trigger)

        await self._interactions.ack_when_saved(
            ack, trigger, follow(), self._interactions.reply_to(body, channel, user)
        )

    async def on_follow(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Open the modal that asks for a job id."""
        await ack()
        trigger = str(body.get("trigger_id") or "")
        channel, user = ChannelRef(self._team, NOWHERE), user_of(body)
        opening = self._modal_handlers.open(trigger, modals.follow_job())
        self._interactions.run(trigger, opening, self._interactions.ephemeral_reply(channel, user), user)

    async def on_ask(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Open the modal for a question."""
        await ack()
        trigger = str(body.get("trigger_id") or "")
        channel, user = ChannelRef(self._team, NOWHERE), user_of(body)
        opening = self._modal_handlers.open_question(trigger, channel, user)
        self._interactions.run(trigger, opening, self._interactions.ephemeral_reply(channel, user), user)
