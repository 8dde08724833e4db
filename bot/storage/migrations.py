"""Schema migrations. Forward only: an older bot can't use a migrated database."""

from collections.abc import Callable

from sqlalchemy import Connection, insert, inspect, select, text, update

from bot.domain import SchemaTooNew
from bot.storage.tables import metadata, schema_version


def _claims_and_resuming(connection: Connection) -> None:
    """Version 2: several processes on one database, and resumed follows."""
    connection.execute(text("ALTER TABLE watches ADD COLUMN claim VARCHAR(36)"))
    connection.execute(text("ALTER TABLE watches ADD COLUMN resumed_at FLOAT"))
    connection.execute(text("ALTER TABLE watches ADD COLUMN ended INTEGER DEFAULT '0' NOT NULL"))
    connection.execute(text("CREATE INDEX watches_by_closing ON watches (closed_at)"))


def _durations(connection: Connection) -> None:
    """Version 3: job durations."""
    connection.execute(
        text(
            "CREATE TABLE durations (job VARCHAR(36) NOT NULL PRIMARY KEY, seconds FLOAT NOT NULL, "
            "ended_at FLOAT NOT NULL)"
        )
    )


def _replies(connection: Connection) -> None:
    """Version 4: thread replies."""
    connection.execute(
        text(
            "CREATE TABLE replies (watch VARCHAR(36) NOT NULL, slot VARCHAR(16) NOT NULL, "
            "tried_at FLOAT NOT NULL, ts VARCHAR(32), PRIMARY KEY (watch, slot), "
            "FOREIGN KEY(watch) REFERENCES watches (id) ON DELETE CASCADE)"
        )
    )


def _asks(connection: Connection) -> None:
    """Version 5: questions, cancelled jobs, and cards in a thread."""
    for column in (
        "thread VARCHAR(32)",
        "is_own INTEGER DEFAULT '0' NOT NULL",
        "cancelled_by VARCHAR(32)",
        "retried_by VARCHAR(32)",
        "outcome VARCHAR(16)",
    ):
        connection.execute(text(f"ALTER TABLE watches ADD COLUMN {column}"))
    connection.execute(
        text(
            "CREATE TABLE asks (id VARCHAR(36) NOT NULL PRIMARY KEY, team VARCHAR(32) NOT NULL, "
            'channel VARCHAR(32) NOT NULL, thread VARCHAR(32), "user" VARCHAR(32) NOT NULL, '
            "asked_at FLOAT NOT NULL, touched_at FLOAT NOT NULL, model VARCHAR(36), retry_of VARCHAR(36), "
            "job VARCHAR(36), told INTEGER DEFAULT '0' NOT NULL)"
        )
    )
    connection.execute(text('CREATE INDEX asks_by_user ON asks ("user", asked_at)'))


def _secrets(connection: Connection) -> None:
    """Version 6: secrets that the processes share."""
    connection.execute(
        text("CREATE TABLE secrets (name VARCHAR(64) NOT NULL PRIMARY KEY, value VARCHAR(128) NOT NULL)")
    )


def _installations(connection: Connection) -> None:
    """Version 7: installations, and the Omni of each workspace."""
    number = "SERIAL" if connection.dialect.name == "postgresql" else "INTEGER"
    team = (
        f"id {number} NOT NULL PRIMARY KEY, client_id VARCHAR(32) NOT NULL, app_id VARCHAR(32) NOT NULL, "
        "enterprise_id VARCHAR(32), enterprise_name VARCHAR(200)"
    )
    bot = (
        "team_id VARCHAR(32), team_name VARCHAR(200), bot_token VARCHAR(1000), bot_id VARCHAR(32), "
        "bot_user_id VARCHAR(32), bot_scopes VARCHAR(1000), bot_refresh_token VARCHAR(1000), "
        "bot_token_expires_at TIMESTAMP"
    )
    installer = (
        "user_id VARCHAR(32) NOT NULL, user_token VARCHAR(1000), user_scopes VARCHAR(1000), "
        "user_refresh_token VARCHAR(1000), user_token_expires_at TIMESTAMP, incoming_webhook_url VARCHAR(1000), "
        "incoming_webhook_channel VARCHAR(200), incoming_webhook_channel_id VARCHAR(200), "
        "incoming_webhook_configuration_url VARCHAR(200)"
    )
    omni = (
        "team VARCHAR(32) NOT NULL PRIMARY KEY, omni_base_url VARCHAR(1000) NOT NULL, "
        "omni_api_token VARCHAR(4000) NOT NULL, requests_per_minute INTEGER NOT NULL, default_model VARCHAR(36)"
    )
    bots = f"{team}, {bot}, is_enterprise_install BOOLEAN NOT NULL, installed_at TIMESTAMP NOT NULL"
    installations = (
        f"{team}, enterprise_url VARCHAR(200), {bot}, {installer}, is_enterprise_install BOOLEAN NOT NULL, "
        "token_type VARCHAR(32), installed_at TIMESTAMP NOT NULL"
    )
    states = (
        f"id {number} NOT NULL PRIMARY KEY, state VARCHAR(200) NOT NULL, expire_at TIMESTAMP NOT NULL, "
        "UNIQUE (state)"
    )
    for statement in (
        f"CREATE TABLE slack_bots ({bots})",
        f"CREATE TABLE slack_installations ({installations})",
        f"CREATE TABLE slack_oauth_states ({states})",
        "CREATE INDEX slack_bots_by_team ON slack_bots (client_id, team_id)",
        "CREATE INDEX slack_installations_by_team ON slack_installations (client_id, team_id)",
        f"CREATE TABLE workspaces ({omni})",
    ):
        connection.execute(text(statement))


def _given_up(connection: Connection) -> None:
    """Version 8: cards that could not be posted."""
    connection.execute(text("ALTER TABLE watches ADD COLUMN given_up VARCHAR(16)"))


def _follow_intents(connection: Connection) -> None:
    """Version 9: follow requests, stored before they are looked up."""
    connection.execute(text("ALTER TABLE asks ADD COLUMN follow VARCHAR(48)"))


STEPS: tuple[Callable[[Connection], None], ...] = (
    _claims_and_resuming,
    _durations,
    _replies,
    _asks,
    _secrets,
    _installations,
    _given_up,
    _follow_intents,
)
"""The step from each version to the next, beginning with version 1.

A released step never changes and only adds: during a rolling upgrade, older processes still use the tables.
"""

SCHEMA_VERSION = len(STEPS) + 1


def bring_up_to_date(connection: Connection) -> None:
    """Create the tables or migrate them, within the caller's transaction.

    Raises:
        SchemaTooNew: they are of a later version.
    """
    version = _version(connection)
    if version is not None and version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"its tables have version {version} and this bot knows {SCHEMA_VERSION}: run the newer bot"
        )
    if version is None:
        metadata.create_all(connection)
        connection.execute(insert(schema_version).values(version=SCHEMA_VERSION))
    elif version < SCHEMA_VERSION:
        for step in STEPS[version - 1 :]:
            step(connection)
        connection.execute(update(schema_version).values(version=SCHEMA_VERSION))


def _version(connection: Connection) -> int | None:
    """Return the version of the tables; None if there are none yet."""
    if not inspect(connection).has_table(schema_version.name):
        return None
    return connection.scalar(select(schema_version.c.version))
