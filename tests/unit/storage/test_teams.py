"""Several workspaces on one database: no method of one team's tables reads or changes what is another's.

Only the other team has rows here. So whatever its neighbour calls, with ids and places as wrong as they can be, must
find nothing and leave every row as it was.
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
from tests.support.databases import ADA, GRACE, HERE, JOB, NOON, OTHER_JOB, TEAM, Opened, taken_up, watch

THEIRS = TeamId("T0THEIRS")
THERE = ChannelRef(THEIRS, HERE.id)
CARD, REPLY = MessageTs("1700000000.000100"), MessageTs("1700000000.000200")
THIRD_JOB = JobId("770e8400-e29b-41d4-a716-446655440000")
FOURTH_JOB = JobId("880e8400-e29b-41d4-a716-446655440000")
SLOT = ReplyKind("answer 1")
MUCH_LATER = NOON + timedelta(days=99)


@dataclass(frozen=True)
class Neighbours:
    """Two workspaces, of which only one has rows."""

    process: Transactions
    watches: SqlCardRepository
    asks: SqlQuestionRepository
    given_ups: SqlFailedCardRepository
    running: Card
    """The other team's: followed, with a card and with a reply that is on its way."""
    ended: Card
    """The other team's: its job has failed, and it is being retried."""
    deserted: Card
    """The other team's: nobody follows it any more."""
    given_up: Card
    """The other team's: it gets no card, and its follower has not heard so yet."""
    ask: PendingQuestion
    """The other team's: in hand."""

    async def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        async with self.process.begin() as connection:
            return {
                table.name: [tuple(row) for row in await connection.execute(select(table).order_by(*table.c))]
                for table in metadata.sorted_tables
            }


@pytest.fixture
async def neighbours(database: Opened) -> Neighbours:
    process = await database.process()
    theirs, their_asks = SqlCardRepository(process, THEIRS), SqlQuestionRepository(process, THEIRS)
    await theirs.add(watch(THERE, ADA, GRACE))
    (running,) = await taken_up(theirs)
    await theirs.mark_post_started(running, NOON)
    await theirs.mark_posted(running.id, NOON, CARD, "look")
    running = replace(running, message_ts=CARD, post_started_at=NOON, shown_fingerprint="look")
    await theirs.mark_completion_reply_started(running, NOON)
    await theirs.mark_reply_started(running, SLOT, NOON)
    await theirs.add(watch(THERE, ADA, job=OTHER_JOB))
    (ended,) = await taken_up(theirs, OTHER_JOB)
    await theirs.close(ended, NOON, ended=True, outcome=JobState.FAILED)
    await theirs.add(watch(THERE, ADA, job=THIRD_JOB))
    (deserted,) = await taken_up(theirs, THIRD_JOB)
    await theirs.unfollow(deserted.id, ADA)
    await theirs.add(watch(THERE, ADA, job=FOURTH_JOB))
    (given_up,) = await taken_up(theirs, FOURTH_JOB)
    await SqlFailedCardRepository(process, THEIRS).add(given_up, CardFailure.NO_SUCH_JOB, NOON)
    ask = PendingQuestion(QuestionId("ask"), THERE, ADA, NOON, NOON, model=ModelId("model"))
    assert await their_asks.begin(ask)
    assert await their_asks.claim_retry(ask.id, ended.id, ADA)
    ours = (
        SqlCardRepository(process, TEAM),
        SqlQuestionRepository(process, TEAM),
        SqlFailedCardRepository(process, TEAM),
    )
    return Neighbours(process, *ours, running, ended, deserted, given_up, ask)


CLAIM = FencingToken("mine")
LOST, REFUSED = "ClaimLost", "ValueError"
Call = Callable[[Neighbours], Awaitable[object]]


async def _watches_claimed(neighbours: Neighbours) -> object:
    return (await neighbours.watches.claim(JOB))[1]


async def _bound_to(neighbours: Neighbours) -> ChannelRef:
    return (await neighbours.asks.bind(neighbours.ask.id, watch(HERE))).channel


