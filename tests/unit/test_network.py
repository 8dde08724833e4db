"""Each connection uses the proxy and the certificates that the environment names."""

import gc
import os
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bot.domain.credentials import OmniAccount
from bot.domain.errors import OmniUnreachable, SettingsError, SlackUnreachable
from bot.domain.messages import Message
from bot.domain.ports.metrics import NO_METRICS
from bot.network import proxy_for, tls, verify_environment
from bot.omni.client import unmetered, verify_api_key
from bot.omni.http import NotSent
from bot.slack.messages import identify, send_bytes, slack_client, slack_session
from bot.slack.views import reply_to_response_url
from tests.support import proxies
from tests.support.network import a_free_port
from tests.support.proxies import Proxy, Shake

API = "https://slack.com/api/"


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT_"):
            monkeypatch.delenv(name)


# Which proxy


@pytest.mark.parametrize(
    "environment, url, proxy",
    [
        ({}, API, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, API, "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128"}, API, "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://proxy:1", "https_proxy": "http://proxy:2"}, API, "http://proxy:2"),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "wss://wss-primary.slack.com/link", "http://proxy:3128"),
        ({"HTTPS_PROXY": "proxy:3128"}, API, "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://ada:p%40ss@proxy:3128"}, API, "http://ada:p%40ss@proxy:3128"),
        ({"HTTPS_PROXY": "http://ada@proxy:3128"}, API, "http://ada:@proxy:3128"),
        ({"HTTPS_PROXY": "http://proxy"}, API, "http://proxy:80"),
        ({"HTTPS_PROXY": "https://proxy"}, API, "https://proxy:443"),
        ({"HTTPS_PROXY": "http://[fd00::1]:3128"}, API, "http://[fd00::1]:3128"),
        ({"HTTPS_PROXY": ""}, API, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, API, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, "http://omni.internal/", "http://proxy:3128"),
        ({"ALL_PROXY": "socks5://proxy"}, API, "socks5://proxy:1080"),
        ({"ALL_PROXY": "socks5h://proxy:9"}, API, "socks5://proxy:9"),
        ({"ALL_PROXY": "socks5://proxy", "HTTPS_PROXY": "http://proxy"}, API, "http://proxy:80"),
    ],
)
def test_proxy_follows_environment(
    environment: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


@pytest.mark.parametrize(
    "no_proxy, url, is_direct",
    [
        ("slack.com", API, True),
        (".slack.com", "https://hooks.slack.com/x", True),
        ("slack.com", "https://notslack.com/", False),
        ("slack.com:443", API, True),
        ("SLACK.com", API, True),
        ("slack.com:80", "https://slack.com:443/", False),
        ("*", API, True),
        ("omni.internal, slack.com", API, True),
        ("omni.internal slack.com", API, True),
        ("*.slack.com", API, True),
        ("*.slack.com", "https://notslack.com/", False),
        ("localhost,::1/128", API, False),
        ("localhost,::1/128", "https://[::1]/", True),
        ("fd00::/8", "https://[fd12:3456::1]/", True),
        ("fd00::/8", "https://[fe80::1]/", False),
        ("[fd12::1]", "https://[fd12::1]/", True),
        ("[fd12::1]:443", "https://[fd12::1]/", True),
        ("[fd12::1]:80", "https://[fd12::1]/", False),
        ("10.0.0.0/8", "https://10.1.2.3/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("10.1.2.3", "https://10.1.2.3:8443/", True),
        ("no such/thing", API, False),
        ("", "http://127.0.0.1:8000/", True),
        ("", "http://127.8.8.8/", True),
        ("", "http://localhost:8000/", True),
        ("", "http://[::1]:8000/", True),
    ],
)
def test_no_proxy_and_loopback_are_direct(
    no_proxy: str, url: str, is_direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (proxy_for(url) is None) is is_direct


@pytest.mark.parametrize(
    "value",
    [
        *("ftp://proxy", "socks4://proxy", "ftp://proxy:21", "socks4://proxy:1080"),
        *("http://", "http://proxy:port", "http://:1"),
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_unusable_proxy_gives_one_line(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value.replace("//", "//user:secret@"))
    with pytest.raises(SettingsError) as caught:
        verify_environment()
    (line,) = caught.value.problems
    assert line.startswith(f"{name} is not the address of a proxy")
    assert "secret" not in line


# Which certificates


def test_missing_certificate_file_gives_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such.pem")
    with pytest.raises(SettingsError) as caught:
        verify_environment()
    assert caught.value.problems == ["SSL_CERT_FILE can't be read (No such file or directory): /no/such.pem"]


def test_file_without_certificates_gives_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    with pytest.raises(SettingsError, match="it holds no certificates"):
        verify_environment()


def test_missing_certificate_folder_gives_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", "/no/such")
    with pytest.raises(SettingsError, match="SSL_CERT_DIR is not a folder: /no/such"):
        verify_environment()


def test_machine_certificates_are_the_default() -> None:
    assert tls().verify_mode is ssl.CERT_REQUIRED
    verify_environment()


# Each kind of connection


@dataclass
class World:
    """A server that is reachable only through a proxy, and whose certificate only SSL_CERT_FILE vouches for."""

    port: int
    proxy: Proxy
    asked: list[str]

    def url(self, path: str) -> str:
        return f"https://slack.test:{self.port}{path}"


async def _answer(request: web.Request) -> web.StreamResponse:
    request.app[_ASKED].append(request.path)
    if request.path == "/link":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        await socket.close()
        return socket
    if request.path.startswith("/api/v1/"):
        return web.json_response({"detail": "Not Found", "status": 404}, status=404)
    return web.json_response({"ok": True, "team_id": "T1", "user_id": "U1"})


_ASKED = web.AppKey("asked", list[str])


@asynccontextmanager
async def world(
    scheme: str, shake: Shake, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    trusted, server_tls = proxies.certificate(folder, "slack.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    app = web.Application()
    app[_ASKED] = []
    app.router.add_route("*", "/{path:.*}", _answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_tls)
    await site.start()
    port = int(runner.addresses[0][1])
    async with proxies.running(scheme, shake, server_tls if scheme == "https" else None) as proxy:
        proxy.leads_to = port
        monkeypatch.setenv("ALL_PROXY" if scheme == "socks5" else "HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "localhost,::1/128")
        yield World(port, proxy, app[_ASKED])
    await runner.cleanup()


async def _web_api(world: World, session: aiohttp.ClientSession) -> None:
    await identify(slack_client("xoxb", world.url("/api/"), session))


async def _socket(world: World, session: aiohttp.ClientSession) -> None:
    async with session.ws_connect(world.url("/link").replace("https", "wss")) as socket:
        assert await socket.receive_str() == "hello"


async def _response_url(world: World, session: aiohttp.ClientSession) -> None:
    await reply_to_response_url(session, NO_METRICS, world.url("/response"), Message("For you alone."))


async def _upload(world: World, session: aiohttp.ClientSession) -> None:
    await send_bytes(session, world.url("/upload"), b"content")


async def _omni(world: World, _: aiohttp.ClientSession) -> None:
    async with unmetered(OmniAccount(world.url(""), "key", 60, None)) as omni:
        await verify_api_key(omni)


KINDS = [_web_api, _socket, _response_url, _upload, _omni]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "scheme, shake", [("http", proxies.connect), ("https", proxies.connect), ("socks5", proxies.socks5)]
)
async def test_each_connection_uses_proxy_and_certificates(
    scheme: str,
    shake: Shake,
    kind: Callable[[World, aiohttp.ClientSession], Awaitable[None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(scheme, shake, tmp_path, monkeypatch) as there, slack_session() as session:
        await kind(there, session)
        assert there.proxy.asked == [f"slack.test:{there.port}"]
        assert len(there.asked) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_refusing_proxy_means_nothing_was_sent(
    kind: Callable[[World, aiohttp.ClientSession], Awaitable[None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world("http", proxies.refuse, tmp_path, monkeypatch) as there, slack_session() as session:
        with pytest.raises((SlackUnreachable, NotSent, aiohttp.ClientConnectorError)) as caught:
            await kind(there, session)
        reason = str(caught.value.__cause__ or caught.value)
        assert "403" in reason
        assert "secret" not in reason
        assert there.asked == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("proxy", ["http://127.0.0.1", "socks5://127.0.0.1", "http://proxy.invalid"])
async def test_unreachable_proxy_means_nothing_was_sent(
    proxy: str,
    kind: Callable[[World, aiohttp.ClientSession], Awaitable[None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world("http", proxies.connect, tmp_path, monkeypatch) as there, slack_session() as session:
        monkeypatch.setenv("HTTPS_PROXY", f"{proxy}:{a_free_port()}")
        with pytest.raises((SlackUnreachable, NotSent, aiohttp.ClientConnectorError)):
            await kind(there, session)
        assert there.asked == []


@pytest.mark.parametrize("kind", KINDS)
async def test_http_proxy_named_as_socks_means_nothing_was_sent(
    kind: Callable[[World, aiohttp.ClientSession], Awaitable[None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        world("socks5", proxies.answer_in_http, tmp_path, monkeypatch) as there,
        slack_session() as session,
    ):
        with pytest.raises((SlackUnreachable, NotSent, aiohttp.ClientConnectorError)):
            await kind(there, session)
        assert there.asked == []
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ResourceWarning
        )  # httpcore leaves its socket to the garbage collector
        gc.collect()


@pytest.mark.parametrize("kind", KINDS)
async def test_connection_needs_trusted_certificate(
    kind: Callable[[World, aiohttp.ClientSession], Awaitable[None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world("http", proxies.connect, tmp_path, monkeypatch) as there:
        monkeypatch.delenv("SSL_CERT_FILE")
        async with slack_session() as session:
            with pytest.raises((SlackUnreachable, OmniUnreachable, aiohttp.ClientConnectorError)):
                await kind(there, session)
        assert there.asked == []
