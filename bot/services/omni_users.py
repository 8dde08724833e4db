"""Maps Slack users to Omni users by email address."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from bot.domain import OmniError, OmniUserId, SlackError, SlackUser, UserId
from bot.domain.ports import OmniUserDirectory
from bot.tasks import RecentKeys

log = structlog.get_logger()

CACHED_FOR = timedelta(minutes=10)
"""A user deactivated in Omni may be recognized for this long. Not shorter, because a look-up may cost many requests:
where Omni ignores the filter, it reads the pages of all users."""
MISSING_CACHED_FOR = timedelta(minutes=1)
"""Short, because an admin who has just fixed an account should not have to wait."""
MOST_CACHED = 2_000


@dataclass(frozen=True, slots=True)
class _Cached:
    user: OmniUserId | None
    until: datetime


class OmniUserMapper:
    """Looks up the Omni user of a Slack user, and caches it. Concurrent calls for one user share one look-up."""

    def __init__(
        self,
        directory: OmniUserDirectory,
        slack_user: Callable[[UserId], Awaitable[SlackUser]],
        now: Callable[[], datetime],
    ) -> None:
        """`slack_user`: as `SlackDirectory.user`. `now`: aware UTC."""
        self._directory = directory
        self._slack_user = slack_user
        self._now = now
        self._cache: RecentKeys[UserId, _Cached] = RecentKeys(MOST_CACHED)
        self._ids: RecentKeys[OmniUserId, tuple[frozenset[OmniUserId], datetime]] = RecentKeys(MOST_CACHED)
        self._lookups: dict[UserId, asyncio.Task[OmniUserId | OmniError | SlackError | None]] = {}

    async def omni_user(self, user: UserId) -> OmniUserId | None:
        """Return the one active Omni user with the Slack user's email address.

        None if not exactly one active Omni user has that address, or for a user of another organization.

        Raises:
            SlackError: the Slack user could not be looked up. ScopeMissing without `users:read`.
            OmniError: the Omni user could not be looked up. KeyRefused also for a personal token.
        """
        cached = self._cache.get(user)
        if cached is not None and self._now() < cached.until:
            return cached.user
        # A caller that is cancelled must not end the look-up that other callers wait for.
        found = await asyncio.shield(self._lookups.get(user) or self._begin(user))
        if isinstance(found, OmniError | SlackError):
            raise found
        return found

    async def ids_of(self, user: OmniUserId) -> frozenset[OmniUserId]:
        """See `IdentityMapper.ids_of`."""
        ids, until = self._ids.get(user, (frozenset(), None))
        if until is None or self._now() >= until:
            ids = await self._directory.ids_of(user)
            self._ids[user] = ids, self._now() + CACHED_FOR
        return ids

    def _begin(self, user: UserId) -> "asyncio.Task[OmniUserId | OmniError | SlackError | None]":
        task = asyncio.create_task(self._look_up(user), name=f"omni user of {user}")
        self._lookups[user] = task
        task.add_done_callback(lambda _: self._lookups.pop(user, None))
        return task

    async def _look_up(self, user: UserId) -> OmniUserId | OmniError | SlackError | None:
        try:
            found = await self._find(await self._slack_user(user))
        except (OmniError, SlackError) as error:
            return error
        self._cache[user] = _Cached(
            found, self._now() + (MISSING_CACHED_FOR if found is None else CACHED_FOR)
        )
        return found

    async def _find(self, user: SlackUser) -> OmniUserId | None:
        # The admins of another workspace decide which email address its users have, so it proves nothing here.
        if user.is_stranger or user.is_bot or user.is_deactivated:
            reason = "of another organization, deactivated, or a bot"
        elif user.email is None:
            reason = "no email address in Slack, or no users:read.email"
        else:
            found = set(await self._directory.named(user.email))
            if len(found) == 1:
                return found.pop()
            reason = f"{len(found)} active Omni users with the email address"
        log.info("no omni user", user=user.id, reason=reason)
        return None
