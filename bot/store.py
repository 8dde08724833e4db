"""The watches in SQL, one short transaction per call. No prompt and no answer is stored.

A write of a follow is a compare-and-set on the watch's row: it counts only with the claim that the row bears.
So a process that was paused, or cut off, while another took its job over finds out before it changes anything.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.job import JobId
from bot.ports import ClaimLost
from bot.tables import followers, watches
from bot.transactions import Conflict, Transactions, whole
from bot.watch import ChannelId, Claim, Place, TeamId, Ts, UserId, Watch, WatchId

_still_open = watches.c.closed_at.is_(None)


class Store:
    """`Watches` over one database."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions

    @whole
    async def add(self, watch: Watch) -> Watch:
        try:
            return await self._add(watch)
        except Conflict:
            return await self._add(watch)

    async def _add(self, watch: Watch) -> Watch:
        async with self.transactions.begin() as connection:
            await _add(connection, watch)
            return (await _select(connection, _same_place(watch)))[0]

    @whole
    async def get(self, watch: WatchId) -> Watch | None:
        async with self.transactions.begin() as connection:
            found = await _select(connection, watches.c.id == watch)
        return found[0] if found else None

    @whole
    async def newest(self, watch: Watch) -> Watch | None:
        newest = await self.get(watch.id)
        if newest is not None and newest.claim != watch.claim:
            raise ClaimLost
        return newest

    @whole
    async def claim(self, job: JobId) -> Claim:
        claim = Claim(str(uuid4()))
        async with self.transactions.begin() as connection:
            await connection.execute(
                update(watches).where(watches.c.job == job, _still_open).values(claim=claim)
            )
        return claim

    @whole
    async def open_watches(self, job: JobId, claim: Claim) -> Sequence[Watch]:
        mine = and_(watches.c.job == job, _still_open)
        async with self.transactions.begin() as connection:
            found = await _select(connection, mine)
            if any(watch.claim not in (None, claim) for watch in found):
                raise ClaimLost
            if any(watch.claim is None for watch in found):
                new = and_(mine, watches.c.claim.is_(None))
                await connection.execute(update(watches).where(new).values(claim=claim))
                found = await _select(connection, and_(mine, watches.c.claim == claim))
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
        followed = exists().where(followers.c.watch == watches.c.id, followers.c.user == follower)
        async with self.transactions.begin() as connection:
            found = await _select(connection, and_(watches.c.team == team, _still_open, followed))
        return found[::-1]

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
        await self._write(watch, card_tried_at=_seconds(at))

    @whole
    async def card_posted(self, watch: WatchId, tried_at: datetime, ts: Ts, fingerprint: str | None) -> bool:
        this_try = watches.c.card_tried_at == tried_at.timestamp()
        if await self._set(watch, this_try, watches.c.card.is_(None), card=ts, shown=fingerprint):
            return True
        # Perhaps it is stored already: by a write of ours whose answer was lost, or by whoever found this post.
        return await self._set(watch, this_try, watches.c.card == ts, card=ts)

    @whole
    async def card_shows(self, watch: Watch, card: Ts, fingerprint: str | None) -> None:
        await self._write(watch, watches.c.card == card, shown=fingerprint)

    @whole
    async def card_is_gone(self, watch: WatchId, card: Ts) -> None:
        await self._set(watch, watches.c.card == card, card_gone=1)

    @whole
    async def notice_tried(self, watch: Watch, at: datetime | None) -> None:
        await self._write(watch, notice_tried_at=_seconds(at))

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
    async def move(self, watch: Watch, to: Sequence[Watch]) -> bool:
        async with self.transactions.begin() as connection:
            found = await _select(connection, watches.c.id == watch.id, lock=True)
            if [there.claim for there in found] != [watch.claim]:
                raise ClaimLost
            if [there.followers for there in found] != [watch.followers]:
                return False
            await connection.execute(delete(watches).where(watches.c.id == watch.id))
            for elsewhere in to:
                await _add(connection, elsewhere)
            return True

    @whole
    async def start_over(self, watch: WatchId, card: Ts) -> None:
        nothing = dict.fromkeys(("card_tried_at", "card", "shown", "notice_tried_at", "notice"))
        await self._set(watch, watches.c.card == card, card_gone=0, **nothing)

    @whole
    async def resume(self, watch: WatchId, follower: UserId, at: datetime) -> None:
        async with self.transactions.begin() as connection:
            found = await _select(connection, watches.c.id == watch, lock=True)
            if not found:
                return
            await _look_after(connection, watch, at)
            if found[0].closed_at is not None:
                again = {"closed_at": None, "claim": None}
                await connection.execute(update(watches).where(watches.c.id == watch).values(again))
            if follower not in found[0].followers:
                await _let_follow(connection, watch, [follower])

    @whole
    async def close(self, watch: Watch, at: datetime) -> None:
        since = _seconds(watch.resumed_at)
        await self._write(watch, watches.c.resumed_at.is_not_distinct_from(since), closed_at=at.timestamp())

    @whole
    async def close_if_deserted(self, watch: Watch, at: datetime) -> None:
        followed = exists().where(followers.c.watch == watch.id)
        mine = and_(watches.c.id == watch.id, watches.c.claim == watch.claim, ~followed)
        async with self.transactions.begin() as connection:
            # Locked first: a statement that waits for a joiner would still look at the followers before it.
            await _select(connection, watches.c.id == watch.id, lock=True)
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


