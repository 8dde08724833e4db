"""The bot is killed right after it has acknowledged a request: the person gets a report."""

import pytest

from bot.demo.faults import Fault
from bot.demo.omni.timeline import Script
from tests.end_to_end.steps import answer_in_dm, pick_channel
from tests.end_to_end.world import World

LONG = Script(0.0, ((60.0, "Thinking", 1),))
SLOW = Fault("delay", delay_seconds=5.0)


@pytest.mark.parametrize("way", ["command", "shortcut", "form", "mention"])
async def test_follow_cut_off_by_kill_is_reported(world: World, way: str) -> None:
    job, slack, ada = world.omni.add(LONG), world.slack, world.ada
    said = await slack.say(job, user=ada, channel=world.channel)
    bot = await world.forked_bot()
    slack.faults.plan(SLOW, on="users.info", times=None)
    if way == "command":
        await world.type(job)
    elif way == "shortcut":
        await slack.message_shortcut("follow_message", user=ada, channel=world.channel, ts=said.ts)
    elif way == "form":
        await slack.shortcut("follow_any", user=ada)
        await slack.until(lambda: slack.modal(ada) is not None)
        slack.faults.plan(SLOW, on="conversations.open", times=None)
        assert (await slack.submit_view({"job": job}, user=ada)).closed
    else:
        await slack.mention(job, user=ada, channel=world.channel)
    bot.kill()
    await bot.wait()
    slack.faults.lift()
    async with world.bot():
        note = await world.card("interrupted", channel=slack.dm(ada))

    assert job in note.text
    assert [message.user for message in slack.messages(world.channel) if message.by_bot] == []


async def test_share_cut_off_by_kill_is_reported(world: World) -> None:
    slack = world.slack
    bot = await world.forked_bot()
    card = await answer_in_dm(world)
    slack.faults.plan(SLOW, on="conversations.members", times=None)
    await pick_channel(world, card, "data-team")
    bot.kill()
    await bot.wait()
    slack.faults.lift()
    async with world.bot():
        await slack.until(lambda: any("before I could share" in m.text for m in slack.messages(card.channel)))

    assert slack.messages(world.channel) == []
