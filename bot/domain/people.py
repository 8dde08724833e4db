"""Facts about Slack users and channels that decide who may do what."""

from dataclasses import dataclass, field

from bot.domain.cards import TeamId, UserId


@dataclass(frozen=True, slots=True)
class SlackUser:
    """A Slack user, from `users.info`."""

    id: UserId
    teams: frozenset[TeamId]
    """The user's workspaces, and their Enterprise Grid organization. The bot's is not among them for users of other
    organizations (Slack Connect)."""
    is_guest: bool = False
    """`is_restricted` or `is_ultra_restricted`."""
    is_stranger: bool = False
    """Not a member of the bot's workspace."""
    is_bot: bool = False
    is_deactivated: bool = False
    """`deleted`."""
    email: str | None = field(default=None, repr=False)
    """None without the scope `users:read.email`, or if Slack has none."""


@dataclass(frozen=True, slots=True)
class ConversationInfo:
    """The kind of a channel, from `conversations.info`."""

    is_direct: bool = False
    """A direct message with the bot."""
    is_shared: bool = False
    """Shared with another organization, or about to be (`is_ext_shared`, `is_pending_ext_shared`)."""
