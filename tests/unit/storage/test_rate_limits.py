"""The budgets in the database: never too much, one statement each, and the same for all processes."""

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from bot.domain.errors import StoreUnavailable
from bot.ratelimit import Rate
from bot.storage.rate_limits import LONGEST_PAUSE_SECONDS, SqlRateLimitStore
from bot.storage.transactions import Transactions
from tests.support.databases import Clock, Opened, empty, opened, statements, steps
from tests.support.rates import ALMOST_JITTER_SECONDS, RATE, worst_minute

SLACK_SECONDS = 3.0
"""How long a test may take."""


def about(seconds: float) -> object:
    """So long, less what has passed since."""
    return pytest.approx(seconds - SLACK_SECONDS / 2, abs=SLACK_SECONDS / 2 + 0.001)


@pytest.fixture
async def ledger(database: Opened) -> SqlRateLimitStore:
    return await database.ledger()


async def takes(ledger: SqlRateLimitStore, number: int, *, urgent: bool = True) -> list[bool]:
    """Whether each of so many requests may go now."""
    return [await ledger.take("omni", RATE, urgent=urgent) == 0.0 for _ in range(number)]


async def test_burst_then_steady_rate(ledger: SqlRateLimitStore, database: Opened) -> None:
    assert await takes(ledger, 5) == [True, True, True, True, False]
    wait_seconds = await ledger.take("omni", RATE)
    assert wait_seconds == about(RATE.interval_seconds)
    await database.let_pass(wait_seconds + 0.001)
    assert await takes(ledger, 2) == [True, False]


async def test_silence_saves_one_burst(ledger: SqlRateLimitStore, database: Opened) -> None:
    await takes(ledger, 1)
    await database.let_pass(3_600.0)
    assert await takes(ledger, 5) == [True, True, True, True, False]


async def test_refused_request_costs_nothing(ledger: SqlRateLimitStore) -> None:
    await takes(ledger, 4)
    waits = [await ledger.take("omni", RATE) for _ in range(50)]
    assert max(waits) == waits[0] <= RATE.interval_seconds


async def test_background_leaves_the_last_places(ledger: SqlRateLimitStore, database: Opened) -> None:
    assert await takes(ledger, 4, urgent=False) == [True, True, False, False]
    assert await takes(ledger, 3, urgent=True) == [True, True, False]
    assert await ledger.take("omni", RATE, urgent=False) == about(3 * RATE.interval_seconds)
    await database.let_pass(RATE.interval_seconds)
    assert await takes(ledger, 1, urgent=False) == [False]
    assert await takes(ledger, 1, urgent=True) == [True]


async def test_budget_without_burst_serves_all(ledger: SqlRateLimitStore) -> None:
    one = Rate(interval_seconds=10.0, tolerance_seconds=0.0)
    assert await ledger.take("omni", one, urgent=False) == 0.0
    assert await ledger.take("omni", one, urgent=False) > 0.0


async def test_budgets_do_not_touch_each_other(ledger: SqlRateLimitStore) -> None:
    await ledger.pause("omni", RATE, 60.0)
    assert await ledger.take("chat.update", RATE) == 0.0
    assert await ledger.take("omni", RATE) > 0.0


async def test_simultaneous_requests_share_no_place(ledger: SqlRateLimitStore) -> None:
    waits = await asyncio.gather(*(ledger.take("omni", RATE) for _ in range(20)))
    assert waits.count(0.0) == 4


async def test_budget_survives_a_restart(ledger: SqlRateLimitStore, database: Opened) -> None:
    await takes(ledger, 4)
    await database.close()
    assert await takes(await database.ledger(), 1) == [False]


async def test_a_cancelled_taker_leaves_the_ledger_usable(ledger: SqlRateLimitStore) -> None:
    await takes(ledger, 1)
    taking = [asyncio.create_task(ledger.take("omni", RATE)) for _ in range(5)]
    await steps(1)
    for task in taking:
        task.cancel()
    await asyncio.gather(*taking, return_exceptions=True)
    await ledger.transactions.tasks.drain()
    assert await asyncio.wait_for(ledger.take("omni", RATE), 5.0) > 0.0


async def test_a_pause_lets_nobody_through_and_ends(ledger: SqlRateLimitStore, database: Opened) -> None:
    await ledger.pause("omni", RATE, 30.0)
    assert await ledger.take("omni", RATE) == about(30.0)
    await database.let_pass(30.001)
    assert await takes(ledger, 1) == [True]


async def test_a_pause_outlives_a_restart(ledger: SqlRateLimitStore, database: Opened) -> None:
    await takes(ledger, 1)
    await ledger.pause("omni", RATE, 30.0)
    await database.close()
    assert await (await database.ledger()).take("omni", RATE) == about(30.0)


