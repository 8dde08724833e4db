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
from tests.support.fakes import HERE, START, FakeSlackMessages, a_card, now

pytestmark = pytest.mark.looptime


class Stage:
    """A poster between a fake Slack and a table that keeps what the poster writes."""

    def __init__(self) -> None:
        self.fake_slack = FakeSlackMessages()
        self.block_support = BlockSupport()
        self.posting = MessagePoster(self.fake_slack, cast(CardRepository, self), now, self.block_support)
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
        await self.posting.post_once(PendingPost(a_card(), messages, None, tried_at, slot))

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
        return [posted.message.text for posted in self.fake_slack.top_level()]


async def test_start_is_stored_before_ts() -> None:
    stage = Stage()
    await stage.post()
    assert stage.held == ["hello"]
    assert stage.tries == [START]
    assert stage.stored == [(MessageTs("1.0"), Message("hello").fingerprint)]


async def test_ts_is_stored_for_its_own_try() -> None:
    stage = Stage()
    stage.fake_slack.plan("post", SlackUnreachable("no_connection"), SlackUnreachable("no_connection"))
    await stage.post()
    assert stage.tries == [START, None, START + timedelta(seconds=1), None, START + timedelta(seconds=3)]
    assert stage.stored_for == [START + timedelta(seconds=3)]
    stage.fake_slack.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
    await stage.post()
    assert stage.stored_for[-1:] == stage.tries[-1:]


async def test_found_post_is_stored_for_later_try() -> None:
    stage = Stage()
    stage.fake_slack.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
    await stage.post(tried_at=START - timedelta(days=1))
    assert stage.held == ["hello"]
    assert stage.stored_for == stage.tries == [START]


async def test_ts_is_retried_while_database_is_down() -> None:
    stage = Stage()
    stage.database_is_away = True
    posting = asyncio.create_task(stage.post())
    await asyncio.sleep(90.0)
    assert stage.held == ["hello"] and stage.stored == []
    stage.database_is_away = False
    await posting
    assert stage.stored == [(MessageTs("1.0"), Message("hello").fingerprint)]
    assert stage.fake_slack.times("delete") == []


async def test_unstored_post_is_found_by_next_try() -> None:
    stage = Stage()
    stage.database_is_away = True
    with pytest.raises(StoreUnavailable):
        await stage.post()
    assert STORED_WITHIN_SECONDS <= asyncio.get_running_loop().time() <= STORED_WITHIN_SECONDS + 10
    stage.database_is_away = False
    await stage.post(tried_at=stage.tries[0])
    assert stage.held == ["hello"]
    assert stage.stored == [(MessageTs("1.0"), None)]


async def test_post_of_replaced_try_is_deleted() -> None:
    stage = Stage()
    stage.is_replaced = True
    await stage.post()
    assert stage.held == [] and stage.fake_slack.times("delete") != []


async def test_undeletable_surplus_post_is_left() -> None:
    stage = Stage()
    stage.is_replaced = True
    stage.fake_slack.plan("delete", SlackUnreachable("no_connection"))
    await stage.post()
    assert stage.held == ["hello"] and len(stage.fake_slack.times("delete")) == 1


async def test_unsearchable_try_waits_for_its_process() -> None:
    stage = Stage()
    stage.fake_slack.plan("find", ScopeMissing("missing_scope"))
    with pytest.raises(DeliveryUnknown):
        await stage.post(tried_at=START - timedelta(seconds=3))
    assert 12.0 <= asyncio.get_running_loop().time() < 14.0
    assert stage.held == []


@pytest.mark.parametrize("behind_seconds", [0, 120])
async def test_late_post_of_dead_process_is_found(
    behind_seconds: float,
) -> None:
    stage = Stage()
    tried_at = START - timedelta(seconds=behind_seconds)

    async def arrive_late() -> None:
        await asyncio.sleep(6)
        await stage.fake_slack.post(HERE, Message("hello"), mark=f"watch/{tried_at.timestamp():.6f}")

    arriving = asyncio.create_task(arrive_late())
    await asyncio.sleep(3)
    await stage.post(tried_at=tried_at)
    await arriving
    assert stage.held == ["hello"]


async def test_known_unsent_post_needs_no_search() -> None:
    """Even where nobody may look for it: this process knows that there is nothing to be found."""
    stage = Stage()
    stage.fake_slack.plan("post", SlackBusy("ratelimited", 1.0))
    stage.withdrawals_are_lost = True
    with pytest.raises(StoreUnavailable):
        await stage.post()
    stage.withdrawals_are_lost = False
    stage.fake_slack.plan("find", ScopeMissing("missing_scope"))
    await stage.post(tried_at=stage.tries[0])
    assert stage.held == ["hello"] and stage.fake_slack.times("find") == []


async def test_unsearchable_old_try_is_reported_at_once() -> None:
    stage = Stage()
    stage.fake_slack.plan("find", ScopeMissing("missing_scope"))
    with pytest.raises(DeliveryUnknown):
        await stage.post(tried_at=START - timedelta(days=1))
    assert asyncio.get_running_loop().time() == 0.0


async def test_unanswered_post_is_found_not_repeated() -> None:
    stage = Stage()
    stage.fake_slack.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
    await stage.post()
    assert stage.held == ["hello"]
    assert stage.stored == [(MessageTs("1.0"), None)]


async def test_simultaneous_replies_have_distinct_marks() -> None:
    stage = Stage()
    await stage.post("one", slot=ReplyKind("1"))
    await stage.post("other", slot=ReplyKind("2"), tried_at=stage.tries[0])
    assert stage.held == ["one", "other"]


