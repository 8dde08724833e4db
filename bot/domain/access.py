"""Who may do what, and what may be shown where: facts about Slack users and channels, and the operator's policies."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from bot.domain.cards import Card, ChannelId, ChannelRef, TeamId, UserId
from bot.domain.jobs import Job, JobId, JobStatus
from bot.domain.questions import OmniUserId


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
    is_archived: bool = False
    has_bot: bool = True
    """Whether the bot is a member (`is_member`)."""


class Authorization(Protocol):
    """Access checks. Each raises Refused, with the reply for the user. Unknown means refused."""

    async def check(
        self,
        user: UserId,
        channel: ChannelRef,
        *,
        new: Literal["follow", "question"] | None = None,
        asks_omni: bool = True,
    ) -> None:
        """Check that the user may use the bot in the channel.

        Args:
            user: the user.
            channel: where the user acts.
            new: the user begins one more of these, so their quota is checked too.
            asks_omni: the caller will send requests to Omni. Then the user's request limit is checked, and requests
                of this task count as theirs.

        Raises:
            StoreUnavailable: the quota could not be read.
        """
        ...

    async def check_visible(self, user: UserId, job: Job | JobId | None) -> None:
        """Check that the user may see the job. The reply is the same for a missing job and another user's.

        `job`: an id costs a request to Omni if it depends on the job. None: a job whose owner is unknown.

        Raises:
            StoreUnavailable: whether the user asked for the job could not be read.
        """
        ...

    async def omni_user_for(self, user: UserId) -> OmniUserId | None:
        """Return the Omni user in whose name the user asks; None: the owner of the API key. Raises OmniError."""
        ...

    def is_admin(self, user: UserId) -> bool:
        """Return whether the user is one of the operator's admins."""
        ...

    def can_manage(self, user: UserId, card: Card) -> bool:
        """Return whether the user may cancel or retry the job of a card.

        `card`: the first of the job's cards, so that following the job in another channel gives no right to it.
        """
        ...


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The operator's settings. No channels or users means all; no teams means the bot's own."""

    channels: frozenset[ChannelId] = field(default=frozenset())
    """Where the bot may be used, besides its direct messages."""
    users: frozenset[UserId] = field(default=frozenset())
    teams: frozenset[TeamId] = field(default=frozenset())
    """Workspaces whose users may use the bot. The bot's own must be listed too."""
    admins: frozenset[UserId] = field(default=frozenset())
    """Users who may use the bot everywhere, see, cancel and retry every job, and choose the model of a channel."""
    allow_guests: bool = False
    allow_shared_channels: bool = False
    """Whether answers may be posted in shared channels."""
    only_owners: bool = False
    """A job is shown only to its owner in Omni."""
    ask_as_key: bool = False
    """Questions run in the name of the API key's owner, not of the user."""
    most_open_follows: int = 25
    most_asks_per_hour: int = 30

    def is_open_to(self, user: SlackUser) -> bool:
        """Return whether the user may use the bot at all."""
        if user.is_bot or user.is_deactivated:
            return False
        if user.id in self.admins:
            return True
        if self.users and user.id not in self.users:
            return False
        if user.is_guest and not self.allow_guests:
            return False
        return bool(user.teams & self.teams) if self.teams else not user.is_stranger

    def is_open_in(self, channel: ChannelRef, user: UserId) -> bool:
        """Return whether the user may use the bot in the channel, if at all."""
        is_open = not self.channels or channel.id in self.channels or is_direct(channel)
        return is_open or user in self.admins

    def can_manage(self, user: UserId, card: Card) -> bool:
        """See `Authorization.can_manage`."""
        return user == card.requester or user in self.admins


@dataclass(frozen=True, slots=True)
class ContentPolicy:
    """The operator's rule about channels that may hold questions, answers and data. All code that sends these to Slack
    applies it."""

    is_link_only_everywhere: bool = False
    link_only_channels: frozenset[ChannelId] = frozenset()

    def is_link_only(self, channel: ChannelRef) -> bool:
        """Return whether no question, answer or data may be sent to Slack for the channel."""
        return self.is_link_only_everywhere or channel.id in self.link_only_channels

    def visible(self, channel: ChannelRef, status: JobStatus) -> JobStatus:
        """Return as much of a job's status as the channel may show."""
        return status.redacted() if self.is_link_only(channel) else status


def is_direct(channel: ChannelRef) -> bool:
    """Return whether the channel is a direct message (ids that start with D). The bot can post only in its own."""
    return channel.id.startswith("D")
