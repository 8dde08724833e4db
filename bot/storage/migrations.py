"""Schema migrations. Forward only: an older bot can't use a migrated database."""

from itertools import chain

from sqlalchemy import Connection, insert, inspect, select, text, update

from bot.domain import DatabaseTooNew, StoreUnavailable
from bot.storage.tables import metadata, schema_version

_INSTALLATION = (
    "id {number} NOT NULL PRIMARY KEY, client_id VARCHAR(32) NOT NULL, app_id VARCHAR(32) NOT NULL, "
    "enterprise_id VARCHAR(32), enterprise_name VARCHAR(200)"
)
_BOT = (
    "team_id VARCHAR(32), team_name VARCHAR(200), bot_token VARCHAR(1000), bot_id VARCHAR(32), "
    "bot_user_id VARCHAR(32), bot_scopes VARCHAR(1000), bot_refresh_token VARCHAR(1000), "
    "bot_token_expires_at TIMESTAMP"
)
_INSTALLER = (
    "user_id VARCHAR(32) NOT NULL, user_token VARCHAR(1000), user_scopes VARCHAR(1000), "
    "user_refresh_token VARCHAR(1000), user_token_expires_at TIMESTAMP, incoming_webhook_url VARCHAR(1000), "
    "incoming_webhook_channel VARCHAR(200), incoming_webhook_channel_id VARCHAR(200), "
    "incoming_webhook_configuration_url VARCHAR(200)"
)

STEPS: tuple[tuple[str, ...], ...] = (
    (  # Version 2: several processes on one database, and resumed follows.
        "ALTER TABLE watches ADD COLUMN claim VARCHAR(36)",
        "ALTER TABLE watches ADD COLUMN resumed_at FLOAT",
        "ALTER TABLE watches ADD COLUMN ended INTEGER DEFAULT '0' NOT NULL",
        "CREATE INDEX watches_by_closing ON watches (closed_at)",
    ),
    (  # Version 3: job durations.
        (
            "CREATE TABLE durations (job VARCHAR(36) NOT NULL PRIMARY KEY, seconds FLOAT NOT NULL, "
            "ended_at FLOAT NOT NULL)"
        ),
    ),
    (  # Version 4: thread replies.
        (
            "CREATE TABLE replies (watch VARCHAR(36) NOT NULL, slot VARCHAR(16) NOT NULL, "
            "tried_at FLOAT NOT NULL, ts VARCHAR(32), PRIMARY KEY (watch, slot), "
            "FOREIGN KEY(watch) REFERENCES watches (id) ON DELETE CASCADE)"
        ),
    ),
    (  # Version 5: questions, cancelled jobs, and cards in a thread.
        "ALTER TABLE watches ADD COLUMN thread VARCHAR(32)",
        "ALTER TABLE watches ADD COLUMN is_own INTEGER DEFAULT '0' NOT NULL",
        "ALTER TABLE watches ADD COLUMN cancelled_by VARCHAR(32)",
        "ALTER TABLE watches ADD COLUMN retried_by VARCHAR(32)",
        "ALTER TABLE watches ADD COLUMN outcome VARCHAR(16)",
        (
            "CREATE TABLE asks (id VARCHAR(36) NOT NULL PRIMARY KEY, team VARCHAR(32) NOT NULL, "
            'channel VARCHAR(32) NOT NULL, thread VARCHAR(32), "user" VARCHAR(32) NOT NULL, '
            "asked_at FLOAT NOT NULL, touched_at FLOAT NOT NULL, model VARCHAR(36), retry_of VARCHAR(36), "
            "job VARCHAR(36), told INTEGER DEFAULT '0' NOT NULL)"
        ),
        'CREATE INDEX asks_by_user ON asks ("user", asked_at)',
    ),
    (  # Version 6: secrets that the processes share.
        "CREATE TABLE secrets (name VARCHAR(64) NOT NULL PRIMARY KEY, value VARCHAR(128) NOT NULL)",
    ),
    (  # Version 7: installations, and the Omni of each workspace.
        (
            f"CREATE TABLE slack_bots ({_INSTALLATION}, {_BOT}, is_enterprise_install BOOLEAN NOT NULL, "
            "installed_at TIMESTAMP NOT NULL)"
        ),
        (
            f"CREATE TABLE slack_installations ({_INSTALLATION}, enterprise_url VARCHAR(200), {_BOT}, {_INSTALLER}, "
            "is_enterprise_install BOOLEAN NOT NULL, token_type VARCHAR(32), installed_at TIMESTAMP NOT NULL)"
        ),
        (
            "CREATE TABLE slack_oauth_states (id {number} NOT NULL PRIMARY KEY, state VARCHAR(200) NOT NULL, "
            "expire_at TIMESTAMP NOT NULL, UNIQUE (state))"
        ),
        "CREATE INDEX slack_bots_by_team ON slack_bots (client_id, team_id)",
        "CREATE INDEX slack_installations_by_team ON slack_installations (client_id, team_id)",
        (
            "CREATE TABLE workspaces (team VARCHAR(32) NOT NULL PRIMARY KEY, omni_base_url VARCHAR(1000) NOT NULL, "
            "omni_api_token VARCHAR(4000) NOT NULL, requests_per_minute INTEGER NOT NULL, default_model VARCHAR(36))"
        ),
    ),
    # Version 8: cards that could not be posted.
    ("ALTER TABLE watches ADD COLUMN given_up VARCHAR(16)",),
    # Version 9: follow requests, stored before they are looked up.
    ("ALTER TABLE asks ADD COLUMN follow VARCHAR(48)",),
    # Version 10: the team of each duration.
    ("ALTER TABLE durations ADD COLUMN team VARCHAR(32)",),
    (  # Version 11: when each user wants to be notified.
        (
            'CREATE TABLE preferences (team VARCHAR(32) NOT NULL, "user" VARCHAR(32) NOT NULL, '
            'notify VARCHAR(16) NOT NULL, changed_at FLOAT NOT NULL, PRIMARY KEY (team, "user"))'
        ),
    ),
    # Version 12: the progress of running jobs.
    ("ALTER TABLE watches ADD COLUMN progress TEXT",),
    (  # Version 13: feedback on answers.
        (
            'CREATE TABLE ratings (card VARCHAR(36) NOT NULL, "user" VARCHAR(32) NOT NULL, '
            'rating VARCHAR(16) NOT NULL, rated_at FLOAT NOT NULL, PRIMARY KEY (card, "user"), '
            "FOREIGN KEY(card) REFERENCES watches (id) ON DELETE CASCADE)"
        ),
    ),
    # Version 14: answers that were shared to a channel.
    ("ALTER TABLE watches ADD COLUMN shared_by VARCHAR(32)",),
    # Version 15: answers that were removed.
    ("ALTER TABLE watches ADD COLUMN removed_by VARCHAR(32)",),
    (  # Version 16: the model and topic of each channel.
        (
            "CREATE TABLE channel_defaults (team VARCHAR(32) NOT NULL, channel VARCHAR(32) NOT NULL, "
            "model VARCHAR(36) NOT NULL, topic VARCHAR(150), changed_at FLOAT NOT NULL, PRIMARY KEY (team, channel))"
        ),
    ),
)
"""The statements from each version to the next, beginning with version 1. `{number}` is a column that counts.

A released step never changes and only adds: during a rolling upgrade, older processes still use the tables.
"""

