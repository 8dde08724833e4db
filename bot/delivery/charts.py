"""The chart of one answered job: asked for once, when it hardly delays any poll, and shared by all of its places."""

import asyncio

import structlog

from bot.domain import JobId, OmniBusy, OmniError, OmniUnreachable, StoreUnavailable
from bot.domain.ports import OmniJobs
from bot.tasks import loop_time

log = structlog.get_logger()


WAITED_FOR_SECONDS = 300.0
"""After that the answer has to do without a chart: its watch must not stay open for it."""

AGAIN_AFTER_SECONDS = (5.0, 20.0)
"""How long to wait after each question that got no answer; after one more there is no chart."""


class ChartFetcher:
    """What Omni has drawn of a job's answer, for as long as the job is followed."""

    def __init__(self, omni: OmniJobs, job: JobId) -> None:
        self._omni = omni
        self._job = job
        self._asking: asyncio.Task[bytes | None] | None = None

    async def image(self) -> bytes | None:
        """The chart as a PNG; None where there is none or Omni did not tell in time. Omni is asked the first time."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name=f"chart {self._job}")
        return await asyncio.shield(self._asking)

    def cancel(self) -> None:
        """Ask no more: nobody follows the job here any longer."""
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
        began = loop_time()

        def worth() -> float:
            return chart_priority(loop_time() - began)

        for pause in AGAIN_AFTER_SECONDS:
            try:
                return await self._omni.chart(self._job, worth=worth)
            except (OmniBusy, OmniUnreachable, StoreUnavailable) as error:
                log.debug("chart not got", job=self._job, error=type(error).__name__)
            await asyncio.sleep(pause)
        return await self._omni.chart(self._job, worth=worth)


CHART_YIELDS_SECONDS = 30.0
"""For so long the question for a chart lets every poll go first: a poll is never worth less than nothing."""

CHART_WORTH_PER_SECOND = 0.1
"""After that it is worth as much as a poll of a job that was looked at as long ago and has ended with a likelihood of
one in ten. So it gets its turn even where polls use all there is, and delays them little: a job has one chart, and is
asked about some ten times."""


def chart_priority(waited_seconds: float) -> float:
    """What is gained by asking for a chart that has been waited for so long, next to the `worth` of polls."""
    return (waited_seconds - CHART_YIELDS_SECONDS) * CHART_WORTH_PER_SECOND
