"""The demo's web page: its files, its live events (Server-Sent Events) and what a visitor does (POST)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.demo.scene import Refused, Scene

PULSE_SECONDS = 1.0
PORTS_TRIED = 50
_FOLDER = Path(__file__).parent / "static"
_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/card.css": ("card.css", "text/css"),
    "/data.css": ("data.css", "text/css"),
    "/surfaces.css": ("surfaces.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/dom.js": ("dom.js", "text/javascript"),
    "/words.js": ("words.js", "text/javascript"),
    "/blocks.js": ("blocks.js", "text/javascript"),
    "/data.js": ("data.js", "text/javascript"),
    "/files.js": ("files.js", "text/javascript"),
    "/channel.js": ("channel.js", "text/javascript"),
    "/gauges.js": ("gauges.js", "text/javascript"),
    "/composer.js": ("composer.js", "text/javascript"),
    "/sidebar.js": ("sidebar.js", "text/javascript"),
    "/inputs.js": ("inputs.js", "text/javascript"),
    "/modal.js": ("modal.js", "text/javascript"),
    "/home.js": ("home.js", "text/javascript"),
    "/confirm.js": ("confirm.js", "text/javascript"),
    "/menu.js": ("menu.js", "text/javascript"),
    "/reply.js": ("reply.js", "text/javascript"),
    "/theme.js": ("theme.js", "text/javascript"),
}
_HEADERS = {
    # No inline script, no foreign source, and no way to turn a string into HTML.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data: http://127.0.0.1:*; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Deed = Callable[[dict[str, str]], Awaitable[Any]]


class Page:
    """Serves a scene on loopback. An async context manager; `url` is known from then on.

    Args:
        scene: what is shown.
        port: the wanted port; the next free one is taken. 0: any.

    Raises:
        OSError: on entering, when none of the ports tried is free.
    """

    def __init__(self, scene: Scene, port: int = 8000) -> None:
        self.url = ""
        self._scene = scene
        self._port = port
        self._runner: web.AppRunner | None = None
        self._streams: set[asyncio.Task[Any]] = set()
        visit = scene.visit
        self._deeds: dict[str, Deed] = {
            "type": lambda a: scene.type(a["user"], a["channel"], a["text"], a.get("thread", "")),
            "click": lambda a: scene.click(a["user"], a["channel"], a["ts"], a["action_id"]),
            "shortcut": lambda a: visit.shortcut(a["user"], a["callback_id"]),
            "message_shortcut": lambda a: visit.message_shortcut(
                a["user"], a["channel"], a["ts"], a["callback_id"]
            ),
            "open_home": lambda a: visit.open_home(a["user"]),
            "press": lambda a: visit.press(a["user"], a["on"], a["action_id"], a["value"]),
            "enter": lambda a: visit.enter(a["user"], a["on"], a["values"]),
            "suggest": lambda a: visit.suggest(a["user"], a["action_id"], a["query"]),
            "submit": lambda a: visit.submit(a["user"], a["values"]),
            "close_view": lambda a: visit.close(a["user"]),
            "delete": lambda a: scene.delete(a["user"], a["channel"], a["ts"]),
            "sample": lambda a: scene.try_sample(a["key"], a["user"], a["channel"]),
            "omni": lambda a: scene.trouble_omni(a["trouble"]),
            "slack": lambda a: scene.trouble_slack(a["trouble"]),
            "kill": lambda _: scene.kill_bot(),
            "start": lambda _: scene.start_bot(),
        }

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._guard], client_max_size=256 * 1024)
        for path in _FILES:
            app.router.add_get(path, self._file)
        app.router.add_get("/events", self._events)
        app.router.add_post("/do", self._do)
        app.on_shutdown.append(self._end_streams)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await self._listen(self._runner)
        except OSError:
            await self._runner.cleanup()
            raise
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> None:
        last = self._port if self._port == 0 else min(self._port + PORTS_TRIED - 1, 65_535)
        for port in range(self._port, last + 1):
            try:
                await web.TCPSite(runner, "127.0.0.1", port).start()
            except OSError:
                if port == last:
                    raise
            else:
                return

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer only this machine's own page: no rebound name, no other site's form or script."""
        own = self.url.removeprefix("http://")
        hosts = {own, own.replace("127.0.0.1", "localhost")}
        if request.host not in hosts:
            return web.Response(status=403, text="This page answers only to its own address.")
        if request.method == "POST":
            same_origin = request.headers.get("Origin") == f"http://{request.host}"
            if not same_origin or request.content_type != "application/json":
                return web.Response(status=403, text="Only the page itself may do that.")
        try:
            response = await handler(request)
        except web.HTTPException as refusal:
            response = web.Response(status=refusal.status, text=refusal.reason)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    async def _file(self, request: web.Request) -> web.Response:
        name, kind = _FILES[request.path]
        return web.Response(text=(_FOLDER / name).read_text("utf-8"), content_type=kind)

    async def _do(self, request: web.Request) -> web.Response:
        try:
            asked = await request.json()
            deed = self._deeds[asked["do"]]
            result = await deed({key: str(value) for key, value in asked.items()})
        except (ValueError, KeyError, TypeError):
            return web.json_response({"error": "The page asked for something unknown."}, status=400)
        except Refused as refusal:
            return web.json_response({"error": str(refusal)}, status=409)
        return web.json_response({"result": result})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        response = web.StreamResponse(headers=_HEADERS | {"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            await self._stream(response)
        except (asyncio.CancelledError, ConnectionError):
            pass  # The visitor left, or the demo ends.
        finally:
            self._streams.discard(task)
        return response

    async def _stream(self, response: web.StreamResponse) -> None:
        with self._scene.events() as queue:
            await _send(response, self._scene.snapshot())
            clock = asyncio.get_running_loop().time
            pulse_at = clock() + PULSE_SECONDS
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), max(0.0, pulse_at - clock()))
                except TimeoutError:
                    event = self._scene.pulse()
                    pulse_at = clock() + PULSE_SECONDS
                if event["kind"] == "lost":
                    return
                await _send(response, event)

    async def _end_streams(self, _: web.Application) -> None:
        for task in self._streams:
            task.cancel()


async def _send(response: web.StreamResponse, event: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
