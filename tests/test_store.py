"""What every store of watches and budgets must do, and what ours on SQLite must do besides.

A second backend joins by one more class beside `SQLiteBackend` and one more entry in `BACKENDS`.
"""

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.budget import Ledger, Rate
from bot.job import JobId
from bot.ports import StoreUnavailable, Watches
from bot.store import LONGEST_PAUSE_SECONDS, Store
from bot.tables import Database, metadata
from bot.watch import ChannelId, Place, TeamId, Ts, UserId, Watch, WatchId

asyncio.set_event_loop(None)  # as in tests/demo/conftest.py

TEAM = TeamId("T0ACME")
HERE = Place(TEAM, ChannelId("C0HERE"))
THERE = Place(TEAM, ChannelId("C0THERE"))
JOB = JobId("550e8400-e29b-41d4-a716-446655440000")
OTHER_JOB = JobId("660e8400-e29b-41d4-a716-446655440000")
ADA, GRACE, LINUS = UserId("U0ADA"), UserId("U0GRACE"), UserId("U0LINUS")
NOON = datetime(2026, 5, 4, 12, 0, 0, 123_457, tzinfo=UTC)
RATE = Rate.within(60, burst=4)


class Clock:
    """The time that a store sees."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Stored(Watches, Ledger, Protocol):
    """All that the bot asks of a store."""

    async def answers(self) -> None: ...


class Backend(Protocol):
    """A store that a test can close and open again."""

    clock: Clock

    async def open(self) -> Stored: ...

    async def close(self) -> None: ...


class SQLiteBackend:
    """The default: a file."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.path = folder / "store.sqlite3"
        self._database: Database | None = None
        self._store: Store | None = None

    async def open(self) -> Store:
        self._database = await Database.open(f"sqlite+aiosqlite:///{self.path}")
        self._store = Store(self._database, self.clock)
        return self._store

    async def wait_for_others_at_most(self, *, seconds: float) -> None:
        assert self._database is not None
        async with self._database.engine.connect() as connection:
            await connection.exec_driver_sql(f"PRAGMA busy_timeout={int(seconds * 1_000)}")

    async def close(self) -> None:
        if self._database is not None and self._store is not None:
            await self._store.steps.settle()
            await self._database.close()
            self._database = self._store = None


BACKENDS: list[Callable[[Path], Backend]] = [SQLiteBackend]


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.__name__)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    backend: Backend = request.param(tmp_path)
    yield backend
    await backend.close()


@pytest.fixture
async def store(backend: Backend) -> Stored:
    return await backend.open()


async def reopened(backend: Backend) -> Stored:
    """The store as a new process finds it."""
    await backend.close()
    return await backend.open()


def watch(
    place: Place = HERE, *people: UserId, job: JobId = JOB, asked_at: datetime = NOON, name: str | None = None
) -> Watch:
    followers = people or (ADA,)
    return Watch(WatchId(name or str(uuid4())), job, place, followers[0], followers, asked_at)


# Adding


async def test_a_new_watch_is_kept_as_it_was_given(store: Stored) -> None:
    mine = watch(HERE, ADA, GRACE)
    assert await store.add(mine) == mine
    assert await store.get(mine.id) == mine


async def test_what_was_never_stored_is_not_there(store: Stored) -> None:
    assert await store.get(WatchId("nothing")) is None
    assert list(await store.open_watches(JOB)) == []
    assert list(await store.open_jobs()) == []
    assert list(await store.open_watches_of(TEAM, ADA)) == []


async def test_a_second_watch_of_a_job_in_a_place_becomes_one_more_follower_of_the_first(
    store: Stored,
) -> None:
    first = await store.add(watch(HERE, ADA))
    merged = await store.add(watch(HERE, GRACE, asked_at=NOON + timedelta(minutes=1)))
    assert merged == replace(first, followers=(ADA, GRACE))
    assert list(await store.open_watches(JOB)) == [merged]


