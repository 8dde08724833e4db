"""Health over HTTP: what a supervisor asks, and what happens when the port is not to be had."""

import asyncio
import gzip
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web

from bot.domain.errors import PortTaken
from bot.server import http as module
from bot.server.health import Health
from bot.server.http import BodyRefused, read_body, serve
from tests.support.network import a_free_port


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


async def test_working_bot_is_healthy_and_ready() -> None:
    async with served() as health:
        assert await health.get("/healthz") == (200, "ok\n")
        assert await health.get("/readyz") == (200, "ready\n")


async def test_unready_bot_gives_the_reason() -> None:
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


async def test_port_is_released_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        async with served() as health:
            raise ZeroDivisionError
    async with serve("127.0.0.1", health.port, health.routes()):
        pass


async def test_taken_port_is_reported_with_address() -> None:
    async with served() as health:
        with pytest.raises(PortTaken, match=f"127.0.0.1:{health.port}: .*(?i:address already in use)"):
            async with serve("127.0.0.1", health.port, health.routes()):
                pass


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "..", "x" * 70, "host.invalid"])
async def test_foreign_address_is_reported(host: str) -> None:
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
async def test_compressed_body_is_not_inflated(body: bytes) -> None:
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
async def test_unreadable_requests_are_not_logged(
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


HALF = b"POST / HTTP/1.1\r\nHost: x\r\nX-Half"

READ_WITHIN_SECONDS = 0.3


class Pressed:
    """A server with little room, and the connections of a stranger."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.may_answer = asyncio.Event()
        self.under_way = 0

    async def read(self, request: web.Request) -> web.Response:
        try:
            body = await read_body(request, within_seconds=READ_WITHIN_SECONDS)
        except BodyRefused as refused:
            return web.Response(status=refused.status)
        return web.Response(text=str(len(body)))

    async def work(self, _: web.Request) -> web.Response:
        self.under_way += 1
        await self.may_answer.wait()
        return web.Response(text="done")

    async def fast(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def send(self, data: bytes) -> asyncio.StreamReader:
        """Open a connection and leave it open."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        self.opened.append((reader, writer))
        return reader

    async def get(self) -> int:
        """What a well-behaved client is answered."""
        return await status_of(await self.send(b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n"))

    async def open_ones(self) -> int:
        """How many connections the server has not closed."""
        await asyncio.sleep(0.05)
        return sum(not reader.at_eof() and reader.exception() is None for reader, _ in self.opened)


async def status_of(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(5.0):
        return int((await reader.readline()).split()[1])


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Wait until the server has closed the connection; nothing was answered."""
    async with asyncio.timeout(5.0):
        with suppress(ConnectionError):
            return await reader.read() == b""
        return True


@pytest.fixture
async def pressed(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pressed]:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20, 4096))
    pressed = Pressed(a_free_port())
    routes = [web.post("/", pressed.read), web.get("/work", pressed.work), web.get("/fast", pressed.fast)]
    async with serve("127.0.0.1", pressed.port, routes):
        yield pressed
        pressed.may_answer.set()
    for _, writer in pressed.opened:
        writer.close()


@pytest.mark.parametrize(("descriptors", "most"), [(256, 128), (1024, 512), (1_048_576, 1_000), (-1, 1_000)])
def test_connections_leave_descriptors_for_others(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert module.most_connections() == most


@pytest.mark.parametrize(
    "half",
    [b"", HALF, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"],
    ids=["nothing", "half headers", "half body"],
)
async def test_incomplete_requests_make_room(pressed: Pressed, half: bytes) -> None:
    for _ in range(50):
        await pressed.send(half)
    assert await pressed.get() == 200
    assert await pressed.open_ones() <= 10


async def test_requests_under_way_are_never_cut_off(pressed: Pressed) -> None:
    working = [await pressed.send(b"GET /work HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(10)]
    async with asyncio.timeout(5.0):
        while pressed.under_way < 10:
            await asyncio.sleep(0.01)
    assert await is_closed(await pressed.send(b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n"))
    pressed.may_answer.set()
    assert [await status_of(reader) for reader in working] == [200] * 10
    assert await pressed.get() == 200


async def test_headers_have_to_arrive_in_time(pressed: Pressed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEADERS_WITHIN_SECONDS", 0.1)
    for half in (b"", HALF, b"\r\n\r\n"):
        assert await is_closed(await pressed.send(half))


async def test_later_headers_have_to_arrive_in_time(
    pressed: Pressed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEADERS_WITHIN_SECONDS", 0.1)
    reader = await pressed.send(b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await status_of(reader) == 200
    await asyncio.sleep(0.3)
    assert await pressed.open_ones() == 1, "an idle connection may stay"
    pressed.opened[0][1].write(HALF)
    async with asyncio.timeout(5.0):
        with suppress(ConnectionError):
            await reader.read()
    assert await pressed.open_ones() == 0


@pytest.mark.parametrize("before", [b"", b"\r\n\r\n", b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_endless_headers_end_the_connection(pressed: Pressed, before: bytes) -> None:
    reader = await pressed.send(before)
    if before.strip():
        assert await status_of(reader) == 200
    writer = pressed.opened[0][1]
    writer.write(b"GET /fast HTTP/1.1\r\n")
    sent = 0
    with suppress(ConnectionError):
        while sent < 300_000:
            line = f"X{sent}: {'a' * 4_000}\r\n".encode()
            writer.write(line)
            await writer.drain()
            sent += len(line)
            await asyncio.sleep(0)
    async with asyncio.timeout(5.0):
        with suppress(ConnectionError):
            await reader.read()
    assert await pressed.open_ones() == 0


async def test_bodies_at_one_moment_are_bounded(pressed: Pressed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_BODIES_BYTES", 5_000)
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n"
    first = await pressed.send(request + b"a" * 3_000)
    await asyncio.sleep(0.1)
    assert await status_of(await pressed.send(request + b"a" * 3_000)) == 503
    pressed.opened[0][1].write(b"a" * 1_000)
    assert await status_of(first) == 200
    assert await status_of(await pressed.send(request + b"a" * 4_000)) == 200, "both are forgotten"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"Content-Length: 1048577\r\n\r\n", 413),
        (b"Content-Length: 10\r\n\r\nabc", 408),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 408),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nZZ\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n\r\n200000\r\n" + b"a" * 0x200000, 413),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200),
        (b"Content-Length: 1048576\r\n\r\n" + b"a" * 1_048_576, 200),
    ],
    ids=["announced", "half", "half of chunks", "odd chunks", "unannounced", "chunks", "largest"],
)
async def test_unreadable_body_is_refused(pressed: Pressed, request_bytes: bytes, status: int) -> None:
    reader = await pressed.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + request_bytes)
    assert await status_of(reader) == status


async def test_connection_ends_after_an_unread_body(pressed: Pressed) -> None:
    request = b"GET /fast HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    for path in (b"/fast", b"/nowhere"):
        reader = await pressed.send(request.replace(b"/fast", path))
        async with asyncio.timeout(5.0):
            assert b"Connection: close" in await reader.read()
