"""After a stop or a kill, jobs continue in the same messages and are reported once."""

import asyncio

from bot.demo.omni.timeline import Complete, Failed, Script
from tests.end_to_end.world import World

DATABASES = ("SQLite", "PostgreSQL")

LONG = Script(0.0, ((60.0, "Thinking", 1),))


async def test_restart_continues_in_same_message(world: World) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        await world.type(job)
        card = await world.card("Thinking")
    async with world.bot():
        world.omni.set(job, state="COMPLETE", resultSummary="The answer.")
        again = await world.card("The answer.")

    assert again.ts == card.ts


async def test_failure_during_outage_is_reported_once(world: World) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        await world.type(job)
        await world.card("Thinking")
    world.omni.set(job, state="FAILED", error={"message": "No such column"})
    for _ in range(2):
        async with world.bot():
            card = await world.card("The job failed")
            await world.slack.until(lambda: bool(world.replies(card)))
            await world.follows_nothing(world.ada)

    assert len(world.replies(card)) == 1


async def test_restart_without_changes_costs_no_edit(world: World) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        await world.type(job)
        await world.card("Thinking")
    async with world.bot():
        asked = len(world.omni.requests)
        async with asyncio.timeout(10):
            while len(world.omni.requests) == asked:
                await asyncio.sleep(0.05)
        await world.type("list")
        await world.reply_to(world.ada, job)

    assert world.slack.calls("chat.update") == []


async def test_repeated_kills_stay_within_rate_limit(world: World) -> None:
    world.omni.requests_per_minute = 60
    for _ in range(6):
        world.omni.add(LONG)
    for number in range(5):
        bot = await world.forked_bot()
        if number == 0:
            for job in list(world.omni.jobs):
                await world.type(job)
        await asyncio.sleep(0.5)
        bot.kill()
        await bot.wait()

    assert world.omni.worst_minute() <= 60
    assert world.omni.answered_429 == 0


async def test_next_process_finishes_card_after_kill(world: World) -> None:
    bot = await world.forked_bot()
    job = world.omni.add(Script(0.0, ((6.0, "Thinking", 1),), 0.0, Failed("No such column")))
    await world.type(job)
    card = await world.card("Thinking")
    bot.kill()
    await bot.wait()
    bot = await world.forked_bot()
    again = await world.card("The job failed", timeout=30)
    await world.slack.until(lambda: bool(world.replies(again)))
    bot.terminate()

    assert await bot.wait() == 0
    assert again.ts == card.ts
    assert len(world.replies(again)) == 1


async def test_sigterm_stops_within_ten_seconds(world: World) -> None:
    jobs = [world.omni.add(LONG) for _ in range(20)]
    bot = await world.forked_bot()
    for job in jobs:
        await world.type(job)
    await world.slack.until(lambda: len(world.slack.messages(world.channel)) >= 3)
    bot.terminate()
    async with asyncio.timeout(10):
        assert await bot.wait() == 0


async def test_answer_arrives_after_long_outage(world: World) -> None:
    job = world.omni.add(Script(0.0, ((2.5, "Thinking", 1),), 0.0, Complete("The answer.")))
    async with world.bot():
        await world.type(job)
        await world.card("Thinking")
    await asyncio.sleep(1.0)
    async with world.bot(notify_after_seconds=0.0):
        card = await world.card("The answer.")
        await world.slack.until(lambda: bool(world.replies(card)))

    assert len(world.replies(card)) == 1
