"""Whether the bot can do its work right now, as `/readyz` tells it, and if not, why."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from bot.domain.errors import StoreUnavailable
from bot.server.health import (
    CHECK_SECONDS,
    REUSED_FOR_SECONDS,
    UNWRITABLE_SECONDS,
    Health,
    HealthInputs,
)
from bot.storage.transactions import Transactions
from tests.support.fakes import now

pytestmark = pytest.mark.looptime


class Stub:
    """A bot as far as its health is looked at. All is well until a test says otherwise."""

    def __init__(self) -> None:
        self.connected = True
        self.workspace: str | None = None
        self.refused: str | None = None
        self.followed: bool | Exception = True
        self.error: Exception | None = None
        self.written: list[datetime] = []

    def connection(self) -> str | None:
        return None if self.connected else "not connected to Slack: link_disabled"

    async def is_any_process_alive(self) -> bool:
        if isinstance(self.followed, Exception):
            raise self.followed
        return self.followed

    async def writes(self, at: datetime) -> None:
        await asyncio.sleep(0.1)
        if self.error is not None:
            raise self.error
        self.written.append(at)


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
def health(stub: Stub) -> Health:
    health = Health()
    health.inputs = HealthInputs(
        connection=stub.connection,
        workspaces=lambda: stub.workspace,
        refused=lambda: stub.refused,
        is_tracking=stub.is_any_process_alive,
        transactions=cast(Transactions, stub),
        now=now,
    )
    return health


async def test_starting_bot_is_not_ready() -> None:
    assert await Health().problem() == "not connected to Slack"


async def test_healthy_bot_has_no_problem(health: Health) -> None:
    assert await health.problem() is None


@pytest.mark.parametrize(
    "trouble, part, told",
    [
        ({"connected": False}, "slack", "not connected to Slack: link_disabled"),
        ({"workspace": "no workspace is open"}, "workspace", "no workspace is open"),
        ({"refused": "token_revoked"}, "token", "Slack refuses the bot's token"),
        ({"error": StoreUnavailable("no answer within 5 s")}, "database", "database can't be written"),
        ({"followed": False}, "follows", "no process follows jobs"),
        (
            {"followed": StoreUnavailable("gone")},
            "follows",
            "unknown whether a process follows jobs",
        ),
    ],
)
async def test_problem_is_reported_until_it_ends(
    health: Health, stub: Stub, trouble: dict[str, Any], part: str, told: str
) -> None:
    before = {name: getattr(stub, name) for name in trouble}
    for name, value in trouble.items():
        setattr(stub, name, value)
    assert await health.problem() == told
    assert {name for name, problem in (await health.problems()).items() if problem} == {part}
    for name, value in before.items():
        setattr(stub, name, value)
    await asyncio.sleep(REUSED_FOR_SECONDS)
    assert await health.problem() is None


async def test_response_hides_database_error(health: Health, stub: Stub) -> None:
    stub.error = StoreUnavailable("password authentication failed for user bot at 10.0.0.7")
    assert "10.0.0.7" not in str(await health.problem())


async def test_concurrent_checks_write_once(health: Health, stub: Stub) -> None:
    assert await asyncio.gather(*(health.problem() for _ in range(100))) == [None] * 100
    assert len(stub.written) == 1


async def test_database_result_is_reused_for_two_seconds(health: Health, stub: Stub) -> None:
    await health.problem()
    stub.error = StoreUnavailable("disk full")
    await asyncio.sleep(REUSED_FOR_SECONDS - 0.1)
    assert await health.problem() is None
    await asyncio.sleep(0.1)
    assert await health.problem() == "database can't be written"


async def test_connection_to_slack_is_never_reused(health: Health, stub: Stub) -> None:
    stub.connected = False
    assert await health.problem() == "not connected to Slack: link_disabled"
    stub.connected = True
    assert await health.problem() is None
    stub.connected = False
    assert await health.problem() == "not connected to Slack: link_disabled"
    assert len(stub.written) == 1


# What a supervisor asks


@asynccontextmanager
async def watched(health: Health) -> AsyncIterator[None]:
    """Let the bot look at its health as long as the context lasts."""
    watching = asyncio.create_task(health.watch())
    yield
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def healthz(health: Health) -> int:
    """The status that `/healthz` answers with, at once."""
    (route,) = [route for route in health.routes() if route.path == "/healthz"]
    began = asyncio.get_running_loop().time()
    answer = await cast(Any, route.handler)(None)
    assert asyncio.get_running_loop().time() == began
    return int(answer.status)


async def test_bot_is_healthy_before_it_begins() -> None:
    assert await healthz(Health()) == 200


async def test_unwritable_database_turns_healthz_red(health: Health, stub: Stub) -> None:
    async with watched(health):
        await asyncio.sleep(1.0)
        stub.error = StoreUnavailable("database is locked")
        await asyncio.sleep(UNWRITABLE_SECONDS - 2.0)
        assert await healthz(health) == 200
        await asyncio.sleep(3.0)
        assert await healthz(health) == 503
        stub.error = None
        await asyncio.sleep(CHECK_SECONDS + 1.0)
        assert await healthz(health) == 200


async def test_short_outage_leaves_healthz_green(health: Health, stub: Stub) -> None:
    async with watched(health):
        for _ in range(5):
            stub.error = StoreUnavailable("no answer within 5 s")
            await asyncio.sleep(UNWRITABLE_SECONDS / 2)
            assert await healthz(health) == 200
            stub.error = None
            await asyncio.sleep(CHECK_SECONDS + 1.0)


async def test_hanging_database_turns_healthz_red(health: Health, stub: Stub) -> None:
    async with watched(health):
        await asyncio.sleep(1.0)
        stub.writes = asyncio.Event().wait  # type: ignore[assignment, method-assign]
        await asyncio.sleep(UNWRITABLE_SECONDS + CHECK_SECONDS)
        assert await healthz(health) == 503


async def test_trouble_with_slack_leaves_healthz_green(health: Health, stub: Stub) -> None:
    async with watched(health):
        stub.connected, stub.followed = False, False
        await asyncio.sleep(10 * UNWRITABLE_SECONDS)
        assert await healthz(health) == 200


async def test_unwritable_database_is_logged_once(health: Health, stub: Stub) -> None:
    async with watched(health):
        with capture_logs() as logged:
            stub.error = StoreUnavailable("/data/bot.sqlite3 was deleted or replaced: restart the bot")
            await asyncio.sleep(10 * CHECK_SECONDS)
            stub.error = None
            await asyncio.sleep(10 * CHECK_SECONDS)
        assert [(line["event"], line.get("reason")) for line in logged] == [
            ("database unwritable", "/data/bot.sqlite3 was deleted or replaced: restart the bot"),
            ("database writable again", None),
        ]
