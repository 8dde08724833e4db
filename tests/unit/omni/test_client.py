"""Omni's statuses are read tolerantly, and each way Omni can fail becomes the error that says what to do."""

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.demo.faults import HTML_500, RESET_AFTER, RESET_BEFORE, Fault
from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Complete, Script
from bot.domain.errors import (
    JobNotFound,
    KeyRefused,
    ListRefused,
    OmniBusy,
    OmniError,
    OmniUnreachable,
    StoreUnavailable,
)
from bot.domain.jobs import LONGEST_ANSWER, Conversation, Job, JobError, JobId, JobState, Progress
from bot.domain.ports.metrics import RequestOutcome
from bot.domain.ports.omni import QueuePosition
from bot.omni import http
from bot.omni.client import OmniClient
from bot.omni.schemas import read_status
from bot.ratelimit import Rate, RateLimiter
from tests.support.fakes import FakeMeter
from tests.support.omni_http import ID, MANY, RecordingLedger, World, client_to, coded, raw_server
from tests.support.paths import DATA

asyncio.set_event_loop(None)  # as in tests/demo/conftest.py

EXAMPLES: dict[str, dict[str, Any]] = json.loads((DATA / "omni_status_states.json").read_text("utf-8"))[
    "examples"
]

ADA = "990e8400-e29b-41d4-a716-446655440004"


def at(minutes: int, seconds: int) -> datetime:
    return datetime(2025, 1, 15, 10, minutes, seconds, tzinfo=UTC)


def read(body: object) -> Job:
    return read_status(ID, json.dumps(body).encode())


@pytest.mark.parametrize(
    "answer, shown",
    [
        ("x" * LONGEST_ANSWER, LONGEST_ANSWER),
        ("x" * 5_000_000, LONGEST_ANSWER),
        ("one two\n" * 1_000_000, LONGEST_ANSWER - 1),
        ("a line\n" + "word " * 1_000_000, LONGEST_ANSWER - 4),
        (f"{'x' * LONGEST_ANSWER}\nmore", LONGEST_ANSWER),
    ],
    ids=["as long as shown", "one word", "lines", "words", "a line that just fits"],
)
def test_long_answer_is_cut_at_line_or_word(answer: str, shown: int) -> None:
    job = read({"state": "COMPLETE", "resultSummary": answer})
    assert job.answer == answer[:shown]
    assert job.answer_is_cut == (len(answer) > LONGEST_ANSWER)


def test_answer_of_running_job_is_not_cut() -> None:
    job = read({"state": "DELIVERING", "resultSummary": "x" * (LONGEST_ANSWER + 1)})
    assert (job.answer, job.answer_is_cut) == (None, False)


_STARTED: dict[str, object] = {"execution_started_at": at(0, 5)}

_FACTS: dict[str, tuple[JobState, dict[str, object]]] = {
    "queued": (JobState.QUEUED, {}),
    "executing-null": (JobState.EXECUTING, _STARTED),
    "executing": (
        JobState.EXECUTING,
        {**_STARTED, "progress": Progress("Running query: Top products by revenue", 2)},
    ),
    "delivering": (JobState.DELIVERING, _STARTED),
    "complete": (
        JobState.COMPLETE,
        {
            **_STARTED,
            "completed_at": at(1, 30),
            "answer": "### Top 5 Products by Revenue\n\n1. **Sunglasses** - $678,994\n2. **Jeans** - $475,072",
        },
    ),
    "complete-table": (
        JobState.COMPLETE,
        {
            **_STARTED,
            "completed_at": at(1, 30),
            "topic": "order_items",
            "answer": EXAMPLES["complete-table"]["resultSummary"],
        },
    ),
    "complete-empty": (JobState.COMPLETE, {**_STARTED, "completed_at": at(1, 30)}),
    "failed": (
        JobState.FAILED,
        {
            **_STARTED,
            "completed_at": at(1, 30),
            "error": JobError(
                "Column 'revenue' not found in table 'orders'",
                "QUERY_EXECUTION_ERROR",
                "The query timed out after 300 seconds",
            ),
        },
    ),
    "failed-before-start": (
        JobState.FAILED,
        {"completed_at": at(1, 30), "error": JobError("AI is not enabled")},
    ),
    "cancelled": (JobState.CANCELLED, {**_STARTED, "cancelled_at": at(0, 12)}),
    "cancelled-before-start": (JobState.CANCELLED, {"cancelled_at": at(0, 2)}),
}


