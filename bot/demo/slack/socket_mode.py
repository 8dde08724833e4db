"""Slack's side of Socket Mode: tickets, connections, envelopes and their acknowledgements.

Source: docs.slack.dev/apis/events-api/using-socket-mode.
"""

import asyncio
import contextlib
import json
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

CONNECTIONS_MOST = 10
"""Open connections of one app; a further one is sent away with `too_many_websockets`."""
ACK_SECONDS = 3.0
"""How long a person's action waits for its acknowledgement.
Source: docs.slack.dev/interactivity/handling-user-interaction."""
EVENT_RETRY_SECONDS = (0.0, 60.0, 300.0)
"""When an unacknowledged event is sent again: at once, after a minute, after five more.
Source: docs.slack.dev/apis/events-api (retries); for Socket Mode only the envelope's `retry_attempt` is documented."""
_CLOSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Acknowledgement of an envelope. `payload` is the body of the response, if any."""

    acked: bool
    payload: dict[str, Any] | None
    seconds: float


class _Connection:
    """One open socket, and how it ends."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self.socket = socket
        self.transport = transport
        self.over = asyncio.Event()

    async def send(self, body: dict[str, Any]) -> None:
        # A connection that breaks under an envelope loses it, as it would with Slack.
        with contextlib.suppress(ConnectionError):
            await self.socket.send_json(body)

    async def send_away(self, reason: str, leave_seconds: float) -> None:
        await self.send({"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-demo"}})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), leave_seconds)
        await self.socket.close()


class SocketMode:
    """The connections that one app holds."""

    def __init__(self, app: str, changed: Callable[[], None]) -> None:
        self.ack_seconds = ACK_SECONDS
        self.leave_seconds = 1.0
        """How long an announced end waits for the client to close first; Slack gives about 10."""
        self.retry_seconds = EVENT_RETRY_SECONDS
        self.answers_pings = True
        """False: connections from now on are silent, as where a network has lost them without a word."""
        self.acks: list[dict[str, Any]] = []
        """Every acknowledgement that came, also late, doubled and unknown ones."""
        self._app = app
        self._changed = changed
        self._tickets: set[str] = set()
        self._open: list[_Connection] = []
        self._turn = 0
        self._waiting: dict[str, asyncio.Future[dict[str, Any] | None]] = {}

    @property
    def connections(self) -> int:
        """How many sockets are open now."""
        return len(self._open)

    def ticket(self) -> str:
        """A new ticket, good for one connection."""
        ticket = secrets.token_urlsafe(16)
        self._tickets.add(ticket)
        return ticket

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Hold one connection until either side ends it."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=403, text="the ticket is not good, or no longer")
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse(timeout=_CLOSE_SECONDS, autoping=self.answers_pings)
        await socket.prepare(request)
        connection = _Connection(socket, request.transport)
        if len(self._open) >= CONNECTIONS_MOST:
            await connection.send_away("too_many_websockets", 0.0)
            return socket
        self._open.append(connection)
        try:
            await connection.send(self._hello())
            self._changed()
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._receive(message.data)
        finally:
            connection.over.set()
            self._forget(connection)
        return socket

    def _hello(self) -> dict[str, Any]:
        return {
            "type": "hello",
            "num_connections": len(self._open),
            "connection_info": {"app_id": self._app},
            "debug_info": {"host": "applink-demo", "build_number": 1, "approximate_connection_time": 18060},
        }

    def _receive(self, data: str) -> None:
        ack = json.loads(data)
        self.acks.append(ack)
        self._changed()
        waiting = self._waiting.pop(ack.get("envelope_id"), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(ack.get("payload"))

    def _forget(self, connection: _Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)
            self._changed()

    async def deliver_event(
        self, payload: dict[str, Any], *, times: int = 1, attempt: int = 0
    ) -> Acknowledgement:
        """Send an event as `deliver` does; `attempt` counts earlier unacknowledged deliveries."""
        retry = {"retry_attempt": attempt, "retry_reason": "timeout" if attempt else ""}
        return await self.deliver("events_api", payload, answerable=False, times=times, more=retry)

    async def deliver_again(self, payload: dict[str, Any]) -> None:
        """Repeat an event until it is acknowledged, at most as often as Slack."""
        for attempt, seconds in enumerate(self.retry_seconds, start=1):
            await asyncio.sleep(seconds)
            if (await self.deliver_event(payload, attempt=attempt)).acked:
                return

    async def deliver(
        self,
        kind: str,
        payload: dict[str, Any],
        *,
        answerable: bool,
        times: int = 1,
        more: Mapping[str, Any] | None = None,
    ) -> Acknowledgement:
        """Send one envelope to one of the connections, `times` over, and wait for its first acknowledgement.

        Each delivery goes to exactly one connection, to any of them. Without one, there is no answer. `more`:
        additional fields of the envelope.
        """
        envelope_id = str(uuid.uuid4())
        envelope = {
            "envelope_id": envelope_id,
            "type": kind,
            "accepts_response_payload": answerable,
            "payload": payload,
            **(more or {}),
        }
        loop = asyncio.get_running_loop()
        began = loop.time()
        waiting: asyncio.Future[dict[str, Any] | None] = loop.create_future()
        self._waiting[envelope_id] = waiting
        try:
            if not self._open:
                return Acknowledgement(False, None, 0.0)
            for _ in range(times):
                await self._next().send(envelope)
            answer = await asyncio.wait_for(waiting, self.ack_seconds)
        except TimeoutError:
            return Acknowledgement(False, None, loop.time() - began)
        finally:
            self._waiting.pop(envelope_id, None)
        return Acknowledgement(True, answer, loop.time() - began)

    def _next(self) -> _Connection:
        self._turn += 1
        return self._open[self._turn % len(self._open)]

    async def disconnect(self, reason: str) -> None:
        """Announce the end of every open connection, give the client a moment to leave, and close it.

        None of them gets another envelope; what the client still says is heard.
        """
        leaving = list(self._open)
        for connection in leaving:
            self._forget(connection)
        await asyncio.gather(*(connection.send_away(reason, self.leave_seconds) for connection in leaving))

    def cut(self) -> None:
        """Break every open connection without a word, as a network does."""
        for connection in list(self._open):
            self._forget(connection)
            if connection.transport is not None:
                connection.transport.abort()

    async def close(self) -> None:
        """Close every open connection."""
        await asyncio.gather(*(connection.socket.close() for connection in list(self._open)))
