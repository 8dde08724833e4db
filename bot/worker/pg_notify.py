"""Message bus between the processes of one PostgreSQL, by LISTEN and NOTIFY. Any message may be lost."""

import asyncio
import json
from collections.abc import Callable, Mapping
from secrets import token_hex

import psycopg
import structlog

from bot.domain import StoreUnavailable
from bot.tasks import backoff_seconds, run_together
from bot.worker.heartbeats import SHOW_NUMBER, SHOWN_NUMBERS
from bot.worker.pg import Pool, conninfo, reason

log = structlog.get_logger()

CHANNEL = "omni_job_bot"
MOST_WAITING = 10_000
"""How many messages may wait to be sent; further ones are dropped."""
SENT_WITHIN_SECONDS = 5.0
FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 10.0
PROBES_AFTER_SECONDS = 30.0
"""After how long a silence the connection is checked."""
SHOW = "show"
"""Topic of a message that a process sends to itself when it has a new number to show."""

Words = Mapping[str, str]


class PgNotify:
    """`MessageBus` between processes. A message arrives within milliseconds, or never."""

    def __init__(self, url: str, pool: Pool) -> None:
        """`url`: of the database, for the connection that listens; `pool`: for sending."""
        self._conninfo = conninfo(url)
        self._pool = pool
        self._own_name = token_hex(8)
        self._numbers: dict[int, int] = {}
        self._subscribers: dict[str, Callable[[Words], None]] = {}
        self._on_reconnect: list[Callable[[], None]] = []
        self.listening = asyncio.Event()
        """Set while the connection listens."""
        self._outbox: asyncio.Queue[tuple[str, asyncio.Future[None]]] = asyncio.Queue(MOST_WAITING)

    def subscribe(self, topic: str, hear: Callable[[Words], None]) -> None:
        """See `MessageBus.subscribe`."""
        self._subscribers[topic] = hear

    def on_reconnect(self, look: Callable[[], None]) -> None:
        """See `MessageBus.on_reconnect`."""
        self._on_reconnect.append(look)

    def publish(self, topic: str, **words: str) -> asyncio.Future[None]:
        """See `MessageBus.publish`."""
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        payload = json.dumps({"from": self._own_name, "topic": topic, **words})
        try:
            self._outbox.put_nowait((payload, sent))
        except asyncio.QueueFull:
            log.warning("message lost", topic=topic)
            sent.set_result(None)
        return sent

    def hold(self, kind: int, number: int) -> None:
        """See `Peers.hold`: show a number to the other processes as long as the listening connection lasts."""
        self._numbers[kind] = number
        self.publish(SHOW)  # received by our own listener, which then takes the lock

    async def held(self, kind: int) -> set[int]:
        """See `Peers.held`."""
        try:
            async with asyncio.timeout(SENT_WITHIN_SECONDS), self._pool.connection() as connection:
                shown = await connection.execute(SHOWN_NUMBERS, [kind])
                return {number for (number,) in await shown.fetchall()}
        except (psycopg.Error, TimeoutError) as error:
            raise StoreUnavailable(reason(error)) from error

    async def run(self) -> None:
        """Listen and send, until cancelled."""
        listening = asyncio.create_task(self._listen(), name="listen")
        sending = asyncio.create_task(self._send(), name="notify")
        await run_together([listening, sending])

    async def _send(self) -> None:
        while True:
            waiting = [await self._outbox.get()]
            while not self._outbox.empty():
                waiting.append(self._outbox.get_nowait())
            try:
                await self._send_all([payload for payload, _ in waiting])
            except (psycopg.Error, TimeoutError) as error:
                log.warning("messages lost", messages=len(waiting), reason=reason(error))
            finally:
                for _, sent in waiting:
                    if not sent.done():
                        sent.set_result(None)

    async def _send_all(self, payloads: list[str]) -> None:
        async with asyncio.timeout(SENT_WITHIN_SECONDS), self._pool.connection() as connection:
            await connection.execute(
                "SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS payload", [CHANNEL, payloads]
            )

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._conninfo, autocommit=True
                ) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    # Earlier messages were missed, at the start as after a lost connection.
                    for look in self._on_reconnect:
                        look()
                    self.listening.set()
                    failures = 0
                    await self._receive_all(connection)
            except (psycopg.Error, TimeoutError) as error:
                log.warning("not listening", reason=reason(error), again_in_seconds=_pause_seconds(failures))
            finally:
                self.listening.clear()
            await asyncio.sleep(_pause_seconds(failures))
            failures += 1

    async def _receive_all(self, connection: psycopg.AsyncConnection) -> None:
        """Receive messages until the connection is lost."""
        shown: dict[int, int] = {}
        is_silent = False
        while True:
            async with asyncio.timeout(SENT_WITHIN_SECONDS):
                for kind, number in self._numbers.items() - shown.items():
                    await connection.execute(SHOW_NUMBER, (kind, number))
                    shown[kind] = number
                if is_silent:
                    await connection.execute("SELECT 1")
            is_silent = True
            # Stops after each batch: a connection runs no query while it listens.
            async for notify in connection.notifies(timeout=PROBES_AFTER_SECONDS, stop_after=1):
                is_silent = False
                self._receive(notify.payload)

    def _receive(self, payload: str) -> None:
        try:
            words = json.loads(payload)
            sender, topic = words.pop("from"), words.pop("topic")
        except (ValueError, LookupError, TypeError, AttributeError):
            log.warning("message not understood")
            return
        hear = self._subscribers.get(topic)
        if sender == self._own_name or hear is None:
            return
        try:
            hear(words)
        except Exception:
            # A defect, which must not stop the other messages.
            log.exception("message not handled", topic=topic)


def _pause_seconds(failures: int) -> float:
    return backoff_seconds(failures, first=FIRST_BACK_OFF_SECONDS, longest=LONGEST_BACK_OFF_SECONDS)
