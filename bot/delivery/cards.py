"""A card's life: posted once, redrawn while the job runs, given its last look, and gone on from in its thread."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from uuid import uuid4

import structlog

from bot.delivery.charts import Chart
from bot.delivery.direct_messages import tell_followers
from bot.delivery.fallback import Palette
from bot.delivery.outcomes import WAITED_FOR_SECONDS, Arrivals, Arrived
from bot.delivery.posts import Post, Posting
from bot.delivery.thread import Thread
from bot.delivery.updates import Drawing
from bot.domain.cards import NoCard, Place, Ts, UserId, Watch, WatchId
from bot.domain.errors import CannotTell, KeyRefused, MessageGone, NotAllowedHere, ScopeMissing
from bot.domain.jobs import JobState, Sight
from bot.domain.messages import Message
from bot.domain.ports.metrics import UNMETERED, Meter
from bot.domain.ports.slack import Board
from bot.domain.ports.storage import GivenUps, Watches
from bot.rendering import card

log = structlog.get_logger()


class Cards:
    """What can be done to the card of one watch. Each method may be repeated after a crash at any point."""

    def __init__(
        self,
        *,
        board: Board,
        watches: Watches,
        given_ups: GivenUps,
        drawing: Drawing,
        posting: Posting,
        thread: Thread,
        palette: Palette,
        arrivals: Arrivals,
        is_shared: Callable[[Place], Awaitable[bool]],
        now: Callable[[], datetime],
        tenant: str,
        meter: Meter = UNMETERED,
    ) -> None:
        """`is_shared`: whether no answer may be posted in a place. `tenant`: Omni's address; only chats on it become
        links."""
        self._board = board
        self._watches = watches
        self._given_ups = given_ups
        self._drawing = drawing
        self._posting = posting
        self._thread = thread
        self._palette = palette
        self._arrivals = arrivals
        self._is_shared = is_shared
        self._now = now
        self._tenant = tenant
        self._meter = meter

    async def post(self, watch: Watch, sight: Sight) -> None:
        """Post the card in the look that the job has now, or tell its person why there is none."""
        if (refusal := await self._refusal(watch, sight)) is not None:
            await self._give_up(watch, refusal)
            return
        if await self._is_shared(watch.place):
            await self._move_to_direct_messages(watch, Arrived.KEPT)
            return
        try:
            await self._posting.post_once(
                Post(
                    place=watch.place,
                    forms=self._look(watch, sight),
                    watch=watch.id,
                    thread=watch.thread,
                    tried_at=watch.card_tried_at,
                    store_try=partial(self._watches.card_tried, watch),
                    store_ts=partial(self._store_card, watch.id, sight.has_ended),
                    is_card=True,
                )
            )
        except NotAllowedHere as error:
            log.info("place closed to the bot", watch=watch.id, code=error.code)
            await self._move_to_direct_messages(watch)
        except MessageGone as error:
            if watch.thread is None:
                raise
            log.info("thread gone", watch=watch.id, code=error.code)
            await self._watches.leave_thread(watch)
        except CannotTell:
            newest = await self._watches.newest(watch)
            if newest is not None and newest.card is None:
                # Nobody knows whether it is there, and it would not be kept current.
                await self._give_up(newest, NoCard.UNCONFIRMED)
        else:
            self._count_the_end(watch, sight)
            self._arrivals.came(watch.id, Arrived.POSTED)

    def redraw(self, watch: Watch, ts: Ts, sight: Sight) -> None:
        """Let the card show how the job stands, if that looks different from what it shows."""
        if not watch.card_gone and not watch.ended:
            self._drawing.show(watch, ts, self._look(watch, sight))

    async def finish(self, watch: Watch, ts: Ts, sight: Sight, chart: Chart) -> None:
        """Give the card its last look, post in its thread what belongs there, and close the watch. Where people of
        another organisation have come to read along, the end goes to its followers' direct messages."""
        if sight.has_ended and await self._is_shared(watch.place):
            await self._withhold(watch, ts, sight)
            return
        taken = not watch.card_gone and await self._show_the_end(watch, ts, sight)
        newest = await self._watches.newest(watch)
        if newest is None:
            return
        if taken and await self._thread.complete(newest, ts, sight, chart, shown_before=watch.ended):
            outcome = sight.job.state if sight.has_ended and sight.job else None
            has_ended = newest.ended or sight.has_ended
            outcome = outcome if has_ended else JobState.UNKNOWN
            await self._watches.close(watch, self._now(), ended=has_ended, outcome=outcome)
        elif not taken or await self._is_deleted(newest, ts):
            # The card is gone, and the outcome must still reach its people: it gets a card of its own.
            await self._watches.start_over(watch.id, ts)
        else:
            # The card is there and its thread is closed to us. A new card would have no better thread.
            await self._move_to_direct_messages(newest)

    async def retire(self, watch: Watch, ts: Ts, sight: Sight) -> None:
        """Close a watch that nobody follows any more, and let its card say so."""
        if not watch.card_gone:
            await self._drawing.finish(watch, ts, (card.unfollowed(watch, sight, self._tenant),))
        await self._watches.close_if_deserted(watch, self._now())

    async def rest(self, watch: Watch, ts: Ts, sight: Sight) -> None:
        """Stop looking after a job that does not end; its card says so and how to go on."""
        look = (card.rested(watch, sight, self._tenant),)
        if not watch.card_gone and await self._drawing.finish(watch, ts, look):
            log.info("follow rests", watch=watch.id, job=watch.job)
            await self._watches.close(watch, self._now())
        else:
            # Its people must be able to go on: they get a card of their own, which then says so.
            await self._watches.start_over(watch.id, ts)

    async def _withhold(self, watch: Watch, ts: Ts, sight: Sight) -> None:
        log.info("end withheld", watch=watch.id, channel=watch.place.channel)
        if not watch.card_gone:
            await self._drawing.finish(watch, ts, (card.withheld(watch, sight, self._tenant),))
        await self._move_to_direct_messages(watch, Arrived.KEPT)

    async def show_retried(self, watch: Watch, sight: Sight) -> None:
        """Let the card of an ended job say who has had its question asked again. Raises ClaimLost."""
        if watch.card is not None and not watch.card_gone:
            await self._drawing.finish(watch, watch.card, self._look(watch, sight), ended=True)

    async def _show_the_end(self, watch: Watch, ts: Ts, sight: Sight) -> bool:
        """Whether the card says how the job ended. One that did before Omni forgot the job is left as it is."""
        if watch.ended and not sight.has_ended and not watch.has_doubted_look:
            return True
        taken = await self._drawing.finish(watch, ts, self._look(watch, sight), ended=sight.has_ended)
        if taken and not watch.ended:
            self._count_the_end(watch, sight)
        return taken

    def _count_the_end(self, watch: Watch, sight: Sight) -> None:
        """Let it be known how long the end took to be shown. Nobody waited for that of a job that had ended before it
        was asked for."""
        ended_at = sight.job.ended_at if sight.job else None
        if ended_at is not None and ended_at >= watch.looked_after_since:
            self._meter.end_shown(max(0.0, (self._now() - ended_at).total_seconds()))

    async def _store_card(
        self, watch: WatchId, ended: bool, tried_at: datetime, ts: Ts, fingerprint: str | None
    ) -> bool:
        """Store a post of the card. One that was found, not posted just now, may show what was known earlier."""
        is_the_end = ended and fingerprint is not None
        return await self._watches.card_posted(watch, tried_at, ts, fingerprint, ended=is_the_end)

    def _look(self, watch: Watch, sight: Sight) -> tuple[Message, ...]:
        return self._palette.usable(card.card(watch, sight, self._now(), self._tenant))

    async def _refusal(self, watch: Watch, sight: Sight) -> NoCard | None:
        """Why there should be no card at all, where the person who asked can still be told so privately. A job that
        the bot has begun itself gets its card in any case, and one that several follow: not all of them can be told."""
        if watch.is_own or len(watch.followers) > 1:
            return None
        if sight.missing:
            refusal = NoCard.NO_SUCH_JOB
        elif sight.job is None and isinstance(sight.trouble, KeyRefused):
            refusal = NoCard.KEY_REFUSED
        else:
            return None
        is_untried = watch.card_tried_at is None
        return refusal if is_untried and await self._arrivals.is_awaited(watch.id) else None

    async def _give_up(self, watch: Watch, why: NoCard) -> None:
        """Let those who wait with a command be told in answer to it, and see to it that all others are told as well."""
        is_awaited = await self._arrivals.is_awaited(watch.id)
        log.info("watch given up", watch=watch.id, job=watch.job, why=why.name)
        at = self._now()
        await self._given_ups.give_up(watch, why, at)
        self._arrivals.came(watch.id, why)
        if not is_awaited:
            await self._tell_after_the_wait(replace(watch, closed_at=at, notice_tried_at=None))

    async def _tell_after_the_wait(self, watch: Watch) -> None:
        """Tell all that were not told by the time by which nobody waits with a command any more: somebody may do so in
        another process, of which no word has come."""
        waited_seconds = (self._now() - watch.looked_after_since).total_seconds()
        await asyncio.sleep(max(0.0, min(WAITED_FOR_SECONDS, WAITED_FOR_SECONDS - waited_seconds)))
        if (mine := await self._given_ups.telling(watch, self._now())) is not None:
            await tell_followers(self._given_ups, self._board, mine)

    async def _move_to_direct_messages(self, watch: Watch, arrival: Arrived = Arrived.MOVED) -> None:
        """Put a watch per follower, each in that person's direct messages, in the place of this one. A card that stays
        where it can still be edited keeps its watch, so that an edit that comes late is found and undone."""
        while (newest := await self._watches.newest(watch)) is not None:
            if not newest.followers:
                await self._let_go(newest)
                return
            moved = [own for follower in newest.followers if (own := await self._own_watch(newest, follower))]
            if not moved:
                await self._give_up(newest, NoCard.NOWHERE)
                return
            left_at = self._now() if arrival is Arrived.KEPT and newest.card is not None else None
            if await self._watches.move(newest, moved, left_at=left_at):
                self._arrivals.came(watch.id, arrival)
                return
            # Otherwise somebody has come or gone meanwhile, and all of them count.

    async def _let_go(self, watch: Watch) -> None:
        """Close a watch whose last follower has stopped following meanwhile."""
        if watch.card is None:
            await self._watches.remove(watch)
        else:
            await self._watches.close_if_deserted(watch, self._now())

    async def _own_watch(self, watch: Watch, follower: UserId) -> Watch | None:
        """A watch of the same job in a follower's direct messages; None if those are closed to the bot, or tried."""
        try:
            place = await self._board.direct(watch.place, follower)
        except (NotAllowedHere, ScopeMissing) as error:
            log.warning("no direct message", user=follower, code=error.code)
            return None
        if place == watch.place:
            return None
        return Watch(
            id=WatchId(str(uuid4())),
            job=watch.job,
            place=place,
            requester=watch.requester,
            followers=(follower,),
            asked_at=watch.asked_at,
            is_own=watch.is_own,
            cancelled_by=watch.cancelled_by,
        )

    async def _is_deleted(self, watch: Watch, ts: Ts) -> bool:
        """Whether the card has been deleted since Slack took its last look."""
        try:
            await self._board.permalink(watch.place, ts)
        except MessageGone:
            return True
        except NotAllowedHere:
            pass  # not for us to see any more, which is not the same as deleted
        return False
