"""The network between the bot and the two services, with delays and failures."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.simulation.loop import Process, SimulatedLoop, current_process
from tests.simulation.trace import Trace


@dataclass(frozen=True, slots=True)
class Answer:
    """Response of a service."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
NO_ROUTE = Answer(404, b'{"message":"no Route matched with those values"}')
"""The answer of a gateway that has lost the way to the service behind it."""


@dataclass(frozen=True, slots=True)
class Fate:
    """Outcomes of a request.

    - "ok": it is answered.
    - "busy": 429 after so many `seconds`, and nothing is done.
    - "refused": no connection.
    - "reset": dropped on its way there.
    - "reset_after": done, and dropped on its way back.
    - "down", "down_after": a page with 502 in the place of its answer, before or after it is done.
    - "nonsense": a page with 200, and nothing is done.
    - "slow": done and answered `seconds` later than usual.
    - "late": done, and answered when nobody waits any more.
    - "gone": 404 as if there were no such job.
    - "gateway": 404 of a gateway in front of the service, which sees nothing of the request.
    """

    kind: str
    seconds: float = 0.0


OK = Fate("ok")


@dataclass(eq=False, slots=True)
class Exchange:
    """A request and its outcome."""

    at: float
    """When it left the bot."""
    process: Process | None
    service: str
    """"slack", "omni" or "whisper"."""
    name: str
    args: dict[str, Any]
    fate: Fate
    future: asyncio.Future[Answer]
    is_lost: bool = False
    held_until: float = 0.0
    """Before that it does not arrive; 0: it is not held."""
    arrived_at: float | None = None
    done: bool = False
    """Whether the service did it."""
    outcome: str = ""
    """The service's word for what it did or why it did not; the ts of what was posted."""
    status: int | None = None
    answered_at: float | None = None
    """When a living process got an answer that says what became of the request."""


class Unreachable(Exception):
    """The connection broke, or there was none. `certain`: nothing was sent."""

    def __init__(self, *, certain: bool) -> None:
        super().__init__(certain)
        self.certain = certain


class Wire:
    """Carries requests."""

    def __init__(
        self, loop: SimulatedLoop, random: Random, trace: Trace, fate: Callable[[str, str], Fate]
    ) -> None:
        self._loop = loop
        self._random = random
        self._trace = trace
        self._fate = fate
        self.log: list[Exchange] = []
        self._open: dict[Exchange, Callable[[Exchange], Answer]] = {}
        self.happened: Callable[[str, Exchange], None] = lambda _what, _exchange: None
        """Called when a request leaves, arrives or has been answered."""

    async def ask(
        self, service: str, name: str, args: dict[str, Any], serve: Callable[[Exchange], Answer]
    ) -> Answer:
        """Send a request and wait for its answer. Raises Unreachable."""
        fate = self._fate(service, name)
        exchange = Exchange(
            self._loop.time(), current_process(), service, name, args, fate, self._loop.create_future()
        )
        self.log.append(exchange)
        self._note(exchange, "->")
        self._open[exchange] = serve
        self.happened("left", exchange)
        if fate.kind == "refused":
            del self._open[exchange]
            await asyncio.sleep(0.01)
            raise Unreachable(certain=True)
        delay = self._random.uniform(0.005, 0.15) + (fate.seconds if fate.kind == "slow" else 0.0)
        self._loop.in_world(delay, lambda: self._arrive(exchange))
        answer = await exchange.future
        if answer.status == 0:
            raise Unreachable(certain=False)
        return answer

    def cut(self, process: Process) -> None:
        """A process has died: what it had sent may or may not have arrived."""
        for exchange in [e for e in self._open if e.process is process]:
            if self._random.random() < 0.5 and exchange.held_until <= self._loop.time():
                self._arrive(exchange)
            exchange.is_lost = True

    def hold(self, process: Process, seconds: float) -> None:
        """A process stands still, and what it has sent may lie about as long, as where its whole machine does."""
        for exchange in [e for e in self._open if e.process is process and e.name == "chat.update"]:
            if self._random.random() < 0.5 and not exchange.held_until:
                exchange.held_until = self._loop.time() + self._random.uniform(0.0, seconds)

    def release(self, process: Process) -> None:
        """It goes on, and so does what it has sent."""
        for exchange in [e for e in self._open if e.process is process and e.held_until]:
            exchange.held_until = self._loop.time()
            self._arrive(exchange)

    def _arrive(self, exchange: Exchange) -> None:
        if exchange.held_until > self._loop.time():
            self._loop.at_in_world(exchange.held_until, lambda: self._arrive(exchange))
            return
        serve = self._open.pop(exchange, None)
        if serve is None or exchange.is_lost:
            return
        if exchange.future.cancelled() and self._random.random() < 0.5:
            return
        exchange.arrived_at = self._loop.time()
        answer = self._met(exchange, serve)
        exchange.status = answer.status or None
        self._note(exchange, "<-")
        self.happened("arrived", exchange)
        delay = self._random.uniform(0.005, 0.15) + (30.0 if exchange.fate.kind == "late" else 0.0)
        self._loop.in_world(delay, lambda: self._deliver(exchange, answer))

    def _met(self, exchange: Exchange, serve: Callable[[Exchange], Answer]) -> Answer:
        match exchange.fate.kind:
            case "busy":
                headers = {"Retry-After": str(round(exchange.fate.seconds))}
                return Answer(429, b'{"ok":false,"error":"ratelimited"}', headers)
            case "reset":
                return Answer(0, b"")
            case "down":
                return Answer(502, HTML, content_type="text/html")
            case "nonsense":
                return Answer(200, HTML, content_type="text/html")
            case "gone":
                return Answer(404, b'{"detail":"Job not found","status":404}')
            case "gateway":
                return NO_ROUTE
            case "reset_after":
                serve(exchange)
                return Answer(0, b"")
            case "down_after":
                serve(exchange)
                return Answer(502, HTML, content_type="text/html")
            case _:
                return serve(exchange)

    def _deliver(self, exchange: Exchange, answer: Answer) -> None:
        if exchange.future.done() or exchange.process is None or not exchange.process.is_alive:
            return
        is_answer = answer.status and exchange.fate.kind not in ("down", "down_after", "nonsense")
        exchange.answered_at = self._loop.time() if is_answer else None
        exchange.future.set_result(answer)
        self.happened("answered", exchange)

    def _note(self, exchange: Exchange, arrow: str) -> None:
        who = exchange.process.name if exchange.process else "?"
        where = " ".join(
            str(exchange.args[k]) for k in ("channel", "ts", "thread_ts") if exchange.args.get(k)
        )
        if arrow == "->":
            fate = "" if exchange.fate is OK else f" [{exchange.fate.kind} {exchange.fate.seconds:g}]"
            text = f" {exchange.args['text'][:70]!r}" if exchange.args.get("text") else ""
            self._trace.note(who, f"-> {exchange.name} {where}{text}{fate}")
        else:
            status = exchange.status or "reset"
            self._trace.note(who, f"<- {exchange.name} {where} {status} {exchange.outcome}")
