"""Odd requests to every path on `PORT` cause no server error and no log flood."""

import asyncio
import gzip
import re
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from bot.demo.slack.http_mode import sign
from bot.server import omni_webhooks, slack_events
from bot.workspaces.oauth import INSTALL_PATH, REDIRECT_PATH
from tests.end_to_end.world import World
from tests.support.installed import NEW_KEY

pytestmark = pytest.mark.http_mode

TOKEN = "metrics-token-0123456789"
ASK = "5d1c8f0e-6a5b-4a8b-9a55-0f0c6f3f1f6e"
PATHS = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/slack/events",
    "/slack/events/",
    INSTALL_PATH,
    f"{INSTALL_PATH}?team=%ff%00&team[]=1&%=",
    REDIRECT_PATH,
    f"{REDIRECT_PATH}?state=%ff&code=%00&error=%0d%0aX:1",
    f"{REDIRECT_PATH}?" + "a=1&" * 1_500,
    f"/omni/webhook/T0/{ASK}",
    "/omni/webhook/%ff/%00",
    "/omni/webhook/%ed%a0%80/..",
    "/%ff%fe/../%2e%2e/",
]
END = "Host: x\r\nConnection: close\r\n"
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"]
BODIES = {
    "none": b"\r\n",
    "not text": b"Content-Length: 2\r\n\r\n\xff\xfe",
    "unknown charset": b"Content-Type: text/plain; charset=martian\r\nContent-Length: 2\r\n\r\nab",
    "odd content type": b"Content-Type: \xff;=;\r\nContent-Length: 2\r\n\r\nab",
    "not JSON": b"Content-Type: application/json\r\nContent-Length: 1\r\n\r\n{",
    "no gzip": b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab",
    "gzip": b"Content-Encoding: gzip, gzip\r\nContent-Length: %d\r\n\r\n%s"
    % (len(gzip.compress(b"a" * 100_000)), gzip.compress(b"a" * 100_000)),
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "odd chunks": b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n",
    "half of chunks": b"Transfer-Encoding: chunked\r\n\r\n3\r\nab",
    "half": b"Content-Length: 500\r\n\r\nab",
    "too large": b"Content-Length: 99999999\r\n\r\nab",
    "expected": b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
    "odd expectation": b"Expect: a miracle\r\nContent-Length: 2\r\n\r\nab",
    "upgrade": b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nab",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "odd headers": b"Cookie: slack-app-oauth-state=\xff; \xfe\r\nAuthorization: Bearer \xff\r\n"
    b"X-Slack-Request-Timestamp: \xff\r\nX-Slack-Signature: \xff\r\n"
    b"X-Omni-Signature: \xff\r\nX-Omni-Signature-Timestamp: nan\r\n\r\n",
    "long header": b"X: %s\r\n\r\n" % (b"a" * 20_000),
}


def claimed(body: bytes) -> bytes:
    """The same, with headers that look signed."""
    now = int(time.time())
    headers = (
        f"X-Slack-Request-Timestamp: {now}\r\nX-Slack-Signature: {sign('f' * 32, str(now), b'')}\r\n"
        f"X-Omni-Signature-Timestamp: {now}\r\nX-Omni-Signature: sha256={'0' * 64}\r\n"
        f"Authorization: Bearer {TOKEN}\r\n"
    )
    return headers.encode() + body


def requests() -> Iterator[tuple[str, bytes]]:
    for path in PATHS:
        for method in METHODS:
            yield f"{method} {path}", f"{method} {path} HTTP/1.1\r\n{END}\r\n".encode()
        for method in ("GET", "POST"):
            for name, body in BODIES.items():
                start = f"{method} {path} HTTP/1.1\r\n{END}".encode()
                yield f"{method} {path}: {name}", start + body
                yield f"{method} {path}: {name}, looks signed", start + claimed(body)
    for name, line in {
        "HTTP/1.0": b"GET /healthz HTTP/1.0\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "asterisk": f"OPTIONS * HTTP/1.1\r\n{END}\r\n".encode(),
        "proxy": f"GET http://example.com/ HTTP/1.1\r\n{END}\r\n".encode(),
        "tunnel": f"CONNECT example.com:443 HTTP/1.1\r\n{END}\r\n".encode(),
        "no host": b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
        "pipeline": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 200 + b"GARBAGE\r\n\r\n",
    }.items():
        yield name, line


async def statuses(port: int, data: bytes) -> list[int]:
    """The status of each answer, once the server has closed the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(15.0):
            answer = await reader.read()
    except ConnectionError:
        return []
    finally:
        writer.close()
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] ([1-5]\d\d) ", answer)]


@pytest.mark.timeout(240)
async def test_odd_requests_find_no_defect(
    world: World,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (slack_events, omni_webhooks):
        monkeypatch.setattr(module, "READ_WITHIN_SECONDS", 0.5)
    parts = urlsplit(world.slack.request_url.url)
    own, app = f"http://{parts.netloc}", world.slack.oauth.app
    app.redirect_urls.add(own + REDIRECT_PATH)
    found: dict[str, list[int]] = {}
    limit = asyncio.Semaphore(50)

    async def one(name: str, data: bytes) -> None:
        async with limit:
            found[name] = await statuses(int(parts.port or 0), data)

    async with world.bot(
        slack_bot_token=None,
        slack_client_id=app.client_id,
        slack_client_secret=app.client_secret,
        encryption_key=NEW_KEY,
        public_url=own,
        metrics_token=TOKEN,
    ):
        await asyncio.gather(*(one(name, data) for name, data in requests()))
        assert await world.slack.request_url.is_verified()

    # 501 is aiohttp's answer to an upgrade or a transfer coding that it does not know.
    odd = {name: given for name, given in found.items() if any(s >= 500 and s != 501 for s in given)}
    assert odd == {}
    assert len(found) > 1_000 and all(found.values()), "each is answered"
    for name in (name for name, given in found.items() if 200 in given):
        is_health = re.match("(GET|HEAD) /(healthz|readyz)|HTTP/1.0|no host|pipeline", name)
        is_reader = re.match("GET /metrics: .*, looks signed", name)
        assert is_health or is_reader, name
    assert [record for record in caplog.records if record.exc_info] == []
    assert "Traceback" not in capsys.readouterr().out
