"""Queries and inserts of cards, followers, replies and questions, within the caller's transaction."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, exists, func, insert, or_, select, update

from bot.domain import (
    API_CLIENT,
    Card,
    CardFailure,
    CardId,
    ChannelRef,
    JobId,
    JobState,
    OwnershipLost,
    PendingQuestion,
    ReplyKind,
    TeamId,
    ThreadReply,
    TooManyFollows,
    UserId,
)
from bot.storage.tables import cards, followers, questions, replies

NOT_POSTED: dict[str, object] = {
    "post_started_at": None,
    "message_ts": None,
    "is_message_gone": False,
    "shown_fingerprint": None,
    "completion_reply_started_at": None,
    "completion_reply_ts": None,
    "closed_at": None,
    "ended": False,
    "outcome": None,
}
"""Columns of a card without a message."""
REOPENED: dict[str, object] = {
    "closed_at": None,
    "token": None,
    "completion_reply_started_at": None,
    "completion_reply_ts": None,
    "failure": None,
    "outcome": None,
}
"""Columns that a closed card loses when its job is followed again.

Without a token, the old tracker can't close the card. Without a completion reply, its followers are notified again.
"""

is_pending = and_(questions.c.job.is_(None), questions.c.is_reported == 0)
"""Condition for questions without a job whose loss was not reported to the user."""

is_unreported = and_(
    cards.c.failure.is_not(None), cards.c.closed_at.is_not(None), cards.c.message_ts.is_(None)
)
"""Condition for cards that could not be posted and whose followers are still to be notified."""


def of_job_in_channel(job: JobId, channel: ChannelRef) -> ColumnElement[bool]:
    """Condition for the one card that the job may have in the channel."""
    return and_(cards.c.team == channel.team, cards.c.channel == channel.id, cards.c.job == job)


def followed_by(team: TeamId, follower: UserId) -> ColumnElement[bool]:
    """Condition for cards that the user follows, open or closed."""
    followed = exists().where(followers.c.card == cards.c.id, followers.c.user == follower)
    return and_(cards.c.team == team, followed)


def rows_of_card(table: Table, card_id: CardId, team: TeamId) -> ColumnElement[bool]:
    """Condition for a table's rows of that card, if it is the team's."""
    theirs = exists().where(cards.c.id == table.c.card, cards.c.team == team)
    return and_(table.c.card == card_id, theirs)


def require_team(team: TeamId, *places: ChannelRef) -> None:
    """Raise ValueError if a channel is of another team: a defect that would mix up workspaces."""
    if strangers := {place.team for place in places} - {team}:
        raise ValueError(f"not of {team}: {', '.join(sorted(strangers))}")


def require_ownership(connection: Connection, card: Card, team: TeamId) -> None:
    """Raise OwnershipLost unless the card's fencing token is current, and its answer was not removed meanwhile. For
    when nothing was written."""
    columns = select(cards.c.token, cards.c.removed_by)
    found = connection.execute(columns.where(cards.c.team == team, cards.c.id == card.id)).all()
    if [tuple(row) for row in found] != [(card.token, card.removed_by)]:
        raise OwnershipLost


@contextmanager
def within_limit(connection: Connection, team: TeamId, user: UserId, most: int | None) -> Iterator[None]:
    """Let no other transaction add follows of the user meanwhile. Enter it before anything else is locked.

    The API has no such limit: `server.follows_api` limits its calls.

    Raises:
        TooManyFollows: on exit, with more than `most` running jobs and pending questions. Roll back then.
    """
    if connection.dialect.name == "postgresql":  # SQLite runs one transaction at a time
        name = func.hashtextextended(f"follows of {team} {user}", 0)
        connection.execute(select(func.pg_advisory_xact_lock(name)))
    yield
    if most is None or user == API_CLIENT:
        return
    followed = select(func.count()).where(followed_by(team, user), cards.c.closed_at.is_(None))
    asked = select(func.count()).where(questions.c.team == team, questions.c.user == user, is_pending)
    both = select(followed.scalar_subquery() + asked.scalar_subquery())
    if connection.execute(both).scalar_one() > most:
        raise TooManyFollows(most)


def add_card(connection: Connection, card: Card) -> None:
    """Insert a new card, or add its followers to the card that the job already has in the channel.

    An existing card keeps its requester and followers.
    """
    there = load_cards(connection, of_job_in_channel(card.job, card.channel), lock=True)
    if not there:
        row = {
            "id": card.id,
            "job": card.job,
            "team": card.channel.team,
            "channel": card.channel.id,
            "requester": card.requester,
            "requested_at": card.requested_at,
            "thread": card.thread,
            "asked_by_bot": card.asked_by_bot,
            "cancelled_by": card.cancelled_by,
            "shared_by": card.shared_by,
        }
        connection.execute(insert(cards).values(row))
        add_followers(connection, card.id, card.followers)
        return
    kept = there[0]
    is_running = bool(kept.followers) if kept.closed_at is None else kept.ended
    if is_running:
        extend_follow(connection, kept.id, card.requested_at)
    else:
        again = REOPENED | {"resumed_at": card.requested_at}
        connection.execute(update(cards).where(cards.c.id == kept.id).values(again))
    add_followers(connection, kept.id, [user for user in card.followers if user not in kept.followers])


def extend_follow(connection: Connection, card_id: CardId, at: datetime) -> None:
    """Count the time limit of the follow from now."""
    earlier = or_(cards.c.resumed_at.is_(None), cards.c.resumed_at < at)
    connection.execute(update(cards).where(cards.c.id == card_id, earlier).values(resumed_at=at))


def add_followers(connection: Connection, card_id: CardId, users: Sequence[UserId]) -> None:
    """Add users who do not follow the card yet."""
    if users:
        connection.execute(insert(followers), [{"card": card_id, "user": user} for user in users])


def load_cards(connection: Connection, condition: ColumnElement[bool], *, lock: bool = False) -> list[Card]:
    """Return cards with their followers, oldest first.

    `lock`: let no other process change them until the transaction ends. SQLite has only one.
    """
    query = select(cards).where(condition).order_by(cards.c.requested_at, cards.c.id)
    rows = connection.execute(query.with_for_update() if lock else query).all()
    followers_of: defaultdict[str, list[UserId]] = defaultdict(list)
    for card, user in connection.execute(
        select(followers.c.card, followers.c.user)
        .where(followers.c.card.in_([row.id for row in rows]))
        .order_by(followers.c.number)
    ):
        followers_of[card].append(UserId(user))
    return [_to_card(row, tuple(followers_of[row.id])) for row in rows]


def load_replies(connection: Connection, card_id: CardId, team: TeamId) -> dict[ReplyKind, ThreadReply]:
    """Return the thread replies of a card that were begun."""
    columns = replies.c.kind, replies.c.started_at, replies.c.ts
    rows = connection.execute(select(*columns).where(rows_of_card(replies, card_id, team)))
    return {ReplyKind(kind): ThreadReply(started_at, ts) for kind, started_at, ts in rows}


def load_questions(connection: Connection, condition: ColumnElement[bool]) -> list[PendingQuestion]:
    """Return questions, oldest first."""
    rows = select(questions).where(condition).order_by(questions.c.asked_at, questions.c.id)
    return [_to_question(row) for row in connection.execute(rows)]


def _to_question(row: Row[Any]) -> PendingQuestion:
    fields = dict(zip(questions.c.keys(), row, strict=True))
    fields["channel"] = ChannelRef(fields.pop("team"), fields["channel"])
    del fields["thread"], fields["is_reported"]
    return PendingQuestion(**fields)


def _to_card(row: Row[Any], users: tuple[UserId, ...]) -> Card:
    fields = dict(zip(cards.c.keys(), row, strict=True))
    fields["channel"] = ChannelRef(fields.pop("team"), fields["channel"])
    # An older version of the bot leaves the failure when it reopens the card.
    has_failed = fields["closed_at"] is not None and fields["message_ts"] is None
    fields["failure"] = CardFailure.__members__.get(fields["failure"]) if has_failed else None
    fields["outcome"] = JobState(fields["outcome"]) if fields["outcome"] else None
    return Card(followers=users, **fields)
