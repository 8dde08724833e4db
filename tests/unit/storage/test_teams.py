"""Several workspaces on one database: no method of one team's repositories reads or changes another team's rows.

Only the other team has rows here. Every call with its ids must find nothing and change nothing.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from bot.domain.cards import Card, CardFailure, ChannelRef, FencingToken, MessageTs, ReplyKind, TeamId, UserId
from bot.domain.errors import OwnershipLost
from bot.domain.jobs import JobId, JobState
from bot.domain.ports.storage import CardRepository, FailedCardRepository, QuestionRepository
from bot.domain.questions import ModelId, PendingQuestion, QuestionId
from bot.storage.cards import SqlCardRepository
from bot.storage.questions import SqlQuestionRepository
from bot.storage.tables import metadata
from bot.storage.transactions import Transactions
from bot.storage.undelivered import SqlFailedCardRepository
from tests.support.databases import ADA, GRACE, HERE, JOB, NOON, OTHER_JOB, TEAM, Opened, new_card, taken_up

THEIRS = TeamId("T0THEIRS")
THERE = ChannelRef(THEIRS, HERE.id)
CARD, REPLY = MessageTs("1700000000.000100"), MessageTs("1700000000.000200")
THIRD_JOB = JobId("770e8400-e29b-41d4-a716-446655440000")
FOURTH_JOB = JobId("880e8400-e29b-41d4-a716-446655440000")
KIND = ReplyKind("answer 1")
MUCH_LATER = NOON + timedelta(days=99)


@dataclass(frozen=True)
class Neighbours:
    """Two workspaces, of which only one has rows."""

    process: Transactions
    cards: SqlCardRepository
    questions: SqlQuestionRepository
    failed_cards: SqlFailedCardRepository
    running: Card
    """The other team's card with a message and a reply that is being posted."""
    ended: Card
    """The other team's card of a failed job that is being retried."""
    unfollowed: Card
    """The other team's card without followers."""
    failed: Card
    """The other team's failed card, whose follower was not notified yet."""
    ask: PendingQuestion
    """The other team's pending question."""

    async def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        async with self.process.database.engine.begin() as connection:
            return {
                table.name: [tuple(row) for row in await connection.execute(select(table).order_by(*table.c))]
                for table in metadata.sorted_tables
            }


@pytest.fixture
async def neighbours(database: Opened) -> Neighbours:
    process = await database.process()
    theirs, their_asks = SqlCardRepository(process, THEIRS), SqlQuestionRepository(process, THEIRS)
    await theirs.add(new_card(THERE, ADA, GRACE))
    (running,) = await taken_up(theirs)
    await theirs.mark_post_started(running, NOON)
    await theirs.mark_posted(running.id, NOON, CARD, "look")
    running = replace(running, message_ts=CARD, post_started_at=NOON, shown_fingerprint="look")
    await theirs.mark_completion_reply_started(running, NOON)
    await theirs.mark_reply_started(running, KIND, NOON)
    await theirs.add(new_card(THERE, ADA, job=OTHER_JOB))
    (ended,) = await taken_up(theirs, OTHER_JOB)
    await theirs.close(ended, NOON, ended=True, outcome=JobState.FAILED)
    await theirs.add(new_card(THERE, ADA, job=THIRD_JOB))
    (unfollowed,) = await taken_up(theirs, THIRD_JOB)
    await theirs.unfollow(unfollowed.id, ADA)
    await theirs.add(new_card(THERE, ADA, job=FOURTH_JOB))
    (failed,) = await taken_up(theirs, FOURTH_JOB)
    await SqlFailedCardRepository(process, THEIRS).add(failed, CardFailure.NO_SUCH_JOB, NOON)
    ask = PendingQuestion(QuestionId("ask"), THERE, ADA, NOON, NOON, model=ModelId("model"))
    assert await their_asks.begin(ask)
    assert await their_asks.claim_retry(ask.id, ended.id, ADA)
    ours = (
        SqlCardRepository(process, TEAM),
        SqlQuestionRepository(process, TEAM),
        SqlFailedCardRepository(process, TEAM),
    )
    return Neighbours(process, *ours, running, ended, unfollowed, failed, ask)


