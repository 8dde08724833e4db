"""Steps that are finished once begun, whoever is cancelled."""

import asyncio

import pytest

from bot.tasks import ShieldedTasks

pytestmark = pytest.mark.looptime


async def test_a_steps_result_is_the_callers() -> None:
    async def step() -> int:
        await asyncio.sleep(1.0)
        return 42

    assert await ShieldedTasks().run(step()) == 42


async def test_a_steps_trouble_is_the_callers() -> None:
    async def step() -> None:
        await asyncio.sleep(1.0)
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await ShieldedTasks().run(step())


@pytest.mark.parametrize("cancelled_after_seconds", [0.0, 0.5, 1.5, 2.5])
async def test_a_step_goes_on_when_its_caller_is_cancelled(cancelled_after_seconds: float) -> None:
    done: list[str] = []

    async def step() -> None:
        for part in ("tried", "posted", "stored"):
            await asyncio.sleep(1.0)
            done.append(part)

    steps = ShieldedTasks()
    caller = asyncio.create_task(steps.run(step()))
    await asyncio.sleep(cancelled_after_seconds)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert asyncio.get_running_loop().time() == cancelled_after_seconds, "the caller is let go at once"
    await steps.drain()
    assert done == ["tried", "posted", "stored"]


async def test_settling_waits_for_every_step_left_behind_and_for_those_begun_meanwhile() -> None:
    loop = asyncio.get_running_loop()
    ended: list[float] = []
    steps = ShieldedTasks()

    async def step(seconds: float) -> None:
        await asyncio.sleep(seconds)
        ended.append(loop.time())

    callers = [asyncio.create_task(steps.run(step(seconds))) for seconds in (1.0, 3.0)]
    await asyncio.sleep(0.1)
    for caller in callers:
        caller.cancel()
    loop.call_at(2.0, lambda: callers.append(asyncio.create_task(steps.run(step(5.0)))))
    await steps.drain()
    assert ended == [1.0, 3.0, 7.0]
    await asyncio.gather(*callers, return_exceptions=True)


async def test_with_nothing_left_behind_there_is_nothing_to_wait_for() -> None:
    await ShieldedTasks().drain()
    assert asyncio.get_running_loop().time() == 0.0


async def test_the_trouble_of_a_step_left_behind_disturbs_nobody() -> None:
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))

    async def step() -> None:
        await asyncio.sleep(1.0)
        raise LookupError

    steps = ShieldedTasks()
    caller = asyncio.create_task(steps.run(step()))
    await asyncio.sleep(0.5)
    caller.cancel()
    await steps.drain()
    assert caller.cancelled() and steps._under_way == set()
