"""`/omni-job list` and the Home tab begin each job with its question, which is in no table."""

import sqlite3

from bot.demo.omni.timeline import Complete, Script
from tests.end_to_end.world import World

LONG = Script(0.0, ((60.0, "Thinking", 1),), 0.0, Complete("The answer."))
QUESTION = "Which *plan* loses customers?"
SHOWN = "Which *\u200bplan*\u200b loses customers?"


async def home_shows(world: World, *words: str) -> None:
    await world.slack.open_home(world.ada)
    await world.slack.until(lambda: all(word in str(world.slack.home(world.ada)) for word in words))


async def test_lists_show_question_until_restart(world: World) -> None:
    job = world.omni.add(LONG, prompt=QUESTION)
    async with world.bot():
        await world.type(job)
        await world.card("Thinking")
        await world.type("list")
        line = await world.reply_to(world.ada, job)
        await home_shows(world, "Working", "Which *")
    async with world.bot():
        await world.slack.until(lambda: len(world.omni.requests) > 1)
        await home_shows(world, "Working", "Which *")
        world.omni.set(job, state="COMPLETE", resultSummary="The answer.")
        await world.card("The answer.")
        await home_shows(world, "Answered", "Which *")
    async with world.bot():
        await world.slack.open_home(world.ada)
        await world.slack.until(lambda: "Which *" not in str(world.slack.home(world.ada)))
        await home_shows(world, "Answered", job)

    assert SHOWN in line
    with sqlite3.connect(world.folder / "follows.sqlite3") as database:
        assert not any("loses customers" in statement for statement in database.iterdump())
