"""Of two trackers of one job the newer one owns it, and the older one can change nothing."""

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from bot.domain.cards import Card, CardFailure, FencingToken, MessageTs, ReplyKind, ThreadReply
from bot.domain.errors import OwnershipLost
from bot.domain.jobs import JobId
from bot.domain.ports.storage import CardRepository
from tests.support.databases import (
    ADA,
    GRACE,
    HERE,
    JOB,
    NOON,
    OTHER_JOB,
    THERE,
    failed_cards_of,
    followed,
    new_card,
    taken_up,
)

LATER = NOON + timedelta(seconds=30)
CARD, REPLY = MessageTs("1.1"), MessageTs("1.2")
FIRST, SECOND = ReplyKind("1"), ReplyKind("2")
Write = Callable[[CardRepository, Card], Coroutine[Any, Any, object]]
GUARDED: dict[str, Write] = {
    "reload": lambda store, mine: store.reload(mine),
    "post started": lambda store, mine: store.mark_post_started(mine, LATER),
    "post started in vain": lambda store, mine: store.mark_post_started(mine, None),
    "shown": lambda store, mine: store.mark_shown(mine, CARD, "newer look"),
    "shown nobody knows what": lambda store, mine: store.mark_shown(mine, CARD, None),
    "shown what it showed": lambda store, mine: store.mark_shown(mine, CARD, "look"),
    "shown of a former card": lambda store, mine: store.mark_shown(mine, MessageTs("0.1"), "old look"),
    "completion reply started": lambda store, mine: store.mark_completion_reply_started(mine, LATER),
    "completion reply started in vain": lambda store, mine: store.mark_completion_reply_started(mine, None),
    "reply started": lambda store, mine: store.mark_reply_started(mine, FIRST, LATER),
    "reply started again": lambda store, mine: store.mark_reply_started(mine, SECOND, LATER),
    "reply started in vain": lambda store, mine: store.mark_reply_started(mine, SECOND, None),
    "move": lambda store, mine: store.move(mine, [new_card(THERE, ADA, job=mine.job)]),
    "move with others": lambda store, mine: store.move(
        replace(mine, followers=(GRACE,)), [new_card(THERE, job=mine.job)]
    ),
    "close": lambda store, mine: store.close(mine, LATER),
    "close_if_unfollowed": lambda store, mine: store.close_if_unfollowed(mine, LATER),
    "remove": lambda store, mine: store.remove(mine),
    "failed card": lambda store, mine: failed_cards_of(store).add(mine, CardFailure.UNCONFIRMED, LATER),
}
"""Everything that a tracker reads or writes with its token."""


async def with_card_and_reply(store: CardRepository, job: JobId = JOB) -> Card:
    """A card whose tracker has posted it and has begun its completion reply and another reply."""
    mine = await followed(store, ADA, job=job)
    await store.mark_post_started(mine, NOON)
    await store.mark_posted(mine.id, NOON, CARD, "look")
    posted = await store.reload(mine)
    assert posted is not None
    await store.mark_completion_reply_started(posted, NOON)
    found = await store.reload(mine)
    assert found is not None
    await store.mark_reply_started(found, SECOND, NOON)
    return found


def guarded(*besides: str) -> Iterator[tuple[JobId, str, Write]]:
    """Each write, for a job of its own."""
    for name, write in GUARDED.items():
        if name not in besides:
            yield JobId(str(uuid4())), name, write


async def test_old_token_changes_nothing(store: CardRepository) -> None:
    for job, name, write in guarded():
        mine = await with_card_and_reply(store, job)
        newer, _ = await store.claim(job)
        with pytest.raises(OwnershipLost):
            await write(store, mine)
        assert await store.get(mine.id) == replace(mine, token=newer), name
        assert await store.replies(mine.id) == {SECOND: ThreadReply(NOON)}, name
        assert list(await store.open_cards(job, newer)) == [replace(mine, token=newer)], name


async def test_old_token_cannot_change_unfollowed_card(store: CardRepository) -> None:
    for job, name, write in guarded():
        mine = await with_card_and_reply(store, job)
        await store.unfollow(mine.id, ADA)
        newer, _ = await store.claim(job)
        with pytest.raises(OwnershipLost):
            await write(store, mine)
        assert await store.get(mine.id) == replace(mine, token=newer, followers=()), name


