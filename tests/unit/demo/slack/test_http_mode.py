"""The simulated Slack calls an app over HTTP: signatures, timeouts and retries."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from slack_sdk.signature import SignatureVerifier

from bot.demo.slack.simulator import SimulatedSlack
from bot.server.http import serve
from tests.end_to_end.world import a_free_port


class Called:
    """An app that keeps every call, and answers as a test says."""

    def __init__(self, slack: SimulatedSlack) -> None:
        self.slack = slack
        self.calls: list[tuple[dict[str, str], str]] = []
        self.answers: list[web.Response] = []
        """For the next calls; after them, empty ones."""
        self.delay_seconds = 0.0

    async def take(self, request: web.Request) -> web.Response:
        self.calls.append((dict(request.headers), await request.text()))
        await asyncio.sleep(self.delay_seconds)
        return self.answers.pop(0) if self.answers else web.Response()

    def forms(self) -> list[dict[str, str]]:
        return [dict(parse_qsl(body)) for _, body in self.calls]


@asynccontextmanager
async def calling() -> AsyncIterator[Called]:
    async with SimulatedSlack(limits=False) as slack:
        called = Called(slack)
        port = a_free_port()
        slack.request_url.url = f"http://127.0.0.1:{port}/slack/events"
        async with serve("127.0.0.1", port, [web.post("/slack/events", called.take)]):
            yield called


@pytest.fixture
async def called() -> AsyncIterator[Called]:
    async with calling() as called:
        yield called


async def test_requests_have_valid_signatures(called: Called) -> None:
    await called.slack.command("ü & =", user="ada", channel="data-team")
    await called.slack.mention("ü", user="ada", channel="data-team")
    verifier = SignatureVerifier(called.slack.request_url.signing_secret)
    assert len(called.calls) == 2
    assert all(verifier.is_valid_request(body, headers) for headers, body in called.calls)


async def test_requests_have_slacks_content_types(
    called: Called,
) -> None:
    await called.slack.command("x", user="ada", channel="data-team")
    await called.slack.shortcut("ask_anywhere", user="ada")
    await called.slack.mention("hello", user="ada", channel="data-team")
    command, shortcut, _ = called.forms()
    assert (command["command"], command["text"]) == ("/omni-job", "x")
    assert json.loads(shortcut["payload"])["callback_id"] == "ask_anywhere"
    assert json.loads(called.calls[2][1])["event"]["type"] == "app_mention"
    kinds = [headers["Content-Type"] for headers, _ in called.calls]
    assert kinds == ["application/x-www-form-urlencoded"] * 2 + ["application/json"]


@pytest.mark.parametrize(
    "answer, payload",
    [
        ({"text": "hi"}, {"text": "hi"}),
        ({"text": '{"text": "hi"}', "content_type": "application/json"}, {"text": "hi"}),
        ({"text": ""}, None),
    ],
)
async def test_a_command_may_be_answered_in_text_or_json(
    called: Called, answer: dict[str, str], payload: dict[str, str] | None
) -> None:
    called.answers = [web.Response(**answer)]  # type: ignore[arg-type]
    acked = await called.slack.command("x", user="ada", channel="data-team")
    assert (acked.acked, acked.payload) == (True, payload)


@pytest.mark.parametrize("status", [201, 302, 401, 404, 500, 503])
async def test_command_needs_200_and_is_not_resent(called: Called, status: int) -> None:
    called.answers = [web.Response(status=status, headers={"Location": "/elsewhere"})]
    acked = await called.slack.command("x", user="ada", channel="data-team")
    assert not acked.acked
    assert "operation_timeout" in called.slack.private("ada")[0].text
    assert len(called.calls) == 1


async def test_late_answer_is_no_acknowledgement(called: Called) -> None:
    called.slack.request_url.ack_seconds = 0.05
    called.delay_seconds = 0.2
    began = time.monotonic()
    assert not (await called.slack.command("x", user="ada", channel="data-team")).acked
    assert time.monotonic() - began < 0.2


async def test_unreachable_url_acknowledges_nothing(called: Called) -> None:
    called.slack.request_url.url = f"http://127.0.0.1:{a_free_port()}/slack/events"
    assert not (await called.slack.command("x", user="ada", channel="data-team")).acked
    assert not await called.slack.request_url.is_verified()


async def test_event_is_resent_three_times(called: Called) -> None:
    called.slack.request_url.retry_seconds = (0.0, 0.05, 0.1)
    called.answers = [web.Response(status=500) for _ in range(9)]
    await called.slack.mention("hello", user="ada", channel="data-team")
    await called.slack.until(lambda: len(called.calls) == 4)
    await asyncio.sleep(0.2)
    assert len(called.calls) == 4
    retries = [(h.get("X-Slack-Retry-Num"), h.get("X-Slack-Retry-Reason")) for h, _ in called.calls]
    assert retries == [(None, None), ("1", "http_error"), ("2", "http_error"), ("3", "http_error")]
    assert len({json.loads(body)["event_id"] for _, body in called.calls}) == 1


@pytest.mark.parametrize("status", [200, 204])
async def test_accepted_event_is_not_resent(called: Called, status: int) -> None:
    called.slack.request_url.retry_seconds = (0.0, 0.0, 0.0)
    called.answers = [web.Response(status=status)]
    await called.slack.mention("hello", user="ada", channel="data-team")
    await asyncio.sleep(0.1)
    assert len(called.calls) == 1


async def test_app_can_disable_event_retries(called: Called) -> None:
    called.slack.request_url.retry_seconds = (0.0, 0.0, 0.0)
    called.answers = [web.Response(status=500, headers={"X-Slack-No-Retry": "1"})]
    await called.slack.mention("hello", user="ada", channel="data-team")
    await asyncio.sleep(0.1)
    assert len(called.calls) == 1


@pytest.mark.parametrize(
    "text, content_type", [("hello", "text/plain"), ("", "text/plain"), ("{}", "application/json")]
)
async def test_verification_needs_the_challenge(called: Called, text: str, content_type: str) -> None:
    called.answers = [web.Response(text=text, content_type=content_type)]
    assert not await called.slack.request_url.is_verified()
