"""Health over HTTP: what a supervisor asks, and what happens when the port is not to be had."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from bot.health import Health
from bot.web import PortTaken, serve


def a_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Supervised(Health):
    """The answers of a served port, and the trouble that it is told of."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.trouble: str | None = None
        self.asked = 0

    async def problem(self) -> str | None:
        self.asked += 1
        return self.trouble

    async def get(self, path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"http://127.0.0.1:{self.port}{path}") as answer,
        ):
            return answer.status, await answer.text()


@asynccontextmanager
async def served() -> AsyncIterator[Supervised]:
    supervised = Supervised(a_free_port())
    async with serve("127.0.0.1", supervised.port, supervised.routes()):
        yield supervised


async def test_a_bot_that_can_work_is_healthy_and_ready() -> None:
    async with served() as health:
        assert await health.get("/healthz") == (200, "ok\n")
        assert await health.get("/readyz") == (200, "ready\n")


async def test_a_bot_that_can_not_work_is_healthy_and_says_why_it_is_not_ready() -> None:
    async with served() as health:
        health.trouble = "not connected to Slack"
        assert await health.get("/healthz") == (200, "ok\n")
        assert await health.get("/readyz") == (503, "not connected to Slack\n")
        health.trouble = None
        assert await health.get("/readyz") == (200, "ready\n")


async def test_health_costs_no_look_at_anything_else() -> None:
    async with served() as health:
        await health.get("/healthz")
        assert health.asked == 0


async def test_there_is_nothing_else() -> None:
    async with served() as health:
        assert (await health.get("/"))[0] == 404
        assert (await health.get("/metrics"))[0] == 404


async def test_the_port_is_free_again_afterwards() -> None:
    async with served() as health:
        pass
    with pytest.raises(aiohttp.ClientConnectorError):
        await health.get("/healthz")
    async with serve("127.0.0.1", health.port, health.routes()):
        assert (await health.get("/healthz"))[0] == 200


async def test_the_port_is_free_again_after_trouble_inside() -> None:
    with pytest.raises(ZeroDivisionError):
        async with served() as health:
            raise ZeroDivisionError
    async with serve("127.0.0.1", health.port, health.routes()):
        pass


async def test_a_port_that_is_taken_is_told_with_its_address() -> None:
    async with served() as health:
        with pytest.raises(PortTaken, match=f"127.0.0.1:{health.port}: .*(?i:address already in use)"):
            async with serve("127.0.0.1", health.port, health.routes()):
                pass


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "..", "x" * 70, "host.invalid"])
async def test_an_address_that_is_not_ours_is_told(host: str) -> None:
    with pytest.raises(PortTaken, match="8123"):
        async with serve(host, 8123, Supervised(0).routes()):
            pass


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def broken(_: web.Request) -> web.Response:
    raise ZeroDivisionError


@asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    port = a_free_port()
    async with serve("127.0.0.1", port, [web.post("/", echo), web.get("/broken", broken)]):
        yield port


async def sent(port: int, request: bytes) -> bytes:
    """What comes back for these bytes, once the server or the client has hung up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("body", [gzip.compress(b"a" * 5_000_000), b"not compressed"])
async def test_a_body_that_says_it_is_compressed_is_taken_as_it_was_sent(body: bytes) -> None:
    async with (
        echoing() as port,
        aiohttp.ClientSession() as client,
        client.post(f"http://127.0.0.1:{port}/", data=body, headers={"Content-Encoding": "gzip"}) as answer,
    ):
        assert (answer.status, await answer.read()) == (200, body)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nA secret\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nand no more",
    ],
)
async def test_what_can_not_be_read_does_not_fill_the_log(
    request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with echoing() as port:
        await sent(port, request_bytes)
        await asyncio.sleep(0.05)
    assert caplog.records == []


async def test_a_defect_of_ours_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with echoing() as port:
        await sent(port, b"GET /broken HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]