def test_every_example_has_its_facts() -> None:
    assert set(_FACTS) == set(EXAMPLES)


@pytest.mark.parametrize("name", _FACTS)
def test_status_examples_are_parsed(name: str) -> None:
    state, facts = _FACTS[name]
    common: dict[str, Any] = {
        "prompt": "What are the top 5 products by revenue?",
        "chat_url": "https://my-org.omni.co/chat/660e8400-e29b-41d4-a716-446655440001",
        "conversation": "660e8400-e29b-41d4-a716-446655440001",
        "user": ADA,
        "model": "770e8400-e29b-41d4-a716-446655440002",
        "created_at": at(0, 0),
        "updated_at": datetime.fromisoformat(EXAMPLES[name]["updatedAt"]),
    }
    assert read(EXAMPLES[name]) == Job(ID, state, state.value, **(common | facts))


_ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=[])),
    st.just("2025-01-15T10:00:00+14:00"),
    st.just("0001-01-01T00:00:00+14:00"),
    st.just("9999-12-31T23:59:59-12:00"),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(
        st.sampled_from(["message", "iteration", "code", "detail", "x"]), st.integers(), max_size=3
    ),
)

_FIELDS = sorted({name for body in EXAMPLES.values() for name in body} - {"state"})


@given(
    st.sampled_from(sorted(EXAMPLES)), st.sets(st.sampled_from(_FIELDS)), st.sets(st.sampled_from(_FIELDS))
)
def test_only_state_is_required(name: str, missing: set[str], null: set[str]) -> None:
    body = {field: value for field, value in EXAMPLES[name].items() if field not in missing}
    job = read(body | dict.fromkeys(null))
    whole = read(EXAMPLES[name])
    assert job.state is whole.state
    if "resultSummary" not in missing | null:
        assert job.answer == whole.answer
    if "createdAt" not in missing | null:
        assert job.created_at == whole.created_at
    assert (job.error is not None) == (job.state is JobState.FAILED)


@given(st.sampled_from(sorted(EXAMPLES)), st.dictionaries(st.sampled_from([*_FIELDS, "new"]), _ANYTHING))
@example("complete", {"resultSummary": "half a \ud83d"})
@example("executing", {"progress": {"message": "half a \ud83d", "iteration": 1}})
def test_mistyped_field_is_ignored(name: str, changed: dict[str, Any]) -> None:
    job = read(EXAMPLES[name] | changed)
    assert job.state.value == job.raw_state == EXAMPLES[name]["state"]
    for text in (job.prompt, job.answer or "", job.topic or "", job.progress.message if job.progress else ""):
        text.encode("utf-8")
    for time in (job.created_at, job.execution_started_at, job.completed_at, job.cancelled_at):
        assert time is None or time.tzinfo is UTC


@pytest.mark.parametrize("nothing", [None, "", "  \n", 17, [], {}, False])
def test_empty_status_is_unreachable(nothing: object) -> None:
    assert read(EXAMPLES["complete"] | {"resultSummary": nothing}).answer is None


@pytest.mark.parametrize(
    "error", [None, "broken", [], {}, {"message": None}, {"message": ""}, {"message": 3}, {"code": 3}]
)
def test_failure_may_lack_a_reason(error: object) -> None:
    failed = read(EXAMPLES["failed"] | {"error": error}).error
    assert failed == JobError("Omni gave no reason.")


@pytest.mark.parametrize(
    "progress", [None, "busy", [], {}, {"iteration": 2}, {"message": " ", "iteration": 2}]
)
def test_a_progress_without_a_message_is_none(progress: object) -> None:
    assert read(EXAMPLES["executing"] | {"progress": progress}).progress is None


