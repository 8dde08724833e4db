"""Settings in which all processes on one PostgreSQL have to agree: which Omni, and how many requests its key may make.

Each process shows its own by advisory locks, which end with it. So a setting can be changed by a restart, and a process
that is gone binds nobody.
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
"""How long a start waits for processes with another Omni to end: in a restart the old ones may still be ending."""
LOOKS_SECONDS = 1.0
KEEPS_SECONDS = 5.0
"""How often the processes are looked at, while waiting for them and later."""


class Peers(Protocol):
    """Numbers that the processes of a database show each other, each of some kind."""

    def hold(self, kind: int, number: int) -> None:
        """Show a number until this process ends."""
        ...

    async def held(self, kind: int) -> set[int]:
        """What processes show now, this one included. Raises StoreUnavailable."""
        ...


class Agreement:
    """The settings of this process next to those of the others, where they name the one workspace and its Omni."""

    def __init__(self, peers: Peers, source: CredentialSource) -> None:
        self._peers = peers
        self._source = source
        self._omni_kind = self._omni = self._rate_kind = 0
        self._rate = self._lowest = 0
        self._differs = False

    async def begin(self) -> None:
        """Show our settings, once no process with another Omni is left.

        Raises:
            SettingsError: one is left.
            StoreUnavailable: the database does not say.
            TokenRefused: Slack does not say which workspace it is.
        """
        (credentials,) = await self._source.list()
        self._omni_kind, self._omni = (
            _number(f"omni of {credentials.team}"),
            _number(credentials.omni_base_url),
        )
        self._rate_kind = _number(f"rate of {credentials.omni_budget}")
        self._rate = self._lowest = credentials.requests_per_minute
        waited_seconds = 0.0
        while await self._is_another_omni():
            if waited_seconds == 0.0:
                log.error(
                    "another process has another omni", setting="OMNI_BASE_URL", waits_seconds=WAITS_SECONDS
                )
            if waited_seconds >= WAITS_SECONDS:
                raise SettingsError([ANOTHER_OMNI])
            await asyncio.sleep(LOOKS_SECONDS)
            waited_seconds += LOOKS_SECONDS
        self._peers.hold(self._omni_kind, self._omni)
        self._peers.hold(self._rate_kind, self._rate)

    async def keep(self, gates: Callable[[], Iterable[RateLimiter]]) -> None:
        """Keep to the lowest OMNI_REQUESTS_PER_MINUTE of all processes, until cancelled. `gates`: those of the key."""
        while True:
            try:
                await self._compare()
            except StoreUnavailable as error:
                log.warning("settings of others not read", reason=str(error))
            for gate in gates():
                gate.rate = omni_rate(self._lowest)
            await asyncio.sleep(KEEPS_SECONDS)

    async def _compare(self) -> None:
        lowest = min(await self._peers.held(self._rate_kind) | {self._rate})
        if lowest != self._lowest:
            log.warning("requests per minute used", lowest=lowest, own=self._rate)
        self._lowest = lowest
        differs = await self._is_another_omni()
        if differs and not self._differs:
            # Both began in the same moment.
            log.error("another process has another omni", setting="OMNI_BASE_URL")
        self._differs = differs

    async def _is_another_omni(self) -> bool:
        return bool(await self._peers.held(self._omni_kind) - {self._omni})


def _number(text: str) -> int:
    """A number for a text, of a size that an advisory lock takes."""
    return crc32(text.encode()) & 0x7FFFFFFF
