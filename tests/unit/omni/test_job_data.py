"""A job's result and its picture over real sockets: what is taken, what is none, and what is told of it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.demo.faults import HTML_500, RESET_AFTER, Fault
from bot.demo.omni.job_data import JobData, Query
from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Complete, Failed, Script
from bot.domain.errors import JobNotFound, KeyRefused, OmniBusy, OmniError, OmniUnreachable
from bot.domain.jobs import JobId
from bot.omni import client as omni_module
from bot.omni import http
from tests.support.omni_http import ID, RecordingLedger, World, client_to, raw_server

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
ROWS = "Product,Revenue\nSunglasses,5\n"
ANSWERED = Script(end=Complete("42"))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    ledger = RecordingLedger()
    async with (
        SimulatedOmni(requests_per_minute=1_000) as service,
        client_to(service.base_url, service.api_key, ledger) as api,
    ):
        yield World(service, api, ledger)


def add(world: World, data: JobData, script: Script = ANSWERED) -> JobId:
    return JobId(world.service.add(script, data=data))


# The result


async def test_result_content_type_is_ignored(world: World) -> None:
    job = add(world, JobData((Query("Top products", ROWS, truncated=True, total_rows=48),)))
    result = await world.api.result(job, urgent=True)
    (query,) = result.queries
    assert (query.name, query.csv, query.is_truncated, query.total_rows) == ("Top products", ROWS, True, 48)
    assert [step.type for step in result.steps] == ["generate_query", "summarize"]
    assert result.chat_url == world.service.jobs[job].chat_url
    assert (world.ledger.taken, len(world.service.requests)) == (1, 1)


@pytest.mark.parametrize(
    "script, data", [(Script(end=Failed("No")), JobData()), (ANSWERED, JobData(ready_after_seconds=60))]
)
async def test_missing_result_is_not_found(world: World, script: Script, data: JobData) -> None:
    with pytest.raises(JobNotFound):
        await world.api.result(add(world, data, script))


@pytest.mark.parametrize("named", ["message", "resultSummary"])
async def test_result_has_the_whole_answer(world: World, named: str) -> None:
    fields = {"message": None, "resultSummary": None, named: "### The real answer"}
    found = await world.api.result(add(world, JobData(changed=tuple(fields.items()))))
    assert (found.message, found.message_is_cut) == ("### The real answer", False)


async def test_result_fields_may_be_null(world: World) -> None:
    nulls = tuple((name, None) for name in ("message", "resultSummary", "topic", "omniChatUrl", "actions"))
    assert (await world.api.result(add(world, JobData(changed=nulls)))).queries == ()
    pending = JobData((Query("Top", ROWS, message=None),), pending_seconds=60)
    assert (await world.api.result(add(world, pending))).is_pending


async def test_a_large_result_is_read_aside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(omni_module, "READ_ASIDE_BYTES", 1_000)
    rows = ROWS + "Jeans,4\n" * 1_000
    (query,) = (await world.api.result(add(world, JobData((Query("Top", rows),))))).queries
    assert query.csv == rows


async def test_result_size_is_limited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST_BODY_BYTES", 1_000)
    job = add(world, JobData((Query("Top", "x" * 20_000),)))
    assert (await world.api.result(job)).size > 20_000
    monkeypatch.setattr(omni_module, "LARGEST_RESULT_BYTES", 10_000)
    with pytest.raises(OmniUnreachable, match="too large"):
        await world.api.result(job)


_REFUSALS: list[tuple[Fault, type[OmniError]]] = [
    (Fault("status", 401, '{"detail": "Unauthorized", "status": 401}'), KeyRefused),
    (Fault("status", 429, "{}"), OmniBusy),
    (HTML_500, OmniUnreachable),
    (RESET_AFTER, OmniUnreachable),
    (Fault("status", 200, "<html>", "text/html"), OmniUnreachable),
    (Fault("status", 404, "<html>", "text/html"), OmniUnreachable),
]


@pytest.mark.parametrize("fault, error", _REFUSALS)
async def test_result_refusals_are_classified(world: World, fault: Fault, error: type[OmniError]) -> None:
    world.service.faults.plan(fault)
    with pytest.raises(OmniError) as raised:
        await world.api.result(add(world, JobData()))
    assert type(raised.value) is error


async def test_rate_limit_pauses_the_key(world: World) -> None:
    for ask in (world.api.result, world.api.chart):
        world.answers(429, "{}", Retry_After="7")
        with pytest.raises(OmniBusy):
            await ask(ID)
    assert world.ledger.pauses == [7.0, 7.0]


async def test_result_has_longer_timeout(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TIMEOUT_SECONDS", 0.1)
    async with client_to(world.service.base_url, world.service.api_key, world.ledger) as hasty:
        for ask in (hasty.result, hasty.chart):
            world.service.faults.plan(Fault("delay", delay_seconds=0.3))
            await ask(add(world, JobData()))
        monkeypatch.setattr(omni_module, "LONGER_TIMEOUT_SECONDS", 0.1)
        world.service.faults.plan(Fault("delay", delay_seconds=0.3))
        with pytest.raises(OmniUnreachable):
            await hasty.result(add(world, JobData()))


# The picture


async def test_chart_costs_one_request(world: World) -> None:
    job = add(world, JobData(picture=PNG))
    assert world.api.has_chart(job) is None
    assert await world.api.chart(job) == PNG
    assert world.api.has_chart(job) is True
    assert world.ledger.taken == 1


@pytest.mark.parametrize(
    "data, script",
    [
        (JobData(), ANSWERED),
        (JobData(picture=PNG, ready_after_seconds=60), ANSWERED),
        (JobData(picture=PNG), Script(end=Failed("No"))),
        (JobData(picture=b"string"), ANSWERED),
        (JobData(picture=b"\xff\xd8\xff\xe0 JPEG"), ANSWERED),
        (JobData(picture=b""), ANSWERED),
    ],
    ids=["422", "not ready", "failed", "six bytes", "a JPEG", "nothing"],
)
async def test_what_is_no_picture_is_quietly_none(world: World, data: JobData, script: Script) -> None:
    job = add(world, data, script)
    assert await world.api.chart(job) is None
    assert world.api.has_chart(job) is False


async def test_organization_may_lack_charts(world: World) -> None:
    world.service.draws = False
    assert await world.api.chart(add(world, JobData(picture=PNG))) is None
    assert await world.api.chart(ID) is None


async def test_oversized_chart_is_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = add(world, JobData(picture=PNG))
    monkeypatch.setattr(omni_module, "LARGEST_CHART_BYTES", 10)
    assert await world.api.chart(job) is None


async def test_an_endless_picture_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(omni_module, "LARGEST_CHART_BYTES", 10_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1000000000\r\n\r\n" + PNG
    async with raw_server(head + b" " * 200_000) as server:
        async with client_to(server.url, "key", RecordingLedger()) as api:
            assert await api.chart(ID) is None


@pytest.mark.parametrize("fault, error", _REFUSALS[:4])
async def test_chart_refusals_are_classified(world: World, fault: Fault, error: type[OmniError]) -> None:
    world.service.faults.plan(fault)
    job = add(world, JobData(picture=PNG))
    with pytest.raises(error):
        await world.api.chart(job)
    assert world.api.has_chart(job) is None


async def test_result_is_not_logged(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    secret: Any = (("actions", "our margins"), ("topic", ["our margins"]))
    await world.api.result(add(world, JobData((Query("our margins", "our margins"),))))
    await world.api.result(add(world, JobData(changed=secret)))
    with pytest.raises(OmniUnreachable) as error:
        await world.api.result(add(world, JobData(raw=b"[our margins")))
    told = capsys.readouterr()
    assert "margins" not in f"{told.out}{told.err}{error.value}{error.value.__cause__!r}"
