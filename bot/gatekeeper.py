"""Finds out who people are and applies the operator's rules to them. What can't be found out is not allowed."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from bot import accesslines, audit
from bot.access import AccessRules, NoOmniUser, Unjudged
from bot.ask import OmniUserId
from bot.asks import Asks
from bot.audit import Act
from bot.errors import BoardError, ScopeMissing
from bot.job import Job
from bot.lookups import Lookups
from bot.person import Person
from bot.ports import Watches
from bot.userlimit import UserLimit, act_for
from bot.venues import Venues
from bot.watch import Place, TeamId, UserId, Watch

log = structlog.get_logger()

KNOWN_FOR_SECONDS = 300.0
"""How long what Slack says of a person counts; so late may it be noticed that somebody has become a guest."""
WAITED_FOR_SECONDS = 10.0
"""How long a person waits for Slack to say who they are."""
AN_HOUR = timedelta(hours=1)


class OmniUsers(Protocol):
    """Whom people are in Omni."""

    async def of(self, user: UserId) -> OmniUserId | None:
        """The one active Omni user with the person's e-mail address; None where there is none, or more than one,
        or no address. May raise any OmniError, and any BoardError."""
        ...


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
            return self._refuse(user, place, "unknown: slack is slow", accesslines.slack_is_slow())
        except ScopeMissing as error:
            return self._refuse(user, place, f"unknown: {error.code}", accesslines.cannot_know())
        except BoardError as error:
            return self._refuse(user, place, f"unknown: {error.code}", accesslines.not_known())
        if not self._rules.is_open_to(person):
            return self._refuse(user, place, "not for them", accesslines.not_for_you())
        if not self._rules.is_open_in(place):
            return self._refuse(user, place, "not there", accesslines.not_here())
        if asks_omni:
            if self._user_limit.is_exceeded(user):
                return self._refuse(user, place, "too many requests", accesslines.too_many_requests())
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
            audit.record(Act.FOLLOW, user, None, "refused: not theirs", job=job.id)
        return is_theirs

    async def asker(self, user: UserId) -> OmniUserId | None:
        """See `Access.asker`."""
        if self._rules.ask_as_key:
            return None
        if (found := await self._omni_user(user)) is None:
            audit.record(Act.ASK, user, None, "refused: no single Omni user")
            raise NoOmniUser(accesslines.no_omni_user())
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
            audit.record(Act.ASK, user, None, "refused: too many asks")
            return accesslines.too_many_asks(rules.most_asks_per_hour)
        if not asking and len(await self._watches.open_watches_of(team, user)) >= rules.most_open_follows:
            audit.record(Act.FOLLOW, user, None, "refused: too many open follows")
            return accesslines.too_many_follows(rules.most_open_follows)
        return None

    async def _omni_user(self, user: UserId) -> OmniUserId | None:
        try:
            return await self._omni_users.of(user)
        except BoardError as error:
            log.warning("omni user not known", user=user, code=error.code)
            raise Unjudged(error.code) from error

    def _refuse(self, user: UserId, place: Place, why: str, line: str) -> str:
        audit.record(Act.USE, user, place, f"refused: {why}")
        return line
