"""`CHANNEL_MODELS`: questions asked in a channel go to its model and topic, unless the form says otherwise."""

from bot.demo.omni.organization import MODEL
from bot.demo.omni.timeline import Complete, Script
from tests.end_to_end.steps import ask
from tests.end_to_end.world import World

DONE = Script(0.0, (), 0.0, Complete("The answer."))


def asked(world: World) -> list[tuple[str | None, str | None]]:
    """The model and topic of each job that was submitted."""
    return [(job.model_id, job.topic) for job in world.omni.jobs.values()]


async def test_channel_has_its_own_model(world: World) -> None:
    world.omni.script_for_submitted = DONE
    support = world.omni.organization.add_model("Support", "tickets", "agents")
    sales = world.slack.workspace.channel("sales").id
    async with world.bot(omni_model_id=MODEL, channel_models=f"{sales}:{support}:tickets"):
        await ask(world, "Top products?")
        await world.card("The answer.")
        await ask(world, "How many tickets?", channel=sales)
        await world.card("The answer.", channel=sales)
        await ask(world, "", channel=sales)
        await world.slack.until(lambda: "Support" in str(world.slack.modal(world.ada)))
        view = world.slack.modal(world.ada)
        assert view is not None
        (topic,) = [block for block in view.content["blocks"] if block["block_id"].startswith("topic")]

    assert topic["element"]["initial_option"]["value"] == "tickets"
    assert asked(world) == [(MODEL, None), (support, "tickets")]


async def test_form_overrides_the_channels_model(world: World) -> None:
    world.omni.script_for_submitted = DONE
    support = world.omni.organization.add_model("Support", "tickets", "agents")
    async with world.bot(channel_models=f"{world.channel}:{support}:tickets"):
        await ask(world, "")
        await world.slack.until(lambda: "tickets" in str(world.slack.modal(world.ada)))
        await world.slack.enter({"model": MODEL}, user=world.ada)
        await world.slack.submit_view({"question": "Top products?"}, user=world.ada)
        await world.card("The answer.")
        await ask(world, "And here?")
        await world.slack.until(lambda: len(world.omni.jobs) == 2)

    assert asked(world) == [(MODEL, None), (support, "tickets")], (
        "the last choice doesn't outlast the channel's"
    )
