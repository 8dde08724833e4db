"""Health checks over HTTP: `/healthz` and `/readyz`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from aiohttp import web

from bot.domain import StoreUnavailable
from bot.slack import NOT_CONNECTED
from bot.storage import Transactions
from bot.tasks import loop_time

log = structlog.get_logger()

REUSED_FOR_SECONDS = 2.0
"""How long the result of a database check is reused, since each writes and the port may be public."""
CHECK_SECONDS = 10.0
"""How often the bot runs the checks without a request."""
UNWRITABLE_SECONDS = 60.0
"""How long the database may be unwritable before the process counts as unhealthy."""
UNWRITABLE = "database can't be written"


@dataclass(frozen=True, slots=True)
class HealthInputs:
    """The inputs of the health checks."""

    connection: Callable[[], str | None]
    """Why Slack can't reach the bot, or None."""
    workspaces: Callable[[], str | None]
    """Why no workspace works, or None."""
    refused: Callable[[], str | None]
    """Slack's error code for a refused bot token; None while it is accepted."""
    is_tracking: Callable[[], Awaitable[bool]]
    """Whether any process tracks jobs. Raises StoreUnavailable."""
    transactions: Transactions
    now: Callable[[], datetime]
    """The time, aware UTC."""


class Health:
    """Checks what the bot depends on."""

    def __init__(self) -> None:
        self.inputs: HealthInputs | None = None
        """None while the bot starts."""
        self._stored: Mapping[str, str | None] = {}
        self._checked_at = float("-inf")
        self._checking = asyncio.Lock()
        self._written_at: float | None = None
        """When the database was last written; None before the first check."""
        self._is_writable = True

    async def watch(self) -> None:
        """Run the checks regularly, for the log and `/healthz`, until cancelled."""
        while True:
            await self.problems()
            await asyncio.sleep(CHECK_SECONDS)

    async def problems(self) -> Mapping[str, str | None]:
        """Return the problem of each part in a few words, or None."""
        if self.inputs is None:
            return {"slack": NOT_CONNECTED}
        async with self._checking:
            now = loop_time()
            if now - self._checked_at >= REUSED_FOR_SECONDS:
                if self._written_at is None:
                    self._written_at = now
                self._stored = await self._check_stored(self.inputs)
                self._checked_at = loop_time()
        return {
            "slack": self.inputs.connection(),
            "workspace": self.inputs.workspaces(),
            "token": None if self.inputs.refused() is None else "Slack refuses the bot's token",
            **self._stored,
        }

    async def problem(self) -> str | None:
        """Return the first problem, or None."""
        return next((problem for problem in (await self.problems()).values() if problem), None)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes.

        - `/healthz`: 200 if the event loop runs and the database was written within the last minute, else 503. If
          there is no 200, restart the process.
        - `/readyz`: 200 if Slack is connected, a workspace is open, the database is writable and a process tracks
          jobs, else 503 with the reason.
        """

        async def healthz(_: web.Request) -> web.Response:
            is_healthy = self._written_at is None or loop_time() - self._written_at <= UNWRITABLE_SECONDS
            return web.Response(
                text=f"{'ok' if is_healthy else UNWRITABLE}\n", status=200 if is_healthy else 503
            )

        async def readyz(_: web.Request) -> web.Response:
            problem = await self.problem()
            return web.Response(text=f"{problem or 'ready'}\n", status=503 if problem else 200)

        return [web.get("/healthz", healthz), web.get("/readyz", readyz)]

    async def _check_stored(self, inputs: HealthInputs) -> Mapping[str, str | None]:
        return {
            "database": await self._database(inputs),
            "follows": await _follows(inputs),
        }

    async def _database(self, inputs: HealthInputs) -> str | None:
        try:
            await inputs.transactions.writes(inputs.now())
        except StoreUnavailable as error:
            if self._is_writable:
                log.error("database unwritable", reason=str(error))
            self._is_writable = False
            return UNWRITABLE  # the reason goes only to the log, since the port may be public
        if not self._is_writable:
            log.info("database writable again")
        self._is_writable = True
        self._written_at = loop_time()
        return None


async def _follows(inputs: HealthInputs) -> str | None:
    try:
        return None if await inputs.is_tracking() else "no process follows jobs"
    except StoreUnavailable:
        return "unknown whether a process follows jobs"