async def test_asking_twice_follows_once(store: Stored) -> None:
    await store.add(watch(HERE, ADA))
    assert (await store.add(watch(HERE, ADA))).followers == (ADA,)


async def test_followers_stay_in_the_order_they_came(store: Stored, backend: Backend) -> None:
    people = [UserId(f"U{number:03}") for number in (7, 3, 9, 1, 5)]
    for person in people:
        await store.add(watch(HERE, person))
    (kept,) = await (await reopened(backend)).open_watches(JOB)
    assert list(kept.followers) == people


@pytest.mark.parametrize(
    "other",
    [
        watch(THERE),
        watch(HERE, job=OTHER_JOB),
        watch(Place(TeamId("T0OTHER"), HERE.channel)),
    ],
    ids=["another channel", "another job", "another workspace"],
)
async def test_elsewhere_is_another_watch(store: Stored, other: Watch) -> None:
    mine = await store.add(watch(HERE))
    assert await store.add(other) == other
    assert await store.get(mine.id) == mine


async def test_commands_at_the_same_moment_make_one_watch_that_all_follow(store: Stored) -> None:
    people = [UserId(f"U{number:03}") for number in range(30)]
    added = await asyncio.gather(*(store.add(watch(HERE, person)) for person in people))
    assert len({one.id for one in added}) == 1
    (kept,) = await store.open_watches(JOB)
    assert sorted(kept.followers) == people


async def test_a_closed_watch_is_opened_again_for_the_new_follower_alone(store: Stored) -> None:
    old = await store.add(watch(HERE, ADA, GRACE))
    await store.card_posted(old.id, Ts("1.1"), "look")
    await store.notice_posted(old.id, Ts("1.2"), None)
    await store.close(old.id, NOON)
    later = NOON + timedelta(hours=1)
    again = await store.add(watch(HERE, LINUS, asked_at=later))
    assert again == replace(
        old,
        requester=LINUS,
        followers=(LINUS,),
        asked_at=later,
        card=Ts("1.1"),
        shown="look",
        notice=Ts("1.2"),
        closed_at=None,
    )
    assert list(await store.open_jobs()) == [JOB]


async def test_a_watch_that_everybody_left_is_taken_over_by_the_next_follower(store: Stored) -> None:
    old = await store.add(watch(HERE, ADA))
    await store.unfollow(old.id, ADA)
    again = await store.add(watch(HERE, GRACE))
    assert (again.id, again.requester, again.followers) == (old.id, GRACE, (GRACE,))


async def test_who_comes_back_to_a_closed_watch_follows_it_again(store: Stored) -> None:
    old = await store.add(watch(HERE, ADA, GRACE))
    await store.close(old.id, NOON)
    assert (await store.add(watch(HERE, GRACE))).followers == (GRACE,)


# Following


async def test_leaving_tells_how_many_are_left(store: Stored) -> None:
    mine = await store.add(watch(HERE, ADA, GRACE))
    assert await store.unfollow(mine.id, ADA) == 1
    assert await store.unfollow(mine.id, GRACE) == 0
    kept = await store.get(mine.id)
    assert kept is not None and kept.followers == () and kept.requester == ADA


async def test_leaving_what_one_does_not_follow_changes_nothing(store: Stored) -> None:
    mine = await store.add(watch(HERE, ADA))
    assert await store.unfollow(mine.id, GRACE) is None
    assert await store.unfollow(WatchId("nothing"), ADA) is None
    assert await store.get(mine.id) == mine


async def test_only_one_of_two_clicks_at_once_leaves(store: Stored) -> None:
    mine = await store.add(watch(HERE, ADA, GRACE))
    left = await asyncio.gather(store.unfollow(mine.id, ADA), store.unfollow(mine.id, ADA))
    assert sorted(left, key=str) == [1, None]


