"""The request budget: never too much in any minute, never wasted, people before polls."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.errors import StoreUnavailable
from bot.domain.ports.omni import QueuePosition
from bot.ratelimit import (
    LONGEST_SLEEP_SECONDS,
    MOVED_IN_A_ROW,
    PLACES_LEFT,
    POLLS_PER_CHART,
    LocalRateLimitStore,
    Rate,
    RateLimiter,
)
from tests.support.rates import ALMOST_JITTER_SECONDS, MemoryLedger, in_virtual_time, worst_minute

# As in tests/demo/conftest.py: without it looptime has a loop made that nobody closes.
asyncio.set_event_loop(None)

_LIMITS = st.integers(1, 80)

_BURSTS = st.integers(1, 100)

_SILENCES = st.lists(st.one_of(st.just(0.0), st.floats(0.0, 5.0), st.floats(0.0, 200.0)), max_size=150)

_LATE = st.lists(
    st.one_of(st.sampled_from([0.0, ALMOST_JITTER_SECONDS]), st.floats(0.0, ALMOST_JITTER_SECONDS)),
    min_size=150,
    max_size=150,
)


@settings(deadline=None)
@given(_LIMITS, _BURSTS, _SILENCES, _LATE)
def test_no_minute_exceeds_the_limit(
    limit: int, burst: int, silences: list[float], late: list[float]
) -> None:
    async def demand() -> None:
        loop = asyncio.get_running_loop()
        gate = RateLimiter(MemoryLedger(), "omni", Rate.within(limit, burst=burst))
        arrived: list[float] = []

        async def request(late_seconds: float) -> None:
            await gate.acquire(urgent=late_seconds > 0.5)
            arrived.append(loop.time() + late_seconds)

        requests = []
        for silence, late_seconds in zip(silences, late, strict=False):
            await asyncio.sleep(silence)
            requests.append(asyncio.create_task(request(late_seconds)))
        await asyncio.gather(*requests)
        assert len(arrived) == len(silences)
        assert not arrived or worst_minute(arrived) <= limit

    in_virtual_time(demand())


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_steady_rate_uses_85_percent(limit: int, burst: int) -> None:
    rate = Rate.within(limit, burst=burst)
    assert 60.0 / rate.interval_seconds >= 0.85 * limit


@pytest.mark.parametrize("limit, burst", [(60, 4), (50, 5), (150, 4), (12, 4), (1, 1)])
@pytest.mark.looptime
async def test_full_queue_is_served_steadily(limit: int, burst: int) -> None:
    ledger = MemoryLedger()
    gate = RateLimiter(ledger, "omni", Rate.within(limit, burst=burst))

    async def poll() -> None:
        while True:
            await gate.acquire()

    polls = [asyncio.create_task(poll()) for _ in range(limit)]
    await asyncio.sleep(600.0)
    assert 0.85 * limit * 10 <= len(ledger.taken) <= limit * 10
    assert worst_minute(ledger.taken) <= limit
    await gate.close()
    await asyncio.gather(*polls, return_exceptions=True)


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError):
        Rate.within(0, burst=1)


@pytest.mark.looptime
async def test_burst_after_silence() -> None:
    gate = RateLimiter(MemoryLedger(), "omni", Rate.within(60, burst=4))
    await asyncio.gather(*(gate.acquire(urgent=True) for _ in range(4)))
    assert asyncio.get_running_loop().time() == 0.0
    await gate.acquire(urgent=True)
    assert asyncio.get_running_loop().time() > 0.9


@pytest.mark.looptime
async def test_polls_leave_the_bursts_last_places() -> None:
    loop = asyncio.get_running_loop()
    ledger = MemoryLedger()
    gate = RateLimiter(ledger, "omni", Rate.within(60, burst=4))
    polls = [asyncio.create_task(gate.acquire()) for _ in range(10)]
    await asyncio.sleep(0.5)
    assert len(ledger.taken) == 4 - PLACES_LEFT
    assert ledger.taken[-1] < 0.01
    await gate.acquire(urgent=True)
    assert loop.time() == 0.5
    await asyncio.gather(*polls)
    assert worst_minute(ledger.taken) == 11


@pytest.mark.looptime
async def test_interactive_request_overtakes_a_poll() -> None:
    gate = RateLimiter(MemoryLedger(answers_after_seconds=0.5), "omni", Rate.within(60, burst=1))
    poll = asyncio.create_task(gate.acquire())
    await asyncio.sleep(0.1)
    await gate.acquire(urgent=True)
    assert asyncio.get_running_loop().time() == pytest.approx(0.5)
    assert not poll.done()
    await poll


@pytest.mark.looptime
async def test_waiting_requests_let_the_limiter_sleep() -> None:
    asked: list[float] = []

    class Asked(MemoryLedger):
        async def take(self, budget: str, rate: Rate, *, urgent: bool = True) -> float:
            asked.append(asyncio.get_running_loop().time())
            assert len(asked) < 60 * 4
            return await super().take(budget, rate, urgent=urgent)

    gate = RateLimiter(Asked(), "omni", Rate.within(60, burst=4))
    await asyncio.gather(*(gate.acquire(urgent=True) for _ in range(60)))
    assert len(asked) >= 60


@pytest.mark.looptime
async def test_interactive_request_goes_before_polls() -> None:
    gate = RateLimiter(MemoryLedger(), "omni", Rate.within(60, burst=1))
    went: list[str] = []

    async def request(name: str, *, urgent: bool) -> None:
        await gate.acquire(urgent=urgent)
        went.append(name)

    polls = [asyncio.create_task(request(f"poll {n}", urgent=False)) for n in range(5)]
    await asyncio.sleep(0.1)
    people = [asyncio.create_task(request(f"person {n}", urgent=True)) for n in range(2)]
    await asyncio.gather(*polls, *people)
    assert went == ["poll 0", "person 0", "person 1", "poll 1", "poll 2", "poll 3", "poll 4"]


@pytest.mark.looptime
async def test_equals_go_in_the_order_they_came() -> None:
    gate = RateLimiter(MemoryLedger(), "omni", Rate.within(60, burst=4))
    went: list[int] = []

    async def request(number: int) -> None:
        await gate.acquire()
        went.append(number)

    await asyncio.gather(*(request(number) for number in range(12)))
    assert went == list(range(12))


@pytest.mark.looptime
async def test_cancelled_request_costs_nothing() -> None:
    ledger = MemoryLedger()
    gate = RateLimiter(ledger, "omni", Rate.within(60, burst=1))
    await gate.acquire()
    first, middle, last = (asyncio.create_task(gate.acquire()) for _ in range(3))
    await asyncio.sleep(0.1)
    first.cancel()
    middle.cancel()
    await last
    assert len(ledger.taken) == 2
    assert asyncio.get_running_loop().time() == pytest.approx(ledger.taken[1])
    assert asyncio.get_running_loop().time() < 1.1


@pytest.mark.looptime
async def test_cancelled_requests_place_goes_on() -> None:
    ledger = MemoryLedger(answers_after_seconds=0.5)
    gate = RateLimiter(ledger, "omni", Rate.within(60, burst=1))
    leaving, staying = asyncio.create_task(gate.acquire()), asyncio.create_task(gate.acquire())
    await asyncio.sleep(0.1)
    leaving.cancel()
    await staying
    assert len(ledger.taken) == 1
    leaving = asyncio.create_task(gate.acquire())
    await asyncio.sleep(0.1)
    leaving.cancel()
    await asyncio.sleep(5.0)
    await gate.acquire()
    assert leaving.cancelled()


@pytest.mark.looptime
async def test_no_waiting_request_takes_nothing() -> None:
    ledger = MemoryLedger()
    gate = RateLimiter(ledger, "omni", Rate.within(60, burst=1))
    await gate.acquire()
    waiting = [asyncio.create_task(gate.acquire()) for _ in range(3)]
    await asyncio.sleep(0.1)
    for task in waiting:
        task.cancel()
    await asyncio.sleep(600.0)
    assert len(ledger.taken) == 1
    await gate.acquire()
    assert len(ledger.taken) == 2


@pytest.mark.looptime
async def test_pause_stops_interactive_requests_too() -> None:
    loop = asyncio.get_running_loop()
    ledger = MemoryLedger()
    gate = RateLimiter(ledger, "omni", Rate.within(60, burst=4))
    await gate.acquire()
    await gate.pause(30.0)
    await asyncio.gather(gate.acquire(), gate.acquire(urgent=True))
    assert ledger.taken[1] == pytest.approx(30.0)
    assert loop.time() >= 30.0


@pytest.mark.looptime
async def test_pause_stops_waiting_requests() -> None:
    ledger = MemoryLedger()
    gate = RateLimiter(ledger, "omni", Rate.within(60, burst=1))
    polls = [asyncio.create_task(gate.acquire()) for _ in range(3)]
    await asyncio.sleep(0.5)
    await gate.pause(20.0)
    await asyncio.gather(*polls)
    assert ledger.taken[0] == 0.0 and ledger.taken[1] == pytest.approx(20.5)


@pytest.mark.looptime
async def test_shorter_pause_keeps_the_longer() -> None:
    ledger = MemoryLedger()
    gate = RateLimiter(ledger, "omni", Rate.within(60, burst=1))
    await gate.pause(40.0)
    await gate.pause(1.0)
    await gate.acquire()
    assert ledger.taken == [pytest.approx(40.0)]


@pytest.mark.looptime
async def test_freed_budget_is_noticed_soon() -> None:
    loop = asyncio.get_running_loop()
    ledger = MemoryLedger()
    gate = RateLimiter(ledger, "omni", Rate.within(60, burst=1))
    await gate.pause(500.0)
    waiting = asyncio.create_task(gate.acquire())
    await asyncio.sleep(100.0)
    ledger.free()
    await waiting
    assert loop.time() <= 100.0 + LONGEST_SLEEP_SECONDS


@pytest.mark.looptime
async def test_store_error_reaches_every_waiting_request() -> None:
    ledger = MemoryLedger(broken=StoreUnavailable("disk full"))
    gate = RateLimiter(ledger, "omni", Rate.within(60, burst=4))
    told = await asyncio.gather(
        gate.acquire(), gate.acquire(urgent=True), gate.acquire(), return_exceptions=True
    )
    assert [str(error) for error in told] == ["disk full"] * 3
    ledger.broken = None
    await gate.acquire()
    assert len(ledger.taken) == 1


@pytest.mark.looptime
async def test_closing_the_gate_cancels_whoever_waits() -> None:
    gate = RateLimiter(MemoryLedger(), "omni", Rate.within(1, burst=1))
    await gate.acquire()
    waiting = [asyncio.create_task(gate.acquire()) for _ in range(3)]
    await asyncio.sleep(0.1)
    await gate.close()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ended] == [asyncio.CancelledError] * 3


async def test_unused_limiter_can_be_closed() -> None:
    await RateLimiter(MemoryLedger(), "omni", Rate.within(1, burst=1)).close()


async def order_of(**positions: QueuePosition) -> list[str]:
    """The order in which background requests go that wait at these positions."""
    gate = RateLimiter(MemoryLedger(), "omni", Rate.within(60, burst=1))
    await gate.acquire()
    order: list[str] = []

    async def poll(name: str, position: QueuePosition) -> None:
        await gate.acquire(position=position)
        order.append(name)

    await asyncio.gather(*[poll(name, position) for name, position in positions.items()])
    return order


@pytest.mark.looptime
async def test_poll_of_longest_ago_goes_first() -> None:
    order = await order_of(new=QueuePosition(9.0), oldest=QueuePosition(-60.0), old=QueuePosition(3.0))
    assert order == ["oldest", "old", "new"]


@pytest.mark.looptime
async def test_moved_jobs_leave_places_to_the_others() -> None:
    moved = {f"moved {n}": QueuePosition(10.0 + n, has_moved=True) for n in range(MOVED_IN_A_ROW + 1)}
    order = await order_of(one=QueuePosition(1.0), two=QueuePosition(2.0), **moved)
    *before, last = moved
    assert order == [*before, "one", last, "two"]


@pytest.mark.looptime
async def test_moved_job_takes_the_last_place() -> None:
    loop, gate = asyncio.get_running_loop(), RateLimiter(MemoryLedger(), "omni", Rate.within(60, burst=4))
    positions = [QueuePosition(float(number)) for number in range(9)]
    polls = [asyncio.create_task(gate.acquire(position=position)) for position in positions]
    await asyncio.sleep(0.3)
    positions[-1].has_moved = True
    gate.reconsider()
    await polls[-1]
    await gate.acquire(position=QueuePosition(0.0, has_moved=True))
    assert loop.time() == pytest.approx(0.3)
    await gate.close()
    await asyncio.gather(*polls, return_exceptions=True)


@pytest.mark.looptime
async def test_charts_go_after_polls_and_do_not_starve() -> None:
    chart = QueuePosition(0.0, is_chart=True)
    polls = {f"poll{number}": QueuePosition(float(number)) for number in range(5)}
    order = await order_of(chart=chart, **polls)
    assert order.index("chart") == POLLS_PER_CHART - 1
    late = QueuePosition(1_000.0, is_chart=True)
    assert (await order_of(chart=late, **polls))[-1] == "chart"


@pytest.mark.looptime
async def test_waiting_poll_moves_forward() -> None:
    gate = RateLimiter(MemoryLedger(), "omni", Rate.within(60, burst=1))
    await gate.acquire()
    positions = [QueuePosition(float(number)) for number in range(9)]
    polls = [asyncio.create_task(gate.acquire(position=position)) for position in positions]
    await asyncio.sleep(0.1)
    positions[-1].has_moved = True
    await polls[-1]
    assert not any(poll.done() for poll in polls[:-1])
    await gate.close()
    await asyncio.gather(*polls, return_exceptions=True)


@pytest.mark.parametrize("urgent", [False, True])
@pytest.mark.looptime
async def test_position_says_when_it_was_let_through(urgent: bool) -> None:
    gate, position = RateLimiter(MemoryLedger(), "omni", Rate.within(60, burst=1)), QueuePosition(0.0)
    await gate.acquire()
    await asyncio.sleep(0.5)
    await gate.acquire(urgent=urgent, position=position)
    assert position.passed_at == asyncio.get_running_loop().time() > 1.0


@pytest.mark.looptime
async def test_equal_polls_keep_their_order() -> None:
    gate = RateLimiter(MemoryLedger(), "omni", Rate.within(60, burst=1))
    await gate.acquire()
    order = []

    async def request(name: str, *, urgent: bool = False) -> None:
        await gate.acquire(urgent=urgent, position=QueuePosition(5.0))
        order.append(name)

    names = ["one", "two", "three"]
    polls = [asyncio.create_task(request(name)) for name in names]
    await asyncio.sleep(0.1)
    people = [asyncio.create_task(request(name, urgent=True)) for name in ("Ada", "Grace")]
    await asyncio.gather(*polls, *people)
    assert order == ["Ada", "Grace", *names]


@pytest.mark.parametrize("part, requests", [(1.0, 58), (0.5, 32), (0.25, 17), (0.0, 1)])
@pytest.mark.looptime
async def test_polls_keep_to_their_share(part: float, requests: int) -> None:
    ledger = MemoryLedger()
    gate = RateLimiter(ledger, "omni", Rate.within(60, burst=1))
    gate.set_share(part)
    polls = [asyncio.create_task(gate.acquire()) for _ in range(100)]
    await asyncio.sleep(59.9)
    assert len(ledger.taken) == pytest.approx(requests, abs=2)
    before = asyncio.get_running_loop().time()
    await gate.acquire(urgent=True)
    assert asyncio.get_running_loop().time() - before <= 1.1
    await gate.close()
    await asyncio.gather(*polls, return_exceptions=True)


@pytest.mark.looptime
async def test_grown_share_is_used_soon() -> None:
    ledger = MemoryLedger()
    gate = RateLimiter(ledger, "omni", Rate.within(60, burst=1))
    gate.set_share(0.0)
    await gate.acquire()
    poll = asyncio.create_task(gate.acquire())
    await asyncio.sleep(10.0)
    assert not poll.done()
    gate.set_share(1.0)
    await asyncio.sleep(1.1)
    assert poll.done()


@pytest.mark.looptime
async def test_slow_store_delays_the_next_request() -> None:
    """The place was given when the ledger was asked; the request went when it had answered."""
    ledger = MemoryLedger()
    gate, went = RateLimiter(ledger, "omni", Rate.within(6, burst=1)), []
    for slow_seconds in (3.0, 0.0, 0.0):
        ledger.commits_after_seconds = slow_seconds
        await gate.acquire(urgent=True)
        went.append(asyncio.get_running_loop().time())
    assert went[0] == pytest.approx(3.0)
    assert all(later - sooner > 10.0 for sooner, later in pairwise(went))


@pytest.mark.looptime
async def test_slow_store_delays_the_next_process() -> None:
    ledger, rate = MemoryLedger(), Rate.within(6, burst=1)
    went = []
    for slow_seconds in (3.0, 0.0):
        ledger.commits_after_seconds = slow_seconds
        await RateLimiter(ledger, "omni", rate).acquire(urgent=True)
        went.append(asyncio.get_running_loop().time())
    assert went[1] - went[0] > 10.0


class SlowlyReached(MemoryLedger):
    """Another ledger, as a process sees it that is always a moment too late."""

    def __init__(self, ledger: MemoryLedger, seconds: float = 0.2) -> None:
        super().__init__()
        self._ledger = ledger
        self._seconds = seconds

    async def take(self, budget: str, rate: Rate, *, urgent: bool = True) -> float:
        await asyncio.sleep(self._seconds)
        return await self._ledger.take(budget, rate, urgent=urgent)


@pytest.mark.looptime
async def test_small_process_gets_its_share() -> None:
    ledger, rate = MemoryLedger(), Rate.within(240, burst=4)
    large, small = RateLimiter(ledger, "omni", rate), RateLimiter(SlowlyReached(ledger), "omni", rate)
    large.set_share(41 / 42)
    small.set_share(1 / 42)
    polls = [asyncio.create_task(large.acquire()) for _ in range(300)]
    await asyncio.sleep(10.0)
    went = []
    while asyncio.get_running_loop().time() < 60.0:
        await small.acquire()
        went.append(asyncio.get_running_loop().time())
    assert 3 <= len(went) <= 6
    for gate in (large, small):
        await gate.close()
    await asyncio.gather(*polls, return_exceptions=True)


async def test_waiting_requests_are_counted() -> None:
    gate = RateLimiter(MemoryLedger(), "omni", Rate.within(60, burst=1))
    turns = [asyncio.create_task(gate.acquire(urgent=number == 0)) for number in range(4)]
    await asyncio.sleep(0.1)
    assert gate.waiting == 3
    turns[-1].cancel()
    await asyncio.sleep(0.1)
    assert gate.waiting == 2
    await asyncio.sleep(10)
    assert gate.waiting == 0
    await gate.close()


def omni_like(ledger: LocalRateLimitStore, limit: int = 60, burst: int = 4) -> RateLimiter:
    """A gate that leaves every third place to polls."""
    return RateLimiter(ledger, "omni", Rate.within(limit, burst=burst), background_every=3)


@pytest.mark.looptime
async def test_polls_get_every_third_place() -> None:
    gate, went = omni_like(MemoryLedger()), ""

    async def flood(name: str, *, urgent: bool) -> None:
        nonlocal went
        while True:
            await gate.acquire(urgent=urgent)
            went += name

    floods = [asyncio.create_task(flood(name, urgent=name == "U")) for name in "UUUPPP"]
    await asyncio.sleep(60.0)
    assert "UUP" * 15 in went and set(went.split("UUP")) <= {"", "U", "UU"}
    await gate.close()
    await asyncio.gather(*floods, return_exceptions=True)


@pytest.mark.looptime
async def test_interactive_requests_do_not_starve_polls() -> None:
    """Each comes right after a place has become free, and never waits."""
    loop, ledger = asyncio.get_running_loop(), MemoryLedger()
    gate = omni_like(ledger)
    polls = [asyncio.create_task(gate.acquire()) for _ in range(100)]
    await asyncio.sleep(30.0)
    before = sum(poll.done() for poll in polls)
    for _ in range(60):
        await gate.acquire(urgent=True)
        await asyncio.sleep(ledger.taken[-1] + gate.rate.interval_seconds + 1e-6 - loop.time())
    assert sum(poll.done() for poll in polls) - before >= 19
    await gate.close()
    await asyncio.gather(*polls, return_exceptions=True)


@pytest.mark.parametrize("slow_seconds", [0.0, 0.3])
@pytest.mark.parametrize("limit, burst", [(60, 4), (240, 4), (24, 2)])
@pytest.mark.looptime
async def test_interactive_requests_leave_places_elsewhere(
    limit: int, burst: int, slow_seconds: float
) -> None:
    """Also where the process that polls is always slower to reach the ledger."""
    ledger, went = MemoryLedger(), {"people": 0, "polls": 0}
    people = omni_like(ledger, limit, burst)
    polls = omni_like(SlowlyReached(ledger, slow_seconds * 60 / limit), limit, burst)
    people.set_share(0.1)

    async def flood(limiter: RateLimiter, name: str) -> None:
        while True:
            await limiter.acquire(urgent=limiter is people)
            went[name] += 1

    floods = [asyncio.create_task(flood(people, "people")) for _ in range(9)]
    floods += [asyncio.create_task(flood(polls, "polls")) for _ in range(9)]
    await asyncio.sleep(600.0)
    total = sum(went.values())
    assert total >= 0.85 * limit * 10 and worst_minute(ledger.taken) <= limit
    assert went["polls"] >= 0.29 * total and went["people"] >= 0.6 * total
    for limiter in (people, polls):
        await limiter.close()
    await asyncio.gather(*floods, return_exceptions=True)


@pytest.mark.parametrize("limit, burst", [(60, 4), (24, 2)])
@pytest.mark.looptime
async def test_places_left_to_other_processes_are_used(limit: int, burst: int) -> None:
    """Nothing polls anywhere, so people lose no more than a moment."""
    ledger = MemoryLedger()
    gate = omni_like(ledger, limit, burst)
    gate.set_share(0.1)
    people = [asyncio.create_task(gate.acquire(urgent=True)) for _ in range(limit * 10)]
    await asyncio.sleep(600.0)
    assert 0.85 * limit * 10 <= len(ledger.taken)
    assert all(b - a <= 2.0 * gate.rate.interval_seconds for a, b in pairwise(ledger.taken))
    await gate.close()
    await asyncio.gather(*people, return_exceptions=True)


@dataclass(eq=False)
class Wanted:
    """A request and what became of it. Times are the loop's."""

    came: float
    urgent: bool
    went: float = inf
    left: float = inf

    def waits(self, since: float, until: float) -> bool:
        """Whether it waits from before the one until after the other."""
        return self.came < since - ALMOST and min(self.went, self.left) > until + ALMOST


