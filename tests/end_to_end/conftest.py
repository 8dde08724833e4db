"""One world per test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.demo.omni import SimulatedOmni
from bot.demo.slack import SimulatedSlack
from tests.end_to_end.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with SimulatedSlack() as slack, SimulatedOmni() as omni:
        world = World(slack, omni, tmp_path)
        yield world
        await world.close()
