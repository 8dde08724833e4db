"""Types of the settings' values, with the checks that apply to each, and their documentation.

An error message continues a sentence that begins with the setting's name, and never repeats the value.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo
from pydantic_settings import NoDecode
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from bot.domain import ChannelId, ModelId, TeamId, UserId
from bot.encryption import EncryptionKeys

SHORTEST_TOKEN = 16
"""Least length of `METRICS_TOKEN` in characters, so that it can't be guessed."""

SHORTEST_API_TOKEN = 32
"""Least length of `API_TOKEN`, with which one may post in every channel that the bot is in."""


@dataclass(frozen=True, slots=True)
class SettingDoc:
    """Documentation of a setting, from which `.env.example` and `docs/settings.md` are generated."""

    section: str
    """Heading. Settings of one section must follow each other."""
    description: str
    """The setting's effect, in Markdown, without a final period."""
    hint: str
    """Its value and where to get it. Completes "set it to …" in error messages."""
    unset: str = ""
    """The effect if it is left out and has no default."""
    where: str = ""
    """Where to get it."""
    example: str = ""
    """A value to show in `.env.example` instead of the default."""


_UNUSABLE = object()
"""Stands for an earlier setting that has a problem of its own, which is reported once."""

_Value = TypeVar("_Value")

_HOST = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]+")
_PATH = re.compile(r"[A-Za-z0-9._~%/+-]*")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def omni_address(value: str) -> str:
    """Omni's address without `/api` and without a slash at its end. Raises ValueError."""
    address = web_address(value).removesuffix("/api").rstrip("/")
    if urlsplit(address).path:
        raise ValueError("has a path after the host")
    return address


def is_token(value: str) -> bool:
    """Whether a key can be sent in a header."""
    return bool(value) and value.isascii() and value.isprintable() and " " not in value


def is_uuid(value: str) -> bool:
    """Whether it is a UUID, in capitals or not."""
    return _UUID.fullmatch(value) is not None


def web_address(value: str) -> str:
    """An https address (http on loopback only) without query, fragment, user or slash at its end. Raises ValueError, in
    words that go on from the name of a setting."""
    try:
        url = urlsplit(value.strip())
        host, _ = url.hostname, url.port
        (host or "").encode("ascii").decode("idna")
    except ValueError as error:
        raise ValueError("is not a web address") from error
    if url.scheme not in ("http", "https") or not host:
        raise ValueError("is not a web address that starts with https://")
    if not (_HOST.fullmatch(host) and _PATH.fullmatch(url.path)):
        raise ValueError("has characters that no web address has")
    if "@" in url.netloc or url.query or url.fragment:
        raise ValueError("has more in it than a host and a path")
    if url.scheme == "http" and not _is_loopback(host):
        raise ValueError("is not https, and a key must not travel unencrypted")
    return f"{url.scheme}://{url.netloc.lower()}{url.path.rstrip('/')}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token(prefix: str = "") -> Callable[[SecretStr], SecretStr]:
    def check(value: SecretStr) -> SecretStr:
        token = value.get_secret_value()
        if not token.startswith(prefix):
            raise ValueError(f"does not start with {prefix}")
        if not is_token(token):
            raise ValueError("has characters that no key has")
        return value

    return check


