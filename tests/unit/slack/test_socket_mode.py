"""The Socket Mode connection: there as long as Slack is, and replaced when it ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient
from structlog.testing import capture_logs

from bot.demo.faults import HTML_500, RESET_BEFORE, Fault
from bot.demo.slack import socket_mode as simulated
from bot.demo.slack.simulator import SimulatedSlack, too_many_requests
from bot.domain.cards import TeamId
from bot.slack import socket_mode as module
from bot.slack.dispatch import Dispatcher
from bot.slack.messages import slack_client, slack_session
from bot.slack.socket_mode import SocketMode


@pytest.fixture(autouse=True)
def in_fast_motion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING_SECONDS", 0.2)
    monkeypatch.setattr(module, "STABLE_AFTER_SECONDS", 0.1)
    monkeypatch.setattr(module, "LONGEST_BACK_OFF_SECONDS", 0.2)


@pytest.fixture
async def slack() -> AsyncIterator[SimulatedSlack]:
    async with SimulatedSlack(limits=False) as slack:
        yield slack


def a_bolt_app(slack: SimulatedSlack, answers_after_seconds: float) -> AsyncApp:
    known = AuthorizeResult(
        enterprise_id=None, team_id=slack.team, bot_user_id=slack.bot_user, bot_token=slack.bot_token
    )

    async def authorize() -> AuthorizeResult:
        return known

    async def answer(ack: AsyncAck) -> None:
        await asyncio.sleep(answers_after_seconds)
        await ack("heard")

    app = AsyncApp(client=AsyncWebClient(base_url=slack.api_url), authorize=authorize)
    app.command("/omni-job")(answer)
    return app


@asynccontextmanager
async def a_socket(
    slack: SimulatedSlack, answers_after_seconds: float = 0.0
) -> AsyncIterator[tuple[SocketMode, asyncio.Task[None]]]:
    """A socket that is being kept open; cancelled on leaving."""
    async with slack_session() as session:
        client = slack_client(slack.app_token, slack.api_url, session)
        app = a_bolt_app(slack, answers_after_seconds)

        async def the_one(_team: TeamId) -> AsyncApp:
            return app

        socket = SocketMode(Dispatcher(the_one), client)
        running = asyncio.create_task(socket.run())
        try:
            yield socket, running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def connected(slack: SimulatedSlack, socket: SocketMode) -> None:
    async with asyncio.timeout(10.0):
        while not (slack.socket_mode.connections and socket.problem() is None):
            await asyncio.sleep(0.01)


async def hears(slack: SimulatedSlack) -> bool:
    acked = await slack.command("help", user="ada", channel="data-team")
    return acked.payload == {"text": "heard"}


async def test_a_connected_bot_hears_commands(slack: SimulatedSlack) -> None:
    async with a_socket(slack) as (socket, _):
        await connected(slack, socket)
        assert await hears(slack)
        assert slack.socket_mode.connections == 1


async def test_connection_exists_only_while_running(slack: SimulatedSlack) -> None:
    async with a_socket(slack) as (socket, running):
        assert socket.problem()
        await connected(slack, socket)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert socket.problem()
        await slack.until(lambda: slack.socket_mode.connections == 0)


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
async def test_closed_connection_is_replaced(slack: SimulatedSlack, reason: str) -> None:
    async with a_socket(slack) as (socket, _):
        await connected(slack, socket)
        await slack.disconnect(reason)
        await connected(slack, socket)
        assert await hears(slack)
        assert len(slack.calls("apps.connections.open")) == 2


async def test_broken_connection_is_replaced(slack: SimulatedSlack) -> None:
    async with a_socket(slack) as (socket, _):
        await connected(slack, socket)
        slack.socket_mode.cut()
        await connected(slack, socket)
        assert await hears(slack)


@pytest.mark.parametrize(
    "fault",
    [
        HTML_500,
        RESET_BEFORE,
        too_many_requests(1),
        Fault("status", 200, "not JSON", "text/plain"),
        Fault("status", 200, '{"ok": false, "error": "internal_error"}'),
    ],
    ids=["html", "reset", "too often", "text", "error"],
)
async def test_failed_connection_request_is_retried(slack: SimulatedSlack, fault: Fault) -> None:
    slack.faults.plan(fault, on="apps.connections.open", times=2)
    async with a_socket(slack) as (socket, _):
        await connected(slack, socket)
        assert await hears(slack)


def dead_tickets(slack: SimulatedSlack, monkeypatch: pytest.MonkeyPatch, *, n: int) -> None:
    """The next `n` tickets are not good when they are used, as if they had expired."""
    left = ["dead"] * n
    good: Callable[[], str] = slack.socket_mode.ticket
    monkeypatch.setattr(slack.socket_mode, "ticket", lambda: left.pop() if left else good())


async def test_expired_ticket_is_replaced(slack: SimulatedSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    dead_tickets(slack, monkeypatch, n=1)
    async with a_socket(slack) as (socket, _):
        await connected(slack, socket)
        assert await hears(slack)
    assert len(slack.calls("apps.connections.open")) == 2


async def test_stuck_reconnection_is_replaced(slack: SimulatedSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_socket(slack) as (socket, _):
        await connected(slack, socket)
        dead_tickets(slack, monkeypatch, n=1)
        slack.socket_mode.cut()
        await slack.until(lambda: len(slack.calls("apps.connections.open")) == 2)
        assert socket.problem()
        await connected(slack, socket)
        assert await hears(slack)
        assert slack.socket_mode.connections == 1


async def test_silent_connection_is_replaced(slack: SimulatedSlack) -> None:
    slack.socket_mode.answers_pings = False
    async with a_socket(slack) as (socket, _):
        await slack.connected()
        slack.socket_mode.answers_pings = True
        await slack.until(lambda: len(slack.calls("apps.connections.open")) >= 2)
        await connected(slack, socket)
        assert await hears(slack)


@pytest.mark.parametrize("after_seconds", [0.0, 0.05, 0.3, 0.7])
async def test_connecting_can_be_cancelled(slack: SimulatedSlack, after_seconds: float) -> None:
    slack.faults.plan(RESET_BEFORE, on="socket", times=None)
    async with a_socket(slack) as (socket, running):
        await asyncio.sleep(after_seconds)
        running.cancel()
        began = time.monotonic()
        await asyncio.gather(running, return_exceptions=True)
        assert time.monotonic() - began < module.CLOSE_WITHIN_SECONDS
        assert socket.problem()


async def test_connection_closed_at_once_backs_off(
    slack: SimulatedSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated, "CONNECTIONS_MOST", 0)
    with capture_logs() as logged:
        async with a_socket(slack) as (socket, _):
            await asyncio.sleep(1.0)
            assert 2 <= len(slack.calls("apps.connections.open")) <= 7
            assert socket.problem() == "not connected to Slack: too_many_websockets"
            monkeypatch.setattr(simulated, "CONNECTIONS_MOST", 1)
            await connected(slack, socket)
    ended = [line for line in logged if line["event"] == "socket ended"]
    assert {line["reason"] for line in ended} == {"too_many_websockets"}
    assert max(line["again_in_seconds"] for line in ended) == module.LONGEST_BACK_OFF_SECONDS


async def test_refused_app_token_is_the_problem(slack: SimulatedSlack) -> None:
    slack.faults.plan(Fault("status", 200, '{"ok": false, "error": "invalid_auth"}'), times=None)
    async with a_socket(slack) as (socket, _):
        await slack.until(lambda: len(slack.calls("apps.connections.open")) >= 2)
        assert socket.problem() == "not connected to Slack: invalid_auth"


async def test_acknowledgement_under_way_goes_out(slack: SimulatedSlack) -> None:
    async with a_socket(slack, answers_after_seconds=0.4) as (socket, _):
        await connected(slack, socket)
        hearing = asyncio.create_task(hears(slack))
        await asyncio.sleep(0.1)
        await slack.disconnect("refresh_requested")
        assert await hearing
        await connected(slack, socket)
