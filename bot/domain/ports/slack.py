"""What the core needs from Slack."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from bot.domain.cards import ChannelRef, MessageTs, UserId
from bot.domain.messages import Message, Upload
from bot.domain.people import ConversationInfo, SlackUser

EphemeralReply = Callable[[str, Message], Awaitable[None]]
"""Tells something privately by a response_url; raises any BoardError."""


class SlackDirectory(Protocol):
    """Slack's people and conversations. Every call may raise any BoardError."""

    async def user(self, user: UserId) -> SlackUser:
        """Who that is. ScopeMissing without `users:read`."""
        ...

    async def conversation(self, channel: ChannelRef) -> ConversationInfo:
        """What that place is. ScopeMissing without the `…:read` scope of its kind; NotAllowedHere where the bot can't
        see it."""
        ...


class SlackViews(Protocol):
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

    async def post_ephemeral(
        self, channel: ChannelRef, user: UserId, message: Message, *, thread: MessageTs | None = None
    ) -> None:
        """Show a message to one person in a place (`chat.postEphemeral`)."""
        ...


class SlackMessages(Protocol):
    """Slack's messages. Every call may raise any BoardError."""

    async def post(
        self, channel: ChannelRef, message: Message, *, mark: str, thread: MessageTs | None = None
    ) -> MessageTs:
        """Post once, with a mark to be found by; never repeated by itself. `thread`: as a reply to that ts."""
        ...

    async def update(self, channel: ChannelRef, ts: MessageTs, message: Message) -> None:
        """Replace a message of ours. Doing it twice does no harm."""
        ...

    async def delete(self, channel: ChannelRef, ts: MessageTs) -> None:
        """Delete a message of ours. Doing it twice does no harm."""
        ...

    async def find_by_metadata(
        self, channel: ChannelRef, *, mark: str, since: datetime, thread: MessageTs | None = None
    ) -> MessageTs | None:
        """Look for what `post` may have posted. None: it is certainly not there.

        Raises:
            ScopeMissing: the bot may not read this place's history, so nobody can tell.
        """
        ...

    async def upload(self, channel: ChannelRef, upload: Upload, *, thread: MessageTs | None = None) -> None:
        """Put a file into a conversation; never repeated by itself, and not to be found by any mark. `thread`: as a
        reply to that ts.

        Raises:
            NotAllowedHere: the bot is no member, or uploads are off.
            ScopeMissing: the app was installed without `files:write`.
            Unanswered: only the last of several requests was not answered; before it nothing can be seen.
        """
        ...

    async def permalink(self, channel: ChannelRef, ts: MessageTs) -> str:
        """The address of a message. MessageGone where it no longer is."""
        ...

    async def open_dm(self, channel: ChannelRef, user: UserId) -> ChannelRef:
        """The person's direct message with the bot, in the same workspace as `channel`."""
        ...
