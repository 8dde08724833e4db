"""Ports to Slack. Every call may raise any SlackError."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from bot.domain.access import ConversationInfo, SlackUser
from bot.domain.cards import ChannelRef, MessageTs, UserId
from bot.domain.messages import FileId, Message, Upload

EphemeralReply = Callable[[str, Message], Awaitable[None]]
"""Sends an ephemeral reply to a response_url; may raise any SlackError."""


class SlackDirectory(Protocol):
    """Reads Slack's users and conversations."""

    async def user(self, user: UserId) -> SlackUser:
        """Look up a user. ScopeMissing without `users:read`."""
        ...

    async def user_by_email(self, email: str) -> SlackUser:
        """Look up the workspace's active user with that email address.

        Raises:
            ScopeMissing: the app lacks `users:read.email`.
            NotAllowedHere: there is no such user.
        """
        ...

    async def conversation(self, channel: ChannelRef) -> ConversationInfo:
        """Look up a conversation.

        Raises:
            ScopeMissing: the app lacks the `…:read` scope of this kind of conversation.
            NotAllowedHere: the bot can't see it.
        """
        ...

    async def members_among(self, channel: ChannelRef, users: frozenset[UserId]) -> frozenset[UserId]:
        """Return which of the users are members of a channel.

        Raises:
            ScopeMissing: the app lacks the `…:read` scope, or the channel has too many members to find out.
            NotAllowedHere: the bot can't see it.
        """
        ...


class SlackViews(Protocol):
    """Modals, Home tabs and ephemeral messages."""

    async def open(self, trigger: str, view: dict[str, object]) -> str:
        """Open a modal, within 3 s of the user's action. Returns the view's id."""
        ...

    async def update(self, view_id: str, view: dict[str, object]) -> None:
        """Replace an open modal."""
        ...

    async def publish(self, user: UserId, view: dict[str, object]) -> None:
        """Replace a user's Home tab."""
        ...

    async def post_ephemeral(
        self, channel: ChannelRef, user: UserId, message: Message, *, thread: MessageTs | None = None
    ) -> None:
        """Show a message to one user in a channel (`chat.postEphemeral`)."""
        ...


class SlackMessages(Protocol):
    """Posts, edits, deletes and finds the bot's messages."""

    async def post(
        self, channel: ChannelRef, message: Message, *, mark: str, thread: MessageTs | None = None
    ) -> MessageTs:
        """Post once, with a mark in the metadata to find the message by. `thread`: reply to that message."""
        ...

    async def update(self, channel: ChannelRef, ts: MessageTs, message: Message) -> None:
        """Edit a message of the bot. May be repeated."""
        ...

    async def delete(self, channel: ChannelRef, ts: MessageTs) -> None:
        """Delete a message of the bot. May be repeated."""
        ...

    async def find_by_metadata(
        self, channel: ChannelRef, *, mark: str, since: datetime, thread: MessageTs | None = None
    ) -> MessageTs | None:
        """Find a message that `post` may have posted. None: it certainly does not exist.

        Raises:
            ScopeMissing: the bot may not read this channel's history, or not so much of it, so it is unknown.
            SlackBusy: before the first page. Later ones are waited for.
        """
        ...

    async def delete_file(self, file: FileId) -> None:
        """Delete a file of the bot. May be repeated.

        Raises:
            NotAllowedHere: the bot may not delete it.
            ScopeMissing: the app was installed without `files:write`.
        """
        ...

    async def upload(self, channel: ChannelRef, upload: Upload, *, thread: MessageTs | None = None) -> FileId:
        """Upload a file once; it can't be found by a mark. `thread`: reply to that message.

        Raises:
            NotAllowedHere: the bot is not a member, or uploads are disabled.
            ScopeMissing: the app was installed without `files:write`.
            OutcomeUnknown: the last of several requests was not answered; before it, nothing is visible.
        """
        ...

    async def upload_private(self, upload: Upload) -> FileId:
        """Upload a file that only the bot can open until a message shows it. May be repeated: each makes a new file.

        Raises:
            NotAllowedHere: uploads are disabled.
            ScopeMissing: the app was installed without `files:write`.
        """
        ...

    async def permalink(self, channel: ChannelRef, ts: MessageTs) -> str:
        """Return the link to a message. MessageGone if it was deleted."""
        ...

    async def open_dm(self, channel: ChannelRef, user: UserId) -> ChannelRef:
        """Return the user's direct message with the bot, in the workspace of `channel`."""
        ...
