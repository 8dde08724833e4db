"""A webhook reaches one process, and another one tracks its job."""

import pytest

from bot.demo.omni.timeline import Complete, Script
from tests.end_to_end.conftest import POSTGRESQL
from tests.end_to_end.steps import QUESTION, ask, requests, told
from tests.end_to_end.world import World
from tests.support.network import a_free_port

DATABASES = (POSTGRESQL,)


@pytest.mark.socket_mode  # it chooses the port itself
async def test_webhook_wakes_the_tracking_process(world: World) -> None:
    world.omni.script_for_submitted = Script(0.0, ((6.0, "Searching", 1),), 0.0, Complete("Sunglasses."))
    reached, other = a_free_port(), a_free_port()
    async with world.bot(**told(reached) | {"port": other}):
        await ask(world, QUESTION)
        await world.card("Asked by")
        async with world.bot(**told(reached)):
            await world.card("Sunglasses.")

    assert requests(world) == ["POST", "GET"]
    assert [sent.status for sent in world.omni.webhooks.sent][-1] == 200
