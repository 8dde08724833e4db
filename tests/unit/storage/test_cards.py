"""What every table of cards must do: the two in SQL, and the one in memory that other tests use."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from bot.domain.cards import Card, CardId, ChannelId, ChannelRef, MessageTs, UserId
from bot.domain.errors import OwnershipLost
from bot.domain.jobs import JobId
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

# Adding


async def test_new_card_is_stored(store: CardRepository) -> None:
    mine = new_card(HERE, ADA, GRACE)
    assert await store.add(mine) == mine
    assert await store.get(mine.id) == mine


async def test_what_was_never_stored_is_not_there(store: CardRepository) -> None:
    assert await store.get(CardId("nothing")) is None
    assert await store.reload(new_card()) is None
    assert await taken_up(store) == []
    assert list(await store.open_jobs()) == []
    assert list(await store.followed_cards(TEAM, ADA)) == []


async def test_second_request_adds_a_follower(
    store: CardRepository,
) -> None:
    first = await store.add(new_card(HERE, ADA))
    later = NOON + timedelta(minutes=1)
    merged = await store.add(new_card(HERE, GRACE, asked_at=later))
    assert merged == replace(first, followers=(ADA, GRACE), resumed_at=later)
    assert [one.id for one in await taken_up(store)] == [first.id]


async def test_first_card_is_the_oldest(
    store: CardRepository,
) -> None:
    assert await store.first_card(JOB) is None
    later = await store.add(new_card(THERE, GRACE, asked_at=NOON + timedelta(minutes=1)))
    assert await store.first_card(JOB) == later
    first = await store.add(new_card(HERE, ADA))
    assert await store.first_card(JOB) == first
    assert await store.first_card(OTHER_JOB) is None


async def test_asking_twice_follows_once(store: CardRepository) -> None:
    await store.add(new_card(HERE, ADA))
    assert (await store.add(new_card(HERE, ADA))).followers == (ADA,)


async def test_followers_stay_in_the_order_they_came(database: Opened) -> None:
    people = [UserId(f"U{number:03}") for number in (7, 3, 9, 1, 5)]
    store = await database.store()
    for person in people:
        await store.add(new_card(HERE, person))
    await database.close()
    (kept,) = await taken_up(await database.store())
    assert list(kept.followers) == people


@pytest.mark.parametrize(
    "other",
    [
        new_card(THERE),
        new_card(HERE, job=OTHER_JOB),
    ],
    ids=["another channel", "another job"],
)
async def test_elsewhere_is_another_watch(store: CardRepository, other: Card) -> None:
    mine = await store.add(new_card(HERE))
    assert await store.add(other) == other
    assert await store.get(mine.id) == mine


async def test_simultaneous_commands_make_one_card(store: CardRepository) -> None:
    people = [UserId(f"U{number:03}") for number in range(30)]
    added = await asyncio.gather(*(store.add(new_card(HERE, person)) for person in people))
    assert len({one.id for one in added}) == 1
    (kept,) = await taken_up(store)
    assert sorted(kept.followers) == people


async def test_closed_watch_opens_again_for_all(store: CardRepository) -> None:
    old = await followed(store, ADA, GRACE)
    await store.mark_post_started(old, NOON)
    await store.mark_posted(old.id, NOON, MessageTs("1.1"), "look")
    await store.mark_completion_reply_started(replace(old, message_ts=MessageTs("1.1")), NOON)
    await store.mark_completion_reply_posted(old.id, NOON, MessageTs("1.2"), None)
    await store.close(old, NOON)
    later = NOON + timedelta(hours=1)
    again = await store.add(new_card(HERE, LINUS, asked_at=later))
    assert again == replace(
        old,
        followers=(ADA, GRACE, LINUS),
        resumed_at=later,
        post_started_at=NOON,
        message_ts=MessageTs("1.1"),
        shown_fingerprint="look",
        closed_at=None,
        token=None,
    )
    assert list(await store.open_jobs()) == [JOB]


async def test_card_of_ended_job_stays_closed(store: CardRepository) -> None:
    old = await followed(store, ADA, GRACE)
    await store.mark_post_started(old, NOON)
    await store.mark_posted(old.id, NOON, MessageTs("1.1"), "the answer")
    await store.close(old, NOON, ended=True)
    await store.add(new_card(HERE, LINUS, asked_at=NOON + timedelta(hours=1)))
    await store.resume(old.id, LINUS, NOON + timedelta(hours=2))
    again = await store.add(new_card(HERE, LINUS, asked_at=NOON + timedelta(hours=3)))
    assert again == await store.get(old.id)
    assert (again.requester, again.followers) == (ADA, (ADA, GRACE, LINUS))
    assert (again.closed_at, again.ended) == (NOON, True)
    assert [one.id for one in await store.ended_cards(TEAM, ADA, 9)] == [old.id], "her Home tab keeps it"
    assert list(await store.open_jobs()) == []


async def test_ended_card_reopens_after_deletion(store: CardRepository) -> None:
    old = await followed(store, ADA)
    await store.mark_post_started(old, NOON)
    await store.mark_posted(old.id, NOON, MessageTs("1.1"), "the answer")
    await store.close(old, NOON, ended=True)
    await store.forget_message(old.id, MessageTs("1.1"))
    fresh = await store.get(old.id)
    assert fresh is not None
    assert (fresh.message_ts, fresh.closed_at, fresh.ended, fresh.token) == (None, None, False, None)
    assert list(await store.open_jobs()) == [JOB]


@pytest.mark.parametrize("is_closed", [True, False])
async def test_deserted_watch_keeps_its_requester(store: CardRepository, is_closed: bool) -> None:
    old = await followed(store, ADA)
    await store.unfollow(old.id, ADA)
    if is_closed:
        await store.close_if_unfollowed(old, NOON)
    later = NOON + timedelta(hours=1)
    again = await store.add(new_card(HERE, GRACE, asked_at=later))
    assert again == replace(old, followers=(GRACE,), resumed_at=later, token=None)
    assert (await store.add(new_card(HERE, ADA, asked_at=later))).followers == (GRACE, ADA)


async def test_first_follower_stays_first_after_coming_back(store: CardRepository) -> None:
    mine = await followed(store, ADA)
    await store.add(new_card(THERE, GRACE, asked_at=NOON + timedelta(minutes=1)))
    await store.unfollow(mine.id, ADA)
    await store.add(new_card(HERE, ADA, asked_at=NOON + timedelta(minutes=2)))
    first = await store.first_card(JOB)
    assert first is not None and (first.id, first.requester) == (mine.id, ADA)


async def test_closed_card_can_be_followed_again(store: CardRepository) -> None:
    mine = await followed(store, ADA, GRACE)
    await store.unfollow(mine.id, GRACE)
    await store.close(replace(mine, followers=(ADA,)), NOON)
    assert (await store.add(new_card(HERE, GRACE))).followers == (ADA, GRACE)


# Following


async def test_leaving_tells_how_many_are_left(store: CardRepository) -> None:
    mine = await store.add(new_card(HERE, ADA, GRACE))
    assert await store.unfollow(mine.id, ADA) == 1
    assert await store.unfollow(mine.id, GRACE) == 0
    kept = await store.get(mine.id)
    assert kept is not None and kept.followers == () and kept.requester == ADA


async def test_unfollowing_without_following_changes_nothing(store: CardRepository) -> None:
    mine = await store.add(new_card(HERE, ADA))
    assert await store.unfollow(mine.id, GRACE) is None
    assert await store.unfollow(CardId("nothing"), ADA) is None
    assert await store.get(mine.id) == mine


async def test_double_click_unfollows_once(store: CardRepository) -> None:
    mine = await store.add(new_card(HERE, ADA, GRACE))
    left = await asyncio.gather(store.unfollow(mine.id, ADA), store.unfollow(mine.id, ADA))
    assert sorted(left, key=str) == [1, None]


async def test_followed_cards_are_newest_first(store: CardRepository) -> None:
    await store.close(await followed(store, ADA, job=OTHER_JOB), NOON)
    old = await store.add(new_card(HERE, ADA, asked_at=NOON))
    new = await store.add(new_card(THERE, GRACE, ADA, asked_at=NOON + timedelta(minutes=1)))
    await store.add(new_card(ChannelRef(TEAM, ChannelId("C0GRACE")), GRACE))
    assert list(await store.followed_cards(TEAM, ADA)) == [new, old]
    await store.unfollow(new.id, ADA)
    assert list(await store.followed_cards(TEAM, ADA)) == [old]


async def test_open_cards_are_oldest_first(store: CardRepository) -> None:
    await store.close(await followed(store, channel=ChannelRef(TEAM, ChannelId("C0DONE"))), NOON)
    new = await store.add(new_card(HERE, asked_at=NOON + timedelta(minutes=1)))
    old = await store.add(new_card(THERE, asked_at=NOON))
    await store.add(new_card(HERE, job=OTHER_JOB))
    assert [one.id for one in await taken_up(store)] == [old.id, new.id]


async def test_open_jobs_are_distinct_oldest_first(store: CardRepository) -> None:
    jobs = [JobId(str(uuid4())) for _ in range(5)]
    for minutes, job in enumerate(jobs):
        await store.add(new_card(THERE, job=job, asked_at=NOON + timedelta(minutes=10 + minutes)))
    await store.add(new_card(HERE, job=jobs[3], asked_at=NOON))
    await store.close(await followed(store, job=OTHER_JOB), NOON)
    assert list(await store.open_jobs()) == [jobs[3], jobs[0], jobs[1], jobs[2], jobs[4]]


# What was shown and told


async def test_every_step_of_posting_is_stored(database: Opened) -> None:
    store = await database.store()
    mine = await followed(store)
    tried, told = NOON + timedelta(seconds=1), NOON + timedelta(seconds=2)
    await store.mark_post_started(mine, tried)
    assert await store.get(mine.id) == (mine := replace(mine, post_started_at=tried))
    assert await store.mark_posted(mine.id, tried, MessageTs("1777900000.000100"), "first look")
    assert await store.get(mine.id) == (
        mine := replace(mine, message_ts=MessageTs("1777900000.000100"), shown_fingerprint="first look")
    )
    await store.mark_shown(mine, MessageTs("1777900000.000100"), "second look")
    assert await store.get(mine.id) == (mine := replace(mine, shown_fingerprint="second look"))
    await store.mark_completion_reply_started(mine, told)
    assert await store.get(mine.id) == (mine := replace(mine, completion_reply_started_at=told))
    assert await store.mark_completion_reply_posted(mine.id, told, MessageTs("1777900000.000200"), "reply")
    assert await store.get(mine.id) == (
        mine := replace(mine, completion_reply_ts=MessageTs("1777900000.000200"))
    )
    await store.mark_message_gone(mine.id, MessageTs("1777900000.000100"))
    assert await store.get(mine.id) == (mine := replace(mine, is_message_gone=True))
    await store.close(mine, told)
    assert await store.get(mine.id) == (mine := replace(mine, closed_at=told))
    await database.close()
    assert await (await database.store()).get(mine.id) == mine


async def test_unknown_fingerprint_is_stored(store: CardRepository) -> None:
    mine = await followed(store)
    await store.mark_post_started(mine, NOON)
    await store.mark_posted(mine.id, NOON, MessageTs("1.1"), None)
    kept = await store.get(mine.id)
    assert kept is not None and kept.message_ts == MessageTs("1.1") and kept.shown_fingerprint is None


async def test_failed_attempt_is_forgotten(store: CardRepository) -> None:
    mine = await followed(store)
    await store.mark_post_started(mine, NOON)
    await store.mark_post_started(mine, None)
    await store.mark_completion_reply_started(mine, NOON)
    await store.mark_completion_reply_started(mine, None)
    assert await store.get(mine.id) == mine


async def test_forget_message_keeps_the_rest(store: CardRepository) -> None:
    mine = await followed(store, ADA, GRACE)
    await store.mark_post_started(mine, NOON)
    await store.mark_posted(mine.id, NOON, MessageTs("1.1"), "look")
    await store.mark_message_gone(mine.id, MessageTs("1.1"))
    posted = replace(mine, message_ts=MessageTs("1.1"))
    await store.mark_completion_reply_started(posted, NOON)
    await store.mark_completion_reply_posted(mine.id, NOON, MessageTs("1.2"), None)
    await store.forget_message(mine.id, MessageTs("1.1"))
    assert await store.get(mine.id) == mine
    with pytest.raises(OwnershipLost):  # under the card that is gone, which is being posted anew
        await store.mark_completion_reply_started(posted, NOON)


async def test_writes_about_an_old_message_are_ignored(store: CardRepository) -> None:
    mine = await followed(store)
    await store.mark_post_started(mine, NOON)
    await store.mark_posted(mine.id, NOON, MessageTs("2.2"), "look")
    await store.mark_shown(mine, MessageTs("1.1"), "old look")
    await store.mark_message_gone(mine.id, MessageTs("1.1"))
    await store.forget_message(mine.id, MessageTs("1.1"))
    assert await store.get(mine.id) == replace(
        mine, post_started_at=NOON, message_ts=MessageTs("2.2"), shown_fingerprint="look"
    )


# What a try came to


@pytest.mark.parametrize("tried_since", [NOON + timedelta(seconds=20), None], ids=["again", "given up"])
async def test_message_of_a_replaced_attempt_is_refused(
    store: CardRepository, tried_since: datetime | None
) -> None:
    mine = await followed(store)
    await store.mark_post_started(mine, NOON)
    await store.mark_post_started(mine, tried_since)
    assert not await store.mark_posted(mine.id, NOON, MessageTs("1.1"), "look")
    assert await store.get(mine.id) == replace(mine, post_started_at=tried_since)


@pytest.mark.parametrize("tried_since", [NOON + timedelta(seconds=20), None], ids=["again", "given up"])
async def test_reply_of_a_replaced_attempt_is_refused(
    store: CardRepository, tried_since: datetime | None
) -> None:
    mine = await followed(store)
    await store.mark_completion_reply_started(mine, NOON)
    await store.mark_completion_reply_started(mine, tried_since)
    assert not await store.mark_completion_reply_posted(mine.id, NOON, MessageTs("1.1"), "look")
    assert await store.get(mine.id) == replace(mine, completion_reply_started_at=tried_since)


async def test_second_message_of_one_attempt_is_refused(store: CardRepository) -> None:
    mine = await followed(store)
    await store.mark_post_started(mine, NOON)
    assert await store.mark_posted(mine.id, NOON, MessageTs("1.1"), "look")
    assert not await store.mark_posted(mine.id, NOON, MessageTs("2.2"), "another")
    assert await store.get(mine.id) == replace(
        mine, post_started_at=NOON, message_ts=MessageTs("1.1"), shown_fingerprint="look"
    )


async def test_stored_message_keeps_its_newer_fingerprint(
    store: CardRepository,
) -> None:
    mine = await followed(store)
    await store.mark_post_started(mine, NOON)
    assert await store.mark_posted(mine.id, NOON, MessageTs("1.1"), None)
    await store.mark_shown(mine, MessageTs("1.1"), "newer look")
    assert await store.mark_posted(mine.id, NOON, MessageTs("1.1"), "first look")
    assert await store.get(mine.id) == replace(
        mine, post_started_at=NOON, message_ts=MessageTs("1.1"), shown_fingerprint="newer look"
    )


async def test_stored_reply_is_accepted_only_again(
    store: CardRepository,
) -> None:
    mine = await followed(store)
    await store.mark_completion_reply_started(mine, NOON)
    assert await store.mark_completion_reply_posted(mine.id, NOON, MessageTs("1.1"), None)
    assert await store.mark_completion_reply_posted(mine.id, NOON, MessageTs("1.1"), None)
    assert not await store.mark_completion_reply_posted(mine.id, NOON, MessageTs("2.2"), None)
    assert await store.get(mine.id) == replace(
        mine, completion_reply_started_at=NOON, completion_reply_ts=MessageTs("1.1")
    )


async def test_former_owner_can_store_its_post(store: CardRepository) -> None:
    mine = await followed(store)
    await store.mark_post_started(mine, NOON)
    await store.mark_completion_reply_started(mine, NOON)
    claim, _ = await store.claim(JOB)
    assert await store.mark_posted(mine.id, NOON, MessageTs("1.1"), "look")
    assert await store.mark_completion_reply_posted(mine.id, NOON, MessageTs("1.2"), None)
    (kept,) = await store.open_cards(JOB, claim)
    assert (kept.message_ts, kept.shown_fingerprint, kept.completion_reply_ts) == (
        MessageTs("1.1"),
        "look",
        MessageTs("1.2"),
    )


async def test_post_for_a_deleted_card_is_refused(store: CardRepository) -> None:
    assert not await store.mark_posted(CardId("nothing"), NOON, MessageTs("1.1"), "look")
    assert not await store.mark_completion_reply_posted(CardId("nothing"), NOON, MessageTs("1.1"), "look")


async def test_shared_card_names_who_shared_it(store: CardRepository) -> None:
    mine = await store.add(replace(new_card(HERE, ADA), shared_by=ADA))
    found = await store.get(mine.id)
    assert found is not None and found.shared_by == ADA
