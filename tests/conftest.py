"""Fixtures and settings for all tests."""

import asyncio
import gc
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from bot.domain.ports.storage import CardRepository
from bot.storage.database import Database
from tests.support import postgres
from tests.support.databases import Opened, empty, opened
from tests.support.fakes import FakeCards

# Imported modules and collected tests live to the end. Looking for garbage during collection takes a third of its time
# in each of xdist's processes and finds nothing.
gc.disable()

# For a test without an event loop, looptime asks asyncio for the current one, and asyncio up to 3.13 creates one that
# is never closed. After `None` was set, it creates none.
asyncio.set_event_loop(None)

# The quick profile is deterministic; the thorough one searches for rare failures.
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
    """Start with the slow tests, so that the suite does not wait for one worker at its end."""
    items.sort(key=lambda item: not any(slow in item.nodeid for slow in SLOW))


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but only that of the tests."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _no_thread_in_virtual_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run `asyncio.to_thread` inline in virtual time, which does not wait for threads."""

    async def at_once(work: Callable[..., object], *args: object) -> object:
        return work(*args)

    if request.node.get_closest_marker("looptime"):
        monkeypatch.setattr(asyncio, "to_thread", at_once)


def _create_tables(address: str) -> None:
    async def open_and_close() -> None:
        await (await Database.open(address)).close()

    asyncio.run(open_and_close())


@pytest.fixture(scope="session")
def _kept_postgresql() -> Iterator[str]:
    """A PostgreSQL database with its tables, created once per test process."""
    with postgres.database() as url:
        address = url.replace("postgresql://", "postgresql+psycopg://")
        _create_tables(address)
        yield address


@pytest.fixture
def postgresql(_kept_postgresql: str) -> str:
    """The address of a PostgreSQL database with empty tables."""
    empty(_kept_postgresql)
    return _kept_postgresql


@pytest.fixture
def new_postgresql() -> Iterator[str]:
    """The address of a new PostgreSQL database without tables."""
    with postgres.database() as url:
        yield url.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(scope="session")
def _empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with empty tables, created once per test process. Copying it costs a fifth of creating them."""
    path = tmp_path_factory.mktemp("sqlite") / "bot.sqlite3"
    _create_tables(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture
def sqlite(tmp_path: Path, _empty_sqlite: Path) -> str:
    """The address of a SQLite database with empty tables."""
    path = tmp_path / "bot.sqlite3"
    shutil.copyfile(_empty_sqlite, path)
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest) -> str:
    """The address of an empty database, of each kind."""
    address: str = request.getfixturevalue(request.param)
    return address


@pytest.fixture
async def database(address: str) -> AsyncIterator[Opened]:
    """An empty database that processes can open, of each kind."""
    async with opened(address) as database:
        yield database


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def kept_in(request: pytest.FixtureRequest) -> str | None:
    """The address of an empty database for cards, or None for memory."""
    return None if request.param == "memory" else str(request.getfixturevalue(request.param))


@pytest.fixture
async def store(kept_in: str | None) -> AsyncIterator[CardRepository]:
    """An empty card repository, of each kind."""
    if kept_in is None:
        yield FakeCards()
    else:
        async with opened(kept_in) as database:
            yield await database.store()
