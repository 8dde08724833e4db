"""The settings: the environment, or `.env` in the working folder, read into values with a meaning and a unit."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar
from urllib.parse import quote, quote_plus

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from bot.domain import AccessPolicy, ChannelId, ModelId, OmniAccount, SettingsError, TeamId, UserId
from bot.encryption import EncryptionKeys, key_list
from bot.urls import is_token, is_uuid, omni_address, web_address

SHORTEST_TOKEN = 16
"""Characters of `METRICS_TOKEN`: a shorter one might be guessed."""

_BEGINNINGS = {"allowed_channels": "CG", "allowed_users": "UW", "allowed_teams": "TE", "admin_users": "UW"}
"""What Slack's ids begin with. A misspelt one must not close the bot to somebody, or leave it open, unnoticed."""

_Id = TypeVar("_Id")

_Any = TypeVar("_Any")

Ids = Annotated[frozenset[_Id], NoDecode]
"""Ids with commas or spaces between them."""


@dataclass(frozen=True, slots=True)
class About:
    """What people read about a setting. `.env.example` and `docs/settings.md` are written from it."""

    section: str
    """The heading it stands under; settings of one section follow each other."""
    description: str
    """What it does, in Markdown, without a period at its end."""
    hint: str
    """What to set it to and where to get it, as the end of "set it to …" where it is missing or malformed."""
    unset: str = ""
    """What it means to leave it out, where it has no default value."""
    where: str = ""
    """Where to get it."""
    example: str = ""
    """A value that `.env.example` shows in place of the default."""


