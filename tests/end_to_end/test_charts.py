"""The chart of an answer, from Omni to the card, or to its thread where Slack does not show it on the card."""

import math

import pytest

from bot.demo.faults import RESET_AFTER
from bot.demo.omni.job_data import JobData, bars
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.workspace import StoredMessage
from tests.end_to_end.world import World

ANSWER = Script(steps=((0.5, "Searching", 1),), end=Complete("Revenue rises."))
PICTURE = bars((412_300, 448_700, 467_200))


async def answered(world: World) -> StoredMessage:
    """The card of a job whose answer has a chart."""
    await world.type(
        world.omni.add(ANSWER, data=JobData(picture=PICTURE), prompt="How does revenue develop?")
    )
    return await world.card("Answered in")


def pictures(card: StoredMessage) -> list[str]:
    return [block["slack_file"]["id"] for block in card.blocks if block["type"] == "image"]


def files(world: World, card: StoredMessage) -> list[str]:
    return [file.name for reply in world.replies(card) for file in reply.files]


@pytest.mark.both_modes
async def test_card_shows_the_chart_of_its_answer(world: World) -> None:
    async with world.bot():
        card = await answered(world)
        await world.slack.until(lambda: bool(pictures(card)))
    (file,) = pictures(card)
    stored = world.slack.workspace.files.by_id[file]
    assert stored.content == PICTURE
    (picture,) = [block for block in card.blocks if block["type"] == "image"]
    assert "How does revenue develop?" in picture["alt_text"]
    assert "Revenue rises." in str(card.blocks)
    assert files(world, card) == []


async def test_chart_waits_until_slack_has_processed_it(world: World) -> None:
    world.slack.workspace.files.processing_seconds = 1.5
    async with world.bot():
        card = await answered(world)
        await world.slack.until(lambda: bool(pictures(card)), timeout=20)
    assert files(world, card) == []
    assert len(world.slack.calls("upload")) == 1


async def test_chart_that_slack_never_processes_is_in_thread(world: World) -> None:
    world.slack.workspace.files.processing_seconds = math.inf
    async with world.bot():
        card = await answered(world)
        await world.slack.until(lambda: files(world, card) == ["chart.png"], timeout=30)
    assert pictures(card) == [] and "Revenue rises." in str(card.blocks)


async def test_chart_is_left_out_without_its_scope(world: World) -> None:
    world.slack.granted_scopes.discard("files:write")
    async with world.bot():
        card = await answered(world)
        await world.slack.until(lambda: len(world.slack.calls("files.getUploadURLExternal")) == 2)
    assert pictures(card) == [] and files(world, card) == []


async def test_operator_keeps_charts_in_threads(world: World) -> None:
    async with world.bot(chart_on_card=False):
        card = await answered(world)
        await world.slack.until(lambda: files(world, card) == ["chart.png"])
    assert pictures(card) == []


async def test_bot_stopped_over_chart_edit_shows_one_chart(world: World) -> None:
    async with world.bot():
        card = await answered(world)
        world.slack.faults.plan(RESET_AFTER, on="chat.update", times=None)
        await world.slack.until(lambda: bool(pictures(card)))
    world.slack.faults.lift()
    async with world.bot():
        await world.slack.until(lambda: bool(pictures(card)) + len(files(world, card)) == 1, timeout=30)
        await world.slack.until(lambda: files(world, card) == ["chart.png"], timeout=30)
    assert pictures(card) == []
