"""Fetches the chart of an answered job once, after the polls of other jobs, for all of the job's cards."""

import asyncio

import structlog

from bot.domain import JobId, OmniBusy, OmniError, OmniUnreachable, StoreUnavailable
from bot.domain.ports import OmniJobs, QueuePosition
from bot.tasks import loop_time

log = structlog.get_logger()


WAITED_FOR_SECONDS = 300.0
"""After that the answer stays without a chart, so that its card can be closed."""

AGAIN_AFTER_SECONDS = (5.0, 20.0)
"""The pauses between tries; after the last try there is no chart."""

YIELDS_SECONDS = 60.0
"""For so long each poll goes before a chart. After that a chart goes now and then while polls use up the budget."""


class ChartFetcher:
    """The chart of one job, while it is tracked."""

    def __init__(self, omni: OmniJobs, job: JobId) -> None:
        self._omni = omni
        self._job = job
        self._asking: asyncio.Task[bytes | None] | None = None

    def start(self) -> "asyncio.Task[bytes | None]":
        """Begin to fetch the chart, unless that was done before."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name=f"chart {self._job}")
        return self._asking

    async def image(self) -> bytes | None:
        """The chart as a PNG; None if there is none, or Omni did not return it in time."""
        return await asyncio.shield(self.start())

    def cancel(self) -> None:
        """Stop fetching: the job is no longer tracked here."""
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self) -> bytes | None:
        try:
            async with asyncio.timeout(WAITED_FOR_SECONDS):
                return await self._ask_again_and_again()
        except (OmniError, StoreUnavailable, TimeoutError) as error:
            log.info("no chart", job=self._job, error=type(error).__name__, reason=str(error))
            return None

    async def _ask_again_and_again(self) -> bytes | None:
        yields_until = loop_time() + YIELDS_SECONDS
        for pause in AGAIN_AFTER_SECONDS:
            try:
                return await self._omni.chart(self._job, position=QueuePosition(yields_until, is_chart=True))
            except (OmniBusy, OmniUnreachable, StoreUnavailable) as error:
                log.debug("chart not got", job=self._job, error=type(error).__name__)
            await asyncio.sleep(pause)
        return await self._omni.chart(self._job, position=QueuePosition(yields_until, is_chart=True))