CLAIM = FencingToken("mine")
LOST, REFUSED = "OwnershipLost", "ValueError"
Call = Callable[[Neighbours], Awaitable[object]]


async def _claimed(neighbours: Neighbours) -> object:
    return (await neighbours.cards.claim(JOB))[1]


async def _bound_to(neighbours: Neighbours) -> ChannelRef:
    return (await neighbours.questions.bind(neighbours.ask.id, new_card(HERE))).channel


CARDS: dict[str, tuple[Call, object]] = {
    "add": (lambda n: n.cards.add(n.running), REFUSED),
    "get": (lambda n: n.cards.get(n.running.id), None),
    "reload": (lambda n: n.cards.reload(n.running), None),
    "claim": (_claimed, []),
    "open_cards": (lambda n: n.cards.open_cards(JOB, CLAIM), []),
    "open_jobs": (lambda n: n.cards.open_jobs(), []),
    "followed_cards": (lambda n: n.cards.followed_cards(THEIRS, ADA), []),
    "ended_cards": (lambda n: n.cards.ended_cards(THEIRS, ADA, 9), []),
    "first_card": (lambda n: n.cards.first_card(JOB), None),
    "in_channel": (lambda n: n.cards.in_channel(JOB, THERE), None),
    "in_thread": (lambda n: n.cards.in_thread(THERE, CARD), []),
    "unfollow": (lambda n: n.cards.unfollow(n.running.id, GRACE), None),
    "mark_post_started": (lambda n: n.cards.mark_post_started(n.running, MUCH_LATER), LOST),
    "mark_posted": (lambda n: n.cards.mark_posted(n.running.id, NOON, REPLY, "other"), False),
    "mark_shown": (lambda n: n.cards.mark_shown(n.running, CARD, "other", outcome=JobState.FAILED), LOST),
    "mark_stale": (lambda n: n.cards.mark_stale(n.running.id, CARD), None),
    "mark_message_gone": (lambda n: n.cards.mark_message_gone(n.running.id, CARD), None),
    "leave_thread": (lambda n: n.cards.leave_thread(n.running), LOST),
    "set_canceller": (lambda n: n.cards.set_canceller(JOB, GRACE, instead_of=None), None),
    "mark_completion_reply_started": (lambda n: n.cards.mark_completion_reply_started(n.running, None), LOST),
    "mark_completion_reply_posted": (
        lambda n: n.cards.mark_completion_reply_posted(n.running.id, NOON, REPLY, None),
        False,
    ),
    "replies": (lambda n: n.cards.replies(n.running.id), {}),
    "mark_reply_started": (lambda n: n.cards.mark_reply_started(n.running, KIND, None), LOST),
    "mark_reply_posted": (lambda n: n.cards.mark_reply_posted(n.running.id, KIND, NOON, REPLY, None), False),
    "move": (lambda n: n.cards.move(n.running, [new_card(HERE)]), LOST),
    "forget_message": (lambda n: n.cards.forget_message(n.running.id, CARD), None),
    "resume": (lambda n: n.cards.resume(n.running.id, UserId("U0NEW"), MUCH_LATER), None),
    "close": (lambda n: n.cards.close(n.running, NOON, ended=True), LOST),
    "close_if_unfollowed": (lambda n: n.cards.close_if_unfollowed(n.unfollowed, NOON), LOST),
    "lost_jobs": (lambda n: n.cards.lost_jobs(MUCH_LATER), []),
    "settle_lost": (lambda n: n.cards.settle_lost(JOB, found=True), None),
    "remove": (lambda n: n.cards.remove(n.running), LOST),
    "delete_closed": (lambda n: n.cards.delete_closed(MUCH_LATER), 0),
}
FAILED_CARDS: dict[str, tuple[Call, object]] = {
    "add": (lambda n: n.failed_cards.add(n.running, CardFailure.NOWHERE, MUCH_LATER), LOST),
    "take_unreported": (lambda n: n.failed_cards.take_unreported(MUCH_LATER, MUCH_LATER), None),
    "mark_reported": (lambda n: n.failed_cards.mark_reported(n.failed.id, ADA), None),
}
QUESTIONS: dict[str, tuple[Call, object]] = {
    "begin": (lambda n: n.questions.begin(replace(n.ask, channel=HERE)), False),
    "claim_retry": (lambda n: n.questions.claim_retry(n.ask.id, n.running.id, ADA), False),
    "heartbeat": (lambda n: n.questions.heartbeat(n.ask.id, MUCH_LATER), False),
    "bind": (_bound_to, HERE),
    "rollback": (lambda n: n.questions.rollback(n.ask.id), None),
    "mark_reported": (lambda n: n.questions.mark_reported(n.ask.id), None),
    "interrupted": (lambda n: n.questions.interrupted(MUCH_LATER), []),
    "take_over": (lambda n: n.questions.take_over(n.ask, MUCH_LATER), False),
    "count": (lambda n: n.questions.count(THEIRS, ADA, NOON), 0),
    "last_model": (lambda n: n.questions.last_model(THEIRS, ADA), None),
    "delete_old": (lambda n: n.questions.delete_old(MUCH_LATER), 0),
}


