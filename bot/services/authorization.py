"""Applies the operator's access policy to users. Access is denied if the user's identity is unknown."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from bot.domain import (
    AccessPolicy,
    Authorization,
    Card,
    ChannelRef,
    IdentityUnavailable,
    Job,
    JobId,
    NoOmniUser,
    OmniError,
    OmniUserId,
    ScopeMissing,
    SlackError,
    SlackUser,
    TeamId,
    UserId,
)
from bot.domain.ports import CardRepository, IdentityMapper, OmniJobs, QuestionRepository
from bot.log import Act, audit
from bot.rendering import replies
from bot.services.lookups import Lookups
from bot.services.shared_channels import SharedChannels
from bot.user_limit import UserLimit, act_for

log = structlog.get_logger()


KNOWN_FOR_SECONDS = 300.0
"""How long Slack's answer about a user is cached, and so how late the bot notices a new guest."""

WAITED_FOR_SECONDS = 10.0
"""How long a user waits for Slack's answer about them."""

AN_HOUR = timedelta(hours=1)


class PolicyAuthorization:
    """`Authorization` by the operator's access policy. Logs every refusal to the audit trail."""

    def __init__(
        self,
        policy: AccessPolicy,
        *,
        people: Lookups[UserId, SlackUser],
        shared_channels: SharedChannels,
        identities: IdentityMapper,
        cards: CardRepository,
        questions: QuestionRepository,
        now: Callable[[], datetime],
        user_limit: UserLimit,
    ) -> None:
        self._policy = policy
        self._user_limit = user_limit
        self._people = people
        self._shared_channels = shared_channels
        self._identities = identities
        self._cards = cards
        self._questions = questions
        self._now = now

    async def deny_reason(self, user: UserId, channel: ChannelRef, *, asks_omni: bool = True) -> str | None:
        """See `Authorization.deny_reason`."""
        try:
            async with asyncio.timeout(WAITED_FOR_SECONDS):
                person = await self._people.get(user, known_for_seconds=KNOWN_FOR_SECONDS)
        except TimeoutError:
            return self._refuse(user, channel, "unknown: slack is slow", replies.identity_timeout())
        except ScopeMissing as error:
            return self._refuse(user, channel, f"unknown: {error.code}", replies.identity_scope_missing())
        except SlackError as error:
            return self._refuse(user, channel, f"unknown: {error.code}", replies.identity_unavailable())
        if not self._policy.is_open_to(person):
            return self._refuse(user, channel, "not for them", replies.not_for_you())
        if not self._policy.is_open_in(channel):
            return self._refuse(user, channel, "not there", replies.not_here())
        if asks_omni:
            if self._user_limit.is_exceeded(user):
                return self._refuse(user, channel, "too many requests", replies.too_many_requests())
            act_for(user)
        return None

    @property
    def owner_only(self) -> bool:
        """See `Authorization.owner_only`."""
        return self._policy.only_owners

    async def can_see(self, user: UserId, job: Job) -> bool:
        """See `Authorization.can_see`. Raises IdentityUnavailable if Slack does not answer."""
        if not self._policy.only_owners or user in self._policy.admins:
            return True
        is_theirs = job.user is not None and await self._omni_user(user) == job.user
        if not is_theirs:
            audit(Act.FOLLOW, user, None, "refused: not theirs", job=job.id)
        return is_theirs

    async def omni_user_for(self, user: UserId) -> OmniUserId | None:
        """See `Authorization.omni_user_for`."""
        if self._policy.ask_as_key:
            return None
        if (found := await self._omni_user(user)) is None:
            audit(Act.ASK, user, None, "refused: no single Omni user")
            raise NoOmniUser(replies.no_omni_user())
        return found

    def can_manage(self, user: UserId, card: Card) -> bool:
        """See `Authorization.can_manage`."""
        return self._policy.can_manage(user, card)

    async def is_shared(self, channel: ChannelRef, *, fresh: bool = False) -> bool:
        """See `Authorization.is_shared`."""
        return await self._shared_channels.is_shared(channel, fresh=fresh)

    async def deny_new(self, user: UserId, channel: ChannelRef, *, asking: bool) -> str | None:
        """See `Authorization.deny_new`."""
        reason = await self.deny_reason(user, channel)
        return reason if reason is not None else await self._quota_error(user, channel.team, asking=asking)

    async def _quota_error(self, user: UserId, team: TeamId, *, asking: bool) -> str | None:
        rules = self._policy
        # A stored question counts as a follow, and is among those of the hour.
        if (
            asking
            and await self._questions.count(team, user, self._now() - AN_HOUR) > rules.most_asks_per_hour
        ):
            audit(Act.ASK, user, None, "refused: too many asks")
            return replies.too_many_questions(rules.most_asks_per_hour)
        if not asking and len(await self._cards.followed_cards(team, user)) >= rules.most_open_follows:
            audit(Act.FOLLOW, user, None, "refused: too many open follows")
            return replies.too_many_follows(rules.most_open_follows)
        return None

    async def _omni_user(self, user: UserId) -> OmniUserId | None:
        try:
            return await self._identities.omni_user(user)
        except SlackError as error:
            log.warning("omni user not known", user=user, code=error.code)
            raise IdentityUnavailable(error.code) from error

    def _refuse(self, user: UserId, channel: ChannelRef, why: str, line: str) -> str:
        audit(Act.USE, user, channel, f"refused: {why}")
        return line


OMNI_ANSWERS_WITHIN_SECONDS = 15.0
"""How long a user waits for the look-ups before anything is begun: who they are, and which job is whose."""


async def check_visibility(
    authorization: Authorization, omni: OmniJobs, user: UserId, job: JobId
) -> str | None:
    """Return why the user may not see the job, if so. The reply is the same for a missing job and another user's.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    if not authorization.owner_only:
        return None
    try:
        async with asyncio.timeout(OMNI_ANSWERS_WITHIN_SECONDS):
            may_see = await authorization.can_see(user, await omni.status(job, urgent=True))
    except IdentityUnavailable:
        return replies.identity_unavailable()
    except OmniError as error:
        return replies.not_looked_up(error)
    except TimeoutError:
        return replies.omni_busy()
    return None if may_see else replies.no_such_job()
