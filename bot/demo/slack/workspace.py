"""The state of the simulated workspace: people, channels, messages. No I/O.

`web_api` decides which requests are allowed; this module applies them and notifies listeners.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

from bot.demo.slack.files import Files, StoredFile
from bot.demo.slack.records import (
    HOME_TEAM,
    PARTNER_TEAM,
    SECOND_TEAM,
    Change,
    ChangeKind,
    Channel,
    StoredMessage,
    User,
)
from bot.demo.slack.surfaces import OpenView, Surfaces

__all__ = ["Change", "Channel", "StoredMessage", "User", "Workspace", "is_ts"]

_TS = re.compile(r"\d{10}\.\d{6}")


class Workspace:
    """People, channels and messages of one workspace with one app in it."""

    def __init__(self, now: Callable[[], float], team: str = HOME_TEAM, *, organization: str = "") -> None:
        """`organization`: the Enterprise Grid organization for which the app is installed, with two workspaces."""
        self.team = team
        self.organization = organization
        self.teams: tuple[str, ...] = (team, SECOND_TEAM) if organization else (team,)
        self.domain = "omni-demo"
        self.app = "A0OMNIBOT"
        self.bot = User("U0OMNIBOT", "omni-job-bot", "Omni job bot", is_bot=True, team=team)
        self.bot_id = "B0OMNIBOT"
        self.url = "http://127.0.0.1/"
        self.users: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.private: list[StoredMessage] = []
        """Ephemeral messages, oldest first."""
        self.files = Files()
        self.surfaces = Surfaces()
        self.listeners: list[Callable[[Change], None]] = []
        self._now = now
        self._last_microsecond = 0
        self._furnish()

    def _furnish(self) -> None:
        own = partial(User, team=self.team)
        ada = own("U0ADABYRON", "ada", "Ada Byron", email="ada@example.com")
        grace = own("U0GRACEHOP", "grace", "Grace Hopper", email="grace@example.com")
        linus = own("U0LINUSPAU", "linus", "Linus Pauling", email="linus@example.com")
        marie = own("U0MARIECUR", "marie", "Marie Curie", guest="restricted", email="marie@example.net")
        edsger = User(
            "U0EDSGERDI", "edsger", "Edsger Dijkstra", team=PARTNER_TEAM, email="edsger@partner.example"
        )
        self.users = {user.id: user for user in (ada, grace, linus, marie, edsger, self.bot)}
        people = {ada.id, grace.id, linus.id}
        everyone = {*people, self.bot.id}
        for channel in (
            Channel("C0DATATEAM", "data-team", "public", {*everyone, marie.id}),
            Channel("C0SALES000", "sales", "public", set(everyone)),
            Channel("C0FINANCE0", "finance", "public", set(everyone)),
            Channel("C0FEEDBACK", "feedback", "public", set(everyone)),
            Channel("C0RANDOM00", "random", "public", set(people)),
            Channel("G0LEADERSH", "leadership", "private", set(people)),
            Channel("C0OLDPROJE", "old-project", "public", set(everyone), archived=True),
            Channel("C0PARTNERS", "partners", "public", {*everyone, edsger.id}, shared="external"),
            Channel("D0ADAGRACE", "ada-grace", "direct", {ada.id, grace.id}),
        ):
            self.channels[channel.id] = channel

        if self.organization:
            berlin = Channel("C0BERLIN00", "berlin", "public", set(everyone), team=SECOND_TEAM)
            self.channels[berlin.id] = berlin
            for user in (ada, grace, linus, marie):
                self.users[user.id] = replace(user, team=self.organization, grid_teams=self.teams)

    def team_of(self, channel: Channel) -> str:
        """The workspace that people in a channel act in."""
        return channel.team or self.team

    def user(self, who: str) -> User:
        """A person by id, handle or full name.

        Raises:
            LookupError: there is no such user.
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
        return self.post(channel, user, text, thread=thread, files=files)

    def complete(self, file: StoredFile, title: str | None) -> None:
        """End an upload. Until a message has the file, only the bot can see it."""
        file.title = title or file.name
        file.url_private = f"{self.url}files/{file.id}/{quote(file.name)}"
        file.usable_at = self._now() + self.files.processing_seconds

    def delete_file(self, file: StoredFile) -> None:
        """Delete a file. Messages that show it stay, and say so."""
        file.is_deleted, file.content, file.url_private, file.usable_at = True, None, "", math.inf
        for channel in self.channels.values():
            for message in list(channel.messages.values()):
                if file in message.files:
                    self._tell("updated", message)

    def may_show(self, slack_file: Mapping[str, Any]) -> bool:
        """Whether an image block of the bot may show a file, by its id or its private address."""
        named = slack_file.get("id"), slack_file.get("url")
        return any(
            named in ((file.id, None), (None, file.url_private))
            and file.is_for_blocks
            and file.usable_at <= self._now()
            for file in self.files.by_id.values()
        )

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

    def is_stranger(self, user: User) -> bool:
        """Whether a person is of another workspace and in no shared channel that the bot is in, which is all that
        `is_stranger` says. Source: docs.slack.dev/reference/objects/user-object."""
        met = any({user.id, self.bot.id} <= channel.members for channel in self.channels.values())
        return not self.is_member(user) and not met

    def is_member(self, user: User) -> bool:
        """Whether a person is of this workspace."""
        return self.team in (user.team, *user.grid_teams)

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
        self,
        channel: Channel,
        user: str,
        text: str,
        *,
        blocks: list[dict[str, Any]] | None = None,
        thread: str | None = None,
    ) -> StoredMessage:
        """Show a message from the bot to one person, in a thread where it has one."""
        message = StoredMessage(self.next_ts(), channel.id, self.bot.id, text, blocks or [], thread_ts=thread)
        message.by_bot, message.only_for = True, user
        self.private.append(message)
        self._tell("ephemeral", message)
        return message

    def typed(self, channel: Channel, user: str, text: str) -> None:
        """Let the page know what a person typed; commands leave no message behind."""
        self._announce(Change("typed", channel.id, user, {"ts": self.next_ts(), "text": text}))

    def tell_view(self, kind: Literal["view", "home"], view: OpenView) -> None:
        """Let the page know that a person's modal or Home tab looks otherwise."""
        self._announce(Change(kind, "", view.user, {}))

    def trigger(self, user: str, channel: Channel | None = None) -> str:
        """A trigger_id for what a person does now, in the workspace of a channel."""
        return self.surfaces.trigger(
            user, self._now(), self.team if channel is None else self.team_of(channel)
        )

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
