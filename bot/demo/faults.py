"""Ways for a simulated service to fail on demand: planned beforehand, met request by request."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Fault:
    """How one request goes wrong.

    - "status": answered with `status` and `body` before it takes effect.
    - "status_after": the same after it has taken effect.
    - "reset_before": the connection is dropped and nothing took effect.
    - "reset_after": the request takes effect, then the connection is dropped unanswered.
    - "delay": answered normally, `delay_seconds` later.
    """

    kind: Literal["status", "status_after", "reset_before", "reset_after", "delay"]
    status: int = 500
    body: str = ""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delay_seconds: float = 0.0


Serve = Callable[[], Awaitable[web.StreamResponse]]
"""Lets a request take effect; returns what is to be answered."""

Interference = Callable[[web.Request, Serve], Awaitable[web.StreamResponse]]
"""Anything else that a test does around one request, before and after its effect or in its place."""

HTML_500 = Fault("status", 500, "<html><body><h1>500 Internal Server Error</h1></body></html>", "text/html")
"""Response of a load balancer whose service is down."""

NO_ROUTE = Fault("status", 404, '{"message": "no Route matched with those values"}')
"""Response of a gateway (Kong) that has no route to the service. Not the service's own 404."""

RESET_BEFORE = Fault("reset_before")

RESET_AFTER = Fault("reset_after")


@dataclass(slots=True)
class _Plan:
    fault: Fault | Interference
    on: str
    skip: int
    times: int | None


class Faults:
    """The faults still to come, first planned first met."""

    def __init__(self) -> None:
        self._plans: list[_Plan] = []

    def plan(
        self, fault: Fault | Interference, *, on: str = "*", times: int | None = 1, skip: int = 0
    ) -> None:
        """Let the next `times` requests whose name matches `on` fail, after `skip` that don't.

        `on` is a shell pattern over the service's own name for a request: `chat.update`,
        `GET /api/v1/ai/jobs/*`. `times=None` means until `lift`.
        """
        self._plans.append(_Plan(fault, on, skip, times))

    def lift(self, on: str = "*") -> None:
        """Forget what was planned for names that match `on` (a pattern over the planned patterns)."""
        self._plans = [plan for plan in self._plans if not fnmatchcase(plan.on, on)]

    def take(self, name: str) -> Fault | Interference | None:
        """The fault that this request meets, if any; it is used up."""
        for plan in self._plans:
            if not fnmatchcase(name, plan.on):
                continue
            if plan.skip > 0:
                plan.skip -= 1
                continue
            if plan.times is not None:
                plan.times -= 1
                if plan.times == 0:
                    self._plans.remove(plan)
            return plan.fault
        return None


class Unanswered(web.Response):
    """The answer that goes nowhere: the connection is closed."""


def drop(request: web.Request) -> Unanswered:
    """Drop the connection that a request came on."""
    if request.transport is not None:
        request.transport.abort()
    return Unanswered()


async def meet(fault: Fault | Interference | None, request: web.Request, serve: Serve) -> web.StreamResponse:
    """Answer a request through a fault; None serves it as it is."""
    if fault is None:
        return await serve()
    if not isinstance(fault, Fault):
        return await fault(request, serve)
    if fault.kind == "status_after":
        await serve()
    if fault.kind in ("status", "status_after"):
        return web.Response(
            status=fault.status, text=fault.body, content_type=fault.content_type, headers=dict(fault.headers)
        )
    if fault.kind == "delay":
        await asyncio.sleep(fault.delay_seconds)
        return await serve()
    if fault.kind == "reset_after":
        await serve()
    return drop(request)


Event = dict[str, Any]

QUEUE_MOST = 1000


class Subscription:
    """The events from now on. Who reads too slowly loses the oldest ones."""

    def __init__(self, leave: Callable[["Subscription"], None]) -> None:
        self._events: asyncio.Queue[Event] = asyncio.Queue(QUEUE_MOST)
        self._leave = leave

    def put(self, event: Event) -> None:
        """Add an event; never waits."""
        if self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(event)

    async def get(self) -> Event:
        """The next event."""
        return await self._events.get()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Event:
        return await self._events.get()

    def close(self) -> None:
        """Take no more events."""
        self._leave(self)
