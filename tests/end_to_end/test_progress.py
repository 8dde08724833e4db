"""A running card shows the steps done, over a kill too, and how long jobs usually take."""

import sqlite3
from contextlib import closing

from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.workspace import StoredMessage
from tests.end_to_end.world import World

STEPS = ((2.0, "Searching", 1), (8.0, "Running query", 2), (60.0, "Writing", 3))


def tasks(card: StoredMessage) -> list[tuple[str, str]]:
    """The steps of a card with their states."""
    return [
        (task["title"], task["status"])
        for block in card.blocks
        if block["type"] == "plan"
        for task in block["tasks"]
    ]


def store_durations(world: World, *seconds: float) -> None:
    with closing(sqlite3.connect(world.folder / "follows.sqlite3")) as connection, connection:
        rows = [(f"job {number}", took, number, "T0OMNIDEMO") for number, took in enumerate(seconds)]
        connection.executemany(
            "INSERT INTO durations (job, seconds, ended_at, team) VALUES (?, ?, ?, ?)", rows
        )


async def test_steps_stay_after_a_kill(world: World) -> None:
    bot = await world.bot_process()
    job = world.omni.add(Script(0.0, STEPS))
    await world.type(job)
    await world.card("Running query")
    bot.kill()
    await bot.wait()
    await world.bot_process()
    card = await world.card("Step 3: Writing", timeout=30)

    assert tasks(card) == [
        ("Step 1: Searching", "complete"),
        ("Step 2: Running query", "complete"),
        ("Step 3: Writing", "in_progress"),
    ]


async def test_steps_are_stored_until_the_end(world: World) -> None:
    async with world.bot():
        job = world.omni.add(
            Script(0.0, ((5.0, "Searching", 1), (5.0, "Running query", 2)), 0.0, Complete("41"))
        )
        await world.type(job)
        await world.card("Running query")
        assert "Searching" in kept(world)
        await world.card("41")
        await world.follows_nothing(world.ada)
    assert kept(world) == ""


def kept(world: World) -> str:
    """What the database has of steps."""
    with closing(sqlite3.connect(world.folder / "follows.sqlite3")) as connection:
        return "".join(text for (text,) in connection.execute("SELECT progress FROM watches") if text)


async def test_card_says_how_long_jobs_take(world: World) -> None:
    async with world.bot():
        pass
    store_durations(world, *[1.0] * 3, *[3.0] * 6)
    async with world.bot():
        job = world.omni.add(Script(0.0, ((60.0, "Searching", 1),)))
        await world.type(job)
        ts = (await world.card("usually 1 to 3 s")).ts
        later = await world.card("takes longer than usual (1 to 3 s)")

    assert later.ts == ts
    assert len(world.slack.calls("chat.update")) == 1


async def test_step_mentions_and_links_nothing(world: World) -> None:
    step = "<!channel> [here](https://evil.example) <@U0ADA>\u202e\x00 @here"
    async with world.bot():
        job = world.omni.add(Script(0.0, ((3.0, step, 1), (60.0, "Running query", 2))))
        await world.type(job)
        await world.card("Step 1")
        card = await world.card("Running query")

    said = f"{card.text} {card.blocks}"
    assert "evil.example" not in said and "<!channel>" not in said and "<@U0ADA>" not in card.text
    assert all(sign not in said for sign in ("\u202e", "\x00", "\\u202e", "\\x00"))
