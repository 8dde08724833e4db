"""Who may do what: the operator's rules, applied to what is known of a person. Who finds it out: `gatekeeper`."""

from dataclasses import dataclass, field
from typing import Protocol

from bot.domain.cards import Card, ChannelId, ChannelRef, TeamId, UserId
from bot.domain.jobs import Job
from bot.domain.people import SlackUser
from bot.domain.questions import OmniUserId


class Authorization(Protocol):
    """Who may do what. Whatever can't be found out counts as not allowed."""

    async def deny_reason(self, user: UserId, channel: ChannelRef, *, asks_omni: bool = True) -> str | None:
        """Why this person may do nothing here, as a private line; None: they may. `asks_omni`: whether Omni may be
        asked for it, which a person who has asked too much has to wait for. From then on what the task asks is
        counted as the person's."""
        ...

    @property
    def owner_only(self) -> bool:
        """Whether `may_see` depends on the job; where it does not, Omni need not be asked for it."""
        ...

    async def can_see(self, user: UserId, job: Job) -> bool:
        """Whether this person may be shown the job. May raise any OmniError: then nothing may be shown."""
        ...

    async def omni_user_for(self, user: UserId) -> OmniUserId | None:
        """In whose name the person asks; None: whoever made the key.

        Raises:
            NoOmniUser: in nobody's, with the line to tell.
            OmniError: Omni did not say.
        """
        ...

    def can_manage(self, user: UserId, card: Card) -> bool:
        """Whether this person may cancel the watch's job or ask it again. `card`: the first of all the job has, so
        that nobody comes to it by following the job in another place."""
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
    """What the operator has set. An empty set of channels or users means all, of teams the bot's own."""

    channels: frozenset[ChannelId] = field(default=frozenset())
    """Where the bot may be used, besides direct messages with it."""
    users: frozenset[UserId] = field(default=frozenset())
    teams: frozenset[TeamId] = field(default=frozenset())
    """Whose people may use it: the bot's own workspace as well only if it is named."""
    admins: frozenset[UserId] = field(default=frozenset())
    """May use it anywhere, see every job, and cancel and retry what others asked."""
    allow_guests: bool = False
    allow_shared_channels: bool = False
    """Whether answers may be posted where people of another organisation read along."""
    only_owners: bool = False
    """A job is shown only to the one whose it is."""
    ask_as_key: bool = False
    """Questions run in the name of whoever made Omni's key, not in the asker's."""
    most_open_follows: int = 25
    most_asks_per_hour: int = 30

    def is_open_to(self, user: SlackUser) -> bool:
        """Whether the person may use the bot at all."""
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
        """Whether the bot may be used in that place."""
        return not self.channels or channel.id in self.channels or is_direct(channel)

    def can_manage(self, user: UserId, card: Card) -> bool:
        """See `Authorization.can_manage`."""
        return user == card.requester or user in self.admins


def is_direct(channel: ChannelRef) -> bool:
    """Whether the place is a direct message, which Slack's ids tell: only in the one with itself can the bot post."""
    return channel.id.startswith("D")
