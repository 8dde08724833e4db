"""The tables, for SQLite and PostgreSQL alike.

Some tables and columns keep the names they were created with, so that two versions can run side by side during an
upgrade. `key` is a column's name in the code.
"""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    TIMESTAMP,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from bot.domain import JobHistory, Progress

metadata = MetaData()


class Time(TypeDecorator[datetime]):
    """Aware UTC, stored as seconds since 1970."""

    impl = Float
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> float | None:  # noqa: ARG002
        """Convert to seconds."""
        return None if value is None else value.timestamp()

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Convert from seconds."""
        return None if value is None else datetime.fromtimestamp(value, UTC)


class Flag(TypeDecorator[bool]):
    """True or False, stored as 1 or 0."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: bool | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Convert to a number."""
        return None if value is None else int(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> bool | None:  # noqa: ARG002
        """Convert from a number."""
        return None if value is None else bool(value)


class History(TypeDecorator[JobHistory]):
    """A running job's history as JSON; NULL if it is empty."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: JobHistory | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Convert to JSON, in which PostgreSQL takes every character that Omni may send."""
        if value is None or value == JobHistory():
            return None
        recent = [[each.iteration, each.message] for each in value.recent]
        return json.dumps({"usual": value.usual_seconds, "earlier": value.earlier, "recent": recent})

    def process_result_value(self, value: Any | None, dialect: Dialect) -> JobHistory:  # noqa: ARG002
        """Convert from JSON."""
        if value is None:
            return JobHistory()
        read = json.loads(value)
        recent = tuple(Progress(message, iteration) for iteration, message in read["recent"])
        return JobHistory(recent, read["earlier"], read["usual"] and tuple(read["usual"]))


schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

cards = Table(
    "watches",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("job", String(36), nullable=False),
    Column("team", String(32), nullable=False),
    Column("channel", String(32), nullable=False),
    Column("requester", String(32), nullable=False),
    Column("asked_at", Time, key="requested_at", nullable=False),
    Column("card_tried_at", Time, key="post_started_at"),
    Column("card", String(32), key="message_ts"),
    Column("card_gone", Flag, key="is_message_gone", nullable=False, default=False),
    Column("shown", String(32), key="shown_fingerprint"),
    Column("notice_tried_at", Time, key="completion_reply_started_at"),
    Column("notice", String(32), key="completion_reply_ts"),
    Column("closed_at", Time),
    Column("claim", String(36), key="token"),
    Column("resumed_at", Time),
    Column("ended", Flag, nullable=False, server_default="0"),
    Column("thread", String(32)),
    Column("is_own", Flag, key="asked_by_bot", nullable=False, server_default="0"),
    Column("cancelled_by", String(32)),
    Column("retried_by", String(32)),
    Column("outcome", String(16)),
    Column("given_up", String(16), key="failure"),
    Column("progress", History, key="history"),
    Column("shared_by", String(32)),
    Column("removed_by", String(32)),
    UniqueConstraint("team", "channel", "job"),
    Index("watches_by_job", "job", "closed_at"),
    Index("watches_by_closing", "closed_at"),
)
"""One row per card; its columns are the fields of `Card`."""

followers = Table(
    "followers",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("watch", ForeignKey("watches.id", ondelete="CASCADE"), key="card", nullable=False),
    Column("user", String(32), nullable=False),
    UniqueConstraint("card", "user"),
    Index("followers_by_user", "user"),
)
"""The followers of each card; `number` keeps their order."""

replies = Table(
    "replies",
    metadata,
    Column("watch", ForeignKey("watches.id", ondelete="CASCADE"), key="card", primary_key=True),
    Column("slot", String(16), key="kind", primary_key=True),
    Column("tried_at", Time, key="started_at", nullable=False),
    Column("ts", String(32)),
)
"""The thread replies of each card, see `ThreadReply`; never their content.

Also the chart on the card, with its file's id as `ts` once the card shows it (`bot.delivery.card_charts.ON_CARD`).
"""

questions = Table(
    "asks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team", String(32), nullable=False),
    Column("channel", String(32), nullable=False),
    Column("thread", String(32)),
    Column("user", String(32), nullable=False),
    Column("asked_at", Time, nullable=False),
    Column("touched_at", Time, nullable=False),
    Column("model", String(36)),
    Column("retry_of", String(36)),
    Column("job", String(36)),
    Column("told", Flag, key="is_reported", nullable=False, server_default="0"),
    Column("follow", String(48)),
    Index("asks_by_user", "user", "asked_at"),
)
"""One row per question and per follow request, see `PendingQuestion`; never its text.

`is_reported`: its loss was reported to the user. `thread` is no longer written.
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
    Column("ended_at", Time, nullable=False),
    Column("team", String(32)),
)
"""How many seconds a team's jobs took; `ended_at`: when that was stored. Older versions leave `team` NULL, and count
from the start of the work."""

preferences = Table(
    "preferences",
    metadata,
    Column("team", String(32), primary_key=True),
    Column("user", String(32), primary_key=True),
    Column("notify", String(16), nullable=False),
    Column("changed_at", Time, nullable=False),
)
"""When a user wants to be notified, see `Notify`. Users without a row have the default."""

channel_defaults = Table(
    "channel_defaults",
    metadata,
    Column("team", String(32), primary_key=True),
    Column("channel", String(32), primary_key=True),
    Column("model", String(36), nullable=False),
    Column("topic", String(150)),
    Column("changed_at", Time, nullable=False),
)
"""The model and topic of channels that have their own, see `ChannelDefault`."""

ratings = Table(
    "ratings",
    metadata,
    Column("card", String(36), ForeignKey("watches.id", ondelete="CASCADE"), primary_key=True),
    Column("user", String(32), primary_key=True),
    Column("rating", String(16), nullable=False),
    Column("rated_at", Time, nullable=False),
)
"""Each user's feedback on an answer, see `Rating`."""

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
