"""*Cancel job* in virtual time: its outcomes, and the canceller on the cards."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.cards import CardId, ChannelId, ChannelRef, MessageTs, UserId
from bot.domain.errors import (
    CancelForbidden,
    JobNotFound,
    KeyRefused,
    NotCancellable,
    OmniBusy,
    OmniError,
    OmniUnreachable,
    StoreUnavailable,
)
from bot.domain.jobs import JobId, JobState
from bot.rendering import ask_replies, replies
from tests.support.ask_world import AskWorld, Services, direct, said
from tests.support.fakes import ADA, GRACE, HERE, JOB, START, a_card

pytestmark = pytest.mark.looptime

CARD = MessageTs("1.0")
CARD_ID = CardId("watch")
CANCELLING = f"<@{ADA}> asked to cancel"


def running_job(*followers: UserId) -> AskWorld:
    return AskWorld(replace(a_card(), followers=followers or (ADA,)))


async def cancel(services: Services, user: UserId = ADA) -> str:
    return said(await services.cancel.cancel(CARD_ID, HERE, CARD, user))


def card(stage: AskWorld) -> str:
    return stage.fake_slack.top_level()[0].message.text


async def test_cancellation_shows_and_notifies_others_at_once() -> None:
    stage = running_job(ADA, GRACE)
    async with stage.bot() as services:
        await asyncio.sleep(302)  # between two polls: Omni cancels only after the click is stored
        stage.omni.says(JOB, JobState.CANCELLED)
        began = asyncio.get_running_loop().time()
        assert await cancel(services) == ask_replies.cancelled()
        await asyncio.sleep(5)
    assert next(time for time, _ in stage.omni.polled if time >= began) - began < 0.1
    assert f"Cancelled by <@{ADA}>." in card(stage)
    (reply,) = [posted.message.text for posted in stage.fake_slack.replies()]
    assert reply.startswith(f"<@{GRACE}>:") and f"<@{ADA}>" not in reply
    assert stage.asking.cancelled == [JOB]


async def test_only_follower_gets_no_completion_reply() -> None:
    stage = running_job()
    async with stage.bot() as services:
        await asyncio.sleep(5)
        stage.omni.says(JOB, JobState.CANCELLED)
        await cancel(services)
        await asyncio.sleep(10)
    assert stage.fake_slack.replies() == []


async def test_job_that_stops_later_may_be_answered() -> None:
    stage = running_job()
    stage.asking.states[0] = JobState.EXECUTING
    async with stage.bot() as services:
        await asyncio.sleep(5)
        assert await cancel(services) == ask_replies.stops_after_current_step()
        await asyncio.sleep(5)
        assert f"{CANCELLING}. Omni stops after this step, unless" in card(stage)
        stage.omni.says(JOB, JobState.COMPLETE, answer="42")
        await asyncio.sleep(10)
    assert "42" in card(stage) and CANCELLING not in card(stage)


@pytest.mark.parametrize(
    "error, line",
    [
        (NotCancellable("400"), ask_replies.not_cancelled(NotCancellable())),
        (CancelForbidden("403"), ask_replies.not_cancelled(CancelForbidden())),
        (JobNotFound("404"), replies.no_such_job()),
        (KeyRefused("401"), replies.key_refused()),
        (OmniBusy("429"), replies.omni_busy()),
        (OmniUnreachable("timeout"), ask_replies.cancel_unconfirmed()),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, OmniError) else "",
)
async def test_refused_cancellation_is_not_on_the_card(error: OmniError, line: str) -> None:
    stage = running_job()
    stage.asking.states[0] = error
    async with stage.bot() as services:
        await asyncio.sleep(5)
        assert await cancel(services) == line
        await asyncio.sleep(10)
    assert CANCELLING not in card(stage)
    assert stage.card_repository.rows[CARD_ID].cancelled_by is None


@pytest.mark.parametrize("state", [JobState.COMPLETE, JobState.FAILED])
async def test_ended_job_is_reported(state: JobState) -> None:
    stage = running_job()
    stage.asking.states[0] = state
    async with stage.bot() as services:
        await asyncio.sleep(5)
        stage.omni.says(JOB, state)
        assert await cancel(services) == ask_replies.already_ended()
        await asyncio.sleep(10)
        assert await cancel(services) == ask_replies.already_ended()
    assert len(stage.asking.cancelled) == 1
    assert stage.card_repository.rows[CARD_ID].cancelled_by is None


async def test_outcomes_read_differently() -> None:
    outcomes = {
        ask_replies.cancelled(),
        ask_replies.stops_after_current_step(),
        ask_replies.not_cancelled(NotCancellable()),
        ask_replies.not_cancelled(CancelForbidden()),
    }
    assert len(outcomes) == 4


async def test_canceller_is_stored_before_omni_is_called() -> None:
    stage = running_job()
    stage.asking.delay_seconds = 30.0
    async with stage.bot() as services:
        await asyncio.sleep(5)
        cancelling = asyncio.create_task(cancel(services))
        await asyncio.sleep(1)
        stage.omni.says(JOB, JobState.CANCELLED)
        assert await cancelling == ask_replies.cancelled()
    assert f"Cancelled by <@{ADA}>." in card(stage)


async def test_all_cards_name_the_canceller() -> None:
    there = ChannelRef(HERE.team, ChannelId("C0THERE"))
    stage = AskWorld(a_card(), a_card("watch there", there))
    async with stage.bot() as services:
        await asyncio.sleep(5)
        stage.omni.says(JOB, JobState.CANCELLED)
        assert await cancel(services) == ask_replies.cancelled()
        await asyncio.sleep(10)
    for posted in stage.fake_slack.top_level(HERE) + stage.fake_slack.top_level(there):
        assert f"Cancelled by <@{ADA}>." in posted.message.text


async def test_failed_second_click_keeps_first_canceller() -> None:
    stage = running_job()
    stage.asking.states.clear()
    stage.asking.states.extend([JobState.EXECUTING, OmniUnreachable("down")])
    async with stage.bot() as services:
        await asyncio.sleep(5)
        await cancel(services)
        assert await cancel(services) == ask_replies.cancel_unconfirmed()
    assert stage.card_repository.rows[CARD_ID].cancelled_by == ADA


@pytest.mark.parametrize(
    "card_id, channel, message_ts",
    [
        (CardId("forged"), HERE, CARD),
        (CARD_ID, direct(GRACE), CARD),
        (CARD_ID, HERE, MessageTs("7.0")),
        (CardId(""), HERE, MessageTs("")),
    ],
)
async def test_forged_button_cancels_nothing(
    card_id: CardId, channel: ChannelRef, message_ts: MessageTs
) -> None:
    stage = running_job()
    async with stage.bot() as services:
        await asyncio.sleep(5)
        assert (
            said(await services.cancel.cancel(card_id, channel, message_ts, ADA))
            == replies.nothing_to_show_here()
        )
    assert stage.asking.cancelled == []


@pytest.mark.parametrize("why", ["not theirs", "refused"])
async def test_denied_user_cannot_cancel(why: str) -> None:
    stage = running_job()
    stage.access.idle = {GRACE}
    stage.access.refused = {GRACE: "No."} if why == "refused" else {}
    async with stage.bot() as services:
        await asyncio.sleep(5)
        line = await cancel(services, GRACE)
    assert line == ("No." if why == "refused" else replies.not_yours())
    assert stage.asking.cancelled == [] and "set_canceller" not in stage.card_repository.writes


async def test_following_elsewhere_does_not_allow_cancelling() -> None:
    stage = running_job()
    theirs = replace(a_card("theirs"), channel=direct(GRACE), requester=GRACE, followers=(GRACE,))
    stage.card_repository.rows[theirs.id] = replace(
        theirs, message_ts=MessageTs("9.0"), requested_at=START + timedelta(seconds=1)
    )
    stage.access.only_requesters = True
    async with stage.bot() as services:
        await asyncio.sleep(5)
        line = said(await services.cancel.cancel(theirs.id, theirs.channel, MessageTs("9.0"), GRACE))
        assert line == replies.not_yours() and stage.asking.cancelled == []
        assert await cancel(services) == ask_replies.cancelled()


async def test_database_down_calls_no_omni() -> None:
    stage = running_job()
    services = Services(stage)
    stage.card_repository.error = StoreUnavailable("away")
    assert await cancel(services) == replies.storage_down()
    assert stage.asking.cancelled == []


async def test_rate_limit_storage_down_is_rolled_back() -> None:
    stage = running_job()

    async def refuse(job: JobId) -> JobState:
        raise StoreUnavailable("away")

    stage.asking.cancel = refuse  # type: ignore[method-assign]
    async with stage.bot() as services:
        await asyncio.sleep(5)
        assert await cancel(services) == replies.storage_down()
    assert stage.card_repository.rows[CARD_ID].cancelled_by is None


@pytest.mark.parametrize("outcome", [JobState.CANCELLED, JobState.EXECUTING, OmniUnreachable("timeout")])
async def test_concurrent_clicks_are_one_request(outcome: JobState | OmniError) -> None:
    stage = running_job(ADA, GRACE)
    stage.asking.states[0] = outcome
    stage.asking.delay_seconds = 2.0
    async with stage.bot() as services:
        await asyncio.sleep(5)
        answers = await asyncio.gather(*(cancel(services, user) for user in (ADA, GRACE) for _ in range(50)))
    assert len(set(answers)) == 1
    assert stage.asking.cancelled == [JOB]
    assert stage.card_repository.writes.count("set_canceller") == (2 if isinstance(outcome, OmniError) else 1)


async def test_cancelled_click_leaves_the_request_running() -> None:
    stage = running_job()
    stage.asking.delay_seconds = 2.0
    async with stage.bot() as services:
        await asyncio.sleep(5)
        first, second = (asyncio.create_task(cancel(services)) for _ in range(2))
        await asyncio.sleep(1)
        first.cancel()
        assert await second == ask_replies.cancelled()
    assert stage.asking.cancelled == [JOB]


async def test_database_error_reaches_every_click() -> None:
    stage = running_job()

    async def refuse(job: JobId) -> JobState:
        await asyncio.sleep(1)
        raise StoreUnavailable("away")

    stage.asking.cancel = refuse  # type: ignore[method-assign]
    async with stage.bot() as services:
        await asyncio.sleep(5)
        answers = await asyncio.gather(*(cancel(services) for _ in range(3)))
    assert answers == [replies.storage_down()] * 3


async def test_later_click_calls_omni_again() -> None:
    stage = running_job()
    stage.asking.states[0] = JobState.EXECUTING
    async with stage.bot() as services:
        await asyncio.sleep(5)
        await cancel(services)
        await cancel(services)
    assert stage.asking.cancelled == [JOB, JOB]
