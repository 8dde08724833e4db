"""Asking, cancelling and looking people up over real sockets: what was certainly not begun, what nobody can tell."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.demo.faults import HTML_500, NO_ROUTE, RESET_AFTER, RESET_BEFORE, Fault
from bot.demo.omni.organization import ADA, GRACE, KEY_OWNER, MODEL
from bot.demo.omni.server import CANCEL, CONCURRENT_CHANGE, SUBMIT, TAKEN_YET_504, SimulatedOmni
from bot.demo.omni.submissions import Hook
from bot.demo.omni.timeline import Cancelled, Failed, Script
from bot.domain.errors import (
    AskRefused,
    CancelForbidden,
    ConversationBusy,
    JobNotFound,
    KeyRefused,
    NotCancellable,
    OmniBusy,
    OmniError,
    OmniUnreachable,
    StoreUnavailable,
    SubmitOutcomeUnknown,
)
from bot.domain.jobs import JobId, JobState
from bot.domain.ports.omni import QueuePosition
from bot.domain.questions import Model, ModelId, OmniUserId, Question, Submitted, Webhook
from bot.omni import client as omni_module
from bot.omni import http
from bot.omni.ask_schemas import (
    MODEL_KINDS,
    read_cancelled,
    read_models,
    read_submitted,
    read_topics,
    read_users,
)
from bot.omni.client import OmniClient
from bot.omni.http import OmniResponse
from bot.ratelimit import Rate, RateLimiter
from tests.support.omni_http import ID, RecordingLedger, World, client_to, raw_server

SHOP = ModelId(MODEL)
WHY = Question("Why?", SHOP)
RUNNING = Script(60.0)
EXECUTING = Script(0.0, ((60.0, "Searching", 1),))
DELIVERING = Script(0.0, (), 60.0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    ledger = RecordingLedger()
    async with (
        SimulatedOmni(requests_per_minute=1_000) as service,
        client_to(service.base_url, service.api_key, ledger) as api,
    ):
        yield World(service, api, ledger)


def begun(world: World) -> list[str]:
    return [job.prompt for job in world.service.jobs.values()]


def submits(world: World) -> int:
    return sum(1 for request in world.service.requests if f"{request.method} {request.path}" == SUBMIT)


# Submitting


async def test_submit_costs_one_request(world: World) -> None:
    taken = await world.api.submit(WHY)
    (job,) = world.service.jobs.values()
    assert taken == Submitted(JobId(job.id), job.conversation_id, job.chat_url)
    assert (job.prompt, job.model_id, job.topic, job.user_id) == ("Why?", MODEL, None, KEY_OWNER)
    assert (world.ledger.taken, submits(world)) == (1, 1)


async def test_all_that_was_chosen_is_asked(world: World) -> None:
    finance = world.service.organization.add_model("Finance", "ledger")
    chat = "660e8400-e29b-41d4-a716-446655440001"
    world.service.add(Script(), conversation_id=chat)
    taken = await world.api.submit(
        Question("Und jetzt? 🙂", ModelId(finance), "ledger", chat, OmniUserId(GRACE))
    )
    job = world.service.jobs[taken.job]
    assert (job.prompt, job.model_id, job.topic) == ("Und jetzt? 🙂", finance, "ledger")
    assert (job.conversation_id, job.user_id, taken.conversation) == (chat, GRACE, chat)
    status = await world.api.status(taken.job)
    assert (status.conversation, status.user, status.model) == (chat, GRACE, finance)


async def test_question_is_asked_on_its_branch(world: World) -> None:
    branch = world.service.organization.add_branch(SHOP)
    taken = await world.api.submit(replace(WHY, branch=branch))
    assert (await world.api.status(taken.job)).branch == branch
    with pytest.raises(AskRefused, match="404"):
        await world.api.submit(replace(WHY, branch=str(uuid4())))


HOOKED = Question("Why?", SHOP, webhook=Webhook("http://127.0.0.1:9/omni/webhook/T0/ask", "a secret"))


async def test_submit_requests_webhooks(world: World) -> None:
    hooks: list[Hook] = []
    world.service.hooked = lambda _job, hook: hooks.append(hook)
    await world.api.submit(WHY)
    await world.api.submit(HOOKED)
    assert hooks == [Hook("http://127.0.0.1:9/omni/webhook/T0/ask", "a secret", {}, with_progress=True)]


async def test_refused_webhook_does_not_block_question(world: World) -> None:
    hooks: list[Hook] = []
    world.service.hooked = lambda _job, hook: hooks.append(hook)
    world.service.faults.plan(
        Fault("status", 400, '{"detail": "Invalid webhook URL", "status": 400}'), on=SUBMIT
    )
    await world.api.submit(HOOKED)
    assert (begun(world), submits(world), hooks) == (["Why?"], 2, [])
    for status, text in ((400, "<html>400</html>"), (504, "{}")):
        world.service.faults.plan(Fault("status", status, text), on=SUBMIT)
        with pytest.raises(OmniError):
            await world.api.submit(HOOKED)
    assert submits(world) == 4, "what may have been taken is never repeated"


def test_repr_hides_webhook_secret() -> None:
    assert "a secret" not in repr(HOOKED)


async def test_lone_surrogate_does_not_block_question(world: World) -> None:
    await world.api.submit(Question("cut \ud83d", SHOP))
    assert begun(world) == ["cut \ufffd"]


async def test_a_question_without_words_is_refused(world: World) -> None:
    with pytest.raises(AskRefused) as refused:
        await world.api.submit(Question("", SHOP))
    assert (str(refused.value), refused.value.detail) == ("400", "Bad Request: prompt: Invalid value")


async def test_missing_or_forbidden_model_is_refused(world: World) -> None:
    personal = world.service.organization.personal_token(ADA)
    world.service.organization.change_member(GRACE, is_active=False)
    for question, code in [
        (Question("Why?", ModelId(ID)), "404"),
        (Question("Why?", SHOP, topic="weather"), "404"),
        (Question("Why?", SHOP, as_user=OmniUserId(ID)), "404"),
        (Question("Why?", SHOP, as_user=OmniUserId(GRACE)), "403"),
    ]:
        with pytest.raises(AskRefused, match=code) as refused:
            await world.api.submit(question)
        assert refused.value.detail
    async with client_to(world.service.base_url, personal, world.ledger) as api:
        with pytest.raises(AskRefused, match="403") as refused:
            await api.submit(Question("Why?", SHOP, as_user=OmniUserId(GRACE)))
        assert refused.value.detail == "User-scoped API keys cannot act on behalf of other users"
    assert begun(world) == []


async def test_conversation_with_active_job_is_busy(world: World) -> None:
    chat = world.service.jobs[world.service.add(RUNNING)].conversation_id
    with pytest.raises(ConversationBusy):
        await world.api.submit(Question("And?", SHOP, conversation=chat))
    assert len(world.service.jobs) == 1


async def test_a_wrong_key_begins_nothing(world: World) -> None:
    async with client_to(world.service.base_url, "wrong", world.ledger) as api:
        with pytest.raises(KeyRefused):
            await api.submit(WHY)
    assert begun(world) == []


async def test_rate_limit_pauses_all_requests(world: World) -> None:
    world.answers(429, "{}", Retry_After="7")
    with pytest.raises(OmniBusy):
        await world.api.submit(WHY)
    assert (begun(world), world.ledger.pauses) == ([], [7.0])


async def test_unavailable_rate_limit_store_blocks_submit(world: World) -> None:
    world.ledger.error = StoreUnavailable("locked")
    with pytest.raises(StoreUnavailable):
        await world.api.submit(WHY)
    assert world.service.requests == []


_LOST = {
    "dropped before": RESET_BEFORE,
    "dropped after": RESET_AFTER,
    "500": HTML_500,
    "taken, yet 504": TAKEN_YET_504,
    "a redirect": Fault("status", 302, headers=(("Location", "/login"),)),
    "201 with a page": Fault("status_after", 201, "<html>", "text/html"),
}


@pytest.mark.parametrize("fault", _LOST.values(), ids=_LOST)
async def test_unknown_submit_outcome_is_never_repeated(world: World, fault: Fault) -> None:
    world.service.faults.plan(fault, on=SUBMIT)
    with pytest.raises(SubmitOutcomeUnknown):
        await world.api.submit(WHY)
    assert submits(world) == 1


@pytest.mark.parametrize(
    "status, body",
    [
        (503, '{"detail": "Unavailable", "status": 503}'),
        (408, "{}"),
        (304, ""),
        (201, ""),
        (201, "[]"),
        (201, "{}"),
        (201, '{"jobId": null}'),
        (201, '{"jobId": "../models"}'),
        (200, "<html>Log in</html>"),
        (204, ""),
    ],
)
def test_response_without_job_has_unknown_outcome(status: int, body: str) -> None:
    with pytest.raises(SubmitOutcomeUnknown):
        read_submitted(OmniResponse(status, body.encode()), WHY)


async def test_submit_timeout_has_unknown_outcome(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(omni_module, "LONGER_TIMEOUT_SECONDS", 0.1)
    world.service.faults.plan(Fault("delay", delay_seconds=0.3), on=SUBMIT)
    with pytest.raises(SubmitOutcomeUnknown):
        await world.api.submit(WHY)
    assert submits(world) == 1


async def test_submit_has_longer_timeout(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TIMEOUT_SECONDS", 0.1)
    world.service.faults.plan(Fault("delay", delay_seconds=0.3), on=SUBMIT)
    await world.api.submit(WHY)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 302 Found\r\n",
    ],
    ids=["nothing", "no http", "cut short", "cut shorter"],
)
async def test_a_broken_answer_may_have_been_one(answer: bytes) -> None:
    async with raw_server(answer) as server, client_to(server.url, "key", RecordingLedger()) as api:
        with pytest.raises(SubmitOutcomeUnknown):
            await api.submit(WHY)


async def test_nobody_listening_is_certain(world: World) -> None:
    await world.service.close()
    with pytest.raises(OmniUnreachable, match="ConnectError"):
        await world.api.submit(WHY)


async def test_connect_timeout_creates_no_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listener that never answers the handshake: TLS is part of coming about."""
    monkeypatch.setattr(http, "TIMEOUT_SECONDS", 0.2)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"https://127.0.0.1:{silent.getsockname()[1]}"
        async with client_to(address, "key", RecordingLedger()) as api:
            with pytest.raises(OmniUnreachable, match="ConnectTimeout"):
                await api.submit(WHY)


