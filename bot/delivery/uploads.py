"""Puts a file into a thread once. Slack lets no file be found by a mark, so a try whose outcome is not known is the
last: better none than two."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from bot.delivery.posts import MessagePoster, back_off
from bot.domain import (
    CardId,
    ChannelRef,
    DeliveryUnknown,
    MessageTs,
    OutcomeUnknown,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    TokenRefused,
    Upload,
)
from bot.domain.ports import SlackMessages
from bot.tasks import loop_time, retry_until_stored

log = structlog.get_logger()

UPLOADED_WITHIN_SECONDS = 120.0
"""How long a file that Slack does not take now is tried again, by all processes together."""
TRIED_AT_LEAST_SECONDS = 20.0
"""How long a process tries it that comes late: Slack may be busy just then."""
UPLOADED = MessageTs("uploaded")
"""Is stored in the place of a ts, which Slack does not tell of a file."""


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """A file that is to be put into a thread once."""

    place: ChannelRef
    upload: Upload
    watch: CardId
    thread: MessageTs
    store_try: Callable[[datetime | None], Awaitable[None]]
    store_ts: Callable[[datetime, MessageTs, str | None], Awaitable[bool]]
    """Both as a `PendingPost`'s; the ts is always UPLOADED."""


class FileUploader:
    """Uploads, and waits, until Slack holds the file or it is clear that it must not be tried again."""

    def __init__(self, messages: SlackMessages, poster: MessagePoster, now: Callable[[], datetime]) -> None:
        """`poster`: whose turns the files take, and whose steps they are at the end of the process."""
        self._messages = messages
        self._poster = poster
        self._now = now

    async def upload_once(self, post: PendingUpload, since: datetime) -> None:
        """Upload the file and store that it is there. `since`: when it may first have been tried.

        Raises:
            CannotTell: it may or may not be there, and must not be tried again.
            ClaimLost: it is another process's to upload by now.
            BoardError: it certainly is not there; Slack does not take it, or has not for UPLOADED_WITHIN_SECONDS.
            StoreUnavailable: the database did not take the intent, or that the file is there.
        """
        tried_seconds = max(0.0, (self._now() - since).total_seconds())
        left_seconds = max(TRIED_AT_LEAST_SECONDS, UPLOADED_WITHIN_SECONDS - tried_seconds)
        give_up_at = loop_time() + left_seconds
        failures = 0
        while True:
            await self._poster.wait_for_turn(post.place)
            try:
                # Together with its intent: a stop between the two would cost the file.
                await self._poster.tasks.run(self._upload_and_store(post))
                return
            except OutcomeUnknown as error:
                log.warning("upload unanswered", watch=post.watch, code=error.code)
                raise DeliveryUnknown from error
            except (SlackBusy, SlackUnreachable, TokenRefused) as error:
                if loop_time() >= give_up_at:
                    raise
                refusal = error
            if isinstance(refusal, SlackBusy):
                # Uploads have limits of their own, so messages to the place need not wait.
                await asyncio.sleep(refusal.retry_after_seconds)
            else:
                failures = await back_off(refusal, failures)

    async def _upload_and_store(self, post: PendingUpload) -> None:
        tried_at = self._now()
        await post.store_try(tried_at)
        try:
            await self._messages.upload(post.place, post.upload, thread=post.thread)
        except OutcomeUnknown:
            raise
        except SlackError:
            await post.store_try(None)
            raise
        if not await retry_until_stored(post.watch, partial(post.store_ts, tried_at, UPLOADED, None)):
            log.warning("surplus file not deleted", watch=post.watch)
