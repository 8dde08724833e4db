"""One world per test; for modules that name them in `DATABASES`, one per database."""

from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bot import cadence
from bot.demo.omni import SimulatedOmni
from bot.demo.slack import SimulatedSlack
from tests.end_to_end.world import World
from tests.postgres import database

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "world" in metafunc.fixturenames:
        databases = getattr(metafunc.module, "DATABASES", (SQLITE,))
        metafunc.parametrize("world", databases, indirect=True, ids=databases)


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """These jobs take seconds, which is unlikely: let the bot look at a young one as often as at any other."""
    monkeypatch.setattr(cadence, "WORTH_ASKING", 0.0)


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    with ExitStack() as closing:
        url = closing.enter_context(database()) if request.param == POSTGRESQL else None
        async with SimulatedSlack() as slack, SimulatedOmni() as omni:
            world = World(slack, omni, tmp_path, url)
            yield world
            await world.close()