def _same_place(watch: Watch) -> ColumnElement[bool]:
    return and_(
        watches.c.team == watch.place.team,
        watches.c.channel == watch.place.channel,
        watches.c.job == watch.job,
    )


async def _add(connection: AsyncConnection, watch: Watch) -> None:
    there = await _select(connection, _same_place(watch), lock=True)
    if not there:
        row = {
            "id": watch.id,
            "job": watch.job,
            "team": watch.place.team,
            "channel": watch.place.channel,
            "requester": watch.requester,
            "asked_at": watch.asked_at.timestamp(),
        }
        await connection.execute(insert(watches).values(row))
        await _let_follow(connection, watch.id, watch.followers)
        return
    kept = there[0]
    if kept.closed_at is not None or not kept.followers:
        # Without a claim: a follow that was about to close it must not, and the next look takes it up.
        again = {
            "closed_at": None,
            "claim": None,
            "requester": watch.requester,
            "asked_at": watch.asked_at.timestamp(),
            "resumed_at": None,
        }
        await connection.execute(update(watches).where(watches.c.id == kept.id).values(again))
        await connection.execute(delete(followers).where(followers.c.watch == kept.id))
        kept = (await _select(connection, watches.c.id == kept.id))[0]
    else:
        await _look_after(connection, kept.id, watch.asked_at)
    await _let_follow(connection, kept.id, [user for user in watch.followers if user not in kept.followers])


async def _look_after(connection: AsyncConnection, watch: WatchId, at: datetime) -> None:
    """Count from now how long the watch is looked after: somebody has just asked for it."""
    earlier = or_(watches.c.resumed_at.is_(None), watches.c.resumed_at < at.timestamp())
    later = update(watches).where(watches.c.id == watch, earlier).values(resumed_at=at.timestamp())
    await connection.execute(later)


async def _let_follow(connection: AsyncConnection, watch: WatchId, users: Sequence[UserId]) -> None:
    if users:
        await connection.execute(insert(followers), [{"watch": watch, "user": user} for user in users])


async def _select(
    connection: AsyncConnection, condition: ColumnElement[bool], *, lock: bool = False
) -> list[Watch]:
    """`lock`: keep other processes from changing them until the transaction ends. SQLite has but one."""
    rows = select(watches).where(condition).order_by(watches.c.asked_at, watches.c.id)
    found = [row._mapping for row in await connection.execute(rows.with_for_update() if lock else rows)]
    who: dict[str, list[UserId]] = {row["id"]: [] for row in found}
    for watch, user in await connection.execute(
        select(followers.c.watch, followers.c.user)
        .where(followers.c.watch.in_(who))
        .order_by(followers.c.number)
    ):
        who[watch].append(UserId(user))
    return [_watch(row, tuple(who[row["id"]])) for row in found]


def _watch(row: Any, who: tuple[UserId, ...]) -> Watch:
    return Watch(
        id=WatchId(row["id"]),
        job=JobId(row["job"]),
        place=Place(TeamId(row["team"]), ChannelId(row["channel"])),
        requester=UserId(row["requester"]),
        followers=who,
        asked_at=_time(row["asked_at"]),
        card_tried_at=_time_or_none(row["card_tried_at"]),
        card=Ts(row["card"]) if row["card"] else None,
        card_gone=bool(row["card_gone"]),
        shown=row["shown"],
        notice_tried_at=_time_or_none(row["notice_tried_at"]),
        notice=Ts(row["notice"]) if row["notice"] else None,
        closed_at=_time_or_none(row["closed_at"]),
        claim=Claim(row["claim"]) if row["claim"] else None,
        resumed_at=_time_or_none(row["resumed_at"]),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _time_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else _time(seconds)


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()
