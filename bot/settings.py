"""The settings: the environment, or `.env` in the working folder, read into values with a meaning and a unit."""

import re
from typing import Annotated, Literal, TypeVar
from urllib.parse import quote, quote_plus

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from bot.access import AccessRules
from bot.ask import ModelId
from bot.credentials import OmniAccount
from bot.encryption import EncryptionKeys, key_list
from bot.hints import HINTS
from bot.watch import ChannelId, TeamId, UserId
from bot.webaddress import is_token, is_uuid, omni_address, web_address

SHORTEST_TOKEN = 16
"""Characters of `METRICS_TOKEN`: a shorter one might be guessed."""
_BEGINNINGS = {"allowed_channels": "CG", "allowed_users": "UW", "allowed_teams": "TE", "admin_users": "UW"}
"""What Slack's ids begin with. A misspelt one must not close the bot to somebody, or leave it open, unnoticed."""
_Id = TypeVar("_Id")
_Any = TypeVar("_Any")
Ids = Annotated[frozenset[_Id], NoDecode]
"""Ids with commas or spaces between them."""


class SettingsError(Exception):
    """The settings can't be used. `problems` has one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(BaseSettings):
    """Every setting, named in the environment as here but in capitals. Empty counts as not set."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True, frozen=True
    )

    slack_bot_token: SecretStr | None
    """The bot's token, `xoxb-…`; None where workspaces install the app by OAuth."""
    slack_app_token: SecretStr | None
    """The app-level token for Socket Mode, `xapp-…`; None in HTTP mode, which `slack_signing_secret` and `port` allow.
    Where it is set, Socket Mode is what is meant."""
    slack_signing_secret: SecretStr | None = None
    """What Slack signs its requests with, in HTTP mode."""
    slack_client_id: str | None = None
    """The app's, with which workspaces install it by OAuth; None: there is one workspace, that of the token."""
    slack_client_secret: Annotated[SecretStr | None, Field(validate_default=True)] = None
    """What the app proves itself with when somebody installs it."""
    slack_api_url: str = "https://slack.com/api/"
    """Slack's Web API; another only for tests."""
    omni_base_url: str | None
    """Omni's address without `/api` and without a slash at its end; None where each workspace has its own."""
    omni_api_token: SecretStr | None
    """Omni's API key."""
    omni_requests_per_minute: Annotated[int, Field(ge=1, le=10_000)] = 60
    """What Omni allows the key. Source: docs.omni.co/api/rate-limits."""
    omni_model_id: ModelId | None = None
    """The model that questions go to where a person has chosen none."""
    access: Annotated[Literal["workspace", "owner"], NoDecode] = "workspace"
    """Who is shown a job: whoever knows its id, or only the one whose it is in Omni."""
    ask_as: Annotated[Literal["asker", "key"], NoDecode] = "asker"
    """In whose name, and so with whose permissions, questions run in Omni."""
    allowed_channels: Ids[ChannelId] = frozenset()
    """Where the bot may be used, besides direct messages with it; empty: everywhere."""
    allowed_users: Ids[UserId] = frozenset()
    """Who may use it; empty: everybody."""
    allowed_teams: Ids[TeamId] = frozenset()
    """Whose people may use it; empty: the app's own workspace's."""
    admin_users: Ids[UserId] = frozenset()
    """Who may use it anywhere, see every job, and cancel and retry what others asked."""
    allow_guests: bool = False
    """Whether guests of the workspace may use it."""
    allow_shared_channels: bool = False
    """Whether answers are posted where people of other organisations read them."""
    max_open_follows_per_person: Annotated[int, Field(ge=1, le=10_000)] = 25
    """How many running jobs one person may follow."""
    max_asks_per_hour: Annotated[int, Field(ge=1, le=10_000)] = 30
    """How often one person may ask within an hour."""
    database_url: SecretStr = SecretStr("sqlite+aiosqlite:///omni-job-bot.sqlite3")
    """Where follows are kept: by default a file in the working folder; PostgreSQL for several processes, or
    where the disk is lost at a restart."""
    encryption_key: Annotated[SecretStr | None, Field(validate_default=True)] = None
    """What the tokens and keys of workspaces are encrypted with in the database."""
    notify_after_seconds: Annotated[float, Field(ge=0, le=86_400)] = 30.0
    """An answer that took longer, counted from the command, is announced in the card's thread."""
    max_follow_hours: Annotated[float, Field(ge=0.1, le=8_760)] = 24.0
    """A job that has not ended by then is looked after no more, until somebody presses *Resume*."""
    retention_days: Annotated[float, Field(ge=0.01, le=3_650)] = 30.0
    """How long a finished follow is kept in the database; its card stays in Slack."""
    host: str = "127.0.0.1"
    """The address that `port` listens on."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Where health, figures, Omni's webhooks, OAuth and, in HTTP mode, Slack's requests are answered, or nowhere."""
    public_url: Annotated[str | None, Field(validate_default=True)] = None
    """The address under which `port` is reached from outside, without a slash at its end; Omni tells there by itself
    how jobs go on."""
    metrics_token: SecretStr | None = None
    """What whoever reads `/metrics` has to send as a bearer token; without it there is no `/metrics`."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], NoDecode] = "info"
    log_format: Annotated[Literal["text", "json"], NoDecode] = "text"
    """How a line of the log is written: key=value, or a JSON object."""

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
    def access_rules(self) -> AccessRules:
        """Who may do what, by all of these."""
        return AccessRules(
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
