"""Who may do what: the operator's rules, applied to what is known of a person. Who finds it out: `gatekeeper`."""

from dataclasses import dataclass, field
from typing import Protocol

from bot.domain.cards import ChannelId, Place, TeamId, UserId, Watch
from bot.domain.jobs import Job
from bot.domain.people import Person
from bot.domain.questions import OmniUserId


class Access(Protocol):
    """Who may do what. Whatever can't be found out counts as not allowed."""

    async def refusal(self, user: UserId, place: Place, *, asks_omni: bool = True) -> str | None:
        """Why this person may do nothing here, as a private line; None: they may. `asks_omni`: whether Omni may be
        asked for it, which a person who has asked too much has to wait for. From then on what the task asks is
        counted as the person's."""
        ...

    @property
    def looks_at_jobs(self) -> bool:
        """Whether `may_see` depends on the job; where it does not, Omni need not be asked for it."""
        ...

    async def may_see(self, user: UserId, job: Job) -> bool:
        """Whether this person may be shown the job. May raise any OmniError: then nothing may be shown."""
        ...

    async def asker(self, user: UserId) -> OmniUserId | None:
        """In whose name the person asks; None: whoever made the key.

        Raises:
            NoOmniUser: in nobody's, with the line to tell.
            OmniError: Omni did not say.
        """
        ...

    def may_act(self, user: UserId, watch: Watch) -> bool:
        """Whether this person may cancel the watch's job or ask it again. `watch`: the first of all the job has, so
        that nobody comes to it by following the job in another place."""
        ...

    async def is_shared(self, place: Place) -> bool:
        """Whether people of another organisation would read what is posted there, and may not; never where the operator
        has allowed it. True where the bot may not know. False where Slack is slow: asked again before a card is
        posted."""
        ...

    async def over_limit(self, user: UserId, team: TeamId, *, asking: bool) -> str | None:
        """Why this person has to wait before they follow or ask for more, as a private line. Raises
        StoreUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class AccessRules:
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

    def is_open_to(self, person: Person) -> bool:
        """Whether the person may use the bot at all."""
        if person.is_bot or person.is_deactivated:
            return False
        if person.id in self.admins:
            return True
        if self.users and person.id not in self.users:
            return False
        if person.is_guest and not self.allow_guests:
            return False
        return person.team in self.teams if self.teams else not person.is_stranger

    def is_open_in(self, place: Place) -> bool:
        """Whether the bot may be used in that place."""
        return not self.channels or place.channel in self.channels or is_direct(place)

    def may_act(self, user: UserId, watch: Watch) -> bool:
        """See `Access.may_act`."""
        return user == watch.requester or user in self.admins


def is_direct(place: Place) -> bool:
    """Whether the place is a direct message, which Slack's ids tell: only in the one with itself can the bot post."""
    return place.channel.startswith("D")
