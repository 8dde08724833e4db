"""Removing an answer in virtual time: who may, what is deleted, and that no process shows it again."""

import asyncio
from dataclasses import replace

import pytest

from bot.delivery.posts import COMPLETION_REPLY, reply_mark
from bot.delivery.thread import CHART, FILE, IN_OMNI
from bot.domain.cards import NEEDS_REDRAW, CardId, ChannelRef, MessageTs, ReplyKind, ThreadReply, UserId
from bot.domain.errors import (
    MessageGone,
    NotAllowedHere,
    OutcomeUnknown,
    OwnershipLost,
    ScopeMissing,
    SlackBusy,
    SlackUnreachable,
    StoreUnavailable,
)
from bot.domain.jobs import JobState
from bot.domain.messages import Message, Upload
from bot.rendering import answer_replies, replies
from bot.services.ask import AskRequest
from tests.support.ask_world import CARD, OLD, OLD_JOB, AskWorld, Services, delivered, direct, old_card, said
from tests.support.fakes import ADA, GRACE, HERE, START, Posted

pytestmark = pytest.mark.looptime

PART, STEPS = ReplyKind("1"), ReplyKind("steps 0123456789")


def answered(**more: object) -> AskWorld:
    """The card of an answer in Slack."""
    world = old_card()
    world.card_repository.rows[OLD] = replace(world.card_repository.rows[OLD], **more)  # type: ignore[arg-type]
    world.omni.says(OLD_JOB, JobState.COMPLETE, answer="42", chat_url="https://acme.omniapp.co/chat/1")
    world.fake_slack.posted[CARD] = Posted(HERE, Message("42"), "", None)
    return world


def has_reply(world: AskWorld, kind: ReplyKind, *, is_known: bool = True, is_there: bool = True) -> None:
    """A reply was begun; perhaps its ts was stored, perhaps it arrived."""
    ts = MessageTs(f"{100 + len(world.fake_slack.posted)}.0")
    if kind == COMPLETION_REPLY:
        row = world.card_repository.rows[OLD]
        posted = {"completion_reply_started_at": START, "completion_reply_ts": ts if is_known else None}
        world.card_repository.rows[OLD] = replace(row, **posted)  # type: ignore[arg-type]
    else:
        world.card_repository.threads.setdefault(OLD, {})[kind] = ThreadReply(START, ts if is_known else None)
    if is_there:
        world.fake_slack.posted[ts] = Posted(HERE, Message("42"), reply_mark(OLD, kind, START), CARD)


async def has_file(world: AskWorld, kind: ReplyKind) -> None:
    file = await world.fake_slack.upload(HERE, Upload("answer.md", "Answer", b"42"), thread=CARD)
    world.card_repository.threads.setdefault(OLD, {})[kind] = ThreadReply(START, MessageTs(file))


async def remove(
    services: Services,
    user: UserId = ADA,
    card: CardId = OLD,
    channel: ChannelRef = HERE,
    ts: MessageTs = CARD,
) -> str:
    return said(await delivered(services.removing.remove(card, channel, ts, user)))


def shown(world: AskWorld) -> str:
    return world.fake_slack.posted[CARD].message.text


async def test_card_and_thread_are_emptied() -> None:
    world = answered()
    for kind in (PART, IN_OMNI, STEPS, COMPLETION_REPLY):
        has_reply(world, kind)
    for kind in (FILE, CHART, ReplyKind("csv 0123456789")):
        await has_file(world, kind)
    async with world.bot() as services:
        assert await remove(services) == answer_replies.removed(0)
    assert shown(world) == f"Removed by <@{ADA}>" and list(world.fake_slack.posted) == [CARD]
    assert "https://acme.omniapp.co/chat/1" in str(world.fake_slack.posted[CARD].message.blocks)
    assert world.fake_slack.uploaded == []
    row = world.card_repository.rows[OLD]
    assert row.closed_at is not None and row.removed_by == ADA and world.card_repository.threads[OLD] == {}


async def test_removal_does_not_wait_for_omni() -> None:
    world = answered()
    world.omni.delay_seconds = 60.0
    async with world.bot() as services:
        assert await remove(services) == answer_replies.removed(0)
        assert asyncio.get_running_loop().time() < 4
    assert shown(world) == f"Removed by <@{ADA}>"