class Settings(BaseSettings):
    """Every setting, named in the environment as here but in capitals. Empty counts as not set.

    After a change run `uv run python -m tests.support.settings_docs`.
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True, frozen=True
    )

    slack_bot_token: Annotated[
        SecretStr | None,
        About(
            "Slack",
            "The bot's token, `xoxb-…`",
            "the token that starts with xoxb-, from your Slack app's page OAuth & Permissions",
            unset="required, but for [several workspaces](deploying.md#several-workspaces)",
            where="Slack app, OAuth & Permissions: the Bot User OAuth Token",
        ),
    ]
    slack_app_token: Annotated[
        SecretStr | None,
        About(
            "Slack",
            "The app-level token for Socket Mode, `xapp-…`",
            "the token that starts with xapp-, from your Slack app's page Basic Information, App-Level Tokens, with "
            "the scope connections:write; or leave it out and set both SLACK_SIGNING_SECRET and PORT, for HTTP mode",
            unset="required, but for [HTTP mode](deploying.md#http-mode)",
            where="Slack app, Basic Information, App-Level Tokens: one with the scope `connections:write`",
        ),
    ]
    slack_signing_secret: Annotated[
        SecretStr | None,
        About(
            "Slack",
            "What Slack signs its requests with, in [HTTP mode](deploying.md#http-mode), which is on where this and "
            "`PORT` are set and `SLACK_APP_TOKEN` is not",
            "the 32 hexadecimal digits from your Slack app's page Basic Information; used in HTTP mode, which is on "
            "where PORT is set and SLACK_APP_TOKEN is not",
            where="Slack app, Basic Information",
        ),
    ] = None
    slack_client_id: Annotated[
        str | None,
        About(
            "Slack",
            "The client id, for [several workspaces](deploying.md#several-workspaces), which install the app by OAuth; "
            "then `SLACK_BOT_TOKEN` is left out",
            "the client id from your Slack app's page Basic Information, or leave it out: then the bot works in the "
            "one workspace of SLACK_BOT_TOKEN, which has to be left out otherwise",
            where="Slack app, Basic Information, App Credentials: two numbers with a point between them",
        ),
    ] = None
    slack_client_secret: Annotated[
        SecretStr | None,
        Field(validate_default=True),
        About(
            "Slack",
            "The client secret, for the same",
            "the 32 hexadecimal digits of the client secret, from your Slack app's page Basic Information",
            where="Slack app, Basic Information, App Credentials",
        ),
    ] = None
    slack_api_url: Annotated[
        str,
        About(
            "Slack",
            "Slack's Web API; another only for tests",
            "https://slack.com/api/, or leave it out; another is only for tests",
        ),
    ] = "https://slack.com/api/"
    omni_base_url: Annotated[
        str | None,
        About(
            "Omni",
            "Omni's address, with or without `/api`",
            "the address at which you log in to Omni, such as https://acme.omniapp.co",
            unset="required, but for [several workspaces](deploying.md#several-workspaces)",
            where="Where you log in to Omni",
        ),
    ]
    omni_api_token: Annotated[
        SecretStr | None,
        About(
            "Omni",
            "The API key",
            "an API key from Omni, Settings, API access",
            unset="required, but for [several workspaces](deploying.md#several-workspaces)",
            where="Omni, Settings, API access",
        ),
    ]
    # Source of the default: docs.omni.co/api/rate-limits.
    omni_requests_per_minute: Annotated[
        int,
        Field(ge=1, le=10_000),
        About(
            "Omni",
            "What Omni allows the key: a whole number, 1 to 10000",
            "a whole number from 1 to 10000; Omni allows 60 unless it agreed to more",
            where="60 unless Omni agreed to more",
        ),
    ] = 60
    omni_model_id: Annotated[
        ModelId | None,
        About(
            "Omni",
            "The id of the Omni model that questions go to where a person has chosen none",
            "the id of the Omni model that questions go to, or nothing: then each person chooses one",
            unset="not set: each person chooses",
            where="Omni, the model's address",
        ),
    ] = None
    access: Annotated[
        Literal["workspace", "owner"],
        NoDecode,
        About(
            "Who may do what",
            "Who is shown a job: `workspace`, everyone who knows its id, or `owner`, only the one whose it is in Omni; "
            "see [Who may](using.md#who-may)",
            "workspace (whoever knows a job's id may see it) or owner (only the one whose job it is)",
        ),
    ] = "workspace"
    ask_as: Annotated[
        Literal["asker", "key"],
        NoDecode,
        About(
            "Who may do what",
            "In whose name questions run, and so with whose permissions: `asker`, the Omni user with the asker's "
            "e-mail address, or `key`, the one who made the key",
            "asker (each question runs as the Omni user with the asker's e-mail address) or key (as whoever made "
            "OMNI_API_TOKEN)",
        ),
    ] = "asker"
    allowed_channels: Annotated[
        Ids[ChannelId],
        About(
            "Who may do what",
            "Where the bot may be used, besides direct messages with it: channel ids, with commas between them",
            "the ids of Slack channels, such as C0123ABCD, with commas between them, or nothing for all",
            unset="empty: everywhere",
            where="Slack, the channel's details",
        ),
    ] = frozenset()
    allowed_users: Annotated[
        Ids[UserId],
        About(
            "Who may do what",
            "Who may use it: user ids, with commas between them",
            "the ids of Slack people, such as U0123ABCD, with commas between them, or nothing for all",
            unset="empty: everybody of the teams",
            where="Slack, a profile, Copy member ID",
        ),
    ] = frozenset()
    allowed_teams: Annotated[
        Ids[TeamId],
        About(
            "Who may do what",
            "Whose people may use it: workspace ids, with commas between them. Name your own as well",
            "the ids of Slack workspaces, such as T0123ABCD, with commas between them, or nothing for the app's own",
            unset="empty: your own workspace",
            where="Slack in a browser, the address",
        ),
    ] = frozenset()
    admin_users: Annotated[
        Ids[UserId],
        About(
            "Who may do what",
            "Who may use it anywhere, see every job, and cancel and retry what others asked: user ids, with commas "
            "between them",
            "the ids of Slack people, such as U0123ABCD, with commas between them, or nothing",
            unset="empty: no one",
        ),
    ] = frozenset()
    allow_guests: Annotated[
        bool,
        About(
            "Who may do what",
            "Whether guests of the workspace may use it: `true` or `false`",
            "true or false",
        ),
    ] = False
    allow_shared_channels: Annotated[
        bool,
        About(
            "Who may do what",
            "Whether answers are posted in channels that are shared with other organisations: `true` or `false`",
            "true or false",
        ),
    ] = False
    max_open_follows_per_person: Annotated[
        int,
        Field(ge=1, le=10_000),
        About(
            "Who may do what",
            "How many running jobs one person may follow, 1 to 10000",
            "a whole number from 1 to 10000",
        ),
    ] = 25
    max_asks_per_hour: Annotated[
        int,
        Field(ge=1, le=10_000),
        About(
            "Who may do what",
            "How often one person may ask within an hour, 1 to 10000",
            "a whole number from 1 to 10000",
        ),
    ] = 30
    max_lookups_per_minute: Annotated[
        int,
        Field(ge=3, le=10_000),
        About(
            "Who may do what",
            "How many requests to Omni one person may cause within a minute by commands and clicks, 3 to 10000; half "
            "of them at once. Each process counts for itself",
            "a whole number from 3 to 10000",
        ),
    ] = 20
    database_url: Annotated[
        SecretStr,
        Field(validate_default=True),
        About(
            "Database",
            "Where follows are kept: a SQLite file, by default in the working folder (four slashes make the path "
            "absolute), or PostgreSQL, for several processes or where the disk is lost at a restart, as "
            "`postgresql://user:password@host/database?sslmode=require` or `postgres://…`",
            "sqlite:///omni-job-bot.sqlite3, sqlite:////an/absolute/path, or "
            "postgresql://user:password@host/database",
        ),
    ] = SecretStr("sqlite:///omni-job-bot.sqlite3")
    encryption_key: Annotated[
        SecretStr | None,
        Field(validate_default=True),
        About(
            "Database",
            "What the tokens and keys of [several workspaces](deploying.md#several-workspaces) are encrypted with; "
            "more than one, the newest first, with commas between them. To change it, put the new one in front, "
            "restart, run `python -m bot workspace encrypt`, and take the old one out",
            'what this prints: python -c "from cryptography.fernet import Fernet; '
            'print(Fernet.generate_key().decode())"; several with commas between them, the newest first',
            where='Made by `python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"`',
        ),
    ] = None
    notify_after_seconds: Annotated[
        float,
        Field(ge=0, le=86_400),
        About(
            "Follows",
            "An answer that took longer, counted from the command, is announced in the card's thread: seconds, 0 to "
            "86400",
            "a number of seconds from 0 to 86400",
        ),
    ] = 30.0
    max_follow_hours: Annotated[
        float,
        Field(ge=0.1, le=8_760),
        About(
            "Follows",
            "A job that has not ended by then is looked after no more; its card says so and has the button *Resume*: "
            "hours, 0.1 to 8760",
            "a number of hours from 0.1 to 8760; 24 unless your jobs run longer",
        ),
    ] = 24.0
    retention_days: Annotated[
        float,
        Field(ge=0.01, le=3_650),
        About(
            "Follows",
            "How long an ended follow is kept in the database; its card stays in Slack: days, 0.01 to 3650",
            "a number of days from 0.01 to 3650; 30 unless you have another rule",
        ),
    ] = 30.0
    host: Annotated[
        str,
        About(
            "Port",
            "The address that `PORT` listens on; `0.0.0.0` in a container",
            "the address that PORT listens on: 127.0.0.1, or 0.0.0.0 in a container",
        ),
    ] = "127.0.0.1"
    port: Annotated[
        Annotated[int, Field(ge=1, le=65_535)] | None,
        About(
            "Port",
            "Where `/healthz`, `/readyz`, `/metrics`, Omni's webhooks, OAuth and in HTTP mode `/slack/events` are "
            "answered",
            "a port from 1 to 65535 for /healthz, and in HTTP mode for Slack, or nothing for neither",
            unset="not set: nowhere",
            example="8080",
        ),
    ] = None
    public_url: Annotated[
        str | None,
        Field(validate_default=True),
        About(
            "Port",
            "The https address under which `PORT` is reached from outside: Omni reports there how the jobs of "
            "`/omni-ask` go on, which saves requests; OAuth needs it",
            "the https address under which PORT is reached from outside, such as https://jobs.example.com",
            unset="not set: Omni is only asked",
            where="Your proxy or platform",
        ),
    ] = None
    metrics_token: Annotated[
        SecretStr | None,
        About(
            "Port",
            "The bearer token for `/metrics`, at least 16 characters",
            "at least 16 characters that only you and your Prometheus know, such as `openssl rand -hex 32` prints, or "
            "nothing for no /metrics",
            unset="not set: there is no `/metrics`",
            where="Made by `openssl rand -hex 32`",
        ),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        NoDecode,
        About("Log", "`debug`, `info`, `warning` or `error`", "one of debug, info, warning, error"),
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"],
        NoDecode,
        About(
            "Log",
            "How a line of the log is written: `text` (`key=value`) or `json`",
            "text (key=value) or json (one object per line)",
        ),
    ] = "text"

    @property
    def secrets(self) -> frozenset[str]:
        """Every value that must be nowhere but here: the log blanks them out."""
        secrets = {name: value for name, value in self if isinstance(value, SecretStr)}
        passwords = _passwords(secrets.pop("database_url"))
        whole = {value.get_secret_value() for value in secrets.values()}
        keys = self.encryption_key.get_secret_value() if self.encryption_key else ""
        return frozenset(passwords | whole | set(key_list(keys)))

    @model_validator(mode="before")
    @classmethod
    def _in_http_mode_without_an_app_token(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("slack_signing_secret") and values.get("port"):
            return {"slack_app_token": None, **values}
        return values

    @property
    def app_token(self) -> str:
        """`slack_app_token` in clear; empty in HTTP mode."""
        return "" if self.slack_app_token is None else self.slack_app_token.get_secret_value()

    @model_validator(mode="before")
    @classmethod
    def _with_oauth_each_workspace_may_have_its_own(cls, values: object) -> object:
        if not isinstance(values, dict) or not values.get("slack_client_id"):
            return values
        own = {"slack_bot_token": None}
        if not values.get("omni_base_url") and not values.get("omni_api_token"):
            own |= {"omni_base_url": None, "omni_api_token": None}
        return {**own, **values}

    @property
    def bot_token(self) -> str:
        """`slack_bot_token` in clear; empty where workspaces install the app by OAuth."""
        return "" if self.slack_bot_token is None else self.slack_bot_token.get_secret_value()

    @property
    def omni_account(self) -> OmniAccount | None:
        """The Omni that the settings name."""
        if self.omni_base_url is None or self.omni_api_token is None:
            return None
        return OmniAccount(
            self.omni_base_url,
            self.omni_api_token.get_secret_value(),
            self.omni_requests_per_minute,
            self.omni_model_id,
        )

    @property
    def access_rules(self) -> AccessPolicy:
        """Who may do what, by all of these."""
        return AccessPolicy(
            channels=self.allowed_channels,
            users=self.allowed_users,
            teams=self.allowed_teams,
            admins=self.admin_users,
            allow_guests=self.allow_guests,
            allow_shared_channels=self.allow_shared_channels,
            only_owners=self.access == "owner",
            ask_as_key=self.ask_as == "key",
            most_open_follows=self.max_open_follows_per_person,
            most_asks_per_hour=self.max_asks_per_hour,
        )

    @field_validator("slack_bot_token", "slack_app_token")
    @classmethod
    def _right_token(cls, value: SecretStr | None, info: object) -> SecretStr | None:
        prefix = {"slack_bot_token": "xoxb-", "slack_app_token": "xapp-"}[getattr(info, "field_name", "")]
        if value is not None and not value.get_secret_value().startswith(prefix):
            raise ValueError(f"does not start with {prefix}")
        return value

    @field_validator("slack_bot_token", "slack_app_token", "omni_api_token", "metrics_token")
    @classmethod
    def _fits_in_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not is_token(value.get_secret_value()):
            raise ValueError("has characters that no key has")
        return value

    @field_validator("slack_client_id")
    @classmethod
    def _client_id(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not re.fullmatch(r"[0-9]+\.[0-9]+", value):
            raise ValueError("is not two numbers with a point between them")
        if value is not None and info.data.get("slack_bot_token") is not None:
            raise ValueError("is set beside SLACK_BOT_TOKEN, and only one of the two can be meant")
        return value

    @field_validator("slack_client_secret", "encryption_key", "public_url")
    @classmethod
    def _needed_for_oauth(cls, value: _Any, info: ValidationInfo) -> _Any:
        if value is None and info.data.get("slack_client_id") is not None:
            raise ValueError("is not set, and SLACK_CLIENT_ID needs it")
        if value is not None and info.field_name == "slack_client_secret":
            return _needs_client_id(value, info)
        return value

    @field_validator("encryption_key")
    @classmethod
    def _encrypts(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            EncryptionKeys(value.get_secret_value())
        return value

    @field_validator("public_url")
    @classmethod
    def _reaches_the_port(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if info.data.get("port", "was refused") is None:
            raise ValueError("leads nowhere while PORT is not set")
        return web_address(value)

    @field_validator("slack_signing_secret", "slack_client_secret")
    @classmethod
    def _hexadecimal(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[0-9a-f]{32}", value.get_secret_value()):
            raise ValueError("is not 32 hexadecimal digits")
        return value

    @field_validator("slack_api_url")
    @classmethod
    def _slash_at_the_end(cls, value: str) -> str:
        return web_address(value) + "/"

    @field_validator("omni_base_url")
    @classmethod
    def _without_api(cls, value: str | None) -> str | None:
        return None if value is None else omni_address(value)

    @field_validator("database_url")
    @classmethod
    def _async_driver(cls, value: SecretStr) -> SecretStr:
        try:
            url = make_url(value.get_secret_value())
        except (ArgumentError, ValueError) as error:
            raise ValueError("is not a database address") from error
        if url.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
            # What follows the question mark, `sslmode=verify-full` and the like, is the driver's to understand.
            if not url.database:
                raise ValueError("names no database after the host")
            return _address(url, "postgresql+psycopg")
        if url.get_backend_name() != "sqlite":
            raise ValueError("names a database other than SQLite and PostgreSQL")
        if url.database in (None, "", ":memory:"):
            raise ValueError("names no file, so follows would be lost at every restart")
        if url.host or url.query:
            raise ValueError("has more in it than three slashes and a path")
        return _address(url, "sqlite+aiosqlite")

    @field_validator("omni_model_id")
    @classmethod
    def _uuid(cls, value: str | None) -> str | None:
        if value is not None and not is_uuid(value):
            raise ValueError("is not a UUID")
        return value and value.lower()

    @field_validator("allowed_channels", "allowed_users", "allowed_teams", "admin_users", mode="before")
    @classmethod
    def _ids(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        ids = [part for part in re.split(r"[\s,]+", value) if part]
        begin = _BEGINNINGS[info.field_name or ""]
        if not all(re.fullmatch(rf"[{begin}][A-Z0-9]+", part) for part in ids):
            raise ValueError(f"holds something that is no id that begins with {' or '.join(begin)}")
        return frozenset(ids)

    @field_validator("metrics_token")
    @classmethod
    def _not_guessed(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and info.data.get("port", "was refused") is None:
            raise ValueError("opens nothing while PORT is not set")
        if value is not None and len(value.get_secret_value()) < SHORTEST_TOKEN:
            raise ValueError(f"has fewer than {SHORTEST_TOKEN} characters")
        return value

    @field_validator("access", "ask_as", "log_level", "log_format", mode="before")
    @classmethod
    def _lower_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


def about(name: str) -> About:
    """What people read about the setting with that name."""
    (found,) = [part for part in Settings.model_fields[name].metadata if isinstance(part, About)]
    return found


HINTS = {name.upper(): about(name).hint for name in Settings.model_fields}
"""What to set and where to get it, by the setting's name in the environment."""


