"""Rows of watches, their followers and replies, and of asks: read, and added to, within the caller's transaction."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain import (
    Card,
    CardFailure,
    CardId,
    ChannelId,
    ChannelRef,
    FencingToken,
    JobId,
    JobState,
    MessageTs,
    ModelId,
    OwnershipLost,
    PendingQuestion,
    QuestionId,
    ReplyKind,
    TeamId,
    ThreadReply,
    TooManyFollows,
    UserId,
)
from bot.storage.tables import asks, followers, replies, watches

NO_CARD: dict[str, object] = {
    **dict.fromkeys("card_tried_at card shown notice_tried_at notice closed_at outcome".split()),
    "card_gone": 0,
    "ended": 0,
}
"""What a watch bears that has no card yet, or none any more."""
OPENED_AGAIN: dict[str, object] = dict.fromkeys(
    "closed_at claim notice_tried_at notice given_up outcome".split()
)
"""What a closed watch loses when its job is followed again. Without a claim: a follow that was about to close it must
not, and the next look takes it up. Without a notice: its followers are told how the job ends after all."""

in_hand = and_(asks.c.job.is_(None), asks.c.told == 0)
"""Of an ask: nothing has come of it, and its person has not been told so."""


def same_channel(card: Card) -> ColumnElement[bool]:
    """The one watch that the job may have there."""
    return and_(
        watches.c.team == card.channel.team,
        watches.c.channel == card.channel.id,
        watches.c.job == card.job,
    )


def of_thread(channel: ChannelRef, thread: MessageTs) -> ColumnElement[bool]:
    """The watches whose card begins the thread or is a reply in it."""
    here = and_(watches.c.team == channel.team, watches.c.channel == channel.id)
    return and_(here, or_(watches.c.card == thread, watches.c.thread == thread))


def followed_by(team: TeamId, follower: UserId) -> ColumnElement[bool]:
    """The watches that a person follows, open or closed."""
    followed = exists().where(followers.c.watch == watches.c.id, followers.c.user == follower)
    return and_(watches.c.team == team, followed)


def waits_for_word() -> ColumnElement[bool]:
    """The watches that were given up and whose followers are still to be told."""
    return and_(watches.c.given_up.is_not(None), watches.c.closed_at.is_not(None), watches.c.card.is_(None))


def of_watch(table: Table, card_id: CardId, team: TeamId) -> ColumnElement[bool]:
    """What the table has of that watch, if it is the team's."""
    theirs = exists().where(watches.c.id == table.c.watch, watches.c.team == team)
    return and_(table.c.watch == card_id, theirs)


def require_team(team: TeamId, *places: ChannelRef) -> None:
    """Raise ValueError unless all the places are in the team: there a defect of ours would mix up workspaces."""
    if strangers := {place.team for place in places} - {team}:
        raise ValueError(f"not of {team}: {', '.join(sorted(strangers))}")


async def require_ownership(connection: AsyncConnection, card: Card, team: TeamId) -> None:
    """Find out why nothing was written. Raises ClaimLost unless the claim still holds."""
    this = and_(watches.c.team == team, watches.c.id == card.id)
    claims = await connection.scalars(select(watches.c.claim).where(this))
    if list(claims) != [card.token]:
        raise OwnershipLost


@asynccontextmanager
async def within_limit(
    connection: AsyncConnection, team: TeamId, user: UserId, most: int | None
) -> AsyncIterator[None]:
    """Add to what a person follows while no other transaction does. To be entered before anything else is locked.

    Raises:
        TooManyFollows: more than `most` running jobs by then, counting questions in hand. Nothing may be committed.
    """
    if connection.dialect.name == "postgresql":  # SQLite runs one transaction at a time
        name = func.hashtextextended(f"follows of {team} {user}", 0)
        await connection.execute(select(func.pg_advisory_xact_lock(name)))
    yield
    if most is None:
        return
    followed = select(func.count()).where(followed_by(team, user), watches.c.closed_at.is_(None))
    asked = select(func.count()).where(asks.c.team == team, asks.c.user == user, in_hand)
    both = select(followed.scalar_subquery() + asked.scalar_subquery())
    if (await connection.execute(both)).scalar_one() > most:
        raise TooManyFollows(most)


async def add_card(connection: AsyncConnection, card: Card) -> None:
    """Store a new watch, or let its followers follow the one that its job has in its place already.

    The requester and the followers of that one stay: they asked first, which no later command changes.
    """
    there = await select_cards(connection, same_channel(card), lock=True)
    if not there:
        row = {
            "id": card.id,
            "job": card.job,
            "team": card.channel.team,
            "channel": card.channel.id,
            "requester": card.requester,
            "asked_at": card.requested_at.timestamp(),
            "thread": card.thread,
            "is_own": int(card.asked_by_bot),
            "cancelled_by": card.cancelled_by,
        }
        await connection.execute(insert(watches).values(row))
        await let_follow(connection, card.id, card.followers)
        return
    kept = there[0]
    goes_on = bool(kept.followers) if kept.closed_at is None else kept.ended
    if goes_on:
        await look_after(connection, kept.id, card.requested_at)
    else:
        again = OPENED_AGAIN | {"resumed_at": card.requested_at.timestamp()}
        await connection.execute(update(watches).where(watches.c.id == kept.id).values(again))
    await let_follow(connection, kept.id, [user for user in card.followers if user not in kept.followers])


