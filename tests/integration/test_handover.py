"""Two processes on one job, by accident or after a pause: one card, one reply, and no edit too many."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import pytest

from bot.domain.cards import CardId, ChannelRef, MessageTs
from bot.domain.errors import JobNotFound, OmniUnreachable, OutcomeUnknown, StoreUnavailable
from bot.domain.jobs import JobState
from bot.domain.messages import Message
from tests.support.fakes import GRACE, HERE, JOB, a_card, a_job
from tests.support.tracking import CARD_ID, FOREIGN, OddSlack, Processes, Stage, direct, step

pytestmark = pytest.mark.looptime


async def test_the_newer_of_two_processes_goes_on_and_the_older_one_ends_quietly(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot() as older:
        await asyncio.sleep(10)
        async with stage.bot():
            await asyncio.sleep(60)
            asked = len(stage.omni.asked)
            await asyncio.sleep(100)
            assert len(stage.omni.asked) - asked <= 50, "one stream of questions"
            stage.says(JobState.FAILED)
            await asyncio.sleep(60)
        await older.start(JOB)
        await asyncio.sleep(60)
    assert len(stage.shown()) == len(stage.told()) == 1
    assert stage.all_closed()
    log = capsys.readouterr().out
    assert log.count("follow left to another") == 1
    assert "error" not in log and "Traceback" not in log


@pytest.mark.parametrize("after_steps", range(0, 60, 3))
async def test_a_second_process_at_any_step_of_the_first_card_leaves_one_card_and_one_reply(
    after_steps: int,
) -> None:
    stage = Stage(a_job(JobState.FAILED), a_card())
    async with stage.bot():
        for _ in range(after_steps):
            await asyncio.sleep(0)
        async with stage.bot():
            await asyncio.sleep(120)
    assert len(stage.shown()) == len(stage.told()) == 1
    assert stage.all_closed()


@pytest.mark.parametrize("after_seconds", [0.0, 0.5, 2.0, 5.0, 11.0, 12.5, 20.0])
async def test_a_second_process_while_a_card_is_unanswered_leaves_one_card(after_seconds: float) -> None:
    stage = Stage(a_job(), a_card())
    stage.fake_slack.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
    async with stage.bot():
        await asyncio.sleep(after_seconds)
        async with stage.bot():
            await asyncio.sleep(120)
    assert len(stage.shown()) == 1
    assert stage.card_repository.rows[CARD_ID].message_ts in stage.fake_slack.posted


async def test_a_process_paused_before_its_post_posts_nothing_when_it_wakes() -> None:
    stage = Processes(a_job(JobState.FAILED), a_card())
    async with stage.one_that_can_be_paused() as paused:
        paused.awake.clear()
        async with stage.bot():
            await asyncio.sleep(60)
            paused.awake.set()
            await asyncio.sleep(60)
    assert len(stage.shown()) == len(stage.told()) == 1


class SlowSlack(OddSlack):
    """Slack takes some posts only much later than it should, or tells much later that it took them."""

    def __init__(self) -> None:
        super().__init__()
        self.takes_after_seconds = 0.0
        self.tells_after_seconds = 0.0

    async def post(
        self, channel: ChannelRef, message: Message, *, mark: str, thread: MessageTs | None = None
    ) -> MessageTs:
        takes, tells = self.takes_after_seconds, self.tells_after_seconds
        self.takes_after_seconds = self.tells_after_seconds = 0.0
        await asyncio.sleep(takes)
        ts = await super().post(channel, message, mark=mark, thread=thread)
        await asyncio.sleep(tells)
        return ts


async def test_a_card_that_came_too_late_is_deleted_by_whoever_posted_it() -> None:
    stage = Stage(a_job(), a_card())
    stage.fake_slack = fake_slack = SlowSlack()
    fake_slack.takes_after_seconds = 60.0
    async with stage.bot():
        await asyncio.sleep(2)
        async with stage.bot():
            await asyncio.sleep(30)
            assert list(fake_slack.posted) == ["1.0"]
            await asyncio.sleep(60)
            stage.says(JobState.COMPLETE, answer="The answer.")
            await asyncio.sleep(60)
    assert fake_slack.times("delete") != []
    assert ["The answer." in text for text in stage.shown()] == [True]
    assert stage.card_repository.rows[CARD_ID].message_ts == "1.0"


async def test_a_card_that_another_process_found_is_not_deleted_by_whoever_posted_it() -> None:
    stage = Stage(a_job(), a_card())
    stage.fake_slack = fake_slack = SlowSlack()
    fake_slack.tells_after_seconds = 60.0
    async with stage.bot():
        await asyncio.sleep(2)
        async with stage.bot():
            await asyncio.sleep(30)
            assert stage.card_repository.rows[CARD_ID].message_ts == "1.0"
            step(stage, 1)
            await asyncio.sleep(60)
            assert "step 1" in stage.shown()[0]
    assert fake_slack.times("delete") == []
    assert list(fake_slack.posted) == ["1.0"]


async def test_a_reply_that_came_too_late_is_deleted_by_whoever_posted_it() -> None:
    stage = Stage(a_job(), a_card())
    stage.fake_slack = fake_slack = SlowSlack()
    async with stage.bot():
        await asyncio.sleep(5)
        fake_slack.takes_after_seconds = 60.0
        stage.says(JobState.FAILED)
        await asyncio.sleep(10)
        async with stage.bot():
            await asyncio.sleep(90)
    assert len(stage.told()) == len(stage.shown()) == 1
    assert stage.card_repository.rows[CARD_ID].completion_reply_ts in fake_slack.posted


async def test_a_surplus_post_that_slack_does_not_delete_disturbs_nobody() -> None:
    stage = Stage(a_job(), a_card())
    stage.fake_slack = fake_slack = SlowSlack()
    fake_slack.takes_after_seconds = 60.0
    fake_slack.plan("delete", OutcomeUnknown("fatal_error"))
    async with stage.bot():
        await asyncio.sleep(2)
        async with stage.bot():
            await asyncio.sleep(120)
            stage.says(JobState.COMPLETE, answer="The answer.")
            await asyncio.sleep(60)
    assert "The answer." in stage.shown()[0]
    assert stage.all_closed()


@pytest.mark.parametrize("paused_after_steps", range(0, 40, 2))
async def test_a_process_that_wakes_after_the_end_edits_and_tells_nothing_more(
    paused_after_steps: int,
) -> None:
    stage = Processes(a_job(), a_card())
    async with stage.one_that_can_be_paused() as paused:
        await asyncio.sleep(5)
        step(stage, 1)
        await asyncio.sleep(2.2)
        for _ in range(paused_after_steps):
            await asyncio.sleep(0)
        paused.awake.clear()
        async with stage.bot():
            stage.says(JobState.FAILED)
            await asyncio.sleep(60)
            last = stage.fake_slack.times("update")
            assert "The job failed" in stage.shown()[0]
            paused.awake.set()
            await asyncio.sleep(120)
    assert len(stage.fake_slack.times("update")) - len(last) <= 1, "no more than what was on its way already"
    assert len(stage.told()) == len(stage.shown()) == 1
    assert stage.all_closed()


@asynccontextmanager
async def paused_over_its_last_look(stage: Processes) -> AsyncIterator[None]:
    """Slack takes the look that says how the job ended, and the process pauses before it can store that. Then Omni no
    longer knows the job, and another process follows it."""
    async with stage.one_that_can_be_paused() as paused:
        await asyncio.sleep(5)
        stage.fake_slack.on_update = paused.awake.clear
        stage.says(JobState.FAILED)
        await asyncio.sleep(10)
        stage.fake_slack.on_update = lambda: None
        assert "The job failed" in stage.shown()[0] and not stage.card_repository.rows[CARD_ID].ended
        async with stage.bot():
            stage.omni.answer = JobNotFound("404")
            await asyncio.sleep(40)
            yield
            paused.awake.set()
            await asyncio.sleep(200)


async def test_end_shown_by_a_paused_process_stays_though_omni_forgets_the_job() -> None:
    """Simulation seed 777309."""
    stage = Processes(a_job(), a_card())
    async with paused_over_its_last_look(stage):
        edits = len(stage.fake_slack.times("update"))
    assert "The job failed" in stage.shown()[0]
    assert len(stage.fake_slack.times("update")) == edits
    assert ["The job failed" in text for text in stage.told()] == [True]
    assert stage.all_closed()


async def test_outage_is_not_drawn_over_an_end_that_may_be_shown() -> None:
    stage = Processes(a_job(), a_card())
    async with paused_over_its_last_look(stage):
        stage.omni.answer = OmniUnreachable("away")
        await asyncio.sleep(120)
        assert "The job failed" in stage.shown()[0]
        stage.says(JobState.FAILED)
    assert "The job failed" in stage.shown()[0]
    assert len(stage.told()) == 1
    assert stage.all_closed()


async def test_end_without_an_answer_is_not_replaced_by_trouble() -> None:
    """Simulation seed 900036."""
    stage = Processes(a_job(), a_card())
    stage.fake_slack.plan("update", OutcomeUnknown("TimeoutError"), after_effect=True)
    async with paused_over_its_last_look(stage):
        pass
    shown = [message.text for _, message in stage.fake_slack.posted[MessageTs("1.0")].edits]
    assert ["The job failed" in text for text in shown] == [True]


async def test_a_database_that_loses_its_answer_costs_no_card() -> None:
    stage = Stage(a_job(), a_card())
    card_posted, answers_lost = stage.card_repository.mark_posted, [StoreUnavailable("connection lost")] * 3

    async def stored_but_unanswered(
        card_id: CardId, tried_at: datetime, ts: MessageTs, fingerprint: str | None, *, ended: bool = False
    ) -> bool:
        taken = await card_posted(card_id, tried_at, ts, fingerprint, ended=ended)
        if answers_lost:
            raise answers_lost.pop()
        return taken

    stage.card_repository.mark_posted = stored_but_unanswered  # type: ignore[method-assign]
    async with stage.bot():
        await asyncio.sleep(30)
    assert list(stage.fake_slack.posted) == [stage.card_repository.rows[CARD_ID].message_ts]
    assert stage.fake_slack.times("delete") == []


async def test_who_follows_in_one_process_is_served_by_the_other() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot() as one, stage.bot():
        await asyncio.sleep(10)
        await stage.card_repository.add(a_card("other", FOREIGN, GRACE))
        await one.start(JOB)
        await asyncio.sleep(10)
        stage.says(JobState.FAILED)
        await asyncio.sleep(60)
    assert len(stage.shown(FOREIGN)) == len(stage.shown()) == 1
    assert len(stage.told()) == 2
    assert stage.all_closed()


async def test_two_processes_move_a_watch_to_direct_messages_once() -> None:
    stage = Stage(a_job(JobState.FAILED), a_card("watch", FOREIGN))
    stage.fake_slack.closed.add(FOREIGN)
    async with stage.bot():
        for _ in range(5):
            await asyncio.sleep(0)
        async with stage.bot():
            await asyncio.sleep(120)
    assert len(stage.shown(direct(a_card().requester))) == len(stage.told()) == 1
    assert len(stage.card_repository.rows) == 1


async def test_processes_that_take_the_job_from_each_other_again_and_again_end_it_once() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot() as one, stage.bot() as two:
        for number in range(20):
            step(stage, number)
            await (one, two)[number % 2].start(JOB)
            await asyncio.sleep(2.5)
        stage.says(JobState.FAILED)
        await one.start(JOB)
        await two.start(JOB)
        await asyncio.sleep(120)
    assert "The job failed" in stage.shown(HERE)[0]
    assert len(stage.shown()) == len(stage.told()) == 1
    assert stage.all_closed()
