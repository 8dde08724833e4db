"""Post a job's data or steps in its card's thread when *Show data* or *Show steps* is pressed.

Each process remembers only what it has posted itself: after a restart, or by another process, it may be posted again.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import uuid4
from weakref import WeakValueDictionary

import structlog

from bot.delivery import CSV, MessagePoster, reply_mark
from bot.domain import (
    Authorization,
    Card,
    CardId,
    ChannelRef,
    ContentPolicy,
    FileId,
    JobResult,
    Message,
    MessageGone,
    MessageTs,
    NotAllowedHere,
    OmniError,
    OutcomeUnknown,
    PayloadRefused,
    Refused,
    ReplyKind,
    ScopeMissing,
    SlackError,
    StoreUnavailable,
    Upload,
    UserId,
)
from bot.domain.ports import CardRepository, OmniJobs, RemovalRepository, SlackMessages
from bot.rendering import (
    answer_replies,
    messages,
    refusal_replies,
    replies,
    steps_message,
    uploads,
    with_rows,
)
from bot.rendering.markdown.links import chat_link
from bot.rendering.refusal_replies import RefusedPost
from bot.services.job_results import JobResults
from bot.services.targets import IsShared, load_clicked_answer
from bot.tasks import RecentKeys

log = structlog.get_logger()

MOST_REMEMBERED = 1_000

What = Literal["data", "steps"]
Piece = tuple[Message, ...] | Upload
"""A message in its variants, or a file."""
_Key = tuple[CardId, MessageTs, What]


@dataclass(slots=True)
class _Shown:
    """The pieces that have been posted."""

    first: MessageTs | None = None
    fingerprints: set[str] = field(default_factory=set)
    is_complete: bool = False
    is_confirmed: bool = True
    """False once Slack did not answer a request: that piece is not posted again, because it may be there."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The pieces to post, in order."""

    pieces: Sequence[Piece] = field(repr=False)
    link: str | None = None
    is_pending: bool = False
    """Omni may deliver more pieces later."""


