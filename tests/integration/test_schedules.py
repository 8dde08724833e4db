"""Moments that fall badly, in virtual time: who comes, leaves, deletes or restarts while something is under way."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.delivery.direct_messages import Reply
from bot.domain.cards import Card, CardId, ChannelId, ChannelRef, MessageTs
from bot.domain.errors import (
    JobNotFound,
    MessageGone,
    OmniUnreachable,
    OutcomeUnknown,
    SlackBusy,
    SlackUnreachable,
    StoreUnavailable,
)
from bot.domain.jobs import JobState
from bot.domain.messages import Message
from bot.rendering import replies
from tests.support.fakes import ADA, GRACE, HERE, JOB, START, a_card, said
from tests.support.tracking import (
    CARD_ID,
    FOREIGN,
    MARIE,
    RULES,
    Stage,
    a_follow_service,
    a_stage,
    direct,
    step,
)

pytestmark = pytest.mark.looptime


async def test_a_channel_that_takes_cards_but_no_replies_gets_one_card_and_its_person_the_outcome() -> None:
    stage, fake_slack = a_stage(a_card())
    fake_slack.takes_replies = False
    async with stage.bot():
        await asyncio.sleep(5)
        stage.says(JobState.FAILED)
        await asyncio.sleep(60)
    assert len(stage.shown()) == 1
    assert "The job failed" in stage.shown(direct(ADA))[0]


async def test_a_deleted_card_that_is_asked_for_again_is_the_one_that_becomes_the_answer() -> None:
    stage, fake_slack = a_stage(a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        step(stage, 1)
        await asyncio.sleep(5)
        fake_slack.posted.clear()
        line = await a_follow_service(stage, runner.start).follow(JOB, HERE, GRACE)
        assert line is not None
        assert len(stage.shown()) == 1
        step(stage, 2)
        await asyncio.sleep(10)
        assert "step 2" in stage.shown()[0]
        stage.says(JobState.COMPLETE, answer="The answer.")
        await asyncio.sleep(10)
    assert ["The answer." in text for text in stage.shown()] == [True]


@pytest.mark.parametrize(
    "channel", [HERE, ChannelRef(HERE.team, ChannelId(f"D{ADA}"))], ids=["channel", "direct"]
)
async def test_a_card_deleted_between_its_last_look_and_its_reply_comes_back_with_both(
    channel: ChannelRef,
) -> None:
    stage, fake_slack = a_stage(a_card(channel=channel))
    post = fake_slack.post

    async def post_to_a_thread_just_deleted(
        channel: ChannelRef, message: Message, *, mark: str, thread: MessageTs | None = None
    ) -> MessageTs:
        if thread is not None and MessageTs("1.0") in fake_slack.posted:
            del fake_slack.posted[MessageTs("1.0")]
            raise MessageGone("thread_not_found")
        return await post(channel, message, mark=mark, thread=thread)

    fake_slack.post = post_to_a_thread_just_deleted  # type: ignore[method-assign]
    async with stage.bot():
        await asyncio.sleep(5)
        stage.says(JobState.FAILED)
        await asyncio.sleep(60)
    assert ["The job failed" in text for text in stage.shown(channel)] == [True]
    assert [reply.thread for reply in fake_slack.replies()] == ["2.0"]
    assert stage.all_closed()


async def test_one_not_found_right_after_a_restart_ends_no_follow() -> None:
    stage, _ = a_stage(a_card())
    async with stage.bot():
        await asyncio.sleep(10)
    stage.omni.answer = JobNotFound("404")
    async with stage.bot():
        await asyncio.sleep(1)
        stage.says(JobState.COMPLETE, answer="The answer.")
        await asyncio.sleep(30)
    assert "The answer." in stage.shown()[0]


async def test_a_busy_moment_while_a_watch_moves_to_direct_messages_loses_no_follow() -> None:
    stage, fake_slack = a_stage()
    fake_slack.closed.add(FOREIGN)
    fake_slack.plan("direct", SlackBusy("ratelimited", 1.0))
    async with stage.bot() as runner:
        line = await a_follow_service(stage, runner.start).follow(JOB, FOREIGN, ADA)
        await asyncio.sleep(60)
    assert "your DMs" in said(line)
    assert len(stage.shown(direct(ADA))) == len(fake_slack.posted) == 1


async def test_who_joins_a_watch_while_it_moves_to_direct_messages_gets_a_card_too() -> None:
    stage, fake_slack = a_stage()
    fake_slack.closed.add(FOREIGN)
    fake_slack.direct_seconds = 0.3
    async with stage.bot() as runner:
        service = a_follow_service(stage, runner.start)
        ada = asyncio.create_task(service.follow(JOB, FOREIGN, ADA))
        await asyncio.sleep(0.1)
        told = [await service.follow(JOB, FOREIGN, GRACE), await ada]
        await asyncio.sleep(60)
    assert all("your DMs" in said(line) for line in told)
    assert {posted.place for posted in fake_slack.posted.values()} == {direct(ADA), direct(GRACE)}


async def test_who_follows_in_the_moment_before_a_deserted_card_is_closed_gets_the_answer() -> None:
    stage, _ = a_stage(a_card())
    close_if_deserted = stage.card_repository.close_if_unfollowed

    async def close_after_grace_came(card: Card, at: datetime) -> None:
        if not stage.card_repository.rows[CARD_ID].followers:
            await stage.card_repository.add(a_card("another", user=GRACE))
        await close_if_deserted(card, at)

    stage.card_repository.close_if_unfollowed = close_after_grace_came  # type: ignore[method-assign]
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        await stage.card_repository.unfollow(CARD_ID, ADA)
        await runner.start(JOB)
        await asyncio.sleep(10)
        stage.says(JobState.COMPLETE, answer="The answer.")
        await asyncio.sleep(120)
    assert stage.card_repository.rows[CARD_ID].followers == (GRACE,)
    assert "The answer." in stage.shown()[0]


async def test_a_try_stored_by_a_clock_that_was_an_hour_fast_holds_no_card_back() -> None:
    stage, _ = a_stage(replace(a_card(), post_started_at=START + timedelta(hours=1)))
    async with stage.bot():
        await asyncio.sleep(60)
    assert len(stage.shown()) == 1


async def test_a_clock_ten_minutes_ahead_of_slacks_posts_no_card_twice() -> None:
    stage, fake_slack = a_stage(a_card())
    fake_slack.is_behind_by = timedelta(minutes=10)
    fake_slack.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
    async with stage.bot():
        await asyncio.sleep(60)
    assert len(stage.shown()) == 1


async def test_commands_while_the_database_is_down_are_told_so_and_leave_nothing_behind() -> None:
    stage, _ = a_stage()
    async with stage.bot() as runner:
        stage.card_repository.error = StoreUnavailable("disk full")
        told = {await a_follow_service(stage, runner.start).follow(JOB, HERE, ADA) for _ in range(3)}
    assert ["database" in said(line) for line in told] == [True]
    assert stage.arrivals._waiting == {}


async def test_whoever_asks_second_takes_no_news_from_whoever_asked_first() -> None:
    stage, _ = a_stage()
    card_posted = stage.card_repository.mark_posted
    async with stage.bot() as runner:
        service = a_follow_service(stage, runner.start)
        second: list[Message | Reply | str | None] = []

        async def posted_as_grace_asks(
            card_id: CardId,
            tried_at: datetime,
            ts: MessageTs,
            fingerprint: str | None,
            *,
            ended: bool = False,
        ) -> bool:
            stored = await card_posted(card_id, tried_at, ts, fingerprint, ended=ended)
            second.append(await service.follow(JOB, HERE, GRACE))
            return stored

        stage.card_repository.mark_posted = posted_as_grace_asks  # type: ignore[method-assign]
        assert await service.follow(JOB, HERE, ADA) is None
        assert asyncio.get_running_loop().time() < 15
    assert "already has" in said(second[0])


async def test_a_deleted_card_whose_loss_was_noticed_is_posted_again_for_the_next_who_asks() -> None:
    stage, fake_slack = a_stage(a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        fake_slack.posted.clear()
        step(stage, 1)
        await asyncio.sleep(5)
        assert stage.card_repository.rows[CARD_ID].is_message_gone
        line = await a_follow_service(stage, runner.start).follow(JOB, HERE, GRACE)
        await asyncio.sleep(5)
    assert "a card" in said(line)
    assert len(stage.shown()) == 1


async def test_a_restart_while_slack_is_busy_loses_no_follow_even_without_the_history() -> None:
    stage, fake_slack = a_stage(a_card())
    fake_slack.plan("post", SlackBusy("ratelimited", 60.0))
    fake_slack.shows_history = False
    async with stage.bot():
        await asyncio.sleep(10)
        assert fake_slack.times("post")
        assert stage.shown() == []
    async with stage.bot():
        await asyncio.sleep(60)
    assert len(stage.shown()) == 1


async def test_two_who_ask_for_a_deleted_card_at_once_get_one_between_them() -> None:
    stage, fake_slack = a_stage(a_card())

    def second_look_at_a_gone_card_is_slow(ts: MessageTs) -> float:
        return 1.0 if ts not in fake_slack.posted and fake_slack.times("permalink") else 0.01

    fake_slack.permalink_seconds = second_look_at_a_gone_card_is_slow
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        fake_slack.posted.clear()
        service = a_follow_service(stage, runner.start)
        await asyncio.gather(service.follow(JOB, HERE, GRACE), service.follow(JOB, HERE, MARIE))
        await asyncio.sleep(30)
    assert len(stage.shown()) == 1


async def test_a_card_posted_anew_is_not_mistaken_for_the_one_before() -> None:
    stage, fake_slack = a_stage(a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        fake_slack.plan("update", MessageGone("edit_window_closed"))
        step(stage, 1)
        await asyncio.sleep(5)
        fake_slack.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
        stage.says(JobState.FAILED)
        await asyncio.sleep(60)
    _, anew = stage.shown()
    assert "The job failed" in anew
    assert (
        [reply.thread for reply in fake_slack.replies()]
        == [stage.card_repository.rows[CARD_ID].message_ts]
        == ["2.0"]
    )


async def test_a_look_that_slack_took_unanswered_is_not_overlooked_by_the_next_process() -> None:
    stage, fake_slack = a_stage(a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        fake_slack.plan("update", OutcomeUnknown("TimeoutError"), after_effect=True)
        await stage.card_repository.unfollow(CARD_ID, ADA)
        await runner.start(JOB)
        await asyncio.sleep(1)
        assert "no longer follows" in stage.shown()[0]
    stage.card_repository.let_follow(CARD_ID, ADA)
    async with stage.bot():
        await asyncio.sleep(60)
    assert "no longer follows" not in stage.shown()[0]


async def test_the_loss_of_a_former_card_noticed_late_does_not_mark_the_new_one_as_gone() -> None:
    stage, fake_slack = a_stage(a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        fake_slack.gone_seconds = 1.0
        fake_slack.posted.clear()
        step(stage, 1)
        while not fake_slack.times("update"):
            await asyncio.sleep(0.1)
        await a_follow_service(stage, runner.start).follow(JOB, HERE, GRACE)
        await asyncio.sleep(5)
    assert stage.card_repository.rows[CARD_ID].message_ts == "2.0"
    assert not stage.card_repository.rows[CARD_ID].is_message_gone


async def an_ended_card_whose_process_died_before_its_reply(
    *, outcome: JobNotFound | OmniUnreachable
) -> Stage:
    """The card says how the job ended; a new process takes it up, and Omni tells no more of the job."""
    stage, _ = a_stage(a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        stage.fake_slack.plan("post", *[SlackUnreachable("down")] * 10)
        stage.says(JobState.FAILED)
        await asyncio.sleep(10)
    (shown,) = stage.shown()
    assert "The job failed" in shown and stage.told() == []
    stage.fake_slack.forget_plans()
    stage.omni.answer = outcome
    async with stage.bot():
        await asyncio.sleep(600)
    assert stage.shown() == [shown]
    return stage


async def test_a_card_that_says_how_the_job_ended_stays_when_omni_forgets_the_job() -> None:
    stage = await an_ended_card_whose_process_died_before_its_reply(outcome=JobNotFound("404"))
    (reply,) = stage.told()
    assert reply.startswith(f"<@{ADA}>") and "its card shows how" in reply
    assert stage.all_closed()


async def test_a_card_that_says_how_the_job_ended_stays_while_omni_is_away() -> None:
    stage = await an_ended_card_whose_process_died_before_its_reply(outcome=OmniUnreachable("HTTP 502"))
    assert stage.told() == []
    assert not stage.all_closed()
    stage.says(JobState.FAILED)
    async with stage.bot():
        await asyncio.sleep(60)
    (reply,) = stage.told()
    assert "The job failed" in reply


async def test_when_omni_stays_away_for_too_long_an_ended_card_is_told_of_all_the_same() -> None:
    stage = await an_ended_card_whose_process_died_before_its_reply(outcome=OmniUnreachable("HTTP 502"))
    async with stage.bot():
        await asyncio.sleep(RULES.settings.max_follow_hours * 3_600.0)
    (reply,) = stage.told()
    assert "its card shows how" in reply
    assert stage.all_closed()


async def test_a_card_left_unconfirmed_is_told_of_to_those_too_who_asked_for_it_long_ago() -> None:
    stage, fake_slack = a_stage(a_card())
    fake_slack.shows_history = False
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        fake_slack.posted.clear()
        fake_slack.plan("post", OutcomeUnknown("TimeoutError"))
        word = await a_follow_service(stage, runner.start).follow(JOB, HERE, GRACE)
        await asyncio.sleep(30)
        assert isinstance(word, Reply)
        await word.on_delivered()
        await stage.report_failures()
    assert said(word) == replies.unconfirmed_card()
    assert stage.shown(direct(GRACE)) == []
    (told,) = stage.shown(direct(ADA))
    assert "did not confirm the card" in told
    assert stage.card_repository.rows == {}


async def test_failure_is_reported_to_each_follower_once() -> None:
    """The first one's command is of a process that was killed, the second one's gets the reply."""
    stage, _ = a_stage(a_card())
    stage.omni.answer, stage.omni.delay_seconds = JobNotFound("404"), 0.5
    async with stage.bot() as runner:
        word = await a_follow_service(stage, runner.start).follow(str(JOB), HERE, GRACE)
        assert said(word) == replies.no_such_job()
        assert isinstance(word, Reply)
        await word.on_delivered()
        await stage.report_failures()
    assert stage.shown() == stage.shown(direct(GRACE)) == []
    assert len(stage.shown(direct(ADA))) == 1
    assert stage.card_repository.rows == {}