async def test_no_place_among_the_connections_is_certain(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "TIMEOUT_SECONDS", 0.2)
    one = httpx.Limits(max_connections=1)
    headers = {"Authorization": f"Bearer {world.service.api_key}"}
    async with httpx.AsyncClient(
        base_url=world.service.base_url, limits=one, headers=headers, trust_env=False
    ) as client:
        api = OmniClient(client, RateLimiter(RecordingLedger(), "omni", Rate.within(60, burst=4)), Random(7))
        world.service.faults.plan(Fault("delay", delay_seconds=0.6))
        first = asyncio.create_task(api.submit(WHY))
        await asyncio.sleep(0.1)
        with pytest.raises(OmniUnreachable, match="PoolTimeout"):
            await api.submit(Question("And?", SHOP))
        await first
    assert begun(world) == ["Why?"]


CERTAIN = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
UNCERTAIN = (
    httpx.ReadError,
    httpx.ReadTimeout,
    httpx.WriteError,
    httpx.WriteTimeout,
    httpx.CloseError,
    httpx.RemoteProtocolError,
    httpx.LocalProtocolError,
    httpx.DecodingError,
    httpx.TooManyRedirects,
    httpx.InvalidURL,
    TimeoutError,
)


@pytest.mark.parametrize(
    "broken, told", [(e, OmniUnreachable) for e in CERTAIN] + [(e, SubmitOutcomeUnknown) for e in UNCERTAIN]
)
async def test_broken_request_outcome_is_classified(broken: type[Exception], told: type[OmniError]) -> None:
    def send(_: httpx.Request) -> httpx.Response:
        raise broken("our margins")

    async with httpx.AsyncClient(transport=httpx.MockTransport(send), base_url="http://omni") as client:
        api = OmniClient(client, RateLimiter(RecordingLedger(), "omni", Rate.within(60, burst=4)), Random(7))
        with pytest.raises(OmniError) as raised:
            await api.submit(WHY)
        assert isinstance(raised.value, told)
        assert "margins" not in str(raised.value)


