"""Who is told that there is no card for them, and when: first told, and forgotten only then."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs

from bot.delivery.direct_messages import UNHEARD_AFTER, report_failed_cards
from bot.domain.cards import Card, CardFailure, ChannelId, ChannelRef, UserId
from bot.domain.errors import (
    NotAllowedHere,
    OutcomeUnknown,
    PayloadRefused,
    SlackError,
    SlackUnreachable,
    StoreUnavailable,
)
from bot.rendering import replies
from bot.tracking.recovery import SWEEP_SECONDS, sweep_given_ups
from tests.support.fakes import (
    ADA,
    GRACE,
    HERE,
    JOB,
    START,
    FakeBoard,
    FakeGivenUps,
    FakeWatches,
    a_watch,
    now,
)

pytestmark = pytest.mark.looptime

LATER = START + UNHEARD_AFTER + timedelta(seconds=1)


class Left:
    """A watch that was given up, and whom its process has not told."""

    def __init__(self, *followers: UserId, why: CardFailure = CardFailure.NO_SUCH_JOB) -> None:
        self.watches = FakeWatches(
            replace(a_watch(), followers=followers or (ADA,), closed_at=START, failure=why)
        )
        self.given_ups = FakeGivenUps(self.watches)
        self.board = FakeBoard()

    @property
    def row(self) -> Card:
        (row,) = self.watches.rows.values()
        return row

    async def look(self, at: datetime = LATER, *, alone_since: datetime | None = None) -> None:
        await report_failed_cards(self.given_ups, self.board, lambda: at, alone_since=alone_since)

    @contextmanager
    def unable_to_tell(self, person: UserId, error: SlackError) -> Iterator[None]:
        """Slack opens no direct message with that person, and says why."""
        direct_of = self.board.open_dm

        async def refused(channel: ChannelRef, user: UserId) -> ChannelRef:
            if user == person:
                raise error
            return await direct_of(channel, user)

        with patch.object(self.board, "open_dm", refused):
            yield

    def told(self) -> list[tuple[ChannelRef, str]]:
        return [(posted.place, posted.message.text) for posted in self.board.posted.values()]


def direct(user: UserId) -> ChannelRef:
    return ChannelRef(HERE.team, ChannelId(f"D{user}"))


@pytest.mark.parametrize("why", CardFailure)
async def test_each_follower_is_told_in_direct_messages_which_job_it_is_of_and_the_watch_is_forgotten(
    why: CardFailure,
) -> None:
    left = Left(ADA, GRACE, why=why)
    await left.look()
    line = replies.card_failed(why, JOB)
    assert JOB in line
    assert left.told() == [(direct(ADA), line), (direct(GRACE), line)]
    assert left.watches.rows == {}


async def test_whoever_may_still_be_told_by_the_process_they_asked_is_left_to_it() -> None:
    left = Left()
    await left.look(START + UNHEARD_AFTER)
    assert left.told() == []
    assert left.row.followers == (ADA,)


async def test_a_process_that_is_alone_tells_at_once_what_the_one_before_it_left() -> None:
    left = Left()
    started = START + timedelta(seconds=5)
    await left.look(started, alone_since=START)
    assert left.told() == []
    await left.look(started, alone_since=started)
    assert len(left.told()) == 1


async def test_of_two_processes_one_tells() -> None:
    left = Left()
    await asyncio.gather(left.look(), left.look(LATER + timedelta(seconds=1)))
    assert len(left.told()) == 1


async def test_who_certainly_was_not_told_is_told_later_and_the_others_not_again() -> None:
    left = Left(ADA, GRACE)
    with left.unable_to_tell(GRACE, SlackUnreachable("http_503")):
        await left.look()
    assert [place for place, _ in left.told()] == [direct(ADA)]
    assert left.row.followers == (GRACE,)
    await left.look(LATER + UNHEARD_AFTER)
    assert [place for place, _ in left.told()] == [direct(ADA)]
    await left.look(LATER + UNHEARD_AFTER + timedelta(seconds=1))
    assert [place for place, _ in left.told()] == [direct(ADA), direct(GRACE)]
    assert left.watches.rows == {}


@pytest.mark.parametrize("arrives", [True, False], ids=["arrived", "lost"])
async def test_unanswered_line_is_looked_for_before_it_is_repeated(arrives: bool) -> None:
    left = Left(ADA, GRACE)
    left.board.plan("post", OutcomeUnknown("internal_error"), after_effect=arrives)
    with capture_logs() as logged:
        await left.look()
    assert [entry["user"] for entry in logged if entry["event"] == "card failure reported"] == [GRACE]
    assert left.row.followers == (ADA,)
    await left.look(LATER + UNHEARD_AFTER + timedelta(seconds=1))
    assert len(left.told()) == 2
    assert {place for place, _ in left.told()} == {direct(ADA), direct(GRACE)}
    assert left.watches.rows == {}


async def test_follower_of_a_follow_given_up_twice_is_notified_twice() -> None:
    left = Left(ADA, GRACE)
    with left.unable_to_tell(GRACE, SlackUnreachable("http_503")):
        await left.look()
    await left.watches.add(a_watch("again"))
    _, (mine,) = await left.watches.claim(JOB)
    await left.given_ups.add(mine, CardFailure.KEY_REFUSED, LATER)
    await left.look(LATER + UNHEARD_AFTER + timedelta(seconds=1))
    assert [place for place, _ in left.told()].count(direct(ADA)) == 2


async def test_one_who_can_never_be_told_keeps_the_word_from_nobody() -> None:
    left = Left(ADA, GRACE)
    with left.unable_to_tell(ADA, PayloadRefused("invalid_user_combination")):
        await left.look()
    assert [place for place, _ in left.told()] == [direct(GRACE)]
    assert left.row.followers == (ADA,)


async def test_who_was_told_in_answer_meanwhile_is_not_told_again() -> None:
    left = Left(ADA, GRACE)
    (found,) = await left.given_ups.pending(LATER)
    await left.given_ups.mark_reported(found.id, ADA)
    mine = await left.given_ups.mark_reporting(found, LATER)
    assert mine is not None and mine.followers == (GRACE,)


async def test_what_was_given_up_again_since_is_left_to_who_is_waited_for() -> None:
    left = Left()
    (found,) = await left.given_ups.pending(LATER)
    await left.watches.add(a_watch("again"))
    _, (mine,) = await left.watches.claim(JOB)
    await left.given_ups.add(mine, CardFailure.KEY_REFUSED, LATER)
    assert await left.given_ups.mark_reporting(found, LATER) is None


async def test_what_nobody_follows_any_more_is_forgotten_as_it_is_given_up() -> None:
    cards = FakeWatches(a_watch())
    _, (mine,) = await cards.claim(JOB)
    await cards.unfollow(mine.id, ADA)
    await FakeGivenUps(cards).add(mine, CardFailure.NOWHERE, START)
    assert cards.rows == {}


async def test_whose_direct_messages_are_closed_is_forgotten() -> None:
    left = Left()
    left.board.plan("direct", NotAllowedHere("user_disabled"))
    await left.look()
    assert left.told() == []
    assert left.watches.rows == {}


async def test_who_asks_again_meanwhile_is_not_told_that_nothing_came_of_it() -> None:
    left = Left()
    (found,) = await left.given_ups.pending(LATER)
    await left.watches.add(a_watch("another"))
    assert not await left.given_ups.mark_reporting(found, LATER)
    await left.look()
    assert left.told() == []
    assert left.row.followers == (ADA,)


async def test_the_sweep_goes_on_though_the_database_was_away() -> None:
    left = Left()
    left.watches.error = StoreUnavailable("away")
    task = asyncio.create_task(sweep_given_ups(left.given_ups, left.board, now))
    await asyncio.sleep(5 * SWEEP_SECONDS)
    assert left.told() == []
    left.watches.error = None
    await asyncio.sleep(SWEEP_SECONDS)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(left.told()) == 1
