"""Direct messages about cards that could not be posted: each follower gets one, unless a command replied."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs

from bot.delivery.direct_messages import REPORT_FAILURE_AFTER, report_failed_cards
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
from bot.tracking.recovery import SWEEP_SECONDS, sweep_failed_cards
from tests.support.fakes import (
    ADA,
    GRACE,
    HERE,
    JOB,
    START,
    FakeCards,
    FakeFailedCards,
    FakeSlackMessages,
    a_card,
    now,
)

pytestmark = pytest.mark.looptime

LATER = START + REPORT_FAILURE_AFTER + timedelta(seconds=1)


class FailedCard:
    """A card that could not be posted, and whose followers got no reply."""

    def __init__(self, *followers: UserId, why: CardFailure = CardFailure.NO_SUCH_JOB) -> None:
        self.card_repository = FakeCards(
            replace(a_card(), followers=followers or (ADA,), closed_at=START, failure=why)
        )
        self.failed_cards = FakeFailedCards(self.card_repository)
        self.fake_slack = FakeSlackMessages()

    @property
    def row(self) -> Card:
        (row,) = self.card_repository.rows.values()
        return row

    async def report(self, at: datetime = LATER, *, alone_since: datetime | None = None) -> None:
        await report_failed_cards(self.failed_cards, self.fake_slack, lambda: at, alone_since=alone_since)

    @contextmanager
    def unreachable(self, person: UserId, error: SlackError) -> Iterator[None]:
        """Slack opens no direct message with that user, and says why."""
        direct_of = self.fake_slack.open_dm

        async def refused(channel: ChannelRef, user: UserId) -> ChannelRef:
            if user == person:
                raise error
            return await direct_of(channel, user)

        with patch.object(self.fake_slack, "open_dm", refused):
            yield

    def sent(self) -> list[tuple[ChannelRef, str]]:
        return [(posted.place, posted.message.text) for posted in self.fake_slack.posted.values()]


def direct(user: UserId) -> ChannelRef:
    return ChannelRef(HERE.team, ChannelId(f"D{user}"))


@pytest.mark.parametrize("why", CardFailure)
async def test_each_follower_gets_one_direct_message(
    why: CardFailure,
) -> None:
    failed = FailedCard(ADA, GRACE, why=why)
    await failed.report()
    line = replies.card_failed(why, JOB)
    assert JOB in line
    assert failed.sent() == [(direct(ADA), line), (direct(GRACE), line)]
    assert failed.card_repository.rows == {}


async def test_command_has_time_to_reply_first() -> None:
    failed = FailedCard()
    await failed.report(START + REPORT_FAILURE_AFTER)
    assert failed.sent() == []
    assert failed.row.followers == (ADA,)


async def test_only_process_reports_failures_before_its_start_at_once() -> None:
    failed = FailedCard()
    started = START + timedelta(seconds=5)
    await failed.report(started, alone_since=START)
    assert failed.sent() == []
    await failed.report(started, alone_since=started)
    assert len(failed.sent()) == 1


async def test_one_of_two_processes_reports() -> None:
    failed = FailedCard()
    await asyncio.gather(failed.report(), failed.report(LATER + timedelta(seconds=1)))
    assert len(failed.sent()) == 1


async def test_failed_message_is_repeated_for_its_user_only() -> None:
    failed = FailedCard(ADA, GRACE)
    with failed.unreachable(GRACE, SlackUnreachable("http_503")):
        await failed.report()
    assert [place for place, _ in failed.sent()] == [direct(ADA)]
    assert failed.row.followers == (GRACE,)
    await failed.report(LATER + REPORT_FAILURE_AFTER)
    assert [place for place, _ in failed.sent()] == [direct(ADA)]
    await failed.report(LATER + REPORT_FAILURE_AFTER + timedelta(seconds=1))
    assert [place for place, _ in failed.sent()] == [direct(ADA), direct(GRACE)]
    assert failed.card_repository.rows == {}


@pytest.mark.parametrize("arrives", [True, False], ids=["arrived", "lost"])
async def test_unanswered_message_is_looked_for_before_it_is_repeated(arrives: bool) -> None:
    failed = FailedCard(ADA, GRACE)
    failed.fake_slack.plan("post", OutcomeUnknown("internal_error"), after_effect=arrives)
    with capture_logs() as logged:
        await failed.report()
    assert [entry["user"] for entry in logged if entry["event"] == "card failure reported"] == [GRACE]
    assert failed.row.followers == (ADA,)
    await failed.report(LATER + REPORT_FAILURE_AFTER + timedelta(seconds=1))
    assert len(failed.sent()) == 2
    assert {place for place, _ in failed.sent()} == {direct(ADA), direct(GRACE)}
    assert failed.card_repository.rows == {}


async def test_second_failure_of_a_card_is_reported_again() -> None:
    failed = FailedCard(ADA, GRACE)
    with failed.unreachable(GRACE, SlackUnreachable("http_503")):
        await failed.report()
    await failed.card_repository.add(a_card("again"))
    _, (mine,) = await failed.card_repository.claim(JOB)
    await failed.failed_cards.add(mine, CardFailure.KEY_REFUSED, LATER)
    await failed.report(LATER + REPORT_FAILURE_AFTER + timedelta(seconds=1))
    assert [place for place, _ in failed.sent()].count(direct(ADA)) == 2


async def test_unreachable_follower_does_not_hold_up_the_others() -> None:
    failed = FailedCard(ADA, GRACE)
    with failed.unreachable(ADA, PayloadRefused("invalid_user_combination")):
        await failed.report()
    assert [place for place, _ in failed.sent()] == [direct(GRACE)]
    assert failed.row.followers == (ADA,)


async def test_user_who_got_a_reply_gets_no_direct_message() -> None:
    failed = FailedCard(ADA, GRACE)
    await failed.failed_cards.mark_reported(failed.row.id, ADA)
    await failed.report()
    assert [place for place, _ in failed.sent()] == [direct(GRACE)]


async def test_new_failure_waits_for_its_own_commands() -> None:
    failed = FailedCard()
    await failed.card_repository.add(a_card("again"))
    _, (mine,) = await failed.card_repository.claim(JOB)
    await failed.failed_cards.add(mine, CardFailure.KEY_REFUSED, LATER)
    await failed.report(LATER + REPORT_FAILURE_AFTER)
    assert failed.sent() == []


async def test_failed_card_without_followers_is_deleted() -> None:
    cards = FakeCards(a_card())
    _, (mine,) = await cards.claim(JOB)
    await cards.unfollow(mine.id, ADA)
    await FakeFailedCards(cards).add(mine, CardFailure.NOWHERE, START)
    assert cards.rows == {}


async def test_follower_with_closed_direct_messages_is_forgotten() -> None:
    failed = FailedCard()
    failed.fake_slack.plan("direct", NotAllowedHere("user_disabled"))
    await failed.report()
    assert failed.sent() == []
    assert failed.card_repository.rows == {}


async def test_card_that_is_followed_again_is_not_reported() -> None:
    failed = FailedCard()
    await failed.card_repository.add(a_card("another"))
    await failed.report()
    assert failed.sent() == []
    assert failed.row.followers == (ADA,)


async def test_sweep_goes_on_after_a_database_outage() -> None:
    failed = FailedCard()
    failed.card_repository.error = StoreUnavailable("away")
    task = asyncio.create_task(sweep_failed_cards(failed.failed_cards, failed.fake_slack, now))
    await asyncio.sleep(5 * SWEEP_SECONDS)
    assert failed.sent() == []
    failed.card_repository.error = None
    await asyncio.sleep(SWEEP_SECONDS)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(failed.sent()) == 1
