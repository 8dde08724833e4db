"""Whom people in Slack are in Omni, by their e-mail address: exactly one active user, or nobody."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from bot.domain import OmniError, OmniUserId, SlackError, SlackUser, UserId
from bot.domain.ports import OmniUserDirectory
from bot.tasks import RecentKeys

log = structlog.get_logger()

KNOWN_FOR = timedelta(minutes=10)
"""How long it counts who somebody is; so late may it be noticed that Omni has deactivated them. Where Omni ignores the
filter, each look-up reads the pages of all users out of the key's budget."""
UNKNOWN_FOR = timedelta(minutes=1)
"""How long it counts that somebody is nobody: an admin who has just mended that does not want to wait."""
MOST_KNOWN = 2_000
"""How many people are remembered."""


@dataclass(frozen=True, slots=True)
class _Known:
    found: OmniUserId | None
    until: datetime


class OmniUserMapper:
    """The Omni users of people in Slack, looked up once for all who ask at once, and remembered for a while."""

    def __init__(
        self,
        members: OmniUserDirectory,
        person: Callable[[UserId], Awaitable[SlackUser]],
        now: Callable[[], datetime],
    ) -> None:
        """`person`: as `SlackDirectory.user`. `now`: aware UTC."""
        self._members = members
        self._person = person
        self._now = now
        self._known: RecentKeys[UserId, _Known] = RecentKeys(MOST_KNOWN)
        self._under_way: dict[UserId, asyncio.Task[OmniUserId | OmniError | SlackError | None]] = {}

    async def omni_user(self, user: UserId) -> OmniUserId | None:
        """The one active Omni user with the person's address; None where Slack tells no address, Omni has no such
        user or more than one, or the person is of another organisation.

        Raises:
            BoardError: Slack does not say who that is. ScopeMissing without `users:read`.
            OmniError: Omni does not say. KeyRefused also for a personal token, which may look nobody up.
        """
        known = self._known.get(user)
        if known is not None and self._now() < known.until:
            return known.found
        # Whoever asks may be cancelled; the others who wait for the same are not.
        found = await asyncio.shield(self._under_way.get(user) or self._begin(user))
        if isinstance(found, OmniError | SlackError):
            raise found
        return found

    def _begin(self, user: UserId) -> "asyncio.Task[OmniUserId | OmniError | SlackError | None]":
        task = asyncio.create_task(self._look_up(user), name=f"omni user of {user}")
        self._under_way[user] = task
        task.add_done_callback(lambda _: self._under_way.pop(user, None))
        return task

    async def _look_up(self, user: UserId) -> OmniUserId | OmniError | SlackError | None:
        try:
            found = await self._find(await self._person(user))
        except (OmniError, SlackError) as error:
            return error
        self._known[user] = _Known(found, self._now() + (UNKNOWN_FOR if found is None else KNOWN_FOR))
        return found

    async def _find(self, user: SlackUser) -> OmniUserId | None:
        # Their address is what the admins of another workspace say it is: it proves nothing here.
        if user.is_stranger or user.is_bot or user.is_deactivated:
            return self._nobody(user, "of another organisation, deactivated, or no person")
        if user.email is None:
            return self._nobody(user, "no address in Slack, or no users:read.email")
        users = set(await self._members.named(user.email))
        if len(users) != 1:
            return self._nobody(user, f"{len(users)} active users with that address")
        return users.pop()

    @staticmethod
    def _nobody(user: SlackUser, why: str) -> None:
        log.info("no omni user", user=user.id, why=why)
