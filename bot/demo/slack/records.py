"""Records of the simulated workspace: users, messages, channels and visible events. No I/O."""

from dataclasses import dataclass, field
from typing import Any, Literal

from bot.demo.slack.files import StoredFile

ChannelKind = Literal["public", "private", "direct"]
ChangeKind = Literal["posted", "updated", "deleted", "ephemeral", "typed", "view", "home"]
Guest = Literal["restricted", "ultra_restricted"]
Shared = Literal["external", "pending"]

HOME_TEAM = "T0OMNIDEMO"
"""The workspace that the app is installed in."""
ORGANIZATION = "E0OMNIDEMO"
"""The Enterprise Grid organization of members with `grid_teams`."""
SECOND_TEAM = "T0BERLIN"
"""Another workspace of the organization."""
PARTNER_TEAM = "T0PARTNERS"
"""Another company's, which shares a channel with it."""


@dataclass(frozen=True, slots=True)
class User:
    """A person, or the bot."""

    id: str
    name: str
    """The handle, lower case."""
    real_name: str
    is_bot: bool = False
    team: str = HOME_TEAM
    """The workspace that they belong to. In an Enterprise Grid perhaps empty, another one, or the organization."""
    grid_teams: tuple[str, ...] = ()
    """The workspaces of a member of an Enterprise Grid."""
    guest: Guest | None = None
    """A guest in that workspace: of several channels, or of a single one."""
    email: str | None = None
    """None: the profile holds none."""
    deactivated: bool = False


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
    """Files under its text."""

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
    team: str = ""
    """Its workspace, in an organization of several. Empty: the first one."""
    archived: bool = False
    shared: Shared | None = None
    """With another organisation (Slack Connect): so, or invited to be so."""
    messages: dict[str, StoredMessage] = field(default_factory=dict)
    """By ts, oldest first; replies among them."""
    tombstones: set[str] = field(default_factory=set)
    """The ts of deleted messages that had replies: their threads live on."""

    def replies(self, ts: str) -> list[StoredMessage]:
        """The replies in a thread, oldest first, without the parent."""
        return [message for message in self.messages.values() if message.thread_ts == ts]


@dataclass(frozen=True, slots=True)
class Change:
    """An event that a user can see."""

    kind: ChangeKind
    channel: str
    """Empty for what happens to a modal or a Home tab."""
    user: str
    message: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The event as the demo page gets it."""
        return {"kind": self.kind, "channel": self.channel, "user": self.user, "message": self.message}