@pytest.mark.parametrize("is_there", [True, False], ids=["arrived", "lost"])
@pytest.mark.parametrize("kind", [PART, COMPLETION_REPLY, STEPS])
async def test_begun_reply_is_searched_for(kind: ReplyKind, is_there: bool) -> None:
    world = answered()
    has_reply(world, kind, is_known=False, is_there=is_there)
    async with world.bot() as services:
        assert await remove(services) == answer_replies.removed(0)
    assert list(world.fake_slack.posted) == [CARD]


@pytest.mark.parametrize("kind", [PART, FILE], ids=["without history scopes", "a file without id"])
async def test_unknown_reply_is_counted(kind: ReplyKind) -> None:
    world = answered()
    has_reply(world, kind, is_known=False)
    world.fake_slack.plan("find", ScopeMissing("missing_scope"))
    async with world.bot() as services:
        assert await remove(services) == answer_replies.removed(1)


async def test_refused_deletions_are_counted() -> None:
    world = answered()
    has_reply(world, PART)
    await has_file(world, FILE)
    world.fake_slack.plan("delete", NotAllowedHere("cant_delete_message"))
    world.fake_slack.plan("delete_file", ScopeMissing("missing_scope"))
    async with world.bot() as services:
        assert await remove(services) == answer_replies.removed(2)
    assert world.card_repository.rows[OLD].closed_at is not None, "there is nothing more to try"


async def test_slow_slack_is_waited_for() -> None:
    world = answered()
    has_reply(world, PART)
    await has_file(world, FILE)
    world.fake_slack.plan("delete", SlackBusy("ratelimited", 3.0), SlackUnreachable("no_connection"))
    world.fake_slack.plan("delete_file", OutcomeUnknown("timeout"), after_effect=True)
    async with world.bot() as services:
        assert await remove(services) == answer_replies.removed(0)
    assert list(world.fake_slack.posted) == [CARD] and world.fake_slack.uploaded == []


async def test_card_that_cannot_be_edited_is_deleted() -> None:
    world = answered()
    world.fake_slack.plan("update", NotAllowedHere("edit_window_closed"))
    async with world.bot() as services:
        assert await remove(services) == answer_replies.removed(0)
    assert world.fake_slack.posted == {}


async def test_card_that_cannot_be_changed_is_counted() -> None:
    world = answered()
    world.fake_slack.plan("update", NotAllowedHere("not_in_channel"))
    world.fake_slack.plan("delete", NotAllowedHere("not_in_channel"))
    async with world.bot() as services:
        assert await remove(services) == answer_replies.removed(1)


async def test_deleted_card_is_not_posted_again() -> None:
    world = answered()
    del world.fake_slack.posted[CARD]
    async with world.bot() as services:
        assert await remove(services) == answer_replies.removed(0)
        await services.runner.start(OLD_JOB)
        await asyncio.sleep(60)
    assert world.fake_slack.posted == {}


@pytest.mark.parametrize("row", [{"requester": GRACE, "shared_by": GRACE}, {"requester": GRACE}], ids=str)
async def test_only_its_user_or_an_admin_may(row: dict[str, UserId]) -> None:
    world = answered(**row)
    world.access.only_requesters = True
    async with world.bot() as services:
        assert await remove(services, ADA) == answer_replies.not_removable()
        assert await services.removing.refusal(OLD, HERE, CARD, ADA) == answer_replies.not_removable()
        assert await services.removing.refusal(OLD, HERE, CARD, GRACE) is None
        assert await remove(services, GRACE) == answer_replies.removed(0)
        assert await remove(services, GRACE) == answer_replies.removed_before()


@pytest.mark.parametrize(
    "where",
    [{"card": CardId("other")}, {"channel": direct(ADA)}, {"ts": MessageTs("9.9")}],
    ids=["no such card", "another channel", "another message"],
)
async def test_forged_card_is_unknown(where: dict[str, object]) -> None:
    world = answered()
    async with world.bot() as services:
        assert await remove(services, **where) == replies.nothing_to_show_here()  # type: ignore[arg-type]
    assert shown(world) == "42"


