"""The list of conversations shows which jobs have moved, only as long as it is right."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from math import inf

import pytest

from bot.delivery import ChartFetcher
from bot.domain.errors import ListRefused, OmniBusy, OmniError, OmniUnreachable
from bot.domain.jobs import JobId, JobState, JobStatus
from bot.domain.ports import QueuePosition
from bot.ratelimit import Rate, RateLimiter
from bot.tracking.conversation_list import (
    FEWEST_JUDGED_ENDS,
    PACE_SECONDS,
    REFUSED_SECONDS,
    WRONG_SECONDS,
    ConversationList,
    ConversationLists,
    ListHint,
)
from bot.tracking.tracked_job import TrackedJob
from tests.support.fakes import START, FakeOmni, FreeLedger, a_job

pytestmark = pytest.mark.looptime

MANY = 12
FEW = 4


def seconds(after: float) -> datetime:
    """A time by Omni's clock, which is years behind the bot's."""
    return START - timedelta(days=3_000) + timedelta(seconds=after)


def chat(number: int) -> str:
    return f"chat {number}"


def polled(number: int, *, updated_at: datetime | None, polled_at: float = 0.0) -> TrackedJob:
    """A running job that was last polled at that loop time, and said then when it was updated."""
    tracked = TrackedJob(JobId(f"job {number}"), asyncio.Event(), ChartFetcher(FakeOmni(a_job()), JobId("")))
    job = a_job(id=JobId(f"job {number}"), conversation=chat(number), updated_at=updated_at)
    tracked.status = JobStatus().with_snapshot(job, START)
    tracked.polled_at = polled_at
    return tracked


def numbers(jobs: Sequence[TrackedJob]) -> list[int]:
    return [int(job.job.split()[1]) for job in jobs]


async def test_moved_since_the_list_before() -> None:
    hint = ListHint()
    jobs = [polled(number, updated_at=seconds(0)) for number in range(3)]
    assert hint.compare({chat(0): seconds(0), chat(1): seconds(0)}, 1.0, jobs) == []
    assert numbers(hint.compare({chat(0): seconds(0), chat(1): seconds(3)}, 3.0, jobs)) == [1]


async def test_first_list_is_compared_with_the_status() -> None:
    jobs = [polled(0, updated_at=seconds(10)), polled(1, updated_at=seconds(10)), polled(2, updated_at=None)]
    listed = {chat(0): seconds(10.3), chat(1): seconds(12), chat(2): seconds(12)}
    assert numbers(ListHint().compare(listed, 1.0, jobs)) == [1]


async def test_job_of_unknown_update_moves_with_the_list() -> None:
    hint, jobs = ListHint(), [polled(0, updated_at=None)]
    hint.compare({chat(0): seconds(0)}, 1.0, jobs)
    assert numbers(hint.compare({chat(0): seconds(3)}, 3.0, jobs)) == [0]


async def test_poll_after_the_list_knows_more() -> None:
    jobs = [polled(0, updated_at=seconds(0), polled_at=5.0)]
    assert ListHint().compare({chat(0): seconds(9)}, 4.0, jobs) == []
    assert numbers(ListHint().compare({chat(0): seconds(9)}, 6.0, jobs)) == [0]


def judged(hint: ListHint, *shown: bool, now: float = 0.0) -> None:
    """Let polls find so many ends, of which the next list shows some."""
    for number, is_shown in enumerate(shown):
        hint.record_end(a_job(JobState.COMPLETE, conversation=chat(number), completed_at=seconds(10)))
        hint.compare({chat(number): seconds(10 if is_shown else 0)}, now, [])


async def test_one_shown_end_makes_the_list_trusted() -> None:
    hint = ListHint()
    assert hint.wait_seconds(0.0, PACE_SECONDS) == inf, "there is nothing to judge it by"
    hint.record_end(a_job(JobState.COMPLETE, conversation=chat(0), completed_at=seconds(10)))
    assert hint.wait_seconds(0.0, PACE_SECONDS) < 0.0
    hint.compare({chat(0): seconds(9)}, 0.0, [])
    assert hint.is_trusted and hint.wait_seconds(0.0, PACE_SECONDS) == PACE_SECONDS


@pytest.mark.parametrize(
    "shown, is_stopped",
    [
        ([False] * (FEWEST_JUDGED_ENDS - 1), False),
        ([False] * FEWEST_JUDGED_ENDS, True),
        ([True, False, False], True),
        ([True, False, True, False], False),
        ([True] * 10 + [False] * 5, False),
        ([True] * 10 + [False] * 6, True),
    ],
)
async def test_list_that_misses_ends_is_stopped(shown: list[bool], is_stopped: bool) -> None:
    hint = ListHint()
    judged(hint, *shown)
    assert (hint.stopped_seconds(0.0) == WRONG_SECONDS) == is_stopped
    assert hint.is_trusted == (any(shown) and not is_stopped)


async def test_hidden_conversation_counts_as_not_shown() -> None:
    hint = ListHint()
    for number in range(FEWEST_JUDGED_ENDS):
        hint.record_end(a_job(JobState.COMPLETE, conversation=chat(number), completed_at=seconds(10)))
    hint.compare({}, 0.0, [])
    assert hint.stopped_seconds(0.0) == WRONG_SECONDS


async def test_stopped_list_begins_anew() -> None:
    hint = ListHint()
    judged(hint, True, False, False)
    hint.record_end(a_job(JobState.COMPLETE, conversation=chat(0), completed_at=seconds(10)))
    assert hint.wait_seconds(0.0, PACE_SECONDS) == WRONG_SECONDS
    assert hint.wait_seconds(WRONG_SECONDS, PACE_SECONDS) <= 0.0
    hint.compare({}, WRONG_SECONDS, [])
    judged(hint, True, now=WRONG_SECONDS)
    assert hint.is_trusted


class FakeConversations:
    """A list that shows that every job has moved. Set `error` to make it fail."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.error: OmniError | None = None

    async def recently_updated(self, *, position: QueuePosition) -> Mapping[str, datetime]:
        self.times.append(asyncio.get_running_loop().time())
        position.passed_at = self.times[-1]
        if self.error is not None:
            raise self.error
        return {chat(number): seconds(1e6) for number in range(MANY)}


