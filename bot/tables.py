"""The tables, for SQLite and PostgreSQL alike. `database` opens them, `migrations` brings older ones up to date."""

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, UniqueConstraint

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

watches = Table(
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
    UniqueConstraint("team", "channel", "job"),
    Index("watches_by_job", "job", "closed_at"),
    Index("watches_by_closing", "closed_at"),
)
"""One row per card, as `watch.Watch` describes it. Times are seconds since 1970, UTC."""

followers = Table(
    "followers",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("watch", ForeignKey("watches.id", ondelete="CASCADE"), nullable=False),
    Column("user", String(32), nullable=False),
    UniqueConstraint("watch", "user"),
    Index("followers_by_user", "user"),
)
"""Who is told of what; `number` keeps the order in which they came."""

replies = Table(
    "replies",
    metadata,
    Column("watch", ForeignKey("watches.id", ondelete="CASCADE"), primary_key=True),
    Column("slot", String(16), primary_key=True),
    Column("tried_at", Float, nullable=False),
    Column("ts", String(32)),
)
"""What goes on from a card in its thread, as `watch.Reply` describes it; never what it says."""

asks = Table(
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
    Index("asks_by_user", "user", "asked_at"),
)
"""One row per question, as `asks.Ask` describes it; never what it asks. `told`: its person knows of its loss. `thread`
is written no more."""

secrets = Table(
    "secrets",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", String(128), nullable=False),
)
"""What the processes of a database know and nobody else: random bytes in hexadecimal digits, made once."""

budgets = Table(
    "budgets",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("arrival", Float, nullable=False),
    Column("paused_until", Float, nullable=False),
)
"""The theoretical arrival time of each budget's next request, and until when nothing may go: seconds since 1970."""

durations = Table(
    "durations",
    metadata,
    Column("job", String(36), primary_key=True),
    Column("seconds", Float, nullable=False),
    Column("ended_at", Float, nullable=False),
)
"""How many seconds jobs took, from when a worker took them up; `ended_at`: when that was learned, since 1970."""
