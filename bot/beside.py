"""Tasks that run beside each other until they are told to end, and really end then."""

import asyncio
from collections.abc import Collection

CANCELS_AGAIN_AFTER_SECONDS = 1.0


async def run_beside(tasks: Collection[asyncio.Task[None]]) -> None:
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