async def test_deleted_card_raises_ownership_lost(store: CardRepository) -> None:
    for job, name, write in guarded("reload"):
        mine = await with_card_and_reply(store, job)
        await store.remove(mine)
        with pytest.raises(OwnershipLost):
            await write(store, mine)
        assert await store.get(mine.id) is None, name


async def test_current_token_raises_nothing(store: CardRepository) -> None:
    for job, _, write in guarded("move", "move with others", "remove"):
        mine = await with_card_and_reply(store, job)
        await store.claim(job)
        (mine,) = await taken_up(store, job)
        await write(store, mine)


async def test_each_claim_is_another(store: CardRepository) -> None:
    assert len({(await store.claim(JOB))[0] for _ in range(10)}) == 10


async def test_reading_cards_detects_lost_ownership(
    store: CardRepository,
) -> None:
    await store.add(new_card())
    older, _ = await store.claim(JOB)
    newer, _ = await store.claim(JOB)
    with pytest.raises(OwnershipLost):
        await store.open_cards(JOB, older)
    assert [one.token for one in await store.open_cards(JOB, newer)] == [newer]


async def test_one_lost_card_is_enough(store: CardRepository) -> None:
    mine = await store.add(new_card(HERE))
    other = await store.add(new_card(THERE))
    older, _ = await store.claim(JOB)
    kept = await store.get(mine.id)
    assert kept is not None
    await store.close(kept, NOON)
    newer, _ = await store.claim(JOB)
    await store.add(new_card(HERE, GRACE))
    with pytest.raises(OwnershipLost):
        await store.open_cards(JOB, older)
    assert {one.id for one in await store.open_cards(JOB, newer)} == {mine.id, other.id}


async def test_a_claim_covers_one_job(store: CardRepository) -> None:
    other = await followed(store, job=OTHER_JOB)
    await store.add(new_card())
    await store.claim(JOB)
    assert await store.reload(other) == other


async def test_new_card_gets_the_trackers_token(
    store: CardRepository,
) -> None:
    mine = await followed(store)
    new = await store.add(new_card(THERE, GRACE))
    assert new.token is None
    claim = mine.token
    assert claim is not None
    assert list(await store.open_cards(JOB, claim)) == sorted(
        [mine, replace(new, token=claim)], key=lambda one: one.id
    )
    assert await store.get(new.id) == replace(new, token=claim)


async def reopened_by_a_command(store: CardRepository, mine: Card) -> None:
    await store.close(mine, NOON)
    await store.add(new_card(HERE, GRACE))


async def taken_over_by_a_command(store: CardRepository, mine: Card) -> None:
    await store.unfollow(mine.id, ADA)
    await store.add(new_card(HERE, GRACE))


async def resumed(store: CardRepository, mine: Card) -> None:
    await store.close(mine, NOON)
    await store.resume(mine.id, GRACE, NOON)


@pytest.mark.parametrize("come_back", [reopened_by_a_command, taken_over_by_a_command, resumed])
async def test_reopened_card_has_no_token(
    store: CardRepository, come_back: Callable[[CardRepository, Card], Coroutine[Any, Any, None]]
) -> None:
    mine = await followed(store)
    claim = mine.token
    assert claim is not None
    await come_back(store, mine)
    with pytest.raises(OwnershipLost):
        await store.close(mine, LATER)
    (again,) = await store.open_cards(JOB, claim)
    assert again.token == claim
    await store.close(again, LATER)
    assert list(await store.open_jobs()) == []


async def test_closed_card_keeps_its_token(store: CardRepository) -> None:
    mine = await followed(store)
    await store.close(mine, NOON)
    await store.claim(JOB)
    assert await store.reload(mine) == replace(mine, closed_at=NOON)


async def test_claim_without_cards_holds_nothing(store: CardRepository) -> None:
    claim, _ = await store.claim(JOB)
    assert list(await store.open_cards(JOB, claim)) == []
    assert list(await store.open_cards(JOB, FencingToken("another"))) == []


async def test_what_a_follow_reads_is_whole(store: CardRepository) -> None:
    mine = await with_card_and_reply(store)
    tried: datetime | None = mine.completion_reply_started_at
    assert (mine.message_ts, mine.shown_fingerprint, tried, mine.completion_reply_ts) == (
        CARD,
        "look",
        NOON,
        None,
    )
    assert await store.mark_completion_reply_posted(mine.id, NOON, REPLY, None)
    (again,) = await taken_up(store)
    assert again.completion_reply_ts == REPLY
