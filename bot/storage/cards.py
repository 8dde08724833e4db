"""Cards in SQL, one short transaction per call. No prompt and no answer is stored; progress while a card is open.

A tracker's write is a compare-and-set on the fencing token of the card's row. So a process that was paused or cut off
while another process took its job over changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, insert, null, or_, select, update

from bot.domain import (
    API_CLIENT,
    ENDING,
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
    load_replies,
    of_job_in_channel,
    require_ownership,
    require_team,
    rows_of_card,
    within_limit,
)
from bot.storage.claims import Claims
from bot.storage.tables import cards, followers, questions, replies
from bot.storage.transactions import Transactions, transactional

_is_open = cards.c.closed_at.is_(None)


def _closed(at: datetime) -> dict[str, object]:
    return {"closed_at": at, "history": None}


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
    def add(self, connection: Connection, card: Card) -> Card:
        require_team(self._team, card.channel)
        with within_limit(connection, self._team, card.requester, self._most_open_follows):
            add_card(connection, card)
            return load_cards(connection, of_job_in_channel(card.job, card.channel))[0]

    @transactional
    def get(self, connection: Connection, card_id: CardId) -> Card | None:
        return self._load(connection, card_id)

    @transactional
    def reload(self, connection: Connection, card: Card) -> Card | None:
        newest = self._load(connection, card.id)
        if newest is not None and not newest.has_same_owner(card):
            raise OwnershipLost
        return newest

    async def claim(self, job: JobId) -> tuple[FencingToken, Sequence[Card]]:
        return await self._claims.claim(job)

    @transactional
    def open_cards(self, connection: Connection, job: JobId, token: FencingToken) -> Sequence[Card]:
        mine = and_(self._of_team, cards.c.job == job, _is_open)
        found = load_cards(connection, mine)
        if any(card.token not in (None, token) for card in found):
            raise OwnershipLost
        if any(card.token is None for card in found):
            new = and_(mine, cards.c.token.is_(None))
            connection.execute(update(cards).where(new).values(token=token))
            found = load_cards(connection, and_(mine, cards.c.token == token))
        return found

    @transactional
    def open_jobs(self, connection: Connection) -> Sequence[JobId]:
        jobs = select(cards.c.job).where(self._of_team, _is_open).group_by(cards.c.job)
        return [JobId(job) for job in connection.scalars(jobs.order_by(func.min(cards.c.requested_at)))]

    @transactional
    def followed_cards(self, connection: Connection, team: TeamId, follower: UserId) -> Sequence[Card]:
        return load_cards(connection, and_(self._of_team, _is_open, followed_by(team, follower)))[::-1]

    @transactional
    def ended_cards(
        self, connection: Connection, team: TeamId, follower: UserId, most: int
    ) -> Sequence[Card]:
        is_over = and_(cards.c.ended == 1, cards.c.closed_at.is_not(None), cards.c.removed_by.is_(None))
        theirs = select(cards.c.id).where(self._of_team, followed_by(team, follower), is_over)
        newest = theirs.order_by(cards.c.closed_at.desc(), cards.c.id).limit(most)
        ids = list(connection.scalars(newest))
        return sorted(load_cards(connection, cards.c.id.in_(ids)), key=lambda card: ids.index(card.id))

    @transactional
    def first_card(self, connection: Connection, job: JobId) -> Card | None:
        mine = and_(self._of_team, cards.c.job == job, ~is_unreported)
        # Follow requests are stored in this table too; they do not make their user the asker.
        asked = and_(questions.c.team == self._team, questions.c.job == job, questions.c.follow.is_(None))
        # Should Omni give two questions the same job, the second does not take it over.
        asker = select(questions.c.user).where(asked).order_by(questions.c.asked_at, questions.c.id).limit(1)
        first = next(iter(load_cards(connection, mine)), None)
        asked_by = connection.scalar(asker) if first else None
        return replace(first, requester=UserId(asked_by)) if first and asked_by else first

    @transactional
    def in_channel(self, connection: Connection, job: JobId, channel: ChannelRef) -> Card | None:
        is_here = and_(self._of_team, of_job_in_channel(job, channel))
        return next(iter(load_cards(connection, is_here)), None)

    @transactional
    def in_thread(self, connection: Connection, channel: ChannelRef, thread: MessageTs) -> Sequence[Card]:
        is_here = and_(cards.c.team == channel.team, cards.c.channel == channel.id)
        is_in_thread = or_(cards.c.message_ts == thread, cards.c.thread == thread)
        return load_cards(connection, and_(self._of_team, is_here, is_in_thread))[::-1]

    @transactional
    def unfollow(self, connection: Connection, card_id: CardId, follower: UserId) -> int | None:
        all_of_it = rows_of_card(followers, card_id, self._team)
        mine = delete(followers).where(all_of_it, followers.c.user == follower)
        if connection.execute(mine).rowcount == 0:
            return None
        people = all_of_it & (followers.c.user != API_CLIENT)
        return connection.scalar(select(func.count()).select_from(followers).where(people))

    @transactional
    def mark_post_started(self, connection: Connection, card: Card, at: datetime | None) -> None:
        self._update_owned(connection, card, post_started_at=at, history=card.history)

    @transactional
    def mark_posted(
        self,
        connection: Connection,
        card_id: CardId,
        tried_at: datetime,
        ts: MessageTs,
        fingerprint: str | None,
        *,
        ended: bool = False,
    ) -> bool:
        this_try = cards.c.post_started_at == tried_at
        look = {"shown_fingerprint": fingerprint, "ended": ended}
        if self._update(connection, card_id, this_try, cards.c.message_ts.is_(None), message_ts=ts, **look):
            return True
        # It may be stored already: the answer to our write was lost, or another process found this post.
        return self._update(connection, card_id, this_try, cards.c.message_ts == ts, message_ts=ts)

    @transactional
    def mark_shown(
        self,
        connection: Connection,
        card: Card,
        message_ts: MessageTs,
        fingerprint: str | None,
        *,
        outcome: JobState | None = None,
    ) -> bool:
        ended = outcome is not None
        is_message = cards.c.message_ts == message_ts
        if fingerprint is None:
            look = ending(card.token) if ended else None
            history = None if ended else card.history
            known = {"outcome": outcome} if ended else {}
            self._update_owned(connection, card, is_message, shown_fingerprint=look, history=history, **known)
            return True
        if ended and self._end_shown(connection, card, message_ts, fingerprint):
            return True
        columns = {"shown_fingerprint": fingerprint, **({"ended": True} if ended else {})}
        is_current = cards.c.shown_fingerprint.is_distinct_from(NEEDS_REDRAW)
        if self._update_owned(connection, card, is_message, is_current, **columns):
            return True
        newest = self._load(connection, card.id)
        return newest is None or newest.message_ts != message_ts or newest.shown_fingerprint != NEEDS_REDRAW

    def _end_shown(self, connection: Connection, card: Card, message_ts: MessageTs, fingerprint: str) -> bool:
        """Store the final update, with or without ownership. False if another edit has begun, except another final one:
        then the card says how the job ended, whichever of both comes last."""
        look, token = cards.c.shown_fingerprint, cards.c.token
        columns = {
            "shown_fingerprint": case((look == ending(card.token), fingerprint), else_=look),
            "ended": True,
            "token": case((token == card.token, token), else_=null()),
        }
        ends = cards.c.message_ts == message_ts, look.startswith(ENDING)
        return card.token is not None and self._update(connection, card.id, *ends, **columns)

    @transactional
    def mark_stale(
        self, connection: Connection, card_id: CardId, message_ts: MessageTs, *, is_end: bool = False
    ) -> None:
        this = and_(self._is(card_id), cards.c.message_ts == message_ts)
        if is_end:
            covers_other = and_(cards.c.closed_at.is_not(None), cards.c.ended == 0)
            this = and_(this, or_(covers_other, cards.c.removed_by.is_not(None)))
        has_final_update = or_(cards.c.closed_at.is_not(None), cards.c.ended == 1)
        connection.execute(update(cards).where(this).values(shown_fingerprint=NEEDS_REDRAW))
        connection.execute(update(cards).where(this, has_final_update).values(closed_at=None, token=None))

    @transactional
    def mark_message_gone(self, connection: Connection, card_id: CardId, message_ts: MessageTs) -> None:
        self._update(connection, card_id, cards.c.message_ts == message_ts, is_message_gone=True)

    @transactional
    def leave_thread(self, connection: Connection, card: Card) -> None:
        self._update_owned(connection, card, thread=None, post_started_at=None)

    @transactional
    def set_canceller(
        self, connection: Connection, job: JobId, by: UserId | None, *, instead_of: UserId | None
    ) -> None:
        before = cards.c.cancelled_by.is_not_distinct_from(instead_of)
        changing = and_(self._of_team, cards.c.job == job, cards.c.ended == 0, before)
        connection.execute(update(cards).where(changing).values(cancelled_by=by))

    @transactional
    def mark_completion_reply_started(self, connection: Connection, card: Card, at: datetime | None) -> None:
        there = self._lock_owned(connection, card)
        if there.message_ts != card.message_ts:
            raise OwnershipLost
        if at is not None and there.followers != card.followers:
            raise CardChanged
        self._update(connection, card.id, completion_reply_started_at=at)

    @transactional
    def mark_completion_reply_posted(
        self,
        connection: Connection,
        card_id: CardId,
        tried_at: datetime,
        ts: MessageTs,
        fingerprint: str | None,  # noqa: ARG002
    ) -> bool:
        this_try = cards.c.completion_reply_started_at == tried_at
        none_or_this = or_(cards.c.completion_reply_ts.is_(None), cards.c.completion_reply_ts == ts)
        return self._update(connection, card_id, this_try, none_or_this, completion_reply_ts=ts)

    @transactional
    def replies(self, connection: Connection, card_id: CardId) -> Mapping[ReplyKind, ThreadReply]:
        return load_replies(connection, card_id, self._team)

    @transactional
    def mark_reply_started(
        self, connection: Connection, card: Card, slot: ReplyKind, at: datetime | None
    ) -> None:
        this = and_(replies.c.card == card.id, replies.c.kind == slot)
        # Locked until it is written, so that the next owner reads it.
        if self._lock_owned(connection, card).message_ts != card.message_ts:
            raise OwnershipLost
        if at is None:
            connection.execute(delete(replies).where(this, replies.c.ts.is_(None)))
        elif slot in load_replies(connection, card.id, self._team):
            connection.execute(update(replies).where(this).values(started_at=at))
        else:
            connection.execute(insert(replies).values(card=card.id, kind=slot, started_at=at))

    @transactional
    def mark_reply_posted(
        self,
        connection: Connection,
        card_id: CardId,
        slot: ReplyKind,
        tried_at: datetime,
        ts: MessageTs,
        fingerprint: str | None,  # noqa: ARG002
    ) -> bool:
        this = and_(rows_of_card(replies, card_id, self._team), replies.c.kind == slot)
        none_or_this = or_(replies.c.ts.is_(None), replies.c.ts == ts)
        posted = update(replies).where(this, replies.c.started_at == tried_at, none_or_this).values(ts=ts)
        return connection.execute(posted).rowcount > 0

    @transactional
    def move(
        self, connection: Connection, card: Card, to: Sequence[Card], *, left_at: datetime | None = None
    ) -> bool:
        require_team(self._team, *(elsewhere.channel for elsewhere in to))
        there = self._lock_owned(connection, card)
        if there.followers != card.followers:
            return False
        if left_at is not None and there.is_stale:
            raise CardChanged
        if left_at is None:
            connection.execute(delete(cards).where(self._is(card.id)))
        else:
            connection.execute(delete(followers).where(followers.c.card == card.id))
            self._update(connection, card.id, **_closed(left_at), ended=False, outcome=None)
        for elsewhere in to:
            add_card(connection, elsewhere)
            # Where the job was followed already, but later: who came first is not forgotten with this row.
            later = and_(
                of_job_in_channel(elsewhere.job, elsewhere.channel),
                cards.c.requested_at > elsewhere.requested_at,
            )
            first = {"requester": elsewhere.requester, "requested_at": elsewhere.requested_at}
            connection.execute(update(cards).where(later).values(first))
        return True

    @transactional
    def forget_message(self, connection: Connection, card_id: CardId, message_ts: MessageTs) -> None:
        token = case((cards.c.closed_at.is_(None), cards.c.token), else_=null())
        this = cards.c.message_ts == message_ts, cards.c.removed_by.is_(None)
        if self._update(connection, card_id, *this, **NOT_POSTED, token=token):
            connection.execute(delete(replies).where(replies.c.card == card_id))

    @transactional
    def resume(self, connection: Connection, card_id: CardId, follower: UserId, at: datetime) -> None:
        with within_limit(connection, self._team, follower, self._most_open_follows):
            there = self._load(connection, card_id, lock=True)
            if there is None:
                return
            extend_follow(connection, card_id, at)
            if there.closed_at is not None and not there.ended:
                self._update(connection, card_id, **REOPENED)
            if follower not in there.followers:
                add_followers(connection, card_id, [follower])

    @transactional
    def lost_jobs(self, connection: Connection, before: datetime) -> Sequence[JobId]:
        lost = and_(self._of_team, self._is_lost, cards.c.closed_at < before)
        jobs = select(cards.c.job).where(lost).distinct().order_by(cards.c.job)
        return [JobId(job) for job in connection.scalars(jobs)]

    @transactional
    def settle_lost(self, connection: Connection, job: JobId, *, found: bool) -> None:
        lost = and_(self._of_team, self._is_lost, cards.c.job == job)
        values: Mapping[str, object] = REOPENED if found else {"outcome": None}
        connection.execute(update(cards).where(lost).values(values))

    @transactional
    def close(
        self,
        connection: Connection,
        card: Card,
        at: datetime,
        *,
        ended: bool = False,
        outcome: JobState | None = None,
    ) -> None:
        there = self._lock_owned(connection, card)
        is_unchanged = (there.followers, there.resumed_at) == (card.followers, card.resumed_at)
        if is_unchanged and not there.is_stale:
            self._update(connection, card.id, **_closed(at), ended=ended, outcome=outcome)

    @transactional
    def close_if_unfollowed(self, connection: Connection, card: Card, at: datetime) -> None:
        there = self._lock_owned(connection, card)
        if not there.followers and not there.is_stale:
            self._update(connection, card.id, **_closed(at))

    @transactional
    def remove(self, connection: Connection, card: Card) -> None:
        self._lock_owned(connection, card)
        connection.execute(delete(cards).where(self._is(card.id)))

    @transactional
    def delete_closed(self, connection: Connection, before: datetime) -> int:
        return connection.execute(delete(cards).where(self._of_team, cards.c.closed_at < before)).rowcount

    def _load(self, connection: Connection, card_id: CardId, *, lock: bool = False) -> Card | None:
        return next(iter(load_cards(connection, self._is(card_id), lock=lock)), None)

    def _lock_owned(self, connection: Connection, card: Card) -> Card:
        """Return the stored card, locked until the transaction ends. Raises OwnershipLost.

        A single UPDATE would not do: after waiting for a new follower's transaction, it sees the followers before it.
        """
        there = self._load(connection, card.id, lock=True)
        if there is None or not there.has_same_owner(card):
            raise OwnershipLost
        return there

    def _update_owned(
        self, connection: Connection, card: Card, *only_if: ColumnElement[bool], **columns: object
    ) -> bool:
        """Update the card as its owner. False if `only_if` does not hold. Raises OwnershipLost."""
        is_owned = cards.c.token == card.token, cards.c.removed_by.is_not_distinct_from(card.removed_by)
        if self._update(connection, card.id, *is_owned, *only_if, **columns):
            return True
        require_ownership(connection, card, self._team)
        return False

    def _update(
        self, connection: Connection, card_id: CardId, *only_if: ColumnElement[bool], **columns: object
    ) -> bool:
        """Update the card without ownership. False if nothing matched."""
        this = and_(self._is(card_id), *only_if)
        return connection.execute(update(cards).where(this).values(**columns)).rowcount > 0

    def _is(self, card_id: CardId) -> ColumnElement[bool]:
        return and_(self._of_team, cards.c.id == card_id)
