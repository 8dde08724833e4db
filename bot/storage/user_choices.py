"""The choices of a team's users, in SQL: when to be notified, and how they rate answers."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, delete, insert, select, update

from bot.domain import Card, Notify, Rating, TeamId, UserId
from bot.storage.tables import preferences, ratings
from bot.storage.transactions import Transactions, transactional


class SqlPreferenceRepository:
    """`PreferenceRepository` of one team. Every statement names the team."""

    def __init__(self, transactions: Transactions, team: TeamId) -> None:
        self.transactions = transactions
        self._team = team
        self._of_team = preferences.c.team == team

    @transactional
    def notify(self, connection: Connection, users: Sequence[UserId]) -> Mapping[UserId, Notify]:
        theirs = and_(self._of_team, preferences.c.user.in_(users))
        chosen = dict(
            connection.execute(select(preferences.c.user, preferences.c.notify).where(theirs)).all()
        )
        return {user: _choice(chosen.get(user)) for user in users}

    @transactional
    def set_notify(self, connection: Connection, user: UserId, choice: Notify, at: datetime) -> None:
        mine = and_(self._of_team, preferences.c.user == user)
        if choice is Notify.ALWAYS:
            connection.execute(delete(preferences).where(mine))
            return
        row = {"notify": choice.value, "changed_at": at}
        if not connection.execute(update(preferences).where(mine).values(row)).rowcount:
            connection.execute(insert(preferences).values(row | {"team": self._team, "user": user}))


class SqlRatingRepository:
    """`RatingRepository`. A card's row is of one team, and its ratings are deleted with it."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions

    @transactional
    def rate(self, connection: Connection, card: Card, user: UserId, rating: Rating, at: datetime) -> bool:
        mine = and_(ratings.c.card == card.id, ratings.c.user == user)
        before = connection.scalar(select(ratings.c.rating).where(mine))
        if before == rating:
            return False
        row = {"rating": rating.value, "rated_at": at}
        if before is None:
            connection.execute(insert(ratings).values(row | {"card": card.id, "user": user}))
        else:
            connection.execute(update(ratings).where(mine).values(row))
        return True


def _choice(stored: str | None) -> Notify:
    """The choice of a row. A newer version of the bot may have stored one that this version does not know."""
    return Notify(stored) if stored in set(Notify) else Notify.ALWAYS