@asynccontextmanager
async def listing(
    omni: FakeConversations, *users: Callable[[], Sequence[TrackedJob]]
) -> AsyncIterator[ConversationList]:
    conversations = ConversationLists().of("key")
    conversations.hint.is_trusted = True
    limiter = RateLimiter(FreeLedger(), "omni", Rate.within(60, burst=4))
    tasks = [asyncio.create_task(conversations.run(omni, limiter, jobs)) for jobs in users]
    try:
        yield conversations
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("jobs, is_listed", [(FEW, False), (5, True), (MANY, True)])
async def test_jobs_are_listed_if_a_round_is_long(jobs: int, is_listed: bool) -> None:
    omni, tracked = (
        FakeConversations(),
        [polled(n, updated_at=seconds(0), polled_at=-9.0) for n in range(jobs)],
    )
    async with listing(omni, lambda: tracked):
        await asyncio.sleep(5.0)
    assert bool(omni.times) == is_listed
    assert [job.has_moved for job in tracked] == [is_listed] * jobs


@pytest.mark.parametrize("ends, lists", [([], 0), ([True], 1), ([True, True], 1), ([False, False, False], 3)])
async def test_ends_of_few_jobs_judge_the_list(ends: list[bool], lists: int) -> None:
    omni = FakeConversations()
    async with listing(omni, list) as conversations:
        conversations.hint.is_trusted = False
        for is_shown in ends:
            ended_at = seconds(1e6 if is_shown else 2e6)
            job = a_job(JobState.COMPLETE, conversation=chat(0), completed_at=ended_at)
            conversations.hint.record_end(job)
            await asyncio.sleep(5.0)
        assert conversations.hint.is_trusted == any(ends)
        assert (conversations.hint.stopped_seconds(0.0) > 0.0) == (ends == [False] * 3)
    assert len(omni.times) == lists


async def test_no_list_while_moved_jobs_wait() -> None:
    omni, tracked = (
        FakeConversations(),
        [polled(n, updated_at=seconds(0), polled_at=-9.0) for n in range(MANY)],
    )
    async with listing(omni, lambda: tracked):
        await asyncio.sleep(60.0)
        assert len(omni.times) == 1
        for job in tracked:
            job.has_moved = False
        await asyncio.sleep(60.0)
    assert len(omni.times) >= 60.0 / PACE_SECONDS - 5


@pytest.mark.parametrize(
    "error, most, again_seconds",
    [
        (ListRefused("403"), 1, REFUSED_SECONDS),
        (OmniBusy("429"), 8, 60.0),
        (OmniUnreachable("500"), 8, 60.0),
    ],
)
async def test_failing_list_is_tried_rarely(error: OmniError, most: int, again_seconds: float) -> None:
    omni, tracked = (
        FakeConversations(),
        [polled(n, updated_at=seconds(0), polled_at=1e9) for n in range(MANY)],
    )
    omni.error = error
    async with listing(omni, lambda: tracked) as conversations:
        await asyncio.sleep(240.0)
        assert 1 <= len(omni.times) <= most
        omni.error = None
        tried = len(omni.times)
        conversations.hint.record_end(a_job(JobState.COMPLETE, conversation=chat(0), completed_at=seconds(0)))
        await asyncio.sleep(again_seconds - 240.0 - 1.0 if again_seconds > 240.0 else 0.0)
        assert len(omni.times) == tried
        await asyncio.sleep(65.0)
    assert len(omni.times) > tried


async def test_one_workspace_lists_for_all() -> None:
    omni = FakeConversations()
    tracked = [polled(number, updated_at=seconds(0), polled_at=-9.0) for number in range(6)]
    async with listing(omni, lambda: tracked[:3], lambda: tracked[3:]):
        await asyncio.sleep(5.0)
    assert len(omni.times) == 1 and all(job.has_moved for job in tracked)


async def test_next_workspace_takes_over() -> None:
    omni, tracked = (
        FakeConversations(),
        [polled(n, updated_at=seconds(0), polled_at=1e9) for n in range(MANY)],
    )
    conversations = ConversationList()
    conversations.hint.is_trusted = True
    limiter = RateLimiter(FreeLedger(), "omni", Rate.within(60, burst=4))
    first, second = (asyncio.create_task(conversations.run(omni, limiter, lambda: tracked)) for _ in range(2))
    await asyncio.sleep(5.0)
    first.cancel()
    await asyncio.sleep(10 * PACE_SECONDS)
    assert len(omni.times) > 2
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)


def test_key_has_one_list() -> None:
    lists = ConversationLists()
    one = lists.of("one")
    assert lists.of("one") is one and lists.of("other") is not one