def _address(url: URL, driver: str) -> SecretStr:
    return SecretStr(url.set(drivername=driver).render_as_string(hide_password=False))


def _passwords(url: SecretStr) -> set[str]:
    """The password of a database, as it is and as it is written in an address."""
    password = make_url(url.get_secret_value()).password
    return {str(password), quote_plus(str(password)), quote(str(password))} if password else set()


def read_settings() -> Settings:
    """The settings from the environment and `.env`; the environment wins.

    Raises:
        SettingsError: with one line per missing or malformed setting. No line holds a value.
    """
    try:
        return Settings()  # type: ignore[call-arg]  # the values come from the environment
    except ValidationError as error:
        raise SettingsError(
            [_problem(part["loc"], part["msg"], part["type"]) for part in error.errors()]
        ) from None
    except UnicodeDecodeError as error:
        raise SettingsError([".env is not UTF-8 text"]) from error


def _problem(location: tuple[int | str, ...], message: str, kind: str) -> str:
    name = str(location[0]).upper() if location else "?"
    what = "is not set" if kind == "missing" else message.removeprefix("Value error, ").removeprefix("Input ")
    return f"{name} {what}: set it to {HINTS.get(name, 'a proper value')}"


def _needs_client_id(value: _Any, info: ValidationInfo) -> _Any:
    if info.data.get("slack_client_id", "was refused") is None:
        raise ValueError("is set without SLACK_CLIENT_ID")
    return value
