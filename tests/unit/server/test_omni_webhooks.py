"""The door for Omni's webhooks, over a real socket: who gets in, what is answered, and what comes of it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import count

import aiohttp
import pytest

from bot.demo.omni.webhooks import signed
from bot.domain.cards import TeamId
from bot.domain.errors import StoreUnavailable
from bot.domain.jobs import EventKind, JobEvent, JobId
from bot.domain.questions import PendingQuestion, QuestionId
from bot.omni.webhooks import SIGNATURE, TIMESTAMP, webhook_for
from bot.server.http import LARGEST_BODY_BYTES, serve
from bot.server.omni_webhooks import WebhookContext, WebhookEndpoint
from tests.support.fakes import ADA, HERE, JOB, START, FakeCards, FakeMeter, FakeQuestions
from tests.support.network import a_free_port

SECRET = b"s" * 32
ASK = QuestionId("5d1c8f0e-6a5b-4a8b-9a55-0f0c6f3f1f6e")
OTHER = QuestionId("6d1c8f0e-6a5b-4a8b-9a55-0f0c6f3f1f6e")
OTHER_JOB = JobId("00000000-e29b-41d4-a716-446655440000")
_numbers = count()


class Door:
    """The door, what is behind it, and Omni before it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.told: list[tuple[TeamId, JobId, EventKind]] = []
        self.questions = FakeQuestions(FakeCards())
        for ask, job in ((ASK, JOB), (OTHER, OTHER_JOB)):
            self.questions.rows[ask] = PendingQuestion(ask, HERE, ADA, START, START, job=job)
        self.now = datetime.now(UTC)
        self.meter = FakeMeter()
        self.door = WebhookEndpoint(lambda: self.now, self.meter)
        self.door.context = WebhookContext(SECRET, self.questions.get, self._tell)

    def _tell(self, team: TeamId, job: JobId, event: JobEvent) -> None:
        self.told.append((team, job, event.kind))

    async def send(
        self,
        body: bytes | None = None,
        *,
        to: QuestionId = ASK,
        team: TeamId = HERE.team,
        as_of: QuestionId | None = None,
        age_seconds: float = 0.0,
        changed: dict[str, str] | None = None,
    ) -> int:
        """Omni tells of `to`, with the secret of `as_of`. `changed`: headers."""
        webhook = webhook_for(self.url, SECRET, team)
        body = an_end() if body is None else body
        headers = signed(webhook(as_of or to).secret, int(self.now.timestamp() - age_seconds), body)
        return await self.post(webhook(to).url, headers | (changed or {}), body)

    async def post(self, url: str, headers: dict[str, str], body: object) -> int:
        async with aiohttp.ClientSession() as client, client.post(url, data=body, headers=headers) as answer:
            assert await answer.read() in (b"", b"404: Not Found")
            return answer.status


def an_end(job: JobId | None = JOB, event_id: str | None = None) -> bytes:
    event_id = event_id or f"evt_{next(_numbers)}"
    return json.dumps({"event_id": event_id, "jobId": job, "status": "COMPLETE"}).encode()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    port = a_free_port()
    door = Door(port)
    async with serve("127.0.0.1", port, door.door.routes()):
        yield door


ENDED = (HERE.team, JOB, EventKind.ENDED)


async def test_event_reaches_the_questions_job(door: Door) -> None:
    assert await door.send() == 200
    assert await door.send(an_end(job=None)) == 200
    assert door.told == [ENDED, ENDED]


@pytest.mark.parametrize(
    "changed",
    [
        {SIGNATURE: "sha256=" + "0" * 64},
        {SIGNATURE: ""},
        {TIMESTAMP: "1"},
        {TIMESTAMP: ""},
        {TIMESTAMP: str(int(time.time()) + 7)},
    ],
)
async def test_unsigned_request_causes_no_query(door: Door, changed: dict[str, str]) -> None:
    door.questions.error = AssertionError("nobody may ask")
    assert await door.send(changed=changed) == 401
    assert await door.post(f"{door.url}/omni/webhook/T0/{ASK}", {}, b"{}") == 401
    assert door.told == []
    assert door.meter.webhooks == [401, 401]


async def test_another_jobs_secret_opens_nothing(door: Door) -> None:
    assert await door.send(to=ASK, as_of=OTHER) == 401
    assert door.told == []


