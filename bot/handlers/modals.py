"""Listeners for the command `/omni-ask`, the shortcuts from anywhere, and modals.

Slack allows 3 s to open a modal, so it is opened first, and its choices are filled in later.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.domain import (
    Authorization,
    CardId,
    ChannelId,
    ChannelRef,
    InvalidInput,
    Rating,
    Refused,
    SlackError,
    TeamId,
    UserId,
)
from bot.domain.ports import SlackViews
from bot.handlers import modal_input
from bot.handlers.background import Interaction, InteractionRunner, ReplyFn
from bot.rendering import (
    ASK_FOLLOW_UP,
    RATE,
    RATE_HELPFUL,
    RATE_UNHELPFUL,
    ModelOptions,
    ask_replies,
    modals,
    replies,
)
from bot.services import (
    PRIVATE,
    AskRequest,
    AskService,
    FeedbackService,
    FollowService,
    ModelCatalog,
    parse_private_flag,
)
from bot.slack import ButtonClick, channel_of_command, click, trigger_of, user_of

log = structlog.get_logger()

T = TypeVar("T")

FOLLOW_ANY = "follow_any"
ASK_ANYWHERE = "ask_anywhere"
"""The callback ids of the shortcuts in `manifest.yml`."""

NOWHERE = ChannelId("")
"""Channel of a modal that was opened outside of any: its replies and cards go to direct messages."""


class ModalHandlers:
    """Listeners for `/omni-ask` and for modals."""

    def __init__(
        self,
        *,
        follow_service: FollowService,
        ask_service: AskService,
        feedback_service: FeedbackService,
        authorization: Authorization,
        models: ModelCatalog,
        views: SlackViews,
        interactions: InteractionRunner,
        team: TeamId,
    ) -> None:
        """`team`: the app's workspace, for payloads without one."""
        self._follow_service = follow_service
        self._ask_service = ask_service
        self._feedback_service = feedback_service
        self._authorization = authorization
        self._models = models
        self._views = views
        self._interactions = interactions
        self._team = team

    def register(self, app: AsyncApp) -> None:
        """Register the listeners. `manifest.yml` lists the same."""
        app.command(ask_replies.COMMAND)(self.on_ask_command)
        app.shortcut(FOLLOW_ANY)(self.on_follow_shortcut)
        app.shortcut(ASK_ANYWHERE)(self.on_ask_shortcut)
        app.action(ASK_FOLLOW_UP)(self.on_follow_up_button)
        app.action(modals.CHOOSE_MODEL)(self.on_model_chosen)
        app.action(RATE)(self.on_rating)
        app.action(RATE_HELPFUL)(self.on_rating)
        app.action(RATE_UNHELPFUL)(self.on_rating)
        app.view(modals.EXPLAIN_RATING)(self.on_reason)
        app.view(modals.ASK)(self.on_question)
        app.view(modals.FOLLOW_UP)(self.on_follow_up)
        app.view(modals.FOLLOW_JOB)(self.on_job)

    async def on_ask_command(self, ack: AsyncAck, command: dict[str, Any]) -> None:
        """Handle `/omni-ask`: ask the question, or open the modal if there is none."""
        text = str(command.get("text") or "").strip()
        user = UserId(command.get("user_id") or "")
        channel = channel_of_command(command, self._team)
        trigger = trigger_of(command)
        if text.lower() == "help":
            await ack(ask_replies.help_text())
            return
        reply = self._interactions.reply_to(command, channel, user)
        if text.lower() in ("", PRIVATE):
            await ack()
            self._interactions.run(trigger, self.open_question(trigger, channel, user), reply, user)
            return
        prompt, private = parse_private_flag(text)
        request = AskRequest(prompt, private=private, request_id=trigger)
        asking = self._ask_service.ask(request, channel, user)
        await self._interactions.ack_when_saved(ack, trigger, asking, reply, ack_busy=ack)

    async def on_follow_shortcut(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle the shortcut that opens the modal for a job id."""
        await ack()
        self._run_privately(body, self.open(trigger_of(body), modals.follow_job()))

    async def on_ask_shortcut(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle the shortcut that opens the modal for a question."""
        await ack()
        nowhere = ChannelRef(self._team, NOWHERE)
        self._run_privately(body, self.open_question(trigger_of(body), nowhere, user_of(body)))

    def _run_privately(self, body: dict[str, Any], opening: Interaction) -> None:
        user = user_of(body)
        reply = self._interactions.ephemeral_reply(ChannelRef(self._team, NOWHERE), user)
        self._interactions.run(trigger_of(body), opening, reply, user)

    async def on_follow_up_button(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle `Ask a follow-up`."""
        await ack()
        clicked = click(body, self._team)
        view = modals.follow_up(CardId(clicked.value), clicked.channel, clicked.message_ts, clicked.thread)
        opening = self._open_to(clicked.user, clicked.channel, clicked.trigger_id, view)
        reply = self._interactions.reply_to(body, clicked.channel, clicked.user)
        self._interactions.run(clicked.trigger_id, opening, reply, clicked.user)

    async def on_model_chosen(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Show the topics of the model that was selected."""
        await ack()
        self._run_privately(body, self._redraw(body.get("view") or {}, user_of(body)))

    async def on_rating(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Handle 👍 and 👎."""
        await ack()
        clicked = click(body, self._team)
        reply = self._interactions.reply_to(body, clicked.channel, clicked.user)
        self._interactions.run(clicked.trigger_id, self._rate(clicked), reply, clicked.user)

    async def _rate(self, clicked: ButtonClick) -> str | None:
        """Record a rating. A bad one opens a modal that asks why, if the reason would be read."""
        name, _, card_id = clicked.value.partition(" ")
        if name not in set(Rating):
            return replies.nothing_to_show_here()
        rating, card, opened = Rating(name), CardId(card_id), None
        if rating is Rating.UNHELPFUL and self._feedback_service.asks_for_reasons:
            view = modals.explain_rating(card, clicked.channel, clicked.message_ts)
            opened = await self._opened(clicked.trigger_id, view)
        try:
            reply = await self._feedback_service.rate(
                rating, card, clicked.channel, clicked.message_ts, clicked.user
            )
        except Refused as error:
            if opened is None:
                return error.reply
            await self._update(opened, modals.refused(error.reply, "Not helpful"))
            return None
        return None if opened else reply

    async def on_reason(self, ack: AsyncAck, body: dict[str, Any], view: dict[str, Any]) -> None:
        """Handle a submitted reason for 👎."""
        if (entered := await parsed(ack, view, modal_input.rating_reason)) is None:
            return
        user, channel = user_of(body), entered.channel
        explaining = self._feedback_service.explain(
            entered.reason, entered.card, channel, entered.message_ts, user
        )
        reply = self._interactions.ephemeral_reply(channel, user)
        await self.submit(ack, body, explaining, reply, modals.REASON)

    async def on_question(self, ack: AsyncAck, body: dict[str, Any], view: dict[str, Any]) -> None:
        """Handle a submitted question."""
        if (entered := await parsed(ack, view, modal_input.question)) is None:
            return
        user, channel = user_of(body), entered.channel or ChannelRef(self._team, NOWHERE)
        request = AskRequest(
            entered.prompt,
            entered.model,
            entered.topic,
            for_channel=entered.for_channel,
            private=entered.private,
            request_id=trigger_of(body),
        )
        asking = self._ask_service.ask(request, channel, user)
        reply = self._interactions.ephemeral_reply(channel, user)
        await self.submit(ack, body, asking, reply, modals.QUESTION)

    async def on_follow_up(self, ack: AsyncAck, body: dict[str, Any], view: dict[str, Any]) -> None:
        """Handle a submitted follow-up."""
        if (entered := await parsed(ack, view, modal_input.follow_up)) is None:
            return
        user, channel = user_of(body), entered.channel
        request = AskRequest(entered.prompt, request_id=trigger_of(body))
        asking = self._ask_service.follow_up(request, entered.card, channel, entered.message_ts, user)
        reply = self._interactions.ephemeral_reply(channel, user, thread=entered.thread)
        await self.submit(ack, body, asking, reply, modals.QUESTION)

    async def on_job(self, ack: AsyncAck, body: dict[str, Any], view: dict[str, Any]) -> None:
        """Handle a submitted job id."""
        if (text := await parsed(ack, view, modal_input.job)) is None:
            return
        user, channel = user_of(body), ChannelRef(self._team, NOWHERE)
        following = self._follow_service.follow(text, channel, user, request_id=trigger_of(body))
        await self.submit(ack, body, following, self._interactions.ephemeral_reply(channel, user), modals.JOB)

    async def submit(
        self, ack: AsyncAck, body: dict[str, Any], work: Interaction, reply: ReplyFn, block: str
    ) -> None:
        """Start the work of a submitted modal. `block`: the field that shows that the bot is busy: the modal stays
        open and keeps its input."""

        async def ack_busy(text: str) -> None:
            await ack(response_action="errors", errors={block: text})

        await self._interactions.ack_when_saved(ack, trigger_of(body), work, reply, ack_busy=ack_busy)

    async def open_question(self, trigger: str, channel: ChannelRef, user: UserId) -> str | None:
        """Open the modal for a question, then look up its choices."""
        here = channel if channel.id else None
        opened = await self._opened(trigger, modals.ask(here, ModelOptions(is_loading=True)))
        if opened is None:
            return replies.slack_busy()
        try:
            await self._authorization.check(user, channel)
        except Refused as error:
            await self._update(opened, modals.refused(error.reply))
            return None
        choices = await self._models.choices(channel, user)
        await self._update(opened, modals.ask(here, choices, is_admin=self._authorization.is_admin(user)))
        return None

    async def open(self, trigger: str, view: modals.View) -> str | None:
        """Open a modal. Return the reply if Slack refuses."""
        return replies.slack_busy() if await self._opened(trigger, view) is None else None

    async def _open_to(
        self, user: UserId, channel: ChannelRef, trigger: str, view: modals.View
    ) -> str | None:
        """Open a modal, and replace it by the reason if the user may not use the bot there."""
        if (opened := await self._opened(trigger, view)) is None:
            return replies.slack_busy()
        try:
            await self._authorization.check(user, channel)
        except Refused as error:
            await self._update(opened, modals.refused(error.reply))
        return None

    async def _opened(self, trigger: str, view: modals.View) -> str | None:
        """Open a modal and return its id; None if Slack refuses."""
        try:
            return await self._views.open(trigger, view)
        except SlackError as error:
            log.warning("modal not opened", code=error.code)
            return None

    async def _redraw(self, view: modals.View, user: UserId) -> str | None:
        channel = modal_input.channel_of(view)
        try:
            where = channel or ChannelRef(self._team, NOWHERE)
            await self._authorization.check(user, where)
            choices = await self._models.choices(where, user, modal_input.chosen_model(view))
        except Refused as error:
            choices = ModelOptions(trouble=error.reply)  # this keeps the input
        redrawn = modals.ask(channel, choices, is_admin=self._authorization.is_admin(user))
        await self._update(str(view.get("id") or ""), redrawn)
        return None

    async def _update(self, opened: str, view: modals.View) -> None:
        try:
            await self._views.update(opened, view)
        except SlackError as error:
            log.info("modal not updated", code=error.code)  # most likely closed by now


async def parsed(ack: AsyncAck, view: modals.View, parse: Callable[[modals.View], T]) -> T | None:
    """Parse the input. None: it is invalid, and the acknowledgement shows why."""
    try:
        return parse(view)
    except InvalidInput as wrong:
        await ack(response_action="errors", errors=wrong.errors)
        return None
