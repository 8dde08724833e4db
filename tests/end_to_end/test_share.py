"""*Share to channel…*: an answer in direct messages is posted once in a channel where both are members."""

from dataclasses import replace

import pytest

from bot.demo.faults import Fault
from bot.demo.omni.organization import ADA
from bot.demo.omni.timeline import Complete
from tests.end_to_end.steps import ANSWERED, answer_in_dm, pick_channel
from tests.end_to_end.world import World


async def line_in_dm(world: World, saying: str) -> str:
    """Wait for a line beside the card."""
    messages = world.slack.messages
    dm = world.slack.dm(world.ada)
    await world.slack.until(lambda: any(saying in message.text for message in messages(dm)))
    return next(message.text for message in messages(dm) if saying in message.text)


@pytest.mark.both_modes
async def test_answer_is_shared_once(world: World) -> None:
    async with world.bot(notify_after_seconds=0):
        card = await answer_in_dm(world)
        await pick_channel(world, card, "data-team")
        shared = await world.card(f"Shared by <@{world.ada}>")
        await line_in_dm(world, f"I shared <{shared.permalink}|the answer> in <#{world.channel}>")
        await pick_channel(world, card, "data-team")
        await line_in_dm(world, f"This job already has <{shared.permalink}|a card> in <#{world.channel}>")
        await world.follows_nothing(world.ada)

    assert len(world.slack.messages(world.channel)) == 1
    assert "Bikes sell best" in shared.text and "show_data" in str(shared.blocks)
    assert "share_answer" not in str(shared.blocks), "who reads a channel has nothing to share"
    assert world.replies(shared) == [], "no one waits for a shared answer"


async def test_long_answer_is_shared_as_a_whole(world: World) -> None:
    parts = "\n\n".join(f"Paragraph {number}: {'bikes ' * 100}" for number in range(12))
    async with world.bot():
        card = await answer_in_dm(world, replace(ANSWERED, end=Complete(f"Bikes sell best.\n\n{parts}")))
        await pick_channel(world, card, "data-team")
        shared = await world.card("Shared by")
        await world.slack.until(lambda: any("Paragraph 11" in reply.text for reply in world.replies(shared)))


@pytest.mark.parametrize(
    "channel, why",
    [
        ("random", "You and I must both be members of it"),
        ("leadership", "You and I must both be members of it"),
        ("partners", "People of another organization may be able to read it"),
        ("sales", "This bot can't be used in this channel"),
    ],
)
async def test_share_is_refused(world: World, channel: str, why: str) -> None:
    workspace = world.slack.workspace
    here, partners = world.channel, workspace.channel("partners").id
    async with world.bot(
        allowed_channels=",".join(
            [here, partners, *(workspace.channel(c).id for c in ("random", "leadership"))]
        )
    ):
        card = await answer_in_dm(world)
        await world.slack.click(user=world.ada, channel=card.channel, ts=card.ts, action_id="share_answer")
        await world.slack.until(lambda: world.slack.modal(world.ada) is not None)
        to = workspace.channel(channel)
        shared, to.shared = to.shared, None  # at first Slack's menu hides a shared channel
        filling = await world.slack.enter({"channel": to.id}, user=world.ada)
        to.shared = shared
        assert filling == [] and (await world.slack.submit_view(user=world.ada)).closed
        await line_in_dm(world, f"I didn't share the answer in <#{to.id}>. {why}")

    assert world.slack.messages(to.id) == []


async def test_link_only_channel_gets_no_answer(world: World) -> None:
    async with world.bot(link_only_channels=world.channel):
        card = await answer_in_dm(world)
        await pick_channel(world, card, "data-team")
        shared = await world.card(f"Shared by <@{world.ada}>")
        await line_in_dm(
            world, f"I shared <{shared.permalink}|a card> in <#{world.channel}>. It only links to Omni"
        )

    assert "Bikes" in card.text and "Bikes" not in f"{shared.text} {shared.blocks}"


async def test_former_member_can_not_share(world: World) -> None:
    async with world.bot():
        card = await answer_in_dm(world)
        world.slack.workspace.channel("data-team").members.discard(world.ada)
        await pick_channel(world, card, "data-team")
        await line_in_dm(world, "You and I must both be members of it")

    assert world.slack.messages(world.channel) == []


async def test_forgotten_answer_is_not_shared(world: World) -> None:
    async with world.bot():
        card = await answer_in_dm(world)
        world.omni.jobs.clear()
        await pick_channel(world, card, "data-team")
        await line_in_dm(world, "Omni no longer has this job's answer")


async def test_only_owner_shares_with_access_owner(world: World) -> None:
    async with world.bot(access="owner"):
        card = await answer_in_dm(world, user_id=ADA)
        await pick_channel(world, card, "data-team")
        await world.card(f"Shared by <@{world.ada}>")


async def test_share_killed_before_its_post_is_posted_once(world: World) -> None:
    bot = await world.forked_bot()
    card = await answer_in_dm(world)
    world.slack.faults.plan(Fault("delay", delay_seconds=60.0), on="chat.postMessage", times=None)
    await pick_channel(world, card, "data-team")
    await world.slack.until(lambda: len(world.slack.calls("chat.postMessage")) == 2)
    bot.kill()
    await bot.wait()
    world.slack.faults.lift()
    async with world.bot():
        await world.card(f"Shared by <@{world.ada}>", timeout=40)
        await world.follows_nothing(world.ada)

    assert len(world.slack.messages(world.channel)) == 1
