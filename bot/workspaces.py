"""The workspaces that run in this process: opened when their source knows them, closed when it does no longer."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import structlog
from slack_bolt.async_app import AsyncApp

from bot.credentials import Credentials, Source
from bot.errors import StoreUnavailable
from bot.watch import TeamId
from bot.workspace import Workspace

log = structlog.get_logger()

LOOK_SECONDS = 60.0
"""How often the source is asked which workspaces there are. What Slack tells us of sooner is not waited for."""
FRESH_SECONDS = 1.0
"""So long a look counts as one of this moment: many requests of a team that nobody knows cost one look a second."""

Build = Callable[[Credentials], AbstractAsyncContextManager[Workspace]]


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """A workspace and the task in which it lives."""

    credentials: Credentials
    workspace: asyncio.Future[Workspace]
    task: asyncio.Task[None]
    stop: asyncio.Event = field(default_factory=asyncio.Event)


class Workspaces:
    """Those that are open, by team."""

    def __init__(self, source: Source, build: Build) -> None:
        self._source = source
        self._build = build

    @property
    def running(self) -> Sequence[Workspace]:
        """Those that are open."""
        raise NotImplementedError

    async def of(self, team: TeamId) -> Workspace | None:
        """The team's, opened if it does not run here yet; None where the source knows no such team.

        Raises:
            StoreUnavailable: whether it does could not be found out.
        """
        raise NotImplementedError

    async def app_of(self, team: TeamId) -> AsyncApp | None:
        """What Bolt is to do with what Slack sends for the team. As `of`."""
        workspace = await self.of(team)
        return workspace and workspace.app

    async def look(self) -> None:
        """Open and close, so that those run that the source knows, with what it knows of them now. Raises what the
        source raises."""
        raise NotImplementedError

    async def open(self, credentials: Credentials) -> Workspace:
        """Let a workspace run; one of the same team with other credentials is closed first."""
        raise NotImplementedError

    async def close(self, team: TeamId) -> None:
        """Stop all that the team's workspace does, and wait until that has ended. Its follows stay in the table. Until
        the source knows it no longer, the next look opens it anew."""
        raise NotImplementedError

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except StoreUnavailable as error:
                log.error("workspaces not read", reason=str(error))

    async def stop(self) -> None:
        """Close all at the same time, and open none any more. For the end of the process."""
        raise NotImplementedError
