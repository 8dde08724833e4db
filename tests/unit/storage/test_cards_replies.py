"""What goes on from a card in its thread, as every table of cards keeps it."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.domain.cards import Card, CardId, MessageTs, ReplyKind, ThreadReply
from bot.domain.errors import OwnershipLost
from bot.domain.ports.storage import CardRepository
from tests.support.databases import ADA, GRACE, HERE, JOB, NOON, THERE, Opened, followed, new_card, taken_up

CARD = MessageTs("1.1")
FIRST, SECOND, FILE = ReplyKind("1"), ReplyKind("2"), ReplyKind("file")
LATER = NOON + timedelta(seconds=20)


async def with_card(store: CardRepository, *, ended: bool = True) -> Card:
    """A card whose message is posted, as its tracker has it."""
    mine = await followed(store, ADA)
    await store.mark_post_started(mine, NOON)
    await store.mark_posted(mine.id, NOON, CARD, "the answer", ended=ended)
    found = await store.reload(mine)
    assert found is not None
    return found


async def with_two_replies(store: CardRepository) -> Card:
    """The first of them is posted, the second begun."""
    mine = await with_card(store)
    await store.mark_reply_started(mine, FIRST, NOON)
    await store.mark_reply_posted(mine.id, FIRST, NOON, MessageTs("1.2"), "look")
    await store.mark_reply_started(mine, SECOND, LATER)
    return mine


BOTH = {FIRST: ThreadReply(NOON, MessageTs("1.2")), SECOND: ThreadReply(LATER)}


async def test_new_thread_is_empty(store: CardRepository) -> None:
    assert await store.replies((await with_card(store)).id) == {}
    assert await store.replies(CardId("nothing")) == {}


async def test_every_step_of_a_reply_is_stored(database: Opened) -> None:
    store = await database.store()
    mine = await with_two_replies(store)
    assert await store.replies(mine.id) == BOTH
    await store.mark_reply_posted(mine.id, SECOND, LATER, MessageTs("1.3"), None)
    await database.close()
    store = await database.store()
    assert await store.replies(mine.id) == {**BOTH, SECOND: ThreadReply(LATER, MessageTs("1.3"))}
    assert await store.get(mine.id) == mine


async def test_replies_of_one_watch_are_not_anothers(store: CardRepository) -> None:
    other = await followed(store, GRACE, channel=THERE)
    mine = await with_two_replies(store)
    assert await store.replies(other.id) == {}
    assert await store.replies(mine.id) == BOTH


async def test_only_failed_attempt_is_forgotten(
    store: CardRepository,
) -> None:
    mine = await with_two_replies(store)
    for slot in (FIRST, SECOND, FILE):
        await store.mark_reply_started(mine, slot, None)
    assert await store.replies(mine.id) == {FIRST: BOTH[FIRST]}


@pytest.mark.parametrize("tried_since", [LATER, None], ids=["again", "given up"])
async def test_reply_of_a_replaced_attempt_is_refused(
    store: CardRepository, tried_since: datetime | None
) -> None:
    mine = await with_card(store)
    await store.mark_reply_started(mine, FIRST, NOON)
    await store.mark_reply_started(mine, FIRST, tried_since)
    assert not await store.mark_reply_posted(mine.id, FIRST, NOON, MessageTs("1.2"), None)
    assert await store.replies(mine.id) == ({FIRST: ThreadReply(tried_since)} if tried_since else {})


async def test_stored_reply_is_accepted_only_again(
    store: CardRepository,
) -> None:
    mine = await with_two_replies(store)
    assert await store.mark_reply_posted(mine.id, FIRST, NOON, MessageTs("1.2"), None)
    assert not await store.mark_reply_posted(mine.id, FIRST, NOON, MessageTs("2.2"), None)
    assert await store.replies(mine.id) == BOTH


async def test_former_owner_can_store_its_post(store: CardRepository) -> None:
    mine = await with_two_replies(store)
    await store.claim(JOB)
    assert await store.mark_reply_posted(mine.id, SECOND, LATER, MessageTs("1.3"), None)
    assert (await store.replies(mine.id))[SECOND].ts == MessageTs("1.3")


async def test_post_for_a_deleted_card_is_refused(store: CardRepository) -> None:
    assert not await store.mark_reply_posted(CardId("nothing"), FIRST, NOON, MessageTs("1.2"), None)


async def test_forget_message_deletes_only_its_replies(store: CardRepository) -> None:
    mine = await with_two_replies(store)
    await store.forget_message(mine.id, MessageTs("0.1"))
    assert await store.replies(mine.id) == BOTH
    await store.forget_message(mine.id, CARD)
    assert await store.replies(mine.id) == {}
    assert not await store.mark_reply_posted(mine.id, SECOND, LATER, MessageTs("1.3"), None)


async def test_no_reply_starts_under_an_old_message(
    store: CardRepository,
) -> None:
    mine = await with_card(store)
    await store.forget_message(mine.id, CARD)
    await store.mark_post_started(mine, LATER)
    await store.mark_posted(mine.id, LATER, MessageTs("2.1"), "the answer", ended=True)
    with pytest.raises(OwnershipLost):
        await store.mark_reply_started(mine, FIRST, LATER)
    assert await store.replies(mine.id) == {}
    await store.mark_reply_started(replace(mine, message_ts=MessageTs("2.1")), FIRST, LATER)
    assert await store.replies(mine.id) == {FIRST: ThreadReply(LATER)}


async def test_moved_card_begins_a_new_thread(store: CardRepository) -> None:
    mine = await with_two_replies(store)
    elsewhere = new_card(THERE, ADA)
    assert await store.move(mine, [elsewhere])
    assert await store.replies(mine.id) == await store.replies(elsewhere.id) == {}


async def test_removed_card_leaves_no_reply(store: CardRepository) -> None:
    mine = await with_two_replies(store)
    await store.remove(mine)
    await store.add(new_card(HERE, GRACE, name=mine.id))
    assert await store.replies(mine.id) == {}


async def test_deleted_cards_lose_their_replies(store: CardRepository) -> None:
    mine = await with_two_replies(store)
    await store.close(mine, NOON, ended=True)
    assert await store.replies(mine.id) == BOTH
    assert await store.delete_closed(LATER) == 1
    assert await store.replies(mine.id) == {}


async def test_refollowed_card_keeps_its_thread(
    store: CardRepository,
) -> None:
    mine = await with_two_replies(store)
    await store.unfollow(mine.id, ADA)
    assert (await store.add(new_card(HERE, GRACE))).id == mine.id
    assert await store.replies(mine.id) == BOTH


async def test_new_owner_sees_every_started_reply(database: Opened) -> None:
    """Or both would post it: a reply is begun under the lock that a claim has to wait for."""
    older, newer = await database.store(), await database.store()
    mine = await with_card(older)
    for number in range(30):
        slot = ReplyKind(str(number))

        async def begin(slot: ReplyKind = slot) -> bool:
            try:
                await older.mark_reply_started(mine, slot, NOON)
            except OwnershipLost:
                return False
            return True

        async def take_over(slot: ReplyKind = slot, mine: Card = mine) -> bool:
            await taken_up(newer)
            return slot in await newer.replies(mine.id)

        begun, read = await asyncio.gather(begin(), take_over())
        assert read or not begun
        (mine,) = await taken_up(older)
