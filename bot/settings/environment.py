"""Reads the settings from the environment and from `.env` in the working folder."""

from urllib.parse import quote, quote_plus

from pydantic import SecretStr, ValidationError, model_validator
from sqlalchemy.engine import make_url

from bot.domain import AccessPolicy, ContentPolicy, OmniAccount, SettingsError
from bot.encryption import key_list
from bot.settings.fields import SettingFields
from bot.settings.values import SettingDoc


class Settings(SettingFields):
    """All settings, and the values derived from them."""

    @model_validator(mode="before")
    @classmethod
    def _app_token_is_optional_in_http_mode(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("slack_signing_secret") and values.get("port"):
            return {"slack_app_token": None, **values}
        return values

    @model_validator(mode="before")
    @classmethod
    def _workspaces_bring_their_own_tokens_with_oauth(cls, values: object) -> object:
        if not isinstance(values, dict) or not values.get("slack_client_id"):
            return values
        optional = {"slack_bot_token": None}
        if not values.get("omni_base_url") and not values.get("omni_api_token"):
            optional |= {"omni_base_url": None, "omni_api_token": None}
        return {**optional, **values}

    @property
    def app_token(self) -> str:
        """`slack_app_token` in clear; empty in HTTP mode."""
        return "" if self.slack_app_token is None else self.slack_app_token.get_secret_value()

    @property
    def bot_token(self) -> str:
        """`slack_bot_token` in clear; empty if workspaces install the app by OAuth."""
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
        """The access policy that the settings describe."""
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

    @property
    def content_policy(self) -> ContentPolicy:
        """Where Slack may hold what was asked and answered."""
        return ContentPolicy(
            is_link_only_everywhere=self.answers == "link", link_only_channels=self.link_only_channels
        )

    @property
    def secrets(self) -> frozenset[str]:
        """Every value that the log must redact."""
        secrets = {name: value for name, value in self if isinstance(value, SecretStr)}
        passwords = _passwords(secrets.pop("database_url"))
        values = {value.get_secret_value() for value in secrets.values()}
        keys = self.encryption_key.get_secret_value() if self.encryption_key else ""
        return frozenset(passwords | values | set(key_list(keys)))


def _passwords(url: SecretStr) -> set[str]:
    """The database's password in clear and in both URL encodings."""
    password = make_url(url.get_secret_value()).password
    return {str(password), quote_plus(str(password)), quote(str(password))} if password else set()


def setting_doc(name: str) -> SettingDoc:
    """The documentation of the setting with that field name."""
    (doc,) = [part for part in Settings.model_fields[name].metadata if isinstance(part, SettingDoc)]
    return doc


HINTS = {name.upper(): setting_doc(name).hint for name in Settings.model_fields}
"""Each setting's value and where to get it, by the setting's name in the environment."""


def read_settings() -> Settings:
    """Read the settings. The environment takes precedence over `.env`.

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
    problem = (
        "is not set" if kind == "missing" else message.removeprefix("Value error, ").removeprefix("Input ")
    )
    return f"{name} {problem}: set it to {HINTS.get(name, 'a proper value')}"
