"""Who people are in Slack and what kind of conversation a place is, as far as it decides what they may do."""

from dataclasses import dataclass, field

from bot.domain.cards import TeamId, UserId


@dataclass(frozen=True, slots=True)
class SlackUser:
    """A Slack user, as `users.info` tells."""

    id: UserId
    team: TeamId
    """Their own workspace; another one than the bot's for people of other organisations (Slack Connect)."""
    is_guest: bool = False
    """`is_restricted` or `is_ultra_restricted`."""
    is_stranger: bool = False
    """Of another organisation: `is_stranger`, or of a team that is not the bot's."""
    is_bot: bool = False
    is_deactivated: bool = False
    """`deleted`."""
    email: str | None = field(default=None, repr=False)
    """None without the scope `users:read.email`, or where Slack knows none."""


@dataclass(frozen=True, slots=True)
class ConversationInfo:
    """What kind of conversation a place is, as `conversations.info` tells."""

    is_direct: bool = False
    """A direct message with the bot."""
    is_shared: bool = False
    """Shared with another organisation, or about to be (`is_ext_shared`, `is_pending_ext_shared`)."""
