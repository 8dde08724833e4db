"""What the buttons under an answer do: show the data and the steps that it rests on, in the card's thread.

What was shown is remembered in this process only: after a restart, or by another process, it may be shown again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from weakref import WeakValueDictionary

import structlog

from bot.delivery import MessagePoster
from bot.domain import (
    Authorization,
    Card,
    CardId,
    ChannelRef,
    JobResult,
    Message,
    MessageGone,
    MessageTs,
    NotAllowedHere,
    OmniError,
    OutcomeUnknown,
    PayloadRefused,
    ScopeMissing,
    SlackError,
    StoreUnavailable,
    Upload,
    UserId,
)
from bot.domain.ports import CardRepository, OmniJobs, SlackMessages
from bot.log import bind_job
from bot.rendering import messages, replies, steps_message, uploads, with_rows
from bot.rendering.markdown.sanitize import chat_link
from bot.services.authorization import check_visibility
from bot.services.job_results import JobResults
from bot.services.targets import load_clicked_card
from bot.tasks import RecentKeys

log = structlog.get_logger()

MOST_REMEMBERED = 1_000
"""Of how many cards it is remembered what was shown under them."""

What = Literal["data", "steps"]
Piece = tuple[Message, ...] | Upload
"""A message in its forms, or a file."""
_Key = tuple[CardId, MessageTs, What]


@dataclass(slots=True)
class _Shown:
    """How much of it is in the thread."""

    first: MessageTs | None = None
    done: set[str] = field(default_factory=set)
    """The fingerprints of what is there."""
    is_whole: bool = False
    is_confirmed: bool = True
    """False once Slack did not answer to something: it may be there or not, and is not shown twice."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What goes into the thread, in order."""

    pieces: Sequence[Piece] = field(repr=False)
    link: str | None = None
    is_pending: bool = False
    """More of it may come."""


class JobDataService:
    """Takes clicks from people. Every method returns the line to tell them privately, or None where the thread
    speaks for itself, and raises nothing that a person or the world around can cause."""

    def __init__(
        self,
        *,
        omni: OmniJobs,
        results: JobResults,
        messages: SlackMessages,
        cards: CardRepository,
        poster: MessagePoster,
        authorization: Authorization,
        tenant: str,
        bot_user: UserId,
    ) -> None:
        """`tenant`: Omni's address; only chats on it become links."""
        self._omni = omni
        self._results = results
        self._messages = messages
        self._cards = cards
        self._poster = poster
        self._authorization = authorization
        self._tenant = tenant
        self._bot_user = bot_user
        self._shown: RecentKeys[_Key, _Shown] = RecentKeys(MOST_REMEMBERED)
        self._turns: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()

    async def show_data(
        self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
    ) -> str | None:
        """Show the rows of the job's queries. The watch, named by a button, must be the one of that card."""
        return await self._show("data", card_id, channel, message_ts, user)

    async def show_steps(
        self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
    ) -> str | None:
        """Show what the AI did. The watch, named by a button, must be the one of that card."""
        return await self._show("steps", card_id, channel, message_ts, user)

    async def _show(
        self, what: What, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
    ) -> str | None:
        try:
            known = await load_clicked_card(self._cards, card_id, channel, message_ts)
            if known is None:
                return replies.nothing_to_show_here()
            bind_job(known.job)
            if (line := await check_visibility(self._authorization, self._omni, user, known.job)) is not None:
                return line
        except StoreUnavailable as error:
            log.error("watch not read", watch=card_id, reason=str(error))
            return replies.storage_down()
        log.info("asked to show", what=what, watch=card_id, user=user)
        key = (card_id, message_ts, what)
        # Two who press at once are served one after the other: the second then finds what the first was shown.
        async with self._turns.setdefault(key, asyncio.Lock()):
            return await self._already_shown(key, known) or await self._show_anew(key, known)

    async def _already_shown(self, key: _Key, card: Card) -> str | None:
        """The line that leads to what is there; None where it has still to be shown."""
        shown = self._shown.get(key)
        if shown is None or not shown.is_whole:
            return None
        if shown.first is None:
            return replies.already_shown(None)
        try:
            return replies.already_shown(await self._messages.permalink(card.channel, shown.first))
        except MessageGone:
            del self._shown[key]  # somebody has deleted it
            return None
        except SlackError as error:
            log.warning("no permalink", watch=card.id, code=error.code)
            return replies.already_shown(None)

    async def _show_anew(self, key: _Key, card: Card) -> str | None:
        what = key[2]
        try:
            result = await self._results.get(card.job)
        except OmniError as error:
            return replies.not_fetched(error)
        except StoreUnavailable as error:
            # The key's budget is in the database too.
            log.error("result not fetched", reason=str(error))
            return replies.storage_down()
        prepare = self._data if what == "data" else self._steps
        # It takes up to some seconds, and nothing else may wait for that.
        prepared = await asyncio.to_thread(prepare, card, result)
        if not prepared.pieces:
            return replies.data_pending() if result.is_pending else replies.nothing_found(what == "data")
        return await self._put(key, card, prepared)

    def _data(self, card: Card, result: JobResult) -> _Prepared:
        queries = with_rows(result)
        with_charts = not self._omni.has_chart(card.job)
        pieces: list[Piece] = [*messages(queries, with_charts=with_charts), *uploads(queries)]
        return _Prepared(pieces, chat_link(result.chat_url, self._tenant), result.is_pending)

    def _steps(self, _watch: Card, result: JobResult) -> _Prepared:
        forms = steps_message(result)
        return _Prepared([forms] if forms else [], chat_link(result.chat_url, self._tenant))

    async def _put(self, key: _Key, card: Card, prepared: _Prepared) -> str | None:
        """Put into the thread what is not there yet. The line to tell where something could not be put there."""
        shown = self._shown.setdefault(key, _Shown())
        for piece in prepared.pieces:
            fingerprint = _fingerprint(piece)
            if fingerprint in shown.done:
                continue
            try:
                await self._put_piece(key, card, piece, shown)
            except OutcomeUnknown as error:
                log.warning("shown unanswered", watch=card.id, code=error.code)
                shown.is_confirmed = False
            except SlackError as error:
                log.warning("not shown", what=key[2], watch=card.id, code=error.code)
                return self._refused(error, piece, prepared.link)
            shown.done.add(fingerprint)
        shown.is_whole = not prepared.is_pending
        if not shown.is_confirmed:
            return replies.unconfirmed_in_thread()
        return replies.data_pending_in_part() if prepared.is_pending else None

    async def _put_piece(self, key: _Key, watch: Card, piece: Piece, shown: _Shown) -> None:
        _, card, what = key
        thread = watch.thread_of(card)
        if isinstance(piece, Upload):
            await self._messages.upload(watch.channel, piece, thread=thread)
            return
        mark = f"{watch.id}/{what}/{len(shown.done)}"
        ts = await self._poster.post_now(watch.channel, piece, mark=mark, thread=thread)
        shown.first = shown.first or ts

    def _refused(self, error: SlackError, piece: Piece, link: str | None) -> str:
        match error:
            case NotAllowedHere() | ScopeMissing() | PayloadRefused() if isinstance(piece, Upload):
                return replies.no_files_here(link)
            case NotAllowedHere() | MessageGone():
                return replies.not_shown_here(self._bot_user, link)
            case _:
                return replies.slack_down(link)


def _fingerprint(piece: Piece) -> str:
    return piece.fingerprint if isinstance(piece, Upload) else piece[0].fingerprint
