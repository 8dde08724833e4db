"""The operator's access policy, and the port through which services apply it."""

from dataclasses import dataclass, field
from typing import Protocol

from bot.domain.cards import Card, ChannelId, ChannelRef, TeamId, UserId
from bot.domain.jobs import Job
from bot.domain.people import SlackUser
from bot.domain.questions import OmniUserId


class Authorization(Protocol):
    """Access checks. Unknown means denied."""

    async def deny_reason(self, user: UserId, channel: ChannelRef, *, asks_omni: bool = True) -> str | None:
        """Return why the user may not use the bot in the channel, as a reply; None: they may.

        `asks_omni`: the caller will send requests to Omni. Then the user's request limit is checked, and requests of
        this task count as theirs.
        """
        ...

    @property
    def owner_only(self) -> bool:
        """Whether `can_see` depends on the job. If not, no request to Omni is needed for it."""
        ...

    async def can_see(self, user: UserId, job: Job) -> bool:
        """Return whether the user may see the job. Raises any OmniError; then nothing may be shown."""
        ...

    async def omni_user_for(self, user: UserId) -> OmniUserId | None:
        """Return the Omni user in whose name the user asks; None: the owner of the API key.

        Raises:
            NoOmniUser: there is none. It has the reply.
            OmniError: Omni did not answer.
        """
        ...

    def can_manage(self, user: UserId, card: Card) -> bool:
        """Return whether the user may cancel or retry the job of a card.

        `card`: the first of the job's cards, so that following the job in another channel gives no right to it.
        """
        ...

    async def is_shared(self, channel: ChannelRef, *, fresh: bool = False) -> bool:
        """Return whether no answer may be posted because people of another organization can read the channel.

        True if Slack refuses to say. `fresh`: wait for a new answer of Slack, as before posting. Without it, False if
        Slack is slow: the post checks again.
        """
        ...

    async def deny_new(self, user: UserId, channel: ChannelRef, *, asking: bool) -> str | None:
        """Return why the user may not follow or ask (`asking`) for one more job here. Raises StoreUnavailable."""
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
    """Users who may see, cancel and retry every job."""
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
        return user.team in self.teams if self.teams else not user.is_stranger

    def is_open_in(self, channel: ChannelRef) -> bool:
        """Return whether the bot may be used in the channel."""
        return not self.channels or channel.id in self.channels or is_direct(channel)

    def can_manage(self, user: UserId, card: Card) -> bool:
        """See `Authorization.can_manage`."""
        return user == card.requester or user in self.admins


def is_direct(channel: ChannelRef) -> bool:
    """Return whether the channel is a direct message (ids that start with D). The bot can post only in its own."""
    return channel.id.startswith("D")
