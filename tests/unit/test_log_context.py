"""Log lines carry the job they are about, and no other lines do."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.contextvars import merge_contextvars
from structlog.testing import LogCapture

from bot.domain.cards import UserId
from bot.domain.jobs import JobId
from bot.domain.messages import Message
from bot.handlers.background import InteractionRunner
from bot.log import bind_job
from bot.worker.runner import TaskRunner
from tests.support.fakes import JOB, FakeSlackMessages, FakeViews

OTHER = JobId("660e8400-e29b-41d4-a716-446655440000")
log = structlog.get_logger()


@pytest.fixture
def written() -> Iterator[list[Any]]:
    before = structlog.get_config()["processors"]
    capture = LogCapture()
    structlog.configure(processors=[merge_contextvars, capture])
    yield capture.entries
    structlog.configure(processors=before)


async def follow(job: JobId, wake: asyncio.Event) -> None:
    log.info("begun", of=job)
    await asyncio.create_task(look(job))
    await wake.wait()
    log.info("ended", of=job)


async def look(job: JobId) -> None:
    await asyncio.sleep(0)
    log.info("looked", of=job)


async def test_tracker_lines_carry_the_job(written: list[Any]) -> None:
    runner = TaskRunner(follow)
    for job in (JOB, OTHER):
        await runner.start(job)
    await asyncio.sleep(0.01)
    for job in (JOB, OTHER):
        await runner.start(job)
    await asyncio.sleep(0.01)

    assert len(written) == 6
    assert all(line["job"] == line["of"] for line in written)


async def test_context_does_not_leak_from_tracker(written: list[Any]) -> None:
    runner = TaskRunner(follow)
    await runner.start(JOB)
    await asyncio.sleep(0.01)
    log.info("of something else")
    await runner.stop()

    assert "job" not in written[-1]


async def test_interaction_lines_carry_id_and_job(
    written: list[Any],
) -> None:
    runner = TaskRunner(follow)

    async def look_up(job: JobId) -> None:
        log.info("looking up")
        await asyncio.sleep(0)
        bind_job(job)
        log.info("found")
        await runner.start(job)

    async def tell(message: Message) -> None:
        raise AssertionError(message)

    interactions = InteractionRunner(reply_to_url=unheard, views=FakeViews(), messages=FakeSlackMessages())
    interactions.run("one", look_up(JOB), tell, UserId("U0ADA"))
    interactions.run("two", look_up(OTHER), tell, UserId("U0ADA"))
    await interactions.drain()
    await asyncio.sleep(0.01)
    await runner.stop()

    of_interactions = [line for line in written if "interaction" in line]
    assert len({line["interaction"] for line in of_interactions}) == 2
    assert [line.get("job") for line in of_interactions] == [None, None, JOB, OTHER]
    assert all("interaction" not in line for line in written if line["event"] == "begun")


async def unheard(_url: str, _message: Message) -> None:
    raise AssertionError
