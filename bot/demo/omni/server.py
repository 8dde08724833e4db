"""A simulated Omni: its API on loopback, with its rate limit, failures, and a record of all requests."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.demo.faults import Fault, Faults, Unanswered, meet
from bot.demo.omni.api import Api, problem
from bot.demo.omni.state import OmniWorld
from bot.demo.omni.webhooks import Webhooks

WINDOW_SECONDS = 60.0
SUBMIT = "POST /api/v1/ai/jobs"
CANCEL = "POST /api/v1/ai/jobs/*/cancel"
"""The names of requests that change something, for `faults.plan`."""
CONCURRENT_CHANGE = Fault("status", 409, '{"detail": "Concurrent modification conflict", "status": 409}')
"""Omni's response to a cancel during a concurrent change of the job."""
TAKEN_YET_504 = Fault("status_after", 504, "<html><body>504 Gateway Time-out</body></html>", "text/html")
"""Response of a gateway that timed out while Omni did the work."""
_CHAT_PAGE = (Path(__file__).parents[1] / "static" / "chat.html").read_text("utf-8")


@dataclass(slots=True)
class Request:
    """One request as it came in. `status` is what was answered; None while unanswered and if dropped."""

    at: float
    method: str
    path: str
    status: int | None = None


class SimulatedOmni(OmniWorld):
    """Omni for one organisation.

    Use as an async context manager; `base_url` is known from then on.

    Args:
        requests_per_minute: above it, requests are answered 429. Source: docs.omni.co/api/rate-limits,
            60 per key.
        retry_after: seconds to send as `Retry-After` with a 429; Omni documents none.
    """

    def __init__(
        self,
        *,
        requests_per_minute: int = 60,
        now: Callable[[], float] = time.time,
        api_key: str = "omni_osk_demo_0123456789abcdef",
        port: int = 0,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(api_key, now)
        self.faults = Faults()
        self.requests: list[Request] = []
        """Every request to the API; people's visits to chat pages are not among them."""
        self.webhooks = Webhooks(now)
        """Omni's webhooks about jobs that requested them."""
        self.hooked = self.webhooks.hook
        self.unknown: list[str] = []
        """Requests that lead nowhere, by method and path: what the bot asks of Omni and is not simulated."""
        self.answered_429 = 0
        self.requests_per_minute = requests_per_minute
        self.retry_after = retry_after
        self._api = Api(self)
        self._port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen on loopback."""
        app = web.Application(middlewares=[self._gate])
        self._api.add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop listening and telling; what was recorded stays."""
        await self.webhooks.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # Recorded requests.

    def last_minute(self) -> int:
        """How many requests came in the last 60 s."""
        now = self.now()
        return sum(1 for request in self.requests if now - WINDOW_SECONDS < request.at <= now)

    def worst_minute(self) -> int:
        """The largest number of requests in any 60 s window, its start counted and its end not."""
        times = sorted(request.at for request in self.requests)
        worst = first = 0
        for last, at in enumerate(times):
            while at - times[first] >= WINDOW_SECONDS:
                first += 1
            worst = max(worst, last - first + 1)
        return worst

    # The API.

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/chat/"):
            return web.Response(text=_CHAT_PAGE, content_type="text/html")
        seen = Request(self.now(), request.method, request.path)
        self.requests.append(seen)
        if request.match_info.http_exception is not None:
            self.unknown.append(f"{seen.method} {seen.path}")
        # Refused requests count as well: Omni does not say, and this is the stricter reading.
        over_limit = self.last_minute() > self.requests_per_minute

        async def serve() -> web.StreamResponse:
            if over_limit:
                return self._too_many()
            return await self._api.serve(request, handler)

        response = await meet(self.faults.take(f"{request.method} {request.path}"), request, serve)
        if isinstance(response, Unanswered):
            return response
        seen.status = response.status
        self.answered_429 += response.status == 429
        return response

    def _too_many(self) -> web.Response:
        refusal = problem(429, "Too Many Requests")
        if self.retry_after is not None:
            refusal.headers["Retry-After"] = str(self.retry_after)
        return refusal
