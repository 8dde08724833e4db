"""Posting once: whatever happens to the answer, Slack holds the message exactly once."""

import asyncio
from datetime import datetime, timedelta
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.delivery.fallback import BlockSupport
from bot.delivery.posts import MessagePoster, PendingPost
from bot.domain.cards import Card, CardId, MessageTs, ReplyKind
from bot.domain.errors import (
    DeliveryUnknown,
    MessageGone,
    NotAllowedHere,
    OutcomeUnknown,
    PayloadRefused,
    ScopeMissing,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    StoreUnavailable,
    TokenRefused,
)
from bot.domain.messages import Message
from bot.domain.ports import CardRepository
from bot.tasks import STORED_WITHIN_SECONDS
from tests.support.fakes import HERE, START, FakeBoard, a_watch, now

pytestmark = pytest.mark.looptime


class Desk:
    """A poster between a fake Slack and a table that keeps what the poster writes."""

    def __init__(self) -> None:
        self.board = FakeBoard()
        self.palette = BlockSupport()
        self.posting = MessagePoster(self.board, cast(CardRepository, self), now, self.palette)
        self.tries: list[datetime | None] = []
        self.stored: list[tuple[MessageTs, str | None]] = []
        self.stored_for: list[datetime] = []
        self.database_is_away = False
        self.intents_are_unconfirmed = False
        self.withdrawals_are_lost = False
        self.is_replaced = False
        """Another try has been begun since, by another process."""

    async def post(
        self, *forms: str | Message, tried_at: datetime | None = None, slot: ReplyKind | None = None
    ) -> None:
        messages = tuple(form if isinstance(form, Message) else Message(form) for form in forms or ("hello",))
        await self.posting.post_once(PendingPost(a_watch(), messages, None, tried_at, slot))

    async def mark_post_started(self, _card: Card, at: datetime | None) -> None:
        self.tries.append(at)
        if at is None and self.withdrawals_are_lost:
            raise StoreUnavailable("away")
        if self.intents_are_unconfirmed:
            raise StoreUnavailable("connection lost")

    async def mark_posted(
        self,
        _card: CardId,
        tried_at: datetime,
        ts: MessageTs,
        fingerprint: str | None,
        *,
        ended: bool = False,
    ) -> bool:
        assert not ended
        await asyncio.sleep(0.01)
        if self.database_is_away:
            raise StoreUnavailable("away")
        if self.is_replaced:
            return False
        self.stored.append((ts, fingerprint))
        self.stored_for.append(tried_at)
        return True

    async def mark_reply_started(self, card: Card, _kind: ReplyKind, at: datetime | None) -> None:
        await self.mark_post_started(card, at)

    async def mark_reply_posted(
        self, card: CardId, _kind: ReplyKind, tried_at: datetime, ts: MessageTs, fingerprint: str | None
    ) -> bool:
        return await self.mark_posted(card, tried_at, ts, fingerprint)

    @property
    def held(self) -> list[str]:
        return [posted.message.text for posted in self.board.top_level()]


async def test_start_is_stored_before_ts() -> None:
    desk = Desk()
    await desk.post()
    assert desk.held == ["hello"]
    assert desk.tries == [START]
    assert desk.stored == [(MessageTs("1.0"), Message("hello").fingerprint)]


async def test_ts_is_stored_for_its_own_try() -> None:
    desk = Desk()
    desk.board.plan("post", SlackUnreachable("no_connection"), SlackUnreachable("no_connection"))
    await desk.post()
    assert desk.tries == [START, None, START + timedelta(seconds=1), None, START + timedelta(seconds=3)]
    assert desk.stored_for == [START + timedelta(seconds=3)]
    desk.board.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
    await desk.post()
    assert desk.stored_for[-1:] == desk.tries[-1:]


async def test_found_post_is_stored_for_later_try() -> None:
    desk = Desk()
    desk.board.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
    await desk.post(tried_at=START - timedelta(days=1))
    assert desk.held == ["hello"]
    assert desk.stored_for == desk.tries == [START]


async def test_ts_is_retried_while_database_is_down() -> None:
    desk = Desk()
    desk.database_is_away = True
    posting = asyncio.create_task(desk.post())
    await asyncio.sleep(90.0)
    assert desk.held == ["hello"] and desk.stored == []
    desk.database_is_away = False
    await posting
    assert desk.stored == [(MessageTs("1.0"), Message("hello").fingerprint)]
    assert desk.board.times("delete") == []


