"""A follow is stored before it is looked up, so that a crash is reported to the person. In virtual time."""

import asyncio
from datetime import timedelta

import pytest

from bot.delivery.direct_messages import InterruptedRequest, Reply
from bot.domain.cards import ChannelId, ChannelRef
from bot.domain.errors import StoreUnavailable
from bot.domain.questions import PendingQuestion
from bot.rendering import replies
from bot.services.follow import FollowService
from bot.services.intents import STORED_WITHIN_SECONDS, SavedRequest
from bot.tracking.recovery import ORPHANED_AFTER, report_interrupted_questions
from tests.support.fakes import ADA, HERE, JOB, a_job, now, said
from tests.support.tracking import Stage, a_follow_service, direct

pytestmark = pytest.mark.looptime

CHAT = "0b9d3f3e-6c1f-4b53-9f6f-2f1f1f6a0c11"


async def follow(stage: Stage, text: str = JOB, delivery: str = "") -> str:
    async with stage.bot() as runner:
        return said(await a_follow_service(stage, runner.start).follow(text, HERE, ADA, request_id=delivery))


async def start(_job: object) -> None:
    """Nothing follows the job."""


@pytest.mark.parametrize(
    "text, follows", [(JOB, JOB), (f"https://acme.omniapp.co/chat/{CHAT}", f"chat/{CHAT}")]
)
async def test_follow_is_stored_before_any_lookup(text: str, follows: str) -> None:
    stage = Stage(a_job())
    stage.access.looks_up_for_seconds = 5.0
    saved = await FollowService.follow(a_follow_service(stage, start), text, HERE, ADA)
    assert isinstance(saved, SavedRequest)
    assert asyncio.get_running_loop().time() == pytest.approx(0.0)
    (intent,) = stage.questions.rows.values()
    assert (intent.follow, intent.user, intent.channel, intent.job) == (follows, ADA, HERE, None)
    await saved.outcome()
    (intent,) = stage.questions.rows.values()
    assert intent.job == JOB and len(stage.card_repository.rows) == 1


async def test_follow_cut_off_by_crash_is_reported_once() -> None:
    stage = Stage(a_job())
    stage.access.looks_up_for_seconds = 5.0
    following = asyncio.create_task(a_follow_service(stage, start).follow(JOB, HERE, ADA))
    await asyncio.sleep(1.0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.gather(following, return_exceptions=True)
    for _ in range(3):
        await asyncio.sleep(ORPHANED_AFTER.total_seconds() + 1.0)
        await report_interrupted_questions(stage.questions, stage.fake_slack, now)
    assert stage.shown(direct(ADA)) == [replies.interrupted(JOB)]
    assert stage.card_repository.rows == {}


async def test_follow_cut_off_by_shutdown_is_then_forgotten() -> None:
    stage = Stage(a_job())
    stage.access.looks_up_for_seconds = 5.0
    following = asyncio.create_task(a_follow_service(stage, start).follow(JOB, HERE, ADA))
    await asyncio.sleep(1.0)
    following.cancel()
    with pytest.raises(InterruptedRequest) as interrupted:
        await following
    assert len(stage.questions.rows) == 1
    await interrupted.value.on_delivered()
    assert stage.questions.rows == {}


async def test_refused_follow_is_forgotten_once_answered() -> None:
    stage = Stage(a_job())
    stage.access.refused[ADA] = "No."
    word = await a_follow_service(stage, start).follow(JOB, HERE, ADA)
    assert said(word) == "No." and len(stage.questions.rows) == 1
    assert isinstance(word, Reply)
    await word.on_delivered()
    assert stage.questions.rows == {}


async def test_typing_error_stores_nothing() -> None:
    stage = Stage(a_job())
    await follow(stage, "banana")
    assert stage.questions.writes == []


async def test_command_delivered_to_two_processes_follows_once() -> None:
    stage = Stage(a_job())
    assert await follow(stage, delivery="trigger") == ""
    assert await follow(stage, delivery="trigger") == ""
    assert "already has" in await follow(stage, delivery="another")


async def test_follow_without_place_goes_to_dm() -> None:
    stage = Stage(a_job())
    async with stage.bot() as runner:
        nowhere = ChannelRef(HERE.team, ChannelId(""))
        assert await a_follow_service(stage, runner.start).follow(JOB, nowhere, ADA) is None
    assert len(stage.shown(direct(ADA))) == 1


@pytest.mark.parametrize("is_stored", [True, False])
async def test_slow_database_is_not_waited_for(is_stored: bool) -> None:
    stage = Stage(a_job())
    begin = stage.questions.begin

    async def slow(question: PendingQuestion) -> bool:
        if is_stored:
            await begin(question)
        await asyncio.sleep(10.0)
        return True

    stage.questions.begin = slow  # type: ignore[method-assign]
    assert await follow(stage) == replies.storage_down()
    assert asyncio.get_running_loop().time() == pytest.approx(STORED_WITHIN_SECONDS)
    await asyncio.sleep(1.0)
    assert stage.questions.rows == {} == stage.card_repository.rows


async def test_unbound_follow_is_refused_and_forgotten() -> None:
    stage = Stage(a_job())
    stage.access.looks_up_for_seconds = 5.0
    following = asyncio.create_task(a_follow_service(stage, start).follow(JOB, HERE, ADA))
    await asyncio.sleep(1.0)
    stage.questions.error = StoreUnavailable("away")
    word = await following
    assert said(word) == replies.storage_down()
    assert isinstance(word, Reply)
    await word.on_delivered()
    await asyncio.sleep(1.0)
    stage.questions.error = None
    await asyncio.sleep(30.0)
    assert stage.questions.rows == {} == stage.card_repository.rows


async def test_slow_lookup_is_no_orphan() -> None:
    stage = Stage(a_job())
    stage.access.looks_up_for_seconds = 14.0
    following = asyncio.create_task(a_follow_service(stage, start).follow(JOB, HERE, ADA))
    for _ in range(13):
        await asyncio.sleep(1.0)
        assert list(await stage.questions.interrupted(now() - timedelta(seconds=60))) == []
    await following
    assert len(stage.card_repository.rows) == 1
