"""One world per test; for modules that name them in `DATABASES`, one per database; and the same in HTTP mode.

In HTTP mode the suite runs what exists in that mode only, and tests marked `both_modes`: together they send each kind
of payload. The others run with `uv run pytest -m http tests/end_to_end`, as in `.ci/run`: what Omni and Slack's Web API
do is the same in both modes.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bot.demo.omni.server import SimulatedOmni
from bot.demo.slack.simulator import SimulatedSlack
from bot.server.slack_events import PATH
from bot.services import submission
from bot.tracking import tracked_job
from tests.end_to_end.world import World, a_free_port
from tests.support.postgres import database

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
SOCKET, HTTP = "socket", "http"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "world" in metafunc.fixturenames:
        metafunc.parametrize("world", list(_worlds(metafunc)), indirect=True)


def _worlds(metafunc: pytest.Metafunc) -> Iterator[object]:
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    databases = getattr(metafunc.module, "DATABASES", (SQLITE,))
    if "http_mode" not in marks:
        for kept_in in databases:
            yield pytest.param((kept_in, SOCKET), id=kept_in)
    if "socket_mode" not in marks:
        everywhere = () if marks & {"both_modes", "http_mode"} else (pytest.mark.http,)
        yield pytest.param((databases[0], HTTP), id="HTTP mode", marks=everywhere)


@pytest.fixture(autouse=True)
def _fast_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll more often than the bot would, so that the tests wait less."""
    monkeypatch.setattr(tracked_job, "FASTEST_SECONDS", 0.5)
    monkeypatch.setattr(submission, "CONVERSATION_POLL_SECONDS", 0.5)


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    kept_in, mode = request.param
    with ExitStack() as closing:
        url = closing.enter_context(database()) if kept_in == POSTGRESQL else None
        async with SimulatedSlack() as slack, SimulatedOmni(requests_per_minute=600) as omni:
            if mode == HTTP:
                slack.request_url.url = f"http://127.0.0.1:{a_free_port()}{PATH}"
            world = World(slack, omni, tmp_path, url)
            yield world
            await world.close()
            assert omni.unknown == []
