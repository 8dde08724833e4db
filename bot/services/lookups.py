"""Caches look-ups of users and channels in Slack, and makes one request for all callers that wait.

A 429, an internal error of Slack and a lost connection are retried. The caller limits how long it waits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from bot.delivery import back_off
from bot.domain import OutcomeUnknown, SlackBusy, SlackError, SlackUnreachable, TokenRefused
from bot.tasks import RecentKeys, loop_time

AT_ONCE = 4
"""Concurrent requests to one method, and so the most that a 429 can hit at once."""
MOST_KNOWN = 2_000
"""How many answers are cached."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lookups(Generic[K, V]):
    """Cached answers of one Slack method by its argument."""

    def __init__(self, ask: Callable[[K], Awaitable[V]]) -> None:
        """`ask` makes one request. Raises any SlackError."""
        self._ask = ask
        self._known: RecentKeys[K, tuple[V, float]] = RecentKeys(MOST_KNOWN)
        """Each answer and its `loop.time()`."""
        self._turns: WeakValueDictionary[K, asyncio.Lock] = WeakValueDictionary()
        self._under_way = asyncio.Semaphore(AT_ONCE)
        self._busy_until = 0.0

    async def get(self, key: K, *, known_for_seconds: float) -> V:
        """Return an answer that is at most so old. Waits until Slack gives one.

        Raises:
            SlackError: Slack refuses, and would again.
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
                    # The limit is the method's, so all other keys wait as well.
                    self._busy_until = max(self._busy_until, loop_time() + error.retry_after_seconds)
                    continue
                except (SlackUnreachable, OutcomeUnknown, TokenRefused) as error:
                    trouble = error
            failures = await back_off(trouble, failures)
