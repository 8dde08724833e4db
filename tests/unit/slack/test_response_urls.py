"""What is told by a response_url: privately, counted, and told again only where it was not told."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.domain.errors import OutcomeUnknown, SlackBusy, SlackError, SlackUnreachable
from bot.domain.messages import Message
from bot.domain.ports.metrics import RequestOutcome
from bot.slack.views import METHOD, reply_to_response_url
from tests.support.fakes import FakeMeter

SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "For you alone."}}


class Address:
    """Where Slack takes an answer; it says what the test wants."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = "ok"
        self.hangs_up = False
        self.told: list[dict[str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.told.append(await request.json())
        if self.hangs_up and request.transport is not None:
            request.transport.close()
        return web.Response(status=self.status, headers=self.headers, text=self.body)


@pytest.fixture
def address() -> Address:
    return Address()


@pytest.fixture
async def url(address: Address) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/response", address.answer)
    server = TestServer(app)
    await server.start_server()
    yield str(server.make_url("/response"))
    await server.close()


async def told(url: str, message: Message) -> FakeMeter:
    meter = FakeMeter()
    async with aiohttp.ClientSession() as session:
        await reply_to_response_url(session, meter, url, message)
    return meter


async def not_told(url: str) -> tuple[SlackError, RequestOutcome]:
    meter = FakeMeter()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(SlackError) as caught:
            await reply_to_response_url(session, meter, url, Message("For you alone."))
    ((method, outcome),) = meter.slack_calls
    assert method == METHOD
    return caught.value, outcome


async def test_reply_is_ephemeral_and_keeps_original(url: str, address: Address) -> None:
    meter = await told(url, Message("For you alone.", (SECTION,)))
    assert address.told == [
        {
            "text": "For you alone.",
            "blocks": [SECTION],
            "response_type": "ephemeral",
            "replace_original": False,
        }
    ]
    assert meter.slack_calls == [(METHOD, RequestOutcome.OK)]


@pytest.mark.parametrize(
    ("status", "kind", "outcome"),
    [
        (404, SlackError, RequestOutcome.REFUSED),
        (429, SlackBusy, RequestOutcome.RATE_LIMITED),
        (502, SlackUnreachable, RequestOutcome.SERVER_ERROR),
    ],
)
async def test_refused_reply_is_raised_and_counted(
    url: str, address: Address, status: int, kind: type[SlackError], outcome: RequestOutcome
) -> None:
    address.status, address.headers = status, {"Retry-After": "7"}
    error, counted = await not_told(url)
    assert type(error) is kind and counted is outcome
    if isinstance(error, SlackBusy):
        assert error.retry_after_seconds == 7


async def test_html_page_counts_as_not_sent(url: str, address: Address) -> None:
    address.body = "\n<html><body>Please log in</body></html>"
    error, counted = await not_told(url)
    assert isinstance(error, SlackUnreachable) and counted is RequestOutcome.SERVER_ERROR


async def test_broken_connection_has_unknown_outcome(url: str, address: Address) -> None:
    address.hangs_up = True
    error, counted = await not_told(url)
    assert isinstance(error, OutcomeUnknown) and counted is RequestOutcome.UNANSWERED
    assert len(address.told) == 1


async def test_failed_connection_counts_as_not_sent(unused_tcp_port: int) -> None:
    error, counted = await not_told(f"http://127.0.0.1:{unused_tcp_port}/response")
    assert isinstance(error, SlackUnreachable) and counted is RequestOutcome.NOT_SENT
