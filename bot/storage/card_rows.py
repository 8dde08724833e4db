"""Queries and inserts of cards, followers, replies and questions, within the caller's transaction."""

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
from bot.storage.tables import cards, followers, questions, replies

NOT_POSTED: dict[str, object] = {
    **dict.fromkeys("card_tried_at card shown notice_tried_at notice closed_at outcome".split()),
    "card_gone": 0,
    "ended": 0,
}
"""Columns of a card without a message."""
REOPENED: dict[str, object] = dict.fromkeys("closed_at claim notice_tried_at notice given_up outcome".split())
"""Columns that a closed card loses when its job is followed again.

Without a token, the old tracker can't close the card. Without a completion reply, its followers are notified again.
"""

is_pending = and_(questions.c.job.is_(None), questions.c.told == 0)
"""Condition for questions without a job whose loss was not reported to the user."""


def of_job_in_channel(card: Card) -> ColumnElement[bool]:
    """Condition for the one card that the job may have in the channel."""
    return and_(
        cards.c.team == card.channel.team,
        cards.c.channel == card.channel.id,
        cards.c.job == card.job,
    )


def of_thread(channel: ChannelRef, thread: MessageTs) -> ColumnElement[bool]:
    """Condition for cards that begin the thread or reply in it."""
    here = and_(cards.c.team == channel.team, cards.c.channel == channel.id)
    return and_(here, or_(cards.c.card == thread, cards.c.thread == thread))


def followed_by(team: TeamId, follower: UserId) -> ColumnElement[bool]:
    """Condition for cards that the user follows, open or closed."""
    followed = exists().where(followers.c.watch == cards.c.id, followers.c.user == follower)
    return and_(cards.c.team == team, followed)


def is_unreported() -> ColumnElement[bool]:
    """Condition for cards that could not be posted and whose followers are still to be notified."""
    return and_(cards.c.given_up.is_not(None), cards.c.closed_at.is_not(None), cards.c.card.is_(None))


def rows_of_card(table: Table, card_id: CardId, team: TeamId) -> ColumnElement[bool]:
    """Condition for a table's rows of that card, if it is the team's."""
    theirs = exists().where(cards.c.id == table.c.watch, cards.c.team == team)
    return and_(table.c.watch == card_id, theirs)


def require_team(team: TeamId, *places: ChannelRef) -> None:
    """Raise ValueError if a channel is of another team: a defect that would mix up workspaces."""
    if strangers := {place.team for place in places} - {team}:
        raise ValueError(f"not of {team}: {', '.join(sorted(strangers))}")


async def require_ownership(connection: AsyncConnection, card: Card, team: TeamId) -> None:
    """Raise OwnershipLost unless the card's fencing token is current. For when nothing was written."""
    this = and_(cards.c.team == team, cards.c.id == card.id)
    claims = await connection.scalars(select(cards.c.claim).where(this))
    if list(claims) != [card.token]:
        raise OwnershipLost


@asynccontextmanager
async def within_limit(
    connection: AsyncConnection, team: TeamId, user: UserId, most: int | None
) -> AsyncIterator[None]:
    """Let no other transaction add follows of the user meanwhile. Enter it before anything else is locked.

    Raises:
        TooManyFollows: on exit, with more than `most` running jobs and pending questions. Roll back then.
    """
    if connection.dialect.name == "postgresql":  # SQLite runs one transaction at a time
        name = func.hashtextextended(f"follows of {team} {user}", 0)
        await connection.execute(select(func.pg_advisory_xact_lock(name)))
    yield
    if most is None:
        return
    followed = select(func.count()).where(followed_by(team, user), cards.c.closed_at.is_(None))
    asked = select(func.count()).where(questions.c.team == team, questions.c.user == user, is_pending)
    both = select(followed.scalar_subquery() + asked.scalar_subquery())
    if (await connection.execute(both)).scalar_one() > most:
        raise TooManyFollows(most)


async def add_card(connection: AsyncConnection, card: Card) -> None:
    """Insert a new card, or add its followers to the card that the job already has in the channel.

    An existing card keeps its requester and followers.
    """
    there = await load_cards(connection, of_job_in_channel(card), lock=True)
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
        await connection.execute(insert(cards).values(row))
        await add_followers(connection, card.id, card.followers)
        return
    kept = there[0]
    is_running = bool(kept.followers) if kept.closed_at is None else kept.ended
    if is_running:
        await extend_follow(connection, kept.id, card.requested_at)
    else:
        again = REOPENED | {"resumed_at": card.requested_at.timestamp()}
        await connection.execute(update(cards).where(cards.c.id == kept.id).values(again))
    await add_followers(connection, kept.id, [user for user in card.followers if user not in kept.followers])