def _hexadecimal(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[0-9a-f]{32}", value.get_secret_value()):
        raise ValueError("is not 32 hexadecimal digits")
    return value


def _client_id(value: str, info: ValidationInfo) -> str:
    if not re.fullmatch(r"[0-9]+\.[0-9]+", value):
        raise ValueError("is not two numbers with a dot between them")
    if info.data.get("slack_bot_token") is not None:
        raise ValueError("can't be combined with SLACK_BOT_TOKEN")
    return value


def _client_secret(value: SecretStr, info: ValidationInfo) -> SecretStr:
    if info.data.get("slack_client_id", _UNUSABLE) is None:
        raise ValueError("is set without SLACK_CLIENT_ID")
    return _hexadecimal(value)


def _encryption_key(value: SecretStr) -> SecretStr:
    EncryptionKeys(value.get_secret_value())
    return value


def _database_url(value: SecretStr) -> SecretStr:
    try:
        url = make_url(value.get_secret_value())
    except (ArgumentError, ValueError) as error:
        raise ValueError("is not a database address") from error
    if url.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        # The query (`sslmode=verify-full` and the like) is for the driver to check.
        if not url.database:
            raise ValueError("names no database after the host")
        return _with_driver(url, "postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        raise ValueError("names a database other than SQLite and PostgreSQL")
    if url.database in (None, "", ":memory:"):
        raise ValueError("names no file, so all cards would be lost at every restart")
    if url.host or url.query:
        raise ValueError("has more in it than three slashes and a path")
    return _with_driver(url, "sqlite+aiosqlite")


def _with_driver(url: URL, driver: str) -> SecretStr:
    return SecretStr(url.set(drivername=driver).render_as_string(hide_password=False))


def _model_id(value: ModelId) -> ModelId:
    if not is_uuid(value):
        raise ValueError("is not a UUID")
    return ModelId(value.lower())


def _public_url(value: str, info: ValidationInfo) -> str:
    if info.data.get("port", _UNUSABLE) is None:
        raise ValueError("has no effect while PORT is not set")
    return web_address(value)


def _token_on_port(shortest: int) -> AfterValidator:
    def check(value: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.data.get("port", _UNUSABLE) is None:
            raise ValueError("has no effect while PORT is not set")
        if len(value.get_secret_value()) < shortest:
            raise ValueError(f"has fewer than {shortest} characters")
        return value

    return AfterValidator(check)


def _required_with_client_id(value: _Value, info: ValidationInfo) -> _Value:
    if value is None and info.data.get("slack_client_id") is not None:
        raise ValueError("is not set, and SLACK_CLIENT_ID needs it")
    return value


def _ids(initials: str) -> BeforeValidator:
    """Split a list of Slack ids. A typo must not lock a user out, or let one in, unnoticed."""

    def split(value: object) -> object:
        if not isinstance(value, str):
            return value
        ids = [part for part in re.split(r"[\s,]+", value) if part]
        if not all(re.fullmatch(rf"[{initials}][A-Z0-9]+", part) for part in ids):
            raise ValueError(f"holds an entry that is not an id starting with {' or '.join(initials)}")
        return frozenset(ids)

    return BeforeValidator(split)


def _channel_id(value: str) -> str:
    if not re.fullmatch(r"[CG][A-Z0-9]+", value):
        raise ValueError("is not a channel id, which starts with C or G")
    return value


REQUIRED_WITH_CLIENT_ID = AfterValidator(_required_with_client_id)
"""For settings that OAuth needs. The field must validate its default and stand after `slack_client_id`."""

ANY_CASE = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)
"""For choices."""

BotToken = Annotated[SecretStr, AfterValidator(_token("xoxb-"))]
AppToken = Annotated[SecretStr, AfterValidator(_token("xapp-"))]
ApiToken = Annotated[SecretStr, AfterValidator(_token())]
FollowsToken = Annotated[ApiToken, _token_on_port(SHORTEST_API_TOKEN)]
MetricsToken = Annotated[ApiToken, _token_on_port(SHORTEST_TOKEN)]
SigningSecret = Annotated[SecretStr, AfterValidator(_hexadecimal)]
ClientId = Annotated[str, AfterValidator(_client_id)]
ClientSecret = Annotated[SecretStr, AfterValidator(_client_secret)]
EncryptionKey = Annotated[SecretStr, AfterValidator(_encryption_key)]
SlackApiUrl = Annotated[str, AfterValidator(lambda value: f"{web_address(value)}/")]
OmniUrl = Annotated[str, AfterValidator(omni_address)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
OmniModelId = Annotated[ModelId, AfterValidator(_model_id)]
FeedbackChannel = Annotated[ChannelId, AfterValidator(_channel_id)]
ChannelIds = Annotated[frozenset[ChannelId], NoDecode, _ids("CG")]
UserIds = Annotated[frozenset[UserId], NoDecode, _ids("UW")]
TeamIds = Annotated[frozenset[TeamId], NoDecode, _ids("TE")]
