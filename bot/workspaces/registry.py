"""Runs the workspaces that the credential source lists."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from math import inf

import structlog
from slack_bolt.async_app import AsyncApp

from bot.domain import Credentials, CredentialSource, StoreUnavailable, TeamId
from bot.domain.ports import GaugeSnapshot
from bot.ratelimit import RateLimiter
from bot.tasks import loop_time, repeat_until_cancelled
from bot.workspaces.workspace import Workspace

log = structlog.get_logger()

REFRESH_SECONDS = 60.0
"""How often the source is read. Installations and uninstalls take effect at once."""
FRESH_SECONDS = 1.0
"""How long a read counts as fresh, so that requests of an unknown team cause at most one read per second."""
COUNT_SECONDS = 5.0
"""How often the jobs of all processes are counted to share Omni's request budget."""

Build = Callable[[Credentials], AbstractAsyncContextManager[Workspace]]


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """A workspace with the events that stop it."""

    workspace: Workspace
    stop: asyncio.Event
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Workspaces:
    """The running workspaces, by team. A team never has two at the same time."""

    def __init__(self, source: CredentialSource, build: Build) -> None:
        self._source = source
        self._build = build
        self._running: dict[TeamId, _Running] = {}
        self._known: frozenset[TeamId] = frozenset()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._refreshed_at = -inf
        self._stopped = False
        self._is_outdated = asyncio.Event()

    @property
    def running(self) -> Sequence[Workspace]:
        """The running workspaces."""
        return [running.workspace for running in self._running.values()]

    @property
    def teams(self) -> frozenset[TeamId]:
        """The workspaces that the source lists, also those that could not be opened."""
        return self._known

    def problem(self) -> str | None:
        """Return in a few words that no workspace is open although the source lists some, or None."""
        return "no workspace is open" if self._known and not self._running else None

    async def of(self, team: TeamId) -> Workspace | None:
        """Return the team's workspace, started if needed; None if the source lists none. Raises StoreUnavailable."""
        running = self._running.get(team)
        if running is None or running.stop.is_set():
            async with self._changing:
                is_stale = loop_time() - self._refreshed_at >= FRESH_SECONDS
                if team not in self._running and is_stale:
                    await self._refresh()
            running = self._running.get(team)
        return None if running is None else running.workspace

    async def app_of(self, team: TeamId) -> AsyncApp | None:
        """Return the team's Bolt app. As `of`."""
        workspace = await self.of(team)
        return None if workspace is None else workspace.app

    async def only_app(self, team: TeamId) -> AsyncApp | None:
        """Return the Bolt app of the only workspace. A payload from a shared channel may name another team.

        For a source that lists only one, or those of one organization: then of the team's. Raises as `of`.
        """
        if any(workspace.credentials.organization for workspace in self.running):
            return await self.app_of(team)
        if not self._running:
            await self.of(team)  # restart it if it failed
        return next((workspace.app for workspace in self.running), None)

    async def refresh(self) -> None:
        """Start and stop workspaces to match the source. Raises what the source raises."""
        async with self._changing:
            await self._refresh()

    def refresh_soon(self) -> None:
        """Let `run` refresh now: another process has changed what the source lists."""
        self._is_outdated.set()

    async def close(self, team: TeamId) -> None:
        """Stop the team's workspace and wait for its end. The next refresh restarts it if the source still lists it."""
        async with self._changing:
            await self._close(team)

    async def run(self) -> None:
        """Refresh regularly, and when `refresh_soon` asks for it, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_SECONDS):
                    await self._is_outdated.wait()
            self._is_outdated.clear()
            try:
                await self.refresh()
            except StoreUnavailable as error:
                log.error("workspaces not read", reason=str(error))

    async def share_requests(self) -> None:
        """Divide each key's requests among the processes by the jobs that they track, until cancelled."""
        await repeat_until_cancelled(
            self._share_requests, every_seconds=COUNT_SECONDS, failure_event="open follows not read"
        )

    def refused(self) -> str | None:
        """Return Slack's error code if it refuses the bot tokens of all workspaces, else None."""
        words = [workspace.messages.refused for workspace in self.running]
        return words[0] if words and None not in words else None

    async def readings(self) -> Sequence[GaugeSnapshot]:
        """Return the gauges of each workspace. A key that several share counts once."""
        running = self.running
        first_of = {workspace.limiter: workspace for workspace in reversed(running)}
        return [
            await workspace.gauges(with_key=first_of[workspace.limiter] is workspace) for workspace in running
        ]

    async def count_jobs(self) -> int:
        """Count the open jobs of all processes. Raises StoreUnavailable."""
        return sum([len(await workspace.cards.open_jobs()) for workspace in self.running])

    async def stop(self) -> None:
        """Stop all workspaces and start no more, for the shutdown."""
        self._stopped = True
        async with self._changing:
            await asyncio.gather(*(self._close(team) for team in list(self._running)))

    async def _refresh(self) -> None:
        known = {credentials.team: credentials for credentials in await self._source.list()}
        self._refreshed_at = loop_time()
        self._known = frozenset(known)
        # Start new workspaces first: requests may wait for them, and stopping others takes time.
        for team, credentials in known.items():
            if team not in self._running:
                await self._open(credentials)
        outdated = [
            team
            for team, running in self._running.items()
            if running.workspace.credentials != known.get(team)
        ]
        await asyncio.gather(*(self._close(team) for team in outdated))
        for team in outdated:
            if team in known:
                await self._open(known[team])

    async def _open(self, credentials: Credentials) -> None:
        """Start a workspace. One that can't be built must not prevent others from starting."""
        if self._stopped:
            return
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._run(credentials, opened), name=f"workspace {credentials.team}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await opened

    async def _run(self, credentials: Credentials, opened: asyncio.Future[None]) -> None:
        """Run a workspace. An unexpected error ends only this one; the next refresh restarts it."""
        team, stop = credentials.team, asyncio.Event()
        running: _Running | None = None
        try:
            async with self._build(credentials) as workspace:
                running = self._running[team] = _Running(workspace, stop)
                opened.set_result(None)
                log.info("workspace opened", team=team)
                await workspace.run(stop)
        except Exception:
            log.exception("workspace failed", team=team)
        finally:
            if running is not None:
                del self._running[team]
                running.ended.set()
                log.info("workspace closed", team=team)
            if not opened.done():
                opened.set_result(None)

    async def _close(self, team: TeamId) -> None:
        running = self._running.get(team)
        if running is not None:
            running.stop.set()
            await running.ended.wait()

    async def _share_requests(self) -> None:
        by_key: defaultdict[RateLimiter, list[Workspace]] = defaultdict(list)
        for workspace in self.running:
            by_key[workspace.limiter].append(workspace)
        for requests, users in by_key.items():
            jobs = sum([len(await workspace.cards.open_jobs()) for workspace in users])
            own = max(
                1, sum(workspace.components.tracker.jobs for workspace in users)
            )  # the next job may come at any moment
            requests.set_share(own / max(own, jobs))
