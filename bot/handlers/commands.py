"""Bolt's side of cards: the command `/omni-job`, and the buttons. Acknowledges, asks a desk, tells what came of it."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.domain.access import Access
from bot.domain.cards import Place, TeamId, Ts, UserId, WatchId
from bot.domain.messages import Message
from bot.handlers.background import Errands
from bot.rendering import replies
from bot.rendering.blocks import (
    CANCEL_JOB,
    OPEN_CHAT,
    RESUME,
    RETRY_JOB,
    SHOW_DATA,
    SHOW_STEPS,
    STOP_FOLLOWING,
    TRY_AGAIN,
    TRY_AGAIN_PRIVATELY,
)
from bot.services.ask import AskDesk, Wish
from bot.services.cancel import CancelDesk
from bot.services.follow import Desk
from bot.services.job_data import DataDesk
from bot.slack.payloads import click, place_of_command

log = structlog.get_logger()

OnCard = Callable[[WatchId, Place, Ts, UserId], Coroutine[Any, Any, Message | str | None]]
"""What a person can do with a card's button; returns what to tell them privately, if anything."""


class Handlers:
    """What can be typed about jobs, and pressed on their cards."""

    def __init__(
        self,
        *,
        desk: Desk,
        data_desk: DataDesk,
        ask_desk: AskDesk,
        cancel_desk: CancelDesk,
        access: Access,
        is_shared: Callable[[Place], Awaitable[bool]],
        errands: Errands,
        team: TeamId,
    ) -> None:
        """`is_shared`: whether no answer may be posted in a place now. `team`: the workspace of the app, for payloads
        that name none."""
        self._desk = desk
        self._data_desk = data_desk
        self._ask_desk = ask_desk
        self._cancel_desk = cancel_desk
        self._access = access
        self._is_shared = is_shared
        self._errands = errands
        self._team = team

    def register(self, app: AsyncApp) -> None:
        """The routes; `manifest.yml` names the same."""
        app.command(replies.COMMAND)(self.on_command)
        app.action(STOP_FOLLOWING)(self.on_stop_following)
        app.action(RESUME)(self.on_resume)
        app.action(SHOW_DATA)(self.on_show_data)
        app.action(SHOW_STEPS)(self.on_show_steps)
        app.action(CANCEL_JOB)(self.on_cancel)
        app.action(RETRY_JOB)(self.on_retry)
        app.action(TRY_AGAIN)(self.on_try_again)
        app.action(TRY_AGAIN_PRIVATELY)(self.on_try_again_privately)
        app.action(OPEN_CHAT)(self.on_open_chat)
        app.error(self.on_error)

    async def on_command(self, ack: AsyncAck, command: dict[str, Any]) -> None:
        """The command `/omni-job`."""
        words = str(command.get("text") or "").strip()
        person = UserId(command.get("user_id") or "")
        place = place_of_command(command, self._team)
        if words.lower() == "help":
            await ack(replies.help_text())
            return
        if not place.channel or not person:
            log.error("command without channel or person")
            await ack(replies.broken())
            return
        trigger = str(command.get("trigger_id") or "")
        if self._errands.is_repeated(trigger):
            await self._errands.acknowledge_again(ack, trigger)
            return
        if self._errands.is_full:
            await ack(self._errands.busy())
            return
        tell = self._errands.answer_to(command, place, person)
        match words.lower():
            case "":
                await ack()
                self._errands.run(self._help_and_follows(place.team, person), tell)
            case "list":
                await ack()
                self._errands.run(self._desk.follows(place.team, person), tell)
            case _:
                await self._errands.accept(
                    ack,
                    trigger,
                    lambda stored: self._desk.follow(words, place, person, stored, delivery=trigger),
                    tell,
                )

    async def on_stop_following(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """The button `Stop following`: for everybody, also whoever may do nothing else any more."""
        await self._on_button(ack, body, self._desk.stop_following)

    async def on_resume(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """The button `Resume`."""
        await self._on_button(ack, body, self._allowed(self._desk.resume))

    async def on_show_data(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """The button `Show data`."""
        await self._on_button(ack, body, self._allowed(self._unshared(self._data_desk.show_data)))

    async def on_show_steps(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """The button `Show steps`."""
        await self._on_button(ack, body, self._allowed(self._unshared(self._data_desk.show_steps)))

    async def on_cancel(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """The button `Cancel job`, once it is confirmed."""
        await self._on_button(ack, body, self._cancel_desk.cancel)

    async def on_retry(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """The button `Retry`."""
        pressed = click(body, self._team)
        watch, place, card = WatchId(pressed.value), pressed.place, pressed.message
        await self._errands.accept_once(
            ack,
            pressed.trigger,
            lambda stored: self._ask_desk.retry(watch, place, card, pressed.person, pressed.trigger, stored),
            self._errands.answer_to(body, pressed.place, pressed.person),
        )

    async def on_try_again(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """The button `Try again` of a private line, whose value is the question."""
        await self._try_again(ack, body, private=False)

    async def on_try_again_privately(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """The same of a question that was asked privately."""
        await self._try_again(ack, body, private=True)

    async def on_open_chat(self, ack: AsyncAck) -> None:
        """A link button: Slack opens the address by itself and only wants to hear that we know."""
        await ack()

    async def on_error(self, error: Exception) -> None:
        """A defect of ours; what can be expected was caught before. The body is not logged: it is people's."""
        log.error("listener broke", exc_info=error)

    async def _try_again(self, ack: AsyncAck, body: dict[str, Any], *, private: bool) -> None:
        pressed = click(body, self._team)
        wish = Wish(pressed.value, private=private, delivery=pressed.trigger)
        await self._errands.accept_once(
            ack,
            pressed.trigger,
            lambda stored: self._ask_desk.ask(wish, pressed.place, pressed.person, stored),
            self._errands.answer_to(body, pressed.place, pressed.person),
        )

    async def _on_button(self, ack: AsyncAck, body: dict[str, Any], errand: OnCard) -> None:
        await ack()
        pressed = click(body, self._team)
        if not self._errands.is_repeated(pressed.trigger):
            doing = errand(WatchId(pressed.value), pressed.place, pressed.message, pressed.person)
            self._errands.run(doing, self._errands.answer_to(body, pressed.place, pressed.person))

    def _allowed(self, errand: OnCard) -> OnCard:
        """The same for those who may use the bot there; others are told why not."""

        async def judged(watch: WatchId, place: Place, card: Ts, person: UserId) -> Message | str | None:
            line = await self._access.refusal(person, place)
            return line if line is not None else await errand(watch, place, card, person)

        return judged

    def _unshared(self, errand: OnCard) -> OnCard:
        """The same where nobody of another organisation reads along."""

        async def judged(watch: WatchId, place: Place, card: Ts, person: UserId) -> Message | str | None:
            if await self._is_shared(place):
                return replies.not_shown_where_shared()
            return await errand(watch, place, card, person)

        return judged

    async def _help_and_follows(self, team: TeamId, person: UserId) -> str:
        return f"{replies.help_text()}\n\n{await self._desk.follows(team, person)}"
