"""What people hear, in their own process, of what another one does for them: in virtual time."""

import asyncio
from dataclasses import replace

import pytest

from bot import lines
from bot.arrivals import Arrivals
from bot.desk import ARRIVES_WITHIN_SECONDS
from bot.errors import NotAllowedHere, StoreUnavailable, Unanswered
from bot.job import JobId
from bot.watch import ChannelId, Place, Ts, UserId, WatchId
from tests.fakes import ADA, GRACE, HERE, JOB, START, a_job, a_watch
from tests.test_follower import Stage
from tests.test_schedules import WATCH, a_desk, a_stage, direct

pytestmark = pytest.mark.looptime


async def nobody(_job: JobId) -> None:
    """No process follows the job."""


# A word that was lost between processes


async def test_a_card_that_came_without_a_word_speaks_for_itself() -> None:
    stage = Stage(a_job())
    async with stage.bot() as runner:
        elsewhere = Arrivals()
        desk = a_desk(stage, runner.start)
        desk._arrivals = elsewhere
        assert await desk.follow(str(JOB), HERE, ADA) is None
        assert asyncio.get_running_loop().time() == pytest.approx(ARRIVES_WITHIN_SECONDS, abs=1.0)
    assert len(stage.shown()) == 1


async def test_a_second_who_asks_hears_of_a_card_that_came_without_a_word() -> None:
    stage = Stage(a_job(), a_watch())
    desk = a_desk(stage, nobody)
    asking = asyncio.create_task(desk.follow(str(JOB), HERE, GRACE))
    await asyncio.sleep(5.0)
    async with stage.bot():
        line = await asking
    assert "here already" in (line or "")


def test_of_a_job_that_has_ended_nobody_is_promised_to_hear_how_it_ends() -> None:
    assert (
        lines.already_followed(None)
        == "This job has its card here already. You follow it, and are told how it ends."
    )
    assert lines.already_followed(None, has_ended=True) == "This job has its card here already."


async def test_a_card_that_did_not_come_in_time_is_told_to_be_late() -> None:
    stage = Stage(a_job())
    assert await a_desk(stage, nobody).follow(str(JOB), HERE, ADA) == lines.card_is_late()
    assert asyncio.get_running_loop().time() == pytest.approx(ARRIVES_WITHIN_SECONDS)


async def test_a_table_that_can_not_be_asked_in_the_end_is_told_too() -> None:
    stage = Stage(a_job())
    asking = asyncio.create_task(a_desk(stage, nobody).follow(str(JOB), HERE, ADA))
    await asyncio.sleep(5.0)
    stage.watches.error = StoreUnavailable("away")
    assert await asking == lines.storage_down()


# A card that nobody can confirm


async def test_a_card_left_unconfirmed_by_a_dead_process_is_told_in_direct_messages_and_given_up() -> None:
    tried = replace(a_watch(), followers=(ADA, GRACE), card_tried_at=START)
    stage, board = a_stage(tried)
    board.shows_history = False
    async with stage.bot():
        await asyncio.sleep(60)
    for person in (ADA, GRACE):
        (told,) = stage.shown(direct(person))
        assert "did not confirm the card" in told and JOB in told
    assert stage.shown(HERE) == []
    assert stage.watches.rows == {}
    assert stage.omni.asked != []


async def test_whoever_still_waits_for_an_unconfirmed_card_is_told_privately_and_not_in_direct_messages() -> (
    None
):
    stage, board = a_stage()
    board.shows_history = False
    board.plan("post", Unanswered("TimeoutError"))
    async with stage.bot() as runner:
        assert await a_desk(stage, runner.start).follow(str(JOB), HERE, ADA) == lines.unconfirmed_card()
    assert board.posted == {}
    assert stage.watches.rows == {}


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "unanswered"])
async def test_whoever_can_not_be_told_of_an_unconfirmed_card_holds_nothing_up(closed: bool) -> None:
    stage, board = a_stage(replace(a_watch(), followers=(ADA, GRACE), card_tried_at=START))
    board.shows_history = False
    if closed:
        board.closed.add(direct(ADA))
    else:
        board.plan("post", Unanswered("TimeoutError"))
    async with stage.bot():
        await asyncio.sleep(60)
    assert len(stage.shown(direct(GRACE))) == 1
    assert stage.shown(direct(ADA)) == []
    assert stage.watches.rows == {}


async def test_a_refused_direct_message_holds_nothing_up() -> None:
    stage, board = a_stage(replace(a_watch(), card_tried_at=START))
    board.shows_history = False
    board.plan("direct", NotAllowedHere("user_disabled"))
    async with stage.bot():
        await asyncio.sleep(60)
    assert board.posted == {}
    assert stage.watches.rows == {}


# Clicks


@pytest.mark.parametrize(
    "watch, place, card, person",
    [
        (WatchId("another"), HERE, Ts("1.0"), ADA),
        (WATCH, Place(HERE.team, ChannelId("C0ELSE")), Ts("1.0"), ADA),
        (WATCH, HERE, Ts("9.9"), ADA),
        (WATCH, HERE, Ts("1.0"), UserId("U0STRANGER")),
    ],
    ids=["another watch", "another place", "another card", "a stranger"],
)
async def test_a_click_that_does_not_fit_the_table_stops_nothing(
    watch: WatchId, place: Place, card: Ts, person: UserId
) -> None:
    stage = Stage(a_job(), a_watch())
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        before = stage.watches.rows[WATCH]
        line = await a_desk(stage, runner.start).stop_following(watch, place, card, person)
        assert stage.watches.rows[WATCH] == before
    assert line == lines.not_following()


async def test_a_click_on_a_card_that_is_over_stops_nothing() -> None:
    stage = Stage(a_job(), a_watch())
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        stage.watches.rows[WATCH] = replace(stage.watches.rows[WATCH], closed_at=START)
        desk = a_desk(stage, runner.start)
        assert await desk.stop_following(WATCH, HERE, Ts("1.0"), ADA) == lines.not_following()
    assert stage.watches.rows[WATCH].followers == (ADA,)