async def test_shorter_pause_keeps_the_longer(ledger: SqlRateLimitStore) -> None:
    await ledger.pause("omni", RATE, 60.0)
    await ledger.pause("omni", RATE, 1.0)
    assert await ledger.take("omni", RATE) == about(60.0)


async def test_no_pause_is_longer_than_the_longest(ledger: SqlRateLimitStore) -> None:
    await ledger.pause("omni", RATE, 86_400.0)
    assert await ledger.take("omni", RATE) == about(LONGEST_PAUSE_SECONDS)


@pytest.mark.parametrize("back_seconds", [3_600.0, 86_400.0 * 365])
async def test_clock_set_back_far_does_not_block(
    ledger: SqlRateLimitStore, database: Opened, back_seconds: float
) -> None:
    await takes(ledger, 4)
    await ledger.pause("omni", RATE, 60.0)
    await database.let_pass(-back_seconds)
    assert await takes(ledger, 1) == [True]


async def test_clock_set_back_before_a_restart_gives_no_burst(
    ledger: SqlRateLimitStore, database: Opened
) -> None:
    await takes(ledger, 4)
    await database.let_pass(-60.0)
    await database.close()
    restarted = await database.ledger()
    assert await takes(restarted, 1) == [False]
    await database.let_pass(2 * RATE.interval_seconds)
    assert await takes(restarted, 3) == [True, True, False]


async def test_clock_set_back_delays_only_that_long(ledger: SqlRateLimitStore, database: Opened) -> None:
    await takes(ledger, 4)
    await database.let_pass(-120.0)
    assert await ledger.take("omni", RATE) <= 120.0 + RATE.interval_seconds + 0.001


@pytest.mark.parametrize("urgent", [True, False])
async def test_granted_request_is_one_update(database: Opened, urgent: bool) -> None:
    process = await database.process()
    ledger = SqlRateLimitStore(process, database.clock)
    await takes(ledger, 1)
    with statements(process.database) as sent:
        assert await takes(ledger, 1, urgent=urgent) == [True]
    assert [statement.split()[0] for statement in sent if not statement.startswith("BEGIN")] == ["UPDATE"]
    await takes(ledger, 4)
    before = await rows(process)
    with statements(process.database) as sent:
        assert await takes(ledger, 1, urgent=urgent) == [False]
    assert [statement.split()[0] for statement in sent if not statement.startswith("BEGIN")] == [
        "UPDATE",
        "SELECT",
    ]
    assert await rows(process) == before


async def rows(process: Transactions) -> list[tuple[object, ...]]:
    async with process.database.engine.begin() as connection:
        found = await connection.exec_driver_sql("SELECT * FROM budgets ORDER BY name")
        return [tuple(row) for row in found]


async def test_removed_budget_raises(database: Opened) -> None:
    process = await database.process()
    ledger = SqlRateLimitStore(process, database.clock)
    await takes(ledger, 1)
    async with process.database.engine.begin() as connection:
        await connection.exec_driver_sql("DELETE FROM budgets")
    with pytest.raises(StoreUnavailable):
        await ledger.take("omni", RATE)


async def test_starting_processes_share_one_budget(postgresql: str) -> None:
    async with opened(postgresql) as database:
        ledgers = [await database.ledger() for _ in range(3)]
        went = await asyncio.gather(*(takes(ledger, 4) for ledger in ledgers))
    assert sum(sum(each) for each in went) == 4


async def test_differing_clocks_keep_the_limit(postgresql: str) -> None:
    rate = Rate(interval_seconds=0.05, tolerance_seconds=0.15)
    loop = asyncio.get_running_loop()
    async with opened(postgresql) as database:
        now = datetime.now(UTC)
        clocks = [Clock(now + timedelta(minutes=minutes)) for minutes in (-7, 0, 7)]
        ledgers = [SqlRateLimitStore(await database.process(), clock) for clock in clocks]
        await asyncio.gather(*(ledger.take("warm up", rate) for ledger in ledgers))
        began = loop.time()
        went: list[int] = [0, 0, 0]

        async def spend(number: int) -> None:
            while loop.time() < began + 1.5:
                if wait_seconds := await ledgers[number].take("omni", rate):
                    await asyncio.sleep(min(wait_seconds, 0.1))
                else:
                    went[number] += 1

        await asyncio.gather(*(spend(number) for number in range(3)))
        lasted = loop.time() - began
    assert 4 < sum(went) <= lasted / rate.interval_seconds + 4
    assert min(went) > 0


async def test_time_is_read_inside_the_transaction(sqlite: str) -> None:
    async with opened(sqlite) as database:
        ledger = await database.ledger()
        await takes(ledger, 4)
        engine = ledger.transactions.database.engine.sync_engine
        event.listen(engine, "begin", lambda _: database.clock.go(RATE.interval_seconds))
        assert await takes(ledger, 1) == [True]