async def test_a_persons_open_follows_are_listed_newest_first(store: Stored) -> None:
    old = await store.add(watch(HERE, ADA, asked_at=NOON))
    new = await store.add(watch(THERE, GRACE, ADA, asked_at=NOON + timedelta(minutes=1)))
    await store.add(watch(Place(TEAM, ChannelId("C0GRACE")), GRACE))
    await store.add(watch(Place(TeamId("T0OTHER"), ChannelId("C0HERE")), ADA))
    closed = await store.add(watch(HERE, ADA, job=OTHER_JOB))
    await store.close(closed.id, NOON)
    assert list(await store.open_watches_of(TEAM, ADA)) == [new, old]
    await store.unfollow(new.id, ADA)
    assert list(await store.open_watches_of(TEAM, ADA)) == [old]


async def test_a_jobs_open_watches_are_listed_oldest_first(store: Stored) -> None:
    new = await store.add(watch(HERE, asked_at=NOON + timedelta(minutes=1)))
    old = await store.add(watch(THERE, asked_at=NOON))
    closed = await store.add(watch(Place(TEAM, ChannelId("C0DONE"))))
    await store.close(closed.id, NOON)
    await store.add(watch(HERE, job=OTHER_JOB))
    assert list(await store.open_watches(JOB)) == [old, new]


async def test_open_jobs_are_each_listed_once_oldest_first(store: Stored) -> None:
    jobs = [JobId(str(uuid4())) for _ in range(5)]
    for minutes, job in enumerate(jobs):
        await store.add(watch(THERE, job=job, asked_at=NOON + timedelta(minutes=10 + minutes)))
    await store.add(watch(HERE, job=jobs[3], asked_at=NOON))
    done = await store.add(watch(HERE, job=OTHER_JOB, asked_at=NOON))
    await store.close(done.id, NOON)
    assert list(await store.open_jobs()) == [jobs[3], jobs[0], jobs[1], jobs[2], jobs[4]]


# What was shown and told


async def test_every_step_of_a_card_and_its_notice_is_kept(store: Stored, backend: Backend) -> None:
    mine = await store.add(watch())
    tried, told = NOON + timedelta(seconds=1), NOON + timedelta(seconds=2)
    await store.card_tried(mine.id, tried)
    assert await store.get(mine.id) == (mine := replace(mine, card_tried_at=tried))
    await store.card_posted(mine.id, Ts("1777900000.000100"), "first look")
    assert await store.get(mine.id) == (
        mine := replace(mine, card=Ts("1777900000.000100"), shown="first look")
    )
    await store.card_shows(mine.id, Ts("1777900000.000100"), "second look")
    assert await store.get(mine.id) == (mine := replace(mine, shown="second look"))
    await store.notice_tried(mine.id, told)
    assert await store.get(mine.id) == (mine := replace(mine, notice_tried_at=told))
    await store.notice_posted(mine.id, Ts("1777900000.000200"), "reply")
    assert await store.get(mine.id) == (mine := replace(mine, notice=Ts("1777900000.000200")))
    await store.card_is_gone(mine.id, Ts("1777900000.000100"))
    assert await store.get(mine.id) == (mine := replace(mine, card_gone=True))
    await store.close(mine.id, told)
    assert await store.get(mine.id) == (mine := replace(mine, closed_at=told))
    assert await (await reopened(backend)).get(mine.id) == mine


async def test_a_card_whose_look_nobody_knows_is_kept_without_one(store: Stored) -> None:
    mine = await store.add(watch())
    await store.card_posted(mine.id, Ts("1.1"), None)
    kept = await store.get(mine.id)
    assert kept is not None and kept.card == Ts("1.1") and kept.shown is None


async def test_starting_over_forgets_card_and_notice_and_nothing_else(store: Stored) -> None:
    mine = await store.add(watch(HERE, ADA, GRACE))
    await store.card_tried(mine.id, NOON)
    await store.card_posted(mine.id, Ts("1.1"), "look")
    await store.card_is_gone(mine.id, Ts("1.1"))
    await store.notice_tried(mine.id, NOON)
    await store.notice_posted(mine.id, Ts("1.2"), None)
    await store.start_over(mine.id, Ts("1.1"))
    assert await store.get(mine.id) == mine