async def look_after(connection: AsyncConnection, card_id: CardId, at: datetime) -> None:
    """Count from now how long the watch is looked after: somebody has just asked for it."""
    earlier = or_(watches.c.resumed_at.is_(None), watches.c.resumed_at < at.timestamp())
    later = update(watches).where(watches.c.id == card_id, earlier).values(resumed_at=at.timestamp())
    await connection.execute(later)


async def let_follow(connection: AsyncConnection, card_id: CardId, users: Sequence[UserId]) -> None:
    """Add people who do not follow it yet."""
    if users:
        await connection.execute(insert(followers), [{"watch": card_id, "user": user} for user in users])


async def select_cards(
    connection: AsyncConnection, condition: ColumnElement[bool], *, lock: bool = False
) -> list[Card]:
    """Watches with their followers, oldest first.

    `lock`: keep other processes from changing them until the transaction ends. SQLite has but one.
    """
    rows = select(watches).where(condition).order_by(watches.c.asked_at, watches.c.id)
    found = [row._mapping for row in await connection.execute(rows.with_for_update() if lock else rows)]
    who: dict[str, list[UserId]] = {row["id"]: [] for row in found}
    for card, user in await connection.execute(
        select(followers.c.watch, followers.c.user)
        .where(followers.c.watch.in_(who))
        .order_by(followers.c.number)
    ):
        who[card].append(UserId(user))
    return [_watch(row, tuple(who[row["id"]])) for row in found]


async def select_ended(connection: AsyncConnection, condition: ColumnElement[bool], most: int) -> list[Card]:
    """Closed watches whose card says how the job ended, at most so many, those that ended last first."""
    over = and_(condition, watches.c.ended == 1, watches.c.closed_at.is_not(None))
    last = select(watches.c.id).where(over).order_by(watches.c.closed_at.desc(), watches.c.id).limit(most)
    ids = list(await connection.scalars(last))
    found = await select_cards(connection, watches.c.id.in_(ids))
    return sorted(found, key=lambda card: ids.index(card.id))


async def select_replies(
    connection: AsyncConnection, card_id: CardId, team: TeamId
) -> dict[ReplyKind, ThreadReply]:
    """What goes on from the card of a team's watch in its thread, as far as it was begun."""
    rows = select(replies.c.slot, replies.c.tried_at, replies.c.ts).where(of_watch(replies, card_id, team))
    return {
        ReplyKind(slot): ThreadReply(_time(tried_at), MessageTs(ts) if ts else None)
        for slot, tried_at, ts in await connection.execute(rows)
    }


async def select_questions(
    connection: AsyncConnection, condition: ColumnElement[bool]
) -> list[PendingQuestion]:
    """Asks, oldest first."""
    rows = select(asks).where(condition).order_by(asks.c.asked_at, asks.c.id)
    return [_ask(row._mapping) for row in await connection.execute(rows)]


def _ask(row: Any) -> PendingQuestion:
    return PendingQuestion(
        id=QuestionId(row["id"]),
        place=ChannelRef(TeamId(row["team"]), ChannelId(row["channel"])),
        user=UserId(row["user"]),
        asked_at=_time(row["asked_at"]),
        touched_at=_time(row["touched_at"]),
        model=ModelId(row["model"]) if row["model"] else None,
        retry_of=CardId(row["retry_of"]) if row["retry_of"] else None,
        job=JobId(row["job"]) if row["job"] else None,
        follow=row["follow"],
    )


def _watch(row: Any, who: tuple[UserId, ...]) -> Card:
    return Card(
        id=CardId(row["id"]),
        job=JobId(row["job"]),
        channel=ChannelRef(TeamId(row["team"]), ChannelId(row["channel"])),
        requester=UserId(row["requester"]),
        followers=who,
        requested_at=_time(row["asked_at"]),
        post_started_at=_time_or_none(row["card_tried_at"]),
        message_ts=MessageTs(row["card"]) if row["card"] else None,
        is_message_gone=bool(row["card_gone"]),
        shown_fingerprint=row["shown"],
        completion_reply_started_at=_time_or_none(row["notice_tried_at"]),
        completion_reply_ts=MessageTs(row["notice"]) if row["notice"] else None,
        closed_at=_time_or_none(row["closed_at"]),
        token=FencingToken(row["claim"]) if row["claim"] else None,
        resumed_at=_time_or_none(row["resumed_at"]),
        ended=bool(row["ended"]),
        thread=MessageTs(row["thread"]) if row["thread"] else None,
        asked_by_bot=bool(row["is_own"]),
        cancelled_by=UserId(row["cancelled_by"]) if row["cancelled_by"] else None,
        retried_by=UserId(row["retried_by"]) if row["retried_by"] else None,
        outcome=JobState(row["outcome"]) if row["outcome"] else None,
        failure=_given_up(row),
    )


def _given_up(row: Any) -> CardFailure | None:
    # An older bot that opens the watch again leaves it standing there.
    is_so = row["closed_at"] is not None and row["card"] is None
    return CardFailure.__members__.get(row["given_up"]) if is_so else None


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def seconds(time: datetime | None) -> float | None:
    """A time as it is stored."""
    return None if time is None else time.timestamp()


def _time_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else _time(seconds)
