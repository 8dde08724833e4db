"""*Follow* on a running card: who presses it is notified like the user who typed the command."""

from dataclasses import replace

import pytest

from bot.demo.omni.organization import ADA
from bot.demo.omni.timeline import Complete, Failed, Script
from bot.demo.slack.workspace import StoredMessage
from tests.end_to_end.world import World

DATABASES = ("SQLite", "PostgreSQL")

LONG = Script(0.0, ((60.0, "Thinking", 1),), 0.0, Complete("Done."))
FAILS = replace(LONG, steps=((4.0, "Thinking", 1),), end=Failed("No such column"))


async def follow(world: World, card: StoredMessage, user: str, value: str | None = None) -> None:
    acked = await world.slack.click(
        user=user, channel=card.channel, ts=card.ts, action_id="follow", value=value
    )
    assert acked.acked


@pytest.mark.both_modes
async def test_follower_is_shown_once_and_notified(world: World) -> None:
    async with world.bot():
        await world.type(world.omni.add(FAILS))
        card = await world.card("Omni is working on it")
        for line in ("You follow this job now", "You follow this job already"):
            await follow(world, card, world.grace)
            await world.reply_to(world.grace, line)
        card = await world.card(f"Followed by <@{world.ada}>, also followed by <@{world.grace}>")
        await world.card("The job failed")
        await world.slack.until(lambda: bool(world.replies(card)))

    (reply,) = world.replies(card)
    assert reply.text.startswith(f"<@{world.ada}> <@{world.grace}>:")


async def test_follow_survives_a_kill(world: World) -> None:
    job = world.omni.add(LONG)
    bot = await world.forked_bot()
    await world.type(job)
    card = await world.card("Omni is working on it")
    await follow(world, card, world.grace)
    await world.reply_to(world.grace, "You follow this job now")
    bot.kill()
    await bot.wait()
    world.omni.set(job, state="FAILED", error={"message": "No such column"})
    async with world.bot():
        await world.card("The job failed")
        await world.slack.until(lambda: bool(world.replies(card)))

    (reply,) = world.replies(card)
    assert reply.text.startswith(f"<@{world.ada}> <@{world.grace}>:")


async def test_follow_is_refused_like_a_command(world: World) -> None:
    async with world.bot():
        await world.type(world.omni.add(LONG))
        card = await world.card("Omni is working on it")
        await follow(world, card, "marie")
        await world.reply_to(world.slack.workspace.user("marie").id, "You can't use this bot")
        await follow(world, card, world.grace, value="7d0f3c1e-8a51-4f2b-9a6e-0d7b0a9c5e11")
        await world.reply_to(world.grace, "no longer know this card")
        await world.type("list", user=world.grace)
        await world.reply_to(world.grace, "You aren't following any running jobs")

    assert f"Followed by <@{world.ada}> ·" in str(card.blocks)


async def test_other_users_job_is_not_followed(world: World) -> None:
    async with world.bot(access="owner"):
        await world.type(world.omni.add(LONG, user_id=ADA))
        card = await world.card("Omni is working on it")
        await follow(world, card, world.grace)
        await world.reply_to(world.grace, "Omni has no such job")

    assert f"Followed by <@{world.ada}> ·" in str(card.blocks)


async def test_menu_stops_following_after_confirmation(world: World) -> None:
    async with world.bot():
        await world.type(world.omni.add(LONG))
        card = await world.card("Omni is working on it")
        await follow(world, card, world.grace)
        await world.reply_to(world.grace, "You follow this job now")
        for confirmed in (False, True):
            await world.slack.click(
                user=world.grace,
                channel=card.channel,
                ts=card.ts,
                action_id="stop_following",
                confirmed=confirmed,
            )
        await world.reply_to(world.grace, "One other person still follows it")

    assert sum("no longer follow" in line.text for line in world.slack.private(world.grace)) == 1
