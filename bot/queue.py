"""Who runs the follows where several processes share one PostgreSQL: procrastinate's worker, in each of them.

An entry in the queue says that a job is to be followed. Whoever holds it follows the job in a task of its own and
gives the entry up when the follow has ended. So a follow goes on while the database is away, and a process that
dies, or is stopped, leaves entries behind that the others fetch.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from random import Random
from time import monotonic

import structlog
from procrastinate import App
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException

from bot.arrivals import Relay
from bot.beside import run_beside
from bot.entries import QUEUE, TASK, Entries
from bot.heartbeats import is_any_heart_beating
from bot.job import JobId
from bot.queueconnector import reason
from bot.runner import Follow, TaskRunner

log = structlog.get_logger()

MOST_FOLLOWS = 100_000
"""How many entries one process holds at the same time; procrastinate wants a number."""
RARELY_SECONDS = 86_400.0
"""How often what we do not use of procrastinate asks the database."""
LEAVES_WITHIN_SECONDS = 1.5
"""How long giving everything back may take at the end."""
FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 10.0
TRIES = 5
"""How often entries are added anew because another process was adding some of them at the same moment."""

CHANGED = "watches changed"
LEFT = "entries left"
"""What the processes tell each other: that a job's watches have changed, and that one of them has stopped."""


class QueueRunner:
    """A `Runner` for one of several processes on one PostgreSQL."""

    def __init__(self, follow: Follow, entries: Entries, relay: Relay, random: Random) -> None:
        self._here = TaskRunner(follow)
        self._entries = entries
        self._relay = relay
        self._random = random
        self._timing = entries.timing
        self._leaving: asyncio.Task[None] | None = None
        # It would log every job at every turn; what matters is said here.
        logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
        self._app = App(connector=entries.connector)
        self._app.job_manager = entries
        self._app.task(name=TASK, queue=QUEUE)(self._see_through)
        relay.on(CHANGED, self._hear_changed)
        relay.on(LEFT, self._hear_left)
        relay.on_gap(self._here.wake_all)

    async def start(self, job: JobId) -> None:
        """See `Runner.start`."""
        self._relay.tell(CHANGED, job=job)
        if self._here.wake(job):
            return
        # Also if another process follows the job, since that follow may be ending: then this entry is its successor.
        try:
            await self._entries.add([job], urgent=True)
        except AlreadyEnqueued:
            pass
        except ConnectorException as error:
            log.error("follow not queued", job=job, reason=reason(error))

    async def ensure(self, jobs: Sequence[JobId]) -> None:
        """See `Runner.ensure`."""
        for _ in range(TRIES):
            try:
                queued = await self._entries.queued_jobs()
                missing = [job for job in jobs if job not in queued]
                if missing:
                    await self._entries.add(missing)
                    log.info("follows queued", jobs=len(missing))
                return
            except AlreadyEnqueued:
                await asyncio.sleep(self._random.random())
            except ConnectorException as error:
                log.error("follows not queued", reason=reason(error))
                return
        log.warning("follows not queued", reason="others are at it")

    async def run(self) -> None:
        """See `Runner.run`: fetch entries, and take over those of dead processes."""
        working = asyncio.create_task(self._work(), name="queue worker")
        rescuing = asyncio.create_task(self._rescue(), name="queue rescue")
        await run_beside([working, rescuing])

    async def is_anybody_following(self) -> bool:
        """See `Runner.is_anybody_following`: whoever's heart has beaten lately fetches entries."""
        return await is_any_heart_beating(self._entries.connector, self._timing.stalled_after_seconds)

    async def stop(self) -> None:
        """See `Runner.stop`. The other processes take over at once."""
        self._entries.leave()
        await self._here.stop()
        # Not cancelled when it takes too long: the driver would need seconds to give up a silent connection.
        self._leaving = asyncio.create_task(self._leave(), name="queue leave")
        await asyncio.wait({self._leaving}, timeout=LEAVES_WITHIN_SECONDS)

    async def _leave(self) -> None:
        await self._entries.give_back_all()
        await self._relay.tell(LEFT)

    async def _see_through(self, job: str) -> None:
        """What procrastinate runs for an entry."""
        await self._here.see_through(JobId(job))

    async def _work(self) -> None:
        """Keep procrastinate's worker running; when it breaks off, others or the next one take its entries."""
        back_off = FIRST_BACK_OFF_SECONDS
        while not self._entries.is_leaving:
            began = monotonic()
            try:
                await self._app.run_worker_async(
                    queues=[QUEUE],
                    concurrency=MOST_FOLLOWS,
                    install_signal_handlers=False,
                    delete_jobs="always",
                    shutdown_graceful_timeout=0.0,
                    fetch_job_polling_interval=self._timing.poll_seconds,
                    abort_job_polling_interval=RARELY_SECONDS,
                    update_heartbeat_interval=self._timing.heartbeat_seconds,
                    stalled_worker_timeout=RARELY_SECONDS,
                )
            except ConnectorException as error:
                log.warning("queue not reached", what="worker", reason=reason(error))
            except Exception:
                log.exception("queue worker broke")
            if monotonic() - began > LONGEST_BACK_OFF_SECONDS:
                back_off = FIRST_BACK_OFF_SECONDS
            await asyncio.sleep(back_off)
            back_off = min(LONGEST_BACK_OFF_SECONDS, 2.0 * back_off)

    async def _rescue(self) -> None:
        while True:
            await self._entries.rescue()
            await asyncio.sleep(self._timing.rescue_seconds)

    def _hear_changed(self, words: Mapping[str, str]) -> None:
        self._here.wake(JobId(words.get("job", "")))

    def _hear_left(self, _words: Mapping[str, str]) -> None:
        self._entries.look()
