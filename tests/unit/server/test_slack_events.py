"""HTTP mode, called by Slack and by others: only what Slack has signed lately is read."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlencode

import aiohttp
import pytest
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.demo.slack.http_mode import sign
from bot.demo.slack.simulator import SimulatedSlack
from bot.domain.cards import TeamId, UserId
from bot.domain.credentials import Credentials
from bot.server import slack_events as module
from bot.server.http import LARGEST_BODY_BYTES, serve
from bot.server.slack_events import PATH, SlackEvents
from bot.slack.dispatch import Dispatcher
from bot.workspaces.workspace import bolt_app
from tests.end_to_end.world import a_free_port

COMMAND = {"command": "/omni-job", "text": "x", "team_id": "T1", "user_id": "U1", "channel_id": "C1"}
FORM = "application/x-www-form-urlencoded"
MINUTES = 60.0


class Served:
    """An app in HTTP mode, what it has heard, and whoever calls it."""

    def __init__(self, slack: SimulatedSlack) -> None:
        self.slack = slack
        self.heard: list[str] = []
        self.dispatched = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        known = Credentials(
            team=TeamId(slack.team),
            bot_user=UserId(slack.bot_user),
            bot_id="B1",
            bot_token=slack.bot_token,
            omni_base_url="",
            omni_api_token="",
            requests_per_minute=60,
        )
        self.app = bolt_app(known, slack.api_url)
        self.app.command("/omni-job")(self._on_command)
        self.http = SlackEvents(Dispatcher(self._the_one), slack.request_url.signing_secret)

    async def _the_one(self, _team: TeamId) -> AsyncApp:
        self.dispatched += 1
        return self.app

    async def _on_command(self, ack: AsyncAck, command: Mapping[str, str]) -> None:
        self.heard.append(command["text"])
        await self.may_answer.wait()
        await ack("heard")

    async def post(self, body: bytes, **headers: str) -> tuple[int, str]:
        """What anybody may send."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.slack.request_url.url, data=io.BytesIO(body), headers=given) as answer,
        ):
            return answer.status, await answer.text()

    async def signed(
        self,
        body: bytes,
        *,
        at: float = 0.0,
        secret: str = "",
        content_type: str = FORM,
        more: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Signed `at` seconds from now."""
        timestamp = str(int(time.time() + at))
        signature = sign(secret or self.slack.request_url.signing_secret, timestamp, body)
        signing = {"X_Slack_Request_Timestamp": timestamp, "X_Slack_Signature": signature}
        return await self.post(body, Content_Type=content_type, **(signing | dict(more or {})))


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with SimulatedSlack(limits=False) as slack:
        port = a_free_port()
        slack.request_url.url = f"http://127.0.0.1:{port}{PATH}"
        served = Served(slack)
        async with serve("127.0.0.1", port, served.http.routes()):
            running = asyncio.create_task(served.http.run())
            await slack.connected()
            yield served
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


A_COMMAND = urlencode(COMMAND).encode()


async def test_command_response_is_its_acknowledgement(served: Served) -> None:
    acked = await served.slack.command("x", user="ada", channel="data-team")
    assert (acked.acked, acked.payload, served.heard) == (True, {"text": "heard"}, ["x"])


# Who is not Slack


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Slack_Signature": "v0=" + "0" * 64},
        {"X_Slack_Signature": ""},
        {"X_Slack_Signature": "v1=" + "0" * 64},
        {"X_Slack_Signature": "v0=\u00e9"},
        {"X_Slack_Request_Timestamp": ""},
        {"X_Slack_Request_Timestamp": "now"},
        {"X_Slack_Request_Timestamp": "1e9"},
        {"X_Slack_Request_Timestamp": "9" * 5_000},
        {"X_Slack_Request_Timestamp": "-1"},
    ],
    ids=lambda headers: str(headers)[:60],
)
async def test_a_forged_signature_is_refused(served: Served, headers: dict[str, str]) -> None:
    assert await served.signed(A_COMMAND, more=headers) == (401, "")
    assert served.heard == []


async def test_what_is_not_signed_is_refused(served: Served) -> None:
    assert await served.post(A_COMMAND, Content_Type=FORM) == (401, "")
    assert served.heard == []


async def test_what_another_app_was_sent_is_refused(served: Served) -> None:
    assert await served.signed(A_COMMAND, secret="f" * 32) == (401, "")
    assert served.heard == []


async def test_signature_binds_the_body(served: Served) -> None:
    timestamp = str(int(time.time()))
    signature = sign(served.slack.request_url.signing_secret, timestamp, A_COMMAND)
    headers = {"X_Slack_Request_Timestamp": timestamp, "X_Slack_Signature": signature, "Content_Type": FORM}
    assert (await served.post(A_COMMAND, **headers))[0] == 200
    assert (await served.post(A_COMMAND.replace(b"text=x", b"text=y"), **headers))[0] == 401
    assert served.heard == ["x"]


@pytest.mark.parametrize("at, status", [(-4.8 * MINUTES, 200), (-5.2 * MINUTES, 401), (5.2 * MINUTES, 401)])
async def test_a_signature_is_good_for_five_minutes(served: Served, at: float, status: int) -> None:
    assert (await served.signed(A_COMMAND, at=at))[0] == status
    assert served.heard == (["x"] if status == 200 else [])


@pytest.mark.parametrize("header", ["X_Slack_Bolt_Lazy_Only", "X_Slack_Bolt_Lazy_Function_Name"])
async def test_unsigned_headers_do_not_reach_bolt(served: Served, header: str) -> None:
    assert await served.signed(A_COMMAND, more={header: "1"}) == (200, "heard")


# What can't be read


@pytest.mark.parametrize(
    "body, content_type",
    [
        (b"{", "application/json"),
        (b"null", "application/json"),
        (b"[1]", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"authorizations": {"a": 1}}', "application/json"),
        (b"payload=%7B", FORM),
        (b"payload=[]", FORM),
    ],
    ids=lambda part: str(part)[:30],
)
async def test_signed_invalid_payload_is_refused(served: Served, body: bytes, content_type: str) -> None:
    assert await served.signed(body, content_type=content_type) == (400, "")


@pytest.mark.parametrize("event", [None, 5, "x", [], {}, {"type": None}, {"type": {}}], ids=str)
async def test_signed_odd_event_is_acknowledged(served: Served, event: object) -> None:
    body = {"team_id": "T1", "type": "event_callback", "event_id": "Ev1", "event": event}
    answered = await served.signed(json.dumps(body).encode(), content_type="application/json")
    assert answered == (200, "")


async def test_binary_body_is_refused(served: Served) -> None:
    assert await served.signed(b"\xff\xfe") == (401, "")


async def test_oversized_body_is_not_parsed(served: Served) -> None:
    fits = b"text=" + b"x" * (LARGEST_BODY_BYTES - 5)
    assert (await served.post(fits, Content_Type=FORM))[0] == 401
    assert (await served.signed(fits + b"x"))[0] == 413
    assert served.heard == []


async def test_slow_body_times_out(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_WITHIN_SECONDS", 0.05)
    port = int(served.slack.request_url.url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc".encode())
    async with asyncio.timeout(5.0):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()


async def test_only_posts_are_answered(served: Served) -> None:
    async with aiohttp.ClientSession() as session, session.get(served.slack.request_url.url) as answer:
        assert answer.status == 405


# What Slack asks of the address itself


async def test_the_address_is_verified_by_its_challenge(served: Served) -> None:
    assert await served.slack.request_url.is_verified()
    body = json.dumps({"type": "url_verification", "challenge": "abc"}).encode()
    status, answer = await served.signed(body, content_type="application/json")
    assert (status, json.loads(answer)) == (200, {"challenge": "abc"})


async def test_nobody_else_can_have_a_challenge_answered(served: Served) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "abc"}).encode()
    assert await served.post(body, Content_Type="application/json") == (401, "")


async def test_certificate_check_does_nothing(served: Served) -> None:
    body = b"token=x&ssl_check=1&" + A_COMMAND
    assert await served.post(body, Content_Type=FORM) == (200, "")
    assert await served.signed(body) == (200, "")
    assert served.dispatched == 0


# From when to when


async def test_requests_get_503_while_not_running() -> None:
    async with SimulatedSlack(limits=False) as slack:
        port = a_free_port()
        slack.request_url.url = f"http://127.0.0.1:{port}{PATH}"
        served = Served(slack)
        async with serve("127.0.0.1", port, served.http.routes()):
            assert served.http.problem() == "not connected to Slack"
            assert (await served.signed(A_COMMAND))[0] == 503
            running = asyncio.create_task(served.http.run())
            await slack.connected()
            assert served.http.problem() is None
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert served.http.problem() == "not connected to Slack"
            assert (await served.signed(A_COMMAND))[0] == 503
    assert served.heard == []


async def test_shutdown_finishes_running_requests() -> None:
    async with SimulatedSlack(limits=False) as slack:
        port = a_free_port()
        slack.request_url.url = f"http://127.0.0.1:{port}{PATH}"
        served = Served(slack)
        served.may_answer.clear()
        async with serve("127.0.0.1", port, served.http.routes()):
            running = asyncio.create_task(served.http.run())
            await slack.connected()
            typing = asyncio.create_task(slack.command("x", user="ada", channel="data-team"))
            async with asyncio.timeout(5.0):
                while not served.heard:
                    await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.sleep(0.05)
            assert not running.done()
            served.may_answer.set()
            await asyncio.gather(running, return_exceptions=True)
            assert (await typing).payload == {"text": "heard"}
