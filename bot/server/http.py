"""The HTTP server on `PORT`.

It may be reachable from the internet, so connections, headers, bodies and the time for each are limited.
"""

import asyncio
import hmac
import logging
import os
import resource
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import cast

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.typedefs import Handler

from bot.domain import PortTaken

log = structlog.get_logger()


LARGEST_BODY_BYTES = 1024**2
"""Of one request; a larger one gets 413. Slack's largest holds a view of 250 KB, which form encoding can triple.
A webhook of Omni's holds an answer; the bot polls for a longer one."""

LARGEST_BODIES_BYTES = 32 * 1024**2
"""Of all bodies being read at the same time. A request that would exceed it gets 503."""

LARGEST_HEADERS_BYTES = 64 * 1024
"""Of one request. A connection that sends more is aborted."""

HEADERS_WITHIN_SECONDS = 10.0
"""For the headers of a request to arrive."""

MOST_CONNECTIONS = 1_000
"""The most open connections, if the descriptor limit allows them."""

BUFFERED_BYTES = 16 * 1024
"""Of one body, before the sender has to wait."""

ENDS_WITHIN_SECONDS = 1.0
"""How long a request may delay the shutdown, and how long the rest of a refused body is read and dropped so that the
sender reads the response."""

_END_OF_HEADERS = b"\r\n\r\n"


class BodyRefused(Exception):
    """The body was not read. Respond with `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@asynccontextmanager
async def serve(host: str, port: int, routes: Iterable[web.RouteDef]) -> AsyncIterator[None]:
    """Serve the routes while the context lasts.

    Raises:
        PortTaken: the port can't be listened on; the message says why.
    """
    application = web.Application(client_max_size=LARGEST_BODY_BYTES, middlewares=[_track])
    application.add_routes(routes)
    runner = web.AppRunner(application, shutdown_timeout=ENDS_WITHIN_SECONDS)
    await runner.setup()
    connections = _Connections(most_connections(), cast(web.Server, runner.server))
    try:
        try:
            server = await asyncio.get_running_loop().create_server(connections.accept, host, port)
        except (OSError, UnicodeError) as error:
            raise PortTaken(f"{host}:{port}: {_reason(error)}") from error
        try:
            yield
        finally:
            server.close()
    finally:
        await runner.cleanup()


def most_connections() -> int:
    """Return half of the descriptor limit at most; the database, Slack and Omni need the rest."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if descriptors < 0 else min(MOST_CONNECTIONS, descriptors // 2)


def has_bearer_token(request: web.Request, token: str) -> bool:
    """Return whether the request carries that token. Takes the same time for every wrong one."""
    sent = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    return hmac.compare_digest(sent, f"Bearer {token}".encode())


async def read_body(
    request: web.Request, *, within_seconds: float, most_bytes: int = LARGEST_BODY_BYTES
) -> bytes:
    """Read the whole body of a request to `serve`.

    Raises:
        BodyRefused: with 408 if it does not arrive in time, 413 if it is too large, 503 if too much is being read, or
            400 if it is malformed or the sender hung up.
    """
    if (request.content_length or 0) > most_bytes:
        raise BodyRefused(413)
    connection = cast(_Connection, request.protocol)
    body = bytearray()
    connection.wait()
    try:
        async with asyncio.timeout(within_seconds):
            async for chunk in request.content.iter_any():
                body += chunk
                connection.all.bytes_being_read += len(chunk)
                if len(body) > most_bytes:
                    raise BodyRefused(413)
                if connection.all.bytes_being_read > LARGEST_BODIES_BYTES:
                    raise BodyRefused(503)
    except TimeoutError:
        raise BodyRefused(408) from None
    except (HttpProcessingError, web.RequestPayloadError, ConnectionError) as error:
        raise BodyRefused(400) from error
    finally:
        connection.all.bytes_being_read -= len(body)
        connection.work()
    return bytes(body)


