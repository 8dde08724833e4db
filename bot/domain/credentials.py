"""Credentials of a Slack workspace and of its Omni, and where they come from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

from bot.domain.cards import TeamId, UserId
from bot.domain.questions import ModelId


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials of one workspace in which the bot is installed."""

    team: TeamId
    bot_user: UserId
    bot_id: str
    bot_token: str = field(repr=False)
    """The bot's Slack token in that workspace, `xoxb-…`."""
    omni_base_url: str
    """Omni's URL without `/api` and without a slash at the end."""
    omni_api_token: str = field(repr=False)
    """Omni's API key."""
    requests_per_minute: int
    """Omni's limit for the key."""
    default_model: ModelId | None = None
    """Omni model for users who have chosen none."""
    organization: TeamId | None = None
    """The Enterprise Grid organization for which the app was installed as a whole; the token is the same in all its
    workspaces."""
    is_shut: bool = False
    """Whether users of other workspaces are refused even if the settings allow their team."""

    @property
    def omni_budget(self) -> str:
        """Name of the key's request budget: equal wherever the key is used, and without the key itself."""
        key = f"{self.omni_base_url} {self.omni_api_token}".encode()
        return f"omni {blake2b(key, digest_size=12).hexdigest()}"


@dataclass(frozen=True, slots=True)
class OmniAccount:
    """An Omni instance and the key to it."""

    base_url: str
    """Without `/api` and without a slash at the end."""
    api_token: str = field(repr=False)
    requests_per_minute: int
    """Omni's limit for the key."""
    default_model: ModelId | None = None
    """Model for users who have chosen none."""


class CredentialSource(Protocol):
    """Source of the workspaces in which the bot runs."""

    async def list(self) -> Sequence[Credentials]:
        """Return the current credentials, each team once.

        Raises:
            StoreUnavailable: the database that holds them did not answer.
            TokenRefused: Slack refuses the tokens that the settings name.
        """
        ...
