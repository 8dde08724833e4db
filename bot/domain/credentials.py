"""What opens a Slack workspace and the Omni that belongs to it, and who knows that of which workspaces."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

from bot.domain.cards import TeamId, UserId
from bot.domain.questions import ModelId


@dataclass(frozen=True, slots=True)
class Credentials:
    """One workspace in which the bot is installed. Two that are equal open the same."""

    team: TeamId
    bot_user: UserId
    bot_id: str
    bot_token: str = field(repr=False)
    """Slack's token of the bot in that workspace, `xoxb-…`."""
    omni_base_url: str
    """Omni's address without `/api` and without a slash at its end."""
    omni_api_token: str = field(repr=False)
    """Omni's API key."""
    requests_per_minute: int
    """What Omni allows the key."""
    default_model: ModelId | None = None
    """The Omni model that is asked where a person has chosen none."""
    is_shut: bool = False
    """Whether nobody of another workspace may use the bot there, whatever the settings say of teams: its Omni is its
    own."""

    @property
    def omni_budget(self) -> str:
        """The name of the key's budget of requests: the same for all who use it, and nothing that leads to it."""
        key = f"{self.omni_base_url} {self.omni_api_token}".encode()
        return f"omni {blake2b(key, digest_size=12).hexdigest()}"


@dataclass(frozen=True, slots=True)
class OmniAccount:
    """An Omni instance and the key to it."""

    base_url: str
    """Without `/api` and without a slash at its end."""
    api_token: str = field(repr=False)
    requests_per_minute: int
    """What Omni allows the key."""
    default_model: ModelId | None = None
    """The model that is asked where a person has chosen none."""


class CredentialSource(Protocol):
    """Knows the workspaces that the bot is to run in."""

    async def list(self) -> Sequence[Credentials]:
        """All of them, as they stand now; each team once.

        Raises:
            StoreUnavailable: the database that holds them did not answer.
            TokenRefused: Slack refuses the tokens that the settings name.
        """
        ...