async def test_running_job_has_no_answer_to_remove() -> None:
    world = answered(ended=False, closed_at=None)
    world.omni.says(OLD_JOB, JobState.EXECUTING)
    async with world.bot() as services:
        assert await remove(services) == replies.nothing_to_show_here()


async def test_database_failure_is_reported() -> None:
    world = answered()
    async with world.bot() as services:
        world.card_repository.error = StoreUnavailable("gone")
        assert await remove(services) == replies.storage_down()
        world.card_repository.error = None
    assert shown(world) == "42"


async def test_long_removal_is_reported() -> None:
    world = answered()
    world.fake_slack.plan("update", *[SlackUnreachable("no_connection")] * 30)
    async with world.bot() as services:
        assert await remove(services) == answer_replies.removing()


async def test_removal_goes_on_after_a_restart() -> None:
    world = answered()
    has_reply(world, PART)
    world.fake_slack.plan("delete", *[SlackUnreachable("no_connection")] * 30)
    async with world.bot() as services:
        await services.removing.remove(OLD, HERE, CARD, ADA)
        await services.runner.start(OLD_JOB)
        await asyncio.sleep(10)
    world.fake_slack.forget_plans()
    async with world.bot():
        await asyncio.sleep(30)
    assert shown(world) == f"Removed by <@{ADA}>" and list(world.fake_slack.posted) == [CARD]
    assert world.card_repository.rows[OLD].closed_at is not None


async def test_owner_from_before_can_write_nothing() -> None:
    world = answered()
    before = world.card_repository.rows[OLD]
    async with world.bot() as services:
        await remove(services)
        for write in (
            world.card_repository.mark_shown(before, CARD, "hash", outcome=JobState.FAILED),
            world.card_repository.mark_reply_started(before, PART, START),
            world.card_repository.close(before, START),
        ):
            with pytest.raises(OwnershipLost):
                await write
        await world.card_repository.forget_message(OLD, CARD)
    assert world.card_repository.rows[OLD].message_ts == CARD


@pytest.mark.parametrize("is_end", [True, False])
async def test_late_edit_is_covered(is_end: bool) -> None:
    world = answered()
    async with world.bot() as services:
        await remove(services)
        world.fake_slack.posted[CARD].message = Message("42")
        await world.card_repository.mark_stale(OLD, CARD, is_end=is_end)
        assert world.card_repository.rows[OLD].shown_fingerprint == NEEDS_REDRAW
        await services.runner.start(OLD_JOB)
        await asyncio.sleep(30)
    assert shown(world) == f"Removed by <@{ADA}>"


async def test_answer_that_still_continues_is_removed_at_once() -> None:
    parts = "\n\n".join(f"Paragraph {number}: {'bikes ' * 100}" for number in range(30))
    world = answered(closed_at=None, outcome=None)
    world.omni.says(OLD_JOB, JobState.COMPLETE, answer=parts)
    world.fake_slack.plan("post", *[SlackUnreachable("no_connection")] * 3)
    async with world.bot() as services:
        await asyncio.sleep(3)
        assert await remove(services) == answer_replies.removed(0)
        await asyncio.sleep(60)
    assert shown(world) == f"Removed by <@{ADA}>" and list(world.fake_slack.posted) == [CARD]


async def test_follow_up_to_a_removed_answer_is_refused() -> None:
    world = answered()
    async with world.bot() as services:
        await remove(services)
        line = await services.ask.follow_up(AskRequest("And why?"), OLD, HERE, CARD, GRACE)
    assert said(line) == answer_replies.removed_before() and world.asking.submitted == []


async def test_removed_answer_is_not_listed() -> None:
    world = answered()
    async with world.bot() as services:
        await remove(services)
        assert await world.card_repository.ended_cards(HERE.team, ADA, 20) == []


async def test_gone_thread_has_no_replies() -> None:
    world = answered()
    has_reply(world, PART, is_known=False)
    world.fake_slack.plan("find", MessageGone("thread_not_found"))
    async with world.bot() as services:
        assert await remove(services) == answer_replies.removed(0)
