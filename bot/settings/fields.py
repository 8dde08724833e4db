"""All settings: type and range, default and documentation of each."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from bot.settings.access_fields import AccessFields
from bot.settings.values import (
    ANY_CASE,
    REQUIRED_WITH_CLIENT_ID,
    DatabaseUrl,
    EncryptionKey,
    FeedbackChannel,
    FollowsToken,
    MetricsToken,
    PublicUrl,
    SettingDoc,
)

_MAKE_KEY = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


class SettingFields(AccessFields):
    """The settings under their names in the environment, in lower case. An empty value counts as not set.

    After a change run `uv run python -m tests.support.settings_docs`.
    """

    database_url: Annotated[
        DatabaseUrl,
        Field(validate_default=True),
        SettingDoc(
            "Database",
            "The database: a SQLite file, by default in the working folder (four slashes make the path absolute), or "
            "PostgreSQL, as `postgresql://user:password@host/database?sslmode=require` or `postgres://…`. Use "
            "PostgreSQL for several processes, or if the disk is lost at a restart",
            "sqlite:///omni-job-bot.sqlite3, sqlite:////an/absolute/path, or "
            "postgresql://user:password@host/database",
        ),
    ] = SecretStr("sqlite:///omni-job-bot.sqlite3")
    encryption_key: Annotated[
        EncryptionKey | None,
        Field(validate_default=True),
        REQUIRED_WITH_CLIENT_ID,
        SettingDoc(
            "Database",
            "The key that encrypts the tokens of [several workspaces](deploying.md#several-workspaces). Several keys "
            "are separated by commas, the newest first. To change it, put the new key in front, restart, run "
            "`python -m bot workspace encrypt`, and remove the old key",
            f"the output of: {_MAKE_KEY}; several keys are separated by commas, the newest first",
            where=f"Made by `{_MAKE_KEY}`",
        ),
    ] = None
    notify_after_seconds: Annotated[
        float,
        Field(ge=0, le=86_400),
        SettingDoc(
            "Following jobs",
            "If a job takes longer than this, the bot mentions its followers in the card's thread when it ends: "
            "seconds since the command, 0 to 86400",
            "a number of seconds from 0 to 86400",
        ),
    ] = 30.0
    chart_on_card: Annotated[
        bool,
        SettingDoc(
            "Following jobs",
            "Whether the card shows the chart of an answer; otherwise it is a file in the card's thread: `true` or "
            "`false`; see [who can see it](security.md#charts)",
            "true or false",
        ),
    ] = True
    max_follow_hours: Annotated[
        float,
        Field(ge=0.1, le=8_760),
        SettingDoc(
            "Following jobs",
            "After this, the bot stops following a job that has not ended. The card says so and has a *Resume* "
            "button: hours, 0.1 to 8760",
            "a number of hours from 0.1 to 8760; 24 unless your jobs run longer",
        ),
    ] = 24.0
    retention_days: Annotated[
        float,
        Field(ge=0.01, le=3_650),
        SettingDoc(
            "Following jobs",
            "How long the database keeps a card after its job has ended. The message stays in Slack: days, 0.01 to "
            "3650",
            "a number of days from 0.01 to 3650; 30 unless you have another rule",
        ),
    ] = 30.0
    feedback: Annotated[
        Literal["on", "off"],
        ANY_CASE,
        SettingDoc(
            "Feedback",
            "Whether answers have the buttons 👍 and 👎: `on` or `off`; see [Feedback](operating.md#feedback)",
            "on or off",
        ),
    ] = "on"
    feedback_channel: Annotated[
        FeedbackChannel | None,
        SettingDoc(
            "Feedback",
            "The channel where the bot posts each 👍 and 👎 with its reason and the link to Omni. Invite the bot there",
            "the id of a Slack channel, such as C0123ABCD, or leave it out to only count feedback",
            unset="not set: feedback is counted, and no reason is asked for",
            where="Slack, the channel's details",
        ),
    ] = None
    host: Annotated[
        str,
        SettingDoc(
            "Port",
            "The address that `PORT` listens on; `0.0.0.0` in a container",
            "the address that PORT listens on: 127.0.0.1, or 0.0.0.0 in a container",
        ),
    ] = "127.0.0.1"
    port: Annotated[
        Annotated[int, Field(ge=1, le=65_535)] | None,
        SettingDoc(
            "Port",
            "The port for `/healthz`, `/readyz`, `/metrics`, `/api/follows`, Omni's webhooks, OAuth and, in HTTP mode, "
            "`/slack/events`",
            "a port from 1 to 65535 for /healthz and, in HTTP mode, for Slack, or leave it out to serve no HTTP",
            unset="not set: no HTTP server",
            example="8080",
        ),
    ] = None
    public_url: Annotated[
        PublicUrl | None,
        Field(validate_default=True),
        REQUIRED_WITH_CLIENT_ID,
        SettingDoc(
            "Port",
            "The https address under which `PORT` is reached from the internet. Omni sends webhooks about the jobs of "
            "`/omni-ask` there, which saves requests. OAuth needs it",
            "the https address under which PORT is reached from the internet, such as https://jobs.example.com",
            unset="not set: no webhooks, only polling",
            where="Your proxy or platform",
        ),
    ] = None
    metrics_token: Annotated[
        MetricsToken | None,
        SettingDoc(
            "Port",
            "Bearer token required to read `/metrics`, at least 16 characters",
            "at least 16 characters that only you and your Prometheus know, such as the output of `openssl rand -hex "
            "32`, or leave it out to have no /metrics",
            unset="not set: there is no `/metrics`",
            where="Made by `openssl rand -hex 32`",
        ),
    ] = None
    api_token: Annotated[
        FollowsToken | None,
        SettingDoc(
            "Port",
            "Bearer token with which CI and scripts [announce jobs](using.md#jobs-that-announce-themselves) at "
            "`/api/follows`, at least 32 characters",
            "at least 32 characters that only you and your CI know, such as the output of `openssl rand -hex 32`, or "
            "leave it out to have no /api/follows",
            unset="not set: there is no `/api/follows`",
            where="Made by `openssl rand -hex 32`",
        ),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        ANY_CASE,
        SettingDoc("Log", "`debug`, `info`, `warning` or `error`", "one of debug, info, warning, error"),
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"],
        ANY_CASE,
        SettingDoc(
            "Log",
            "The format of log lines: `text` (`key=value`) or `json`",
            "text (key=value) or json (one object per line)",
        ),
    ] = "text"
