"""Steps that are finished once begun, even when the task that asked for them is cancelled half-way."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, TypeVar

import structlog

from bot.domain import CardId, StoreUnavailable

log = structlog.get_logger()


T = TypeVar("T")


class ShieldedTasks:
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

    async def drain(self) -> None:
        """Wait for the steps that were left behind. For the end of the process."""
        while self._under_way:
            await asyncio.wait(self._under_way)


CANCELS_AGAIN_AFTER_SECONDS = 1.0


async def run_together(tasks: Collection[asyncio.Task[None]]) -> None:
    """Wait for tasks that are to run until they are cancelled; if one breaks, end the others and raise its error."""
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            if not task.cancelled():
                task.result()
    finally:
        await end(tasks)


async def end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel the tasks until they have ended.

    Once may not be enough: up to Python 3.11, `asyncio.wait_for`, by which a pool waits for a connection, loses a
    cancellation that comes in the moment in which the wait is over. Source: github.com/python/cpython/issues/86296.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCELS_AGAIN_AFTER_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


STORED_WITHIN_SECONDS = 120.0
"""How long a database that is down is asked again to take the ts of what Slack holds: after that it has to be
looked for, which not every installation may do."""


async def retry_until_stored(card_id: CardId, store: Callable[[], Awaitable[T]]) -> T:
    """Store what Slack holds, again and again while the database is down. Returns what `store` does.

    Raises:
        StoreUnavailable: it has been down for STORED_WITHIN_SECONDS.
    """
    give_up_at = asyncio.get_running_loop().time() + STORED_WITHIN_SECONDS
    failures = 0
    while True:
        try:
            return await store()
        except StoreUnavailable as error:
            if asyncio.get_running_loop().time() >= give_up_at:
                raise
            log.warning("not stored yet", watch=card_id, reason=str(error))
            await asyncio.sleep(min(5.0, 2.0**failures))
            failures += 1