@pytest.mark.parametrize("field", ["conversation", "user", "model"])
@pytest.mark.parametrize(
    "written, meant",
    [(ID.upper(), ID), (None, None), ("", None), ("../users", None), (17, None), ([ID], None)],
)
def test_ids_must_be_uuids(field: str, written: object, meant: str | None) -> None:
    assert getattr(read(EXAMPLES["queued"] | {f"{field}Id": written}), field) == meant


@pytest.mark.parametrize("iteration", [None, "2", 2.5, True, [2]])
def test_progress_may_lack_an_iteration(iteration: object) -> None:
    progress = {"message": "Searching", "iteration": iteration}
    assert read(EXAMPLES["executing"] | {"progress": progress}).progress == Progress("Searching")


@pytest.mark.parametrize("state", ["QUEUED", "DELIVERING", "COMPLETE", "FAILED", "CANCELLED", "DREAMING"])
def test_only_an_executing_job_has_progress(state: str) -> None:
    left_over = EXAMPLES["executing"]["progress"]
    assert read(EXAMPLES["queued"] | {"state": state, "progress": left_over}).progress is None


@pytest.mark.parametrize("state", ["QUEUED", "EXECUTING", "DELIVERING", "FAILED", "CANCELLED", "DREAMING"])
def test_only_a_complete_job_has_an_answer(state: str) -> None:
    assert read(EXAMPLES["complete"] | {"state": state}).answer is None


@pytest.mark.parametrize(
    "state, shown",
    [
        *[(state, state) for state in ("REVIEWING", "COMPLETED", "complete", "UNKNOWN")],
        ("", "no name"),
        (" QUEUED", "QUEUED"),
        ("x\ud83d", "x\ufffd"),
        ("\x1b[2J\r\nEVIL\u202e\x07", "[2J EVIL"),
        ("X" * 2_000_000, "X" * 100),
    ],
    ids=["REVIEWING", "COMPLETED", "complete", "UNKNOWN", "empty", "a space", "half", "controls", "long"],
)
def test_unknown_state_counts_as_running(state: str, shown: str) -> None:
    job = read({**EXAMPLES["queued"], "state": state})
    assert job.state is JobState.UNKNOWN and not job.state.is_final
    assert job.raw_state == shown


@pytest.mark.parametrize(
    "body",
    [
        {"state": "DENIED"},
        {"state": "EXPIRED", "completedAt": "2026-05-04T14:00:00Z"},
        {"state": "REJECTED", "error": {"message": "over the credit limit"}},
    ],
)
def test_unknown_final_state_ends_with_its_reason(body: dict[str, object]) -> None:
    job = read(body | {"reason": "over the credit limit"})
    assert (job.state, job.raw_state) == (JobState.FAILED, body["state"])
    assert job.error == JobError("over the credit limit")


def test_unknown_state_with_a_time_of_cancelling_is_cancelled() -> None:
    job = read({"state": "ABORTED", "cancelledAt": "2026-05-04T14:00:00Z"})
    assert (job.state, job.raw_state) == (JobState.CANCELLED, "ABORTED")


