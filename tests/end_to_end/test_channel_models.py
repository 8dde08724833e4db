"""A channel's own model and topic: set by the operator or by an admin's form, while the bot runs."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from bot.demo.faults import Serve, drop
from bot.demo.omni.organization import MODEL
from bot.demo.omni.server import SUBMIT
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.block_kit import view_state
from tests.end_to_end.steps import ask
from tests.end_to_end.world import World, environment
from tests.support.forked_bot import ForkedBot

DONE = Script(0.0, (), 0.0, Complete("The answer."))
CHECKED = ["for_channel"]


@pytest.fixture
def support(world: World) -> str:
    """A second model."""
    world.omni.script_for_submitted = DONE
    return world.omni.organization.add_model("Support", "tickets", "agents")


def asked(world: World) -> list[tuple[str | None, str | None]]:
    """The model and topic of each job that was submitted."""
    return [(job.model_id, job.topic) for job in world.omni.jobs.values()]


async def submitted(world: World, number: int) -> None:
    await world.slack.until(lambda: len(world.omni.jobs) == number, timeout=15)


async def type_command(world: World, *arguments: str) -> tuple[int, str]:
    """The operator runs `python -m bot channel …`."""
    out: Path = world.folder / "channel.txt"
    out.unlink(missing_ok=True)
    process = ForkedBot(
        *("channel", *arguments),
        environment=environment(world.slack, world.omni, world.database_url),
        folder=world.folder,
        stdout=out,
        stderr=out,
    )
    return await process.wait(), out.read_text("utf-8")


async def open_form(world: World, user: str, channel: str | None = None) -> str:
    """Open the form and return what it shows, once it has the models."""
    await ask(world, "", user=user, channel=channel)
    await world.slack.until(lambda: "Support" in str(world.slack.modal(user)))
    view = world.slack.modal(user)
    assert view is not None
    return str(view.content)


async def test_operator_sets_a_model_while_the_bot_runs(world: World, support: str) -> None:
    sales = world.slack.workspace.channel("sales").id
    async with world.bot(omni_model_id=MODEL):
        await ask(world, "How many tickets?", channel=sales)
        await submitted(world, 1)
        changed = await type_command(world, "set", sales, "--model", support, "--topic", "tickets")
        await ask(world, "How many tickets?", channel=sales)
        await submitted(world, 2)
        await ask(world, "Top products?")
        await submitted(world, 3)
        await open_form(world, world.ada, sales)
        view = world.slack.modal(world.ada)
        assert view is not None
        (topic,) = [block for block in view.content["blocks"] if block["block_id"].startswith("topic")]
        listed = await type_command(world, "list")
        removed = await type_command(world, "unset", sales)
        await ask(world, "How many tickets?", channel=sales)
        await submitted(world, 4)

    assert [changed[0], removed[0]] == [0, 0]
    assert listed == (0, f"{sales}  model {support}, topic tickets\n")
    assert topic["element"]["initial_option"]["value"] == "tickets"
    assert asked(world) == [(MODEL, None), (support, "tickets"), (MODEL, None), (MODEL, None)]


async def test_form_overrides_the_channels_model(world: World, support: str) -> None:
    async with world.bot():
        await type_command(world, "set", world.channel, "--model", support, "--topic", "tickets")
        await open_form(world, world.ada)
        await world.slack.enter({"model": MODEL}, user=world.ada)
        await world.slack.submit_view({"question": "Top products?"}, user=world.ada)
        await submitted(world, 1)
        await ask(world, "And here?")
        await submitted(world, 2)

    assert asked(world) == [(MODEL, None), (support, "tickets")], (
        "the last choice doesn't outlast the channel's"
    )


@pytest.mark.both_modes
async def test_admins_form_sets_the_model_for_everyone(world: World, support: str) -> None:
    async with world.bot(omni_model_id=MODEL, admin_users=world.ada):
        assert "everyone's questions" not in await open_form(world, world.grace)
        assert "everyone's questions" in await open_form(world, world.ada)
        await world.slack.enter({"model": support}, user=world.ada)
        await world.slack.until(lambda: "tickets" in str(world.slack.modal(world.ada)))
        done = await world.slack.submit_view(
            {"question": "Top products?", "topic": "tickets", "for_channel": CHECKED}, user=world.ada
        )
        assert done.closed
        await submitted(world, 1)
        await ask(world, "How many tickets?", user=world.grace)
        await submitted(world, 2)
        await ask(world, "Elsewhere?", user=world.grace, channel=world.slack.workspace.channel("sales").id)
        await submitted(world, 3)

    assert asked(world) == [(support, "tickets"), (support, "tickets"), (MODEL, None)]


async def test_unchecked_form_leaves_the_channel_alone(world: World, support: str) -> None:
    async with world.bot(omni_model_id=MODEL, admin_users=world.ada):
        await open_form(world, world.ada)
        await world.slack.submit_view({"question": "Top products?", "model": support}, user=world.ada)
        await submitted(world, 1)
        await ask(world, "And you?", user=world.grace)
        await submitted(world, 2)

    assert asked(world) == [(support, None), (MODEL, None)]


async def test_form_of_a_former_admin_changes_nothing(world: World, support: str) -> None:
    async with world.bot(omni_model_id=MODEL, admin_users=world.ada):
        await open_form(world, world.ada)
    async with world.bot(omni_model_id=MODEL):
        await world.slack.submit_view(
            {"question": "Top products?", "model": support, "for_channel": CHECKED}, user=world.ada
        )
        await world.reply_to(world.ada, "Only a bot admin can choose the model for everyone")
        assert world.omni.jobs == {}
        await ask(world, "Top products?")
        await submitted(world, 1)

    assert asked(world) == [(MODEL, None)]


async def test_forged_checkbox_changes_nothing(world: World, support: str) -> None:
    async with world.bot(omni_model_id=MODEL, admin_users=world.ada):
        await open_form(world, world.ada)
        await open_form(world, world.grace)
        await world.slack.enter({"model": support}, user=world.grace)
        await world.slack.until(lambda: "tickets" in str(world.slack.modal(world.grace)))
        real, forged = world.slack.modal(world.ada), world.slack.modal(world.grace)
        assert real is not None and forged is not None
        ((block, element),) = [
            (block, element)
            for block, element in view_state.inputs(real.content)
            if block["block_id"] == "for_channel"
        ]
        forged.values[block["block_id"]] = {element["action_id"]: view_state.entered(element, CHECKED, ())}
        await world.slack.submit_view({"question": "Top products?"}, user=world.grace)
        await world.reply_to(world.grace, "Only a bot admin can choose the model for everyone")
        await ask(world, "Top products?")
        await submitted(world, 1)

    assert asked(world) == [(MODEL, None)]


async def test_submitted_model_survives_a_kill(world: World, support: str) -> None:
    """The process dies when Omni has taken the admin's question."""
    bot, dead = await world.forked_bot(OMNI_MODEL_ID=MODEL, ADMIN_USERS=world.ada), asyncio.Event()

    async def kill(request: web.Request, serve: Serve) -> web.StreamResponse:
        await serve()
        bot.kill()
        await bot.wait()
        dead.set()
        return drop(request)

    await open_form(world, world.ada)
    await world.slack.enter({"model": support}, user=world.ada)
    await world.slack.until(lambda: "tickets" in str(world.slack.modal(world.ada)))
    world.omni.faults.plan(kill, on=SUBMIT)
    await world.slack.submit_view({"question": "Top products?", "for_channel": CHECKED}, user=world.ada)
    async with asyncio.timeout(15):
        await dead.wait()
    async with world.bot(omni_model_id=MODEL):
        await ask(world, "How many tickets?", user=world.grace)
        await submitted(world, 2)

    assert asked(world) == [(support, None)] * 2


@pytest.mark.parametrize(
    "arguments, why",
    [
        (("set", "#sales", "--model", MODEL), "Give the channel's id"),
        (("set", "C0SALES000", "--model", "Support"), "Give the model's id, a UUID"),
        (("set", "C0SALES000", "--model", MODEL, "--team", "T0ELSEWHERE"), "not installed in T0ELSEWHERE"),
        (("unset", "C0SALES000"), "has no model of its own"),
    ],
)
async def test_refused_command_says_why(world: World, arguments: tuple[str, ...], why: str) -> None:
    async with world.bot():
        code, said = await type_command(world, *arguments)
        listed = await type_command(world, "list")

    assert code == 1 and why in said and "Traceback" not in said
    assert listed == (0, "No channel has a model of its own.\n")
