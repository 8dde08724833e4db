"""The bot's own HTTP server, on `PORT`. What it answers is its callers' to say."""

import logging
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError

log = structlog.get_logger()

LARGEST_BODY_BYTES = 1024**2
"""Of a request; more is answered with 413. The largest that Slack sends holds a view of 250 KB, thrice that when it is
encoded for a form."""
ENDS_WITHIN_SECONDS = 1.0
"""How long a request that is being answered, or is still being sent, may hold up the end of the process."""


class PortTaken(Exception):
    """The port is taken, or not ours to listen on."""


@asynccontextmanager
async def serve(host: str, port: int, routes: Iterable[web.RouteDef]) -> AsyncIterator[None]:
    """Answer while the context lasts.

    Raises:
        PortTaken: the port can't be listened on; the message says why.
    """
    application = web.Application(client_max_size=LARGEST_BODY_BYTES)
    application.add_routes(routes)
    runner = web.AppRunner(
        application,
        access_log=None,
        shutdown_timeout=ENDS_WITHIN_SECONDS,
        # What is signed is the body as it was sent; and nobody shall have a small one grow large here.
        auto_decompress=False,
        logger=_QUIET,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except (OSError, UnicodeError) as error:
            raise PortTaken(f"{host}:{port}: {_reason(error)}") from error
        yield
    finally:
        await runner.cleanup()


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether it tells of a defect of ours. Anybody can send what is not HTTP, or hang up, as often as they like:
    neither that nor its bytes belong in the log."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionResetError):
        return True
    log.debug("request not read", error=type(error).__name__)
    return False


_QUIET = logging.getLogger("aiohttp.server")
_QUIET.addFilter(_is_ours)


def _reason(error: OSError | UnicodeError) -> str:
    """In the system's words; asyncio's own repeat the address."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error)
