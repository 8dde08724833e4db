"""The machine that the bot runs on: starts it, stops it, kills it, and starts it again.

What runs is `bot.app.serve`, the composition root itself. Only what touches the outside is put in the place of
the real thing: the database's driver, the two transports, the socket, the clock and chance.
"""

import asyncio
import os
import random as random_module
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import aiohttp
import httpx

from bot import app
from bot.clock import SteadyClock
from bot.domain.errors import SlackUnreachable, StoreUnavailable, TokenRefused
from bot.settings import Settings
from bot.slack import NOT_CONNECTED, messages
from bot.slack.web_api import error_for
from bot.workspaces import workspace
from tests.simulation.loop import Process, SimulatedLoop, SimulatedTask, current_process
from tests.simulation.omniside import API_KEY, BASE_URL, MODEL, OmniSide
from tests.simulation.slackside import API_URL, APP_TOKEN, BOT_TOKEN, Session, SlackSide
from tests.simulation.sqlite import Disk
from tests.simulation.trace import Trace
from tests.simulation.wire import Wire

STOPS_WITHIN_SECONDS = 10.0
"""After that, a supervisor would kill the process."""

Route = Callable[..., Awaitable[Any]]


class Routes:
    """Stands in for Bolt: the table that the bot's handlers write themselves into."""

    def __init__(self) -> None:
        self.commands: dict[str, Route] = {}
        self.actions: dict[str, Route] = {}
        self.shortcuts: dict[str, Route] = {}
        self.events: dict[str, Route] = {}

    def command(self, name: str) -> Callable[[Route], None]:
        """See `AsyncApp.command`."""
        return lambda listener: self.commands.__setitem__(name, listener)

    def action(self, name: str) -> Callable[[Route], None]:
        """See `AsyncApp.action`."""
        return lambda listener: self.actions.__setitem__(name, listener)

    def shortcut(self, name: str) -> Callable[[Route], None]:
        """See `AsyncApp.shortcut`."""
        return lambda listener: self.shortcuts.__setitem__(name, listener)

    def event(self, name: str, *, middleware: Sequence[Route] = ()) -> Callable[[Any], None]:
        """See `AsyncApp.event`. The bot serves messages in their middleware."""
        for serve in middleware:
            self.events[name] = _acknowledged_by(serve)
        return lambda _: None

    def view(self, _name: str) -> Callable[[Any], None]:
        """See `AsyncApp.view`. Users in the simulation open none."""
        return lambda _: None

    def error(self, _listener: Any) -> None:
        """A listener's failure is noted by the simulation itself."""


def _acknowledged_by(serve: Route) -> Route:
    async def route(ack: Any, body: dict[str, Any]) -> None:
        response: Any = await serve(body)
        if response.status == 200:
            await ack()

    return route


@dataclass(eq=False)
class Running:
    """A process of the bot."""

    process: Process
    stop: asyncio.Event
    built: Routes | None = None
    """All listeners for Slack's requests."""
    routes: Routes | None = None
    """Set while Slack can reach it."""
    main: asyncio.Task[None] | None = None
    ends_meant: bool = False


