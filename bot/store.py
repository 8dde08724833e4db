"""The watches in SQL, one short transaction per call. No prompt and no answer is stored.

A write of a follow is a compare-and-set on the watch's row: it counts only with the claim that the row bears.
So a process that was paused, or cut off, while another took its job over finds out before it changes anything.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, delete, exists, func, insert, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.claims import Claims
from bot.errors import ClaimLost
from bot.job import JobId, JobState
from bot.rows import (
    add_watch,
    followed_by,
    let_follow,
    look_after,
    of_thread,
    same_place,
    seconds,
    select_ended,
    select_replies,
    select_watches,
)
from bot.tables import followers, replies, watches
from bot.transactions import Conflict, Transactions, whole
from bot.watch import Claim, Place, Reply, Slot, TeamId, Ts, UserId, Watch, WatchId

_still_open = watches.c.closed_at.is_(None)


class Store:
    """`Watches` over one database."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions
        self._claims = Claims(transactions)

    @whole
    async def add(self, watch: Watch) -> Watch:
        try:
            return await self._add(watch)
        except Conflict:
            return await self._add(watch)

    async def _add(self, watch: Watch) -> Watch:
        async with self.transactions.begin() as connection:
            await add_watch(connection, watch)
            return (await select_watches(connection, same_place(watch)))[0]

    @whole
    async def get(self, watch: WatchId) -> Watch | None:
        async with self.transactions.begin() as connection:
            found = await select_watches(connection, watches.c.id == watch)
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
        mine = and_(watches.c.job == job, _still_open)
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
        by_age = (
            select(watches.c.job)
            .where(_still_open)
            .group_by(watches.c.job)
            .order_by(func.min(watches.c.asked_at))
        )
        async with self.transactions.begin() as connection:
            return [JobId(job) for job in await connection.scalars(by_age)]

    @whole
    async def open_watches_of(self, team: TeamId, follower: UserId) -> Sequence[Watch]:
        async with self.transactions.begin() as connection:
            return (await select_watches(connection, and_(followed_by(team, follower), _still_open)))[::-1]

    @whole
    async def ended_watches_of(self, team: TeamId, follower: UserId, most: int) -> Sequence[Watch]:
        async with self.transactions.begin() as connection:
            return await select_ended(connection, followed_by(team, follower), most)

    @whole
    async def first_of(self, job: JobId) -> Watch | None:
        async with self.transactions.begin() as connection:
            return next(iter(await select_watches(connection, watches.c.job == job)), None)

    @whole
    async def in_thread(self, place: Place, thread: Ts) -> Sequence[Watch]:
        async with self.transactions.begin() as connection:
            return (await select_watches(connection, of_thread(place, thread)))[::-1]

    @whole
    async def unfollow(self, watch: WatchId, follower: UserId) -> int | None:
        mine = delete(followers).where(followers.c.watch == watch, followers.c.user == follower)
        left = select(func.count()).select_from(followers).where(followers.c.watch == watch)
        async with self.transactions.begin() as connection:
            if (await connection.execute(mine)).rowcount == 0:
                return None
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
    ) -> None:
        look = {"shown": fingerprint, **({"ended": 1} if ended else {})}
        await self._write(watch, watches.c.card == card, **look)

    @whole
    async def card_is_gone(self, watch: WatchId, card: Ts) -> None:
        await self._set(watch, watches.c.card == card, card_gone=1)

    @whole
    async def leave_thread(self, watch: Watch) -> None:
        await self._write(watch, thread=None, card_tried_at=None)

    @whole
    async def set_canceller(self, job: JobId, by: UserId | None, *, instead_of: UserId | None) -> None:
        before = watches.c.cancelled_by.is_not_distinct_from(instead_of)
        changing = and_(watches.c.job == job, watches.c.ended == 0, before)
        async with self.transactions.begin() as connection:
            await connection.execute(update(watches).where(changing).values(cancelled_by=by))

    @whole
    async def notice_tried(self, watch: Watch, at: datetime | None) -> None:
        await self._write(watch, notice_tried_at=seconds(at))

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
            return await select_replies(connection, watch)

    @whole
    async def reply_tried(self, watch: Watch, slot: Slot, at: datetime | None) -> None:
        this = and_(replies.c.watch == watch.id, replies.c.slot == slot)
        async with self.transactions.begin() as connection:
            # Locked until it is written: whoever claims the watch after that reads it.
            found = await select_watches(connection, watches.c.id == watch.id, lock=True)
            if [(there.claim, there.card) for there in found] != [(watch.claim, watch.card)]:
                raise ClaimLost
            if at is None:
                await connection.execute(delete(replies).where(this, replies.c.ts.is_(None)))
            elif slot in await select_replies(connection, watch.id):
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
        this_try = and_(
            replies.c.watch == watch, replies.c.slot == slot, replies.c.tried_at == tried_at.timestamp()
        )
        none_or_this = or_(replies.c.ts.is_(None), replies.c.ts == ts)
        posted = update(replies).where(this_try, none_or_this).values(ts=ts)
        async with self.transactions.begin() as connection:
            return (await connection.execute(posted)).rowcount > 0

    @whole
    async def move(self, watch: Watch, to: Sequence[Watch]) -> bool:
        async with self.transactions.begin() as connection:
            found = await select_watches(connection, watches.c.id == watch.id, lock=True)
            if [there.claim for there in found] != [watch.claim]:
                raise ClaimLost
            if [there.followers for there in found] != [watch.followers]:
                return False
            await connection.execute(delete(watches).where(watches.c.id == watch.id))
            for elsewhere in to:
                await add_watch(connection, elsewhere)
            return True

    @whole
    async def start_over(self, watch: WatchId, card: Ts) -> None:
        nothing = dict.fromkeys("card_tried_at card shown notice_tried_at notice closed_at outcome".split())
        claim = case((watches.c.closed_at.is_(None), watches.c.claim), else_=null())
        this = and_(watches.c.id == watch, watches.c.card == card)
        anew = update(watches).where(this).values(card_gone=0, ended=0, claim=claim, **nothing)
        async with self.transactions.begin() as connection:
            if (await connection.execute(anew)).rowcount > 0:
                await connection.execute(delete(replies).where(replies.c.watch == watch))

    @whole
    async def resume(self, watch: WatchId, follower: UserId, at: datetime) -> None:
        async with self.transactions.begin() as connection:
            found = await select_watches(connection, watches.c.id == watch, lock=True)
            if not found:
                return
            await look_after(connection, watch, at)
            if found[0].closed_at is not None and not found[0].ended:
                again = update(watches).where(watches.c.id == watch).values(closed_at=None, claim=None)
                await connection.execute(again)
            if follower not in found[0].followers:
                await let_follow(connection, watch, [follower])

    @whole
    async def close(
        self, watch: Watch, at: datetime, *, ended: bool = False, outcome: JobState | None = None
    ) -> None:
        unchanged = watches.c.resumed_at.is_not_distinct_from(seconds(watch.resumed_at))
        await self._write(watch, unchanged, closed_at=at.timestamp(), ended=int(ended), outcome=outcome)

    @whole
    async def close_if_deserted(self, watch: Watch, at: datetime) -> None:
        followed = exists().where(followers.c.watch == watch.id)
        mine = and_(watches.c.id == watch.id, watches.c.claim == watch.claim, ~followed)
        async with self.transactions.begin() as connection:
            # Locked first: a statement that waits for a joiner would still look at the followers before it.
            await select_watches(connection, watches.c.id == watch.id, lock=True)
            closing = update(watches).where(mine).values(closed_at=at.timestamp())
            if (await connection.execute(closing)).rowcount == 0:
                await _make_sure_of_claim(connection, watch)

    @whole
    async def remove(self, watch: Watch) -> None:
        async with self.transactions.begin() as connection:
            mine = and_(watches.c.id == watch.id, watches.c.claim == watch.claim)
            if (await connection.execute(delete(watches).where(mine))).rowcount == 0:
                await _make_sure_of_claim(connection, watch)

    @whole
    async def forget_closed(self, before: datetime) -> int:
        async with self.transactions.begin() as connection:
            old = delete(watches).where(watches.c.closed_at < before.timestamp())
            return (await connection.execute(old)).rowcount

    async def _write(self, watch: Watch, *only_if: ColumnElement[bool], **columns: object) -> None:
        """What only the follow that holds the claim may write."""
        mine = and_(watches.c.id == watch.id, watches.c.claim == watch.claim, *only_if)
        async with self.transactions.begin() as connection:
            if (await connection.execute(update(watches).where(mine).values(**columns))).rowcount == 0:
                await _make_sure_of_claim(connection, watch)

    async def _set(self, watch: WatchId, *only_if: ColumnElement[bool], **columns: object) -> bool:
        """What anybody may write who knows it."""
        this = and_(watches.c.id == watch, *only_if)
        async with self.transactions.begin() as connection:
            return (await connection.execute(update(watches).where(this).values(**columns))).rowcount > 0


async def _make_sure_of_claim(connection: AsyncConnection, watch: Watch) -> None:
    """Find out why nothing was written. Raises ClaimLost unless the claim still holds."""
    claims = await connection.scalars(select(watches.c.claim).where(watches.c.id == watch.id))
    if list(claims) != [watch.claim]:
        raise ClaimLost
