"""The removal of an answer, as every table of cards keeps it: no earlier owner writes, and nothing is posted after."""

import asyncio
from dataclasses import replace

import pytest

from bot.domain.cards import NEEDS_REDRAW, Card, CardId, MessageTs, ReplyKind, TeamId, ThreadReply
from bot.domain.errors import OwnershipLost
from bot.domain.jobs import JobState
from bot.domain.ports.storage import CardRepository
from bot.storage.removals import SqlRemovalRepository
from tests.support.databases import ADA, GRACE, NOON, TEAM, Opened, followed, removals_of, taken_up

CARD = MessageTs("1.1")
FIRST, DATA = ReplyKind("1"), ReplyKind("data 0123456789")


async def answered(store: CardRepository, *, is_closed: bool = True) -> Card:
    """A card that shows the answer, with one reply."""
    mine = await followed(store, ADA)
    await store.mark_post_started(mine, NOON)
    await store.mark_posted(mine.id, NOON, CARD, "the answer", ended=True)
    await store.mark_reply_started(await owned(store, mine), FIRST, NOON)
    await store.mark_reply_posted(mine.id, FIRST, NOON, MessageTs("1.2"), None)
    if is_closed:
        await store.close(await owned(store, mine), NOON, ended=True, outcome=JobState.COMPLETE)
    return await owned(store, mine)


async def owned(store: CardRepository, card: Card) -> Card:
    found = await store.reload(card)
    assert found is not None
    return found


@pytest.mark.parametrize("is_closed", [True, False])
async def test_removal_reopens_the_card(store: CardRepository, is_closed: bool) -> None:
    mine = await answered(store, is_closed=is_closed)
    assert await removals_of(store).request(mine.id, GRACE)
    (open_card,) = await taken_up(store)
    assert open_card == replace(
        mine, removed_by=GRACE, closed_at=None, shown_fingerprint=NEEDS_REDRAW, token=open_card.token
    )
    assert not await removals_of(store).request(mine.id, ADA), "once"


async def test_only_a_shown_end_is_removed(store: CardRepository) -> None:
    mine = await followed(store, ADA)
    assert not await removals_of(store).request(mine.id, ADA)
    assert not await removals_of(store).request(CardId("nothing"), ADA)
    assert await store.reload(mine) == mine


async def test_owner_from_before_has_lost_the_card(store: CardRepository) -> None:
    mine = await answered(store, is_closed=False)
    assert mine.token is not None
    assert await removals_of(store).request(mine.id, ADA)
    # The same tracker goes on with the card as it is now.
    assert [card.removed_by for card in await store.open_cards(mine.job, mine.token)] == [ADA]
    for write in (
        store.reload(mine),
        store.mark_shown(mine, CARD, None, outcome=JobState.FAILED),
        store.mark_shown(mine, CARD, "late", outcome=JobState.FAILED),
        store.mark_reply_started(mine, DATA, NOON),
        store.mark_completion_reply_started(mine, NOON),
        store.close(mine, NOON, ended=True),
        store.move(mine, ()),
    ):
        with pytest.raises(OwnershipLost):
            await write
    await store.forget_message(mine.id, CARD)
    assert [card.message_ts for card in await taken_up(store)] == [CARD]


async def test_removed_card_is_followed_without_being_reopened(store: CardRepository) -> None:
    mine = await answered(store)
    await removals_of(store).request(mine.id, ADA)
    (open_card,) = await taken_up(store)
    await store.mark_shown(open_card, CARD, None)
    await store.mark_shown(open_card, CARD, "removed")
    await store.close(open_card, NOON, ended=True, outcome=open_card.outcome)
    again = await store.add(replace(mine, id=CardId("other"), followers=(GRACE,), requester=GRACE))
    assert (again.id, again.removed_by) == (mine.id, ADA) and again.closed_at is not None
    assert await store.ended_cards(TEAM, ADA, 20) == []


@pytest.mark.parametrize("is_end", [True, False])
async def test_late_edit_reopens_a_removed_card(store: CardRepository, is_end: bool) -> None:
    mine = await answered(store)
    await removals_of(store).request(mine.id, ADA)
    (open_card,) = await taken_up(store)
    await store.mark_shown(open_card, CARD, None)
    await store.mark_shown(open_card, CARD, "removed")
    await store.close(open_card, NOON, ended=True)
    await store.mark_stale(mine.id, CARD, is_end=is_end)
    (again,) = await taken_up(store)
    assert (again.removed_by, again.is_stale) == (ADA, True)


async def test_posts_are_stored_until_a_removal(store: CardRepository) -> None:
    mine, removals = await answered(store), removals_of(store)
    assert await removals.begin_post(mine.id, DATA, NOON)
    assert await store.mark_reply_posted(mine.id, DATA, NOON, MessageTs("1.3"), None)
    assert (await store.replies(mine.id))[DATA] == ThreadReply(NOON, MessageTs("1.3"))
    await removals.request(mine.id, ADA)
    assert not await removals.begin_post(mine.id, ReplyKind("data other"), NOON)
    assert not await removals.begin_post(CardId("nothing"), DATA, NOON)


async def test_deleted_replies_are_forgotten(store: CardRepository) -> None:
    mine, removals = await answered(store, is_closed=False), removals_of(store)
    await store.mark_completion_reply_started(mine, NOON)
    for _ in range(2):
        await removals.forget_replies(mine.id, [FIRST, DATA])
        await removals.forget_completion_reply(mine.id)
    assert await store.replies(mine.id) == {}
    found = await store.get(mine.id)
    assert found is not None and found.completion_reply_started_at is None


async def test_other_team_removes_nothing(database: Opened) -> None:
    store = await database.store()
    mine = await answered(store)
    other = SqlRemovalRepository(store.transactions, TeamId("T0OTHER"))
    assert not await other.request(mine.id, ADA)
    assert not await other.begin_post(mine.id, DATA, NOON)
    await other.forget_replies(mine.id, [FIRST])
    assert FIRST in await store.replies(mine.id) and await store.reload(mine) == mine


async def test_one_of_two_removals_counts(database: Opened) -> None:
    store = await database.store()
    mine = await answered(store)
    removals = [SqlRemovalRepository(await database.process(), TEAM) for _ in range(2)]
    assert sorted(await asyncio.gather(*(each.request(mine.id, ADA) for each in removals))) == [False, True]
