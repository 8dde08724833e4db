"""Look-ups of people and places in Slack: each made once for all who wait, until Slack answers, and remembered.

A 429, an error of Slack's own and a lost connection are no answers. The caller sets the limit for how long to wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from bot.delivery import back_off
from bot.domain import OutcomeUnknown, SlackBusy, SlackError, SlackUnreachable, TokenRefused
from bot.tasks import RecentKeys, loop_time

AT_ONCE = 4
"""Requests of one kind under way at a time: so many are refused at most when Slack's limit is reached."""
MOST_KNOWN = 2_000
"""How many answers are remembered."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lookups(Generic[K, V]):
    """What one method of Slack's says, by what it was asked about."""

    def __init__(self, ask: Callable[[K], Awaitable[V]]) -> None:
        """`ask` makes one request, and raises a BoardError where Slack does not answer it."""
        self._ask = ask
        self._known: RecentKeys[K, tuple[V, float]] = RecentKeys(MOST_KNOWN)
        """Each answer, and when it came, by the loop's clock."""
        self._turns: WeakValueDictionary[K, asyncio.Lock] = WeakValueDictionary()
        self._under_way = asyncio.Semaphore(AT_ONCE)
        self._busy_until = 0.0

    async def get(self, key: K, *, known_for_seconds: float) -> V:
        """Return an answer that is no older than that. Waits for as long as Slack gives none.

        Raises:
            BoardError: Slack refuses, and would again.
        """
        async with self._turns.setdefault(key, asyncio.Lock()):
            known = self._known.get(key)
            if known is not None and loop_time() - known[1] < known_for_seconds:
                return known[0]
            answer = await self._ask_until_answered(key)
            self._known[key] = answer, loop_time()
            return answer

    async def _ask_until_answered(self, key: K) -> V:
        failures = 0
        while True:
            trouble: SlackError
            async with self._under_way:
                await asyncio.sleep(max(0.0, self._busy_until - loop_time()))
                try:
                    return await self._ask(key)
                except SlackBusy as error:
                    # Of the method, not of this key: all others wait as well.
                    self._busy_until = max(self._busy_until, loop_time() + error.retry_after_seconds)
                    continue
                except (SlackUnreachable, OutcomeUnknown, TokenRefused) as error:
                    trouble = error
            failures = await back_off(trouble, failures)
