"""Shielded steps, background tasks, repetition, back-off and the bounded cache."""

import asyncio
from contextlib import suppress

import pytest

from bot.domain import StoreUnavailable
from bot.tasks import (
    RecentKeys,
    ShieldedTasks,
    backoff_seconds,
    end,
    loop_time,
    repeat_until_cancelled,
    run_together,
)

pytestmark = pytest.mark.looptime


# Back-off and recent keys


def test_backoff_doubles_up_to_its_limit() -> None:
    assert [backoff_seconds(failures, longest=5.0) for failures in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert backoff_seconds(2, first=0.5, longest=60.0) == 2.0


def test_backoff_survives_endless_failures() -> None:
    assert backoff_seconds(1_000_000, longest=60.0) == 60.0


def test_oldest_key_is_dropped() -> None:
    recent: RecentKeys[str, int] = RecentKeys(2)
    for number, key in enumerate("abc"):
        recent[key] = number
    assert dict(recent) == {"b": 1, "c": 2}


def test_setting_a_key_again_renews_it() -> None:
    recent: RecentKeys[str, int] = RecentKeys(2)
    for number, key in enumerate("abac"):
        recent[key] = number
    assert dict(recent) == {"a": 2, "c": 3}


def test_recent_keys_act_as_a_dictionary() -> None:
    recent: RecentKeys[str, int] = RecentKeys(2)
    assert recent.setdefault("a", 1) == recent.setdefault("a", 2) == 1
    recent.update(b=2, c=3)
    assert recent.pop("a", None) is None and "c" in recent and recent.get("d") is None
    assert len(recent) == 2


# Repetition


async def test_repetition_outlives_a_database_outage() -> None:
    ran_at: list[float] = []

    async def action() -> None:
        ran_at.append(loop_time())
        if len(ran_at) == 2:
            raise StoreUnavailable("down")

    with suppress(TimeoutError):
        async with asyncio.timeout(25.0):
            await repeat_until_cancelled(action, every_seconds=10.0, failure_event="not read")
    assert ran_at == [0.0, 10.0, 20.0]


async def test_repetition_may_pause_first() -> None:
    ran_at: list[float] = []

    async def action() -> None:
        ran_at.append(loop_time())

    with suppress(TimeoutError):
        async with asyncio.timeout(25.0):
            await repeat_until_cancelled(action, every_seconds=10.0, failure_event="", pause_first=True)
    assert ran_at == [10.0, 20.0]


async def test_repetition_logs_a_database_outage(capsys: pytest.CaptureFixture[str]) -> None:
    async def action() -> None:
        raise StoreUnavailable("disk full")

    with suppress(TimeoutError):
        async with asyncio.timeout(5.0):
            await repeat_until_cancelled(action, every_seconds=10.0, failure_event="cards not read")
    assert "cards not read" in (out := capsys.readouterr().out) and "disk full" in out


async def test_repetition_ends_with_a_defect() -> None:
    async def action() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await repeat_until_cancelled(action, every_seconds=10.0, failure_event="not read")


# Shielded steps


async def test_caller_gets_a_steps_result() -> None:
    async def step() -> int:
        await asyncio.sleep(1.0)
        return 42

    assert await ShieldedTasks().run(step()) == 42


async def test_caller_gets_a_steps_error() -> None:
    async def step() -> None:
        await asyncio.sleep(1.0)
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await ShieldedTasks().run(step())


@pytest.mark.parametrize("cancelled_after_seconds", [0.0, 0.5, 1.5, 2.5])
async def test_step_outlives_its_cancelled_caller(cancelled_after_seconds: float) -> None:
    done: list[str] = []

    async def step() -> None:
        for part in ("started", "posted", "stored"):
            await asyncio.sleep(1.0)
            done.append(part)

    steps = ShieldedTasks()
    caller = asyncio.create_task(steps.run(step()))
    await asyncio.sleep(cancelled_after_seconds)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert loop_time() == cancelled_after_seconds, "the caller is cancelled at once"
    await steps.drain()
    assert done == ["started", "posted", "stored"]


async def test_drain_waits_for_every_step() -> None:
    ended: list[float] = []
    steps = ShieldedTasks()

    async def step(seconds: float) -> None:
        await asyncio.sleep(seconds)
        ended.append(loop_time())

    callers = [asyncio.create_task(steps.run(step(seconds))) for seconds in (1.0, 3.0)]
    await asyncio.sleep(0.1)
    for caller in callers:
        caller.cancel()
    begin_another = lambda: callers.append(asyncio.create_task(steps.run(step(5.0))))  # noqa: E731
    asyncio.get_running_loop().call_at(2.0, begin_another)
    await steps.drain()
    assert ended == [1.0, 3.0, 7.0]
    await asyncio.gather(*callers, return_exceptions=True)


async def test_drain_without_steps_ends_at_once() -> None:
    await ShieldedTasks().drain()
    assert loop_time() == 0.0


async def test_abandoned_steps_error_is_not_reported() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def step() -> None:
        await asyncio.sleep(1.0)
        raise LookupError

    steps = ShieldedTasks()
    caller = asyncio.create_task(steps.run(step()))
    await asyncio.sleep(0.5)
    caller.cancel()
    await steps.drain()
    assert caller.cancelled() and steps._running == set() and reported == []


# Background tasks


async def forever() -> None:
    await asyncio.Event().wait()


async def ignore_cancellations(times: int) -> None:
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await forever()


async def fail_later() -> None:
    await asyncio.sleep(1.0)
    raise ZeroDivisionError


async def test_cancelling_the_caller_ends_all_tasks() -> None:
    tasks = [asyncio.create_task(forever()) for _ in range(3)]
    running = asyncio.create_task(run_together(tasks))
    await asyncio.sleep(10.0)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert all(task.cancelled() for task in tasks)


async def test_failing_task_ends_the_others() -> None:
    other = asyncio.create_task(forever())
    with pytest.raises(ZeroDivisionError):
        await run_together([asyncio.create_task(fail_later()), other])
    assert other.cancelled()


async def test_tasks_cancelled_elsewhere_end_quietly() -> None:
    tasks = [asyncio.create_task(forever()) for _ in range(2)]
    running = asyncio.create_task(run_together(tasks))
    await asyncio.sleep(1.0)
    await end(tasks)
    await running


async def test_lost_cancellation_is_repeated() -> None:
    tasks = [asyncio.create_task(ignore_cancellations(3)), asyncio.create_task(forever())]
    await asyncio.sleep(1.0)
    async with asyncio.timeout(10.0):
        await end(tasks)
    assert all(task.done() for task in tasks)


async def test_ending_no_tasks_returns() -> None:
    await end([])