class JobDataService:
    """Shows data and steps. Each method returns the ephemeral reply, or None if everything was posted."""

    def __init__(
        self,
        *,
        omni: OmniJobs,
        results: JobResults,
        messages: SlackMessages,
        cards: CardRepository,
        removals: RemovalRepository,
        poster: MessagePoster,
        authorization: Authorization,
        is_shared: IsShared,
        content_policy: ContentPolicy,
        now: Callable[[], datetime],
        tenant: str,
        bot_user: UserId,
    ) -> None:
        """`is_shared`: asks Slack anew. `tenant`: the base URL of Omni, for chat addresses without a host."""
        self._omni = omni
        self._results = results
        self._messages = messages
        self._cards = cards
        self._removals = removals
        self._poster = poster
        self._authorization = authorization
        self._is_shared = is_shared
        self._content_policy = content_policy
        self._now = now
        self._tenant = tenant
        self._bot_user = bot_user
        self._shown: RecentKeys[_Key, _Shown] = RecentKeys(MOST_REMEMBERED)
        self._locks: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()

    async def show_data(
        self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
    ) -> str | None:
        """Show the rows of the job's queries. The id in the button is untrusted: channel and ts must match."""
        return await self._show("data", card_id, channel, message_ts, user)

    async def show_steps(
        self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
    ) -> str | None:
        """Show the job's steps. The id in the button is untrusted: channel and ts must match."""
        return await self._show("steps", card_id, channel, message_ts, user)

    async def _show(
        self, what: What, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
    ) -> str | None:
        try:
            await self._authorization.check(user, channel)
            if self._content_policy.is_link_only(channel):
                return replies.not_shown_in_link_only()
            if await self._is_shared(channel):
                return replies.not_shown_where_shared()
            card = await load_clicked_answer(self._cards, card_id, channel, message_ts)
            await self._authorization.check_visible(user, card.job)
        except Refused as error:
            return error.reply
        except StoreUnavailable as error:
            log.error("card not read", card=card_id, reason=str(error))
            return replies.storage_down()
        log.info("showing result", what=what, card=card_id, user=user)
        key = (card_id, message_ts, what)
        # One click after the other: a second user who presses at the same time gets the link to the first one's result.
        async with self._locks.setdefault(key, asyncio.Lock()):
            try:
                return await self._already_shown(key, card) or await self._fetch_and_post(key, card)
            except Refused as error:
                return error.reply
            except StoreUnavailable as error:
                log.error("result not shown", card=card_id, reason=str(error))
                return replies.storage_down()

    async def _already_shown(self, key: _Key, card: Card) -> str | None:
        """The reply that links to the posted result, or None if it still has to be posted."""
        shown = self._shown.get(key)
        if shown is None or not shown.is_complete:
            return None
        if shown.first is None:
            return replies.already_shown(None)
        try:
            return replies.already_shown(await self._messages.permalink(card.channel, shown.first))
        except MessageGone:
            del self._shown[key]  # deleted in Slack: post it again
            return None
        except SlackError as error:
            log.warning("no permalink", card=card.id, code=error.code)
            return replies.already_shown(None)

    async def _fetch_and_post(self, key: _Key, card: Card) -> str | None:
        what = key[2]
        try:
            result = await self._results.get(card.job)
        except OmniError as error:
            return replies.not_fetched(error)
        prepare = self._data if what == "data" else self._steps
        # In a thread: rendering a large result takes up to a few seconds.
        prepared = await asyncio.to_thread(prepare, card, result)
        if not prepared.pieces:
            return replies.data_pending() if result.is_pending else replies.nothing_found(what == "data")
        return await self._post(key, card, prepared)

    def _data(self, card: Card, result: JobResult) -> _Prepared:
        queries = with_rows(result)
        with_charts = not self._omni.has_chart(card.job)
        pieces: list[Piece] = [*messages(queries, with_charts=with_charts), *uploads(queries)]
        return _Prepared(pieces, chat_link(result.chat_url, self._tenant), result.is_pending)

    def _steps(self, _card: Card, result: JobResult) -> _Prepared:
        variants = steps_message(result)
        return _Prepared([variants] if variants else [], chat_link(result.chat_url, self._tenant))

    async def _post(self, key: _Key, card: Card, prepared: _Prepared) -> str | None:
        """Post the pieces that are missing in the thread."""
        shown = self._shown.setdefault(key, _Shown())
        for piece in prepared.pieces:
            fingerprint = piece.fingerprint if isinstance(piece, Upload) else piece[0].fingerprint
            if fingerprint in shown.fingerprints:
                continue
            try:
                await self._post_piece(key, card, piece, shown)
            except OutcomeUnknown as error:
                log.warning("result post unconfirmed", card=card.id, code=error.code)
                shown.is_confirmed = False
            except SlackError as error:
                log.warning("result not posted", what=key[2], card=card.id, code=error.code)
                return self._refused(error, card, piece, prepared.link)
            shown.fingerprints.add(fingerprint)
        shown.is_complete = not prepared.is_pending
        if not shown.is_confirmed:
            return replies.unconfirmed_in_thread()
        return replies.data_pending_in_part() if prepared.is_pending else None

    async def _post_piece(self, key: _Key, card: Card, piece: Piece, shown: _Shown) -> None:
        """Post a piece once it is stored that it may be there: if the answer is removed, it has to be deleted."""
        _, message_ts, what = key
        thread, started_at = card.thread_of(message_ts), self._now()
        kind = ReplyKind(f"{CSV if isinstance(piece, Upload) else f'{what} '}{uuid4().hex[:10]}")
        if not await self._removals.begin_post(card.id, kind, started_at):
            raise Refused(answer_replies.removed_before())
        try:
            if isinstance(piece, Upload):
                ts = MessageTs(await self._messages.upload(card.channel, piece, thread=thread))
            else:
                mark = reply_mark(card.id, kind, started_at)
                ts = await self._poster.post_now(card.channel, piece, mark=mark, thread=thread)
                shown.first = shown.first or ts
        except OutcomeUnknown:
            raise
        except SlackError:
            await self._removals.forget_replies(card.id, [kind])
            raise
        await self._cards.mark_reply_posted(card.id, kind, started_at, ts, None)
        there = await self._cards.get(card.id)
        if there is not None and there.removed_by is not None:
            await self._take_back(card, ts, is_file=isinstance(piece, Upload))
            raise Refused(answer_replies.removed_before())

    async def _take_back(self, card: Card, ts: MessageTs, *, is_file: bool) -> None:
        """Delete a piece that came after the removal of its answer, which may not have found it."""
        try:
            if is_file:
                await self._messages.delete_file(FileId(ts))
            else:
                await self._messages.delete(card.channel, ts)
        except SlackError as error:
            log.warning("reply not deleted", card=card.id, code=error.code)

    def _refused(self, error: SlackError, card: Card, piece: Piece, link: str | None) -> str:
        match error:
            case NotAllowedHere() | ScopeMissing() | PayloadRefused() if isinstance(piece, Upload):
                return refusal_replies.no_files_here(link)
            case NotAllowedHere() | MessageGone():
                return refusal_replies.not_shown_here(
                    RefusedPost(error.code, card.channel, self._bot_user), link
                )
            case _:
                return refusal_replies.slack_down(link)
