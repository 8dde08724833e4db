"""What a container's healthcheck is told: the exit code, and why."""

import asyncio
from contextlib import suppress

import pytest
from aiohttp import web

from bot.cli import healthcheck
from bot.server.http import serve


def routes(status: int) -> list[web.RouteDef]:
    async def healthz(_: web.Request) -> web.Response:
        return web.Response(status=status)

    return [web.get("/healthz", healthz)]


async def ended(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def checked(port: int, **environment: str) -> int:
    return await asyncio.to_thread(healthcheck.main, {"PORT": str(port), **environment})


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
async def test_responding_bot_is_alive(host: str, unused_tcp_port: int) -> None:
    async with serve(host, unused_tcp_port, routes(200)):
        assert await checked(unused_tcp_port, HOST=host) == 0


async def test_host_has_the_bots_default(unused_tcp_port: int) -> None:
    async with serve("127.0.0.1", unused_tcp_port, routes(200)):
        assert await checked(unused_tcp_port) == 0


async def test_a_proxy_is_not_asked(unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with serve("127.0.0.1", unused_tcp_port, routes(200)):
        assert await checked(unused_tcp_port) == 0


async def test_an_error_is_not_alive(unused_tcp_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    async with serve("127.0.0.1", unused_tcp_port, routes(500)):
        assert await checked(unused_tcp_port) == 1
    assert capsys.readouterr().err == "/healthz answers 500\n"


async def test_nobody_there_is_not_alive(unused_tcp_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert await checked(unused_tcp_port) == 1
    assert capsys.readouterr().err.startswith("/healthz does not answer: ConnectionRefusedError")


async def test_a_loop_that_hangs_is_not_alive(unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healthcheck, "ANSWERS_WITHIN_SECONDS", 0.05)
    release = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await ended(writer)

    async with await asyncio.start_server(hang, "127.0.0.1", unused_tcp_port):
        assert await checked(unused_tcp_port) == 1
        release.set()


async def test_what_is_no_http_is_not_alive(unused_tcp_port: int) -> None:
    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n")
        await ended(writer)

    async with await asyncio.start_server(babble, "127.0.0.1", unused_tcp_port):
        assert await checked(unused_tcp_port) == 1


@pytest.mark.parametrize("port", ["", "many"])
def test_without_a_port_nothing_can_be_asked(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert healthcheck.main({"PORT": port}) == 1
    assert capsys.readouterr().err == "PORT is not set to a number\n"
