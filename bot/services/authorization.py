"""Finds out who people are and applies the operator's rules to them. What can't be found out is not allowed."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from bot.domain.access import Access, AccessRules
from bot.domain.cards import Place, TeamId, UserId, Watch
from bot.domain.errors import BoardError, NoOmniUser, OmniError, ScopeMissing, Unjudged
from bot.domain.jobs import Job, JobId
from bot.domain.people import Person
from bot.domain.ports.omni import Omni, OmniUsers
from bot.domain.ports.storage import Asks, Watches
from bot.domain.questions import OmniUserId
from bot.log import Act, audit
from bot.rendering import replies
from bot.services.lookups import Lookups
from bot.services.shared_channels import Venues
from bot.user_limit import UserLimit, act_for

log = structlog.get_logger()


KNOWN_FOR_SECONDS = 300.0
"""How long what Slack says of a person counts; so late may it be noticed that somebody has become a guest."""

WAITED_FOR_SECONDS = 10.0
"""How long a person waits for Slack to say who they are."""

AN_HOUR = timedelta(hours=1)


class Gatekeeper:
    """`Access` by the operator's rules. Every refusal leaves a line in the audit trail."""

    def __init__(
        self,
        rules: AccessRules,
        *,
        people: Lookups[UserId, Person],
        venues: Venues,
        omni_users: OmniUsers,
        watches: Watches,
        asks: Asks,
        now: Callable[[], datetime],
        user_limit: UserLimit,
    ) -> None:
        self._rules = rules
        self._user_limit = user_limit
        self._people = people
        self._venues = venues
        self._omni_users = omni_users
        self._watches = watches
        self._asks = asks
        self._now = now

    async def refusal(self, user: UserId, place: Place, *, asks_omni: bool = True) -> str | None:
        """See `Access.refusal`."""
        try:
            async with asyncio.timeout(WAITED_FOR_SECONDS):
                person = await self._people.get(user, known_for_seconds=KNOWN_FOR_SECONDS)
        except TimeoutError:
            return self._refuse(user, place, "unknown: slack is slow", replies.slack_is_slow())
        except ScopeMissing as error:
            return self._refuse(user, place, f"unknown: {error.code}", replies.cannot_know())
        except BoardError as error:
            return self._refuse(user, place, f"unknown: {error.code}", replies.not_known())
        if not self._rules.is_open_to(person):
            return self._refuse(user, place, "not for them", replies.not_for_you())
        if not self._rules.is_open_in(place):
            return self._refuse(user, place, "not there", replies.not_here())
        if asks_omni:
            if self._user_limit.is_exceeded(user):
                return self._refuse(user, place, "too many requests", replies.too_many_requests())
            act_for(user)
        return None

    @property
    def looks_at_jobs(self) -> bool:
        """See `Access.looks_at_jobs`."""
        return self._rules.only_owners

    async def may_see(self, user: UserId, job: Job) -> bool:
        """See `Access.may_see`. Raises Unjudged where Slack does not say who the person is."""
        if not self._rules.only_owners or user in self._rules.admins:
            return True
        is_theirs = job.user is not None and await self._omni_user(user) == job.user
        if not is_theirs:
            audit(Act.FOLLOW, user, None, "refused: not theirs", job=job.id)
        return is_theirs

    async def asker(self, user: UserId) -> OmniUserId | None:
        """See `Access.asker`."""
        if self._rules.ask_as_key:
            return None
        if (found := await self._omni_user(user)) is None:
            audit(Act.ASK, user, None, "refused: no single Omni user")
            raise NoOmniUser(replies.no_omni_user())
        return found

    def may_act(self, user: UserId, watch: Watch) -> bool:
        """See `Access.may_act`."""
        return self._rules.may_act(user, watch)

    async def is_shared(self, place: Place) -> bool:
        """See `Access.is_shared`."""
        return await self._venues.is_shared(place)

    async def over_limit(self, user: UserId, team: TeamId, *, asking: bool) -> str | None:
        """See `Access.over_limit`."""
        rules = self._rules
        # A question has been counted among the follows when it was stored, and is among those of the hour.
        if asking and await self._asks.count(team, user, self._now() - AN_HOUR) > rules.most_asks_per_hour:
            audit(Act.ASK, user, None, "refused: too many asks")
            return replies.too_many_asks(rules.most_asks_per_hour)
        if not asking and len(await self._watches.open_watches_of(team, user)) >= rules.most_open_follows:
            audit(Act.FOLLOW, user, None, "refused: too many open follows")
            return replies.too_many_follows(rules.most_open_follows)
        return None

    async def _omni_user(self, user: UserId) -> OmniUserId | None:
        try:
            return await self._omni_users.of(user)
        except BoardError as error:
            log.warning("omni user not known", user=user, code=error.code)
            raise Unjudged(error.code) from error

    def _refuse(self, user: UserId, place: Place, why: str, line: str) -> str:
        audit(Act.USE, user, place, f"refused: {why}")
        return line


OMNI_ANSWERS_WITHIN_SECONDS = 15.0
"""How long a person waits for what has to be known before anything is begun for them: who they are, which job is meant
and whose it is. Nothing is stored before that."""


async def not_shown(access: Access, omni: Omni, person: UserId, job: JobId) -> str | None:
    """Why this person may not be shown the job, as a private line; None: they may. A job that is not there and one
    that is somebody else's read the same. Raises StoreUnavailable."""
    if not access.looks_at_jobs:
        return None
    try:
        async with asyncio.timeout(OMNI_ANSWERS_WITHIN_SECONDS):
            may_see = await access.may_see(person, await omni.status(job, urgent=True))
    except Unjudged:
        return replies.not_known()
    except OmniError as error:
        return replies.not_looked_up(error)
    except TimeoutError:
        return replies.omni_busy()
    return None if may_see else replies.no_such_job()
