"""Listeners for the command `/omni-job`, the shortcut in the menu of a message, and the buttons of cards."""

from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.domain import CardId, ChannelRef, Message, MessageTs, TeamId, UserId, find_reference
from bot.handlers.background import InteractionRunner
from bot.rendering import (
    CANCEL_JOB,
    CARD_MENU,
    FOLLOW,
    OPEN_CHAT,
    RESUME,
    RETRY_JOB,
    SHOW_DATA,
    SHOW_STEPS,
    STOP_FOLLOWING,
    TRY_AGAIN,
    TRY_AGAIN_PRIVATELY,
    replies,
)
from bot.services import (
    AskRequest,
    AskService,
    CancelService,
    FollowService,
    JobDataService,
    Response,
    SavedRequest,
)
from bot.slack import (
    channel_of_command,
    channel_of_message,
    click,
    shown_in,
    thread_of_message,
    trigger_of,
    user_of,
)

log = structlog.get_logger()

FOLLOW_MESSAGE = "follow_message"
"""The callback id of the shortcut in `manifest.yml`."""

OnCard = Callable[[CardId, ChannelRef, MessageTs, UserId], Coroutine[Any, Any, Message | str | None]]
"""Action of a button on a card. Returns the reply."""


class CommandHandlers:
    """Listeners for commands about jobs and for the buttons of their cards."""

    def __init__(
        self,
        *,
        follow_service: FollowService,
        job_data_service: JobDataService,
        ask_service: AskService,
        cancel_service: CancelService,
        interactions: InteractionRunner,
        team: TeamId,
    ) -> None:
        """`team`: the app's workspace, for payloads without one."""
        self._follow_service = follow_service
        self._job_data_service = job_data_service
        self._ask_service = ask_service
        self._cancel_service = cancel_service
        self._interactions = interactions
        self._team = team

    def register(self, app: AsyncApp) -> None:
        """Register the listeners. `manifest.yml` lists the same."""
        app.command(replies.COMMAND)(self.on_command)
        app.shortcut(FOLLOW_MESSAGE)(self.on_follow_message)
        app.action(FOLLOW)(self.on_follow)
        app.action(STOP_FOLLOWING)(self.on_stop_following)
        app.action(RESUME)(self.on_resume)
        app.action(SHOW_DATA)(self.on_show_data)
        app.action(SHOW_STEPS)(self.on_show_steps)
        app.action(CANCEL_JOB)(self.on_cancel)
        app.action(CARD_MENU)(self.on_card_menu)
        app.action(RETRY_JOB)(self.on_retry)
        app.action(TRY_AGAIN)(self.on_try_again)
        app.action(TRY_AGAIN_PRIVATELY)(self.on_try_again_privately)
        app.action(OPEN_CHAT)(self.on_open_chat)
        app.error(self.on_error)

    async def on_command(self, ack: AsyncAck, command: dict[str, Any]) -> None:
        """Handle the command `/omni-job`."""
        text = str(command.get("text") or "").strip()
        user = UserId(command.get("user_id") or "")
        channel = channel_of_command(command, self._team)
        if text.lower() == "help":
            await ack(replies.help_text())
            return
        if not channel.id or not user:
            log.error("command without channel or person")
            await ack(replies.broken())
            return
        trigger = trigger_of(command)
        reply = self._interactions.reply_to(command, channel, user)
        match text.lower():
            case "":
                await ack()
                self._interactions.run(trigger, self._help_and_follows(channel.team, user), reply, user)
            case "list":
                await ack()
                self._interactions.run(trigger, self._follow_service.follows(channel.team, user), reply, user)
            case _:
                following = self._follow_service.follow(text, channel, user, request_id=trigger)
                await self._interactions.ack_when_saved(ack, trigger, following, reply, ack_busy=ack)

    async def on_follow_message(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle the shortcut that follows the job that a message names."""
        trigger = trigger_of(body)
        channel, user = channel_of_message(body, self._team), user_of(body)
        reference = find_reference(shown_in(body.get("message") or {}))

        async def follow() -> SavedRequest | Response:
            if reference is None:
                return replies.nothing_to_follow()
            return await self._follow_service.follow(
                reference, channel, user, request_id=trigger, thread=thread_of_message(body)
            )

        reply = self._interactions.reply_to(body, channel, user)
        await self._interactions.ack_when_saved(ack, trigger, follow(), reply)

    async def on_follow(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle `Follow`."""
        await self._on_button(ack, body, self._follow_service.join)

    async def on_stop_following(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle `Stop following`. Needs no permission: users who lost access can still stop."""
        await self._on_button(ack, body, self._follow_service.stop_following)

    async def on_resume(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle `Resume`."""
        await self._on_button(ack, body, self._follow_service.resume)

    async def on_show_data(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle `Show data`."""
        await self._on_button(ack, body, self._job_data_service.show_data)

    async def on_show_steps(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle `Show steps`."""
        await self._on_button(ack, body, self._job_data_service.show_steps)

    async def on_cancel(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle `Cancel job`, which Slack lets the user confirm first."""
        await self._on_button(ack, body, self._cancel_service.cancel)

    async def on_card_menu(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle a choice in a card's menu, as its button would be."""
        chosen, _, card_id = click(body, self._team).value.partition(" ")
        actions = {
            STOP_FOLLOWING: self._follow_service.stop_following,
            CANCEL_JOB: self._cancel_service.cancel,
        }
        await self._on_button(ack, body, actions.get(chosen, unknown_choice), CardId(card_id))

    async def on_retry(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle `Retry`."""
        clicked = click(body, self._team)
        retrying = self._ask_service.retry(
            CardId(clicked.value), clicked.channel, clicked.message_ts, clicked.user, clicked.trigger_id
        )
        await self._interactions.ack_when_saved(
            ack,
            clicked.trigger_id,
            retrying,
            self._interactions.reply_to(body, clicked.channel, clicked.user),
        )

    async def on_try_again(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle `Try again` of an ephemeral reply. The button's value is the question."""
        await self._try_again(ack, body, private=False)

    async def on_try_again_privately(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle `Try again` for a question that was asked privately."""
        await self._try_again(ack, body, private=True)

    async def on_open_chat(self, ack: AsyncAck) -> None:
        """Acknowledge a link button; Slack opens the address."""
        await ack()

    async def on_error(self, error: Exception) -> None:
        """Log a defect, without the payload: it holds what users wrote."""
        log.error("listener broke", exc_info=error)

    async def _try_again(self, ack: AsyncAck, body: dict[str, Any], *, private: bool) -> None:
        clicked = click(body, self._team)
        thread = clicked.thread if clicked.thread != clicked.message_ts else None
        request = AskRequest(clicked.value, private=private, request_id=clicked.trigger_id, thread=thread)
        await self._interactions.ack_when_saved(
            ack,
            clicked.trigger_id,
            self._ask_service.ask(request, clicked.channel, clicked.user),
            self._interactions.reply_to(body, clicked.channel, clicked.user),
        )

    async def _on_button(
        self, ack: AsyncAck, body: dict[str, Any], action: OnCard, card_id: CardId | None = None
    ) -> None:
        """`card_id`: from a menu's option; None: the button's value."""
        await ack()
        clicked = click(body, self._team)
        card_id = CardId(clicked.value) if card_id is None else card_id
        work = action(card_id, clicked.channel, clicked.message_ts, clicked.user)
        reply = self._interactions.reply_to(body, clicked.channel, clicked.user)
        self._interactions.run(clicked.trigger_id, work, reply, clicked.user)

    async def _help_and_follows(self, team: TeamId, user: UserId) -> str:
        return f"{replies.help_text()}\n\n{await self._follow_service.follows(team, user)}"


async def unknown_choice(*_: object) -> str:
    """No card has such an option: the choice is forged, or from another version of the bot."""
    return replies.nothing_to_show_here()
