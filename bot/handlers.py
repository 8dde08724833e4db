"""Bolt's side: acknowledge, hand the request to the desk, tell the person privately what came of it.

A listener acknowledges first and raises nothing afterwards: Bolt forgets an acknowledgement when its listener
raises right after it. Only a follow is stored before, within a second: once it is acknowledged, nobody but us
remembers it. Work goes into tasks of our own, because Bolt keeps no reference to its listeners and
does not wait for them at the end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot import lines
from bot.blocks import OPEN_CHAT, RESUME, SHOW_DATA, SHOW_STEPS, STOP_FOLLOWING
from bot.datadesk import DataDesk
from bot.desk import Desk
from bot.errors import BoardBusy, BoardError, BoardUnreachable
from bot.watch import ChannelId, Place, TeamId, Ts, UserId, WatchId

log = structlog.get_logger()

REMEMBERED_DELIVERIES = 2_000
"""How many deliveries are remembered, so that one that Slack makes twice is answered once."""
STORED_WITHIN_SECONDS = 1.0
"""How long the acknowledgement of a follow waits for it to be stored; Slack gives it 3 s."""
TELL_AGAIN_AFTER_SECONDS = 1.0
TELL_AT_THE_END_WITHIN_SECONDS = 0.8

Whisper = Callable[[str, str], Awaitable[None]]
"""Tells a private line by a response_url; raises any BoardError."""

OnCard = Callable[[WatchId, Place, Ts, UserId], Coroutine[Any, Any, str | None]]
"""What a person can do with a card's button; returns the private line to tell, if any."""


class Handlers:
    """All that Slack can send us."""

    def __init__(self, desk: Desk, data_desk: DataDesk, whisper: Whisper, team: TeamId) -> None:
        """`team`: the workspace of the app, for payloads that name none."""
        self._desk = desk
        self._data_desk = data_desk
        self._whisper = whisper
        self._team = team
        self._errands: set[asyncio.Task[None]] = set()
        self._delivered: dict[str, None] = {}

    def register(self, app: AsyncApp) -> None:
        """The table of routes; `manifest.yml` names the same."""
        app.command(lines.COMMAND)(self.on_command)
        app.action(STOP_FOLLOWING)(self.on_stop_following)
        app.action(RESUME)(self.on_resume)
        app.action(SHOW_DATA)(self.on_show_data)
        app.action(SHOW_STEPS)(self.on_show_steps)
        app.action(OPEN_CHAT)(self.on_open_chat)
        app.error(self.on_error)

    async def drain(self) -> None:
        """Wait for what was acknowledged and is not answered yet."""
        await asyncio.gather(*self._errands, return_exceptions=True)

    async def on_command(self, ack: AsyncAck, command: dict[str, Any]) -> None:
        """The command `/omni-job`."""
        words = str(command.get("text") or "").strip()
        channel = ChannelId(command.get("channel_id") or "")
        person = UserId(command.get("user_id") or "")
        if words.lower() == "help":
            await ack(lines.help_text())
            return
        if not channel or not person:
            log.error("command without channel or person")
            await ack(lines.broken())
            return
        if self._is_repeated(command):
            await ack()
            return
        place = Place(TeamId(command.get("team_id") or self._team), channel)
        match words.lower():
            case "":
                await ack()
                self._run(command, self._help_and_follows(place.team, person))
            case "list":
                await ack()
                self._run(command, self._desk.follows(place.team, person))
            case _:
                await self._follow(ack, command, words, place, person)

    async def _follow(
        self, ack: AsyncAck, command: dict[str, Any], words: str, place: Place, person: UserId
    ) -> None:
        stored, acknowledged = asyncio.Event(), asyncio.Event()

        async def errand() -> str | None:
            try:
                return await self._desk.follow(words, place, person, stored.set)
            finally:
                stored.set()
                await acknowledged.wait()

        self._run(command, errand())
        with suppress(TimeoutError):
            async with asyncio.timeout(STORED_WITHIN_SECONDS):
                await stored.wait()
        try:
            await ack()
        finally:
            acknowledged.set()

    async def on_stop_following(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """The button `Stop following`."""
        await self._on_button(ack, body, self._desk.stop_following)

    async def on_resume(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """The button `Resume`."""
        await self._on_button(ack, body, self._desk.resume)

    async def on_show_data(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """The button `Show data`."""
        await self._on_button(ack, body, self._data_desk.show_data)

    async def on_show_steps(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """The button `Show steps`."""
        await self._on_button(ack, body, self._data_desk.show_steps)

    async def _on_button(self, ack: AsyncAck, body: dict[str, Any], errand: OnCard) -> None:
        await ack()
        if self._is_repeated(body):
            return
        container = body.get("container") or {}
        place = Place(
            TeamId((body.get("team") or {}).get("id") or self._team),
            ChannelId(container.get("channel_id") or ""),
        )
        card = Ts(container.get("message_ts") or "")
        (action, *_) = body.get("actions") or [{}]
        watch = WatchId(str(action.get("value") or ""))
        person = UserId((body.get("user") or {}).get("id") or "")
        self._run(body, errand(watch, place, card, person))

    async def on_open_chat(self, ack: AsyncAck) -> None:
        """A link button: Slack opens the address by itself and only wants to hear that we know."""
        await ack()

    async def on_error(self, error: Exception) -> None:
        """A defect of ours; what can be expected was caught before. The body is not logged: it is people's."""
        log.error("listener broke", exc_info=error)

    def _is_repeated(self, body: dict[str, Any]) -> bool:
        """Whether this delivery has been seen. The trigger id is all that tells deliveries apart."""
        trigger = str(body.get("trigger_id") or "")
        if not trigger:
            return False
        if trigger in self._delivered:
            log.info("repeated delivery dropped")
            return True
        self._delivered[trigger] = None
        if len(self._delivered) > REMEMBERED_DELIVERIES:
            del self._delivered[next(iter(self._delivered))]
        return False

    async def _help_and_follows(self, team: TeamId, person: UserId) -> str:
        return f"{lines.help_text()}\n\n{await self._desk.follows(team, person)}"

    def _run(self, body: dict[str, Any], errand: Coroutine[Any, Any, str | None]) -> None:
        task = asyncio.create_task(self._tell_outcome(str(body.get("response_url") or ""), errand))
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _tell_outcome(self, response_url: str, errand: Coroutine[Any, Any, str | None]) -> None:
        try:
            line = await errand
        except asyncio.CancelledError:
            async with asyncio.timeout(TELL_AT_THE_END_WITHIN_SECONDS):
                await self._tell(response_url, lines.restarting())
            raise
        except Exception:
            log.exception("request broke")
            line = lines.broken()
        if line is not None:
            await self._tell(response_url, line)

    async def _tell(self, response_url: str, line: str) -> None:
        """Tell the line, and once more where it certainly was not told."""
        if not response_url:
            log.warning("private line not told", code="no_response_url")
            return
        try:
            try:
                await self._whisper(response_url, line)
            except (BoardBusy, BoardUnreachable):
                await asyncio.sleep(TELL_AGAIN_AFTER_SECONDS)
                await self._whisper(response_url, line)
        except BoardError as error:
            log.warning("private line not told", code=error.code)