SCHEMA_VERSION = len(STEPS) + 1


def bring_up_to_date(connection: Connection) -> None:
    """Create the tables or migrate them, within the caller's transaction.

    Raises:
        DatabaseTooNew: they are of a later version.
    """
    version = _version(connection)
    if version is not None and version > SCHEMA_VERSION:
        raise _too_new(version)
    if version is None:
        metadata.create_all(connection)
        connection.execute(insert(schema_version).values(version=SCHEMA_VERSION))
    elif version < SCHEMA_VERSION:
        number = "SERIAL" if connection.dialect.name == "postgresql" else "INTEGER"
        for statement in chain.from_iterable(STEPS[version - 1 :]):
            connection.execute(text(statement.replace("{number}", number)))
        connection.execute(update(schema_version).values(version=SCHEMA_VERSION))


def require_current(connection: Connection) -> None:
    """Check that the tables are of this version.

    Raises:
        DatabaseTooNew: they are of a later version.
        StoreUnavailable: there are none, or they are older.
    """
    version = _version(connection)
    if version is not None and version > SCHEMA_VERSION:
        raise _too_new(version)
    if version != SCHEMA_VERSION:
        raise StoreUnavailable("its tables are missing or of an earlier version: start the bot first")


def _too_new(version: int) -> DatabaseTooNew:
    return DatabaseTooNew(
        f"its tables have version {version} and this bot knows {SCHEMA_VERSION}: run the newer bot"
    )


def _version(connection: Connection) -> int | None:
    """Return the version of the tables; None if there are none yet."""
    if not inspect(connection).has_table(schema_version.name):
        return None
    return connection.scalar(select(schema_version.c.version))
