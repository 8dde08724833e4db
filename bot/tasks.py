"""Building blocks for coroutines: shielded steps, background tasks, repetition, back-off, and a bounded cache."""

import asyncio
from collections import UserDict
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, TypeVar

import structlog

from bot.domain import StoreUnavailable

log = structlog.get_logger()

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


def loop_time() -> float:
    """Monotonic time of the running event loop, in seconds."""
    return asyncio.get_running_loop().time()


def backoff_seconds(failures: int, *, first: float = 1.0, longest: float) -> float:
    """Seconds to wait before the next try: `first` at 0 failures, doubled by each failure, at most `longest`."""
    return min(longest, first * 2.0 ** min(failures, 30))


class RecentKeys(UserDict[K, V]):
    """Dictionary bounded to the keys that were set last."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        """Set the value and make its key the newest; drop the oldest key if there are too many."""
        self.data.pop(key, None)
        self.data[key] = value
        if len(self.data) > self._most:
            del self.data[next(iter(self.data))]


async def repeat_until_cancelled(
    action: Callable[[], Awaitable[object]],
    *,
    every_seconds: float,
    failure_event: str,
    pause_first: bool = False,
) -> None:
    """Run the action again and again, with a pause after each run.

    A database that is down does not end the loop: `failure_event` is logged. Every other error does.
    """
    if pause_first:
        await asyncio.sleep(every_seconds)
    while True:
        try:
            await action()
        except StoreUnavailable as error:
            log.error(failure_event, reason=str(error))
        await asyncio.sleep(every_seconds)


class ShieldedTasks:
    """Runs each step in its own task, which goes on when the caller is cancelled.

    For steps that must not stop half-way: a database transaction, or posting a message and storing its ts.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def running(self) -> int:
        """How many steps run."""
        return len(self._running)

    async def run(self, step: Coroutine[Any, Any, T]) -> T:
        """Run the step and return its result. If the caller is cancelled, the step goes on without it."""
        task = asyncio.create_task(step)
        self._running.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Retrieved here, so that asyncio does not report the failure of a step whose caller was cancelled.
            task.exception()

    async def drain(self) -> None:
        """Wait for all steps to end. For the end of the process."""
        while self._running:
            await asyncio.wait(self._running)


CANCELS_AGAIN_AFTER_SECONDS = 1.0


async def run_together(tasks: Collection[asyncio.Task[None]]) -> None:
    """Wait for background tasks; when one fails or this is cancelled, end all of them. Raises the task's error."""
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            if not task.cancelled():
                task.result()
    finally:
        await end(tasks)


async def end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel the tasks, repeatedly, until they have ended.

    Once may not be enough: up to Python 3.11, `asyncio.wait_for`, which a pool uses to wait for a connection, loses
    a cancellation that comes at the moment the wait ends. Source: github.com/python/cpython/issues/86296.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCELS_AGAIN_AFTER_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


STORED_WITHIN_SECONDS = 120.0
"""How long storing a posted message's ts is retried. After that the message must be searched for, which needs a scope
that not every installation has."""

LONGEST_STORE_BACKOFF_SECONDS = 5.0


async def retry_until_stored(store: Callable[[], Awaitable[T]], **row: str) -> T:
    """Call `store` until the database answers, and return its result. `row`: fields for the log, as `card=`.

    Raises:
        StoreUnavailable: the database has been down for STORED_WITHIN_SECONDS.
    """
    give_up_at = loop_time() + STORED_WITHIN_SECONDS
    failures = 0
    while True:
        try:
            return await store()
        except StoreUnavailable as error:
            if loop_time() >= give_up_at:
                raise
            log.warning("not stored yet", **row, reason=str(error))
            await asyncio.sleep(backoff_seconds(failures, longest=LONGEST_STORE_BACKOFF_SECONDS))
            failures += 1
