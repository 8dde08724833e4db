"""The state of the simulated workspace: people, channels, messages. No I/O.

What may be done to it over the Web API is decided in `webapi`; here things just happen, and everyone
who listens is told.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from bot.demo.files import Files, StoredFile

ChannelKind = Literal["public", "private", "direct"]
ChangeKind = Literal["posted", "updated", "deleted", "ephemeral", "typed"]

_TS = re.compile(r"\d{10}\.\d{6}")


@dataclass(frozen=True, slots=True)
class User:
    """A person, or the bot."""

    id: str
    name: str
    """The handle, lower case."""
    real_name: str
    is_bot: bool = False


@dataclass(slots=True)
class StoredMessage:
    """A message as Slack keeps it, or as one person sees it where it is ephemeral."""

    ts: str
    channel: str
    user: str
    """Who wrote it."""
    text: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] | None = None
    thread_ts: str | None = None
    """The parent's ts, of replies only."""
    by_bot: bool = False
    edits: int = 0
    edited_at: list[float] = field(default_factory=list)
    permalink: str = ""
    only_for: str | None = None
    """The one person who sees it, of ephemeral messages only."""
    files: list[StoredFile] = field(default_factory=list)
    """What it shares, under its text."""

    def as_json(self) -> dict[str, Any]:
        """Everything about the message, for a page that draws it."""
        return {
            "ts": self.ts,
            "channel": self.channel,
            "user": self.user,
            "text": self.text,
            "blocks": self.blocks,
            "metadata": self.metadata,
            "thread_ts": self.thread_ts,
            "by_bot": self.by_bot,
            "edits": self.edits,
            "edited_at": list(self.edited_at),
            "permalink": self.permalink,
            "only_for": self.only_for,
            "files": [file.as_json() for file in self.files],
        }


@dataclass(slots=True)
class Channel:
    """A channel or a direct message."""

    id: str
    name: str
    kind: ChannelKind
    members: set[str]
    archived: bool = False
    messages: dict[str, StoredMessage] = field(default_factory=dict)
    """By ts, oldest first; replies among them."""
    tombstones: set[str] = field(default_factory=set)
    """The ts of deleted messages that had replies: their threads live on."""

    def replies(self, ts: str) -> list[StoredMessage]:
        """The replies in a thread, oldest first, without the parent."""
        return [message for message in self.messages.values() if message.thread_ts == ts]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that somebody could see happen."""

    kind: ChangeKind
    channel: str
    user: str
    message: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The event as the demo page gets it."""
        return {"kind": self.kind, "channel": self.channel, "user": self.user, "message": self.message}