async def extend_follow(connection: AsyncConnection, card_id: CardId, at: datetime) -> None:
    """Count the time limit of the follow from now."""
    earlier = or_(cards.c.resumed_at.is_(None), cards.c.resumed_at < at.timestamp())
    later = update(cards).where(cards.c.id == card_id, earlier).values(resumed_at=at.timestamp())
    await connection.execute(later)


async def add_followers(connection: AsyncConnection, card_id: CardId, users: Sequence[UserId]) -> None:
    """Add users who do not follow the card yet."""
    if users:
        await connection.execute(insert(followers), [{"watch": card_id, "user": user} for user in users])


async def load_cards(
    connection: AsyncConnection, condition: ColumnElement[bool], *, lock: bool = False
) -> list[Card]:
    """Return cards with their followers, oldest first.

    `lock`: let no other process change them until the transaction ends. SQLite has only one.
    """
    rows = select(cards).where(condition).order_by(cards.c.asked_at, cards.c.id)
    found = [row._mapping for row in await connection.execute(rows.with_for_update() if lock else rows)]
    followers_of: dict[str, list[UserId]] = {row["id"]: [] for row in found}
    for card, user in await connection.execute(
        select(followers.c.watch, followers.c.user)
        .where(followers.c.watch.in_(followers_of))
        .order_by(followers.c.number)
    ):
        followers_of[card].append(UserId(user))
    return [_to_card(row, tuple(followers_of[row["id"]])) for row in found]


async def load_ended(connection: AsyncConnection, condition: ColumnElement[bool], most: int) -> list[Card]:
    """Return at most so many closed cards that show how the job ended, those that ended last first."""
    over = and_(condition, cards.c.ended == 1, cards.c.closed_at.is_not(None))
    last = select(cards.c.id).where(over).order_by(cards.c.closed_at.desc(), cards.c.id).limit(most)
    ids = list(await connection.scalars(last))
    found = await load_cards(connection, cards.c.id.in_(ids))
    return sorted(found, key=lambda card: ids.index(card.id))


async def load_replies(
    connection: AsyncConnection, card_id: CardId, team: TeamId
) -> dict[ReplyKind, ThreadReply]:
    """Return the thread replies of a card that were begun."""
    rows = select(replies.c.slot, replies.c.tried_at, replies.c.ts).where(
        rows_of_card(replies, card_id, team)
    )
    return {
        ReplyKind(slot): ThreadReply(_time(tried_at), MessageTs(ts) if ts else None)
        for slot, tried_at, ts in await connection.execute(rows)
    }


async def load_questions(
    connection: AsyncConnection, condition: ColumnElement[bool]
) -> list[PendingQuestion]:
    """Return questions, oldest first."""
    rows = select(questions).where(condition).order_by(questions.c.asked_at, questions.c.id)
    return [_to_question(row._mapping) for row in await connection.execute(rows)]


def _to_question(row: Any) -> PendingQuestion:
    return PendingQuestion(
        id=QuestionId(row["id"]),
        channel=ChannelRef(TeamId(row["team"]), ChannelId(row["channel"])),
        user=UserId(row["user"]),
        asked_at=_time(row["asked_at"]),
        touched_at=_time(row["touched_at"]),
        model=ModelId(row["model"]) if row["model"] else None,
        retry_of=CardId(row["retry_of"]) if row["retry_of"] else None,
        job=JobId(row["job"]) if row["job"] else None,
        follow=row["follow"],
    )


def _to_card(row: Any, users: tuple[UserId, ...]) -> Card:
    return Card(
        id=CardId(row["id"]),
        job=JobId(row["job"]),
        channel=ChannelRef(TeamId(row["team"]), ChannelId(row["channel"])),
        requester=UserId(row["requester"]),
        followers=users,
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
        failure=_failure(row),
    )


def _failure(row: Any) -> CardFailure | None:
    # An older version of the bot leaves the value when it reopens the card.
    has_failed = row["closed_at"] is not None and row["card"] is None
    return CardFailure.__members__.get(row["given_up"]) if has_failed else None


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def seconds(time: datetime | None) -> float | None:
    """Return a time as it is stored."""
    return None if time is None else time.timestamp()


def _time_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else _time(seconds)