async def test_lost_post_is_repeated_after_last_search() -> None:
    stage = Stage()
    stage.fake_slack.plan("post", OutcomeUnknown("ServerDisconnectedError"))
    await stage.post()
    first, second = stage.fake_slack.times("post")
    assert second - first >= 12
    assert stage.held == ["hello"]


async def test_unsearchable_unanswered_post_is_not_repeated() -> None:
    stage = Stage()
    stage.fake_slack.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
    stage.fake_slack.plan("find", ScopeMissing("missing_scope"))
    with pytest.raises(DeliveryUnknown):
        await stage.post()
    assert stage.held == ["hello"]


async def test_earlier_try_is_searched_for_first() -> None:
    stage = Stage()
    await stage.post()
    await stage.post(tried_at=stage.tries[0])
    assert stage.held == ["hello"]


async def test_earlier_try_that_never_arrived_is_repeated() -> None:
    stage = Stage()
    await stage.post(tried_at=START - timedelta(minutes=5))
    assert stage.held == ["hello"]


@pytest.mark.parametrize("started_at", [START - timedelta(minutes=5), None], ids=["restarted", "unanswered"])
async def test_reply_to_deleted_card_is_not_posted_again(started_at: datetime | None) -> None:
    """Slack would put it at the top level of the channel."""
    stage = Stage()
    stage.fake_slack.plan("post", OutcomeUnknown("TimeoutError"))
    stage.fake_slack.plan("find", MessageGone("thread_not_found"))
    with pytest.raises(MessageGone):
        await stage.post(tried_at=started_at, slot=ReplyKind("1"))
    assert stage.held == []


async def test_failed_search_is_repeated() -> None:
    stage = Stage()
    stage.fake_slack.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
    stage.fake_slack.plan(
        "find", SlackBusy("ratelimited", 30.0), SlackUnreachable("no_connection"), OutcomeUnknown("x")
    )
    await stage.post()
    assert stage.held == ["hello"]


async def test_retry_after_is_respected() -> None:
    stage = Stage()
    stage.fake_slack.plan("post", SlackBusy("rate_limited", 30.0))
    await stage.post()
    assert stage.fake_slack.times("post") == [0.0, 30.0]


async def test_refused_variant_falls_back_to_plainer() -> None:
    stage = Stage()
    stage.fake_slack.plan("post", PayloadRefused("invalid_blocks"))
    await stage.post("rich", "plain")
    assert stage.held == ["plain"]
    assert stage.stored == [(MessageTs("1.0"), Message("plain").fingerprint)]


async def test_refused_block_is_remembered() -> None:
    stage = Stage()
    task = Message("step 1", ({"type": "task_card"}, {"type": "section"}))
    plain = Message("step 1, plain", ({"type": "section"},))
    stage.fake_slack.plan("post", PayloadRefused("invalid_blocks"))
    await stage.post(task, plain)
    assert stage.held == ["step 1, plain"]
    assert stage.block_support.supported((task, plain)) == (plain,)


async def test_revoked_token_backs_off_to_a_minute() -> None:
    stage = Stage()
    stage.fake_slack.plan("post", *[TokenRefused("token_revoked")] * 20)
    await stage.post()
    times = stage.fake_slack.times("post")
    assert stage.held == ["hello"]
    assert times[-1] - times[-2] == 60.0


async def test_closed_channel_is_reported_at_once() -> None:
    stage = Stage()
    stage.fake_slack.closed.add(HERE)
    with pytest.raises(NotAllowedHere):
        await stage.post()


async def test_cancelled_caller_does_not_stop_post() -> None:
    stage = Stage()
    task = asyncio.create_task(stage.post())
    while not stage.held:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await stage.posting.tasks.drain()
    assert len(stage.stored) == 1


async def test_nothing_is_posted_without_stored_start() -> None:
    stage = Stage()
    stage.intents_are_unconfirmed = True
    with pytest.raises(StoreUnavailable):
        await stage.post()
    assert stage.held == [] and stage.stored == []


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
    stage = Stage()
    for error, took_effect in failures:
        stage.fake_slack.plan("post", error, after_effect=took_effect and isinstance(error, OutcomeUnknown))
    if sum(isinstance(error, PayloadRefused) for error, _ in failures) < 2:
        await stage.post("rich", "plain")
        assert len(stage.held) == len(stage.stored) == 1
        return
    try:
        await stage.post("rich", "plain")
    except NotAllowedHere as refused:
        assert refused.code == "invalid_blocks" and stage.held == []
    else:
        assert len(stage.held) == 1


async def test_refused_plain_variant_is_final() -> None:
    stage = Stage()
    stage.fake_slack.plan("post", *[PayloadRefused("invalid_blocks")] * 2)
    with pytest.raises(NotAllowedHere):
        await stage.post("rich", "plain")
    assert stage.held == [] and stage.stored == []


async def test_unconfirmed_start_without_post_needs_no_search() -> None:
    """The database took the intent and could not say so: this process knows that it posted nothing."""
    stage = Stage()
    stage.fake_slack.plan("find", *[ScopeMissing("missing_scope")] * 10)
    stage.intents_are_unconfirmed = True
    with pytest.raises(StoreUnavailable):
        await stage.post()
    stage.intents_are_unconfirmed = False
    await stage.post(tried_at=stage.tries[-1])
    assert stage.held == ["hello"]


async def test_unconfirmed_start_elsewhere_is_searched_for() -> None:
    stage = Stage()
    stage.fake_slack.plan("find", *[ScopeMissing("missing_scope")] * 10)
    stage.intents_are_unconfirmed = True
    with pytest.raises(StoreUnavailable):
        await stage.post()
    stage.intents_are_unconfirmed = False
    with pytest.raises(DeliveryUnknown):
        await stage.post(tried_at=START - timedelta(seconds=5))
    assert stage.held == []