@web.middleware
async def _track(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Mark the connection as busy during a request, and close it if the body was not read."""
    connection = cast(_Connection, request.protocol)
    connection.work()
    response: web.StreamResponse | None = None
    try:
        response = await handler(request)
        return response
    except web.HTTPException as error:
        response = error
        raise
    finally:
        is_read = request.content.is_eof()
        if response is not None and not is_read:
            response.force_close()
        connection.wait()
        connection.expect_headers(counted=is_read)


class _Connections:
    """All open connections. At the limit, a new one replaces the one that has waited longest."""

    def __init__(self, most: int, server: web.Server) -> None:
        self.open: set[_Connection] = set()
        self.waiting: dict[_Connection, None] = {}
        """The connections that wait for their client, longest first."""
        self.bytes_being_read = 0
        self._most = most
        self._server = server

    def accept(self) -> "_Connection":
        """Create the protocol of a new connection."""
        return _Connection(self, self._server)

    def admit(self, new: "_Connection") -> bool:
        """Make room for a new connection. Returns False if all are busy."""
        if len(self.open) >= self._most:
            oldest = next(iter(self.waiting), None)
            if oldest is None:
                return False
            oldest.abort()
        self.open.add(new)
        return True

    def forget(self, gone: "_Connection") -> None:
        """Remove a closed connection."""
        self.open.discard(gone)
        self.waiting.pop(gone, None)


class _Connection(web.RequestHandler):
    """A connection that enforces the limits above."""

    def __init__(self, connections: _Connections, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=cast(logging.Logger, None),
            logger=_QUIET,
            lingering_time=ENDS_WITHIN_SECONDS,
            read_bufsize=BUFFERED_BYTES,
            # Signatures cover the body as sent, and a small body must not inflate to a large one.
            auto_decompress=False,
        )
        self.all = connections
        self._socket: asyncio.Transport | None = None
        self._headers_bytes: int | None = None
        """Bytes received of the next request's headers; None while no headers are expected."""
        self._last_bytes = b""
        self._overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See the base class."""
        self._socket = cast(asyncio.Transport, transport)
        if not self.all.admit(self):
            self.abort()
            return
        super().connection_made(transport)
        self.wait()
        self.expect_headers(counted=True)
        self._start_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See the base class."""
        self.work()
        self.all.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See the base class."""
        if self._headers_bytes is not None and data:
            self._count_headers(data)
        super().data_received(data)

    def _count_headers(self, data: bytes) -> None:
        self._start_timer()
        if self._headers_bytes == 0:
            data = data.lstrip(b"\r\n")  # empty lines may precede a request
        if _END_OF_HEADERS in self._last_bytes + data:
            self._headers_bytes = None
            return
        self._last_bytes = (self._last_bytes + data)[1 - len(_END_OF_HEADERS) :]
        self._headers_bytes = (self._headers_bytes or 0) + len(data)
        if self._headers_bytes > LARGEST_HEADERS_BYTES:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self.all.forget(self)
        if self._socket is not None:
            self._socket.abort()

    def work(self) -> None:
        """Mark the connection as busy with a request."""
        self.all.waiting.pop(self, None)
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def wait(self) -> None:
        """Mark the connection as waiting for the client."""
        if self in self.all.open:
            self.all.waiting[self] = None

    def expect_headers(self, *, counted: bool) -> None:
        """Expect the next request's headers. `counted`: False if the rest of a body precedes them."""
        self._headers_bytes = 0 if counted else None
        self._last_bytes = b""

    def _start_timer(self) -> None:
        if self._overdue is None:
            loop = asyncio.get_running_loop()
            self._overdue = loop.call_later(HEADERS_WITHIN_SECONDS, self.abort)


def _is_bug(record: logging.LogRecord) -> bool:
    """Whether a log record is about a bug of the bot, not about a client that hung up or sent invalid HTTP."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionResetError):
        return True
    log.debug("request not read", error=type(error).__name__)
    return False


_QUIET = logging.getLogger("aiohttp.server")

_QUIET.addFilter(_is_bug)


def _reason(error: OSError | UnicodeError) -> str:
    """Return the system's error text; asyncio's repeats the address."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error)
