"""Processes on one database with different settings: none asks another Omni, and none asks faster than another may."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bot.domain.cards import TeamId, UserId
from bot.domain.credentials import Credentials
from bot.domain.errors import SettingsError, StoreUnavailable
from bot.ratelimit import Rate, RateLimiter, omni_rate
from bot.tasks import end
from bot.worker.pg import open_pool
from bot.worker.pg_notify import PgNotify
from bot.workspaces.agreement import CHECK_SECONDS, Agreement
from tests.support.fakes import FreeLedger
from tests.support.postgres import Cable

ACME = Credentials(
    team=TeamId("T0ACME"),
    bot_user=UserId("U0BOT"),
    bot_id="B0",
    bot_token="xoxb",
    omni_base_url="https://acme.omniapp.co",
    omni_api_token="omni_osk",
    requests_per_minute=60,
)
OTHER = replace(ACME, omni_base_url="https://acme.example.com")


class Known:
    """A source of one workspace."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials

    async def list(self) -> Sequence[Credentials]:
        return [self.credentials]


class Database:
    """What the processes show, as their database knows it."""

    def __init__(self) -> None:
        self.shown: dict[str, list[tuple[int, int]]] = {}
        self.error: StoreUnavailable | None = None

    def end(self, process: str) -> None:
        """The process is gone."""
        del self.shown[process]

    def process(self, name: str, credentials: Credentials) -> Agreement:
        self.shown[name] = []
        return Agreement(View(self, name), Known(credentials))


class View:
    """The database as one process uses it."""

    def __init__(self, database: Database, name: str) -> None:
        self.database = database
        self.name = name

    def hold(self, kind: int, number: int) -> None:
        self.database.shown[self.name].append((kind, number))

    async def held(self, kind: int) -> set[int]:
        if self.database.error is not None:
            raise self.database.error
        held = {number for shown in self.database.shown.values() for of, number in shown if of == kind}
        await asyncio.sleep(0)
        return held


@pytest.mark.looptime
async def test_another_omni_is_refused_after_a_minute() -> None:
    database = Database()
    await database.process("old", ACME).begin()
    with pytest.raises(SettingsError, match="OMNI_BASE_URL"):
        await database.process("new", OTHER).begin()
    assert asyncio.get_running_loop().time() == pytest.approx(60.0, abs=2.0)
    assert database.shown["new"] == []


@pytest.mark.looptime
async def test_a_restart_may_change_the_omni() -> None:
    database = Database()
    await database.process("old", ACME).begin()
    starting = asyncio.create_task(database.process("new", OTHER).begin())
    await asyncio.sleep(20)
    assert not starting.done()
    database.end("old")
    await asyncio.sleep(2)
    assert starting.done() and starting.exception() is None
    with pytest.raises(SettingsError):
        await database.process("third", ACME).begin()


@pytest.mark.looptime
@pytest.mark.parametrize("more", [{}, {"omni_api_token": "another"}, {"requests_per_minute": 500}])
async def test_the_same_omni_starts_at_once(more: dict[str, object]) -> None:
    database = Database()
    await database.process("old", ACME).begin()
    await database.process("new", replace(ACME, **more)).begin()  # type: ignore[arg-type]
    await database.process("elsewhere", replace(OTHER, team=TeamId("T0OTHER"))).begin()
    assert asyncio.get_running_loop().time() == 0.0


@asynccontextmanager
async def kept(process: Agreement) -> AsyncIterator[RateLimiter]:
    """The gate of a process that keeps to what it agrees on."""
    gate = RateLimiter(FreeLedger(), "omni", Rate(1.0, 0.0))
    keeping = asyncio.create_task(process.keep(lambda: [gate]))
    try:
        yield gate
    finally:
        await end([keeping])


@pytest.mark.looptime
async def test_lowest_rate_applies_while_published() -> None:
    database = Database()
    slow, fast = (
        database.process("slow", ACME),
        database.process("fast", replace(ACME, requests_per_minute=500)),
    )
    await fast.begin()
    async with kept(fast) as gate:
        await asyncio.sleep(1)
        assert gate.rate == omni_rate(500)
        await slow.begin()
        await asyncio.sleep(CHECK_SECONDS)
        assert gate.rate == omni_rate(60)
        database.error = StoreUnavailable("away")
        await asyncio.sleep(2 * CHECK_SECONDS)
        assert gate.rate == omni_rate(60)
        database.error = None
        database.end("slow")
        await asyncio.sleep(CHECK_SECONDS)
        assert gate.rate == omni_rate(500)


@pytest.mark.looptime
async def test_two_omnis_that_start_together_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    database = Database()
    one, other = database.process("one", ACME), database.process("other", OTHER)
    await asyncio.gather(one.begin(), other.begin())
    async with kept(one), kept(other):
        await asyncio.sleep(3 * CHECK_SECONDS)
    assert capsys.readouterr().out.count("another process has another omni") == 2


# On PostgreSQL


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[PgNotify]:
    async with open_pool(url) as pool:
        relay = PgNotify(url, pool)
        running = asyncio.create_task(relay.run())
        try:
            await relay.listening.wait()
            yield relay
        finally:
            await end([running])


async def test_numbers_end_with_their_process(postgresql: str) -> None:
    async with listening(postgresql) as here:
        async with listening(postgresql) as there:
            there.hold(1, 2_147_483_647)
            there.hold(2, 7)
            here.hold(1, 60)
            await until_held(here, 1, {60, 2_147_483_647})
            assert await there.held(2) == {7}
        await until_held(here, 1, {60})
        assert await here.held(2) == set()


async def test_numbers_show_again_after_a_lost_connection(postgresql: str) -> None:
    async with (
        Cable(postgresql).laid() as cable,
        listening(cable.url) as there,
        listening(postgresql) as here,
    ):
        there.hold(1, 60)
        await until_held(here, 1, {60})
        cable.cut()
        await until_held(here, 1, set())
        cable.mend()
        await until_held(here, 1, {60})


async def until_held(relay: PgNotify, kind: int, numbers: set[int]) -> None:
    async with asyncio.timeout(20):
        while await relay.held(kind) != numbers:
            await asyncio.sleep(0.05)