@dataclass
class Machine:
    """Runs the bot, one process after the other."""

    loop: SimulatedLoop
    trace: Trace
    disk: Disk
    wire: Wire
    slack: SlackSide
    omni: OmniSide
    random: Random
    bot_now: Callable[[], datetime]
    settings: Settings
    defects: list[str]
    running: list[Running] = field(default_factory=list)
    dead: list[Any] = field(default_factory=list)
    """The tasks of processes that were killed; they are kept, so that nothing of them runs in a clean-up."""
    ended: Callable[[Running], None] = lambda _: None
    """Called when a process has ended in any way."""
    started_at: list[float] = field(default_factory=list)
    """When each process was started."""
    clocks: dict[Process | None, SteadyClock] = field(default_factory=dict)
    """Of each process: it ignores how the machine's clock is set."""

    def start(self) -> Running:
        """Start a process."""
        self.started_at.append(self.loop.time())
        process = Process(f"bot{len(self.started_at)}", self._died)
        running = Running(process, asyncio.Event())
        self.running.append(running)
        self.trace.note(process.name, "STARTS")
        running.main = self.loop.create_task(
            self._main(running), name=process.name, context=process.context.copy()
        )
        return running

    def kill(self, running: Running) -> None:
        """SIGKILL: no chance to tidy up."""
        if running.process.is_alive:
            running.process.is_alive = False
            self._died(running.process)

    async def stop(self, running: Running) -> None:
        """SIGTERM, and SIGKILL if that takes too long."""
        if not running.process.is_alive or running.main is None:
            return
        self.trace.note(running.process.name, "STOPS")
        running.ends_meant = True
        running.stop.set()
        await asyncio.wait({running.main}, timeout=STOPS_WITHIN_SECONDS)
        if running.process.is_alive and not running.process.is_paused:
            self.defects.append(f"{running.process.name} does not stop within {STOPS_WITHIN_SECONDS:.0f} s")
        self.kill(running)

    def reachable(self) -> Running | None:
        """The process that Slack can reach."""
        connected = [r for r in self.running if r.process.is_alive and r.routes is not None]
        return connected[self.random.randrange(len(connected))] if connected else None

    def tasks_of(self, process: Process) -> list[asyncio.Task[Any]]:
        """Pending work of a process, oldest first."""
        tasks = [
            t for t in asyncio.all_tasks(self.loop) if isinstance(t, SimulatedTask) and t.process is process
        ]
        return sorted(tasks, key=hash)

    async def _main(self, running: Running) -> None:
        try:
            await app.serve(self.settings, running.stop)
        except (StoreUnavailable, TokenRefused) as error:
            self.trace.note(running.process.name, f"ENDS: {error!r}")
        except Exception as error:  # noqa: BLE001 - any exception ends the process
            self.trace.note(running.process.name, f"BREAKS: {error!r}")
            self.defects.append(f"{running.process.name} breaks: {error!r}")
        else:
            if not running.ends_meant:
                self.defects.append(f"{running.process.name} ends by itself")
        # As asyncio.run does.
        left = [t for t in self.tasks_of(running.process) if t is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        running.process.is_alive = False
        self._gone(running, "ENDED")

    def _died(self, process: Process) -> None:
        running = next(r for r in self.running if r.process is process)
        self.dead += self.tasks_of(process)
        self._gone(running, f"KILLED after {process.callbacks} callbacks")

    def _gone(self, running: Running, how: str) -> None:
        self.trace.note(running.process.name, how)
        running.routes = None
        self.wire.cut(running.process)
        self.disk.drop(running.process)
        self.running.remove(running)
        self.ended(running)

    @contextmanager
    def seams(self) -> Iterator[None]:
        """Put the simulation in the place of the world."""
        chance = Random(self.random.random())
        with ExitStack() as seams:
            for module, name, stand_in in (
                (app, "Database", SimpleNamespace(open=lambda _url: self.disk.open())),
                (app, "slack_session", lambda: Session(self.slack)),
                (messages, "send_bytes", self._send_bytes),
                (app, "SocketMode", self._socket),
                (app, "now", self._now),
                (app, "Random", lambda: Random(chance.random())),
                (workspace, "omni_client", self._omni_client),
                (workspace, "bolt_app", self._bolt_app),
                (workspace, "now", self._now),
                (workspace, "Random", lambda: Random(chance.random())),
            ):
                seams.enter_context(patch.object(module, name, stand_in))
            seams.enter_context(patch.object(os, "urandom", chance.randbytes))
            seams.enter_context(patch.object(random_module, "_urandom", chance.randbytes))
            yield

    def _now(self) -> datetime:
        process = current_process()
        if process not in self.clocks:
            self.clocks[process] = SteadyClock(lambda: self.bot_now().timestamp(), self.loop.time)
        return self.clocks[process]()

    def _omni_client(self, base_url: str, token: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        return httpx.AsyncClient(base_url=base_url, headers=headers, transport=self.omni, trust_env=False)

    def _bolt_app(self, *_: object) -> Routes:
        built = self._current().built = Routes()
        return built

    def _socket(self, *_: object) -> "_Socket":
        running = self._current()
        assert running.built is not None
        return _Socket(running, running.built, self.random.uniform(0.05, 1.0))

    async def _send_bytes(self, _session: object, address: str, content: bytes) -> None:
        try:
            answer = await self.slack.send(address.rsplit("/", 1)[-1], content)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SlackUnreachable(type(error).__name__) from error
        if answer.status != 200:
            raise error_for("", status=answer.status, retry_after=answer.headers.get("Retry-After"))

    def _current(self) -> Running:
        process = current_process()
        return next(running for running in self.running if running.process is process)


class _Socket:
    """Stands in for Socket Mode: from when to when Slack can reach the process."""

    def __init__(self, running: Running, routes: Routes, connects_after: float) -> None:
        self._running = running
        self._routes = routes
        self._connects_after = connects_after

    def problem(self) -> str | None:
        return None if self._running.routes is not None else NOT_CONNECTED

    async def run(self) -> None:
        await asyncio.sleep(self._connects_after)
        self._running.routes = self._routes
        try:
            await asyncio.Event().wait()
        finally:
            self._running.routes = None


def settings(
    *, requests_per_minute: int, notify_after_seconds: float, max_follow_hours: float, retention_days: float
) -> Settings:
    """The bot's settings."""
    return Settings.model_validate(
        {
            "slack_bot_token": BOT_TOKEN,
            "slack_app_token": APP_TOKEN,
            "slack_api_url": API_URL,
            "omni_base_url": BASE_URL,
            "omni_api_token": API_KEY,
            "omni_requests_per_minute": requests_per_minute,
            "omni_model_id": MODEL,
            "ask_as": "key",
            "max_open_follows_per_person": 10_000,
            "max_asks_per_hour": 10_000,
            "max_lookups_per_minute": 10_000,
            "notify_after_seconds": notify_after_seconds,
            "max_follow_hours": max_follow_hours,
            "retention_days": retention_days,
            "database_url": "sqlite+aiosqlite:///simulated.sqlite3",
        }
    )
