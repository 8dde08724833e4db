"""Listeners for the menu of a card with an answer, and for the modals that it opens."""

from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.domain import CardId, TeamId
from bot.handlers import modal_input
from bot.handlers.background import Interaction, InteractionRunner
from bot.handlers.commands import unknown_choice
from bot.handlers.modals import ModalHandlers, parsed
from bot.rendering import blocks, modals
from bot.services import JobDataService, RemoveService, ShareService
from bot.slack import ButtonClick, click, trigger_of, user_of


class AnswerHandlers:
    """Listeners for what can be done with an answer."""

    def __init__(
        self,
        *,
        job_data_service: JobDataService,
        share_service: ShareService,
        remove_service: RemoveService,
        modal_handlers: ModalHandlers,
        interactions: InteractionRunner,
        team: TeamId,
    ) -> None:
        """`team`: the app's workspace, for payloads without one."""
        self._job_data_service = job_data_service
        self._share_service = share_service
        self._remove_service = remove_service
        self._modals = modal_handlers
        self._interactions = interactions
        self._team = team

    def register(self, app: AsyncApp) -> None:
        """Register the listeners."""
        app.action(blocks.ANSWER_MENU)(self.on_menu)
        app.view(modals.SHARE)(self.on_share)
        app.view(modals.REMOVE)(self.on_remove)

    async def on_menu(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle a choice in the menu."""
        await ack()
        clicked = click(body, self._team)
        chosen, _, value = clicked.value.partition(" ")
        card_id = CardId(value)
        work: Interaction
        match chosen:
            case blocks.SHOW_STEPS:
                work = self._job_data_service.show_steps(
                    card_id, clicked.channel, clicked.message_ts, clicked.user
                )
            case blocks.SHARE_ANSWER:
                view = modals.share(card_id, clicked.channel, clicked.message_ts)
                work = self._modals.open(clicked.trigger_id, view)
            case blocks.REMOVE_ANSWER:
                work = self._confirm_removal(clicked, card_id)
            case _:
                work = unknown_choice()
        reply = self._interactions.reply_to(body, clicked.channel, clicked.user)
        self._interactions.run(clicked.trigger_id, work, reply, clicked.user)

    async def on_share(self, ack: AsyncAck, body: dict[str, Any], view: dict[str, Any]) -> None:
        """Handle a picked channel."""
        if (entered := await parsed(ack, view, modal_input.share)) is None:
            return
        user = user_of(body)
        sharing = self._share_service.share(
            entered.card,
            entered.channel,
            entered.message_ts,
            entered.target,
            user,
            request_id=trigger_of(body),
        )
        reply = self._interactions.ephemeral_reply(entered.channel, user)
        await self._modals.submit(ack, body, sharing, reply, modals.CHANNEL)

    async def on_remove(self, ack: AsyncAck, body: dict[str, Any], view: dict[str, Any]) -> None:
        """Handle a confirmed removal."""
        if (clicked := modal_input.clicked_card(view)) is None:
            await ack()
            return
        card_id, channel, message_ts = clicked
        user = user_of(body)
        await self._interactions.ack_when_saved(
            ack,
            trigger_of(body),
            self._remove_service.remove(card_id, channel, message_ts, user),
            self._interactions.ephemeral_reply(channel, user),
        )

    async def _confirm_removal(self, clicked: ButtonClick, card_id: CardId) -> str | None:
        """Open the modal, unless the user may not remove the answer."""
        refusal = await self._remove_service.refusal(
            card_id, clicked.channel, clicked.message_ts, clicked.user
        )
        if refusal is not None:
            return refusal
        view = modals.remove(card_id, clicked.channel, clicked.message_ts)
        return await self._modals.open(clicked.trigger_id, view)
