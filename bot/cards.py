"""A card's life: posted once, redrawn while the job runs, given its last look, and told of in its thread."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from uuid import uuid4

import structlog

from bot import lines, render
from bot.arrivals import Arrival, Arrivals
from bot.drawing import Drawing
from bot.job import JobState
from bot.palette import Palette
from bot.ports import (
    Board,
    KeyRefused,
    Message,
    MessageGone,
    NotAllowedHere,
    ScopeMissing,
    Unanswered,
    Watches,
)
from bot.posting import CannotTell, Post, Posting
from bot.sight import Sight
from bot.watch import Ts, UserId, Watch, WatchId

log = structlog.get_logger()


def notice_is_due(watch: Watch, sight: Sight, now: datetime, notify_after_seconds: float) -> bool:
    """Whether the end of a job is worth a thread reply, which rings where an edit does not.

    A failure, a cancellation and a lost job always are; an answer is when it took so long, counted from the
    command, that the person has turned to something else.
    """
    if sight.job is not None and sight.job.state is JobState.COMPLETE:
        return (now - watch.asked_at).total_seconds() > notify_after_seconds
    return sight.is_final


class Cards:
    """What can be done to the card of one watch. Each method may be repeated after a crash at any point."""

    def __init__(
        self,
        *,
        board: Board,
        watches: Watches,
        drawing: Drawing,
        posting: Posting,
        palette: Palette,
        arrivals: Arrivals,
        now: Callable[[], datetime],
        tenant: str,
        notify_after_seconds: float,
    ) -> None:
        """`tenant`: Omni's address; only chats on it become links."""
        self._board = board
        self._watches = watches
        self._drawing = drawing
        self._posting = posting
        self._palette = palette
        self._arrivals = arrivals
        self._now = now
        self._tenant = tenant
        self._notify_after_seconds = notify_after_seconds

    async def post(self, watch: Watch, sight: Sight) -> None:
        """Post the card in the look that the job has now, or tell its person why there is none."""
        if (refusal := await self._refusal(watch, sight)) is not None:
            await self._give_up(watch, refusal)
            return
        try:
            await self._posting.post_once(
                Post(
                    place=watch.place,
                    forms=self._look(watch, sight),
                    watch=watch.id,
                    thread=None,
                    tried_at=watch.card_tried_at,
                    store_try=partial(self._watches.card_tried, watch),
                    store_ts=partial(self._watches.card_posted, watch.id),
                )
            )
        except NotAllowedHere as error:
            log.info("place closed to the bot", watch=watch.id, code=error.code)
            await self._move_to_direct_messages(watch)
        except CannotTell:
            newest = await self._watches.newest(watch)
            if newest is not None and newest.card is None:
                await self._give_up_unconfirmed(newest)
        else:
            self._arrivals.came(watch.id, Arrival.POSTED)

    def redraw(self, watch: Watch, ts: Ts, sight: Sight) -> None:
        """Let the card show how the job stands, if that looks different from what it shows."""
        if not watch.card_gone:
            self._drawing.show(watch, ts, self._look(watch, sight))

    async def finish(self, watch: Watch, ts: Ts, sight: Sight) -> None:
        """Give the card its last look, tell the people in its thread where that is due, and close the watch."""
        taken = not watch.card_gone and await self._drawing.finish(watch, ts, self._look(watch, sight))
        newest = await self._watches.newest(watch)
        if newest is None:
            return
        if taken and await self._tell_in_thread(newest, ts, sight):
            has_ended = sight.job is not None and sight.job.state.is_final
            await self._watches.close(watch, self._now(), ended=has_ended)
        elif not taken or await self._is_deleted(newest, ts):
            # The card is gone, and the outcome must still reach its people: it gets a card of its own.
            await self._watches.start_over(watch.id, ts)
        else:
            # The card is there and its thread is closed to us. A new card would have no better thread.
            await self._move_to_direct_messages(newest)

    async def retire(self, watch: Watch, ts: Ts, sight: Sight) -> None:
        """Close a watch that nobody follows any more, and let its card say so."""
        if not watch.card_gone:
            await self._drawing.finish(watch, ts, (render.unfollowed(watch, sight, self._tenant),))
        await self._watches.close_if_deserted(watch, self._now())

    async def rest(self, watch: Watch, ts: Ts, sight: Sight) -> None:
        """Stop looking after a job that does not end; its card says so and how to go on."""
        look = (render.rested(watch, sight, self._tenant),)
        if not watch.card_gone and await self._drawing.finish(watch, ts, look):
            log.info("follow rests", watch=watch.id, job=watch.job)
            await self._watches.close(watch, self._now())
        else:
            # Its people must be able to go on: they get a card of their own, which then says so.
            await self._watches.start_over(watch.id, ts)

    def _look(self, watch: Watch, sight: Sight) -> tuple[Message, ...]:
        return self._palette.usable(render.card(watch, sight, self._now(), self._tenant))

    async def _refusal(self, watch: Watch, sight: Sight) -> Arrival | None:
        """Why there should be no card at all, where the person who asked can still be told so privately."""
        if sight.missing:
            refusal = Arrival.NO_SUCH_JOB
        elif sight.job is None and isinstance(sight.trouble, KeyRefused):
            refusal = Arrival.KEY_REFUSED
        else:
            return None
        is_untried = watch.card_tried_at is None
        return refusal if is_untried and await self._arrivals.is_awaited(watch.id) else None

    async def _give_up(self, watch: Watch, arrival: Arrival) -> None:
        log.info("watch given up", watch=watch.id, job=watch.job, why=arrival.name)
        await self._watches.remove(watch)
        self._arrivals.came(watch.id, arrival)

    async def _give_up_unconfirmed(self, watch: Watch) -> None:
        """Nobody knows whether the card is there, and it will not be kept current: its people have to hear it."""
        if not await self._arrivals.is_awaited(watch.id):
            # The process that took the command is gone, and with it the way to answer it privately.
            for follower in watch.followers:
                await self._tell_directly(watch, follower, lines.unconfirmed_card(watch.job))
        await self._give_up(watch, Arrival.UNCONFIRMED)

    async def _tell_directly(self, watch: Watch, follower: UserId, line: str) -> None:
        """Tell a line in a person's direct messages. Raises a BoardError where that is worth another try."""
        try:
            place = await self._board.direct(watch.place, follower)
        except (NotAllowedHere, ScopeMissing) as error:
            log.warning("private line not told", code=error.code)
            return
        try:
            await self._board.post(place, Message(line), mark=f"{watch.id}/told")
        except (NotAllowedHere, ScopeMissing, Unanswered) as error:
            log.warning("private line not told", code=error.code)

    async def _move_to_direct_messages(self, watch: Watch) -> None:
        """Put a watch per follower, each in that person's direct messages, in the place of this one."""
        while (newest := await self._watches.newest(watch)) is not None:
            moved = [own for follower in newest.followers if (own := await self._own_watch(newest, follower))]
            if not moved:
                await self._give_up(newest, Arrival.NOWHERE)
            elif await self._watches.move(newest, moved):
                self._arrivals.came(watch.id, Arrival.MOVED)
            # Otherwise somebody has come or gone meanwhile, and all of them count.

    async def _own_watch(self, watch: Watch, follower: UserId) -> Watch | None:
        """A watch of the same job in a follower's direct messages; None if those are closed to the bot, or tried."""
        try:
            place = await self._board.direct(watch.place, follower)
        except (NotAllowedHere, ScopeMissing) as error:
            log.warning("no direct message", user=follower, code=error.code)
            return None
        if place == watch.place:
            return None
        return Watch(WatchId(str(uuid4())), watch.job, place, follower, (follower,), watch.asked_at)

    async def _is_deleted(self, watch: Watch, ts: Ts) -> bool:
        """Whether the card has been deleted since Slack took its last look."""
        try:
            await self._board.permalink(watch.place, ts)
        except MessageGone:
            return True
        except NotAllowedHere:
            pass  # not for us to see any more, which is not the same as deleted
        return False

    async def _tell_in_thread(self, watch: Watch, ts: Ts, sight: Sight) -> bool:
        """Post the thread reply if one is due. False if there is no thread any more."""
        message = render.notice(watch, sight, self._tenant)
        due = notice_is_due(watch, sight, self._now(), self._notify_after_seconds)
        if message is None or watch.notice is not None or not (due or watch.notice_tried_at):
            return True
        post = Post(
            place=watch.place,
            forms=(message,),
            watch=watch.id,
            thread=ts,
            tried_at=watch.notice_tried_at,
            store_try=partial(self._watches.notice_tried, watch),
            store_ts=partial(self._watches.notice_posted, watch.id),
        )
        try:
            await self._posting.post_once(post)
        except (NotAllowedHere, MessageGone) as error:
            log.info("thread gone", watch=watch.id, code=error.code)
            return False
        except CannotTell:
            newest = await self._watches.newest(watch)
            if newest is not None and newest.notice is None:
                await self._repeat_after_a_crash(post)
        return True

    async def _repeat_after_a_crash(self, post: Post) -> None:
        """Without the history nobody knows whether a reply arrived that a process died over: better told
        twice than never. A reply that this process tried itself is not repeated."""
        if post.tried_at is None:
            log.warning("reply unconfirmed", watch=post.watch)
            return
        try:
            await self._posting.post_once(replace(post, tried_at=None))
        except CannotTell:
            log.warning("reply unconfirmed", watch=post.watch)
