"""No request of the budget is left unused while a job is due, and none is made beyond it."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.jobs import Job, JobId
from bot.domain.ports import QueuePosition
from bot.ratelimit import POLLS_EVERY, Rate, RateLimiter
from bot.tracking.tracked_job import poll_interval_seconds
from tests.support.fakes import FakeOmni, a_card, a_job, now
from tests.support.rates import MemoryLedger, in_virtual_time, worst_minute
from tests.support.tracking import Stage

# Without it looptime makes a loop that is never closed.
asyncio.set_event_loop(None)

LIMIT = 60
SECONDS = 70.0
ALMOST = 0.01


@dataclass
class Waiting:
    """A job between two polls. Times are the loop's."""

    due: float
    sent: float = float("inf")


class ManyJobs(FakeOmni):
    """Omni with many running jobs behind a budget. Remembers when each was due and polled."""

    def __init__(self, age_seconds: float, latency_seconds: float) -> None:
        super().__init__(a_job())
        self.limiter = RateLimiter(
            MemoryLedger(), "omni", Rate.within(LIMIT, burst=4), background_every=POLLS_EVERY
        )
        self.created_at = now() - timedelta(seconds=age_seconds)
        self.latency_seconds = latency_seconds
        self.sent: list[float] = []
        self.polls: dict[JobId, list[Waiting]] = {}

    async def status(self, job: JobId, *, urgent: bool = False, position: QueuePosition | None = None) -> Job:
        loop = asyncio.get_running_loop()
        waits = self.polls.setdefault(job, [Waiting(loop.time())])
        await self.acquire(urgent=urgent, position=position)
        waits[-1].sent = loop.time()
        await asyncio.sleep(self.latency_seconds)
        age_seconds = (now() - self.created_at).total_seconds()
        waits.append(Waiting(max(loop.time(), waits[-1].sent + poll_interval_seconds(age_seconds))))
        return a_job(id=job, created_at=self.created_at)

    async def acquire(self, *, urgent: bool, position: QueuePosition | None = None) -> None:
        """Take one request of the budget."""
        await self.limiter.acquire(urgent=urgent, position=position)
        self.sent.append(asyncio.get_running_loop().time())


async def users_ask(omni: ManyJobs, after_seconds: list[float]) -> None:
    for seconds in after_seconds:
        await asyncio.sleep(seconds)
        await omni.acquire(urgent=True)


@settings(deadline=None, max_examples=15)
@given(
    jobs=st.integers(1, 12),
    age_seconds=st.sampled_from([0.0, 30.0, 550.0, 7_200.0]),
    latency_seconds=st.sampled_from([0.05, 0.7, 2.5]),
    asked=st.lists(st.floats(0.0, 20.0), max_size=20),
)
def test_no_request_idles_while_a_job_is_due(
    jobs: int, age_seconds: float, latency_seconds: float, asked: list[float]
) -> None:
    async def judged() -> None:
        cards = [replace(a_card(f"watch{number}"), job=JobId(f"job {number}")) for number in range(jobs)]
        stage = Stage(a_job(), *cards)
        stage.omni = omni = ManyJobs(age_seconds, latency_seconds)
        async with stage.bot():
            users = asyncio.create_task(users_ask(omni, asked))
            await asyncio.sleep(SECONDS)
            users.cancel()
        await omni.limiter.close()
        assert len(omni.polls) == jobs and worst_minute(omni.sent) <= LIMIT
        _judge(omni)

    in_virtual_time(judged())


def _judge(omni: ManyJobs) -> None:
    """Each request went as soon as the rate allowed it, if a job was due. Polls leave the last place of a burst to
    users, which costs one request in a busy period and none of the rate."""
    rate, arrival, before = omni.limiter.rate, 0.0, 0.0
    waits = [wait for of_job in omni.polls.values() for wait in of_job]
    for sent in [*omni.sent, SECONDS]:
        for wait in waits:
            if wait.due < sent <= wait.sent:
                assert sent <= max(before, wait.due, arrival - rate.background_tolerance_seconds) + ALMOST
        arrival, before = max(arrival, sent) + rate.interval_seconds, sent
