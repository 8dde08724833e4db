"""What people hear, in their own process, of what another one does for them: in virtual time."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bot.delivery.direct_messages import Reply
from bot.delivery.outcomes import ARRIVES_WITHIN_SECONDS, CardOutcomes
from bot.domain.access import ConversationInfo
from bot.domain.cards import Card, CardFailure, CardId, ChannelId, ChannelRef, MessageTs, UserId
from bot.domain.errors import (
    JobNotFound,
    KeyRefused,
    NotAllowedHere,
    OmniError,
    OutcomeUnknown,
    StoreUnavailable,
)
from bot.domain.jobs import JobId, JobState
from bot.domain.messages import Message
from bot.rendering import refusal_replies, replies
from bot.rendering.refusal_replies import RefusedPost
from tests.support.fakes import ADA, GRACE, HERE, JOB, START, a_card, a_job, said
from tests.support.tracking import CARD_ID, MARIE, Stage, a_follow_service, a_stage, direct

pytestmark = pytest.mark.looptime

BOT = UserId("U0BOT")


async def nobody(_job: JobId) -> None:
    """No process follows the job."""


# A word that was lost between processes


async def test_a_card_that_came_without_a_word_speaks_for_itself() -> None:
    stage = Stage(a_job())
    async with stage.bot() as runner:
        elsewhere = CardOutcomes()
        service = a_follow_service(stage, runner.start)
        service._outcomes = elsewhere
        assert await service.follow(str(JOB), HERE, ADA) is None
        assert asyncio.get_running_loop().time() == pytest.approx(ARRIVES_WITHIN_SECONDS, abs=1.0)
    assert len(stage.shown()) == 1


async def test_a_second_who_asks_hears_of_a_card_that_came_without_a_word() -> None:
    stage = Stage(a_job(), a_card())
    service = a_follow_service(stage, nobody)
    asking = asyncio.create_task(service.follow(str(JOB), HERE, GRACE))
    await asyncio.sleep(5.0)
    async with stage.bot():
        line = await asking
    assert "already has" in said(line)


def test_of_a_job_that_has_ended_nobody_is_promised_to_hear_how_it_ends() -> None:
    assert (
        replies.already_followed(None)
        == "This job already has a card here. You follow it now. The card will show how it ends."
    )
    assert replies.already_followed(None, has_ended=True) == "This job already has a card here."


async def test_a_card_that_did_not_come_in_time_is_told_to_be_late() -> None:
    stage = Stage(a_job())
    assert await a_follow_service(stage, nobody).follow(str(JOB), HERE, ADA) == replies.card_is_late()
    assert asyncio.get_running_loop().time() == pytest.approx(ARRIVES_WITHIN_SECONDS)


async def test_a_table_that_can_not_be_asked_in_the_end_is_told_too() -> None:
    stage = Stage(a_job())
    asking = asyncio.create_task(a_follow_service(stage, nobody).follow(str(JOB), HERE, ADA))
    await asyncio.sleep(5.0)
    stage.card_repository.error = StoreUnavailable("away")
    assert said(await asking) == replies.storage_down()


@pytest.mark.parametrize("is_confirmed", [True, False])
async def test_where_words_are_lost_both_ways_a_person_is_told_once_and_truly(is_confirmed: bool) -> None:
    stage, fake_slack = a_stage()
    if is_confirmed:
        fake_slack.closed |= {HERE, direct(ADA)}
        fake_slack.plan("direct", *[NotAllowedHere("user_disabled")] * 9)
    else:
        fake_slack.shows_history = False
        fake_slack.plan("post", OutcomeUnknown("TimeoutError"))
    async with stage.bot() as runner:
        service = a_follow_service(stage, runner.start)
        service._outcomes = CardOutcomes()
        word = await service.follow(str(JOB), HERE, ADA)
        assert isinstance(word, Reply)
        await word.on_delivered()
        await asyncio.sleep(60)
    nowhere = refusal_replies.not_allowed_anywhere(RefusedPost("", HERE, BOT))
    assert said(word) == (nowhere if is_confirmed else replies.unconfirmed_card())
    assert stage.shown(direct(ADA)) == []


# A post that Slack refuses


REFUSED = {
    "not_in_channel": "I'm not in this channel",
    "is_archived": "This channel is archived",
    "restricted_action_read_only_channel": "An admin restricts who can post here",
    "team_access_not_granted": "Slack refused the card here (`team_access_not_granted`)",
}


@pytest.mark.parametrize("code", REFUSED)
async def test_reply_to_refused_post_says_why(code: str) -> None:
    stage = Stage(a_job())
    stage.fake_slack.plan("post", NotAllowedHere(code))
    async with stage.bot() as runner:
        line = said(await a_follow_service(stage, runner.start).follow(str(JOB), HERE, ADA))
    assert line.startswith(f"{REFUSED[code]}, so I sent the card to your DMs.")
    assert ("/invite" in line) is (code == "not_in_channel")
    assert len(stage.shown(direct(ADA))) == 1


@pytest.mark.parametrize("is_lost", [False, True], ids=["in time", "message between processes lost"])
@pytest.mark.parametrize("code", REFUSED)
async def test_reply_knows_whether_direct_messages_took_the_card(code: str, is_lost: bool) -> None:
    stage = Stage(a_job())
    stage.fake_slack.plan("post", NotAllowedHere(code), NotAllowedHere("messages_tab_disabled"))
    async with stage.bot() as runner:
        follow_service = a_follow_service(stage, runner.start)
        if is_lost:
            follow_service._outcomes = CardOutcomes()
        reply = await follow_service.follow(str(JOB), HERE, ADA)
        assert isinstance(reply, Reply)
        await reply.on_delivered()
        await asyncio.sleep(60)
    line = said(reply)
    assert "I sent" not in line
    assert line == refusal_replies.not_allowed_anywhere(RefusedPost("" if is_lost else code, HERE, BOT))
    assert stage.shown(direct(ADA)) == [] and stage.card_repository.rows == {}, "the reply is the only one"


async def test_refused_direct_message_of_shared_channel_is_reported() -> None:
    stage = Stage(a_job())
    stage.directory.venues[HERE] = ConversationInfo(is_shared=True)
    stage.fake_slack.closed.add(direct(ADA))
    async with stage.bot() as runner:
        line = said(await a_follow_service(stage, runner.start).follow(str(JOB), HERE, ADA))
    assert line == refusal_replies.not_allowed_anywhere(RefusedPost("", HERE, BOT))


async def test_user_without_a_reply_gets_one_direct_message() -> None:
    stage = Stage(a_job(), replace(OLD, post_started_at=None))
    stage.fake_slack.plan("post", NotAllowedHere("is_archived"), NotAllowedHere("restricted_action"))
    async with stage.bot():
        await asyncio.sleep(30)
    await stage.report_failures()
    await stage.report_failures()
    (line,) = stage.shown(direct(ADA))
    assert line == replies.card_failed(CardFailure.NOWHERE, JOB)
    assert stage.card_repository.rows == {}


# A card that nobody can confirm

OLD = replace(
    a_card(), requested_at=START - timedelta(minutes=1), post_started_at=START - timedelta(seconds=50)
)
"""Asked for so long ago that nobody waits with the command any more."""


async def test_unconfirmed_card_of_a_dead_process_is_reported() -> None:
    tried = replace(OLD, followers=(ADA, GRACE))
    stage, fake_slack = a_stage(tried)
    fake_slack.shows_history = False
    async with stage.bot():
        await asyncio.sleep(60)
        await stage.report_failures()
    for person in (ADA, GRACE):
        (told,) = stage.shown(direct(person))
        assert "did not confirm the card" in told and JOB in told
    assert stage.shown(HERE) == []
    assert stage.card_repository.rows == {}
    assert stage.omni.asked != []


async def test_waiting_command_reports_an_unconfirmed_card() -> None:
    stage, fake_slack = a_stage()
    fake_slack.shows_history = False
    fake_slack.plan("post", OutcomeUnknown("TimeoutError"))
    async with stage.bot() as runner:
        word = await a_follow_service(stage, runner.start).follow(str(JOB), HERE, ADA)
        await asyncio.sleep(60)
    assert said(word) == replies.unconfirmed_card()
    assert fake_slack.posted == {}
    assert isinstance(word, Reply)
    await word.on_delivered()
    assert stage.card_repository.rows == {}


@pytest.mark.parametrize("error", [JobNotFound("404"), KeyRefused("401")])
async def test_user_of_a_dead_process_learns_that_there_is_no_card(error: OmniError) -> None:
    stage = Stage(error, replace(OLD, post_started_at=None))
    async with stage.bot():
        await asyncio.sleep(5)
        assert stage.fake_slack.posted == {}
        await stage.report_failures()
    (line,) = stage.shown(direct(ADA))
    assert JOB in line
    assert stage.card_repository.rows == {}


# Told first, forgotten then


async def test_who_asked_for_a_job_that_nobody_knows_is_remembered_until_they_were_told() -> None:
    stage = Stage(JobNotFound("404"))
    async with stage.bot() as runner:
        word = await a_follow_service(stage, runner.start).follow(str(JOB), HERE, ADA)
        await asyncio.sleep(10)
    assert said(word) == replies.no_such_job()
    (given_up,) = stage.card_repository.rows.values()
    assert (given_up.followers, given_up.failure) == ((ADA,), CardFailure.NO_SUCH_JOB)
    assert isinstance(word, Reply)
    await word.on_delivered()
    assert stage.card_repository.rows == {}


async def test_lost_message_about_a_failure_is_made_up_for() -> None:
    stage = Stage(JobNotFound("404"))
    async with stage.bot() as runner:
        service = a_follow_service(stage, runner.start)
        service._outcomes = CardOutcomes()
        assert said(await service.follow(str(JOB), HERE, ADA)) == replies.no_such_job()
        assert asyncio.get_running_loop().time() == pytest.approx(ARRIVES_WITHIN_SECONDS, abs=1.0)


async def test_lost_message_about_a_moved_card_is_made_up_for() -> None:
    stage, fake_slack = a_stage()
    fake_slack.closed.add(HERE)
    async with stage.bot() as runner:
        service = a_follow_service(stage, runner.start)
        service._outcomes = CardOutcomes()
        line = said(await service.follow(str(JOB), HERE, ADA))
    assert line == refusal_replies.moved_to_dm(RefusedPost("", HERE, BOT))
    assert len(stage.shown(direct(ADA))) == 1


async def test_who_could_not_be_told_while_the_database_was_away_is_told_once_more() -> None:
    stage = Stage(JobNotFound("404"))
    async with stage.bot() as runner:
        word = await a_follow_service(stage, runner.start).follow(str(JOB), HERE, ADA)
        await asyncio.sleep(1)
    assert isinstance(word, Reply)
    stage.card_repository.error = StoreUnavailable("away")
    await word.on_delivered()
    stage.card_repository.error = None
    await stage.report_failures()
    (told,) = stage.shown(direct(ADA))
    assert JOB in told and "Omni has no such job" in told
    assert stage.card_repository.rows == {}


async def test_who_asks_again_for_what_was_given_up_joins_whoever_was_not_told_yet() -> None:
    stage = Stage(JobNotFound("404"))
    async with stage.bot() as runner:
        await a_follow_service(stage, runner.start).follow(str(JOB), HERE, ADA)
        stage.says(JobState.EXECUTING)
        assert "You follow it" in said(
            await a_follow_service(stage, runner.start).follow(str(JOB), HERE, GRACE)
        )
    (card,) = stage.card_repository.rows.values()
    assert (card.followers, card.failure) == ((ADA, GRACE), None)
    assert len(stage.shown()) == 1


# Who joins as the end is told


async def test_who_joins_before_the_reply_of_a_lost_job_is_begun_is_named_in_it() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        service, mark_started = (
            a_follow_service(stage, runner.start),
            stage.card_repository.mark_completion_reply_started,
        )

        async def tried_after_grace_has_come(card: Card, at: datetime | None) -> None:
            stage.card_repository.mark_completion_reply_started = mark_started  # type: ignore[method-assign]
            assert "You follow it" in said(await service.follow(str(JOB), HERE, GRACE))
            await mark_started(card, at)

        stage.card_repository.mark_completion_reply_started = tried_after_grace_has_come  # type: ignore[method-assign]
        stage.omni.answer = JobNotFound("404")
        await asyncio.sleep(450)
    (reply,) = stage.told()
    assert reply.startswith(f"<@{ADA}> <@{GRACE}>")
    assert stage.all_closed()


@pytest.mark.parametrize("behind_seconds", [2.0, 0.0])
async def test_who_joins_by_a_clock_that_is_behind_is_named_too(behind_seconds: float) -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        service, mark_started = (
            a_follow_service(stage, runner.start),
            stage.card_repository.mark_completion_reply_started,
        )
        await service.follow(str(JOB), HERE, GRACE)
        joined_at = stage.card_repository.rows[CARD_ID].tracked_since
        slow = a_follow_service(stage, runner.start)
        slow._now = lambda: joined_at - timedelta(seconds=behind_seconds)

        async def tried_after_marie_has_come(card: Card, at: datetime | None) -> None:
            stage.card_repository.mark_completion_reply_started = mark_started  # type: ignore[method-assign]
            await slow.follow(str(JOB), HERE, MARIE)
            await mark_started(card, at)

        stage.card_repository.mark_completion_reply_started = tried_after_marie_has_come  # type: ignore[method-assign]
        stage.omni.answer = JobNotFound("404")
        await asyncio.sleep(450)
    (reply,) = stage.told()
    assert MARIE in reply


async def test_who_joins_while_the_reply_of_a_lost_job_is_posted_is_not_promised_to_be_told() -> None:
    stage = Stage(a_job(), a_card())
    lines_told: list[str] = []
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        service, post = a_follow_service(stage, runner.start), stage.fake_slack.post

        async def posted_as_grace_comes(
            channel: ChannelRef, message: Message, *, mark: str, thread: MessageTs | None = None
        ) -> MessageTs:
            lines_told.append(said(await service.follow(str(JOB), HERE, GRACE)))
            return await post(channel, message, mark=mark, thread=thread)

        stage.fake_slack.post = posted_as_grace_comes  # type: ignore[method-assign]
        stage.omni.answer = JobNotFound("404")
        await asyncio.sleep(450)
    assert len(stage.told()) == len(lines_told) == 1
    assert "a card" in lines_told[0] and "You follow it" not in lines_told[0]
    assert stage.all_closed()


# Clicks


@pytest.mark.parametrize(
    "card_id, channel, message_ts, user",
    [
        (CardId("another"), HERE, MessageTs("1.0"), ADA),
        (CARD_ID, ChannelRef(HERE.team, ChannelId("C0ELSE")), MessageTs("1.0"), ADA),
        (CARD_ID, HERE, MessageTs("9.9"), ADA),
        (CARD_ID, HERE, MessageTs("1.0"), UserId("U0STRANGER")),
    ],
    ids=["another watch", "another place", "another card", "a stranger"],
)
async def test_a_click_that_does_not_fit_the_table_stops_nothing(
    card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
) -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        before = stage.card_repository.rows[CARD_ID]
        line = await a_follow_service(stage, runner.start).stop_following(card_id, channel, message_ts, user)
        assert stage.card_repository.rows[CARD_ID] == before
    assert line == replies.not_following()


async def test_a_click_on_a_card_that_is_only_being_stored_is_waited_for() -> None:
    stage = Stage(a_job(), a_card())
    card_posted = stage.card_repository.mark_posted

    async def stored_a_second_later(*posted: Any, **more: Any) -> bool:
        await asyncio.sleep(1.0)
        return await card_posted(*posted, **more)

    stage.card_repository.mark_posted = stored_a_second_later  # type: ignore[method-assign]
    async with stage.bot() as runner:
        await asyncio.sleep(0.5)
        assert len(stage.shown()) == 1 and stage.card_repository.rows[CARD_ID].message_ts is None
        line = await a_follow_service(stage, runner.start).stop_following(
            CARD_ID, HERE, MessageTs("1.0"), ADA
        )
    assert line == replies.unfollowed(0)


async def test_a_click_on_a_card_that_is_over_stops_nothing() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        stage.card_repository.rows[CARD_ID] = replace(stage.card_repository.rows[CARD_ID], closed_at=START)
        service = a_follow_service(stage, runner.start)
        assert await service.stop_following(CARD_ID, HERE, MessageTs("1.0"), ADA) == replies.not_following()
    assert stage.card_repository.rows[CARD_ID].followers == (ADA,)
