"""Whether the bot can do its work right now, told over HTTP: `/healthz` and `/readyz`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from aiohttp import web

from bot.domain import StoreUnavailable
from bot.storage import Transactions
from bot.tasks import loop_time

log = structlog.get_logger()

LOOKED_FOR_SECONDS = 2.0
"""How long what was found holds: whoever can reach the port could otherwise have the database written at will."""
WATCHED_EVERY_SECONDS = 10.0
"""How often the bot looks, asked or not."""
UNWRITABLE_SECONDS = 60.0
"""How long the database may be unwritable before the process counts as unhealthy."""
NOT_BEGUN = "not connected to Slack"
UNWRITABLE = "database can't be written"


@dataclass(frozen=True, slots=True)
class HealthInputs:
    """What the bot's work depends on."""

    is_connected: Callable[[], Awaitable[bool]]
    """Whether Slack can reach us."""
    refused: Callable[[], str | None]
    """Slack's word for why it refuses the bot's token; None while it takes it."""
    is_anybody_following: Callable[[], Awaitable[bool]]
    """Whether some process takes up what is to be followed. Raises StoreUnavailable."""
    transactions: Transactions
    now: Callable[[], datetime]
    """The time, aware UTC."""


class Health:
    """Why the bot can't do its work right now, as `/readyz` tells it."""

    def __init__(self) -> None:
        self.vitals: HealthInputs | None = None
        """None until the bot has begun."""
        self._found: Mapping[str, str | None] = {}
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        self._written_at: float | None = None
        """When the database was last known to be writable; None before the first look."""
        self._is_writable = True

    async def watch(self) -> None:
        """Look at regular intervals, for the log and for `/healthz`, until cancelled."""
        while True:
            await self.problems()
            await asyncio.sleep(WATCHED_EVERY_SECONDS)

    async def problems(self) -> Mapping[str, str | None]:
        """By the part's name, what is wrong with it in a few words, or None."""
        if self.vitals is None:
            return {"slack": NOT_BEGUN}
        async with self._looking:
            now = loop_time()
            if now - self._looked_at >= LOOKED_FOR_SECONDS:
                if self._written_at is None:
                    self._written_at = now
                self._found = await self._look(self.vitals)
                self._looked_at = loop_time()
        return self._found

    async def problem(self) -> str | None:
        """The first of them, or None if all is well."""
        return next((problem for problem in (await self.problems()).values() if problem), None)

    def routes(self) -> list[web.RouteDef]:
        """What a supervisor asks.

        - `/healthz`: 200 as long as the event loop turns and the database could be written within the last minute;
          else 503. Restart the process if it does not answer so.
        - `/readyz`: 200 while Slack is connected, the database can be written, and some process follows jobs; else
          503 and why.
        """

        async def healthz(_: web.Request) -> web.Response:
            is_healthy = self._written_at is None or loop_time() - self._written_at <= UNWRITABLE_SECONDS
            return web.Response(
                text=f"{'ok' if is_healthy else UNWRITABLE}\n", status=200 if is_healthy else 503
            )

        async def readyz(_: web.Request) -> web.Response:
            why_not = await self.problem()
            return web.Response(text=f"{why_not or 'ready'}\n", status=503 if why_not else 200)

        return [web.get("/healthz", healthz), web.get("/readyz", readyz)]

    async def _look(self, vitals: HealthInputs) -> Mapping[str, str | None]:
        return {
            "slack": None if await vitals.is_connected() else NOT_BEGUN,
            "token": None if vitals.refused() is None else "Slack refuses the bot's token",
            "database": await self._database(vitals),
            "follows": await _follows(vitals),
        }

    async def _database(self, vitals: HealthInputs) -> str | None:
        try:
            await vitals.transactions.writes(vitals.now())
        except StoreUnavailable as error:
            if self._is_writable:
                log.error("database unwritable", reason=str(error))
            self._is_writable = False
            return UNWRITABLE  # why, only the log may say: the port may be public
        if not self._is_writable:
            log.info("database writable again")
        self._is_writable = True
        self._written_at = loop_time()
        return None


async def _follows(vitals: HealthInputs) -> str | None:
    try:
        return None if await vitals.is_anybody_following() else "no process follows jobs"
    except StoreUnavailable:
        return "nobody can tell whether a process follows jobs"