async def test_a_closed_watch_can_still_be_looked_up(store: Stored) -> None:
    mine = await store.add(watch())
    await store.close(mine.id, NOON)
    assert await store.get(mine.id) == replace(mine, closed_at=NOON)
    assert list(await store.open_watches(JOB)) == []


async def test_a_removed_watch_leaves_no_follower_behind(store: Stored) -> None:
    mine = await store.add(watch(HERE, ADA, GRACE))
    await store.remove(mine.id)
    assert await store.get(mine.id) is None
    assert (await store.add(watch(HERE, LINUS, name=mine.id))).followers == (LINUS,)


# Moving


async def test_a_watch_moves_to_each_followers_own_place(store: Stored) -> None:
    mine = await store.add(watch(HERE, ADA, GRACE))
    to = [watch(Place(TEAM, ChannelId(f"D{person}")), person) for person in (ADA, GRACE)]
    assert await store.move(mine, to)
    assert await store.get(mine.id) is None
    assert {one.id for one in await store.open_watches(JOB)} == {one.id for one in to}


async def test_moving_to_where_the_job_is_followed_already_merges(store: Stored) -> None:
    there = await store.add(watch(THERE, GRACE))
    mine = await store.add(watch(HERE, ADA))
    assert await store.move(mine, [watch(THERE, ADA), watch(Place(TEAM, ChannelId("D0ADA")), ADA)])
    assert await store.get(there.id) == replace(there, followers=(GRACE, ADA))
    assert len(await store.open_watches(JOB)) == 2


async def test_a_move_is_done_wholly_or_not_at_all(store: Stored) -> None:
    mine = await store.add(watch(HERE, ADA))
    taken = await store.add(watch(HERE, GRACE, job=OTHER_JOB))
    clash = replace(watch(THERE, ADA), id=taken.id)
    with pytest.raises(StoreUnavailable):
        await store.move(mine, [watch(Place(TEAM, ChannelId("D0ADA")), ADA), clash])
    assert list(await store.open_watches(JOB)) == [mine]


async def test_a_move_that_would_leave_a_follower_behind_changes_nothing(store: Stored) -> None:
    mine = await store.add(watch(HERE, ADA))
    both = await store.add(watch(HERE, GRACE))
    assert not await store.move(mine, [watch(THERE, ADA)])
    assert list(await store.open_watches(JOB)) == [both]


async def test_what_is_said_of_a_former_card_leaves_the_newer_one_alone(store: Stored) -> None:
    mine = await store.add(watch())
    await store.card_posted(mine.id, Ts("2.2"), "look")
    await store.card_shows(mine.id, Ts("1.1"), "old look")
    await store.card_is_gone(mine.id, Ts("1.1"))
    await store.start_over(mine.id, Ts("1.1"))
    assert await store.get(mine.id) == replace(mine, card=Ts("2.2"), shown="look")


async def test_a_watch_is_closed_as_deserted_only_while_nobody_follows_it(store: Stored) -> None:
    mine = await store.add(watch())
    await store.close_if_deserted(mine.id, NOON)
    assert await store.get(mine.id) == mine
    await store.unfollow(mine.id, ADA)
    await store.close_if_deserted(mine.id, NOON)
    assert await store.get(mine.id) == replace(mine, followers=(), closed_at=NOON)


# Cancellation


@pytest.mark.parametrize("steps", [*range(12), 20, 40, 80, 160])
async def test_a_cancelled_caller_tears_no_transaction(store: Stored, backend: Backend, steps: int) -> None:
    mine = watch(HERE, ADA, GRACE)
    adding = asyncio.create_task(store.add(mine))
    for _ in range(steps):
        await asyncio.sleep(0)
    adding.cancel()
    await asyncio.gather(adding, return_exceptions=True)
    other = watch(THERE, LINUS)
    assert await asyncio.wait_for(store.add(other), 5.0) == other
    kept = await (await reopened(backend)).get(mine.id)
    assert kept == (mine if steps else None)


# Times


_TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@settings(deadline=None, max_examples=10)
@given(st.lists(_TIMES, min_size=1))
def test_a_time_comes_back_to_the_microsecond(times: list[datetime]) -> None:
    async def keep(folder: Path) -> None:
        backend = SQLiteBackend(folder)
        store = await backend.open()
        for at in times:
            mine = await store.add(watch(job=JobId(str(uuid4())), asked_at=at))
            await store.card_tried(mine.id, at)
            assert await store.get(mine.id) == replace(mine, asked_at=at, card_tried_at=at)
        await backend.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(keep(Path(folder)))


# A model: whatever is done in whatever order, the store holds what a list of watches would hold


@dataclass
class Model:
    """The same rules over a dictionary."""

    watches: dict[WatchId, Watch] = field(default_factory=dict)

    def add(self, new: Watch) -> Watch:
        for old in self.watches.values():
            if (old.place, old.job) == (new.place, new.job):
                break
        else:
            self.watches[new.id] = new
            return new
        if old.closed_at is not None or not old.followers:
            kept = replace(
                old, closed_at=None, requester=new.requester, asked_at=new.asked_at, followers=new.followers
            )
        else:
            joining = tuple(user for user in new.followers if user not in old.followers)
            kept = replace(old, followers=old.followers + joining)
        self.watches[old.id] = kept
        return kept

    def unfollow(self, id_: WatchId, user: UserId) -> int | None:
        if id_ not in self.watches or user not in self.watches[id_].followers:
            return None
        left = tuple(other for other in self.watches[id_].followers if other != user)
        self.watches[id_] = replace(self.watches[id_], followers=left)
        return len(left)

    def set(self, id_: WatchId, **fields: Any) -> None:
        if id_ in self.watches:
            self.watches[id_] = replace(self.watches[id_], **fields)

    def move(self, id_: WatchId, to: list[Watch]) -> None:
        self.watches.pop(id_, None)
        for one in to:
            self.add(one)

    def open(self) -> list[Watch]:
        still = [one for one in self.watches.values() if one.closed_at is None]
        return sorted(still, key=lambda one: (one.asked_at, one.id))


_PEOPLE = st.sampled_from([ADA, GRACE, LINUS])
_PLACES = st.sampled_from([HERE, THERE])
_JOBS = st.sampled_from([JOB, OTHER_JOB])
_ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "unfollow", "close", "remove", "start over", "move", "post", "reopen"]),
        st.integers(0, 5),
        _PLACES,
        _JOBS,
        _PEOPLE,
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=40)
@given(_ACTIONS)
def test_whatever_happens_in_whatever_order_the_store_holds_what_the_rules_say(
    actions: list[tuple[str, int, Place, JobId, UserId]],
) -> None:
    async def act(folder: Path) -> None:
        backend = SQLiteBackend(folder)
        store, model = await backend.open(), Model()
        for minute, (action, which, place, job, person) in enumerate(actions):
            at = NOON + timedelta(minutes=minute)
            known = [*model.watches, WatchId("nothing")]
            id_ = known[which % len(known)]
            new = watch(place, person, job=job, asked_at=at)
            match action:
                case "add":
                    assert await store.add(new) == model.add(new)
                case "unfollow":
                    assert await store.unfollow(id_, person) == model.unfollow(id_, person)
                case "close":
                    await store.close(id_, at)
                    model.set(id_, closed_at=at)
                case "remove":
                    await store.remove(id_)
                    model.watches.pop(id_, None)
                case "start over":
                    there = model.watches.get(id_)
                    if there is not None and there.card is not None:
                        await store.start_over(id_, there.card)
                        model.set(id_, card=None, shown=None)
                case "move":
                    if (there := await store.get(id_)) is not None:
                        assert await store.move(there, [new])
                        model.move(id_, [new])
                case "post":
                    await store.card_posted(id_, Ts(f"{minute}.0"), "look")
                    model.set(id_, card=Ts(f"{minute}.0"), shown="look")
                case _:
                    await backend.close()
                    store = await backend.open()
            assert {one: await store.get(one) for one in model.watches} == model.watches
        for job in (JOB, OTHER_JOB):
            assert list(await store.open_watches(job)) == [one for one in model.open() if one.job == job]
        for person in (ADA, GRACE, LINUS):
            followed = [one for one in model.open() if person in one.followers]
            assert list(await store.open_watches_of(TEAM, person)) == followed[::-1]
        assert list(await store.open_jobs()) == list(dict.fromkeys(one.job for one in model.open()))
        await backend.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(act(Path(folder)))


