"""*Notify me* on the Home tab: always, at failures only, or never."""

import pytest

from bot.demo.omni.timeline import Complete, Failed, Script
from tests.end_to_end.world import World

DATABASES = ("SQLite", "PostgreSQL")

LONG = Script(0.0, ((60.0, "Thinking", 1),))
FAILS = Script(0.0, ((2.0, "Thinking", 1),), end=Failed("No such column"))
ANSWERS = Script(0.0, ((2.0, "Thinking", 1),), end=Complete("Done."))
MENU = "choose_notify"


async def opened(world: World, user: str) -> None:
    """Open the Home tab, and wait until the bot has published it."""
    published = len(world.slack.calls("views.publish"))
    await world.slack.open_home(user)
    await world.slack.until(lambda: len(world.slack.calls("views.publish")) > published)


async def choose(world: World, user: str, value: str) -> None:
    """Open the Home tab and choose."""
    await opened(world, user)
    (acked,) = await world.slack.enter({MENU: value}, user=user, on="home")
    assert acked.acked


def chosen(world: World, user: str) -> str:
    view = world.slack.home(user)
    assert view is not None
    (menu,) = [block["accessory"] for block in view.content["blocks"] if "accessory" in block]
    return str(menu["initial_option"]["value"])


@pytest.mark.both_modes
@pytest.mark.parametrize("choice, script, mentioned", [("never", FAILS, False), ("failures", FAILS, True)])
async def test_choice_decides_who_is_mentioned(
    world: World, choice: str, script: Script, mentioned: bool
) -> None:
    async with world.bot():
        await choose(world, world.grace, choice)
        await world.slack.until(lambda: chosen(world, world.grace) == choice)
        job = world.omni.add(script)
        await world.type(job)
        card = await world.card("Omni is working on it")
        await world.type(job, user=world.grace)
        await world.slack.until(lambda: bool(world.replies(card)))

    (reply,) = world.replies(card)
    assert f"<@{world.ada}>" in reply.text
    assert (f"<@{world.grace}>" in reply.text) == mentioned


async def test_failures_only_hears_of_no_answer(world: World) -> None:
    async with world.bot(notify_after_seconds=0):
        await choose(world, world.ada, "failures")
        await world.type(world.omni.add(ANSWERS))
        card = await world.card("Done.")
        await world.follows_nothing(world.ada)

    assert world.replies(card) == []


async def test_choice_survives_a_kill(world: World) -> None:
    bot = await world.forked_bot()
    job = world.omni.add(LONG)
    await world.type(job)
    card = await world.card("Thinking")
    await choose(world, world.ada, "never")
    bot.kill()
    await bot.wait()
    world.omni.set(job, state="FAILED", error={"message": "No such column"})
    async with world.bot():
        await world.card("The job failed")
        await world.follows_nothing(world.ada)
        await opened(world, world.ada)
        assert chosen(world, world.ada) == "never"

    assert world.replies(card) == []


async def test_user_without_access_chooses_nothing(world: World) -> None:
    async with world.bot():
        await choose(world, world.ada, "failures")
    async with world.bot(allowed_users=world.grace):
        (acked,) = await world.slack.enter({MENU: "never"}, user=world.ada, on="home")
        assert acked.acked
        direct = world.slack.dm(world.ada)
        await world.slack.until(lambda: "You can't use this bot" in str(world.slack.messages(direct)))
    async with world.bot():
        await opened(world, world.ada)
        assert chosen(world, world.ada) == "failures"