_REFUSALS: list[tuple[int, str, type[OmniError]]] = [
    (400, '{"detail": "Bad Request", "status": 400}', AskRefused),
    (400, '{"message": "Bad Request"}', OmniUnreachable),
    (400, "<html>", OmniUnreachable),
    (401, '{"detail": "Unauthorized", "status": 401}', KeyRefused),
    (401, '{"message": "No API key found in request"}', OmniUnreachable),
    (402, '{"detail": "Credits used up", "status": 402}', AskRefused),
    (403, '{"detail": "Feature not enabled", "status": 403}', AskRefused),
    (403, "<html>Blocked</html>", OmniUnreachable),
    (404, '{"detail": "Model not found", "status": 404}', AskRefused),
    (404, '{"message": "no Route matched with those values"}', OmniUnreachable),
    (404, "", OmniUnreachable),
    (409, '{"detail": "Active job exists for conversation", "status": 409}', ConversationBusy),
    (409, '{"message": "Conflict"}', OmniUnreachable),
    (413, "<html>Too large</html>", OmniUnreachable),
    (422, '{"detail": 17}', OmniUnreachable),
    (429, "<html>Slow down</html>", OmniBusy),
    (429, '{"detail": "Too Many Requests", "status": 429}', OmniBusy),
]


@pytest.mark.parametrize("status, body, error", _REFUSALS)
def test_each_refusal_says_that_nothing_was_begun(status: int, body: str, error: type[OmniError]) -> None:
    follow_up = Question("And?", SHOP, conversation=ID)
    with pytest.raises(OmniError) as raised:
        read_submitted(OmniResponse(status, body.encode()), follow_up)
    assert type(raised.value) is error