async def test_unstored_post_is_found_by_next_try() -> None:
    desk = Desk()
    desk.database_is_away = True
    with pytest.raises(StoreUnavailable):
        await desk.post()
    assert STORED_WITHIN_SECONDS <= asyncio.get_running_loop().time() <= STORED_WITHIN_SECONDS + 10
    desk.database_is_away = False
    await desk.post(tried_at=desk.tries[0])
    assert desk.held == ["hello"]
    assert desk.stored == [(MessageTs("1.0"), None)]


async def test_post_of_replaced_try_is_deleted() -> None:
    desk = Desk()
    desk.is_replaced = True
    await desk.post()
    assert desk.held == [] and desk.board.times("delete") != []


async def test_undeletable_surplus_post_is_left() -> None:
    desk = Desk()
    desk.is_replaced = True
    desk.board.plan("delete", SlackUnreachable("no_connection"))
    await desk.post()
    assert desk.held == ["hello"] and len(desk.board.times("delete")) == 1


async def test_unsearchable_try_waits_for_its_process() -> None:
    desk = Desk()
    desk.board.plan("find", ScopeMissing("missing_scope"))
    with pytest.raises(DeliveryUnknown):
        await desk.post(tried_at=START - timedelta(seconds=3))
    assert 12.0 <= asyncio.get_running_loop().time() < 14.0
    assert desk.held == []


@pytest.mark.parametrize("behind_seconds", [0, 120])
async def test_late_post_of_dead_process_is_found(
    behind_seconds: float,
) -> None:
    desk = Desk()
    tried_at = START - timedelta(seconds=behind_seconds)

    async def arrive_late() -> None:
        await asyncio.sleep(6)
        await desk.board.post(HERE, Message("hello"), mark=f"watch/{tried_at.timestamp():.6f}")

    arriving = asyncio.create_task(arrive_late())
    await asyncio.sleep(3)
    await desk.post(tried_at=tried_at)
    await arriving
    assert desk.held == ["hello"]


async def test_known_unsent_post_needs_no_search() -> None:
    """Even where nobody may look for it: this process knows that there is nothing to be found."""
    desk = Desk()
    desk.board.plan("post", SlackBusy("ratelimited", 1.0))
    desk.withdrawals_are_lost = True
    with pytest.raises(StoreUnavailable):
        await desk.post()
    desk.withdrawals_are_lost = False
    desk.board.plan("find", ScopeMissing("missing_scope"))
    await desk.post(tried_at=desk.tries[0])
    assert desk.held == ["hello"] and desk.board.times("find") == []


async def test_unsearchable_old_try_is_reported_at_once() -> None:
    desk = Desk()
    desk.board.plan("find", ScopeMissing("missing_scope"))
    with pytest.raises(DeliveryUnknown):
        await desk.post(tried_at=START - timedelta(days=1))
    assert asyncio.get_running_loop().time() == 0.0


async def test_unanswered_post_is_found_not_repeated() -> None:
    desk = Desk()
    desk.board.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
    await desk.post()
    assert desk.held == ["hello"]
    assert desk.stored == [(MessageTs("1.0"), None)]


async def test_simultaneous_replies_have_distinct_marks() -> None:
    desk = Desk()
    await desk.post("one", slot=ReplyKind("1"))
    await desk.post("other", slot=ReplyKind("2"), tried_at=desk.tries[0])
    assert desk.held == ["one", "other"]


async def test_lost_post_is_repeated_after_last_search() -> None:
    desk = Desk()
    desk.board.plan("post", OutcomeUnknown("ServerDisconnectedError"))
    await desk.post()
    first, second = desk.board.times("post")
    assert second - first >= 12
    assert desk.held == ["hello"]


async def test_unsearchable_unanswered_post_is_not_repeated() -> None:
    desk = Desk()
    desk.board.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
    desk.board.plan("find", ScopeMissing("missing_scope"))
    with pytest.raises(DeliveryUnknown):
        await desk.post()
    assert desk.held == ["hello"]


async def test_earlier_try_is_searched_for_first() -> None:
    desk = Desk()
    await desk.post()
    await desk.post(tried_at=desk.tries[0])
    assert desk.held == ["hello"]


async def test_earlier_try_that_never_arrived_is_repeated() -> None:
    desk = Desk()
    await desk.post(tried_at=START - timedelta(minutes=5))
    assert desk.held == ["hello"]


@pytest.mark.parametrize("started_at", [START - timedelta(minutes=5), None], ids=["restarted", "unanswered"])
async def test_reply_to_deleted_card_is_not_posted_again(started_at: datetime | None) -> None:
    """Slack would put it at the top level of the channel."""
    desk = Desk()
    desk.board.plan("post", OutcomeUnknown("TimeoutError"))
    desk.board.plan("find", MessageGone("thread_not_found"))
    with pytest.raises(MessageGone):
        await desk.post(tried_at=started_at, slot=ReplyKind("1"))
    assert desk.held == []


