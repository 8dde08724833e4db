"""Kills a process at named points around a call to Slack or Omni."""

import asyncio
import json
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web

from bot.demo.faults import Serve, drop
from tests.crash.nursery import Process
from tests.crash.world import HEADINGS, World

COMMITS_WITHIN_SECONDS = 2.0
"""How long after an answer the change of the table that it leads to is waited for."""


class Call(Enum):
    """Kinds of requests to Slack and Omni. The value is the name in reports."""

    HELLO = "auth.test"
    SOCKET = "apps.connections.open"
    STATUS = "job status"
    CARD = "card"
    EDIT = "running edit"
    LAST_EDIT = "final edit"
    CHART_EDIT = "chart edit"
    REPLY = "thread reply"
    HISTORY = "conversations.history"
    REPLIES = "conversations.replies"
    DIRECT = "conversations.open"
    PERMALINK = "chat.getPermalink"
    LINE = "response_url"
    UPLOAD = "files.completeUploadExternal"


class Moment(Enum):
    """When in a call the process dies."""

    BEFORE = "before"
    """The request has arrived and has no effect."""
    AFTER = "after"
    """It took effect, and is not answered."""
    BEFORE_COMMIT = "before the commit"
    """It is answered, and what the bot stores about it is not committed."""
    AFTER_COMMIT = "after the commit"
    """It is answered, and a change of the cards has been committed since."""


WRITTEN_ABOUT = (
    Call.CARD,
    Call.EDIT,
    Call.LAST_EDIT,
    Call.CHART_EDIT,
    Call.REPLY,
    Call.HISTORY,
    Call.REPLIES,
    Call.DIRECT,
)
"""The calls whose answer is stored in the table of cards."""


@dataclass(frozen=True, slots=True)
class Point:
    """A named point."""

    call: Call
    moment: Moment

    def __str__(self) -> str:
        return f"{self.call.value}: {self.moment.value}"


POINTS = tuple(
    Point(call, moment)
    for call in Call
    for moment in (Moment if call in WRITTEN_ABOUT else (Moment.BEFORE, Moment.AFTER))
)


class Kill:
    """Lies in wait, on every request of a world, for the point at which it kills."""

    def __init__(self, world: World, point: Point, random: Random) -> None:
        self.victim: Process | None = None
        self.done = asyncio.Event()
        """The process is dead, by our hand and at the point."""
        self._world = world
        self.point = point
        self._random = random
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, request: web.Request, serve: Serve) -> web.StreamResponse:
        """Apply the request as the point says, and kill its process."""
        if self.victim is not None or await call_of(request) is not self.point.call:
            return await serve()
        victim = self._world.process_behind(request)
        if victim is None:
            return await serve()
        if self.point.moment is Moment.BEFORE:
            await self._kill(victim)
            return drop(request)
        before = self._world.table.cards()
        response = await serve()
        if not _took_effect(response):
            return response
        self.victim = victim
        if self.point.moment is Moment.AFTER:
            await self._kill(victim)
            return drop(request)
        if self.point.moment is Moment.BEFORE_COMMIT:
            locked = asyncio.Event()
            self._spawn(self._kill_before_commit(victim, locked))
            await locked.wait()
        else:
            self._spawn(self._kill_after_commit(victim, before))
        return response

    async def _kill(self, victim: Process) -> None:
        self.victim = victim
        await self._world.kill(victim, str(self.point))
        self.done.set()

    async def _kill_before_commit(self, victim: Process, locked: asyncio.Event) -> None:
        with self._world.table.locked():
            locked.set()
            await asyncio.sleep(self._random.uniform(0.1, 0.3))
            await self._kill(victim)

    async def _kill_after_commit(self, victim: Process, before: list[Any]) -> None:
        try:
            await self._world.until(lambda: self._world.table.cards() != before, COMMITS_WITHIN_SECONDS)
        except TimeoutError:
            self.victim = None  # nothing was to be stored: wait for the next one
            return
        await self._kill(victim)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def call_of(request: web.Request) -> Call | None:
    """Kind of a request."""
    if request.path.startswith("/api/v1/ai/jobs/"):
        return Call.STATUS
    if request.path.startswith("/response/"):
        return Call.LINE
    if request.path.startswith("/upload/"):
        return None
    method = request.match_info.get("method", "")
    sent = unquote_plus(await request.text())
    if method == "chat.postMessage":
        return Call.REPLY if "thread_ts" in sent else Call.CARD
    if method == "chat.update" and "slack_file" in sent:
        return Call.CHART_EDIT
    if method == "chat.update":
        return Call.LAST_EDIT if any(heading in sent for heading in HEADINGS.values()) else Call.EDIT
    return next((call for call in Call if call.value == method), None)


def _took_effect(response: web.StreamResponse) -> bool:
    """Whether it was not refused: by its status, or with Slack's `ok`."""
    if response.status != 200 or not isinstance(response, web.Response):
        return False
    body = json.loads(response.text or "{}")
    return bool(body.get("ok", True))
