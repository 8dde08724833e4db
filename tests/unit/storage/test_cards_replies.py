"""What goes on from a card in its thread, as every table of watches keeps it."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.domain.cards import Card, CardId, MessageTs, ReplyKind, ThreadReply
from bot.domain.errors import OwnershipLost
from bot.domain.ports.storage import CardRepository
from tests.support.databases import ADA, GRACE, HERE, JOB, NOON, THERE, Opened, followed, taken_up, watch

CARD = MessageTs("1.1")
FIRST, SECOND, FILE = ReplyKind("1"), ReplyKind("2"), ReplyKind("file")
LATER = NOON + timedelta(seconds=20)


async def with_card(store: CardRepository, *, ended: bool = True) -> Card:
    """A watch whose card is posted, as its follow has it."""
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


async def test_a_thread_in_which_nothing_was_begun_is_empty(store: CardRepository) -> None:
    assert await store.replies((await with_card(store)).id) == {}
    assert await store.replies(CardId("nothing")) == {}


async def test_every_step_of_each_reply_is_kept_and_the_watch_is_left_as_it_is(database: Opened) -> None:
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


async def test_a_try_that_came_to_nothing_is_forgotten_and_what_was_posted_is_not(
    store: CardRepository,
) -> None:
    mine = await with_two_replies(store)
    for slot in (FIRST, SECOND, FILE):
        await store.mark_reply_started(mine, slot, None)
    assert await store.replies(mine.id) == {FIRST: BOTH[FIRST]}


@pytest.mark.parametrize("tried_since", [LATER, None], ids=["again", "given up"])
async def test_a_reply_posted_by_a_try_that_another_one_has_replaced_is_not_taken(
    store: CardRepository, tried_since: datetime | None
) -> None:
    mine = await with_card(store)
    await store.mark_reply_started(mine, FIRST, NOON)
    await store.mark_reply_started(mine, FIRST, tried_since)
    assert not await store.mark_reply_posted(mine.id, FIRST, NOON, MessageTs("1.2"), None)
    assert await store.replies(mine.id) == ({FIRST: ThreadReply(tried_since)} if tried_since else {})


async def test_a_reply_that_is_stored_already_is_taken_again_and_a_second_one_is_not(
    store: CardRepository,
) -> None:
    mine = await with_two_replies(store)
    assert await store.mark_reply_posted(mine.id, FIRST, NOON, MessageTs("1.2"), None)
    assert not await store.mark_reply_posted(mine.id, FIRST, NOON, MessageTs("2.2"), None)
    assert await store.replies(mine.id) == BOTH


async def test_a_process_that_lost_the_job_can_still_store_what_it_posted(store: CardRepository) -> None:
    mine = await with_two_replies(store)
    await store.claim(JOB)
    assert await store.mark_reply_posted(mine.id, SECOND, LATER, MessageTs("1.3"), None)
    assert (await store.replies(mine.id))[SECOND].ts == MessageTs("1.3")


async def test_what_was_posted_for_a_watch_that_is_gone_is_not_taken(store: CardRepository) -> None:
    assert not await store.mark_reply_posted(CardId("nothing"), FIRST, NOON, MessageTs("1.2"), None)


async def test_starting_over_forgets_the_replies_to_that_card_and_to_no_other(store: CardRepository) -> None:
    mine = await with_two_replies(store)
    await store.forget_message(mine.id, MessageTs("0.1"))
    assert await store.replies(mine.id) == BOTH
    await store.forget_message(mine.id, CARD)
    assert await store.replies(mine.id) == {}
    assert not await store.mark_reply_posted(mine.id, SECOND, LATER, MessageTs("1.3"), None)


async def test_once_there_is_another_card_nothing_is_begun_in_the_former_ones_thread(
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


async def test_a_watch_that_moves_begins_a_thread_of_its_own(store: CardRepository) -> None:
    mine = await with_two_replies(store)
    elsewhere = watch(THERE, ADA)
    assert await store.move(mine, [elsewhere])
    assert await store.replies(mine.id) == await store.replies(elsewhere.id) == {}


async def test_a_watch_that_is_removed_leaves_no_reply_behind(store: CardRepository) -> None:
    mine = await with_two_replies(store)
    await store.remove(mine)
    await store.add(watch(HERE, GRACE, name=mine.id))
    assert await store.replies(mine.id) == {}


async def test_what_is_forgotten_is_forgotten_with_its_replies(store: CardRepository) -> None:
    mine = await with_two_replies(store)
    await store.close(mine, NOON, ended=True)
    assert await store.replies(mine.id) == BOTH
    assert await store.delete_closed(LATER) == 1
    assert await store.replies(mine.id) == {}


async def test_who_follows_a_deserted_card_that_shows_the_answer_finds_the_thread_as_it_is(
    store: CardRepository,
) -> None:
    mine = await with_two_replies(store)
    await store.unfollow(mine.id, ADA)
    assert (await store.add(watch(HERE, GRACE))).id == mine.id
    assert await store.replies(mine.id) == BOTH


async def test_whoever_claims_a_watch_reads_every_reply_that_was_begun_before(database: Opened) -> None:
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
