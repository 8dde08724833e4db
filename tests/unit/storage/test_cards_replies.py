"""What goes on from a card in its thread, as every table of watches keeps it."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.domain.cards import Reply, Slot, Ts, Watch, WatchId
from bot.domain.errors import ClaimLost
from bot.domain.ports.storage import Watches
from tests.support.databases import ADA, GRACE, HERE, JOB, NOON, THERE, Opened, followed, taken_up, watch

CARD = Ts("1.1")
FIRST, SECOND, FILE = Slot("1"), Slot("2"), Slot("file")
LATER = NOON + timedelta(seconds=20)


async def with_card(store: Watches, *, ended: bool = True) -> Watch:
    """A watch whose card is posted, as its follow has it."""
    mine = await followed(store, ADA)
    await store.card_tried(mine, NOON)
    await store.card_posted(mine.id, NOON, CARD, "the answer", ended=ended)
    found = await store.newest(mine)
    assert found is not None
    return found


async def with_two_replies(store: Watches) -> Watch:
    """The first of them is posted, the second begun."""
    mine = await with_card(store)
    await store.reply_tried(mine, FIRST, NOON)
    await store.reply_posted(mine.id, FIRST, NOON, Ts("1.2"), "look")
    await store.reply_tried(mine, SECOND, LATER)
    return mine


BOTH = {FIRST: Reply(NOON, Ts("1.2")), SECOND: Reply(LATER)}


async def test_a_thread_in_which_nothing_was_begun_is_empty(store: Watches) -> None:
    assert await store.replies((await with_card(store)).id) == {}
    assert await store.replies(WatchId("nothing")) == {}


async def test_every_step_of_each_reply_is_kept_and_the_watch_is_left_as_it_is(database: Opened) -> None:
    store = await database.store()
    mine = await with_two_replies(store)
    assert await store.replies(mine.id) == BOTH
    await store.reply_posted(mine.id, SECOND, LATER, Ts("1.3"), None)
    await database.close()
    store = await database.store()
    assert await store.replies(mine.id) == {**BOTH, SECOND: Reply(LATER, Ts("1.3"))}
    assert await store.get(mine.id) == mine


async def test_replies_of_one_watch_are_not_anothers(store: Watches) -> None:
    other = await followed(store, GRACE, place=THERE)
    mine = await with_two_replies(store)
    assert await store.replies(other.id) == {}
    assert await store.replies(mine.id) == BOTH


async def test_a_try_that_came_to_nothing_is_forgotten_and_what_was_posted_is_not(store: Watches) -> None:
    mine = await with_two_replies(store)
    for slot in (FIRST, SECOND, FILE):
        await store.reply_tried(mine, slot, None)
    assert await store.replies(mine.id) == {FIRST: BOTH[FIRST]}


@pytest.mark.parametrize("tried_since", [LATER, None], ids=["again", "given up"])
async def test_a_reply_posted_by_a_try_that_another_one_has_replaced_is_not_taken(
    store: Watches, tried_since: datetime | None
) -> None:
    mine = await with_card(store)
    await store.reply_tried(mine, FIRST, NOON)
    await store.reply_tried(mine, FIRST, tried_since)
    assert not await store.reply_posted(mine.id, FIRST, NOON, Ts("1.2"), None)
    assert await store.replies(mine.id) == ({FIRST: Reply(tried_since)} if tried_since else {})


async def test_a_reply_that_is_stored_already_is_taken_again_and_a_second_one_is_not(store: Watches) -> None:
    mine = await with_two_replies(store)
    assert await store.reply_posted(mine.id, FIRST, NOON, Ts("1.2"), None)
    assert not await store.reply_posted(mine.id, FIRST, NOON, Ts("2.2"), None)
    assert await store.replies(mine.id) == BOTH


async def test_a_process_that_lost_the_job_can_still_store_what_it_posted(store: Watches) -> None:
    mine = await with_two_replies(store)
    await store.claim(JOB)
    assert await store.reply_posted(mine.id, SECOND, LATER, Ts("1.3"), None)
    assert (await store.replies(mine.id))[SECOND].ts == Ts("1.3")


async def test_what_was_posted_for_a_watch_that_is_gone_is_not_taken(store: Watches) -> None:
    assert not await store.reply_posted(WatchId("nothing"), FIRST, NOON, Ts("1.2"), None)


async def test_starting_over_forgets_the_replies_to_that_card_and_to_no_other(store: Watches) -> None:
    mine = await with_two_replies(store)
    await store.start_over(mine.id, Ts("0.1"))
    assert await store.replies(mine.id) == BOTH
    await store.start_over(mine.id, CARD)
    assert await store.replies(mine.id) == {}
    assert not await store.reply_posted(mine.id, SECOND, LATER, Ts("1.3"), None)


async def test_once_there_is_another_card_nothing_is_begun_in_the_former_ones_thread(store: Watches) -> None:
    mine = await with_card(store)
    await store.start_over(mine.id, CARD)
    await store.card_tried(mine, LATER)
    await store.card_posted(mine.id, LATER, Ts("2.1"), "the answer", ended=True)
    with pytest.raises(ClaimLost):
        await store.reply_tried(mine, FIRST, LATER)
    assert await store.replies(mine.id) == {}
    await store.reply_tried(replace(mine, card=Ts("2.1")), FIRST, LATER)
    assert await store.replies(mine.id) == {FIRST: Reply(LATER)}


async def test_a_watch_that_moves_begins_a_thread_of_its_own(store: Watches) -> None:
    mine = await with_two_replies(store)
    elsewhere = watch(THERE, ADA)
    assert await store.move(mine, [elsewhere])
    assert await store.replies(mine.id) == await store.replies(elsewhere.id) == {}


async def test_a_watch_that_is_removed_leaves_no_reply_behind(store: Watches) -> None:
    mine = await with_two_replies(store)
    await store.remove(mine)
    await store.add(watch(HERE, GRACE, name=mine.id))
    assert await store.replies(mine.id) == {}


async def test_what_is_forgotten_is_forgotten_with_its_replies(store: Watches) -> None:
    mine = await with_two_replies(store)
    await store.close(mine, NOON, ended=True)
    assert await store.replies(mine.id) == BOTH
    assert await store.forget_closed(LATER) == 1
    assert await store.replies(mine.id) == {}


async def test_who_follows_a_deserted_card_that_shows_the_answer_finds_the_thread_as_it_is(
    store: Watches,
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
        slot = Slot(str(number))

        async def begin(slot: Slot = slot) -> bool:
            try:
                await older.reply_tried(mine, slot, NOON)
            except ClaimLost:
                return False
            return True

        async def take_over(slot: Slot = slot, mine: Watch = mine) -> bool:
            await taken_up(newer)
            return slot in await newer.replies(mine.id)

        begun, read = await asyncio.gather(begin(), take_over())
        assert read or not begun
        (mine,) = await taken_up(older)
