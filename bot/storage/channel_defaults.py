"""The models and topics that channels have of their own, in SQL."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, and_, delete, insert, select, update

from bot.domain import ChannelDefault, ChannelId, ModelId, TeamId
from bot.storage.tables import channel_defaults
from bot.storage.transactions import Transactions, transactional


class SqlChannelDefaultRepository:
    """`ChannelDefaultRepository` of one team. Every statement names the team."""

    def __init__(self, transactions: Transactions, team: TeamId) -> None:
        self.transactions = transactions
        self._team = team
        self._of_team = channel_defaults.c.team == team

    @transactional
    def get(self, connection: Connection, channel: ChannelId) -> ChannelDefault | None:
        columns = channel_defaults.c
        this = and_(self._of_team, columns.channel == channel)
        found = connection.execute(select(columns.model, columns.topic).where(this)).first()
        return None if found is None else ChannelDefault(ModelId(found.model), found.topic)

    @transactional
    def put(self, connection: Connection, channel: ChannelId, default: ChannelDefault, at: datetime) -> None:
        this = and_(self._of_team, channel_defaults.c.channel == channel)
        row = {"model": default.model, "topic": default.topic, "changed_at": at}
        if not connection.execute(update(channel_defaults).where(this).values(row)).rowcount:
            connection.execute(
                insert(channel_defaults).values(row | {"team": self._team, "channel": channel})
            )

    @transactional
    def remove(self, connection: Connection, channel: ChannelId) -> bool:
        this = and_(self._of_team, channel_defaults.c.channel == channel)
        return bool(connection.execute(delete(channel_defaults).where(this)).rowcount)

    @transactional
    def all(self, connection: Connection) -> Mapping[ChannelId, ChannelDefault]:
        columns = channel_defaults.c
        rows = connection.execute(select(channel_defaults).where(self._of_team).order_by(columns.channel))
        return {ChannelId(row.channel): ChannelDefault(ModelId(row.model), row.topic) for row in rows}
