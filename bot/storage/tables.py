"""The tables, for SQLite and PostgreSQL alike.

Some keep the names they were created with, so that two versions can run side by side during an upgrade.
"""

from sqlalchemy import (
    TIMESTAMP,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

cards = Table(
    "watches",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("job", String(36), nullable=False),
    Column("team", String(32), nullable=False),
    Column("channel", String(32), nullable=False),
    Column("requester", String(32), nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("card_tried_at", Float),
    Column("card", String(32)),
    Column("card_gone", Integer, nullable=False, default=0),
    Column("shown", String(32)),
    Column("notice_tried_at", Float),
    Column("notice", String(32)),
    Column("closed_at", Float),
    Column("claim", String(36)),
    Column("resumed_at", Float),
    Column("ended", Integer, nullable=False, server_default="0"),
    Column("thread", String(32)),
    Column("is_own", Integer, nullable=False, server_default="0"),
    Column("cancelled_by", String(32)),
    Column("retried_by", String(32)),
    Column("outcome", String(16)),
    Column("given_up", String(16)),
    UniqueConstraint("team", "channel", "job"),
    Index("watches_by_job", "job", "closed_at"),
    Index("watches_by_closing", "closed_at"),
)
"""One row per card, see `Card`. Times are seconds since 1970, UTC."""

followers = Table(
    "followers",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("watch", ForeignKey("watches.id", ondelete="CASCADE"), nullable=False),
    Column("user", String(32), nullable=False),
    UniqueConstraint("watch", "user"),
    Index("followers_by_user", "user"),
)
"""The followers of each card; `number` keeps their order."""

replies = Table(
    "replies",
    metadata,
    Column("watch", ForeignKey("watches.id", ondelete="CASCADE"), primary_key=True),
    Column("slot", String(16), primary_key=True),
    Column("tried_at", Float, nullable=False),
    Column("ts", String(32)),
)
"""The thread replies of each card, see `ThreadReply`; never their content."""

questions = Table(
    "asks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team", String(32), nullable=False),
    Column("channel", String(32), nullable=False),
    Column("thread", String(32)),
    Column("user", String(32), nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("touched_at", Float, nullable=False),
    Column("model", String(36)),
    Column("retry_of", String(36)),
    Column("job", String(36)),
    Column("told", Integer, nullable=False, server_default="0"),
    Column("follow", String(48)),
    Index("asks_by_user", "user", "asked_at"),
)
"""One row per question and per follow request, see `PendingQuestion`; never its text.

`told`: its loss was reported to the user. `thread` is no longer written.
"""

secrets = Table(
    "secrets",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", String(128), nullable=False),
)
"""Secrets that the processes of a database share: random bytes in hexadecimal digits, made once."""

budgets = Table(
    "budgets",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("arrival", Float, nullable=False),
    Column("paused_until", Float, nullable=False),
)
"""The theoretical arrival time of each budget's next request, and the end of its pause: seconds since 1970."""

durations = Table(
    "durations",
    metadata,
    Column("job", String(36), primary_key=True),
    Column("seconds", Float, nullable=False),
    Column("ended_at", Float, nullable=False),
)
"""How many seconds jobs executed; `ended_at`: when that was stored, since 1970."""

slack_bots = Table(
    "slack_bots",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("client_id", String(32), nullable=False),
    Column("app_id", String(32), nullable=False),
    Column("enterprise_id", String(32)),
    Column("enterprise_name", String(200)),
    Column("team_id", String(32)),
    Column("team_name", String(200)),
    Column("bot_token", String(1000)),
    Column("bot_id", String(32)),
    Column("bot_user_id", String(32)),
    Column("bot_scopes", String(1000)),
    Column("bot_refresh_token", String(1000)),
    Column("bot_token_expires_at", TIMESTAMP),
    Column("is_enterprise_install", Boolean, nullable=False),
    Column("installed_at", TIMESTAMP, nullable=False),
    Index("slack_bots_by_team", "client_id", "team_id"),
)
"""The bot of each workspace that the app was installed in, as slack_sdk's installation store writes it; tokens are
encrypted, which makes them longer than its own columns are."""

slack_installations = Table(
    "slack_installations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("client_id", String(32), nullable=False),
    Column("app_id", String(32), nullable=False),
    Column("enterprise_id", String(32)),
    Column("enterprise_name", String(200)),
    Column("enterprise_url", String(200)),
    Column("team_id", String(32)),
    Column("team_name", String(200)),
    Column("bot_token", String(1000)),
    Column("bot_id", String(32)),
    Column("bot_user_id", String(32)),
    Column("bot_scopes", String(1000)),
    Column("bot_refresh_token", String(1000)),
    Column("bot_token_expires_at", TIMESTAMP),
    Column("user_id", String(32), nullable=False),
    Column("user_token", String(1000)),
    Column("user_scopes", String(1000)),
    Column("user_refresh_token", String(1000)),
    Column("user_token_expires_at", TIMESTAMP),
    Column("incoming_webhook_url", String(1000)),
    Column("incoming_webhook_channel", String(200)),
    Column("incoming_webhook_channel_id", String(200)),
    Column("incoming_webhook_configuration_url", String(200)),
    Column("is_enterprise_install", Boolean, nullable=False),
    Column("token_type", String(32)),
    Column("installed_at", TIMESTAMP, nullable=False),
    Index("slack_installations_by_team", "client_id", "team_id"),
)
"""Each installation and its installer, as slack_sdk's installation store writes it."""

slack_oauth_states = Table(
    "slack_oauth_states",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("state", String(200), nullable=False, unique=True),
    Column("expire_at", TIMESTAMP, nullable=False),
)
"""The OAuth states of installations that were begun, as slack_sdk's state store writes them."""

workspaces = Table(
    "workspaces",
    metadata,
    Column("team", String(32), primary_key=True),
    Column("omni_base_url", String(1000), nullable=False),
    Column("omni_api_token", String(4000), nullable=False),
    Column("requests_per_minute", Integer, nullable=False),
    Column("default_model", String(36)),
)
"""The Omni of each installed workspace; the key is encrypted."""
