"""The watches in SQL, one short transaction per call. No prompt and no answer is stored.

A write of a follow is a compare-and-set on the watch's row: it counts only with the claim that the row bears.
So a process that was paused, or cut off, while another took its job over finds out before it changes anything.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, delete, func, insert, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.cards import DOUBTED, Claim, Place, Reply, Slot, TeamId, Ts, UserId, Watch, WatchId, ending
from bot.domain.errors import ClaimLost, Conflict, WatchChanged
from bot.domain.jobs import JobId, JobState
from bot.storage.card_rows import (
    NO_CARD,
    OPENED_AGAIN,
    add_watch,
    followed_by,
    let_follow,
    look_after,
    make_sure_of_claim,
    make_sure_of_team,
    of_thread,
    of_watch,
    same_place,
    seconds,
    select_ended,
    select_replies,
    select_watches,
    waits_for_word,
    within_limit,
)
from bot.storage.claims import Claims
from bot.storage.tables import asks, followers, replies, watches
from bot.storage.transactions import Transactions, whole

_still_open = watches.c.closed_at.is_(None)


class Store:
    """`Watches` of one team. Every statement names it: no id, wherever it comes from, leads to another team's rows."""

    def __init__(
        self, transactions: Transactions, team: TeamId, most_open_follows: int | None = None
    ) -> None:
        """`most_open_follows`: how many running jobs one person may follow; None: any number."""
        self.transactions = transactions
        self._most_open_follows = most_open_follows
        self._claims = Claims(transactions, team)
        self._team = team
        self._ours = watches.c.team == team
        self._is_lost = and_(watches.c.closed_at.is_not(None), watches.c.outcome == JobState.UNKNOWN)

    @whole
    async def add(self, watch: Watch) -> Watch:
        try:
            return await self._add(watch)
        except Conflict:
            return await self._add(watch)

    async def _add(self, watch: Watch) -> Watch:
        make_sure_of_team(self._team, watch.place)
        async with self.transactions.begin() as connection, self._within_limit(connection, watch.requester):
            await add_watch(connection, watch)
            return (await select_watches(connection, same_place(watch)))[0]

    @whole
    async def get(self, watch: WatchId) -> Watch | None:
        async with self.transactions.begin() as connection:
            found = await select_watches(connection, self._is(watch))
        return found[0] if found else None

    @whole
    async def newest(self, watch: Watch) -> Watch | None:
        newest = await self.get(watch.id)
        if newest is not None and newest.claim != watch.claim:
            raise ClaimLost
        return newest

    @whole
    async def claim(self, job: JobId) -> tuple[Claim, Sequence[Watch]]:
        return await self._claims.claim(job)

    @whole
    async def open_watches(self, job: JobId, claim: Claim) -> Sequence[Watch]:
        mine = and_(self._ours, watches.c.job == job, _still_open)
        async with self.transactions.begin() as connection:
            found = await select_watches(connection, mine)
            if any(watch.claim not in (None, claim) for watch in found):
                raise ClaimLost
            if any(watch.claim is None for watch in found):
                new = and_(mine, watches.c.claim.is_(None))
                await connection.execute(update(watches).where(new).values(claim=claim))
                found = await select_watches(connection, and_(mine, watches.c.claim == claim))
        return found

    @whole
    async def open_jobs(self) -> Sequence[JobId]:
        jobs = select(watches.c.job).where(self._ours, _still_open).group_by(watches.c.job)
        by_age = jobs.order_by(func.min(watches.c.asked_at))
        async with self.transactions.begin() as connection:
            return [JobId(job) for job in await connection.scalars(by_age)]

    @whole
    async def open_watches_of(self, team: TeamId, follower: UserId) -> Sequence[Watch]:
        async with self.transactions.begin() as connection:
            mine = and_(self._ours, _still_open, followed_by(team, follower))
            return (await select_watches(connection, mine))[::-1]

    @whole
    async def ended_watches_of(self, team: TeamId, follower: UserId, most: int) -> Sequence[Watch]:
        async with self.transactions.begin() as connection:
            return await select_ended(connection, and_(self._ours, followed_by(team, follower)), most)

    @whole
    async def first_of(self, job: JobId) -> Watch | None:
        mine = and_(self._ours, watches.c.job == job, ~waits_for_word())
        asker = select(asks.c.user).where(asks.c.team == self._team, asks.c.job == job)
        async with self.transactions.begin() as connection:
            first = next(iter(await select_watches(connection, mine)), None)
            asked_by = await connection.scalar(asker) if first else None
        return replace(first, requester=UserId(asked_by)) if first and asked_by else first

    @whole
    async def in_thread(self, place: Place, thread: Ts) -> Sequence[Watch]:
        async with self.transactions.begin() as connection:
            return (await select_watches(connection, and_(self._ours, of_thread(place, thread))))[::-1]

    @whole
    async def unfollow(self, watch: WatchId, follower: UserId) -> int | None:
        all_of_it = of_watch(followers, watch, self._team)
        mine = delete(followers).where(all_of_it, followers.c.user == follower)
        async with self.transactions.begin() as connection:
            if (await connection.execute(mine)).rowcount == 0:
                return None
            left = select(func.count()).select_from(followers).where(all_of_it)
            return (await connection.execute(left)).scalar_one()

    @whole
    async def card_tried(self, watch: Watch, at: datetime | None) -> None:
        await self._write(watch, card_tried_at=seconds(at))

    @whole
    async def card_posted(
        self, watch: WatchId, tried_at: datetime, ts: Ts, fingerprint: str | None, *, ended: bool = False
    ) -> bool:
        this_try = watches.c.card_tried_at == tried_at.timestamp()
        look = {"shown": fingerprint, "ended": int(ended)}
        if await self._set(watch, this_try, watches.c.card.is_(None), card=ts, **look):
            return True
        # Perhaps it is stored already: by a write of ours whose answer was lost, or by whoever found this post.
        return await self._set(watch, this_try, watches.c.card == ts, card=ts)

    @whole
    async def card_shows(
        self, watch: Watch, card: Ts, fingerprint: str | None, *, ended: bool = False
    ) -> bool:
        if fingerprint is None:
            await self._write(watch, watches.c.card == card, shown=ending(watch.claim) if ended else None)
            return True
        if ended and await self._end_shown(watch, card, fingerprint):
            return True
        look = {"shown": fingerprint, **({"ended": 1} if ended else {})}
        is_undoubted = watches.c.shown.is_distinct_from(DOUBTED)
        if await self._write(watch, watches.c.card == card, is_undoubted, **look):
            return True
        newest = await self.get(watch.id)
        return newest is None or newest.card != card or newest.shown != DOUBTED

    async def _end_shown(self, watch: Watch, card: Ts, fingerprint: str) -> bool:
        """Store that the card shows the end, whether or not the claim still holds. False if another edit has begun."""
        if (mine := ending(watch.claim)) is None:
            return False
        claim = case((watches.c.claim == watch.claim, watches.c.claim), else_=null())
        unchanged = watches.c.card == card, watches.c.shown == mine
        return await self._set(watch.id, *unchanged, shown=fingerprint, ended=1, claim=claim)

    @whole
    async def doubt_last_look(self, watch: WatchId, card: Ts, *, is_end: bool = False) -> None:
        this = and_(self._is(watch), watches.c.card == card)
        if is_end:
            this = and_(this, watches.c.closed_at.is_not(None), watches.c.ended == 0)
        has_last_look = or_(watches.c.closed_at.is_not(None), watches.c.ended == 1)
        async with self.transactions.begin() as connection:
            await connection.execute(update(watches).where(this).values(shown=DOUBTED))
            opening = update(watches).where(this, has_last_look).values(closed_at=None, claim=None)
            await connection.execute(opening)

    @whole
    async def card_is_gone(self, watch: WatchId, card: Ts) -> None:
        await self._set(watch, watches.c.card == card, card_gone=1)

    @whole
    async def leave_thread(self, watch: Watch) -> None:
        await self._write(watch, thread=None, card_tried_at=None)

    @whole
    async def set_canceller(self, job: JobId, by: UserId | None, *, instead_of: UserId | None) -> None:
        before = watches.c.cancelled_by.is_not_distinct_from(instead_of)
        changing = and_(self._ours, watches.c.job == job, watches.c.ended == 0, before)
        async with self.transactions.begin() as connection:
            await connection.execute(update(watches).where(changing).values(cancelled_by=by))

    @whole
    async def notice_tried(self, watch: Watch, at: datetime | None) -> None:
        async with self.transactions.begin() as connection:
            there = await self._held(connection, watch)
            if there.card != watch.card:
                raise ClaimLost
            if at is not None and there.followers != watch.followers:
                raise WatchChanged
            trying = update(watches).where(self._is(watch.id)).values(notice_tried_at=seconds(at))
            await connection.execute(trying)

    @whole
    async def notice_posted(
        self,
        watch: WatchId,
        tried_at: datetime,
        ts: Ts,
        fingerprint: str | None,  # noqa: ARG002
    ) -> bool:
        this_try = watches.c.notice_tried_at == tried_at.timestamp()
        none_or_this = or_(watches.c.notice.is_(None), watches.c.notice == ts)
        return await self._set(watch, this_try, none_or_this, notice=ts)

    @whole
    async def replies(self, watch: WatchId) -> Mapping[Slot, Reply]:
        async with self.transactions.begin() as connection:
            return await select_replies(connection, watch, self._team)

    @whole
    async def reply_tried(self, watch: Watch, slot: Slot, at: datetime | None) -> None:
        this = and_(replies.c.watch == watch.id, replies.c.slot == slot)
        async with self.transactions.begin() as connection:
            # Locked until it is written: whoever claims the watch after that reads it.
            found = await select_watches(connection, self._is(watch.id), lock=True)
            if [(there.claim, there.card) for there in found] != [(watch.claim, watch.card)]:
                raise ClaimLost
            if at is None:
                await connection.execute(delete(replies).where(this, replies.c.ts.is_(None)))
            elif slot in await select_replies(connection, watch.id, self._team):
                await connection.execute(update(replies).where(this).values(tried_at=at.timestamp()))
            else:
                row = {"watch": watch.id, "slot": slot, "tried_at": at.timestamp()}
                await connection.execute(insert(replies).values(row))

    @whole
    async def reply_posted(
        self,
        watch: WatchId,
        slot: Slot,
        tried_at: datetime,
        ts: Ts,
        fingerprint: str | None,  # noqa: ARG002
    ) -> bool:
        this = and_(of_watch(replies, watch, self._team), replies.c.slot == slot)
        this_try = and_(this, replies.c.tried_at == tried_at.timestamp())
        none_or_this = or_(replies.c.ts.is_(None), replies.c.ts == ts)
        posted = update(replies).where(this_try, none_or_this).values(ts=ts)
        async with self.transactions.begin() as connection:
            return (await connection.execute(posted)).rowcount > 0

    @whole
    async def move(self, watch: Watch, to: Sequence[Watch], *, left_at: datetime | None = None) -> bool:
        make_sure_of_team(self._team, *(elsewhere.place for elsewhere in to))
        async with self.transactions.begin() as connection:
            there = await self._held(connection, watch)
            if there.followers != watch.followers:
                return False
            if left_at is not None and there.has_doubted_look:
                raise WatchChanged
            if left_at is None:
                await connection.execute(delete(watches).where(self._is(watch.id)))
            else:
                await connection.execute(delete(followers).where(followers.c.watch == watch.id))
                left = {"closed_at": left_at.timestamp(), "ended": 0, "outcome": None}
                await connection.execute(update(watches).where(self._is(watch.id)).values(left))
            for elsewhere in to:
                await add_watch(connection, elsewhere)
                # Where the job was followed already, but later: who came first is not forgotten with this row.
                later = and_(same_place(elsewhere), watches.c.asked_at > elsewhere.asked_at.timestamp())
                first = {"requester": elsewhere.requester, "asked_at": elsewhere.asked_at.timestamp()}
                await connection.execute(update(watches).where(later).values(first))
            return True

    @whole
    async def start_over(self, watch: WatchId, card: Ts) -> None:
        claim = case((watches.c.closed_at.is_(None), watches.c.claim), else_=null())
        this = and_(self._is(watch), watches.c.card == card)
        anew = update(watches).where(this).values(NO_CARD | {"claim": claim})
        async with self.transactions.begin() as connection:
            if (await connection.execute(anew)).rowcount > 0:
                await connection.execute(delete(replies).where(replies.c.watch == watch))

    @whole
    async def resume(self, watch: WatchId, follower: UserId, at: datetime) -> None:
        async with self.transactions.begin() as connection, self._within_limit(connection, follower):
            found = await select_watches(connection, self._is(watch), lock=True)
            if not found:
                return
            await look_after(connection, watch, at)
            if found[0].closed_at is not None and not found[0].ended:
                again = update(watches).where(self._is(watch)).values(OPENED_AGAIN)
                await connection.execute(again)
            if follower not in found[0].followers:
                await let_follow(connection, watch, [follower])

    @whole
    async def lost_jobs(self, before: datetime) -> Sequence[JobId]:
        lost = and_(self._ours, self._is_lost, watches.c.closed_at < before.timestamp())
        jobs = select(watches.c.job).where(lost).distinct().order_by(watches.c.job)
        async with self.transactions.begin() as connection:
            return [JobId(job) for job in await connection.scalars(jobs)]

    @whole
    async def settle_lost(self, job: JobId, *, found: bool) -> None:
        lost = and_(self._ours, self._is_lost, watches.c.job == job)
        values: Mapping[str, object] = OPENED_AGAIN if found else {"outcome": None}
        async with self.transactions.begin() as connection:
            await connection.execute(update(watches).where(lost).values(values))

    @whole
    async def close(
        self, watch: Watch, at: datetime, *, ended: bool = False, outcome: JobState | None = None
    ) -> None:
        closed = {"closed_at": at.timestamp(), "ended": int(ended), "outcome": outcome}
        async with self.transactions.begin() as connection:
            there = await self._held(connection, watch)
            is_unchanged = (there.followers, there.resumed_at) == (watch.followers, watch.resumed_at)
            if is_unchanged and not there.has_doubted_look:
                await connection.execute(update(watches).where(self._is(watch.id)).values(closed))

    @whole
    async def close_if_deserted(self, watch: Watch, at: datetime) -> None:
        async with self.transactions.begin() as connection:
            there = await self._held(connection, watch)
            if not there.followers and not there.has_doubted_look:
                closing = update(watches).where(self._is(watch.id)).values(closed_at=at.timestamp())
                await connection.execute(closing)

    @whole
    async def remove(self, watch: Watch) -> None:
        async with self.transactions.begin() as connection:
            mine = and_(self._is(watch.id), watches.c.claim == watch.claim)
            if (await connection.execute(delete(watches).where(mine))).rowcount == 0:
                await make_sure_of_claim(connection, watch, self._team)

    @whole
    async def forget_closed(self, before: datetime) -> int:
        async with self.transactions.begin() as connection:
            old = delete(watches).where(self._ours, watches.c.closed_at < before.timestamp())
            return (await connection.execute(old)).rowcount

    def _within_limit(self, connection: AsyncConnection, user: UserId) -> AbstractAsyncContextManager[None]:
        return within_limit(connection, self._team, user, self._most_open_follows)

    async def _held(self, connection: AsyncConnection, watch: Watch) -> Watch:
        """The watch as it now stands, locked until the transaction ends: a statement that waits for a joiner would
        still look at the followers before it. Raises ClaimLost."""
        found = await select_watches(connection, self._is(watch.id), lock=True)
        if [there.claim for there in found] != [watch.claim]:
            raise ClaimLost
        return found[0]

    async def _write(self, watch: Watch, *only_if: ColumnElement[bool], **columns: object) -> bool:
        """What only the follow that holds the claim may write. False where it holds it and `only_if` does not."""
        mine = and_(self._is(watch.id), watches.c.claim == watch.claim, *only_if)
        async with self.transactions.begin() as connection:
            if (await connection.execute(update(watches).where(mine).values(**columns))).rowcount > 0:
                return True
            await make_sure_of_claim(connection, watch, self._team)
            return False

    async def _set(self, watch: WatchId, *only_if: ColumnElement[bool], **columns: object) -> bool:
        """What anybody may write who knows it."""
        this = and_(self._is(watch), *only_if)
        async with self.transactions.begin() as connection:
            return (await connection.execute(update(watches).where(this).values(**columns))).rowcount > 0

    def _is(self, watch: WatchId) -> ColumnElement[bool]:
        return and_(self._ours, watches.c.id == watch)