@pytest.mark.parametrize(
    "written, meant",
    [
        ("2025-01-15T10:00:00.000Z", at(0, 0)),
        ("2025-01-15T12:00:00+02:00", at(0, 0)),
        ("2025-01-15T10:00:00", at(0, 0)),
        ("yesterday", None),
        ("", None),
        (1736935200, None),
        ("2025-13-45T99:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_times_are_converted_to_utc(written: object, meant: datetime | None) -> None:
    job = read(EXAMPLES["queued"] | {"createdAt": written})
    assert job.created_at == meant
    assert job.created_at is None or job.created_at.tzinfo is UTC


NONSENSE = [
    b"",
    b" ",
    b"null",
    b"[]",
    b"17",
    b'"COMPLETE"',
    b"{}",
    b'{"status": "COMPLETE"}',
    b'{"state": null}',
    b'{"state": 3}',
    b'{"state": ["COMPLETE"]}',
    b'{"state": "COMPLETE"',
    b"<html><body>Log in</body></html>",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"state": "COMPLETE", "x": ' + b"[" * 100_000,
    b'{"state": "COMPLETE", "x": ' + b"9" * 10_000 + b"}",
]


@pytest.mark.parametrize("body", NONSENSE, ids=[repr(body[:24]) for body in NONSENSE])
def test_invalid_status_is_unreachable(body: bytes) -> None:
    with pytest.raises(OmniUnreachable):
        read_status(ID, body)


@given(st.binary())
def test_any_bytes_parse_or_are_unreachable(body: bytes) -> None:
    try:
        read_status(ID, body)
    except OmniUnreachable as error:
        assert len(str(error)) < 100


def test_error_hides_body() -> None:
    with pytest.raises(OmniUnreachable) as error:
        read({"state": ["our margins"], "prompt": "our margins"})
    assert "margins" not in f"{error.value} {error.value.__cause__}"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    ledger, meter = RecordingLedger(), FakeMeter()
    async with (
        SimulatedOmni(requests_per_minute=1_000) as service,
        client_to(service.base_url, service.api_key, ledger, meter) as api,
    ):
        yield World(service, api, ledger, meter)


async def test_poll_costs_one_request(world: World) -> None:
    id_ = JobId(world.service.add(Script(end=Complete("42"))))
    job = await world.api.status(id_)
    assert (job.id, job.state, job.answer) == (id_, JobState.COMPLETE, "42")
    assert [(seen.method, seen.path) for seen in world.service.requests] == [
        ("GET", f"/api/v1/ai/jobs/{id_}")
    ]
    assert world.ledger.taken == 1


async def test_an_address_with_a_path_keeps_it() -> None:
    ledger = RecordingLedger()
    async with raw_server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}") as server:
        async with client_to(f"{server.url}/omni", "key", ledger) as api:
            with pytest.raises(OmniUnreachable):
                await api.status(ID)
    assert server.heard.startswith(b"GET /omni/api/v1/ai/jobs/550e8400")


async def test_an_unknown_job_is_not_found(world: World) -> None:
    with pytest.raises(JobNotFound):
        await world.api.status(ID)


@pytest.mark.parametrize(
    "status, body, content_type, error",
    [
        (400, '{"detail": "Invalid job ID format", "status": 400}', "application/json", JobNotFound),
        (401, '{"detail": "Missing or invalid API key.", "status": 401}', "application/json", KeyRefused),
        (403, '{"detail": "Feature not enabled", "status": 403}', "application/json", KeyRefused),
        (404, '{"detail": "Job not found", "status": 404}', "application/json", JobNotFound),
        (404, ' \n{"status": 404, "detail": "", "x": 1}', "application/octet-stream", JobNotFound),
        (408, "{}", "application/json", OmniUnreachable),
        (409, "{}", "application/json", OmniUnreachable),
        (418, "{}", "application/json", OmniUnreachable),
        (429, '{"detail": "Too Many Requests"}', "application/json", OmniBusy),
        (429, "<html>Slow down</html>", "text/html", OmniBusy),
        (500, "{}", "application/json", OmniUnreachable),
        (502, "<html>Bad Gateway</html>", "text/html", OmniUnreachable),
        (503, "", "text/plain", OmniUnreachable),
        (504, "upstream timed out", "text/plain", OmniUnreachable),
        (200, "<html>Log in</html>", "text/html", OmniUnreachable),
        (200, "", "text/plain", OmniUnreachable),
        (200, "{}", "application/json", OmniUnreachable),
        (204, "", "text/plain", OmniUnreachable),
    ],
)
async def test_each_answer_says_what_to_do(
    world: World, status: int, body: str, content_type: str, error: type[OmniError]
) -> None:
    world.answers(status, body, content_type)
    with pytest.raises(OmniError) as raised:
        await world.api.status(ID)
    assert type(raised.value) is error


_GATEWAYS = {
    "Kong": '{"message": "no Route matched with those values"}',
    "FastAPI": '{"detail": "Not Found"}',
    "Spring": '{"timestamp": "2026-01-15T10:00:00Z", "status": %d, "error": "Not Found", "path": "/api"}',
    "Azure": '{"statusCode": %d, "message": "Resource not found"}',
    "RFC 9457": '{"type": "about:blank", "title": "Not Found", "status": %d, "detail": "No such zone"}',
    "another code": '{"detail": "Not Found", "status": 418}',
    "a text": "404 page not found",
    "a page": "<html>No such page</html>",
    "a list": "[]",
    "nothing": "",
    "too long": '{"detail": "%s", "status": %%d}' % ("x" * 100_000),
}
"""What others answer in Omni's place; a number is the code."""


@pytest.mark.parametrize("body", _GATEWAYS.values(), ids=_GATEWAYS)
@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_gateway_error_is_unreachable(world: World, status: int, body: str) -> None:
    for ask in (
        world.api.status,
        world.api.result,
        world.api.chart,
        world.api.cancel,
        lambda id_: world.api.newest_job(Conversation(id_)),
    ):
        world.answers(status, body.replace("%d", str(status)))
        with pytest.raises(OmniUnreachable, match=f"HTTP {status} in a form that Omni does not use"):
            await ask(ID)
    assert world.api.has_chart(ID) is None
    assert set(world.meter.omni_requests) == {RequestOutcome.SERVER_ERROR}


async def test_status_of_another_job_is_unreachable(world: World) -> None:
    world.answers(200, json.dumps({"id": ADA, "state": "COMPLETE"}))
    with pytest.raises(OmniUnreachable, match="another job"):
        await world.api.status(ID)


@pytest.mark.parametrize("id_", [ID, ID.upper(), None, 17])
async def test_status_id_is_optional(world: World, id_: object) -> None:
    world.answers(200, json.dumps({"id": id_, "state": "COMPLETE"}))
    assert (await world.api.status(ID)).state is JobState.COMPLETE


async def test_another_chat_is_no_answer(world: World) -> None:
    world.answers(200, json.dumps({"id": ADA, "messages": [{"jobId": ID}]}))
    with pytest.raises(OmniUnreachable, match="another conversation"):
        await world.api.newest_job(Conversation(ID))


async def test_content_type_is_ignored(world: World) -> None:
    world.answers(200, '{"state": "QUEUED"}', "application/octet-stream")
    assert (await world.api.status(ID)).state is JobState.QUEUED


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(world: World, status: int) -> None:
    id_ = JobId(world.service.add(Script()))
    world.answers(status, Location=f"{world.service.base_url}/api/v1/ai/jobs/{id_}")
    with pytest.raises(OmniUnreachable, match=f"HTTP {status}"):
        await world.api.status(id_)
    assert len(world.service.requests) == 1


async def test_a_wrong_key_is_refused(world: World) -> None:
    async with client_to(world.service.base_url, "wrong", world.ledger) as api:
        with pytest.raises(KeyRefused):
            await api.status(ID)


@pytest.mark.parametrize("fault", [RESET_BEFORE, RESET_AFTER, HTML_500], ids=["reset", "lost answer", "html"])
async def test_client_recovers_from_broken_connection(world: World, fault: Fault) -> None:
    id_ = JobId(world.service.add(Script()))
    world.service.faults.plan(fault)
    with pytest.raises(OmniUnreachable):
        await world.api.status(id_)
    assert (await world.api.status(id_)).id == id_


async def test_nobody_listening_is_no_answer(world: World) -> None:
    await world.service.close()
    with pytest.raises(OmniUnreachable, match="ConnectError"):
        await world.api.status(ID)


@pytest.mark.parametrize(
    "retry_after, seconds",
    [("7", 7.0), ("0", 0.0), ("1.5", 1.5), ("-3", 0.0), ("3600", 60.0), ("inf", 60.0)],
)
async def test_a_promised_pause_is_kept_and_bounded(world: World, retry_after: str, seconds: float) -> None:
    world.answers(429, "{}", Retry_After=retry_after)
    with pytest.raises(OmniBusy):
        await world.api.status(ID)
    assert world.ledger.pauses == [seconds]


@pytest.mark.parametrize("retry_after", ["", "soon", "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_pause_without_retry_after_backs_off(world: World, retry_after: str) -> None:
    for _ in range(8):
        world.answers(429, "{}", Retry_After=retry_after)
        with pytest.raises(OmniBusy):
            await world.api.status(ID)
    expected = [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    for pause, about in zip(world.ledger.pauses, expected, strict=True):
        assert 0.75 * about <= pause <= min(60.0, 1.25 * about)
    assert len(set(world.ledger.pauses[:5])) == 5


async def test_success_resets_back_off(world: World) -> None:
    id_ = JobId(world.service.add(Script()))
    for _ in range(3):
        world.answers(429, "{}")
        with pytest.raises(OmniBusy):
            await world.api.status(id_)
    await world.api.status(id_)
    world.answers(429, "{}")
    with pytest.raises(OmniBusy):
        await world.api.status(id_)
    assert world.ledger.pauses[-1] <= 2.5


async def test_oversized_body_is_unreachable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = JobId(world.service.add(Script(end=Complete("x" * 20_000))))
    assert (await world.api.status(id_)).answer == "x" * 20_000
    monkeypatch.setattr(http, "LARGEST_BODY_BYTES", 10_000)
    with pytest.raises(OmniUnreachable, match="too large"):
        await world.api.status(id_)


async def test_an_endless_body_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST_BODY_BYTES", 10_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
    async with raw_server(head + b" " * 200_000) as server:
        async with client_to(server.url, "key", RecordingLedger()) as api:
            with pytest.raises(OmniUnreachable, match="too large"):
                await api.status(ID)


BOMB = gzip.compress(b" " * MANY)


@pytest.mark.parametrize(
    "answer",
    [
        coded("gzip", BOMB),
        coded("GZIP", BOMB),
        coded("deflate", zlib.compress(b" " * MANY)),
        coded("gzip, gzip", gzip.compress(BOMB)),
        coded("gzip\r\nContent-Encoding: gzip", gzip.compress(BOMB)),
        coded("br", b"x"),
        coded("zstd", b"x"),
        coded("gzip", gzip.compress(b'{"state": "QUEUED"}')[:-5]),
        coded("gzip", b""),
    ],
    ids=["gzip", "capitals", "deflate", "twice", "two headers", "br", "zstd", "cut short", "nothing"],
)
async def test_no_coded_body_takes_much_memory(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST_BODY_BYTES", 100_000)
    tracemalloc.start()
    try:
        async with raw_server(answer) as server, client_to(server.url, "key", RecordingLedger()) as api:
            with pytest.raises(OmniUnreachable, match=r"^the body "):
                await api.status(ID)
        assert tracemalloc.get_traced_memory()[1] < MANY / 4
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "identity"])
async def test_single_content_coding_is_accepted(coding: str) -> None:
    plain = json.dumps({"state": "COMPLETE", "resultSummary": "x" * 100_000}).encode()
    body = plain if coding == "identity" else gzip.compress(plain)
    body = zlib.compress(plain) if coding == "deflate" else body
    async with raw_server(coded(coding, body)) as server:
        async with client_to(server.url, "key", RecordingLedger()) as api:
            assert (await api.status(ID)).answer == "x" * 100_000
    assert b"Accept-Encoding: identity\r\n" in server.heard


async def test_slow_response_is_unreachable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TIMEOUT_SECONDS", 0.1)
    world.service.faults.plan(Fault("delay", delay_seconds=0.5))
    async with client_to(world.service.base_url, world.service.api_key, world.ledger) as api:
        with pytest.raises(OmniUnreachable):
            await api.status(ID)


async def test_dripping_body_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TIMEOUT_SECONDS", 0.3)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    async with raw_server(head + b" " * 1_000, drop_seconds=0.01) as server:
        async with client_to(server.url, "key", RecordingLedger()) as api, asyncio.timeout(2.0):
            with pytest.raises(OmniUnreachable, match="TimeoutError"):
                await api.status(ID)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["nothing", "no http", "cut short", "no gzip", "odd redirect", "bad chunk"],
)
async def test_a_broken_answer_is_no_answer(answer: bytes) -> None:
    async with raw_server(answer) as server, client_to(server.url, "key", RecordingLedger()) as api:
        with pytest.raises(OmniUnreachable):
            await api.status(ID)


async def test_key_is_sent_but_never_shown() -> None:
    key = "omni_osk_very_secret"
    trouble = [b"", b"nonsense\r\n\r\n"]
    for code in (200, 302, 400, 401, 403, 404, 429, 500):
        body = b'{"detail": "x", "status": %d}' % code
        trouble.append(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (code, len(body), body))
    for answer in trouble:
        async with raw_server(answer) as server, client_to(server.url, key, RecordingLedger()) as api:
            with pytest.raises(OmniError) as raised:
                await api.status(ID)
        assert b"uthorization: Bearer omni_osk_very_secret\r\n" in server.heard
        chain: BaseException | None = raised.value
        while chain is not None:
            assert key not in f"{chain} {chain!r}"
            chain = chain.__cause__ or chain.__context__


async def test_newest_job_of_conversation_is_found(world: World) -> None:
    world.service.running_jobs_in_chats = True
    chat = "660e8400-e29b-41d4-a716-446655440001"
    world.service.add(Script(end=Complete("old")), conversation_id=chat, age_seconds=600.0)
    newest = world.service.add(Script(queued_seconds=600.0), conversation_id=chat)
    assert await world.api.newest_job(Conversation(chat)) == newest


async def test_conversation_may_have_no_job(world: World) -> None:
    chat = "660e8400-e29b-41d4-a716-446655440001"
    world.service.add(Script(queued_seconds=600.0), conversation_id=chat)
    assert await world.api.newest_job(Conversation(chat)) is None


async def test_an_unknown_chat_is_not_found(world: World) -> None:
    with pytest.raises(JobNotFound):
        await world.api.newest_job(Conversation("660e8400-e29b-41d4-a716-446655440001"))


@pytest.mark.parametrize(
    "messages, newest",
    [
        ([], None),
        ([{"role": "user"}], None),
        ([{"role": "assistant", "jobId": None}], None),
        ([{"jobId": ID}, {"role": "user"}], ID),
        ([{"jobId": ID.upper()}], ID),
        ([{"jobId": ID}, {"jobId": "../../models"}], ID),
        ([{"jobId": ID}, {"jobId": 17}, None, "text"], ID),
    ],
)
async def test_conversation_job_must_be_uuid(
    world: World, messages: list[object], newest: str | None
) -> None:
    world.answers(200, json.dumps({"messages": messages}))
    assert await world.api.newest_job(Conversation(ID)) == newest


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"messages": null}', '{"messages": "none"}', "<html>"])
async def test_invalid_conversation_is_unreachable(world: World, body: str) -> None:
    world.answers(200, body)
    with pytest.raises(OmniUnreachable):
        await world.api.newest_job(Conversation(ID))


SECRET = "the plan of another user"


async def listed(world: World) -> Mapping[str, datetime]:
    return await world.api.recently_updated(position=QueuePosition(0.0))


async def test_list_keeps_only_ids_and_times(world: World) -> None:
    row = {
        "id": str(ID).upper(),
        "name": SECRET,
        "lastUserPrompt": SECRET,
        "updatedAt": "2025-01-15T10:00:05Z",
    }
    rows = [row, {"id": "not a uuid", "updatedAt": "2025-01-15T10:00:05Z"}, {"id": ADA}, None, SECRET]
    world.answers(200, json.dumps({"data": rows, "pageInfo": {"hasNextPage": False}}))
    assert await listed(world) == {str(ID): at(0, 5)}
    assert world.service.requests[-1].path == "/api/v1/ai/conversations"


async def test_simulated_list_is_read(world: World) -> None:
    world.service.add(Script(end=Complete("An answer.")), conversation_id=str(ID))
    assert list(await listed(world)) == [str(ID)]


@pytest.mark.parametrize(
    "status, body",
    [
        *((status, "") for status in (400, 401, 403, 404)),
        (200, ""),
        (200, "<html>"),
        (200, "[]"),
        (200, "{}"),
        (200, '{"data": null}'),
        (200, json.dumps({"data": [{"id": str(ID), "name": SECRET, "lastUserPrompt": SECRET}]})),
    ],
)
async def test_refused_or_unknown_list_is_refused(world: World, status: int, body: str) -> None:
    world.answers(status, body)
    with pytest.raises(ListRefused) as raised:
        await listed(world)
    assert SECRET not in str(raised.value)


async def test_busy_list_is_not_refused(world: World) -> None:
    for status, error in ((429, OmniBusy), (500, OmniUnreachable)):
        world.answers(status)
        with pytest.raises(error):
            await listed(world)


@pytest.mark.parametrize(
    "ask, is_urgent",
    [
        (lambda api: api.status(ID), False),
        (lambda api: api.status(ID, urgent=True), True),
        (lambda api: api.newest_job(Conversation(ID)), True),
    ],
    ids=["a poll", "a first answer", "a chat"],
)
async def test_requests_for_a_waiting_person_are_urgent(
    ask: Callable[[OmniClient], Awaitable[object]], is_urgent: bool
) -> None:
    class Turnstile(RateLimiter):
        def __init__(self) -> None:
            super().__init__(RecordingLedger(), "omni", Rate.within(60, burst=4))
            self.turns: list[bool] = []

        async def acquire(self, *, urgent: bool = False, position: QueuePosition | None = None) -> None:
            self.turns.append(urgent)

    gate = Turnstile()
    body = b'{"detail": "No", "status": 404}'
    nobody = httpx.MockTransport(lambda _: httpx.Response(404, stream=httpx.ByteStream(body)))
    async with httpx.AsyncClient(transport=nobody, base_url="http://omni") as client:
        with pytest.raises(JobNotFound):
            await ask(OmniClient(client, gate, Random(7)))
    assert gate.turns == [is_urgent]


@pytest.mark.parametrize(
    "status, outcome",
    [
        (200, RequestOutcome.OK),
        (302, RequestOutcome.REFUSED),
        (401, RequestOutcome.KEY_REFUSED),
        (403, RequestOutcome.KEY_REFUSED),
        (404, RequestOutcome.REFUSED),
        (429, RequestOutcome.RATE_LIMITED),
        (500, RequestOutcome.SERVER_ERROR),
        (503, RequestOutcome.SERVER_ERROR),
    ],
)
async def test_requests_are_counted_by_outcome(world: World, status: int, outcome: RequestOutcome) -> None:
    world.answers(status, f'{{"state": "EXECUTING", "detail": "x", "status": {status}}}')
    with suppress(OmniError):
        await world.api.status(ID)
    assert world.meter.omni_requests == [outcome]


@pytest.mark.parametrize(
    "fault, outcome", [(RESET_AFTER, RequestOutcome.UNANSWERED), (RESET_BEFORE, RequestOutcome.UNANSWERED)]
)
async def test_unanswered_request_is_counted(world: World, fault: Fault, outcome: RequestOutcome) -> None:
    world.service.faults.plan(fault)
    with pytest.raises(OmniUnreachable):
        await world.api.status(ID)
    assert world.meter.omni_requests == [outcome]


async def test_unsent_request_is_counted_separately() -> None:
    meter = FakeMeter()
    async with client_to("http://127.0.0.1:9", "key", RecordingLedger(), meter) as api:
        with pytest.raises(OmniUnreachable):
            await api.status(ID)
    assert meter.omni_requests == [RequestOutcome.NOT_SENT]


async def test_cancelled_request_is_counted_as_abandoned(world: World) -> None:
    world.service.faults.plan(Fault("delay", delay_seconds=5.0))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await world.api.status(ID)
    assert world.meter.omni_requests == [RequestOutcome.ABANDONED]


async def test_rate_limit_is_counted_without_store(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unavailable(*_: object) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(world.ledger, "pause", unavailable)
    world.answers(429)
    with pytest.raises(StoreUnavailable):
        await world.api.status(ID)
    assert world.meter.omni_requests == [RequestOutcome.RATE_LIMITED]


async def test_request_without_permit_is_not_counted(world: World) -> None:
    world.ledger.error = StoreUnavailable("gone")
    with pytest.raises(StoreUnavailable):
        await world.api.status(ID)
    assert world.meter.omni_requests == []
