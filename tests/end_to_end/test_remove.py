"""*Remove answer…*: its requester or an admin takes it back, with everything that the bot posted about it."""

from dataclasses import replace

import pytest

from bot.demo.faults import Fault
from bot.demo.omni.job_data import JobData, Query
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.workspace import StoredMessage
from tests.end_to_end.steps import ANSWERED, answer_in_dm, pick_channel
from tests.end_to_end.world import World

PARTS = "\n\n".join(f"Paragraph {number}: {'bikes ' * 100}" for number in range(90))
LONG = replace(ANSWERED, end=Complete(f"Bikes sell best.\n\n{PARTS}"))
DATA = JobData(queries=(Query("Top bikes", "Bike,Sold\nRoad,41\nTrail,12\n", message="Looking."),))
DOWN = Fault("status", 500, "no")


async def answer(world: World, script: Script = ANSWERED) -> StoredMessage:
    await world.type(world.omni.add(script, data=DATA))
    return await world.card("Bikes sell best")


async def remove(world: World, card: StoredMessage, user: str | None = None) -> None:
    """Choose *Remove answer…* and confirm."""
    person = user or world.ada
    await world.slack.click(user=person, channel=card.channel, ts=card.ts, action_id="remove_answer")
    await world.slack.until(lambda: world.slack.modal(person) is not None)
    assert (await world.slack.submit_view(user=person)).closed


async def press(world: World, card: StoredMessage, action_id: str) -> None:
    await world.slack.click(user=world.grace, channel=card.channel, ts=card.ts, action_id=action_id)


def shows_no_answer(world: World, card: StoredMessage) -> bool:
    shown = f"{card.text} {card.blocks} {[reply.text for reply in world.replies(card)]}"
    files = [file for reply in world.replies(card) for file in reply.files if not file.is_deleted]
    return "ikes" not in shown and not files


@pytest.mark.both_modes
async def test_answer_is_removed_with_its_thread(world: World) -> None:
    async with world.bot(notify_after_seconds=0):
        card = await answer(world, LONG)
        await world.slack.until(lambda: any(reply.files for reply in world.replies(card)), timeout=30)
        await press(world, card, "show_data")
        await press(world, card, "show_steps")
        await world.slack.until(lambda: any("What the AI did" in r.text for r in world.replies(card)))
        await world.slack.until(lambda: len([r for r in world.replies(card) if r.files]) == 2)
        await world.slack.say("Nice!", user=world.grace, channel=card.channel, thread=card.ts)
        await remove(world, card)
        await world.reply_to(world.ada, "I removed the answer, and my replies and files in its thread.")

    assert card.text == f"Removed by <@{world.ada}>" and "Open in Omni" in str(card.blocks)
    assert shows_no_answer(world, card)
    assert [reply.text for reply in world.replies(card) if not reply.by_bot] == ["Nice!"]
    assert [reply.text for reply in world.replies(card) if reply.by_bot and not reply.files] == []


async def test_removed_answer_does_not_come_back(world: World) -> None:
    async with world.bot():
        job = world.omni.add(ANSWERED, data=DATA)
        await world.type(job)
        card = await world.card("Bikes sell best")
        shown = card.blocks
        await remove(world, card)
        await world.card("Removed by")
        await world.reply_to(world.ada, "I removed the answer")
        await world.type(job, user=world.grace)
        await world.reply_to(world.grace, "The answer was removed here")
        removed, card.blocks = card.blocks, shown  # as in a window that still shows the answer
        await press(world, card, "show_data")
        await press(world, card, "show_steps")
        await world.slack.until(lambda: len(world.slack.private(world.grace)) == 3)
        card.blocks = removed

    assert all("was removed here" in line.text for line in world.slack.private(world.grace))
    assert shows_no_answer(world, card) and len(world.slack.messages(world.channel)) == 1


async def test_only_requester_and_admins_may_remove(world: World) -> None:
    async with world.bot(admin_users=world.grace):
        card = await answer(world)
        await world.slack.click(user="linus", channel=card.channel, ts=card.ts, action_id="remove_answer")
        await world.reply_to(
            world.slack.workspace.user("linus").id, "Only the person who asked for this answer here"
        )
        assert world.slack.modal("linus") is None
        await remove(world, card, user=world.grace)
        await world.card(f"Removed by <@{world.grace}>")


async def test_who_shared_an_answer_removes_it(world: World) -> None:
    async with world.bot():
        private = await answer_in_dm(world)
        await pick_channel(world, private, "data-team")
        shared = await world.card("Shared by")
        await remove(world, shared)
        await world.card(f"Removed by <@{world.ada}>")
        await pick_channel(world, private, "data-team")
        await world.slack.until(
            lambda: any("was removed here" in m.text for m in world.slack.messages(private.channel))
        )

    assert "Bikes sell best" in private.text, "the card in the direct messages is another"
    assert shows_no_answer(world, shared)


async def test_what_is_left_is_counted(world: World) -> None:
    async with world.bot():
        card = await answer(world)
        await press(world, card, "show_data")
        await world.slack.until(lambda: any(reply.files for reply in world.replies(card)))
        world.slack.granted_scopes.discard("files:write")
        await remove(world, card)
        await world.reply_to(world.ada, "Slack didn't let me delete 1 message or file of mine")

    assert card.text == f"Removed by <@{world.ada}>"
    assert [file.name for reply in world.replies(card) for file in reply.files] != []


@pytest.mark.parametrize("method", ["chat.update", "chat.delete", "files.delete"])
async def test_removal_goes_on_after_a_kill(world: World, method: str) -> None:
    bot = await world.forked_bot()
    card = await answer(world, LONG)
    await world.slack.until(lambda: any(reply.files for reply in world.replies(card)), timeout=30)
    edits = len(world.slack.calls(method))
    world.slack.faults.plan(DOWN, on=method, times=None)
    await remove(world, card)
    await world.slack.until(lambda: len(world.slack.calls(method)) > edits)
    bot.kill()
    await bot.wait()
    world.slack.faults.lift()
    async with world.bot():
        await world.card(f"Removed by <@{world.ada}>", timeout=30)
        await world.slack.until(lambda: shows_no_answer(world, card), timeout=30)
        await world.follows_nothing(world.ada)

    assert shows_no_answer(world, card)
