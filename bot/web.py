"""Health over HTTP, for whatever restarts the bot: `/healthz` and `/readyz`."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Problem = Callable[[], Awaitable[str | None]]
"""Why the bot can't do its work right now, in a word or two; None if it can."""


class PortTaken(Exception):
    """The port is taken, or not ours to listen on."""


@asynccontextmanager
async def serve(host: str, port: int, problem: Problem) -> AsyncIterator[None]:
    """Answer while the context lasts.

    - `/healthz`: 200 as long as the event loop turns. Restart the process if it does not answer.
    - `/readyz`: 200 while Slack is connected and the database answers, else 503 and why. Restarting does not
      help against that.

    Raises:
        PortTaken: the port can't be listened on; the message says why.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        why_not = await problem()
        return web.Response(text=f"{why_not or 'ready'}\n", status=503 if why_not else 200)

    application = web.Application()
    application.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except (OSError, UnicodeError) as error:
            raise PortTaken(f"{host}:{port}: {_reason(error)}") from error
        yield
    finally:
        await runner.cleanup()


def _reason(error: OSError | UnicodeError) -> str:
    """In the system's words; asyncio's own repeat the address."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error)
