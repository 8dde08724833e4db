"""Webhooks of the simulated Omni follow the documentation."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiohttp import web

from bot.demo.omni.organization import MODEL
from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Complete, Failed, Script
from tests.support.network import a_free_port

SECRET = "a secret of the job's own"
QUICK = Script(0.0, ((0.2, "Searching", 1), (0.2, None, 2)), 0.0, Complete("Sunglasses."))


class Told:
    """Somebody whom Omni tells; answers what a test says, the last of it for ever."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/told"
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answers = [200]

    async def take(self, request: web.Request) -> web.Response:
        self.requests.append((dict(request.headers), await request.read()))
        return web.Response(status=self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])

    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.requests]

    async def until(self, requests: int) -> None:
        async with asyncio.timeout(10):
            while len(self.requests) < requests:
                await asyncio.sleep(0.02)


@pytest.fixture
async def omni() -> AsyncIterator[SimulatedOmni]:
    async with SimulatedOmni() as simulated:
        simulated.script_for_submitted = QUICK
        yield simulated


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    port = a_free_port()
    told = Told(port)
    app = web.Application()
    app.router.add_post("/told", told.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield told
    await runner.cleanup()


async def submit(omni: SimulatedOmni, **more: object) -> str:
    async with httpx.AsyncClient(base_url=omni.base_url, trust_env=False) as client:
        answer = await client.post(
            "/api/v1/ai/jobs",
            json={"modelId": MODEL, "prompt": "Why?", **more},
            headers={"Authorization": f"Bearer {omni.api_key}"},
        )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["jobId"])


async def test_end_is_sent_once_signed_as_documented(omni: SimulatedOmni, told: Told) -> None:
    job = await submit(
        omni, webhookUrl=told.url, webhookSigningSecret=SECRET, webhookMetadata={"channel": "C1"}
    )
    await told.until(1)
    await asyncio.sleep(0.3)

    ((headers, body),) = told.requests
    at = headers["X-Omni-Signature-Timestamp"]
    signature = hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-Omni-Signature"] == f"sha256={signature}"
    assert abs(time.time() - int(at)) < 5
    (said,) = told.bodies()
    assert said["event_id"].startswith(f"evt_{job[:8]}_COMPLETE_")
    assert {name: said[name] for name in ("jobId", "status", "result_summary", "metadata")} == {
        "jobId": job,
        "status": "COMPLETE",
        "result_summary": "Sunglasses.",
        "metadata": {"channel": "C1"},
    }


async def test_progress_is_sent_once_if_requested(omni: SimulatedOmni, told: Told) -> None:
    told.answers = [500, 200]
    await submit(omni, webhookUrl=told.url, webhookSigningSecret=SECRET, progressWebhookEnabled=True)
    await told.until(2)

    assert [(said["status"], said.get("progress")) for said in told.bodies()] == [
        ("EXECUTING", {"iteration": 1, "message": "Searching"}),
        ("COMPLETE", None),
    ]


async def test_end_is_sent_until_accepted(omni: SimulatedOmni, told: Told) -> None:
    omni.script_for_submitted = Script(0.0, (), 0.0, Failed("No such column"))
    told.answers = [503, 200]
    await submit(omni, webhookUrl=told.url, webhookSigningSecret=SECRET)
    await told.until(2)

    first, second = told.bodies()
    assert first == second and first["status"] == "FAILED" and "result_summary" not in first


async def test_cancelled_job_sends_no_webhook(omni: SimulatedOmni, told: Told) -> None:
    omni.script_for_submitted = Script(0.4)
    job = await submit(omni, webhookUrl=told.url, webhookSigningSecret=SECRET, progressWebhookEnabled=True)
    omni.cancel(job)
    await asyncio.sleep(0.6)

    assert told.requests == []


async def test_job_without_webhook_sends_nothing(omni: SimulatedOmni) -> None:
    await submit(omni)
    await asyncio.sleep(0.5)

    assert omni.webhooks.sent == []
