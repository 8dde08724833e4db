"""What runs beside each other ends together, also where a first cancellation is lost."""

import asyncio
from contextlib import suppress

import pytest

from bot.tasks import end, run_together

pytestmark = pytest.mark.looptime


async def forever() -> None:
    await asyncio.Event().wait()


async def deaf(times: int) -> None:
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await forever()


async def breaks() -> None:
    await asyncio.sleep(1.0)
    raise ZeroDivisionError


async def test_cancelled_from_outside_all_end() -> None:
    tasks = [asyncio.create_task(forever()) for _ in range(3)]
    running = asyncio.create_task(run_together(tasks))
    await asyncio.sleep(10.0)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert all(task.cancelled() for task in tasks)


async def test_if_one_breaks_the_others_end_and_its_error_is_raised() -> None:
    other = asyncio.create_task(forever())
    with pytest.raises(ZeroDivisionError):
        await run_together([asyncio.create_task(breaks()), other])
    assert other.cancelled()


async def test_ended_by_somebody_else_they_end_quietly() -> None:
    tasks = [asyncio.create_task(forever()) for _ in range(2)]
    running = asyncio.create_task(run_together(tasks))
    await asyncio.sleep(1.0)
    await end(tasks)
    await running


async def test_who_does_not_hear_a_cancellation_is_cancelled_again() -> None:
    tasks = [asyncio.create_task(deaf(3)), asyncio.create_task(forever())]
    await asyncio.sleep(1.0)
    async with asyncio.timeout(10.0):
        await end(tasks)
    assert all(task.done() for task in tasks)


async def test_nothing_ends_at_once() -> None:
    await end([])
