"""Several processes on one PostgreSQL in the same moment. What waits for what is arranged, not left to chance."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.cards import Card, ChannelId, ChannelRef, MessageTs, UserId
from bot.domain.errors import OwnershipLost
from bot.storage.card_rows import add_card
from bot.storage.cards import SqlCardRepository
from tests.support.databases import (
    ADA,
    GRACE,
    HERE,
    JOB,
    NOON,
    TEAM,
    THERE,
    Opened,
    followed,
    new_card,
    opened,
    taken_up,
)

LATER = NOON + timedelta(minutes=1)


@pytest.fixture
async def shared(postgresql: str) -> AsyncIterator[Opened]:
    async with opened(postgresql) as database:
        yield database


@pytest.fixture
async def stores(shared: Opened) -> list[SqlCardRepository]:
    """The same table, as three processes have it."""
    return [await shared.store() for _ in range(3)]


@asynccontextmanager
async def in_the_middle(store: SqlCardRepository) -> AsyncIterator[AsyncConnection]:
    """A transaction of one process, for what it does while the others go on; committed on leaving."""
    async with store.transactions.database.engine.begin() as connection:
        yield connection


async def waiting(*calls: Awaitable[object]) -> Sequence[asyncio.Future[object]]:
    """Calls of the others that have come as far as they can without the one in the middle."""
    begun = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0.2)
    assert not any(call.done() for call in begun), "somebody did not wait"
    return begun


async def test_simultaneous_commands_make_one_card(
    stores: list[SqlCardRepository],
) -> None:
    one, two, three = stores
    async with in_the_middle(three) as connection:
        # Both look and find nothing, and wait to insert.
        await connection.execute(text("LOCK TABLE watches IN SHARE MODE"))
        adding = await waiting(one.add(new_card(HERE, ADA)), two.add(new_card(HERE, GRACE)))
    added = [await add for add in adding]
    (kept,) = await taken_up(three)
    assert set(kept.followers) == {ADA, GRACE}
    assert {one.id for one in added if isinstance(one, Card)} == {kept.id}


async def test_repeated_delivery_makes_one_follower(
    stores: list[SqlCardRepository],
) -> None:
    one, two, three = stores
    await three.add(new_card(HERE, GRACE))
    async with in_the_middle(three) as connection:
        await connection.execute(text("LOCK TABLE followers IN SHARE MODE"))
        adding = await waiting(one.add(new_card(HERE, ADA)), two.add(new_card(HERE, ADA)))
    for add in adding:
        await add
    (kept,) = await taken_up(three)
    assert kept.followers == (GRACE, ADA)


async def test_double_resume_makes_one_follower(
    stores: list[SqlCardRepository],
) -> None:
    one, two, three = stores
    mine = await followed(one, ADA)
    await one.close(mine, NOON)
    async with in_the_middle(three) as connection:
        await connection.execute(text("LOCK TABLE followers IN SHARE MODE"))
        resuming = await waiting(*(store.resume(mine.id, GRACE, LATER) for store in (one, two)))
    for resume in resuming:
        await resume
    (kept,) = await taken_up(three)
    assert kept.followers == (ADA, GRACE)


async def test_thirty_commands_make_one_card(stores: list[SqlCardRepository]) -> None:
    people = [UserId(f"U{number:03}") for number in range(30)]
    adding = (stores[number % 3].add(new_card(HERE, person)) for number, person in enumerate(people))
    added = await asyncio.gather(*adding)
    assert len({one.id for one in added}) == 1
    (kept,) = await taken_up(stores[0])
    assert sorted(kept.followers) == people


async def test_joining_keeps_an_unfollowed_card_open(
    stores: list[SqlCardRepository],
) -> None:
    one, two, three = stores
    mine = await followed(one, ADA)
    async with in_the_middle(two) as connection:
        # Grace's command finds Ada's watch, Ada leaves, and the follow finds nobody.
        await connection.run_sync(add_card, new_card(HERE, GRACE))
        assert await three.unfollow(mine.id, ADA) == 0
        closing = await waiting(one.close_if_unfollowed(mine, LATER))
    await asyncio.gather(*closing, return_exceptions=True)
    kept = await one.get(mine.id)
    assert kept is not None
    assert (kept.followers, kept.closed_at) == ((GRACE,), None)


async def test_joining_keeps_a_closing_card_open(stores: list[SqlCardRepository]) -> None:
    one, two, _ = stores
    mine = await followed(one, ADA)
    async with in_the_middle(two) as connection:
        await connection.run_sync(add_card, new_card(HERE, GRACE, asked_at=LATER))
        (closing,) = await waiting(one.close(mine, LATER))
    await closing
    assert list(await one.open_jobs()) == [JOB]


async def test_command_reopens_a_closing_card(
    stores: list[SqlCardRepository],
) -> None:
    one, two, _ = stores
    mine = await followed(one, ADA)
    async with in_the_middle(one) as connection:
        await connection.execute(text("UPDATE watches SET closed_at = 1"))
        (adding,) = await waiting(two.add(new_card(HERE, GRACE)))
    await adding
    (kept,) = await taken_up(two)
    assert (kept.id, kept.requester, kept.followers) == (mine.id, ADA, (ADA, GRACE))


async def test_command_during_a_move_gets_new_card(
    stores: list[SqlCardRepository],
) -> None:
    one, two, _ = stores
    mine = await followed(one, ADA)
    async with in_the_middle(one) as connection:
        await connection.execute(text("DELETE FROM watches"))
        await connection.run_sync(add_card, new_card(ChannelRef(TEAM, ChannelId("D0ADA")), ADA))
        (adding,) = await waiting(two.add(new_card(HERE, GRACE)))
    await adding
    assert {(kept.channel, kept.followers) for kept in await taken_up(two)} == {
        (ChannelRef(TEAM, ChannelId("D0ADA")), (ADA,)),
        (HERE, (GRACE,)),
    }
    assert await one.get(mine.id) is None


async def test_move_includes_a_joining_follower(stores: list[SqlCardRepository]) -> None:
    one, two, _ = stores
    mine = await followed(one, ADA)
    async with in_the_middle(two) as connection:
        await connection.run_sync(add_card, new_card(HERE, GRACE))
        (moving,) = await waiting(one.move(mine, [new_card(THERE, ADA)]))
    assert await moving is False


async def test_resumed_card_is_not_deleted(stores: list[SqlCardRepository]) -> None:
    one, two, _ = stores
    mine = await followed(one, ADA)
    await one.close(mine, NOON)
    async with in_the_middle(two) as connection:
        await connection.execute(text("UPDATE watches SET closed_at = NULL"))
        (forgetting,) = await waiting(one.delete_closed(LATER))
    assert await forgetting == 0
    assert [kept.id for kept in await taken_up(one)] == [mine.id]


async def test_write_behind_a_newer_claim_is_lost(stores: list[SqlCardRepository]) -> None:
    one, two, _ = stores
    mine = await followed(one, ADA)
    async with in_the_middle(two) as connection:
        await connection.execute(text("UPDATE watches SET claim = 'newer'"))
        writes = await waiting(one.mark_post_started(mine, LATER), one.close(mine, LATER), one.remove(mine))
    for write in writes:
        with pytest.raises(OwnershipLost):
            await write
    found = await two.get(mine.id)
    assert found == replace(mine, token=found.token if found else None)


async def test_one_of_three_trackers_owns_the_job(stores: list[SqlCardRepository]) -> None:
    for number in range(20):
        await stores[0].add(new_card(ChannelRef(TEAM, ChannelId(f"C{number}"))))
    for _ in range(5):
        claims = await asyncio.gather(*(store.claim(JOB) for store in stores))
        looked = await asyncio.gather(
            *(store.open_cards(JOB, claim) for store, (claim, _) in zip(stores, claims, strict=True)),
            return_exceptions=True,
        )
        (held,) = [found for found in looked if not isinstance(found, BaseException)]
        assert len(held) == 20
        assert len({one.token for one in held}) == 1
        assert sum(isinstance(found, OwnershipLost) for found in looked) == 2


async def test_one_of_two_messages_is_stored(stores: list[SqlCardRepository]) -> None:
    one, two, three = stores
    mine = await followed(one, ADA)
    await one.mark_post_started(mine, NOON)
    async with in_the_middle(three) as connection:
        await connection.execute(text("SELECT * FROM watches FOR UPDATE"))
        tries = await waiting(
            one.mark_posted(mine.id, NOON, MessageTs("1.1"), "one"),
            two.mark_posted(mine.id, NOON, MessageTs("2.2"), "two"),
        )
    taken = [await each for each in tries]
    assert sorted(map(bool, taken)) == [False, True]
    kept = await one.get(mine.id)
    assert kept is not None and kept.shown_fingerprint == ("one" if taken[0] else "two")