async def play(
    limiter: RateLimiter, plan: Sequence[tuple[float, bool, float | None]]
) -> tuple[list[Wanted], ...]:
    """Make each request some seconds after the one before; some give up after some seconds. Returns all, and those
    that were let through, in order."""
    loop = asyncio.get_running_loop()
    wanted: list[Wanted] = []
    order: list[Wanted] = []

    async def request(one: Wanted, patience: float | None) -> None:
        try:
            async with asyncio.timeout(patience):
                await limiter.acquire(urgent=one.urgent)
        except TimeoutError:
            one.left = loop.time()
        else:
            one.went = loop.time()
            order.append(one)

    tasks = []
    for silence, urgent, patience in plan:
        await asyncio.sleep(silence)
        wanted.append(Wanted(loop.time(), urgent))
        tasks.append(asyncio.create_task(request(wanted[-1], patience)))
    await asyncio.gather(*tasks)
    return wanted, order


ALMOST = 0.01

_PLANS = st.lists(
    st.tuples(
        st.one_of(st.just(0.0), st.just(0.0), st.floats(0.0, 2.0), st.floats(0.0, 60.0)),
        st.booleans(),
        st.one_of(st.none(), st.none(), st.none(), st.floats(0.1, 30.0)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 8), _PLANS)
def test_neither_class_starves_and_no_place_idles(
    limit: int, burst: int, plan: list[tuple[float, bool, float | None]]
) -> None:
    async def judged() -> None:
        gate = omni_like(MemoryLedger(), limit, burst)
        wanted, order = await play(gate, plan)
        _judge_shares(wanted, order)
        _judge_idle_places(gate.rate, wanted, order)

    in_virtual_time(judged())


def _judge_shares(wanted: Sequence[Wanted], order: Sequence[Wanted]) -> None:
    """While both classes wait, of three places polls get one and people two."""
    for three in zip(order, order[1:], order[2:], strict=False):
        if all(one.urgent for one in three):
            since, until = three[0].went, three[2].went
            assert not any(one.waits(since, until) for one in wanted if not one.urgent)
    for two in pairwise(order):
        if not any(one.urgent for one in two):
            assert not any(one.waits(two[0].went, two[1].went) for one in wanted if one.urgent)
    for first, middle, last in zip(order, order[1:], order[2:], strict=False):
        if (first.urgent, middle.urgent, last.urgent) == (False, True, False):
            assert not any(one.waits(first.went, last.went) for one in wanted if one.urgent)


def _judge_idle_places(rate: Rate, wanted: Sequence[Wanted], order: Sequence[Wanted]) -> None:
    """Each went as soon as the rate allowed it to any that waited; polls may leave one place to people."""
    arrival, before = 0.0, 0.0
    for one in order:
        for other in wanted:
            if other.came < one.went and min(other.went, other.left) >= one.went:
                ahead = rate.tolerance_seconds if other.urgent else rate.background_tolerance_seconds
                assert one.went <= max(before, other.came, arrival - ahead) + ALMOST
        arrival, before = max(arrival, one.went) + rate.interval_seconds, one.went
