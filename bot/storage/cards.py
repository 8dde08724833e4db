"""Cards in SQL, one short transaction per call. No prompt and no answer is stored.

A tracker's write is a compare-and-set on the fencing token of the card's row. So a process that was paused or cut off
while another process took its job over changes nothing.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, delete, func, insert, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain import (
    NEEDS_REDRAW,
    Card,
    CardChanged,
    CardId,
    ChannelRef,
    FencingToken,
    JobId,
    JobState,
    MessageTs,
    OwnershipLost,
    ReplyKind,
    TeamId,
    ThreadReply,
    UserId,
    WriteConflict,
    ending,
)
from bot.storage.card_rows import (
    NOT_POSTED,
    REOPENED,
    add_card,
    add_followers,
    extend_follow,
    followed_by,
    is_unreported,
    load_cards,
    load_ended,
    load_replies,
    of_job_in_channel,
    of_thread,
    require_ownership,
    require_team,
    rows_of_card,
    seconds,
    within_limit,
)
from bot.storage.claims import Claims
from bot.storage.tables import cards, followers, questions, replies
from bot.storage.transactions import Transactions, transactional

_is_open = cards.c.closed_at.is_(None)


class SqlCardRepository:
    """`CardRepository` of one team. Every statement names the team, so no id leads to another team's rows."""

    def __init__(
        self, transactions: Transactions, team: TeamId, most_open_follows: int | None = None
    ) -> None:
        """`most_open_follows`: how many running jobs one user may follow; None: any number."""
        self.transactions = transactions
        self._most_open_follows = most_open_follows
        self._claims = Claims(transactions, team)
        self._team = team
        self._of_team = cards.c.team == team
        self._is_lost = and_(cards.c.closed_at.is_not(None), cards.c.outcome == JobState.UNKNOWN)

    @transactional
    async def add(self, card: Card) -> Card:
        try:
            return await self._add(card)
        except WriteConflict:
            return await self._add(card)

    async def _add(self, card: Card) -> Card:
        require_team(self._team, card.channel)
        async with self.transactions.begin() as connection, self._within_limit(connection, card.requester):
            await add_card(connection, card)
            return (await load_cards(connection, of_job_in_channel(card)))[0]

    @transactional
    async def get(self, card_id: CardId) -> Card | None:
        async with self.transactions.begin() as connection:
            found = await load_cards(connection, self._is(card_id))
        return found[0] if found else None

    async def reload(self, card: Card) -> Card | None:
        newest = await self.get(card.id)
        if newest is not None and newest.token != card.token:
            raise OwnershipLost
        return newest

    @transactional
    async def claim(self, job: JobId) -> tuple[FencingToken, Sequence[Card]]:
        return await self._claims.claim(job)

    @transactional
    async def open_cards(self, job: JobId, token: FencingToken) -> Sequence[Card]:
        mine = and_(self._of_team, cards.c.job == job, _is_open)
        async with self.transactions.begin() as connection:
            found = await load_cards(connection, mine)
            if any(card.token not in (None, token) for card in found):
                raise OwnershipLost
            if any(card.token is None for card in found):
                new = and_(mine, cards.c.claim.is_(None))
                await connection.execute(update(cards).where(new).values(claim=token))
                found = await load_cards(connection, and_(mine, cards.c.claim == token))
        return found

    @transactional
    async def open_jobs(self) -> Sequence[JobId]:
        jobs = select(cards.c.job).where(self._of_team, _is_open).group_by(cards.c.job)
        by_age = jobs.order_by(func.min(cards.c.asked_at))
        async with self.transactions.begin() as connection:
            return [JobId(job) for job in await connection.scalars(by_age)]

    @transactional
    async def followed_cards(self, team: TeamId, follower: UserId) -> Sequence[Card]:
        async with self.transactions.begin() as connection:
            mine = and_(self._of_team, _is_open, followed_by(team, follower))
            return (await load_cards(connection, mine))[::-1]

    @transactional
    async def ended_cards(self, team: TeamId, follower: UserId, most: int) -> Sequence[Card]:
        async with self.transactions.begin() as connection:
            return await load_ended(connection, and_(self._of_team, followed_by(team, follower)), most)

    @transactional
    async def first_card(self, job: JobId) -> Card | None:
        mine = and_(self._of_team, cards.c.job == job, ~is_unreported())
        # Follow requests are stored in this table too; they do not make their user the asker.
        asked = and_(questions.c.team == self._team, questions.c.job == job, questions.c.follow.is_(None))
        # Should Omni give two questions the same job, the second does not take it over.
        asker = select(questions.c.user).where(asked).order_by(questions.c.asked_at, questions.c.id).limit(1)
        async with self.transactions.begin() as connection:
            first = next(iter(await load_cards(connection, mine)), None)
            asked_by = await connection.scalar(asker) if first else None
        return replace(first, requester=UserId(asked_by)) if first and asked_by else first

    @transactional
    async def in_thread(self, channel: ChannelRef, thread: MessageTs) -> Sequence[Card]:
        async with self.transactions.begin() as connection:
            return (await load_cards(connection, and_(self._of_team, of_thread(channel, thread))))[::-1]

    @transactional
    async def unfollow(self, card_id: CardId, follower: UserId) -> int | None:
        all_of_it = rows_of_card(followers, card_id, self._team)
        mine = delete(followers).where(all_of_it, followers.c.user == follower)
        async with self.transactions.begin() as connection:
            if (await connection.execute(mine)).rowcount == 0:
                return None
            left = select(func.count()).select_from(followers).where(all_of_it)
            return (await connection.execute(left)).scalar_one()

    @transactional
    async def mark_post_started(self, card: Card, at: datetime | None) -> None:
        await self._update_owned(card, card_tried_at=seconds(at))

    @transactional
    async def mark_posted(
        self,
        card_id: CardId,
        tried_at: datetime,
        ts: MessageTs,
        fingerprint: str | None,
        *,
        ended: bool = False,
    ) -> bool:
        this_try = cards.c.card_tried_at == tried_at.timestamp()
        look = {"shown": fingerprint, "ended": int(ended)}
        if await self._update(card_id, this_try, cards.c.card.is_(None), card=ts, **look):
            return True
        # It may be stored already: the answer to our write was lost, or another process found this post.
        return await self._update(card_id, this_try, cards.c.card == ts, card=ts)

    @transactional
    async def mark_shown(
        self, card: Card, message_ts: MessageTs, fingerprint: str | None, *, ended: bool = False
    ) -> bool:
        if fingerprint is None:
            await self._update_owned(
                card, cards.c.card == message_ts, shown=ending(card.token) if ended else None
            )
            return True
        if ended and await self._end_shown(card, message_ts, fingerprint):
            return True
        look = {"shown": fingerprint, **({"ended": 1} if ended else {})}
        is_undoubted = cards.c.shown.is_distinct_from(NEEDS_REDRAW)
        if await self._update_owned(card, cards.c.card == message_ts, is_undoubted, **look):
            return True
        newest = await self.get(card.id)
        return newest is None or newest.message_ts != message_ts or newest.shown_fingerprint != NEEDS_REDRAW

    async def _end_shown(self, card: Card, message_ts: MessageTs, fingerprint: str) -> bool:
        """Store the final update, with or without ownership. False if another edit has begun."""
        if (mine := ending(card.token)) is None:
            return False
        claim = case((cards.c.claim == card.token, cards.c.claim), else_=null())
        unchanged = cards.c.card == message_ts, cards.c.shown == mine
        return await self._update(card.id, *unchanged, shown=fingerprint, ended=1, claim=claim)

    @transactional
    async def mark_stale(self, card_id: CardId, message_ts: MessageTs, *, is_end: bool = False) -> None:
        this = and_(self._is(card_id), cards.c.card == message_ts)
        if is_end:
            this = and_(this, cards.c.closed_at.is_not(None), cards.c.ended == 0)
        has_last_look = or_(cards.c.closed_at.is_not(None), cards.c.ended == 1)
        async with self.transactions.begin() as connection:
            await connection.execute(update(cards).where(this).values(shown=NEEDS_REDRAW))
            opening = update(cards).where(this, has_last_look).values(closed_at=None, claim=None)
            await connection.execute(opening)

    @transactional
    async def mark_message_gone(self, card_id: CardId, message_ts: MessageTs) -> None:
        await self._update(card_id, cards.c.card == message_ts, card_gone=1)

    @transactional
    async def leave_thread(self, card: Card) -> None:
        await self._update_owned(card, thread=None, card_tried_at=None)

    @transactional
    async def set_canceller(self, job: JobId, by: UserId | None, *, instead_of: UserId | None) -> None:
        before = cards.c.cancelled_by.is_not_distinct_from(instead_of)
        changing = and_(self._of_team, cards.c.job == job, cards.c.ended == 0, before)
        async with self.transactions.begin() as connection:
            await connection.execute(update(cards).where(changing).values(cancelled_by=by))

    @transactional
    async def mark_completion_reply_started(self, card: Card, at: datetime | None) -> None:
        async with self.transactions.begin() as connection:
            there = await self._lock_owned(connection, card)
            if there.message_ts != card.message_ts:
                raise OwnershipLost
            if at is not None and there.followers != card.followers:
                raise CardChanged
            trying = update(cards).where(self._is(card.id)).values(notice_tried_at=seconds(at))
            await connection.execute(trying)

    @transactional
    async def mark_completion_reply_posted(
        self,
        card_id: CardId,
        tried_at: datetime,
        ts: MessageTs,
        fingerprint: str | None,  # noqa: ARG002
    ) -> bool:
        this_try = cards.c.notice_tried_at == tried_at.timestamp()
        none_or_this = or_(cards.c.notice.is_(None), cards.c.notice == ts)
        return await self._update(card_id, this_try, none_or_this, notice=ts)

    @transactional
    async def replies(self, card_id: CardId) -> Mapping[ReplyKind, ThreadReply]:
        async with self.transactions.begin() as connection:
            return await load_replies(connection, card_id, self._team)

    @transactional
    async def mark_reply_started(self, card: Card, slot: ReplyKind, at: datetime | None) -> None:
        this = and_(replies.c.watch == card.id, replies.c.slot == slot)
        async with self.transactions.begin() as connection:
            # Locked until it is written, so that the next owner reads it.
            found = await load_cards(connection, self._is(card.id), lock=True)
            if [(there.token, there.message_ts) for there in found] != [(card.token, card.message_ts)]:
                raise OwnershipLost
            if at is None:
                await connection.execute(delete(replies).where(this, replies.c.ts.is_(None)))
            elif slot in await load_replies(connection, card.id, self._team):
                await connection.execute(update(replies).where(this).values(tried_at=at.timestamp()))
            else:
                row = {"watch": card.id, "slot": slot, "tried_at": at.timestamp()}
                await connection.execute(insert(replies).values(row))

    @transactional
    async def mark_reply_posted(
        self,
        card_id: CardId,
        slot: ReplyKind,
        tried_at: datetime,
        ts: MessageTs,
        fingerprint: str | None,  # noqa: ARG002
    ) -> bool:
        this = and_(rows_of_card(replies, card_id, self._team), replies.c.slot == slot)
        this_try = and_(this, replies.c.tried_at == tried_at.timestamp())
        none_or_this = or_(replies.c.ts.is_(None), replies.c.ts == ts)
        posted = update(replies).where(this_try, none_or_this).values(ts=ts)
        async with self.transactions.begin() as connection:
            return (await connection.execute(posted)).rowcount > 0

    @transactional
    async def move(self, card: Card, to: Sequence[Card], *, left_at: datetime | None = None) -> bool:
        require_team(self._team, *(elsewhere.channel for elsewhere in to))
        async with self.transactions.begin() as connection:
            there = await self._lock_owned(connection, card)
            if there.followers != card.followers:
                return False
            if left_at is not None and there.is_stale:
                raise CardChanged
            if left_at is None:
                await connection.execute(delete(cards).where(self._is(card.id)))
            else:
                await connection.execute(delete(followers).where(followers.c.watch == card.id))
                left = {"closed_at": left_at.timestamp(), "ended": 0, "outcome": None}
                await connection.execute(update(cards).where(self._is(card.id)).values(left))
            for elsewhere in to:
                await add_card(connection, elsewhere)
                # Where the job was followed already, but later: who came first is not forgotten with this row.
                later = and_(
                    of_job_in_channel(elsewhere), cards.c.asked_at > elsewhere.requested_at.timestamp()
                )
                first = {"requester": elsewhere.requester, "asked_at": elsewhere.requested_at.timestamp()}
                await connection.execute(update(cards).where(later).values(first))
            return True

    @transactional
    async def forget_message(self, card_id: CardId, message_ts: MessageTs) -> None:
        claim = case((cards.c.closed_at.is_(None), cards.c.claim), else_=null())
        this = and_(self._is(card_id), cards.c.card == message_ts)
        anew = update(cards).where(this).values(NOT_POSTED | {"claim": claim})
        async with self.transactions.begin() as connection:
            if (await connection.execute(anew)).rowcount > 0:
                await connection.execute(delete(replies).where(replies.c.watch == card_id))

    @transactional
    async def resume(self, card_id: CardId, follower: UserId, at: datetime) -> None:
        async with self.transactions.begin() as connection, self._within_limit(connection, follower):
            found = await load_cards(connection, self._is(card_id), lock=True)
            if not found:
                return
            await extend_follow(connection, card_id, at)
            if found[0].closed_at is not None and not found[0].ended:
                again = update(cards).where(self._is(card_id)).values(REOPENED)
                await connection.execute(again)
            if follower not in found[0].followers:
                await add_followers(connection, card_id, [follower])

    @transactional
    async def lost_jobs(self, before: datetime) -> Sequence[JobId]:
        lost = and_(self._of_team, self._is_lost, cards.c.closed_at < before.timestamp())
        jobs = select(cards.c.job).where(lost).distinct().order_by(cards.c.job)
        async with self.transactions.begin() as connection:
            return [JobId(job) for job in await connection.scalars(jobs)]

    @transactional
    async def settle_lost(self, job: JobId, *, found: bool) -> None:
        lost = and_(self._of_team, self._is_lost, cards.c.job == job)
        values: Mapping[str, object] = REOPENED if found else {"outcome": None}
        async with self.transactions.begin() as connection:
            await connection.execute(update(cards).where(lost).values(values))

    @transactional
    async def close(
        self, card: Card, at: datetime, *, ended: bool = False, outcome: JobState | None = None
    ) -> None:
        closed = {"closed_at": at.timestamp(), "ended": int(ended), "outcome": outcome}
        async with self.transactions.begin() as connection:
            there = await self._lock_owned(connection, card)
            is_unchanged = (there.followers, there.resumed_at) == (card.followers, card.resumed_at)
            if is_unchanged and not there.is_stale:
                await connection.execute(update(cards).where(self._is(card.id)).values(closed))

    @transactional
    async def close_if_unfollowed(self, card: Card, at: datetime) -> None:
        async with self.transactions.begin() as connection:
            there = await self._lock_owned(connection, card)
            if not there.followers and not there.is_stale:
                closing = update(cards).where(self._is(card.id)).values(closed_at=at.timestamp())
                await connection.execute(closing)

    @transactional
    async def remove(self, card: Card) -> None:
        async with self.transactions.begin() as connection:
            mine = and_(self._is(card.id), cards.c.claim == card.token)
            if (await connection.execute(delete(cards).where(mine))).rowcount == 0:
                await require_ownership(connection, card, self._team)

    @transactional
    async def delete_closed(self, before: datetime) -> int:
        async with self.transactions.begin() as connection:
            old = delete(cards).where(self._of_team, cards.c.closed_at < before.timestamp())
            return (await connection.execute(old)).rowcount

    def _within_limit(self, connection: AsyncConnection, user: UserId) -> AbstractAsyncContextManager[None]:
        return within_limit(connection, self._team, user, self._most_open_follows)

    async def _lock_owned(self, connection: AsyncConnection, card: Card) -> Card:
        """Return the stored card, locked until the transaction ends. Raises OwnershipLost.

        A single UPDATE would not do: after waiting for a new follower's transaction, it sees the followers before it.
        """
        found = await load_cards(connection, self._is(card.id), lock=True)
        if [there.token for there in found] != [card.token]:
            raise OwnershipLost
        return found[0]

    async def _update_owned(self, card: Card, *only_if: ColumnElement[bool], **columns: object) -> bool:
        """Update the card as its owner. False if `only_if` does not hold. Raises OwnershipLost."""
        mine = and_(self._is(card.id), cards.c.claim == card.token, *only_if)
        async with self.transactions.begin() as connection:
            if (await connection.execute(update(cards).where(mine).values(**columns))).rowcount > 0:
                return True
            await require_ownership(connection, card, self._team)
            return False

    async def _update(self, card_id: CardId, *only_if: ColumnElement[bool], **columns: object) -> bool:
        """Update the card without ownership. False if nothing matched."""
        this = and_(self._is(card_id), *only_if)
        async with self.transactions.begin() as connection:
            return (await connection.execute(update(cards).where(this).values(**columns))).rowcount > 0

    def _is(self, card_id: CardId) -> ColumnElement[bool]:
        return and_(self._of_team, cards.c.id == card_id)