# The ledger


async def test_a_burst_is_let_through_and_then_one_by_one(store: Stored, backend: Backend) -> None:
    assert [await store.take("omni", RATE) for _ in range(4)] == [0.0] * 4
    wait_seconds = await store.take("omni", RATE)
    assert wait_seconds == pytest.approx(RATE.interval_seconds, abs=0.001)
    backend.clock.go(wait_seconds + 0.001)
    assert await store.take("omni", RATE) == 0.0
    assert await store.take("omni", RATE) > 0.0


async def test_a_request_that_did_not_fit_costs_nothing(store: Stored, backend: Backend) -> None:
    for _ in range(4):
        await store.take("omni", RATE)
    waits = {await store.take("omni", RATE) for _ in range(50)}
    assert len(waits) == 1


async def test_budgets_do_not_touch_each_other(store: Stored) -> None:
    await store.pause("omni", RATE, 60.0)
    assert await store.take("chat.update", RATE) == 0.0
    assert await store.take("omni", RATE) > 0.0


async def test_a_spent_budget_is_still_spent_after_a_restart(store: Stored, backend: Backend) -> None:
    for _ in range(4):
        await store.take("omni", RATE)
    assert await (await reopened(backend)).take("omni", RATE) > 0.0


async def test_a_pause_outlives_a_restart(store: Stored, backend: Backend) -> None:
    await store.take("omni", RATE)
    await store.pause("omni", RATE, 30.0)
    store = await reopened(backend)
    assert await store.take("omni", RATE) == pytest.approx(30.0, abs=0.001)
    backend.clock.go(30.001)
    assert await store.take("omni", RATE) == 0.0


async def test_a_budget_can_be_paused_before_anything_was_taken(store: Stored) -> None:
    await store.pause("omni", RATE, 30.0)
    assert await store.take("omni", RATE) == pytest.approx(30.0, abs=0.001)


async def test_a_shorter_pause_does_not_end_a_longer_one(store: Stored) -> None:
    await store.pause("omni", RATE, 60.0)
    await store.pause("omni", RATE, 1.0)
    assert await store.take("omni", RATE) == pytest.approx(60.0, abs=0.001)


async def test_no_pause_is_longer_than_the_longest(store: Stored) -> None:
    await store.pause("omni", RATE, 86_400.0)
    assert await store.take("omni", RATE) == pytest.approx(LONGEST_PAUSE_SECONDS, abs=0.001)


@pytest.mark.parametrize("back_seconds", [3_600.0, 86_400.0 * 365])
async def test_a_clock_that_was_set_back_far_does_not_stall(
    store: Stored, backend: Backend, back_seconds: float
) -> None:
    for _ in range(4):
        await store.take("omni", RATE)
    backend.clock.go(-back_seconds)
    assert await store.take("omni", RATE) == 0.0


async def test_a_clock_that_was_set_back_a_little_stalls_no_longer_than_that(
    store: Stored, backend: Backend
) -> None:
    for _ in range(4):
        await store.take("omni", RATE)
    backend.clock.go(-120.0)
    assert await store.take("omni", RATE) <= 120.0 + RATE.interval_seconds + 0.001


async def test_requests_at_the_same_moment_never_share_one_place(store: Stored) -> None:
    waits = await asyncio.gather(*(store.take("omni", RATE) for _ in range(20)))
    assert waits.count(0.0) == 4


