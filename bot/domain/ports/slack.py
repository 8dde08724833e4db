"""What the core needs from Slack."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from bot.domain.cards import Place, Ts, UserId
from bot.domain.messages import Message, Upload
from bot.domain.people import Person, Venue

Whisper = Callable[[str, Message], Awaitable[None]]
"""Tells something privately by a response_url; raises any BoardError."""


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


class Board(Protocol):
    """Slack's messages. Every call may raise any BoardError."""

    async def post(self, place: Place, message: Message, *, mark: str, thread: Ts | None = None) -> Ts:
        """Post once, with a mark to be found by; never repeated by itself. `thread`: as a reply to that ts."""
        ...

    async def update(self, place: Place, ts: Ts, message: Message) -> None:
        """Replace a message of ours. Doing it twice does no harm."""
        ...

    async def delete(self, place: Place, ts: Ts) -> None:
        """Delete a message of ours. Doing it twice does no harm."""
        ...

    async def find(self, place: Place, *, mark: str, since: datetime, thread: Ts | None = None) -> Ts | None:
        """Look for what `post` may have posted. None: it is certainly not there.

        Raises:
            ScopeMissing: the bot may not read this place's history, so nobody can tell.
        """
        ...

    async def upload(self, place: Place, upload: Upload, *, thread: Ts | None = None) -> None:
        """Put a file into a conversation; never repeated by itself, and not to be found by any mark. `thread`: as a
        reply to that ts.

        Raises:
            NotAllowedHere: the bot is no member, or uploads are off.
            ScopeMissing: the app was installed without `files:write`.
            Unanswered: only the last of several requests was not answered; before it nothing can be seen.
        """
        ...

    async def permalink(self, place: Place, ts: Ts) -> str:
        """The address of a message. MessageGone where it no longer is."""
        ...

    async def direct(self, place: Place, user: UserId) -> Place:
        """The person's direct message with the bot, in the same workspace as `place`."""
        ...
