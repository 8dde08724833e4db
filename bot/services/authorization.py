"""Applies the operator's access policy to users. Access is denied if the user's identity is unknown."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

import structlog

from bot.domain import (
    AccessPolicy,
    Card,
    ChannelRef,
    Job,
    JobId,
    OmniError,
    OmniUserId,
    Refused,
    ScopeMissing,
    SlackError,
    SlackUser,
    UserId,
)
from bot.domain.ports import CardRepository, IdentityMapper, OmniJobs, QuestionRepository
from bot.log import Act, audit
from bot.rendering import replies
from bot.services.lookups import Lookups
from bot.tasks import RecentKeys
from bot.user_limit import UserLimit, acting_user

log = structlog.get_logger()


KNOWN_FOR_SECONDS = 300.0
"""How long Slack's answer about a user is cached, and so how late the bot notices a new guest."""

WAITED_FOR_SECONDS = 10.0
"""How long a user waits for Slack's answer about them."""

OMNI_ANSWERS_WITHIN_SECONDS = 15.0
"""How long a user waits for Omni to say whose a job is."""

AN_HOUR = timedelta(hours=1)

MOST_LOGGED = 1_000
"""Pairs of ids remembered as logged."""


class PolicyAuthorization:
    """`Authorization` by the operator's access policy. Logs every refusal to the audit trail."""

    def __init__(
        self,
        policy: AccessPolicy,
        *,
        omni: OmniJobs,
        people: Lookups[UserId, SlackUser],
        identities: IdentityMapper,
        cards: CardRepository,
        questions: QuestionRepository,
        now: Callable[[], datetime],
        user_limit: UserLimit,
    ) -> None:
        self._policy = policy
        self._user_limit = user_limit
        self._omni = omni
        self._people = people
        self._identities = identities
        self._cards = cards
        self._questions = questions
        self._now = now
        self._logged: RecentKeys[tuple[str, OmniUserId | None, str | None], None] = RecentKeys(MOST_LOGGED)

    async def check(
        self,
        user: UserId,
        channel: ChannelRef,
        *,
        new: Literal["follow", "question"] | None = None,
        asks_omni: bool = True,
    ) -> None:
        """See `Authorization.check`."""
        try:
            async with asyncio.timeout(WAITED_FOR_SECONDS):
                person = await self._people.get(user, known_for_seconds=KNOWN_FOR_SECONDS)
        except TimeoutError:
            raise _refused(user, channel, "unknown: slack is slow", replies.identity_timeout()) from None
        except ScopeMissing as error:
            raise _refused(
                user, channel, f"unknown: {error.code}", replies.identity_scope_missing()
            ) from error
        except SlackError as error:
            raise _refused(user, channel, f"unknown: {error.code}", replies.identity_unavailable()) from error
        if not self._policy.is_open_to(person):
            raise _refused(user, channel, "not for them", replies.not_for_you())
        if not self._policy.is_open_in(channel, user):
            raise _refused(user, channel, "not there", replies.not_here())
        if asks_omni:
            if self._user_limit.is_exceeded(user):
                raise _refused(user, channel, "too many requests", replies.too_many_requests())
            acting_user.set(user)
        if new == "question":
            most = self._policy.most_asks_per_hour
            # The question at hand is stored already, and among those of the hour. It also counts as a follow.
            if await self._questions.count(channel.team, user, self._now() - AN_HOUR) > most:
                audit(Act.ASK, user, None, "refused: too many asks")
                raise Refused(replies.too_many_questions(most))
        if new == "follow":
            most = self._policy.most_open_follows
            if len(await self._cards.followed_cards(channel.team, user)) >= most:
                audit(Act.FOLLOW, user, None, "refused: too many open follows")
                raise Refused(replies.too_many_follows(most))

    async def check_visible(self, user: UserId, job: Job | JobId | None) -> None:
        """See `Authorization.check_visible`."""
        if not self._policy.only_owners or user in self._policy.admins:
            return
        if job is not None and await self._has_asked(user, job if isinstance(job, str) else job.id):
            return
        try:
            async with asyncio.timeout(OMNI_ANSWERS_WITHIN_SECONDS):
                if isinstance(job, str):
                    job = await self._omni.status(job, urgent=True)
                found = await self._omni_user(user)
                owner = job.user if job is not None else None
                is_theirs = found is not None and owner is not None and await self._is_same(found, owner)
        except OmniError as error:
            raise Refused(replies.not_looked_up(error)) from error
        except TimeoutError:
            raise Refused(replies.omni_busy()) from None
        if not is_theirs:
            self._log_once("job of another omni user", found, owner)
            audit(Act.FOLLOW, user, None, "refused: not theirs", job=job.id if job else None)
            raise Refused(replies.no_such_job())

    async def omni_user_for(self, user: UserId) -> OmniUserId | None:
        """See `Authorization.omni_user_for`."""
        if self._policy.ask_as_key:
            return None
        if (found := await self._omni_user(user)) is None:
            audit(Act.ASK, user, None, "refused: no single Omni user")
            raise Refused(replies.no_omni_user())
        return found

    def is_admin(self, user: UserId) -> bool:
        """See `Authorization.is_admin`."""
        return user in self._policy.admins

    def can_manage(self, user: UserId, card: Card) -> bool:
        """See `Authorization.can_manage`."""
        return self._policy.can_manage(user, card)

    async def _has_asked(self, user: UserId, job: JobId) -> bool:
        """Whether the user asked for the job through the bot. Then it is theirs, even if Omni names another owner."""
        first = await self._cards.first_card(job)
        return first is not None and first.asked_by_bot and first.requester == user

    async def _is_same(self, found: OmniUserId, owner: str) -> bool:
        """Whether both ids are of one Omni user. Omni has two for a user; which one a job names is not documented."""
        if owner == found:
            return True
        if owner not in await self._identities.ids_of(found):
            return False
        self._log_once("omni user has two ids", found, owner)
        return True

    def _log_once(self, event: str, found: OmniUserId | None, owner: str | None) -> None:
        if (event, found, owner) not in self._logged:
            self._logged[event, found, owner] = None
            log.info(event, found=found, owner=owner)

    async def _omni_user(self, user: UserId) -> OmniUserId | None:
        try:
            return await self._identities.omni_user(user)
        except SlackError as error:
            log.warning("omni user not known", user=user, code=error.code)
            raise Refused(replies.identity_unavailable()) from error


def _refused(user: UserId, channel: ChannelRef, why: str, reply: str) -> Refused:
    audit(Act.USE, user, channel, f"refused: {why}")
    return Refused(reply)
