"""The limit on one user's requests to Omni, in virtual time: counted wherever made, one at a time, never for long."""

import asyncio
from collections.abc import Callable
from random import Random

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.cards import UserId
from bot.domain.jobs import JobId
from bot.omni.client import OmniClient
from bot.ratelimit import Rate, RateLimiter
from bot.user_limit import LONGEST_REFUSAL_SECONDS, MOST_KNOWN, UserLimit, acting_user
from tests.support.fakes import ADA, GRACE
from tests.support.rates import MemoryLedger, in_virtual_time, worst_minute

pytestmark = pytest.mark.looptime


async def use(limit: UserLimit, times: int = 1) -> None:
    for _ in range(times):
        async with limit.turn():
            pass


async def test_user_is_refused_after_burst() -> None:
    limit = UserLimit(20)
    acting_user.set(ADA)
    await use(limit, 9)
    assert not limit.is_exceeded(ADA)
    await use(limit)
    assert limit.is_exceeded(ADA) and not limit.is_exceeded(GRACE)
    await asyncio.sleep(60 / 11 + 0.01)
    assert not limit.is_exceeded(ADA)


@pytest.mark.parametrize("per_minute", [1, 2, 3, 20, 500])
async def test_silence_saves_half_a_minute(per_minute: int) -> None:
    limit = UserLimit(per_minute)
    acting_user.set(ADA)
    await use(limit)
    await asyncio.sleep(3_600)
    made = 0
    while not limit.is_exceeded(ADA):
        await use(limit)
        made += 1
    assert made == max(1, per_minute // 2)


async def test_refusal_is_short_however_much_was_used() -> None:
    limit = UserLimit(20)
    acting_user.set(ADA)
    await use(limit, 1_000)
    await asyncio.sleep(LONGEST_REFUSAL_SECONDS + 0.01)
    assert not limit.is_exceeded(ADA)


def test_no_minute_holds_more_than_the_limit() -> None:
    @settings(deadline=None)
    @given(st.integers(3, 40), st.lists(st.one_of(st.just(0.0), st.floats(0.0, 20.0)), max_size=150))
    def holds(per_minute: int, silences: list[float]) -> None:
        async def spend() -> None:
            limit, made = UserLimit(per_minute), []
            acting_user.set(ADA)
            for silence in silences:
                await asyncio.sleep(silence)
                if not limit.is_exceeded(ADA):
                    await use(limit)
                    made.append(asyncio.get_running_loop().time())
            assert not made or worst_minute(made) <= per_minute

        in_virtual_time(spend())

    holds()


async def test_requests_of_no_user_are_free() -> None:
    limit = UserLimit(1)
    async with limit.turn():
        await use(limit, 10)
    acting_user.set(ADA)
    assert not limit.is_exceeded(ADA)


async def test_abandoned_request_is_not_counted() -> None:
    limit = UserLimit(1)
    acting_user.set(ADA)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), limit.turn():
            await asyncio.sleep(10)
    assert not limit.is_exceeded(ADA)
    await use(limit)


async def test_users_that_use_nothing_are_forgotten() -> None:
    limit = UserLimit(20)
    for number in range(2 * MOST_KNOWN):
        acting_user.set(UserId(f"U{number}"))
        await use(limit)
        await asyncio.sleep(1.0)
    assert len(limit._users) <= MOST_KNOWN


async def test_started_tasks_count_as_users() -> None:
    acting_user.set(ADA)

    async def whose() -> UserId | None:
        return acting_user.get()

    assert await asyncio.create_task(whose()) == ADA


# Between a user and Omni


def omni(limit: UserLimit, asked: Callable[[str], None]) -> OmniClient:
    def answer(request: httpx.Request) -> httpx.Response:
        asked(request.url.path.rsplit("/", 1)[-1])
        return httpx.Response(404, json={"detail": "Job not found", "status": 404})

    client = httpx.AsyncClient(base_url="https://acme.omniapp.co", transport=httpx.MockTransport(answer))
    gate = RateLimiter(MemoryLedger(), "omni", Rate.within(60, burst=1))
    return OmniClient(client, gate, Random(7), users=limit)


async def look(api: OmniClient, user: UserId | None, job: str, *, urgent: bool = True) -> None:
    acting_user.set(user)
    await asyncio.gather(api.status(JobId(job), urgent=urgent), return_exceptions=True)


async def test_users_take_turns() -> None:
    asked: list[str] = []
    api = omni(UserLimit(20), asked.append)
    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(look(api, ADA, f"ada-{number}"))
        await asyncio.sleep(0.1)
        group.create_task(look(api, GRACE, "grace"))
    assert asked.index("grace") == 2
    assert asked[0] == "ada-0" and asked[-1] == "ada-7"


async def test_polls_count_as_no_users() -> None:
    asked: list[str] = []
    limit = UserLimit(1)
    api = omni(limit, asked.append)
    await look(api, ADA, "poll", urgent=False)
    assert not limit.is_exceeded(ADA)
    await look(api, ADA, "look-up")
    assert limit.is_exceeded(ADA)
