"""No request follows a redirect: tokens, keys and texts reach no other host."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.domain.cards import ChannelId, ChannelRef, TeamId
from bot.domain.credentials import OmniAccount
from bot.domain.errors import OmniError, SlackError
from bot.domain.messages import Message
from bot.domain.ports.metrics import NO_METRICS
from bot.omni.client import unmetered, verify_api_key
from bot.slack.messages import WebApiMessages, identify, send_bytes, slack_client, slack_session
from bot.slack.views import reply_to_response_url

CARD = Message("Top products: running")
HERE = ChannelRef(TeamId("T1"), ChannelId("C1"))


class Hosts:
    """One host that redirects, and the other one that must not be asked."""

    def __init__(self) -> None:
        self.status = 307
        self.asked = 0
        self.followed: list[str] = []
        self.url = self.other = ""

    async def redirect(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(status=self.status, headers={"Location": f"{self.other}/elsewhere"})

    async def follow(self, request: web.Request) -> web.Response:
        self.followed.append(str(request.url))
        return web.json_response({"ok": True})


@pytest.fixture
async def hosts() -> AsyncIterator[Hosts]:
    hosts = Hosts()
    servers = []
    for handler, host in ((hosts.redirect, "127.0.0.1"), (hosts.follow, "localhost")):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        servers.append(TestServer(app, host=host))
        await servers[-1].start_server()
    hosts.url, hosts.other = (str(server.make_url("")).rstrip("/") for server in servers)
    yield hosts
    for server in servers:
        await server.close()


async def call_web_api(url: str) -> None:
    async with slack_session() as session:
        await identify(slack_client("xoxb-secret", f"{url}/api/", session))


async def post_message(url: str) -> None:
    async with slack_session() as session:
        messages = WebApiMessages(slack_client("xoxb-secret", f"{url}/api/", session))
        await messages.post(HERE, CARD, mark="mark")


async def reply_privately(url: str) -> None:
    async with slack_session() as session:
        await reply_to_response_url(session, NO_METRICS, f"{url}/response", CARD)


async def send_file(url: str) -> None:
    async with slack_session() as session:
        await send_bytes(session, f"{url}/upload", b"content")


async def ask_omni(url: str) -> None:
    async with unmetered(OmniAccount(url, "omni_osk_secret", 60)) as omni:
        await verify_api_key(omni)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("request_to", [call_web_api, post_message, reply_privately, send_file, ask_omni])
async def test_redirect_is_not_followed(
    hosts: Hosts, request_to: Callable[[str], Awaitable[None]], status: int
) -> None:
    hosts.status = status
    with pytest.raises((SlackError, OmniError)):
        await request_to(hosts.url)
    assert (hosts.asked, hosts.followed) == (1, [])


async def test_redirected_reply_can_be_sent_another_way(hosts: Hosts) -> None:
    with pytest.raises(SlackError) as caught:
        await reply_privately(hosts.url)
    assert type(caught.value) is SlackError, "the reply then uses the Web API"
