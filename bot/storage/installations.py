"""Installation and state stores for Bolt's OAuth flow: slack_sdk's, over our tables, with encrypted tokens."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from slack_sdk.oauth.installation_store import Installation
from slack_sdk.oauth.installation_store.sqlalchemy import AsyncSQLAlchemyInstallationStore
from slack_sdk.oauth.state_store.sqlalchemy import AsyncSQLAlchemyOAuthStateStore
from sqlalchemy import Connection, Dialect, String, delete, func, insert, select
from sqlalchemy.types import TypeDecorator

from bot.encryption import EncryptionKeys
from bot.storage.tables import (
    cards,
    channel_defaults,
    preferences,
    questions,
    slack_bots,
    slack_oauth_states,
)
from bot.storage.transactions import Transactions, transactional

BEGUN_FOR_SECONDS = 600
"""How long an installation may take from *Add to Slack* to the redirect. As long as Slack's code is valid.
Source: docs.slack.dev/authentication/installing-with-oauth."""

ENCRYPTED = ("bot_token", "bot_refresh_token", "user_token", "user_refresh_token", "incoming_webhook_url")
"""The columns that hold secrets."""


class Encrypted(TypeDecorator[str]):
    """Column type that encrypts on write and decrypts on read."""

    impl = String
    cache_ok = False

    def __init__(self, keys: EncryptionKeys) -> None:
        super().__init__()
        self._keys = keys

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Encrypt the value."""
        return None if value is None else self._keys.encrypt(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Decrypt the value. Raises DecryptionFailed."""
        return None if value is None else self._keys.decrypt(str(value))


class InstallationStore(AsyncSQLAlchemyInstallationStore):
    """slack_sdk's store, with one row per workspace instead of one per installation."""

    def __init__(self, transactions: Transactions, client_id: str, keys: EncryptionKeys) -> None:
        super().__init__(client_id, transactions.database.engine)
        self.transactions = transactions
        for table in (self.bots, self.installations):
            for name in ENCRYPTED:
                if name in table.c:
                    table.c[name].type = Encrypted(keys)

    @transactional
    def async_save(self, connection: Connection, installation: Installation) -> None:
        """Store the installation in place of the team's former ones. Raises StoreUnavailable."""
        for table, row in (
            (self.installations, installation.to_dict()),
            (self.bots, installation.to_bot().to_dict()),
        ):
            former = (table.c.client_id == self.client_id) & (table.c.team_id == installation.team_id)
            connection.execute(delete(table).where(former))
            # slack_sdk reads times as naive UTC.
            row |= {key: at.replace(tzinfo=None) for key, at in row.items() if isinstance(at, datetime)}
            connection.execute(insert(table).values(row | {"client_id": self.client_id}))


class StateStore(AsyncSQLAlchemyOAuthStateStore):
    """slack_sdk's store, where each state is valid once and expired ones are deleted."""

    def __init__(self, transactions: Transactions) -> None:
        super().__init__(BEGUN_FOR_SECONDS, transactions.database.engine)
        self.transactions = transactions

    @transactional
    def async_issue(self, connection: Connection, *_args: Any, **_more: Any) -> str:
        """Store a new state and return it. Raises StoreUnavailable."""
        state, now = str(uuid4()), _now()
        expire_at = slack_oauth_states.c.expire_at
        connection.execute(delete(slack_oauth_states).where(expire_at <= now))
        expires = now + timedelta(seconds=self.expiration_seconds)
        connection.execute(insert(slack_oauth_states).values(state=state, expire_at=expires))
        return state

    @transactional
    def async_consume(self, connection: Connection, state: str) -> bool:
        """Use up a state. False if it was not issued, has expired or was used. Raises StoreUnavailable."""
        columns = slack_oauth_states.c
        good = delete(slack_oauth_states).where(columns.state == state, columns.expire_at > _now())
        return bool(connection.execute(good).rowcount)


async def delete_uninstalled(transactions: Transactions, before: datetime) -> int:
    """Delete old rows of workspaces without the app. Returns how many cards. Raises StoreUnavailable."""
    installed = select(slack_bots.c.team_id).where(slack_bots.c.team_id.is_not(None))
    latest = func.coalesce(cards.c.resumed_at, cards.c.requested_at)
    old_cards = delete(cards).where(cards.c.team.not_in(installed), latest < before)
    old_questions = delete(questions).where(questions.c.team.not_in(installed), questions.c.asked_at < before)

    def delete_old(connection: Connection) -> int:
        for choices in (preferences, channel_defaults):
            old = choices.c.team.not_in(installed), choices.c.changed_at < before
            connection.execute(delete(choices).where(*old))
        connection.execute(old_questions)
        return connection.execute(old_cards).rowcount

    return await transactions.run(delete_old)


def _now() -> datetime:
    """Return the time as slack_sdk writes it: naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None)
