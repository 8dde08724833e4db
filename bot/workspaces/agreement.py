"""Compares the settings that all processes on one PostgreSQL must share: the Omni, and its key's request rate.

Each process publishes its settings as advisory locks, which end with the process.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol
from zlib import crc32

import structlog

from bot.domain import CredentialSource, SettingsError, StoreUnavailable
from bot.ratelimit import RateLimiter, omni_rate

log = structlog.get_logger()

ANOTHER_OMNI = (
    "OMNI_BASE_URL is not that of another running process on this database: set both to the same address, or stop all "
    "processes before you start them with another one"
)
WAITS_SECONDS = 60.0
"""How long the startup waits for processes with another Omni to end, since the old ones may still be stopping."""
WAIT_CHECK_SECONDS = 1.0
CHECK_SECONDS = 5.0
"""How often the settings are compared, during that wait and later."""


class Peers(Protocol):
    """Numbers that processes publish to each other, by kind."""

    def hold(self, kind: int, number: int) -> None:
        """Publish a number until this process ends."""
        ...

    async def held(self, kind: int) -> set[int]:
        """Return the published numbers, including this process's. Raises StoreUnavailable."""
        ...


class Agreement:
    """Keeps the settings of a single workspace consistent between processes."""

    def __init__(self, peers: Peers, source: CredentialSource) -> None:
        self._peers = peers
        self._source = source
        self._omni_kind = self._omni = self._rate_kind = 0
        self._rate = self._lowest = 0
        self._differs = False

    async def begin(self) -> None:
        """Publish the settings, after all processes with another Omni have ended.

        Raises:
            SettingsError: such a process still runs after WAITS_SECONDS.
            StoreUnavailable: the database is unavailable.
            TokenRefused: Slack refuses the bot token.
        """
        known = await self._source.list()
        if not known:
            return  # an organization whose admins have not added the app to a workspace yet
        credentials = known[0]
        self._omni_kind = _number(f"omni of {credentials.organization or credentials.team}")
        self._omni = _number(credentials.omni_base_url)
        self._rate_kind = _number(f"rate of {credentials.omni_budget}")
        self._rate = self._lowest = credentials.requests_per_minute
        waited_seconds = 0.0
        while await self._another_omni_runs():
            if waited_seconds == 0.0:
                log.error(
                    "another process has another omni", setting="OMNI_BASE_URL", waits_seconds=WAITS_SECONDS
                )
            if waited_seconds >= WAITS_SECONDS:
                raise SettingsError([ANOTHER_OMNI])
            await asyncio.sleep(WAIT_CHECK_SECONDS)
            waited_seconds += WAIT_CHECK_SECONDS
        self._peers.hold(self._omni_kind, self._omni)
        self._peers.hold(self._rate_kind, self._rate)

    async def keep(self, limiters: Callable[[], Iterable[RateLimiter]]) -> None:
        """Apply the lowest OMNI_REQUESTS_PER_MINUTE of all processes, until cancelled. `limiters`: those of the key."""
        while True:
            try:
                await self._compare()
            except StoreUnavailable as error:
                log.warning("settings of other processes not read", reason=str(error))
            for limiter in limiters():
                limiter.rate = omni_rate(self._lowest)
            await asyncio.sleep(CHECK_SECONDS)

    async def _compare(self) -> None:
        lowest = min(await self._peers.held(self._rate_kind) | {self._rate})
        if lowest != self._lowest:
            log.warning("requests per minute used", lowest=lowest, own=self._rate)
        self._lowest = lowest
        differs = await self._another_omni_runs()
        if differs and not self._differs:
            # Both processes started at the same moment.
            log.error("another process has another omni", setting="OMNI_BASE_URL")
        self._differs = differs

    async def _another_omni_runs(self) -> bool:
        return bool(await self._peers.held(self._omni_kind) - {self._omni})


def _number(text: str) -> int:
    """Hash a text to the size of an advisory lock's key."""
    return crc32(text.encode()) & 0x7FFFFFFF
