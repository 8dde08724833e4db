"""An Omni client in front of a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from bot.demo.faults import Fault
from bot.demo.omni.server import SimulatedOmni
from bot.domain.jobs import JobId
from bot.domain.ports.metrics import NO_METRICS, Metrics
from bot.omni.client import OmniClient, omni_client
from bot.ratelimit import Rate, RateLimiter
from tests.support.fakes import FakeMeter

ID = JobId("550e8400-e29b-41d4-a716-446655440000")


class RecordingLedger:
    """Lets everything through and remembers the pauses. Set `error` to make every take fail."""

    def __init__(self) -> None:
        self.taken = 0
        self.pauses: list[float] = []
        self.error: Exception | None = None

    async def take(self, _budget: str, _rate: Rate, *, urgent: bool = True) -> float:
        if self.error is not None:
            raise self.error
        self.taken += 1
        return 0.0

    async def pause(self, _budget: str, _rate: Rate, seconds: float) -> None:
        self.pauses.append(seconds)


class World:
    """A simulated Omni and our client to it."""

    def __init__(
        self, service: SimulatedOmni, api: OmniClient, ledger: RecordingLedger, meter: FakeMeter | None = None
    ) -> None:
        self.service = service
        self.meter = meter or FakeMeter()
        self.api = api
        self.ledger = ledger

    def answers(
        self, status: int, body: str = "", content_type: str = "application/json", **headers: str
    ) -> None:
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        self.service.faults.plan(Fault("status", status, body, content_type, named))


@asynccontextmanager
async def client_to(
    base_url: str, token: str, ledger: RecordingLedger, metrics: Metrics = NO_METRICS
) -> AsyncIterator[OmniClient]:
    async with omni_client(base_url, token) as client:
        yield OmniClient(client, RateLimiter(ledger, "omni", Rate.within(60, burst=4)), Random(7), metrics)


class RawServer:
    """Says the same bytes to everybody, whole or drop by drop."""

    def __init__(self, answer: bytes, drop_seconds: float | None) -> None:
        self.url = ""
        self.heard = b""
        self._answer = answer
        self._drop_seconds = drop_seconds

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard = await reader.readuntil(b"\r\n\r\n")
        try:
            if self._drop_seconds is None:
                writer.write(self._answer)
            else:
                for drop in self._answer:
                    writer.write(bytes([drop]))
                    await writer.drain()
                    await asyncio.sleep(self._drop_seconds)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def raw_server(answer: bytes, *, drop_seconds: float | None = None) -> AsyncIterator[RawServer]:
    raw = RawServer(answer, drop_seconds)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    async with server:
        raw.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield raw


def coded(coding: str, body: bytes) -> bytes:
    """An answer whose body has that Content-Encoding."""
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


MANY = 20_000_000
