"""A wall clock that is set while the bot runs changes no duration: not in the process, not in the database."""

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bot.clock import SteadyClock
from bot.demo.omni.timeline import Complete, Script
from bot.ratelimit import Rate
from bot.storage.rate_limits import SqlRateLimitStore
from tests.simulation.scenario import PEOPLE, Action, JobPlan, Scenario
from tests.simulation.seeds import run_scenario
from tests.support.databases import opened
from tests.support.rates import worst_minute

BEGINNING = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)
DAY_AND_HOUR = 25 * 3_600.0


class Hardware:
    """The two clocks of a machine, of which one can be set."""

    def __init__(self) -> None:
        self.elapsed_seconds = 1_000.0
        self.wall_seconds = BEGINNING.timestamp()
        self.stops_for_seconds = 0.0
        """For how long the process is stopped before the next reading of the wall clock."""

    def clock(self) -> SteadyClock:
        return SteadyClock(self._wall, lambda: self.elapsed_seconds)

    def go(self, seconds: float) -> None:
        self.elapsed_seconds += seconds
        self.wall_seconds += seconds

    def set(self, seconds: float) -> None:
        self.wall_seconds += seconds

    def _wall(self) -> float:
        stops_for, self.stops_for_seconds = self.stops_for_seconds, 0.0
        self.go(stops_for)
        return self.wall_seconds


def passed(clock: SteadyClock) -> float:
    return (clock() - BEGINNING).total_seconds()


@pytest.mark.parametrize("seconds", [DAY_AND_HOUR, -DAY_AND_HOUR, 90.0, -90.0, 1e9])
def test_large_step_is_ignored_and_logged(seconds: float) -> None:
    hardware = Hardware()
    clock = hardware.clock()
    hardware.go(10.0)
    assert passed(clock) == pytest.approx(10.0)
    hardware.set(seconds)
    with capture_logs() as logged:
        hardware.go(5.0)
        assert passed(clock) == pytest.approx(15.0)
        hardware.go(5.0)
        assert passed(clock) == pytest.approx(20.0)
    assert [(line["event"], line["by_seconds"]) for line in logged] == [("clock set", seconds)]


def test_corrected_clock_is_followed() -> None:
    hardware = Hardware()
    clock = hardware.clock()
    for seconds in (DAY_AND_HOUR, -DAY_AND_HOUR):
        hardware.set(seconds)
        clock()
    assert clock() == datetime.fromtimestamp(hardware.wall_seconds, UTC)


def test_small_steps_are_followed() -> None:
    hardware = Hardware()
    clock = hardware.clock()
    for _ in range(1_000):
        hardware.set(0.9)
        assert clock() == datetime.fromtimestamp(hardware.wall_seconds, UTC)


def test_stop_between_two_readings_is_no_step() -> None:
    hardware = Hardware()
    clock = hardware.clock()
    hardware.stops_for_seconds = 70.0
    clock()
    hardware.go(1.0)
    assert passed(clock) == pytest.approx(71.0)


def test_real_clock_is_right() -> None:
    assert abs(SteadyClock()() - datetime.now(UTC)) < timedelta(seconds=1)


@settings(deadline=None, max_examples=20)
@given(
    st.lists(
        st.tuples(st.floats(0.0, 20.0), st.sampled_from([0.0, 0.0, 0.0, DAY_AND_HOUR, -DAY_AND_HOUR, 61.0])),
        max_size=80,
    )
)
def test_budget_holds_over_steps_of_the_clock(wishes: list[tuple[float, float]]) -> None:
    """On SQLite, whose budgets are kept by the clock of the process."""
    rate, hardware = Rate.within(10, burst=1), Hardware()

    async def spend(url: str) -> list[float]:
        went = []
        async with opened(url) as database:
            ledger = SqlRateLimitStore(await database.process(), hardware.clock())
            for silence_seconds, step_seconds in wishes:
                hardware.set(step_seconds)
                wait_seconds = silence_seconds
                while wait_seconds:
                    hardware.go(wait_seconds)
                    wait_seconds = await ledger.take("omni", rate)
                    assert wait_seconds <= rate.interval_seconds + 0.01
                went.append(hardware.elapsed_seconds)
        return went

    with tempfile.TemporaryDirectory() as folder:
        went = asyncio.run(spend(f"sqlite+aiosqlite:///{Path(folder) / 'budget.sqlite3'}"))
    assert not went or worst_minute(went) <= 10


@pytest.mark.parametrize("seconds", [DAY_AND_HOUR, -DAY_AND_HOUR, 40 * 86_400.0])
def test_follows_and_questions_survive_a_step(seconds: float) -> None:
    jobs = tuple(a_job(number, is_asked=number == 0) for number in range(6))
    kinds = ["ask", *["follow"] * 5]
    outcome = run_scenario(
        Scenario(
            seed=1,
            history_scopes=True,
            requests_per_minute=60,
            notify_after_seconds=30.0,
            max_follow_hours=24.0,
            retention_days=30.0,
            jobs=jobs,
            actions=tuple(
                Action(2.0 + number, kind, PEOPLE[number % 5], "C0DATATEAM", number)
                for number, kind in enumerate(kinds)
            ),
            fronts=(),
            upsets=(),
            clock_steps=((60.0, seconds),),
        )
    )
    trace = "\n".join(outcome.trace)
    assert not outcome.problems
    assert "over the limit" not in trace and "stopped looking" not in trace
    assert trace.count("Answered") >= 6


def a_job(number: int, *, is_asked: bool) -> JobPlan:
    steps = tuple((10.0, f"Step {step}", step) for step in range(1, 15))
    return JobPlan(
        id=f"{number:08d}-0000-4000-8000-000000000000",
        conversation=f"{number:08d}-1111-4000-8000-000000000000",
        begins=0.0,
        script=Script(0.0, steps, 0.0, Complete(f"answer-{number} is **{number}**.")),
        token=f"answer-{number}",
        is_asked=is_asked,
    )
