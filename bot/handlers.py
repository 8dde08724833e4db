"""Bolt's side: acknowledge, hand the request to the desk, tell the person privately what came of it.

A listener acknowledges first and raises nothing afterwards: Bolt forgets an acknowledgement when its listener
raises right after it. Work goes into tasks of our own, because Bolt keeps no reference to its listeners and
does not wait for them at the end.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import aiohttp
import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_sdk.errors import SlackClientError

from bot import lines
from bot.blocks import OPEN_CHAT, STOP_FOLLOWING
from bot.desk import Desk
from bot.watch import ChannelId, Place, TeamId, Ts, UserId, WatchId

log = structlog.get_logger()

REMEMBERED_DELIVERIES = 2_000
"""How many commands are remembered, so that one that Slack delivers twice is answered once."""


class Handlers:
    """All that Slack can send us."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._errands: set[asyncio.Task[None]] = set()
        self._delivered: dict[str, None] = {}

    def register(self, app: AsyncApp) -> None:
        """The table of routes; `manifest.yml` names the same."""
        app.command(lines.COMMAND)(self.on_command)
        app.action(STOP_FOLLOWING)(self.on_stop_following)
        app.action(OPEN_CHAT)(self.on_open_chat)
        app.error(self.on_error)

    async def drain(self) -> None:
        """Wait for what was acknowledged and is not answered yet."""
        await asyncio.gather(*self._errands, return_exceptions=True)

    async def on_command(self, ack: AsyncAck, command: dict[str, Any], respond: AsyncRespond) -> None:
        """`/omni-job …` was typed."""
        words = str(command.get("text") or "").strip()
        if words.lower() == "help":
            await ack(lines.help_text())
            return
        await ack()
        if self._is_repeated(str(command.get("trigger_id") or "")):
            return
        team = TeamId(command["team_id"])
        person = UserId(command["user_id"])
        place = Place(team, ChannelId(command["channel_id"]))
        match words.lower():
            case "":
                self._run(respond, self._help_and_follows(team, person))
            case "list":
                self._run(respond, self._desk.follows(team, person))
            case _:
                self._run(respond, self._desk.follow(words, place, person))

    async def on_stop_following(self, ack: AsyncAck, body: dict[str, Any], respond: AsyncRespond) -> None:
        """The button `Stop following`."""
        await ack()
        place = Place(TeamId(body["team"]["id"]), ChannelId(body["container"]["channel_id"]))
        card = Ts(body["container"]["message_ts"])
        watch = WatchId(str(body["actions"][0].get("value") or ""))
        person = UserId(body["user"]["id"])
        self._run(respond, self._desk.stop_following(watch, place, card, person))

    async def on_open_chat(self, ack: AsyncAck) -> None:
        """A link button: Slack opens the address by itself and only wants to hear that we know."""
        await ack()

    async def on_error(self, error: Exception) -> None:
        """A defect of ours; what can be expected was caught before. The body is not logged: it is people's."""
        log.error("listener broke", exc_info=error)

    def _is_repeated(self, trigger: str) -> bool:
        """Whether this delivery has been seen. The trigger id is all that tells deliveries apart."""
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

    def _run(self, respond: AsyncRespond, errand: Coroutine[Any, Any, str | None]) -> None:
        task = asyncio.create_task(self._tell_outcome(respond, errand))
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _tell_outcome(self, respond: AsyncRespond, errand: Coroutine[Any, Any, str | None]) -> None:
        try:
            line = await errand
        except Exception:
            log.exception("request broke")
            line = lines.broken()
        if line is None:
            return
        try:
            answer = await respond(text=line, response_type="ephemeral", replace_original=False)
        except (aiohttp.ClientError, SlackClientError, TimeoutError) as error:
            log.warning("private line not told", error=type(error).__name__)
            return
        if answer.status_code != 200:
            log.warning("private line not told", status=answer.status_code)
