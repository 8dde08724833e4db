"""Holds a Socket Mode connection to Slack, and replaces it when it ends.

Source: docs.slack.dev/apis/events-api/using-socket-mode. The SDK's own client reconnects without a pause, which floods
Slack when it closes each connection at once, and knows no NO_PROXY.
"""

import asyncio
import json
from collections.abc import Callable
from typing import cast

import aiohttp
import structlog
from slack_bolt.adapter.socket_mode.async_internals import run_async_bolt_app, send_async_response
from slack_bolt.async_app import AsyncApp
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import SlackBusy, SlackError
from bot.slack.dispatch import NOT_CONNECTED, QUIET, Dispatcher
from bot.slack.web_api import call, field, session_of
from bot.tasks import backoff_seconds, loop_time

log = structlog.get_logger()

PING_SECONDS = 15.0
"""A connection that does not answer a ping within half of this is replaced."""
CLOSE_WITHIN_SECONDS = 1.5
"""For the acknowledgements under way, and again for Slack's end of the connection."""
STABLE_AFTER_SECONDS = 10.0
"""A connection that ends sooner counts as a failure: the bot waits before it connects again."""
LONGEST_BACK_OFF_SECONDS = 30.0


class SocketMode:
    """The `EventSource` of Socket Mode."""

    def __init__(self, dispatch: Dispatcher, client: AsyncWebClient) -> None:
        """`client`: from `slack_client`, with the app token."""
        self._dispatch = dispatch
        self._client = client
        self._problem: str | None = NOT_CONNECTED

    def problem(self) -> str | None:
        """See `EventSource.problem`."""
        return self._problem

    async def run(self) -> None:
        """Stay connected until cancelled."""
        failures = 0
        try:
            while True:
                began, pause_seconds = loop_time(), 0.0
                try:
                    reason = await self._hold()
                except SlackError as error:
                    reason = error.code
                    pause_seconds = error.retry_after_seconds if isinstance(error, SlackBusy) else 0.0
                except (aiohttp.ClientError, OSError, ValueError) as error:
                    reason = type(error).__name__
                self._problem = f"{NOT_CONNECTED}: {reason}"
                failures = 0 if loop_time() - began >= STABLE_AFTER_SECONDS else failures + 1
                if failures:
                    pause_seconds = max(
                        pause_seconds, backoff_seconds(failures - 1, longest=LONGEST_BACK_OFF_SECONDS)
                    )
                log.warning("socket ended", reason=reason, again_in_seconds=pause_seconds)
                await asyncio.sleep(pause_seconds)
        finally:
            self._problem = NOT_CONNECTED

    async def _hold(self) -> str:
        """Connect, and receive until the connection ends. Returns why. Raises SlackError and aiohttp's errors."""
        socket = await connect(self._client)
        connection = _Connection(socket, self._dispatch)
        try:
            return await connection.receive(self._on_hello)
        finally:
            await connection.close()

    def _on_hello(self) -> None:
        self._problem = None
        log.info("socket connected")


async def connect(client: AsyncWebClient) -> aiohttp.ClientWebSocketResponse:
    """Open a connection with an app token. Raises SlackError and aiohttp's errors."""
    response = await call(lambda: client.apps_connections_open(app_token=str(client.token)))
    return await session_of(client).ws_connect(
        str(field(response, "url")),
        heartbeat=PING_SECONDS,
        timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_WITHIN_SECONDS),
    )


class _Connection:
    """One connection, and the requests that arrived over it."""

    logger = QUIET

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, dispatch: Dispatcher) -> None:
        self._socket = socket
        self._dispatch = dispatch
        self._under_way: set[asyncio.Task[None]] = set()

    async def receive(self, on_hello: Callable[[], None]) -> str:
        """Receive until the connection ends or Slack announces its end. Returns the reason."""
        async for message in self._socket:
            envelope = json.loads(message.data) if message.type is aiohttp.WSMsgType.TEXT else {}
            match envelope.get("type"):
                case "hello":
                    on_hello()
                case "disconnect":
                    return str(envelope.get("reason"))
            request = SocketModeRequest.from_dict(envelope)
            if request is not None:
                task = asyncio.create_task(self._answer(request))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
        return f"closed with {self._socket.close_code}"

    async def _answer(self, request: SocketModeRequest) -> None:
        try:
            # Bolt's functions use only `async_dispatch` of an app, and of a client what is defined here.
            response = await run_async_bolt_app(cast(AsyncApp, self._dispatch), request)
            await send_async_response(cast(AsyncBaseSocketModeClient, self), request, response, 0.0)
        except ConnectionError as error:
            log.warning("acknowledgement lost", error=type(error).__name__)
        except Exception:
            log.exception("request broke")

    async def send_socket_mode_response(self, response: SocketModeResponse) -> None:
        """Acknowledge a request. For Bolt's `send_async_response`."""
        await self._socket.send_json(response.to_dict())

    async def close(self) -> None:
        """Let the acknowledgements under way go out, and close the connection. The work that they started goes on."""
        if self._under_way and not self._socket.closed:
            await asyncio.wait(self._under_way, timeout=CLOSE_WITHIN_SECONDS)
        await self._socket.close()
