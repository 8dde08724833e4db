"""What the processes of one PostgreSQL tell each other, by LISTEN and NOTIFY. Any word may be lost."""

import asyncio
import json
from collections.abc import Callable, Mapping
from secrets import token_hex

import psycopg
import structlog

from bot.domain import StoreUnavailable
from bot.tasks import run_together
from bot.worker.heartbeats import SHOW_NUMBER, SHOW_THAT_SESSION_LASTS, SHOWN_NUMBERS
from bot.worker.pg import Pool, conninfo, reason

log = structlog.get_logger()

CHANNEL = "omni_job_bot"
MOST_WAITING = 10_000
"""How many words may wait to be sent; further ones are lost."""
SENT_WITHIN_SECONDS = 5.0
FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 10.0
PROBES_AFTER_SECONDS = 30.0
"""How long the connection may be silent before it is asked whether it still lives."""
SHOW = "show"
"""What a process tells itself when its worker has got another id."""

Words = Mapping[str, str]


class PgNotify:
    """A `MessageBus` between processes. Words reach the others within milliseconds, or never."""

    def __init__(self, url: str, pool: Pool) -> None:
        """`url`: of the database, for the one connection that listens; `pool`: what words are sent through."""
        self._conninfo = conninfo(url)
        self._pool = pool
        self._own_name = token_hex(8)
        self._worker: int | None = None
        self._numbers: list[tuple[int, int]] = []
        self._hearers: dict[str, Callable[[Words], None]] = {}
        self._lookers: list[Callable[[], None]] = []
        self.listening = asyncio.Event()
        """Set while the words of others are heard."""
        self._outbox: asyncio.Queue[tuple[str, asyncio.Future[None]]] = asyncio.Queue(MOST_WAITING)

    def subscribe(self, topic: str, hear: Callable[[Words], None]) -> None:
        """See `MessageBus.subscribe`."""
        self._hearers[topic] = hear

    def on_reconnect(self, look: Callable[[], None]) -> None:
        """See `MessageBus.on_reconnect`."""
        self._lookers.append(look)

    def publish(self, topic: str, **words: str) -> asyncio.Future[None]:
        """See `MessageBus.publish`."""
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        payload = json.dumps({"from": self._own_name, "topic": topic, **words})
        try:
            self._outbox.put_nowait((payload, sent))
        except asyncio.QueueFull:
            log.warning("word lost", topic=topic)
            sent.set_result(None)
        return sent

    def show(self, worker: int) -> None:
        """Let others see in the database, as long as the connection that listens lasts, that the process of this
        worker does (`heartbeats`)."""
        self._worker = worker
        self.publish(SHOW)  # comes back to the one who listens, who then sees to it

    def hold(self, kind: int, number: int) -> None:
        """Show the other processes a number, as long as the connection that listens lasts (`Peers.hold`)."""
        self._numbers.append((kind, number))
        self.publish(SHOW)

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
                log.warning("words lost", words=len(waiting), reason=reason(error))
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
        back_off = FIRST_BACK_OFF_SECONDS
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._conninfo, autocommit=True
                ) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    # Whatever was told before now was missed, at the start as after a loss.
                    for look in self._lookers:
                        look()
                    self.listening.set()
                    back_off = FIRST_BACK_OFF_SECONDS
                    await self._hear_all(connection)
            except (psycopg.Error, TimeoutError) as error:
                log.warning("not listening", reason=reason(error), again_in_seconds=back_off)
            finally:
                self.listening.clear()
            await asyncio.sleep(back_off)
            back_off = min(LONGEST_BACK_OFF_SECONDS, 2.0 * back_off)

    async def _hear_all(self, connection: psycopg.AsyncConnection) -> None:
        """Hear what comes, until the connection is lost."""
        shown: int | None = None
        n_shown = 0
        is_silent = False
        while True:
            async with asyncio.timeout(SENT_WITHIN_SECONDS):
                for number in self._numbers[n_shown:]:
                    await connection.execute(SHOW_NUMBER, number)
                    n_shown += 1
                if shown != self._worker:
                    shown = self._worker
                    await connection.execute(SHOW_THAT_SESSION_LASTS, [shown])
                elif is_silent:
                    await connection.execute("SELECT 1")
            is_silent = True
            # Stops after each batch: nothing can be asked on a connection while it listens.
            async for notify in connection.notifies(timeout=PROBES_AFTER_SECONDS, stop_after=1):
                is_silent = False
                self._hear(notify.payload)

    def _hear(self, payload: str) -> None:
        try:
            words = json.loads(payload)
            sender, topic = words.pop("from"), words.pop("topic")
        except (ValueError, LookupError, TypeError, AttributeError):
            log.warning("word not understood")
            return
        hear = self._hearers.get(topic)
        if sender == self._own_name or hear is None:
            return
        try:
            hear(words)
        except Exception:
            # A defect of ours, which must not cost what else is told.
            log.exception("word not taken in", topic=topic)