WATCHES: dict[str, tuple[Call, object]] = {
    "add": (lambda n: n.watches.add(n.running), REFUSED),
    "get": (lambda n: n.watches.get(n.running.id), None),
    "newest": (lambda n: n.watches.reload(n.running), None),
    "claim": (_watches_claimed, []),
    "open_watches": (lambda n: n.watches.open_cards(JOB, CLAIM), []),
    "open_jobs": (lambda n: n.watches.open_jobs(), []),
    "open_watches_of": (lambda n: n.watches.followed_cards(THEIRS, ADA), []),
    "ended_watches_of": (lambda n: n.watches.ended_cards(THEIRS, ADA, 9), []),
    "first_of": (lambda n: n.watches.first_card(JOB), None),
    "in_thread": (lambda n: n.watches.in_thread(THERE, CARD), []),
    "unfollow": (lambda n: n.watches.unfollow(n.running.id, GRACE), None),
    "card_tried": (lambda n: n.watches.mark_post_started(n.running, MUCH_LATER), LOST),
    "card_posted": (lambda n: n.watches.mark_posted(n.running.id, NOON, REPLY, "other"), False),
    "card_shows": (lambda n: n.watches.mark_shown(n.running, CARD, "other", ended=True), LOST),
    "doubt_last_look": (lambda n: n.watches.mark_stale(n.running.id, CARD), None),
    "card_is_gone": (lambda n: n.watches.mark_message_gone(n.running.id, CARD), None),
    "leave_thread": (lambda n: n.watches.leave_thread(n.running), LOST),
    "set_canceller": (lambda n: n.watches.set_canceller(JOB, GRACE, instead_of=None), None),
    "notice_tried": (lambda n: n.watches.mark_completion_reply_started(n.running, None), LOST),
    "notice_posted": (
        lambda n: n.watches.mark_completion_reply_posted(n.running.id, NOON, REPLY, None),
        False,
    ),
    "replies": (lambda n: n.watches.replies(n.running.id), {}),
    "reply_tried": (lambda n: n.watches.mark_reply_started(n.running, SLOT, None), LOST),
    "reply_posted": (lambda n: n.watches.mark_reply_posted(n.running.id, SLOT, NOON, REPLY, None), False),
    "move": (lambda n: n.watches.move(n.running, [watch(HERE)]), LOST),
    "start_over": (lambda n: n.watches.forget_message(n.running.id, CARD), None),
    "resume": (lambda n: n.watches.resume(n.running.id, UserId("U0NEW"), MUCH_LATER), None),
    "close": (lambda n: n.watches.close(n.running, NOON, ended=True), LOST),
    "close_if_deserted": (lambda n: n.watches.close_if_unfollowed(n.deserted, NOON), LOST),
    "remove": (lambda n: n.watches.remove(n.running), LOST),
    "forget_closed": (lambda n: n.watches.delete_closed(MUCH_LATER), 0),
}
GIVEN_UPS: dict[str, tuple[Call, object]] = {
    "give_up": (lambda n: n.given_ups.add(n.running, CardFailure.NOWHERE, MUCH_LATER), LOST),
    "left": (lambda n: n.given_ups.pending(MUCH_LATER), []),
    "telling": (lambda n: n.given_ups.mark_reporting(n.given_up, MUCH_LATER), None),
    "told": (lambda n: n.given_ups.mark_reported(n.given_up.id, ADA), None),
}
ASKS: dict[str, tuple[Call, object]] = {
    "begin": (lambda n: n.asks.begin(replace(n.ask, place=HERE)), False),
    "retries": (lambda n: n.asks.claim_retry(n.ask.id, n.running.id, ADA), False),
    "touch": (lambda n: n.asks.heartbeat(n.ask.id, MUCH_LATER), False),
    "bind": (_bound_to, HERE),
    "withdraw": (lambda n: n.asks.rollback(n.ask.id), None),
    "told": (lambda n: n.asks.mark_reported(n.ask.id), None),
    "orphans": (lambda n: n.asks.interrupted(MUCH_LATER), []),
    "take_over": (lambda n: n.asks.take_over(n.ask, MUCH_LATER), False),
    "count": (lambda n: n.asks.count(THEIRS, ADA, NOON), 0),
    "last_model": (lambda n: n.asks.last_model(THEIRS, ADA), None),
    "forget_asks": (lambda n: n.asks.delete_old(MUCH_LATER), 0),
}


TABLES: dict[str, tuple[type, dict[str, tuple[Call, object]]]] = {
    "watches": (CardRepository, WATCHES),
    "given ups": (FailedCardRepository, GIVEN_UPS),
    "asks": (QuestionRepository, ASKS),
}


@pytest.mark.parametrize("protocol, calls", TABLES.values(), ids=TABLES.keys())
def test_every_method_is_tried_here(protocol: type, calls: dict[str, object]) -> None:
    methods = {name for name, method in vars(protocol).items() if callable(method) and name[0] != "_"}
    assert set(calls) == methods


@pytest.mark.parametrize("table, method", [(name, m) for name, (_, calls) in TABLES.items() for m in calls])
async def test_nothing_of_another_team_is_read_or_changed(
    neighbours: Neighbours, table: str, method: str
) -> None:
    call, expected = TABLES[table][1][method]
    before = await neighbours.rows()
    found: object
    try:
        found = await call(neighbours)
    except (OwnershipLost, ValueError) as error:
        found = type(error).__name__
    assert found == expected
    assert await neighbours.rows() == before


async def test_a_place_of_another_team_is_refused_wherever_it_comes_in(neighbours: Neighbours) -> None:
    before = await neighbours.rows()
    strangers: list[Call] = [
        lambda n: n.watches.add(watch(THERE)),
        lambda n: n.watches.move(n.running, [watch(HERE), watch(THERE)]),
        lambda n: n.asks.begin(replace(n.ask, id=QuestionId("new"))),
        lambda n: n.asks.bind(QuestionId("mine"), watch(THERE)),
    ]
    for call in strangers:
        with pytest.raises(ValueError, match="not of T0ACME"):
            await call(neighbours)
    assert await neighbours.rows() == before


async def test_two_teams_follow_one_job_each_for_itself(neighbours: Neighbours) -> None:
    ours, theirs = neighbours.watches, SqlCardRepository(neighbours.process, THEIRS)
    mine = await ours.add(watch(HERE, ADA))
    (taken,) = await taken_up(ours)
    assert taken.id == mine.id and await ours.open_jobs() == [JOB]
    await ours.set_canceller(JOB, ADA, instead_of=None)
    await ours.close(taken, NOON)
    (still,) = await theirs.open_cards(JOB, neighbours.running.token or CLAIM)
    assert still.id == neighbours.running.id and still.cancelled_by is None
    assert await ours.open_jobs() == [] and await theirs.open_jobs() == [JOB, THIRD_JOB]
    await ours.delete_closed(MUCH_LATER)
    assert await ours.get(mine.id) is None and await theirs.get(neighbours.ended.id) is not None