class Workspace:
    """People, channels and messages of one workspace with one app in it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.team = "T0OMNIDEMO"
        self.domain = "omni-demo"
        self.app = "A0OMNIBOT"
        self.bot = User("U0OMNIBOT", "omni", "Omni", is_bot=True)
        self.bot_id = "B0OMNIBOT"
        self.url = "http://127.0.0.1/"
        self.users: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.private: list[StoredMessage] = []
        """Ephemeral messages, oldest first."""
        self.files = Files()
        self.listeners: list[Callable[[Change], None]] = []
        self._now = now
        self._last_microsecond = 0
        self._furnish()

    def _furnish(self) -> None:
        ada = User("U0ADABYRON", "ada", "Ada Byron")
        grace = User("U0GRACEHOP", "grace", "Grace Hopper")
        linus = User("U0LINUSPAU", "linus", "Linus Pauling")
        self.users = {user.id: user for user in (ada, grace, linus, self.bot)}
        people = {ada.id, grace.id, linus.id}
        everyone = {*people, self.bot.id}
        for channel in (
            Channel("C0DATATEAM", "data-team", "public", set(everyone)),
            Channel("C0SALES000", "sales", "public", set(everyone)),
            Channel("C0RANDOM00", "random", "public", set(people)),
            Channel("G0LEADERSH", "leadership", "private", set(people)),
            Channel("C0OLDPROJE", "old-project", "public", set(everyone), archived=True),
            Channel("D0ADAGRACE", "ada-grace", "direct", {ada.id, grace.id}),
        ):
            self.channels[channel.id] = channel

    def user(self, who: str) -> User:
        """A person by id, handle or full name.

        Raises:
            LookupError: nobody is called that.
        """
        for user in self.users.values():
            if who in (user.id, user.name, user.real_name):
                return user
        raise LookupError(f"no user {who!r}; there are {sorted(user.name for user in self.users.values())}")

    def channel(self, which: str) -> Channel:
        """A channel by id or by name, with or without #.

        Raises:
            LookupError: no channel is called that.
        """
        for channel in self.channels.values():
            if which.removeprefix("#") in (channel.id, channel.name):
                return channel
        raise LookupError(f"no channel {which!r}; there are {sorted(c.name for c in self.channels.values())}")

    def direct(self, user: str) -> Channel:
        """The person's direct message with the bot, made at the first call."""
        members = {user, self.bot.id}
        for channel in self.channels.values():
            if channel.kind == "direct" and channel.members == members:
                return channel
        channel = Channel(f"D0{user[2:]}", f"bot-{self.users[user].name}", "direct", members)
        self.channels[channel.id] = channel
        return channel

    def next_ts(self) -> str:
        """A ts that no message has yet, as Slack writes it: seconds, a point, six digits."""
        self._last_microsecond = max(round(self._now() * 1_000_000), self._last_microsecond + 1)
        seconds, microseconds = divmod(self._last_microsecond, 1_000_000)
        return f"{seconds:010d}.{microseconds:06d}"

    def post(
        self,
        channel: Channel,
        user: str,
        text: str,
        *,
        blocks: list[dict[str, Any]] | None = None,
        metadata: dict[str, Any] | None = None,
        thread: str | None = None,
        files: list[StoredFile] | None = None,
    ) -> StoredMessage:
        """Put a message into a channel, or into the thread of one that is there.

        A thread whose parent is gone takes no reply: Slack then posts at the top level without a word
        (slack-go/slack#1571, langchain-ai/open-swe#2753). A deleted parent that had replies stays a parent.
        """
        parent = thread if thread in channel.messages or thread in channel.tombstones else None
        ts = self.next_ts()
        message = StoredMessage(
            ts, channel.id, user, text, blocks or [], metadata, parent, by_bot=self.users[user].is_bot
        )
        message.permalink = self._permalink(message)
        message.files = files or []
        channel.messages[ts] = message
        self._tell("posted", message)
        return message

    def share(
        self, channel: Channel, user: str, files: list[StoredFile], text: str, *, thread: str | None = None
    ) -> StoredMessage:
        """Put files into a channel or thread: they come as one message."""
        for file in files:
            file.url_private = f"{self.url}files/{file.id}/{quote(file.name)}"
        return self.post(channel, user, text, thread=thread, files=files)

    def update(
        self,
        message: StoredMessage,
        text: str,
        blocks: list[dict[str, Any]],
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Replace what a message shows; its metadata only where new is given."""
        message.text = text
        message.blocks = blocks
        if metadata is not None:
            message.metadata = metadata
        message.edits += 1
        message.edited_at.append(self._now())
        self._tell("updated", message)

    def delete(self, message: StoredMessage) -> None:
        """Take a message away, ephemeral or not. Its replies stay."""
        channel = self.channels[message.channel]
        if message.only_for is not None:
            self.private.remove(message)
        else:
            if channel.replies(message.ts):
                channel.tombstones.add(message.ts)
            del channel.messages[message.ts]
            if message.thread_ts and not channel.replies(message.thread_ts):
                channel.tombstones.discard(message.thread_ts)
        self._tell("deleted", message)

    def whisper(
        self, channel: Channel, user: str, text: str, *, blocks: list[dict[str, Any]] | None = None
    ) -> StoredMessage:
        """Show a message from the bot to one person."""
        message = StoredMessage(
            self.next_ts(), channel.id, self.bot.id, text, blocks or [], by_bot=True, only_for=user
        )
        self.private.append(message)
        self._tell("ephemeral", message)
        return message

    def typed(self, channel: Channel, user: str, text: str) -> None:
        """Let the page know what a person typed; commands leave no message behind."""
        self._announce(Change("typed", channel.id, user, {"ts": self.next_ts(), "text": text}))

    def _permalink(self, message: StoredMessage) -> str:
        # The form for replies: docs.slack.dev/reference/methods/chat.getPermalink.
        link = f"{self.url}archives/{message.channel}/p{message.ts.replace('.', '')}"
        return f"{link}?thread_ts={message.thread_ts}&cid={message.channel}" if message.thread_ts else link

    def _tell(self, kind: ChangeKind, message: StoredMessage) -> None:
        who = message.only_for if kind == "ephemeral" and message.only_for else message.user
        self._announce(Change(kind, message.channel, who, message.as_json()))

    def _announce(self, change: Change) -> None:
        for listener in list(self.listeners):
            listener(change)


def is_ts(value: object) -> bool:
    """Whether a value has the form of a message's ts, which is a string and never a number."""
    return isinstance(value, str) and _TS.fullmatch(value) is not None
