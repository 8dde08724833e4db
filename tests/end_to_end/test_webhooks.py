"""Omni's webhooks: the requests they save, and lost, repeated or forged ones."""

import asyncio

import pytest

from bot.demo.omni.server import SUBMIT
from bot.demo.omni.timeline import Complete, Script
from tests.end_to_end.steps import QUESTION, ask, requests, told
from tests.end_to_end.world import World
from tests.support.network import a_free_port

STEPS = Script(
    0.3,
    ((1.0, "Searching for revenue fields", 1), (3.5, "Running <!channel> query", 2)),
    0.0,
    Complete("Sunglasses."),
)


@pytest.mark.socket_mode  # it chooses the port itself
async def test_question_costs_two_requests(world: World) -> None:
    world.omni.script_for_submitted = STEPS
    world.omni.webhooks.times = 2
    async with world.bot(**told(a_free_port())):
        await ask(world, QUESTION)
        await world.card("Searching for revenue fields")
        card = await world.card("Running")
        assert "<!channel>" not in str(card.blocks)
        assert requests(world) == ["POST"]
        await world.card("Sunglasses.", timeout=5)

    assert requests(world) == ["POST", "GET"]
    assert {sent.status for sent in world.omni.webhooks.sent} == {200}


@pytest.mark.socket_mode  # it chooses the port itself
async def test_webhook_before_submit_response_is_kept(world: World) -> None:
    world.omni.script_for_submitted = Script(0.0, (), 0.0, Complete("Sunglasses."))

    async def late(request: object, serve: object) -> object:
        answer = await serve()  # type: ignore[operator]
        await asyncio.sleep(1.0)
        return answer

    world.omni.faults.plan(late, on=SUBMIT)  # type: ignore[arg-type]
    async with world.bot(**told(a_free_port())):
        await ask(world, QUESTION)
        await world.card("Sunglasses.", timeout=5)

    assert requests(world) == ["POST", "GET"]