async def test_a_cancelled_taker_leaves_the_ledger_usable(store: Stored) -> None:
    taking = [asyncio.create_task(store.take("omni", RATE)) for _ in range(5)]
    await asyncio.sleep(0)
    for task in taking:
        task.cancel()
    await asyncio.gather(*taking, return_exceptions=True)
    assert await asyncio.wait_for(store.take("omni", RATE), 5.0) > 0.0


# SQLite


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[SQLiteBackend]:
    backend = SQLiteBackend(tmp_path)
    yield backend
    await backend.close()


def execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    try:
        with connection:
            connection.execute(statement)
    finally:
        connection.close()


async def test_a_healthy_database_answers(file: SQLiteBackend) -> None:
    await (await file.open()).answers()


async def test_a_database_without_its_tables_does_not_answer(file: SQLiteBackend) -> None:
    store = await file.open()
    execute(file.path, "DROP TABLE watches")
    with pytest.raises(StoreUnavailable):
        await store.answers()


_CALLS: list[Callable[[Store], Coroutine[Any, Any, object]]] = [
    lambda store: store.add(watch()),
    lambda store: store.get(WatchId("secret")),
    lambda store: store.open_watches(JOB),
    lambda store: store.open_jobs(),
    lambda store: store.open_watches_of(TEAM, ADA),
    lambda store: store.unfollow(WatchId("secret"), ADA),
    lambda store: store.card_tried(WatchId("secret"), NOON),
    lambda store: store.card_posted(WatchId("secret"), Ts("1.1"), "look"),
    lambda store: store.card_shows(WatchId("secret"), Ts("1.1"), "look"),
    lambda store: store.card_is_gone(WatchId("secret"), Ts("1.1")),
    lambda store: store.notice_tried(WatchId("secret"), NOON),
    lambda store: store.notice_posted(WatchId("secret"), Ts("1.1"), None),
    lambda store: store.move(watch(), [watch()]),
    lambda store: store.start_over(WatchId("secret"), Ts("1.1")),
    lambda store: store.close(WatchId("secret"), NOON),
    lambda store: store.close_if_deserted(WatchId("secret"), NOON),
    lambda store: store.remove(WatchId("secret")),
    lambda store: store.take("omni", RATE),
    lambda store: store.pause("omni", RATE, 1.0),
]


@pytest.mark.parametrize("call", _CALLS, ids=range(len(_CALLS)))
async def test_a_broken_database_is_unavailable_and_no_statement_is_told(
    file: SQLiteBackend, call: Callable[[Store], Coroutine[Any, Any, object]]
) -> None:
    store = await file.open()
    for table in ("followers", "watches", "budgets"):
        execute(file.path, f"DROP TABLE {table}")
    with pytest.raises(StoreUnavailable, match="no such table") as error:
        await call(store)
    assert "secret" not in str(error.value) and "SELECT" not in str(error.value)


async def test_a_database_that_another_program_locks_is_unavailable_and_later_works_again(
    file: SQLiteBackend,
) -> None:
    store = await file.open()
    await store.add(watch(HERE, ADA))
    await file.wait_for_others_at_most(seconds=0.05)
    async with file_locked(file.path):
        with pytest.raises(StoreUnavailable, match="database is locked"):
            await store.add(watch(HERE, GRACE))
    assert (await store.add(watch(HERE, GRACE))).followers == (ADA, GRACE)


class file_locked:  # noqa: N801 - reads like the context manager it is
    """Another program writes and does not finish."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)

    async def __aenter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    async def __aexit__(self, *_: object) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()


def test_no_column_could_hold_what_was_asked_or_answered() -> None:
    columns = {table.name: {column.name for column in table.columns} for table in metadata.sorted_tables}
    assert columns == {
        "schema_version": {"version"},
        "watches": {
            *("id", "job", "team", "channel", "requester", "asked_at", "closed_at"),
            *("card_tried_at", "card", "card_gone", "shown", "notice_tried_at", "notice"),
        },
        "followers": {"number", "watch", "user"},
        "budgets": {"name", "arrival", "paused_until"},
    }