async def test_failed_search_is_repeated() -> None:
    desk = Desk()
    desk.board.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
    desk.board.plan(
        "find", SlackBusy("ratelimited", 30.0), SlackUnreachable("no_connection"), OutcomeUnknown("x")
    )
    await desk.post()
    assert desk.held == ["hello"]


async def test_retry_after_is_respected() -> None:
    desk = Desk()
    desk.board.plan("post", SlackBusy("rate_limited", 30.0))
    await desk.post()
    assert desk.board.times("post") == [0.0, 30.0]


async def test_refused_variant_falls_back_to_plainer() -> None:
    desk = Desk()
    desk.board.plan("post", PayloadRefused("invalid_blocks"))
    await desk.post("rich", "plain")
    assert desk.held == ["plain"]
    assert desk.stored == [(MessageTs("1.0"), Message("plain").fingerprint)]


async def test_refused_block_is_remembered() -> None:
    desk = Desk()
    task = Message("step 1", ({"type": "task_card"}, {"type": "section"}))
    plain = Message("step 1, plain", ({"type": "section"},))
    desk.board.plan("post", PayloadRefused("invalid_blocks"))
    await desk.post(task, plain)
    assert desk.held == ["step 1, plain"]
    assert desk.palette.supported((task, plain)) == (plain,)


async def test_revoked_token_backs_off_to_a_minute() -> None:
    desk = Desk()
    desk.board.plan("post", *[TokenRefused("token_revoked")] * 20)
    await desk.post()
    times = desk.board.times("post")
    assert desk.held == ["hello"]
    assert times[-1] - times[-2] == 60.0


async def test_closed_channel_is_reported_at_once() -> None:
    desk = Desk()
    desk.board.closed.add(HERE)
    with pytest.raises(NotAllowedHere):
        await desk.post()


async def test_cancelled_caller_does_not_stop_post() -> None:
    desk = Desk()
    task = asyncio.create_task(desk.post())
    while not desk.held:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await desk.posting.tasks.drain()
    assert len(desk.stored) == 1


async def test_nothing_is_posted_without_stored_start() -> None:
    desk = Desk()
    desk.intents_are_unconfirmed = True
    with pytest.raises(StoreUnavailable):
        await desk.post()
    assert desk.held == [] and desk.stored == []


FAILURES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                OutcomeUnknown("TimeoutError"),
                SlackBusy("ratelimited", 2.0),
                SlackUnreachable("no_connection"),
                PayloadRefused("invalid_blocks"),
            ]
        ),
        st.booleans(),
    ),
    max_size=6,
)


@given(failures=FAILURES)
async def test_any_failures_leave_exactly_one_post(
    failures: list[tuple[SlackError, bool]],
) -> None:
    desk = Desk()
    for error, took_effect in failures:
        desk.board.plan("post", error, after_effect=took_effect and isinstance(error, OutcomeUnknown))
    if sum(isinstance(error, PayloadRefused) for error, _ in failures) < 2:
        await desk.post("rich", "plain")
        assert len(desk.held) == len(desk.stored) == 1
        return
    try:
        await desk.post("rich", "plain")
    except NotAllowedHere as refused:
        assert refused.code == "invalid_blocks" and desk.held == []
    else:
        assert len(desk.held) == 1


async def test_refused_plain_variant_is_final() -> None:
    desk = Desk()
    desk.board.plan("post", *[PayloadRefused("invalid_blocks")] * 2)
    with pytest.raises(NotAllowedHere):
        await desk.post("rich", "plain")
    assert desk.held == [] and desk.stored == []


async def test_unconfirmed_start_without_post_needs_no_search() -> None:
    """The database took the intent and could not say so: this process knows that it posted nothing."""
    desk = Desk()
    desk.board.plan("find", *[ScopeMissing("missing_scope")] * 10)
    desk.intents_are_unconfirmed = True
    with pytest.raises(StoreUnavailable):
        await desk.post()
    desk.intents_are_unconfirmed = False
    await desk.post(tried_at=desk.tries[-1])
    assert desk.held == ["hello"]


async def test_unconfirmed_start_elsewhere_is_searched_for() -> None:
    desk = Desk()
    desk.board.plan("find", *[ScopeMissing("missing_scope")] * 10)
    desk.intents_are_unconfirmed = True
    with pytest.raises(StoreUnavailable):
        await desk.post()
    desk.intents_are_unconfirmed = False
    with pytest.raises(DeliveryUnknown):
        await desk.post(tried_at=START - timedelta(seconds=5))
    assert desk.held == []
