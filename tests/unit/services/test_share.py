"""Sharing an answer in virtual time: what is refused, and what can be repeated."""

import asyncio
from dataclasses import replace

import pytest

from bot.domain.cards import CardId, ChannelId, ChannelRef, MessageTs
from bot.domain.errors import JobNotFound, NotAllowedHere, OmniUnreachable, ScopeMissing, StoreUnavailable
from bot.domain.jobs import JobState
from bot.rendering import answer_replies, replies
from tests.support.ask_world import (
    BOT,
    CARD,
    OLD,
    OLD_JOB,
    AskWorld,
    Services,
    delivered,
    direct,
    old_card,
    said,
)
from tests.support.fakes import ADA, GRACE, HERE

pytestmark = pytest.mark.looptime

DM = direct(ADA)


def answered() -> AskWorld:
    world = old_card(channel=DM)
    world.omni.says(OLD_JOB, JobState.COMPLETE, answer="42")
    return world


async def share(
    services: Services,
    card: CardId = OLD,
    channel: ChannelRef = DM,
    ts: MessageTs = CARD,
    target: ChannelRef = HERE,
    request: str = "one",
) -> str:
    return said(await delivered(services.sharing.share(card, channel, ts, target, ADA, request_id=request)))


async def test_answer_is_posted_for_no_one_in_particular() -> None:
    world = answered()
    async with world.bot() as services:
        assert "I shared <https://example.slack.com/" in await share(services)
        await asyncio.sleep(60)
    (card,) = world.fake_slack.top_level(HERE)
    assert "42" in card.message.text and f"Shared by <@{ADA}>" in str(card.message.blocks)
    assert world.fake_slack.replies() == []
    (shared,) = [row for row in world.card_repository.rows.values() if row.channel == HERE]
    assert shared.closed_at is not None and shared.ended


async def test_second_share_links_to_the_first() -> None:
    world = answered()
    async with world.bot() as services:
        await share(services)
        assert "already has <https://" in await share(services, request="other")
    assert len(world.fake_slack.top_level(HERE)) == 1


async def test_deleted_card_is_posted_again() -> None:
    world = answered()
    async with world.bot() as services:
        await share(services)
        await asyncio.sleep(60)
        (ts,) = [ts for ts, posted in world.fake_slack.posted.items() if posted.place == HERE]
        del world.fake_slack.posted[ts]
        assert await share(services, request="other") == replies.card_is_late()
        await asyncio.sleep(60)
    assert len(world.fake_slack.top_level(HERE)) == 1


@pytest.mark.parametrize(
    "where",
    [
        {"card": CardId("other")},
        {"channel": HERE},
        {"channel": direct(GRACE)},
        {"ts": MessageTs("9.9")},
    ],
    ids=["no such card", "another channel", "another user's DMs", "another message"],
)
async def test_forged_card_is_unknown(where: dict[str, object]) -> None:
    world = answered()
    async with world.bot() as services:
        assert await share(services, **where) == replies.nothing_to_show_here()  # type: ignore[arg-type]
    assert world.fake_slack.posted == {}


@pytest.mark.parametrize("more", [{"ended": False, "closed_at": None}, {"channel": HERE}], ids=str)
async def test_only_an_answer_in_dms_is_shared(more: dict[str, object]) -> None:
    world = answered()
    world.card_repository.rows[OLD] = replace(world.card_repository.rows[OLD], **more)  # type: ignore[arg-type]
    async with world.bot() as services:
        channel = world.card_repository.rows[OLD].channel
        assert await share(services, channel=channel) == answer_replies.not_shareable()


async def refused(world: AskWorld, target: ChannelRef = HERE) -> str:
    async with world.bot() as services:
        line = await share(services, target=target)
        await asyncio.sleep(5)
    assert world.fake_slack.top_level(target) == [] and world.questions.rows == {}, (
        "nothing is left to report"
    )
    assert line.startswith(f"I didn't share the answer in <#{target.id}>. ")
    return line


@pytest.mark.parametrize("who", [ADA, BOT])
async def test_both_must_be_members(who: str) -> None:
    world = answered()
    world.directory.absent[HERE] = frozenset({who})  # type: ignore[arg-type]
    assert "must both be members" in await refused(world)


@pytest.mark.parametrize(
    "code, why",
    [
        ("not_in_channel", "To add me, type `/invite`"),
        ("is_archived", "It is archived."),
        ("restricted_action", "An admin restricts who can post there."),
        ("team_access_not_granted", "Slack refused it there (`team_access_not_granted`)."),
    ],
)
async def test_refused_post_is_reported_and_not_moved(code: str, why: str) -> None:
    world = answered()
    world.fake_slack.plan("post", NotAllowedHere(code))
    async with world.bot() as services:
        line = await share(services)
        await asyncio.sleep(60)
    assert line == f"I didn't share the answer in <#{HERE.id}>. {line.partition('. ')[2]}" and why in line
    assert all(card.channel != HERE for card in world.card_repository.rows.values())
    assert world.fake_slack.top_level(direct(ADA)) == [], "the answer is there already"


async def test_direct_messages_are_no_channel() -> None:
    assert "must both be members" in await refused(answered(), direct(GRACE))


async def test_unknown_members_are_no_members() -> None:
    world = answered()
    world.directory.error = ScopeMissing("missing_scope")
    assert answer_replies.members_unknown() in await refused(world)


async def test_channel_of_two_organizations_is_refused() -> None:
    world = answered()
    world.access.shared.add(HERE)
    assert answer_replies.readable_by_others() in await refused(world)


async def test_access_is_as_for_a_command_there() -> None:
    world = answered()
    world.access.refused[ADA] = replies.not_here()
    assert replies.not_here() in await refused(world)


async def test_job_of_another_user_is_not_shared() -> None:
    world = answered()
    world.access.hidden.add(ADA)
    assert replies.no_such_job() in await refused(world)


async def test_forgotten_job_is_not_shared() -> None:
    world = answered()
    world.omni.jobs[OLD_JOB] = JobNotFound("404")
    assert answer_replies.answer_gone() in await refused(world)


async def test_silent_omni_is_reported() -> None:
    world = answered()
    world.omni.jobs[OLD_JOB] = OmniUnreachable("timeout")
    async with world.bot() as services:
        assert await share(services) == replies.omni_down()


async def test_database_failure_is_reported() -> None:
    world = answered()
    async with world.bot() as services:
        world.card_repository.error = StoreUnavailable("gone")
        assert await share(services) == replies.storage_down()
        world.card_repository.error = None


async def test_interrupted_share_is_reported() -> None:
    assert "share the answer" in replies.interrupted(f"{answer_replies.SHARED}{OLD}")


OTHER_CHANNEL = ChannelRef(HERE.team, ChannelId("C0OTHER"))


async def test_one_answer_goes_to_several_channels() -> None:
    world = answered()
    async with world.bot() as services:
        await share(services)
        await share(services, target=OTHER_CHANNEL, request="other")
    assert [len(world.fake_slack.top_level(channel)) for channel in (HERE, OTHER_CHANNEL)] == [1, 1]
