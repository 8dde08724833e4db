"""Who people are in Slack and what kind of conversation a place is, as far as it decides what they may do."""

from dataclasses import dataclass, field
from typing import Protocol

from bot.ports import Message
from bot.watch import Place, TeamId, Ts, UserId


@dataclass(frozen=True, slots=True)
class Person:
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
class Venue:
    """What kind of conversation a place is, as `conversations.info` tells."""

    is_direct: bool = False
    """A direct message with the bot."""
    is_shared: bool = False
    """Shared with another organisation, or about to be (`is_ext_shared`, `is_pending_ext_shared`)."""


class Directory(Protocol):
    """Slack's people and conversations. Every call may raise any BoardError."""

    async def person(self, user: UserId) -> Person:
        """Who that is. ScopeMissing without `users:read`."""
        ...

    async def venue(self, place: Place) -> Venue:
        """What that place is. ScopeMissing without the `…:read` scope of its kind; NotAllowedHere where the bot can't
        see it."""
        ...


class Views(Protocol):
    """Slack's modals and Home tabs, and lines for one person. Every call may raise any BoardError."""

    async def open(self, trigger: str, view: dict[str, object]) -> str:
        """Open a modal within 3 s of what a person did. Returns the view's id."""
        ...

    async def update(self, view_id: str, view: dict[str, object]) -> None:
        """Replace a modal that is open."""
        ...

    async def publish(self, user: UserId, view: dict[str, object]) -> None:
        """Replace a person's Home tab."""
        ...

    async def whisper(
        self, place: Place, user: UserId, message: Message, *, thread: Ts | None = None
    ) -> None:
        """Show a message to one person in a place (`chat.postEphemeral`)."""
        ...