async def test_time_is_read_after_waiting(postgresql: str) -> None:
    async with opened(postgresql) as database:
        one, other = await database.process(), SqlRateLimitStore(await database.process(), database.clock)
        await takes(other, 1)
        await database.let_pass(600.0)
        async with one.database.engine.begin() as connection:
            await connection.exec_driver_sql("SELECT * FROM budgets FOR UPDATE")
            waiting = asyncio.create_task(other.take("omni", RATE))
            await asyncio.sleep(0.2)
            # Meanwhile everything is taken that there is.
            spent = RATE.tolerance_seconds + RATE.interval_seconds
            await connection.exec_driver_sql(
                f"UPDATE budgets SET arrival = extract(epoch FROM clock_timestamp()) + {spent}"
            )
        assert await waiting == about(RATE.interval_seconds)
        assert await takes(other, 4) == [False] * 4


LIMITS, BURSTS = st.integers(1, 80), st.integers(1, 100)

WISHES = st.lists(
    st.tuples(
        st.one_of(st.just(0.0), st.floats(0.0, 5.0), st.floats(0.0, 200.0)),
        st.one_of(st.sampled_from([0.0, ALMOST_JITTER_SECONDS]), st.floats(0.0, ALMOST_JITTER_SECONDS)),
        st.booleans(),
        st.sampled_from([False, False, False, False, False, False, False, True]),
    ),
    max_size=100,
)
"""For each request: how long after the one before, how late it arrives, whether it is urgent, and whether the
process is restarted before it."""

Wishes = list[tuple[float, float, bool, bool]]


async def spend(url: str, rate: Rate, wishes: Wishes) -> list[float]:
    """When each of the requests arrived, in seconds."""
    loop = asyncio.get_running_loop()
    arrived: list[float] = []
    async with opened(url) as database:
        ledger = await database.ledger()
        passed = 0.0
        for silence_seconds, late_seconds, urgent, restart in wishes:
            if restart:
                await database.close()
                ledger = await database.ledger()
            wait_seconds = silence_seconds
            while True:
                await database.let_pass(wait_seconds)
                passed += wait_seconds
                if not (wait_seconds := await ledger.take("omni", rate, urgent=urgent)):
                    break
            if database.is_shared:
                # Its clock goes on, and part of the time allowed is what this test itself may dawdle.
                arrived.append(passed + loop.time() + late_seconds / 2)
            else:
                arrived.append(passed + late_seconds)
    return arrived


@settings(deadline=None, max_examples=25)
@given(LIMITS, BURSTS, WISHES)
def test_sqlite_keeps_the_limit_per_minute(limit: int, burst: int, wishes: Wishes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{Path(folder) / 'budget.sqlite3'}"
        arrived = asyncio.run(spend(url, Rate.within(limit, burst=burst), wishes))
    assert len(arrived) == len(wishes)
    assert not arrived or worst_minute(arrived) <= limit


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LIMITS, BURSTS, WISHES)
def test_postgresql_keeps_the_limit_per_minute(
    postgresql: str, limit: int, burst: int, wishes: Wishes
) -> None:
    empty(postgresql)
    arrived = asyncio.run(spend(postgresql, Rate.within(limit, burst=burst), wishes))
    assert len(arrived) == len(wishes)
    assert not arrived or worst_minute(arrived) <= limit


async def test_left_requests_refill_with_time(ledger: SqlRateLimitStore, database: Opened) -> None:
    assert await ledger.left("omni", RATE) == 4.0
    await takes(ledger, 1)
    assert await ledger.left("omni", RATE) == pytest.approx(3.0, abs=0.3)
    await takes(ledger, 3)
    assert await ledger.left("omni", RATE) == pytest.approx(0.0, abs=0.3)
    await database.let_pass(2 * RATE.interval_seconds)
    assert await ledger.left("omni", RATE) == pytest.approx(2.0, abs=0.3)
    await database.let_pass(3_600.0)
    assert await ledger.left("omni", RATE) == 4.0


async def test_to_ask_what_is_left_takes_nothing(ledger: SqlRateLimitStore) -> None:
    for _ in range(10):
        await ledger.left("omni", RATE)
    assert await takes(ledger, 5) == [True, True, True, True, False]


async def test_paused_budget_has_nothing_left(ledger: SqlRateLimitStore, database: Opened) -> None:
    await ledger.pause("omni", RATE, 30.0)
    assert await ledger.left("omni", RATE) == 0.0
    await database.let_pass(31.0)
    assert await ledger.left("omni", RATE) == 4.0


async def test_left_requests_are_shared(database: Opened) -> None:
    one, other = await database.ledger(), await database.ledger()
    await takes(one, 4)
    assert await other.left("omni", RATE) == pytest.approx(0.0, abs=0.3)
