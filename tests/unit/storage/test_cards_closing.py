"""How a card moves, closes, goes on and is forgotten, in every table of cards."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from bot.domain.cards import API_CLIENT, NEEDS_REDRAW, Card, CardId, ChannelId, ChannelRef, MessageTs
from bot.domain.errors import CardChanged, OwnershipLost, StoreUnavailable
from bot.domain.jobs import JobHistory, JobId, JobState, Progress
from bot.domain.ports.storage import CardRepository
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
    Opened,
    followed,
    new_card,
    taken_up,
)


async def with_card(store: CardRepository, look: str) -> Card:
    """A card of Ada whose message shows that content, as its tracker had it before it was posted."""
    mine = await followed(store, ADA)
    await store.mark_post_started(mine, NOON)
    await store.mark_posted(mine.id, NOON, MessageTs("1.1"), look)
    return mine


# Moving


async def test_card_moves_to_each_follower(store: CardRepository) -> None:
    mine = await followed(store, ADA, GRACE)
    to = [new_card(ChannelRef(TEAM, ChannelId(f"D{person}")), person) for person in (ADA, GRACE)]
    assert await store.move(mine, to)
    assert await store.get(mine.id) is None
    assert {one.id for one in await taken_up(store)} == {one.id for one in to}


async def test_left_card_stays_closed_until_stale(
    store: CardRepository,
) -> None:
    mine = await with_card(store, "withheld")
    assert await store.move(mine, [new_card(THERE, ADA)], left_at=NOON)
    left = await store.get(mine.id)
    assert left is not None and (left.followers, left.closed_at) == ((), NOON)
    await store.mark_stale(mine.id, MessageTs("1.1"))
    assert {one.channel for one in await taken_up(store)} == {HERE, THERE}


async def test_move_merges_with_an_existing_card(store: CardRepository) -> None:
    there = await store.add(new_card(THERE, GRACE))
    mine = await followed(store, ADA)
    assert await store.move(mine, [new_card(THERE, ADA), new_card(ChannelRef(TEAM, ChannelId("D0ADA")), ADA)])
    merged = await store.get(there.id)
    assert merged == replace(there, followers=(GRACE, ADA), token=mine.token, resumed_at=NOON)
    assert len(await taken_up(store)) == 2


async def test_move_keeps_a_later_resume(store: CardRepository) -> None:
    there = await followed(store, GRACE, channel=THERE)
    await store.resume(there.id, GRACE, NOON + timedelta(days=2))
    mine = await followed(store, ADA)
    assert await store.move(mine, [new_card(THERE, ADA)])
    kept = await store.get(there.id)
    assert kept is not None and kept.tracked_since == NOON + timedelta(days=2)


async def test_program_is_no_follower_that_is_left(store: CardRepository) -> None:
    announced = replace(new_card(HERE, API_CLIENT), followers=(API_CLIENT, ADA, GRACE))
    await store.add(announced)
    assert await store.unfollow(announced.id, ADA) == 1
    assert await store.unfollow(announced.id, GRACE) == 0
    assert await store.unfollow(announced.id, GRACE) is None


async def test_move_keeps_who_came_first(store: CardRepository) -> None:
    later = NOON + timedelta(minutes=1)
    mine = await followed(store, ADA)
    await store.add(new_card(HERE, GRACE, asked_at=later))
    await store.add(new_card(THERE, GRACE, asked_at=later))
    await store.unfollow(mine.id, ADA)
    left = next(one for one in await taken_up(store) if one.id == mine.id)
    assert await store.move(left, [replace(new_card(THERE, GRACE), requester=ADA)])
    first = await store.first_card(left.job)
    assert first is not None
    assert (first.channel, first.requester, first.followers) == (THERE, ADA, (GRACE,))


async def test_move_leaves_no_follower_behind(store: CardRepository) -> None:
    mine = await followed(store, ADA)
    both = await store.add(new_card(HERE, GRACE))
    assert not await store.move(mine, [new_card(THERE, ADA)])
    assert await store.get(mine.id) == both
    assert len(await taken_up(store)) == 1


async def test_move_is_atomic(database: Opened) -> None:
    store = await database.store()
    mine = await followed(store, ADA)
    taken = await store.add(new_card(HERE, GRACE, job=OTHER_JOB))
    clash = replace(new_card(THERE, ADA), id=taken.id)
    with pytest.raises(StoreUnavailable):
        await store.move(mine, [new_card(ChannelRef(TEAM, ChannelId("D0ADA")), ADA), clash])
    assert list(await store.followed_cards(TEAM, ADA)) == [mine]


# Closing, resuming, forgetting


async def test_closed_card_can_be_read(store: CardRepository) -> None:
    mine = await followed(store)
    await store.close(mine, NOON)
    assert await store.get(mine.id) == await store.reload(mine) == replace(mine, closed_at=NOON)
    assert await taken_up(store) == []


async def test_only_unfollowed_card_is_closed(store: CardRepository) -> None:
    mine = await followed(store)
    await store.close_if_unfollowed(mine, NOON)
    assert await store.get(mine.id) == mine
    await store.unfollow(mine.id, ADA)
    await store.close_if_unfollowed(mine, NOON)
    assert await store.get(mine.id) == replace(mine, followers=(), closed_at=NOON)


async def test_a_removed_watch_leaves_no_follower_behind(store: CardRepository) -> None:
    mine = await followed(store, ADA, GRACE)
    await store.remove(mine)
    assert await store.get(mine.id) is None
    assert (await store.add(new_card(HERE, LINUS, name=mine.id))).followers == (LINUS,)


async def test_resumed_card_keeps_its_followers(
    store: CardRepository,
) -> None:
    mine = await with_card(store, "resting")
    await store.close(mine, NOON)
    later = NOON + timedelta(days=2)
    await store.resume(mine.id, GRACE, later)
    (again,) = await taken_up(store)
    assert replace(again, token=None) == replace(
        mine,
        followers=(ADA, GRACE),
        post_started_at=NOON,
        message_ts=MessageTs("1.1"),
        shown_fingerprint="resting",
        resumed_at=later,
        token=None,
    )
    assert again.tracked_since == later


async def close_as_lost(store: CardRepository) -> Card:
    """A card of Ada whose followers were notified that Omni no longer knows the job."""
    mine = replace(await with_card(store, "lost"), message_ts=MessageTs("1.1"))
    await store.mark_completion_reply_started(mine, NOON)
    await store.mark_completion_reply_posted(mine.id, NOON, MessageTs("1.2"), None)
    await store.close(mine, NOON, outcome=JobState.UNKNOWN)
    return mine


async def test_found_job_reopens_its_card(store: CardRepository) -> None:
    mine = await close_as_lost(store)
    assert await store.lost_jobs(NOON) == []
    assert await store.lost_jobs(NOON + timedelta(seconds=1)) == [JOB]
    await store.settle_lost(JOB, found=True)
    (again,) = await taken_up(store)
    assert (again.id, again.message_ts, again.completion_reply_ts, again.completion_reply_started_at) == (
        mine.id,
        "1.1",
        None,
        None,
    )
    assert await store.lost_jobs(NOON + timedelta(days=1)) == []


async def test_a_lost_job_is_asked_for_once(store: CardRepository) -> None:
    mine = await close_as_lost(store)
    await store.settle_lost(JOB, found=False)
    assert await store.lost_jobs(NOON + timedelta(days=1)) == []
    await store.settle_lost(JOB, found=True)
    kept = await store.get(mine.id)
    assert kept is not None and (kept.closed_at, kept.completion_reply_ts) == (NOON, MessageTs("1.2"))


async def test_resumed_lost_job_notifies_again(store: CardRepository) -> None:
    mine = await close_as_lost(store)
    await store.resume(mine.id, GRACE, NOON + timedelta(minutes=1))
    (again,) = await taken_up(store)
    assert (again.followers, again.completion_reply_ts, again.completion_reply_started_at) == (
        (ADA, GRACE),
        None,
        None,
    )
    assert await store.lost_jobs(NOON + timedelta(days=1)) == []


async def test_whoever_presses_resume_second_joins(store: CardRepository) -> None:
    mine = await followed(store, ADA)
    await store.close(mine, NOON)
    for person in (ADA, GRACE, GRACE):
        await store.resume(mine.id, person, NOON)
    (again,) = await taken_up(store)
    assert again.followers == (ADA, GRACE)


async def joins(store: CardRepository, mine: Card) -> None:
    await store.add(new_card(HERE, GRACE, asked_at=NOON + timedelta(days=1)))


async def asks_again(store: CardRepository, mine: Card) -> None:
    await store.add(new_card(HERE, ADA, asked_at=NOON + timedelta(days=1)))


async def presses_resume(store: CardRepository, mine: Card) -> None:
    await store.resume(mine.id, ADA, NOON + timedelta(days=1))


@pytest.mark.parametrize("come", [joins, asks_again, presses_resume])
async def test_late_follower_keeps_a_card_open(
    store: CardRepository, come: Callable[[CardRepository, Card], Coroutine[Any, Any, None]]
) -> None:
    mine = await followed(store, ADA)
    await come(store, mine)
    await store.close(mine, NOON + timedelta(days=1))
    kept = await store.reload(mine)
    assert kept is not None
    assert (kept.closed_at, kept.tracked_since) == (None, NOON + timedelta(days=1))
    await store.close(kept, NOON + timedelta(days=1))
    assert list(await store.open_jobs()) == []


async def test_resuming_what_was_forgotten_changes_nothing(store: CardRepository) -> None:
    await store.resume(CardId("nothing"), ADA, NOON)
    assert list(await store.open_jobs()) == []


async def test_new_command_restarts_the_time_limit(store: CardRepository) -> None:
    mine = await followed(store, ADA)
    await store.close(mine, NOON)
    await store.resume(mine.id, ADA, NOON + timedelta(days=2))
    (again,) = await taken_up(store)
    await store.close(again, NOON)
    anew = await store.add(new_card(HERE, GRACE, asked_at=NOON + timedelta(days=1)))
    assert anew.tracked_since == NOON + timedelta(days=1)


async def test_only_old_closed_cards_are_deleted(store: CardRepository) -> None:
    jobs = [JobId(str(uuid4())) for _ in range(5)]
    for hours, job in enumerate(jobs):
        await store.close(await followed(store, ADA, GRACE, job=job), NOON + timedelta(hours=hours))
    still_open = await store.add(new_card(job=JobId(str(uuid4())), asked_at=NOON - timedelta(days=900)))
    assert await store.delete_closed(NOON + timedelta(hours=3)) == 3
    assert await store.delete_closed(NOON + timedelta(hours=3)) == 0
    assert list(await store.open_jobs()) == [still_open.job]
    again = [await store.add(new_card(HERE, LINUS, job=job, name=f"new {job[:8]}")) for job in jobs]
    assert [one.id.startswith("new") for one in again] == [True, True, True, False, False]


# Opened again


@pytest.mark.parametrize("is_closed", [True, False])
async def test_stale_final_update_is_repeated(store: CardRepository, is_closed: bool) -> None:
    mine = await with_card(store, "look")
    await store.mark_shown(mine, MessageTs("1.1"), "the end", outcome=JobState.FAILED)
    if is_closed:
        await store.close(mine, NOON, ended=True)
    await store.mark_stale(mine.id, MessageTs("1.0"))  # another card's
    doubted = await store.get(mine.id)
    assert doubted is not None and doubted.shown_fingerprint == "the end"
    await store.mark_stale(mine.id, MessageTs("1.1"))
    with pytest.raises(OwnershipLost):
        await store.close(mine, NOON, ended=True)
    (again,) = await taken_up(store)
    assert (again.shown_fingerprint, again.ended, again.message_ts) == (NEEDS_REDRAW, True, MessageTs("1.1"))


async def test_stale_card_keeps_its_owner(store: CardRepository) -> None:
    mine = await with_card(store, "look")
    assert await store.mark_shown(mine, MessageTs("1.1"), None)
    await store.mark_stale(mine.id, MessageTs("1.1"))
    assert not await store.mark_shown(mine, MessageTs("1.1"), "another look", outcome=JobState.FAILED)
    assert await store.mark_shown(mine, MessageTs("1.0"), "of a former card")
    assert await store.mark_shown(mine, MessageTs("1.1"), None)
    assert await store.mark_shown(mine, MessageTs("1.1"), "another look")
    seen = await store.get(mine.id)
    assert seen is not None and (seen.shown_fingerprint, seen.ended, seen.token) == (
        "another look",
        False,
        mine.token,
    )


async def test_former_owner_stores_its_final_update(store: CardRepository) -> None:
    mine = await with_card(store, "look")
    assert await store.mark_shown(mine, MessageTs("1.1"), None, outcome=JobState.FAILED)
    newer, (theirs,) = await store.claim(JOB)
    assert theirs.may_show_the_end
    assert await store.mark_shown(mine, MessageTs("1.1"), "the end", outcome=JobState.FAILED)
    stored = await store.get(mine.id)
    assert stored is not None and (stored.shown_fingerprint, stored.ended) == ("the end", True)
    with pytest.raises(OwnershipLost):
        await store.mark_shown(theirs, MessageTs("1.1"), None)
    (again,) = await store.open_cards(JOB, newer)
    assert again == replace(stored, token=newer)


async def test_outcome_is_stored_before_its_final_update(store: CardRepository) -> None:
    mine = await with_card(store, "look")
    await store.mark_shown(mine, MessageTs("1.1"), None, outcome=JobState.FAILED)
    await store.mark_stale(mine.id, MessageTs("1.1"))
    (theirs,) = await taken_up(store)
    assert (theirs.outcome, theirs.ended, theirs.is_stale) == (JobState.FAILED, False, True)
    await store.mark_shown(theirs, MessageTs("1.1"), None)
    stored = await store.get(mine.id)
    assert stored is not None and stored.outcome is JobState.FAILED


async def test_final_updates_of_two_owners_both_count(store: CardRepository) -> None:
    mine = await with_card(store, "look")
    await store.mark_shown(mine, MessageTs("1.1"), None, outcome=JobState.FAILED)
    (theirs,) = await taken_up(store)
    await store.mark_shown(theirs, MessageTs("1.1"), None, outcome=JobState.FAILED)
    assert await store.mark_shown(mine, MessageTs("1.1"), "the end", outcome=JobState.FAILED)
    stored = await store.get(mine.id)
    assert stored is not None and stored.ended and stored.may_show_the_end
    assert await store.mark_shown(theirs, MessageTs("1.1"), "the end, too", outcome=JobState.FAILED)
    stored = await store.get(mine.id)
    assert stored is not None and (stored.shown_fingerprint, stored.ended) == ("the end, too", True)


async def test_former_owner_is_refused_after_newer_edit(store: CardRepository) -> None:
    mine = await with_card(store, "look")
    await store.mark_shown(mine, MessageTs("1.1"), None, outcome=JobState.FAILED)
    (theirs,) = await taken_up(store)
    await store.mark_shown(theirs, MessageTs("1.1"), None)
    with pytest.raises(OwnershipLost):
        await store.mark_shown(mine, MessageTs("1.1"), "the end", outcome=JobState.FAILED)
    assert await store.get(mine.id) == replace(theirs, shown_fingerprint=None)


async def test_stale_card_is_closed_only_without_message(
    store: CardRepository,
) -> None:
    mine = await with_card(store, "look")
    await store.mark_stale(mine.id, MessageTs("1.1"))
    await store.close(mine, NOON)
    with pytest.raises(CardChanged):
        await store.move(mine, [new_card(THERE, ADA)], left_at=NOON)
    await store.unfollow(mine.id, ADA)
    await store.close_if_unfollowed(mine, NOON)
    doubted = await store.get(mine.id)
    assert doubted is not None and doubted.closed_at is None
    await store.mark_message_gone(mine.id, MessageTs("1.1"))
    await store.close_if_unfollowed(mine, NOON)
    gone = await store.get(mine.id)
    assert gone is not None and gone.closed_at == NOON


async def test_follower_with_slow_clock_is_seen(store: CardRepository) -> None:
    await followed(store, ADA)
    await store.add(new_card(HERE, GRACE, asked_at=NOON + timedelta(seconds=10)))
    (mine,) = await taken_up(store)
    await store.add(new_card(HERE, LINUS, asked_at=NOON + timedelta(seconds=8)))
    with pytest.raises(CardChanged):
        await store.mark_completion_reply_started(mine, NOON)
    await store.close(mine, NOON)
    there = await store.get(mine.id)
    assert there is not None and (there.completion_reply_started_at, there.closed_at) == (None, None)


# What is kept of a running job

HISTORY = JobHistory((Progress("Searching\x00 for “revenue”", 4), Progress("Running query")), 3, (41.5, 88.0))


async def test_history_is_stored_with_each_edit(store: CardRepository) -> None:
    mine = await with_card(store, "look")
    for history in (HISTORY, JobHistory()):
        (taken,) = await taken_up(store)
        await store.mark_shown(replace(taken, history=history), MessageTs("1.1"), None)
        await store.mark_shown(replace(taken, history=history), MessageTs("1.1"), "new look")
        newest = await store.get(mine.id)
        assert newest is not None and newest.history == history


async def test_history_is_stored_with_the_post(store: CardRepository) -> None:
    mine = await followed(store, ADA)
    await store.mark_post_started(replace(mine, history=HISTORY), NOON)
    assert (await taken_up(store))[0].history == HISTORY


@pytest.mark.parametrize("way", ["final update", "ended", "unfollowed", "left"])
async def test_ended_card_keeps_no_history(store: CardRepository, way: str) -> None:
    mine = replace(await with_card(store, "look"), message_ts=MessageTs("1.1"), history=HISTORY)
    await store.mark_shown(mine, MessageTs("1.1"), None)
    match way:
        case "final update":
            await store.mark_shown(mine, MessageTs("1.1"), None, outcome=JobState.FAILED)
        case "ended":
            await store.close(mine, NOON, ended=True)
        case "unfollowed":
            await store.unfollow(mine.id, ADA)
            await store.close_if_unfollowed(mine, NOON)
        case _:
            assert await store.move(mine, [new_card(THERE, ADA)], left_at=NOON)
    closed = await store.get(mine.id)
    assert closed is not None and closed.history == JobHistory()
