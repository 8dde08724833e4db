"""The simulated Omni for every test here."""

from collections.abc import AsyncIterator

import pytest

from bot.demo.omni.server import SimulatedOmni


@pytest.fixture
async def omni() -> AsyncIterator[SimulatedOmni]:
    async with SimulatedOmni() as simulated:
        yield simulated
