"""Fetches the chart of an answer and shows it: on its card by one more edit, or else as a file in the thread.

    final update -> private upload -> edit with the chart, within ON_CARD_WITHIN_SECONDS -> stored as shown
                                   \\-> otherwise the card without it, certainly -> chart in the thread

That the chart is tried is stored before the upload, and that the card shows it after the edit. If the process dies
between the two, the next one draws the card without the chart and puts it into the thread.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial

import structlog

from bot.delivery.thread import CHART, CompletionThread, Replies
from bot.delivery.updates import MessageUpdater
from bot.domain import (
    Card,
    CardId,
    FileId,
    Job,
    JobId,
    Message,
    MessageTs,
    OmniBusy,
    OmniError,
    OmniUnreachable,
    ReplyKind,
    SlackError,
    StoreUnavailable,
)
from bot.domain.ports import CardRepository, OmniJobs, QueuePosition, SlackMessages
from bot.rendering import card as card_module
from bot.tasks import RecentKeys, loop_time, retry_until_stored

log = structlog.get_logger()

WAITED_FOR_SECONDS = 300.0
"""After that the answer stays without a chart, so that its card can be closed."""
FETCHED_AGAIN_AFTER_SECONDS = (5.0, 20.0)
"""The pauses between tries; after the last try there is no chart."""
YIELDS_SECONDS = 60.0
"""For so long each poll goes before a chart. After that a chart goes now and then while polls use up the budget."""
ON_CARD_WITHIN_SECONDS = 10.0
"""How long after the answer its card may still change."""
EDITED_AGAIN_AFTER_SECONDS = (1.0, 2.0, 2.0, 2.0)
"""The pauses between tries of the edit. For some seconds after the upload of an image Slack refuses it in a block, with
`invalid slack file` (slackapi/python-slack-sdk#1521)."""
ON_CARD = ReplyKind("chart on card")
"""Stored among the thread replies: when the chart was tried on the card, and its file's id once the card shows it."""
MOST_REMEMBERED = 1_000


class ChartFetcher:
    """Fetches the chart of an answered job once for all of the job's cards, after the polls of other jobs."""

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
        for pause in FETCHED_AGAIN_AFTER_SECONDS:
            try:
                return await self._omni.chart(self._job, position=QueuePosition(yields_until, is_chart=True))
            except (OmniBusy, OmniUnreachable, StoreUnavailable) as error:
                log.debug("chart not got", job=self._job, error=type(error).__name__)
            await asyncio.sleep(pause)
        return await self._omni.chart(self._job, position=QueuePosition(yields_until, is_chart=True))


def is_due(card: Card, replies: Replies) -> bool:
    """Whether the chart of a card with an answer is still to be shown, or to be looked for."""
    return bool(card.followers) and CHART not in replies and _file_on_card(replies) is None


def charted(job: Job, plain: tuple[Message, ...], replies: Replies) -> tuple[Message, ...]:
    """Return the variants of a card that shows its answer: first those with its chart, if the card has it."""
    if (file := _file_on_card(replies)) is None:
        return plain
    return *filter(None, (card_module.with_chart(message, job, file) for message in plain)), *plain


def _file_on_card(replies: Replies) -> FileId | None:
    # A chart in the thread is newer: the card was drawn without it before.
    there = replies.get(ON_CARD) if CHART not in replies else None
    return FileId(there.ts) if there is not None and there.ts is not None else None


class CardCharts:
    """Shows the charts of a workspace's answers, each once."""

    def __init__(
        self,
        *,
        messages: SlackMessages,
        cards: CardRepository,
        updater: MessageUpdater,
        thread: CompletionThread,
        now: Callable[[], datetime],
        is_on_card: bool,
    ) -> None:
        """`is_on_card`: whether cards show charts; otherwise all charts go to the threads."""
        self._messages = messages
        self._cards = cards
        self._updater = updater
        self._thread = thread
        self._now = now
        self._is_on_card = is_on_card
        self._until: RecentKeys[CardId, float] = RecentKeys(MOST_REMEMBERED)
        """Until when a card whose answer this process has shown may get its chart."""

    def record_answer(self, card: Card) -> None:
        """Take note that the card has just begun to show its answer."""
        self._until[card.id] = loop_time() + ON_CARD_WITHIN_SECONDS

    async def deliver(
        self,
        card: Card,
        ts: MessageTs,
        job: Job,
        plain: tuple[Message, ...],
        chart: ChartFetcher,
        replies: Replies,
    ) -> None:
        """Show the chart of a card whose answer is complete, if it has one. Raises OwnershipLost.

        `plain`: the variants of the card without it. `replies`: as they were when the card was drawn.
        """
        # Slack may have refused the chart when the card was drawn again.
        is_plain = card.shown_fingerprint in [each.fingerprint for each in plain]
        if not is_due(card, replies) and not (_file_on_card(replies) and is_plain):
            return
        if ON_CARD not in replies and await self._show_on_card(card, ts, job, plain, chart):
            return
        image = await chart.image()
        # The answer is complete without a chart, so a missing one goes unmentioned.
        if image is not None:
            upload = card_module.chart(job, image)
            await self._thread.upload(card, card.thread_of(ts), CHART, upload, replies)

    async def _show_on_card(
        self, card: Card, ts: MessageTs, job: Job, plain: tuple[Message, ...], chart: ChartFetcher
    ) -> bool:
        """Whether the card shows its chart, or is gone. Otherwise it certainly does not show it."""
        until = self._until.get(card.id, 0.0) if self._is_on_card else 0.0
        shown = next((each for each in plain if each.fingerprint == card.shown_fingerprint), None)
        if shown is None or loop_time() >= until:
            return False
        try:
            async with asyncio.timeout_at(until):
                image = await chart.image()
                if image is None:
                    return False
                tried_at = self._now()
                await self._cards.mark_reply_started(card, ON_CARD, tried_at)
                file = await self._messages.upload_private(card_module.chart(job, image))
                message = card_module.with_chart(shown, job, file)
                is_shown = message is not None and await self._edit(card, ts, message)
        except (SlackError, TimeoutError) as error:
            log.info("chart not on card", card=card.id, reason=str(error) or type(error).__name__)
            is_shown = False
        if is_shown:
            shows = partial(self._cards.mark_reply_posted, card.id, ON_CARD, tried_at, MessageTs(file), None)
            await retry_until_stored(shows, card=card.id)
            return True
        newest = await self._cards.reload(card)
        if newest is None or newest.is_message_gone:
            return True
        # An edit that was not answered may have arrived.
        return not await self._updater.show_final(newest, ts, plain, outcome=job.state)

    async def _edit(self, card: Card, ts: MessageTs, message: Message) -> bool:
        """Edit the card until Slack accepts the chart. False if it refused it each time."""
        for pause in (*EDITED_AGAIN_AFTER_SECONDS, None):
            newest = await self._cards.reload(card)
            if newest is None or newest.is_message_gone:
                return False
            # Not stored as an end: if it comes late over the end that a new owner shows, that end is shown again.
            if await self._updater.show_final(newest, ts, (message,), is_optional=True):
                return True
            if pause is not None:
                await asyncio.sleep(pause)
        return False
