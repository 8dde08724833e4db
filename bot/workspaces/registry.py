"""The workspaces that run in this process: opened when their source knows them, closed when it does no longer."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from math import inf

import structlog
from slack_bolt.async_app import AsyncApp

from bot.domain import Credentials, CredentialSource, TeamId
from bot.domain.ports import GaugeSnapshot
from bot.ratelimit import RateLimiter
from bot.tasks import loop_time, repeat_until_cancelled
from bot.workspaces.workspace import Workspace

log = structlog.get_logger()

LOOK_SECONDS = 60.0
"""How often the source is asked which workspaces there are. What Slack tells of sooner is not waited for."""
FRESH_SECONDS = 1.0
"""So long a look counts as one of this moment: the requests of a team that nobody knows cost one look a second."""
COUNT_SECONDS = 5.0
"""How often the jobs of all processes are counted, for each to ask Omni as often as its share allows."""

Build = Callable[[Credentials], AbstractAsyncContextManager[Workspace]]


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """A workspace with what ends it."""

    workspace: Workspace
    stop: asyncio.Event
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Workspaces:
    """Those that are open, by team. Two of one team never run at the same time."""

    def __init__(self, source: CredentialSource, build: Build) -> None:
        self._source = source
        self._build = build
        self._running: dict[TeamId, _Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._looked_at = -inf
        self._stopped = False

    @property
    def running(self) -> Sequence[Workspace]:
        """Those that are open."""
        return [running.workspace for running in self._running.values()]

    async def of(self, team: TeamId) -> Workspace | None:
        """The team's, opened if it does not run here yet; None where the source knows no such team.

        Raises:
            StoreUnavailable: whether it does could not be found out.
        """
        running = self._running.get(team)
        if running is None or running.stop.is_set():
            async with self._changing:
                is_stale = loop_time() - self._looked_at >= FRESH_SECONDS
                if team not in self._running and is_stale:
                    await self._look()
            running = self._running.get(team)
        return None if running is None else running.workspace

    async def app_of(self, team: TeamId) -> AsyncApp | None:
        """What Bolt does with what Slack sends for the team. As `of`."""
        workspace = await self.of(team)
        return None if workspace is None else workspace.app

    async def only_app(self, team: TeamId) -> AsyncApp | None:
        """That of the one workspace that there is, whichever team a payload names: where a channel is shared, it may
        be the other company's. For a source that knows but one; raises what `of` does."""
        if not self._running:
            await self.of(team)  # it broke, and is opened anew
        return next((workspace.app for workspace in self.running), None)

    async def look(self) -> None:
        """Open and close, so that those run that the source knows, with what it knows of them now. Raises what the
        source raises."""
        async with self._changing:
            await self._look()

    async def close(self, team: TeamId) -> None:
        """Stop all that runs for the team, and wait until that has ended. Its follows stay in the table. As long as
        the source knows the team, the next look opens it anew."""
        async with self._changing:
            await self._close(team)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        await repeat_until_cancelled(
            self.look, every_seconds=LOOK_SECONDS, failure_event="workspaces not read", pause_first=True
        )

    async def share_requests(self) -> None:
        """Leave other processes their part of each key's requests to Omni, by how many of all the jobs they follow,
        again and again, until cancelled."""
        await repeat_until_cancelled(
            self._share_requests, every_seconds=COUNT_SECONDS, failure_event="open follows not read"
        )

    def refused(self) -> str | None:
        """Slack's word for why it refuses the bot's token. Where one of several workspaces has thrown the bot out, it
        does its work in the others: then None."""
        words = [workspace.messages.refused for workspace in self.running]
        return words[0] if words and None not in words else None

    async def readings(self) -> Sequence[GaugeSnapshot]:
        """How each stands, for `metrics`; a key that several share counts once."""
        running = self.running
        first_of = {workspace.limiter: workspace for workspace in reversed(running)}
        return [
            await workspace.gauges(with_key=first_of[workspace.limiter] is workspace) for workspace in running
        ]

    async def count_jobs(self) -> int:
        """How many jobs are to be followed, in all processes. Raises StoreUnavailable."""
        return sum([len(await workspace.cards.open_jobs()) for workspace in self.running])

    async def stop(self) -> None:
        """Close all at the same time, and open none any more. For the end of the process."""
        self._stopped = True
        async with self._changing:
            await asyncio.gather(*(self._close(team) for team in list(self._running)))

    async def _look(self) -> None:
        known = {credentials.team: credentials for credentials in await self._source.list()}
        self._looked_at = loop_time()
        # Whoever is new may be waited for by somebody; to end one takes its time.
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
        """Let a workspace run. One that can't be built must not keep the others from it."""
        if self._stopped:
            return
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._live(credentials, opened), name=f"workspace {credentials.team}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await opened

    async def _live(self, credentials: Credentials, opened: asyncio.Future[None]) -> None:
        """From its opening to its end. A defect of ours in one workspace is not the end of the others; the next look
        opens it anew."""
        team, stop = credentials.team, asyncio.Event()
        running: _Running | None = None
        try:
            async with self._build(credentials) as workspace:
                running = self._running[team] = _Running(workspace, stop)
                opened.set_result(None)
                log.info("workspace opened", team=team)
                await workspace.run(stop)
        except Exception:
            log.exception("workspace broke", team=team)
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
            )  # the next may come any moment
            requests.set_share(own / max(own, jobs))
