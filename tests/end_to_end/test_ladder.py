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


async def test_unsupported_task_block_falls_back_to_text(world: World) -> None:
    slack = Refusing("invalid_blocks", '"task_card"')
    world.slack.faults.plan(slack, on="chat.*", times=None)
    steps = ((1.9, "Searching for fields", 1), (1.9, "Running query", 2))
    async with world.bot():
        job = world.omni.add(Script(0.0, steps, 0.0, Complete(ANSWER)))
        await world.type(job)
        await world.card("Step 1: Searching for fields")
        await world.card("Step 2: Running query")
        card = await world.card("EMEA")

    assert slack.refused == 1
    assert '"table"' in json.dumps(card.blocks)
