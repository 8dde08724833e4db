"""`/metrics`: the figures for Prometheus, for whoever has the token."""

import hmac
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from bot.errors import StoreUnavailable
from bot.health import Health
from bot.metrics import CONTENT_TYPE, Metrics, Reading


class Exposition:
    """What `/metrics` answers. `read` and `count` are set once there is something to be read."""

    def __init__(self, token: str | None, metrics: Metrics, health: Health) -> None:
        """`token`: what has to be sent. None: there is no `/metrics`, since on the same port may be what all the
        internet reaches."""
        self.read: Callable[[], Awaitable[Sequence[Reading]]] = _nothing
        """How each workspace stands."""
        self.count: Callable[[], Awaitable[int | None]] = _not_known
        """How many jobs are to be followed in all processes. Raises StoreUnavailable."""
        self._token = token
        self._metrics = metrics
        self._health = health

    def routes(self) -> list[web.RouteDef]:
        """What Prometheus asks.

        - `/metrics`: 200 and the figures for `Authorization: Bearer METRICS_TOKEN`, else 401. Also while the bot is not
          ready: the figures say so.
        """
        if self._token is None:
            return []
        expected = f"Bearer {self._token}".encode()

        async def metrics(request: web.Request) -> web.Response:
            sent = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(sent, expected):
                return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"}, text="unauthorized\n")
            return web.Response(body=await self._text(), headers={"Content-Type": CONTENT_TYPE})

        return [web.get("/metrics", metrics)]

    async def _text(self) -> bytes:
        problems = await self._health.problems()
        try:
            everywhere = await self.count()
        except StoreUnavailable:
            everywhere = None
        return self._metrics.text(await self.read(), everywhere=everywhere, problems=problems)


async def _nothing() -> Sequence[Reading]:
    return ()


async def _not_known() -> None:
    return None
