"""A refused answer is sent in a plainer variant, over real sockets."""

import json
from typing import Any

import pytest
from aiohttp import web

from bot.demo.faults import Serve
from bot.demo.omni.timeline import Complete, Script
from tests.end_to_end.world import World

ANSWER = "## Sales\n\n| Region | Sum |\n|---|---|\n| EMEA | 41 |"


class Refusing:
    """A Slack that refuses variants richer than a given one."""

    def __init__(self, code: str, *signs: str) -> None:
        self.code = code
        self.signs = signs
        """Text that appears only in refused variants."""
        self.refused = 0

    async def __call__(self, request: web.Request, serve: Serve) -> web.StreamResponse:
        sent: dict[str, Any] = await request.json()
        content = json.dumps([sent.get("text"), sent.get("blocks")])
        if not any(sign in content for sign in self.signs):
            return await serve()
        self.refused += 1
        return web.json_response({"ok": False, "error": self.code})


@pytest.mark.parametrize(
    "code, signs, refused, shows",
    [
        ("invalid_attachments", ['"table"'], 1, "EMEA   |  41"),
        ("invalid_blocks", ['"header"'], 2, "EMEA   |  41"),
        ("msg_blocks_too_long", ['"section"'], 3, "EMEA   |  41"),
        ("msg_too_long", ["EMEA"], 4, "The answer could not be shown in Slack."),
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
    assert bool(card.blocks) == (refused <= 2)
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