def test_only_named_conversation_can_be_busy() -> None:
    with pytest.raises(AskRefused, match="409"):
        read_submitted(OmniResponse(409, b'{"detail": "Conflict", "status": 409}'), WHY)


@given(st.integers(100, 599), st.binary() | st.just(b'{"detail": "No"}'))
def test_any_submit_response_is_classified(status: int, body: bytes) -> None:
    try:
        read_submitted(OmniResponse(status, body), WHY)
    except SubmitOutcomeUnknown:
        assert status == 408 or not 400 <= status < 500
    except OmniError:
        assert status != 408 and 400 <= status < 500
    else:
        assert 200 <= status < 300


def test_refusal_text_is_not_logged() -> None:
    with pytest.raises(AskRefused) as refused:
        read_submitted(OmniResponse(404, b'{"detail": "Topic our margins not found", "status": 404}'), WHY)
    assert refused.value.detail == "Topic our margins not found"
    assert "margins" not in f"{refused.value}"


async def test_prompt_is_in_no_error_or_log(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    secret = Question("our margins", SHOP)
    await world.api.submit(secret)
    for fault in (*_LOST.values(), Fault("status", 429, "{}"), Fault("status", 400, "{}")):
        world.service.faults.plan(fault, on=SUBMIT)
        with pytest.raises(OmniError) as raised:
            await world.api.submit(secret)
        chain: BaseException | None = raised.value
        while chain is not None:
            assert "margins" not in f"{chain} {chain!r}"
            chain = chain.__cause__ or chain.__context__
    told = capsys.readouterr()
    assert "margins" not in f"{told.out}{told.err}{secret}"


async def test_submitted_job_may_lack_conversation(world: World) -> None:
    world.answers(201, json.dumps({"jobId": ID.upper(), "conversationId": None}))
    assert await world.api.submit(WHY) == Submitted(ID, None, None)


# Cancelling


@pytest.mark.parametrize(
    "script, state",
    [
        (RUNNING, JobState.CANCELLED),
        (EXECUTING, JobState.EXECUTING),
        (Script(), JobState.COMPLETE),
        (Script(end=Failed("No")), JobState.FAILED),
        (Script(end=Cancelled()), JobState.CANCELLED),
    ],
)
async def test_cancel_returns_job_state(world: World, script: Script, state: JobState) -> None:
    job = JobId(world.service.add(script))
    assert await world.api.cancel(job) is state
    assert await world.api.cancel(job) is state
    assert world.ledger.taken == 2


async def test_a_job_that_delivers_is_too_late(world: World) -> None:
    job = JobId(world.service.add(DELIVERING))
    with pytest.raises(NotCancellable):
        await world.api.cancel(job)
    world.answers(200, json.dumps({"jobId": job, "state": "DELIVERING"}))
    with pytest.raises(NotCancellable):
        await world.api.cancel(job)


async def test_somebody_elses_job_is_not_ours(world: World) -> None:
    personal = world.service.organization.personal_token(ADA)
    job = JobId(world.service.add(RUNNING, user_id=GRACE))
    async with client_to(world.service.base_url, personal, world.ledger) as api:
        with pytest.raises(CancelForbidden):
            await api.cancel(job)
    assert (await world.api.status(job)).state is JobState.QUEUED


async def test_a_concurrent_change_is_asked_once_more(world: World) -> None:
    job = JobId(world.service.add(RUNNING))
    world.service.faults.plan(CONCURRENT_CHANGE, on=CANCEL)
    assert await world.api.cancel(job) is JobState.CANCELLED
    assert world.ledger.taken == 2


async def test_two_concurrent_changes_are_no_answer(world: World) -> None:
    job = JobId(world.service.add(RUNNING))
    world.service.faults.plan(CONCURRENT_CHANGE, on=CANCEL, times=2)
    with pytest.raises(OmniUnreachable, match="HTTP 409"):
        await world.api.cancel(job)
    assert len(world.service.requests) == 2


async def test_cancel_conflict_is_retried_once(world: World) -> None:
    job = JobId(world.service.add(DELIVERING))
    world.service.faults.plan(CONCURRENT_CHANGE, on=CANCEL)
    with pytest.raises(NotCancellable):
        await world.api.cancel(job)


def test_a_state_never_heard_of_is_unknown() -> None:
    assert read_cancelled(OmniResponse(200, b'{"state": "CANCELLING"}'), ID) is JobState.UNKNOWN


@pytest.mark.parametrize(
    "status, body, error",
    [
        (200, "<html>", OmniUnreachable),
        (200, "[]", OmniUnreachable),
        (200, "{}", OmniUnreachable),
        (200, '{"state": null}', OmniUnreachable),
        (400, "<html>", OmniUnreachable),
        (400, '{"message": "Bad Request"}', OmniUnreachable),
        (401, '{"detail": "Unauthorized", "status": 401}', KeyRefused),
        (401, "", OmniUnreachable),
        (403, "<html>", OmniUnreachable),
        (403, '{"message": "Forbidden"}', OmniUnreachable),
        (404, '{"detail": "Job not found", "status": 404}', JobNotFound),
        (404, "<html>", OmniUnreachable),
        (429, "{}", OmniBusy),
        (500, "{}", OmniUnreachable),
        (504, "<html>", OmniUnreachable),
    ],
)
def test_cancel_refusals_are_classified(status: int, body: str, error: type[OmniError]) -> None:
    with pytest.raises(OmniError) as raised:
        read_cancelled(OmniResponse(status, body.encode()), ID)
    assert type(raised.value) is error


def test_cancel_of_another_job_is_unreachable() -> None:
    body = json.dumps({"jobId": ADA, "state": "CANCELLED"}).encode()
    with pytest.raises(OmniUnreachable, match="another job"):
        read_cancelled(OmniResponse(200, body), ID)


@pytest.mark.parametrize("fault", [RESET_BEFORE, RESET_AFTER])
async def test_lost_cancel_response_is_unreachable(world: World, fault: Fault) -> None:
    world.service.faults.plan(fault)
    with pytest.raises(OmniUnreachable):
        await world.api.cancel(JobId(world.service.add(RUNNING)))


# Models and topics


async def test_shared_models_are_sorted_by_name(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(omni_module, "ROWS_PER_PAGE", 2)
    organization = world.service.organization
    names = ["zoo", "Apples", "Finance", "bees"]
    ids = {name: ModelId(organization.add_model(name)) for name in names} | {"Shop": SHOP}
    organization.add_model("Gone", is_deleted=True)
    organization.add_model("Raw", kind="SCHEMA")
    ids["Extended"] = ModelId(organization.add_model("Extended", kind="SHARED_EXTENSION"))
    assert await world.api.models() == [
        Model(ids[name], name) for name in ("Apples", "bees", "Extended", "Finance", "Shop", "zoo")
    ]
    assert world.ledger.taken == 4


async def test_unnamed_model_shows_its_id(world: World) -> None:
    nameless = world.service.organization.add_model(None)
    assert Model(ModelId(nameless), f"Model {nameless[:8]}") in await world.api.models()


async def test_deleted_and_unshared_models_are_skipped(world: World) -> None:
    rows = [
        {"id": ID, "name": "Good", "modelKind": None, "deletedAt": None},
        {"id": MODEL, "name": "Gone", "modelKind": "SHARED", "deletedAt": "2026-01-01T00:00:00Z"},
        {"id": ADA, "name": "Raw", "modelKind": "SCHEMA"},
        {"id": "shop", "name": "No id"},
        None,
    ]
    world.answers(200, json.dumps({"records": rows}))
    assert await world.api.models() == [Model(ModelId(ID), "Good")]


@pytest.mark.parametrize("page_info", [{"hasNextPage": True, "nextCursor": "again"}, {"nextCursor": "again"}])
async def test_repeating_model_pages_end(world: World, page_info: dict[str, Any]) -> None:
    body = json.dumps({"pageInfo": page_info, "records": [{"id": ID, "name": "Shop"}]})
    world.service.faults.plan(Fault("status", 200, body), times=None)
    assert await world.api.models() == [Model(ModelId(ID), "Shop")]
    assert world.ledger.taken == 2 * len(MODEL_KINDS)


async def test_endless_model_pages_are_limited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(omni_module, "ROWS_PER_PAGE", 1)
    monkeypatch.setattr(omni_module, "MOST_PAGES", 3)
    for number in range(9):
        world.service.organization.add_model(f"Model {number}")
    assert len(await world.api.models()) == 3
    assert world.ledger.taken == 3 + 1


async def test_visible_topics_are_sorted_by_name(world: World) -> None:
    model = ModelId(world.service.organization.add_model("Zoo", "zebras", "Apes", hidden_topics=("draft",)))
    assert await world.api.topics(model) == ("Apes", "zebras")


async def test_missing_model_has_no_topics(world: World) -> None:
    with pytest.raises(AskRefused, match="404"):
        await world.api.topics(ModelId(ID))


@pytest.mark.parametrize("body", [b"", b'{"detail": "Model not found"}'])
def test_a_missing_model_has_no_documented_body(body: bytes) -> None:
    with pytest.raises(AskRefused, match="404"):
        read_topics(OmniResponse(404, body, has_schema=False))


_READERS: dict[str, Callable[[OmniResponse], object]] = {
    "models": read_models,
    "topics": read_topics,
    "users": lambda answer: read_users(answer, "ada@example.com"),
}


@pytest.mark.parametrize("read", _READERS.values(), ids=_READERS)
@pytest.mark.parametrize(
    "status, body, error",
    [
        (200, "<html>", OmniUnreachable),
        (200, "[]", OmniUnreachable),
        (200, "{}", OmniUnreachable),
        (200, '{"records": {}, "topics": {}, "Resources": {}}', OmniUnreachable),
        (401, "", KeyRefused),
        (401, '{"schemas": [], "detail": "No", "status": "401"}', KeyRefused),
        (403, "", KeyRefused),
        (403, "<html>Blocked</html>", OmniUnreachable),
        (404, "<html>No such page</html>", OmniUnreachable),
        (429, "", OmniBusy),
        (500, "{}", OmniUnreachable),
    ],
)
def test_list_refusals_are_classified(
    read: Callable[[OmniResponse], object], status: int, body: str, error: type[OmniError]
) -> None:
    with pytest.raises(OmniError) as raised:
        read(OmniResponse(status, body.encode(), has_schema=False))
    assert type(raised.value) is error


@pytest.mark.parametrize("read", [_READERS["models"], _READERS["users"]], ids=["models", "users"])
@pytest.mark.parametrize("status", [400, 404])
def test_missing_list_is_not_a_missing_job(read: Callable[[OmniResponse], object], status: int) -> None:
    with pytest.raises(OmniUnreachable, match=f"HTTP {status}"):
        read(OmniResponse(status, b"{}", has_schema=False))


# Members


async def test_user_email_is_case_insensitive(world: World) -> None:
    assert await world.api.named(" ADA@example.com ") == (ADA,)
    assert world.ledger.taken == 1


@pytest.mark.parametrize("ignores", [False, True], ids=["filtered", "unfiltered"])
async def test_only_active_exact_matches_count(world: World, ignores: bool) -> None:
    world.service.ignores_user_filter = ignores
    world.service.users_per_page = 2
    organization = world.service.organization
    for name in ("b", "ada.b", "ada@example.com.evil", "xada"):
        organization.add_member(f"{name}@example.com")
    assert await world.api.named("ada@example.com") == (ADA,)
    organization.add_member("ada@example.com", is_active=False)
    assert await world.api.named("ada@example.com") == (ADA,)
    twin = organization.add_member("Ada@Example.COM")
    assert await world.api.named("ada@example.com") == (ADA, twin)
    organization.change_member(ADA, is_active=False)
    assert await world.api.named("ada@example.com") == (twin,)
    assert await world.api.named("nobody@example.com") == ()


@pytest.mark.parametrize("address", ['"a\\b"+c d@example.com', "ä&ö=ü#%@example.com", "a+b@example.com"])
async def test_no_address_breaks_out_of_the_filter(world: World, address: str) -> None:
    odd = world.service.organization.add_member(address)
    assert await world.api.named(address) == (odd,)
    assert await world.api.named('x" or userName pr or userName eq "x') == ()


async def test_repeating_user_pages_are_an_error(world: World) -> None:
    """Who was not seen may have the address too; so nobody is found, rather than one of two."""
    row = {"id": ADA, "userName": "ada@example.com", "active": True}
    world.service.faults.plan(
        Fault("status", 200, json.dumps({"Resources": [row], "totalResults": 500})), times=None
    )
    with pytest.raises(OmniUnreachable, match="repeat"):
        await world.api.named("ada@example.com")
    assert world.ledger.taken == 2


async def test_too_many_user_pages_are_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(omni_module, "MOST_PAGES", 2)
    world.service.users_per_page = 1
    world.service.ignores_user_filter = True
    with pytest.raises(OmniUnreachable, match="too many user"):
        await world.api.named("ada@example.com")


@pytest.mark.parametrize("total", [None, "3", 500], ids=["no total", "no number", "too many"])
async def test_empty_user_page_is_the_last(world: World, total: object) -> None:
    row = {"id": ADA, "userName": "ada@example.com", "active": True}
    world.answers(200, json.dumps({"Resources": [row], "totalResults": total}))
    world.answers(200, json.dumps({"Resources": [], "totalResults": total}))
    assert await world.api.named("ada@example.com") == (ADA,)


@pytest.mark.parametrize(
    "row",
    [
        {"id": ADA, "userName": "ada@example.com"},
        {"id": ADA, "userName": "ada@example.com", "active": "true"},
        {"id": ADA, "userName": None, "active": True},
        {"id": ADA, "displayName": "ada@example.com", "active": True},
        {"id": "ada", "userName": "ada@example.com", "active": True},
        {"userName": "ada@example.com", "active": True},
        "ada@example.com",
    ],
)
def test_incomplete_user_row_is_ignored(row: object) -> None:
    page = read_users(OmniResponse(200, json.dumps({"Resources": [row]}).encode()), "ada@example.com")
    assert (page.matching, page.rows) == ((), 1)


async def test_lower_case_users_path_is_remembered(world: World) -> None:
    world.service.users_path = "users"
    assert await world.api.named("ada@example.com") == (ADA,)
    assert await world.api.named("grace@example.com") == (GRACE,)
    assert [request.path for request in world.service.requests] == [
        "/api/scim/v2/Users",
        "/api/scim/v2/users",
        "/api/scim/v2/users",
    ]


async def test_a_gateways_404_changes_no_spelling(world: World) -> None:
    world.service.faults.plan(NO_ROUTE, times=2)
    with pytest.raises(OmniUnreachable):
        await world.api.named("ada@example.com")
    assert await world.api.named("ada@example.com") == (ADA,)


async def test_personal_token_can_not_look_up_users(world: World) -> None:
    personal = world.service.organization.personal_token(ADA)
    async with client_to(world.service.base_url, personal, world.ledger) as api:
        with pytest.raises(KeyRefused):
            await api.named("ada@example.com")


@pytest.mark.parametrize("is_membership", [False, True], ids=["user id", "membership id"])
async def test_other_id_of_a_user_is_found(world: World, is_membership: bool) -> None:
    organization = world.service.organization
    organization.scim_id_is_membership_id = is_membership
    world.service.shows_user_attributes = is_membership
    other = organization.members[ADA].membership_id
    assert await world.api.ids_of(OmniUserId(ADA)) == {ADA, other}
    assert await world.api.ids_of(OmniUserId(GRACE)) == {GRACE, organization.members[GRACE].membership_id}
    paths = [request.path for request in world.service.requests]
    assert paths.count("/api/v1/whoami") == 1


async def test_key_owners_other_id_needs_no_attributes(world: World) -> None:
    organization = world.service.organization
    organization.scim_id_is_membership_id = True
    owner = organization.members[KEY_OWNER]
    assert await world.api.ids_of(OmniUserId(KEY_OWNER)) == {KEY_OWNER, owner.membership_id}
    assert await world.api.ids_of(OmniUserId(ADA)) == {ADA}


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_missing_paths_show_no_other_id(world: World, status: int) -> None:
    world.service.faults.plan(Fault("status", status, "<html>no such page</html>"), times=None)
    assert await world.api.ids_of(OmniUserId(ADA)) == {ADA}


@pytest.mark.parametrize("status, error", [(429, OmniBusy), (500, OmniUnreachable)])
async def test_busy_omni_is_not_a_missing_id(world: World, status: int, error: type[OmniError]) -> None:
    world.service.faults.plan(Fault("status", status, "{}"), times=None)
    with pytest.raises(error):
        await world.api.ids_of(OmniUserId(ADA))


# Urgency


@asynccontextmanager
async def counted_turns() -> AsyncIterator[tuple[OmniClient, list[bool]]]:
    turns: list[bool] = []

    class Turnstile(RateLimiter):
        async def acquire(self, *, urgent: bool = False, position: QueuePosition | None = None) -> None:
            turns.append(urgent)

    refused = httpx.MockTransport(lambda _: httpx.Response(409, stream=httpx.ByteStream(b"{}")))
    async with httpx.AsyncClient(transport=refused, base_url="http://omni") as client:
        gate = Turnstile(RecordingLedger(), "omni", Rate.within(60, burst=4))
        yield OmniClient(client, gate, Random(7)), turns


async def test_all_questions_are_interactive_requests() -> None:
    asked: list[Callable[[OmniClient], Awaitable[object]]] = [
        lambda api: api.submit(WHY),
        lambda api: api.cancel(ID),
        lambda api: api.models(),
        lambda api: api.topics(SHOP),
        lambda api: api.named("ada@example.com"),
    ]
    async with counted_turns() as (api, turns):
        for ask in asked:
            with pytest.raises(OmniError):
                await ask(api)
    assert turns == [True] * 6
