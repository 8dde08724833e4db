"""Steps that are finished once begun, even when the task that asked for them is cancelled half-way."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class WholeSteps:
    """Runs each step in a task of its own that a cancelled caller leaves to its end.

    A database connection torn out of a transaction is lost, and a message posted without its ts being stored
    may be posted again; both happen when a caller's cancellation reaches into them.
    """

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()

    async def run(self, step: Coroutine[Any, Any, T]) -> T:
        """Do the step. If the caller is cancelled meanwhile, the step goes on without it."""
        task = asyncio.create_task(step)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            # Taken here, or asyncio reports a failure that a cancelled caller can no longer hear of.
            task.exception()

    async def settle(self) -> None:
        """Wait for the steps that were left behind. For the end of the process."""
        while self._under_way:
            await asyncio.wait(self._under_way)
