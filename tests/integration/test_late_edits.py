"""An edit that arrives when its process has long been replaced: whatever it covers is shown again, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from bot.delivery.fallback import BlockSupport
from bot.delivery.updates import MessageUpdater
from bot.domain.access import ConversationInfo
from bot.domain.cards import ChannelRef, MessageTs
from bot.domain.errors import JobNotFound
from bot.domain.jobs import JobState
from bot.domain.messages import Message
from bot.ratelimit import Rate, RateLimiter
from tests.support.fakes import ADA, GRACE, HERE, JOB, FakeSlackMessages, FreeLedger, a_card, a_job, said
from tests.support.tracking import CARD_ID, LONG, Resting, Stage, a_follow_service, direct

pytestmark = pytest.mark.looptime

CARD = MessageTs("1.0")
LATE = Message("step 3 of a process that was replaced")


class LaggingSlack(FakeSlackMessages):
    """Slack, as a replaced process has it whose edit lies on its way."""

    def __init__(self, fake_slack: FakeSlackMessages) -> None:
        super().__init__()
        self.land, self.landed = asyncio.Event(), asyncio.Event()
        self._board = fake_slack

    async def update(self, channel: ChannelRef, ts: MessageTs, message: Message) -> None:
        await self.land.wait()
        await self._board.update(channel, ts, message)
        self.landed.set()


async def replaced_over_an_edit(stage: Stage) -> tuple[LaggingSlack, asyncio.Task[None]]:
    """A card that runs, and the process that has posted it and is no longer the one to draw it."""
    async with stage.bot():
        await asyncio.sleep(5)
    lagging = LaggingSlack(stage.fake_slack)
    drawing = MessageUpdater(
        lagging, stage.card_repository, RateLimiter(FreeLedger(), "edits", Rate(1.0, 0.0)), BlockSupport()
    )
    task = asyncio.create_task(drawing.run())
    drawing.schedule_update(stage.card_repository.rows[CARD_ID], CARD, (LATE,))
    await asyncio.sleep(0.1)
    return lagging, task


def landing_first(lagging: LaggingSlack, step: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """The same step, taken half a second after the late edit has landed."""

    async def stepped(*given: Any, **more: Any) -> Any:
        lagging.land.set()
        await lagging.landed.wait()
        await asyncio.sleep(0.5)
        return await step(*given, **more)

    return stepped


async def lost(stage: Stage, lagging: LaggingSlack) -> str:
    stage.fake_slack.post = landing_first(lagging, stage.fake_slack.post)  # type: ignore[method-assign]
    stage.omni.answer = JobNotFound("404")
    return "know this job"


async def withheld(stage: Stage, lagging: LaggingSlack) -> str:
    stage.fake_slack.open_dm = landing_first(lagging, stage.fake_slack.open_dm)  # type: ignore[method-assign]
    stage.directory.venues[HERE] = ConversationInfo(is_shared=True)
    stage.says(JobState.COMPLETE, answer="The answer.")
    return "not shown here"


async def retired(stage: Stage, lagging: LaggingSlack) -> str:
    close = landing_first(lagging, stage.card_repository.close_if_unfollowed)
    stage.card_repository.close_if_unfollowed = close  # type: ignore[method-assign]
    await stage.card_repository.unfollow(CARD_ID, ADA)
    return "no longer follows"


async def rested(stage: Stage, lagging: LaggingSlack) -> str:
    stage.card_repository.close = landing_first(lagging, stage.card_repository.close)  # type: ignore[method-assign]
    await asyncio.sleep(LONG)
    return "stopped watching"


@pytest.mark.parametrize("ends", [lost, withheld, retired, rested])
async def test_between_the_last_look_and_the_closing_it_is_undone(
    ends: Callable[[Stage, LaggingSlack], Awaitable[str]],
) -> None:
    stage = Resting(a_job(), a_card())
    lagging, replaced = await replaced_over_an_edit(stage)
    last_look = await ends(stage, lagging)
    async with stage.bot():
        await asyncio.sleep(450)
    assert lagging.landed.is_set() and stage.all_closed()
    assert last_look in stage.fake_slack.posted[CARD].message.text
    replaced.cancel()
    await asyncio.gather(replaced, return_exceptions=True)


@pytest.mark.parametrize(
    ("state", "title"),
    [
        (JobState.FAILED, "The job failed"),
        (JobState.CANCELLED, "The job was cancelled"),
        (JobState.COMPLETE, "Answered"),
    ],
)
async def test_forgotten_job_keeps_its_outcome(state: JobState, title: str) -> None:
    stage = Stage(a_job(state), a_card())
    async with stage.bot():
        await asyncio.sleep(30)
    stage.omni.answer = JobNotFound("404")
    for _ in range(2):
        await stage.fake_slack.update(HERE, CARD, LATE)
        await stage.card_repository.mark_stale(CARD_ID, CARD)
        async with stage.bot():
            await asyncio.sleep(450)
        assert title in stage.fake_slack.posted[CARD].message.text
        assert stage.all_closed()


@pytest.mark.parametrize("is_shared", [True, False])
async def test_who_asks_where_an_answer_was_withheld_gets_it_where_they_may(is_shared: bool) -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        stage.omni.chart_seconds = 50.0
        stage.says(JobState.COMPLETE, answer="The answer.")
        await asyncio.sleep(10)
        assert "The answer." in stage.shown()[0]
    stage.directory.venues[HERE] = ConversationInfo(is_shared=True)
    async with stage.bot():
        await asyncio.sleep(120)
    assert "not shown here" in stage.shown()[0]
    stage.directory.venues[HERE] = ConversationInfo(is_shared=is_shared)
    async with stage.bot() as runner:
        line = said(await a_follow_service(stage, runner.start).follow(JOB, HERE, GRACE))
        await asyncio.sleep(120)
    shown = stage.shown(direct(GRACE)) if is_shared else stage.shown()
    assert "The answer." in shown[0], line


async def test_whoever_stops_as_the_end_is_withheld_leaves_a_closed_card() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        stage.directory.venues[HERE] = ConversationInfo(is_shared=True)
        stage.fake_slack.on_update = lambda: stage.card_repository.let_follow(CARD_ID)
        stage.says(JobState.COMPLETE, answer="The answer.")
        await asyncio.sleep(60)
    row = stage.card_repository.rows[CARD_ID]
    assert (row.message_ts, row.failure, row.closed_at is None) == (CARD, None, False)
    assert stage.shown(direct(ADA)) == []
    assert row == replace(row, followers=())