async def test_event_of_another_job_is_ignored(door: Door) -> None:
    assert await door.send(an_end(OTHER_JOB)) == 200
    assert door.told == []


async def test_another_teams_address_leads_to_nothing(door: Door) -> None:
    assert await door.send(team=TeamId("T0OTHER")) == 200
    assert door.told == []


@pytest.mark.parametrize("age_seconds", [301, 86_400, -301])
async def test_what_was_signed_long_ago_is_refused(door: Door, age_seconds: float) -> None:
    assert await door.send(age_seconds=age_seconds) == 401
    assert door.told == []


async def test_repeated_event_is_handled_once(door: Door) -> None:
    body = an_end(event_id="evt_1")
    assert [await door.send(body) for _ in range(2)] == [200, 200]
    door.now += timedelta(seconds=30)
    assert await door.send(body) == 200, "Omni tells again, signed anew"
    assert door.told == [ENDED]


async def test_repeated_event_without_id_is_handled_once(door: Door) -> None:
    assert [await door.send(b"{}") for _ in range(2)] == [200, 200]
    assert len(door.told) == 1


async def test_event_ids_are_per_question(door: Door) -> None:
    """It holds only eight characters of the job's id."""
    await door.send(an_end(job=None, event_id="evt_1"))
    await door.send(an_end(job=None, event_id="evt_1"), to=OTHER)
    assert [job for _, job, _ in door.told] == [JOB, OTHER_JOB]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"status": 7}', b"\xff\xfe"])
async def test_unexpected_body_is_unclear(door: Door, body: bytes) -> None:
    assert await door.send(body) == 200
    assert door.told == [(HERE.team, JOB, EventKind.UNCLEAR)]


async def test_webhook_with_a_long_answer_is_accepted(door: Door) -> None:
    body = an_end()[:-1] + b', "result_summary": "' + b"x" * 67_500 + b'"}'
    assert await door.send(body) == 200
    assert door.told == [ENDED]


async def test_large_body_is_not_read(door: Door) -> None:
    assert await door.send(b" " * LARGEST_BODY_BYTES) == 200

    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(LARGEST_BODY_BYTES // 4_096 + 1):
            yield b" " * 4_096

    headers = {TIMESTAMP: str(int(time.time())), SIGNATURE: "sha256=" + "0" * 64}
    for body in (unannounced(), BytesIO(b" " * (LARGEST_BODY_BYTES + 1))):
        assert await door.post(f"{door.url}/omni/webhook/T0/{ASK}", headers, body) == 413


async def test_event_of_unknown_question_is_dropped(door: Door) -> None:
    del door.questions.rows[ASK]
    assert await door.send() == 200
    assert door.told == []


@pytest.mark.parametrize("path", ["T0", "T0/x", f"t0/{ASK}", f"T0/{ASK.upper()}", f"T0/{ASK}/x", "T0/%2e%2e"])
async def test_no_other_address_gets_in(door: Door, path: str) -> None:
    assert await door.post(f"{door.url}/omni/webhook/{path}", {}, b"{}") in (401, 404)


async def test_early_end_waits_for_its_job(door: Door) -> None:
    door.questions.rows[ASK] = replace(door.questions.rows[ASK], job=None)
    sending = asyncio.create_task(door.send())
    await asyncio.sleep(0.4)
    assert door.told == []
    door.questions.rows[ASK] = replace(door.questions.rows[ASK], job=JOB)
    assert await sending == 200
    assert door.told == [ENDED]


async def test_unavailable_database_gives_503(door: Door) -> None:
    body = an_end()
    door.questions.error = StoreUnavailable("away")
    assert await door.send(body) == 503
    door.questions.error = None
    assert await door.send(body) == 200
    assert door.told == [ENDED]


async def test_starting_bot_gives_503(door: Door) -> None:
    door.door.context = None
    assert await door.send() == 503


async def test_missing_body_does_not_delay_shutdown() -> None:
    port = a_free_port()
    async with serve("127.0.0.1", port, Door(port).door.routes()):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /omni/webhook/T0/{ASK} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        await asyncio.sleep(0.1)
        began = time.monotonic()
    assert time.monotonic() - began < 3.0
    writer.close()
