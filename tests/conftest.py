"""For every test here."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from bot.domain.ports.storage import CardRepository
from bot.storage.database import Database
from tests.support import postgres
from tests.support.databases import Opened, empty, opened
from tests.support.fakes import FakeWatches

# What is imported and collected stays to the end, six thousand tests among it. Looking through it for garbage, again
# and again while it grows and in each of xdist's processes, takes a third of that time and finds none.
gc.disable()

# For a test without an event loop, looptime asks asyncio for the current one, and asyncio up to 3.13 then
# makes one that nobody closes. Once "none" was set, it says that there is none.
asyncio.set_event_loop(None)

# The quick one is the same each time: what only some examples show is hunted with the thorough one.
settings.register_profile("quick", max_examples=30, derandomize=True)
settings.register_profile("thorough", max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


SLOW = (
    "end_to_end",
    "test_command_line",
    "test_run",
    "test_queue_runner",
    "test_socket_mode",
    "test_contracts",
    "test_container",
    "test_deployment",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: the suite should not wait at its end for one worker that still has such tests."""
    items.sort(key=lambda item: not any(slow in item.nodeid for slow in SLOW))


def pytest_collection_finish() -> None:
    """Look for garbage from now on, and only among what the tests leave."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _no_thread_in_virtual_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual time would not wait for a thread, so what is done in one is done at once."""

    async def at_once(work: Callable[..., object], *args: object) -> object:
        return work(*args)

    if request.node.get_closest_marker("looptime"):
        monkeypatch.setattr(asyncio, "to_thread", at_once)


@pytest.fixture(scope="session")
def _kept_postgresql() -> Iterator[str]:
    """A PostgreSQL database with its tables, made once per test process."""
    with postgres.database() as url:
        address = url.replace("postgresql://", "postgresql+psycopg://")

        async def create_tables() -> None:
            await (await Database.open(address)).close()

        asyncio.run(create_tables())
        yield address


@pytest.fixture
def postgresql(_kept_postgresql: str) -> str:
    """The address of a PostgreSQL database with empty tables."""
    empty(_kept_postgresql)
    return _kept_postgresql


@pytest.fixture
def new_postgresql() -> Iterator[str]:
    """The address of a PostgreSQL database of the test's own, without a single table."""
    with postgres.database() as url:
        yield url.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """The address of a SQLite database that is still to be made."""
    return f"sqlite+aiosqlite:///{tmp_path / 'bot.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest) -> str:
    """The address of an empty database of either kind."""
    address: str = request.getfixturevalue(request.param)
    return address


@pytest.fixture
async def database(address: str) -> AsyncIterator[Opened]:
    """An empty database of either kind, for processes to open."""
    async with opened(address) as database:
        yield database


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def kept_in(request: pytest.FixtureRequest) -> str | None:
    """Where the table of watches is: at the address of an empty database, or nowhere but in memory."""
    return None if request.param == "memory" else str(request.getfixturevalue(request.param))


@pytest.fixture
async def store(kept_in: str | None) -> AsyncIterator[CardRepository]:
    """An empty table of watches of each kind."""
    if kept_in is None:
        yield FakeWatches()
    else:
        async with opened(kept_in) as database:
            yield await database.store()
