"""Limit on the requests to Omni that one user causes, so that no user takes what the others need.

Each request is counted where it is made. A user who has made too many is refused where something
new begins, by `PolicyAuthorization.check`, and never in the middle. Each process counts for itself.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from bot.domain import UserId
from bot.tasks import loop_time

LONGEST_REFUSAL_SECONDS = 20.0
"""A user is refused no longer than this after a request: one look-up may cost many, through no fault of theirs."""
ROUNDING_SECONDS = 0.001
MOST_KNOWN = 2_000
"""Users whose requests are remembered."""

acting_user: ContextVar[UserId | None] = ContextVar("acting_user", default=None)
"""The user for whom the running task, and the tasks begun in it, make requests; None: they count as no user's."""


@dataclass(slots=True)
class _Used:
    until: float = 0.0
    """When all that the user has used up is there again, by the loop's clock."""
    waiting: asyncio.Lock = field(default_factory=asyncio.Lock)


class UserLimit:
    """Counts each user's requests. Half a minute's may be made at once, the others evenly after that."""

    def __init__(self, per_minute: int) -> None:
        """`per_minute`: below 3, the longest refusal is too short to keep it."""
        at_once = max(1, per_minute // 2)
        self._interval_seconds = 60.0 / (per_minute - at_once + 1)
        self._ahead_seconds = (at_once - 1) * self._interval_seconds
        self._users: dict[UserId, _Used] = {}

    def is_exceeded(self, user: UserId) -> bool:
        """Whether the user has to wait before something new is begun for them."""
        return self.wait_seconds(user) > ROUNDING_SECONDS

    def wait_seconds(self, user: UserId) -> float:
        """How long the user has to wait; at most LONGEST_REFUSAL_SECONDS, and 0 if not at all."""
        used = self._users.get(user)
        return 0.0 if used is None else max(0.0, used.until - self._ahead_seconds - loop_time())

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold the place of the acting user in a queue of all users: one at a time, so that many requests of one user
        never wait before those of another. Counts the request when the context is left without an error."""
        user = acting_user.get()
        if user is None:
            yield
            return
        if user not in self._users and len(self._users) >= MOST_KNOWN:
            now = loop_time()
            self._users = {
                known: used
                for known, used in self._users.items()
                if used.until > now or used.waiting.locked()
            }
        used = self._users.setdefault(user, _Used())
        async with used.waiting:
            yield
        now = loop_time()
        furthest = now + self._ahead_seconds + LONGEST_REFUSAL_SECONDS
        used.until = min(max(used.until, now) + self._interval_seconds, furthest)
