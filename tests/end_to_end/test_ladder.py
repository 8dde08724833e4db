"""A refused answer is sent in a plainer variant, over real sockets."""

import json

import pytest

from bot.demo.omni.timeline import Complete, Script
from tests.end_to_end.steps import Refusing
from tests.end_to_end.world import World

ANSWER = "## Sales\n\n| Region | Sum |\n|---|---|\n| EMEA | 41 |"


@pytest.mark.parametrize(
    "code, signs, refused, shows",
    [
        ("invalid_attachments", ['"table"'], 2, "EMEA   |  41"),
        ("invalid_blocks", ['"header"'], 3, "EMEA   |  41"),
        ("msg_blocks_too_long", ['"section"'], 4, "EMEA   |  41"),
        ("msg_too_long", ["EMEA"], 5, "The answer could not be shown in Slack."),
    ],
    ids=["no table", "sections", "text", "link"],
)
async def test_plainer_variants_are_tried_until_accepted(
    world: World, code: str, signs: list[str], refused: int, shows: str
) -> None:
    slack = Refusing(code, *signs)
    async with world.bot():
        job = world.omni.add(Script(0.0, ((60.0, "Thinking", 1),)))
        await world.type(job)
        await world.card("Thinking")
        world.slack.faults.plan(slack, on="chat.update", times=None)
        world.omni.set(job, state="COMPLETE", resultSummary=ANSWER)
        card = await world.card(shows)

    assert slack.refused == refused
    assert bool(card.blocks) == (refused <= 3)
    assert "fail" not in card.text


@pytest.mark.parametrize(
    "signs, refused, kind",
    [(['"plan"'], 1, "task_card"), (['"plan"', '"task_card"'], 2, "section")],
    ids=["tasks", "text"],
)
async def test_steps_fall_back_and_refusal_is_learned(
    world: World, signs: list[str], refused: int, kind: str
) -> None:
    slack = Refusing("invalid_blocks", *signs)
    world.slack.faults.plan(slack, on="chat.*", times=None)
    steps = tuple((3.5, f"Searching {number}", number) for number in range(1, 4))
    async with world.bot():
        job = world.omni.add(Script(0.0, steps, 0.0, Complete(ANSWER)))
        await world.type(job)
        await world.card("Step 1: Searching 1")
        await world.card("Step 2: Searching 2")
        running = await world.card("Step 3: Searching 3")
        blocks = json.dumps([block for block in running.blocks if block["type"] == kind])
        assert "Step 1: Searching 1" in blocks and "Step 3: Searching 3" in blocks
        card = await world.card("EMEA")

    assert slack.refused == refused
    assert '"table"' in json.dumps(card.blocks)
