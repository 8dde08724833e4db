"""Whatever is done in whatever order, both stores in SQL hold what the table in memory holds."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain.cards import (
    Card,
    CardFailure,
    CardId,
    ChannelId,
    ChannelRef,
    FencingToken,
    MessageTs,
    ReplyKind,
    UserId,
    ending,
)
from bot.domain.errors import CardChanged, OwnershipLost
from bot.domain.jobs import JobId, JobState
from bot.domain.ports.storage import CardRepository, QuestionRepository
from bot.domain.questions import ModelId, PendingQuestion, QuestionId
from bot.storage.questions import SqlQuestionRepository
from tests.support.databases import (
    ADA,
    GRACE,
    HERE,
    JOB,
    LINUS,
    NOON,
    OTHER_JOB,
    TEAM,
    THERE,
    empty,
    failed_cards_of,
    new_card,
    opened,
)
from tests.support.fakes import FakeCards, FakeQuestions

NOTHING = new_card(name="nothing")
ELSEWHERE = ChannelRef(TEAM, ChannelId("D0ELSE"))
ACTIONS = [
    *("add", "add", "unfollow", "take up", "take up", "resume", "restart", "forget"),
    *("card tried", "card posted", "card shows", "card gone", "start over", "notice tried", "notice posted"),
    *("end begins", "card shows the end", "last look doubted", "reply tried", "reply tried", "reply posted"),
    *("add in a thread", "leave thread", "cancel", "cancel undone", "close ended"),
    *(
        "move",
        "close",
        "close if deserted",
        "remove",
        "give up",
        "report",
        "told",
        "move and leave the card",
    ),
    *("close lost", "close lost", "lost job found", "lost job not found"),
]
SEQUENCES = st.lists(
    st.tuples(
        st.sampled_from(ACTIONS),
        st.integers(0, 7),
        st.sampled_from([HERE, THERE]),
        st.sampled_from([JOB, OTHER_JOB]),
        st.sampled_from([ADA, GRACE, LINUS]),
    ),
    max_size=40,
)
Call = Callable[[CardRepository, Card], Awaitable[object]]


@dataclass
class Pair:
    """A store and the table in memory beside it, to which the same is done."""

    store: CardRepository
    model: FakeCards = field(default_factory=FakeCards)
    claims: dict[FencingToken, str] = field(default_factory=dict)
    """What each claim of either is called in both."""
    held: list[tuple[Card, Card]] = field(default_factory=lambda: [(NOTHING, NOTHING)])
    """What follows have read, of both, and may still rely on."""

    async def do(self, call: Call, which: int = 1) -> None:
        """Do the same to both and see that the same comes of it; `which`: with what a follow read how long ago."""
        real, modelled = self.held[-min(which, len(self.held))]
        assert await self._outcome(call(self.store, real)) == await self._outcome(call(self.model, modelled))

    async def take_up(self, job: JobId) -> None:
        taken = [await self.store.claim(job), await self.model.claim(job)]
        for claim, _ in taken:
            self.claims[claim] = f"claim {len(self.claims) // 2}"
        found = [cards for _, cards in taken]
        assert self._plain(found[0]) == self._plain(found[1])
        assert self._plain(await self.store.open_cards(job, taken[0][0])) == self._plain(found[0])
        self.held += zip(*found, strict=True)

    async def make_sure(self) -> None:
        """See that both hold the same."""
        for id_ in {read.id for read, _ in self.held} | self.model.rows.keys():
            assert self._plain(await self.store.get(id_)) == self._plain(await self.model.get(id_))
            assert await self.store.replies(id_) == await self.model.replies(id_)
        assert await self.store.open_jobs() == await self.model.open_jobs()
        before = NOON + timedelta(minutes=10)
        assert await self.store.lost_jobs(before) == await self.model.lost_jobs(before)
        for person in (ADA, GRACE, LINUS):
            found = await self.store.followed_cards(TEAM, person)
            assert self._plain(found) == self._plain(await self.model.followed_cards(TEAM, person))
            found = await self.store.ended_cards(TEAM, person, 3)
            assert self._plain(found) == self._plain(await self.model.ended_cards(TEAM, person, 3))
        for place, thread in ((HERE, MessageTs("0.0")), (THERE, MessageTs("0.0")), (HERE, MessageTs("1.0"))):
            found = await self.store.in_thread(place, thread)
            assert self._plain(found) == self._plain(await self.model.in_thread(place, thread))

    async def _outcome(self, call: Awaitable[object]) -> object:
        try:
            return self._plain(await call)
        except (OwnershipLost, CardChanged) as error:
            return type(error).__name__

    def _plain(self, value: object) -> object:
        if isinstance(value, Card):
            endings = {ending(claim): f"ending {name}" for claim, name in self.claims.items()}
            shown = endings.get(value.shown_fingerprint, value.shown_fingerprint)
            return replace(
                value,
                token=FencingToken(self.claims[value.token]) if value.token else None,
                shown_fingerprint=shown,
            )
        return [self._plain(one) for one in value] if isinstance(value, list) else value


async def act(pair: Pair, action: str, which: int, new: Card) -> None:
    """Do one thing to both tables. `new` is what there is to add, at the time that it is."""
    at, person, ts = new.requested_at, new.requester, MessageTs(f"{which}.0")
    ids = [*pair.model.rows, NOTHING.id]
    id_ = ids[which % len(ids)]
    row = pair.model.rows.get(id_, NOTHING)
    slot = ReplyKind(str(which % 2))
    reply = pair.model.threads.get(id_, {}).get(slot)
    begun = reply.started_at if reply else at
    calls: dict[str, Call] = {
        "add": lambda table, _: table.add(new),
        "unfollow": lambda table, _: table.unfollow(id_, person),
        "resume": lambda table, _: table.resume(id_, person, at),
        "forget": lambda table, _: table.delete_closed(at - timedelta(minutes=5)),
        "card tried": lambda table, mine: table.mark_post_started(mine, at if which % 3 else None),
        "card posted": lambda table, _: table.mark_posted(id_, row.post_started_at or at, ts, "look"),
        "card shows": lambda table, mine: table.mark_shown(mine, row.message_ts or ts, f"look {which}"),
        "end begins": lambda table, mine: table.mark_shown(
            mine, row.message_ts or ts, None, outcome=JobState.FAILED
        ),
        "card shows the end": lambda table, mine: table.mark_shown(
            mine, row.message_ts or ts, "end", outcome=JobState.FAILED
        ),
        "last look doubted": lambda table, _: table.mark_stale(id_, row.message_ts or ts),
        "card gone": lambda table, _: table.mark_message_gone(id_, row.message_ts or ts),
        "start over": lambda table, _: table.forget_message(id_, row.message_ts or ts),
        "notice tried": lambda table, mine: table.mark_completion_reply_started(
            mine, at if which % 3 else None
        ),
        "notice posted": lambda table, _: table.mark_completion_reply_posted(
            id_, row.completion_reply_started_at or at, ts, None
        ),
        "reply tried": lambda table, mine: table.mark_reply_started(mine, slot, at if which % 3 else None),
        "reply posted": lambda table, _: table.mark_reply_posted(id_, slot, begun, ts, None),
        "move": lambda table, mine: table.move(
            mine, [new, replace(new, channel=THERE, id=CardId(new.id[:30]))]
        ),
        "move and leave the card": lambda table, mine: table.move(
            mine, [replace(new, channel=ELSEWHERE)], left_at=at
        ),
        "add in a thread": lambda table, _: table.add(
            replace(new, thread=MessageTs("0.0"), asked_by_bot=True)
        ),
        "leave thread": lambda table, mine: table.leave_thread(mine),
        "cancel": lambda table, _: table.set_canceller(new.job, person, instead_of=None),
        "cancel undone": lambda table, _: table.set_canceller(new.job, None, instead_of=person),
        "close ended": lambda table, mine: table.close(mine, at, ended=True, outcome=JobState.FAILED),
        "close": lambda table, mine: table.close(mine, at),
        "close lost": lambda table, mine: table.close(mine, at, outcome=JobState.UNKNOWN),
        "lost job found": lambda table, _: table.settle_lost(new.job, found=True),
        "lost job not found": lambda table, _: table.settle_lost(new.job, found=False),
        "close if deserted": lambda table, mine: table.close_if_unfollowed(mine, at),
        "remove": lambda table, mine: table.remove(mine),
        "give up": lambda table, mine: failed_cards_of(table).add(mine, CardFailure.NOWHERE, at),
        "report": lambda table, _: failed_cards_of(table).take_unreported(at - timedelta(minutes=2), at),
        "told": lambda table, _: failed_cards_of(table).mark_reported(id_, person),
    }
    if action == "take up":
        await pair.take_up(new.job)
    else:
        # With what was read lately, so that more is done than refused.
        await pair.do(calls[action], 1 + which // 3)


async def play(url: str, actions: list[tuple[str, int, ChannelRef, JobId, UserId]]) -> None:
    async with opened(url) as database:
        pair = Pair(await database.store())
        for minute, (action, which, place, job, person) in enumerate(actions):
            if action == "restart":
                await pair.make_sure()
                await database.close()
                pair.store = await database.store()
            else:
                at = NOON + timedelta(minutes=minute)
                await act(pair, action, which, new_card(place, person, job=job, asked_at=at))
        await pair.make_sure()


@settings(deadline=None, max_examples=20)
@given(SEQUENCES)
def test_sqlite_holds_what_the_rules_say(actions: list[tuple[str, int, ChannelRef, JobId, UserId]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(f"sqlite+aiosqlite:///{Path(folder) / 'bot.sqlite3'}", actions))


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SEQUENCES)
def test_postgresql_holds_what_the_rules_say(
    postgresql: str, actions: list[tuple[str, int, ChannelRef, JobId, UserId]]
) -> None:
    empty(postgresql)
    asyncio.run(play(postgresql, actions))


# Asks

ASK_ACTIONS = "begin begin retry retry bind bind bind withdraw told touch take forget".split()
ASK_SEQUENCES = st.lists(
    st.tuples(st.sampled_from(ASK_ACTIONS), st.integers(0, 4), st.sampled_from([ADA, GRACE])), max_size=25
)
AskCall = Callable[[QuestionRepository], Awaitable[object]]


async def do_with_asks(
    store: QuestionRepository, model: FakeQuestions, action: str, which: int, new: PendingQuestion
) -> None:
    """Do one thing to both tables of asks, and see that the same comes of it."""
    ids = [*model.rows, QuestionId("nothing")]
    id_ = ids[which % len(ids)]
    seen = model.rows.get(id_, new)
    job = JobId(f"{which}{JOB[1:]}")
    bound = new_card(HERE, new.user, job=job, name=f"watch of {new.id}", asked_at=new.asked_at)
    calls: dict[str, AskCall] = {
        "begin": lambda table: table.begin(new),
        "retry": lambda table: table.claim_retry(id_, CardId("card"), new.user),
        "bind": lambda table: table.bind(id_, bound),
        "withdraw": lambda table: table.rollback(id_),
        "told": lambda table: table.mark_reported(id_),
        "touch": lambda table: table.heartbeat(id_, new.asked_at),
        "take": lambda table: table.take_over(seen, new.asked_at),
        "forget": lambda table: table.delete_old(new.asked_at - timedelta(minutes=3)),
    }
    assert await calls[action](store) == await calls[action](model)


async def play_asks(url: str, actions: list[tuple[str, int, UserId]]) -> None:
    async with opened(url) as database:
        cards, modelled = await database.store(), FakeCards()
        questions, model = (
            SqlQuestionRepository(await database.process(), HERE.team),
            FakeQuestions(modelled),
        )
        for table in (cards, modelled):
            await table.add(new_card(HERE, ADA, name="card"))
        for minute, (action, which, person) in enumerate(actions):
            at = NOON + timedelta(minutes=minute)
            chosen = ModelId(f"model {which}") if which % 2 else None
            new = PendingQuestion(QuestionId(f"ask {minute}"), HERE, person, at, at, model=chosen)
            await do_with_asks(questions, model, action, which, new)
            later = at + timedelta(minutes=1)
            assert await questions.interrupted(later) == await model.interrupted(later)
            assert await cards.get(CardId("card")) == modelled.rows[CardId("card")]
            assert await cards.open_jobs() == await modelled.open_jobs()
            for user in (ADA, GRACE):
                assert await questions.count(TEAM, user, NOON) == await model.count(TEAM, user, NOON)
                assert await questions.last_model(TEAM, user) == await model.last_model(TEAM, user)
        for id_ in modelled.rows:
            assert await cards.get(id_) == modelled.rows[id_]


@settings(deadline=None, max_examples=15)
@given(ASK_SEQUENCES)
def test_sqlite_matches_the_model(actions: list[tuple[str, int, UserId]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play_asks(f"sqlite+aiosqlite:///{Path(folder) / 'bot.sqlite3'}", actions))


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ASK_SEQUENCES)
def test_postgresql_matches_the_model(postgresql: str, actions: list[tuple[str, int, UserId]]) -> None:
    empty(postgresql)
    asyncio.run(play_asks(postgresql, actions))


TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=st.lists(TIMES, min_size=1, max_size=5))
def test_a_time_comes_back_to_the_microsecond(
    request: pytest.FixtureRequest, kind: str, times: list[datetime]
) -> None:
    async def keep(url: str) -> None:
        async with opened(url) as database:
            store = await database.store()
            for at in times:
                job = JobId(str(uuid4()))
                await store.add(new_card(job=job, asked_at=at))
                _, (mine,) = await store.claim(job)
                await store.mark_post_started(mine, at)
                assert await store.get(mine.id) == replace(mine, requested_at=at, post_started_at=at)
                assert await store.mark_posted(mine.id, at, MessageTs("1.1"), "look")

    asyncio.run(keep(request.getfixturevalue(kind)))