TABLES: dict[str, tuple[type, dict[str, tuple[Call, object]]]] = {
    "cards": (CardRepository, CARDS),
    "failed cards": (FailedCardRepository, FAILED_CARDS),
    "questions": (QuestionRepository, QUESTIONS),
}


def test_every_method_is_called_here() -> None:
    for name, (protocol, calls) in TABLES.items():
        methods = {name for name, method in vars(protocol).items() if callable(method) and name[0] != "_"}
        assert set(calls) == methods, name


async def test_other_teams_rows_stay_unread_and_unchanged(neighbours: Neighbours) -> None:
    before = await neighbours.rows()
    wrong: dict[str, object] = {}
    for table, (_, calls) in TABLES.items():
        for method, (call, expected) in calls.items():
            found: object
            try:
                found = await call(neighbours)
            except (OwnershipLost, ValueError) as error:
                found = type(error).__name__
            if found != expected or await neighbours.rows() != before:
                wrong[f"{table}.{method}"] = found
    assert wrong == {}


async def test_channel_of_another_team_is_refused(neighbours: Neighbours) -> None:
    before = await neighbours.rows()
    strangers: list[Call] = [
        lambda n: n.cards.add(new_card(THERE)),
        lambda n: n.cards.move(n.running, [new_card(HERE), new_card(THERE)]),
        lambda n: n.questions.begin(replace(n.ask, id=QuestionId("new"))),
        lambda n: n.questions.bind(QuestionId("mine"), new_card(THERE)),
    ]
    for call in strangers:
        with pytest.raises(ValueError, match="not of T0ACME"):
            await call(neighbours)
    assert await neighbours.rows() == before


async def test_two_teams_follow_one_job_independently(neighbours: Neighbours) -> None:
    ours, theirs = neighbours.cards, SqlCardRepository(neighbours.process, THEIRS)
    mine = await ours.add(new_card(HERE, ADA))
    (taken,) = await taken_up(ours)
    assert taken.id == mine.id and await ours.open_jobs() == [JOB]
    await ours.set_canceller(JOB, ADA, instead_of=None)
    await ours.close(taken, NOON)
    (still,) = await theirs.open_cards(JOB, neighbours.running.token or CLAIM)
    assert still.id == neighbours.running.id and still.cancelled_by is None
    assert await ours.open_jobs() == [] and await theirs.open_jobs() == [JOB, THIRD_JOB]
    await ours.delete_closed(MUCH_LATER)
    assert await ours.get(mine.id) is None and await theirs.get(neighbours.ended.id) is not None
