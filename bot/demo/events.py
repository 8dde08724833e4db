"""Events for whoever watches a simulated service live: a bounded queue each."""

import asyncio
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]

QUEUE_MOST = 1000


class Subscription:
    """The events from now on. Who reads too slowly loses the oldest ones."""

    def __init__(self, leave: Callable[["Subscription"], None]) -> None:
        self._events: asyncio.Queue[Event] = asyncio.Queue(QUEUE_MOST)
        self._leave = leave

    def put(self, event: Event) -> None:
        """Add an event; never waits."""
        if self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(event)

    async def get(self) -> Event:
        """The next event."""
        return await self._events.get()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Event:
        return await self._events.get()

    def close(self) -> None:
        """Take no more events."""
        self._leave(self)
