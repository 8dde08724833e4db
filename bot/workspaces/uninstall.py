"""Handles the removal of the app from a workspace: stops it, deletes its token, and later its cards and questions."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp

from bot.domain import StoreUnavailable, TeamId
from bot.storage import Transactions, delete_uninstalled
from bot.tasks import repeat_until_cancelled

log = structlog.get_logger()

RETRY_AFTER_SECONDS = (1.0, 10.0, 60.0)
"""Delays between retries while the database is unavailable. After the last one the token, now invalid, stays."""

SWEEP_SECONDS = 3_600.0


class Uninstaller:
    """Handles `app_uninstalled` and `tokens_revoked`. An uninstall sends both, in any order.

    Source: docs.slack.dev/reference/events/app_uninstalled and /tokens_revoked.
    """

    def __init__(
        self,
        remove: Callable[[TeamId], Awaitable[bool]],
        stop: Callable[[TeamId], Awaitable[None]],
        is_token_valid: Callable[[TeamId], Awaitable[bool]],
    ) -> None:
        """Args:
        remove: deletes a workspace's bot token; returns whether there was one. Raises StoreUnavailable.
        stop: stops the workspace and waits for its end.
        is_token_valid: whether Slack accepts the stored token. A late event may follow a new installation.
        """
        self._remove = remove
        self._stop = stop
        self._is_token_valid = is_token_valid
        self._tasks: set[asyncio.Task[None]] = set()

    def register(self, app: AsyncApp) -> None:
        """Register the listeners."""
        app.event("app_uninstalled")(self.uninstalled)
        app.event("tokens_revoked")(self.revoked)

    async def uninstalled(self, body: Mapping[str, Any]) -> None:
        """Handle `app_uninstalled`."""
        await self._uninstall(_installed_in(body))

    async def revoked(self, body: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Handle `tokens_revoked`. Users' tokens don't matter."""
        if (event.get("tokens") or {}).get("bot"):
            await self._uninstall(_installed_in(body))

    async def _uninstall(self, team: TeamId) -> None:
        # Stopping the workspace also cancels this listener.
        leaving = asyncio.create_task(self._end(team), name=f"leave {team}")
        self._tasks.add(leaving)
        leaving.add_done_callback(self._tasks.discard)
        await asyncio.shield(leaving)

    async def _end(self, team: TeamId) -> None:
        for seconds in (*RETRY_AFTER_SECONDS, None):
            try:
                if await self._is_token_valid(team):
                    log.info("removal of an earlier installation ignored", team=team)
                    return
                if await self._remove(team):
                    log.info("app removed from its workspace", team=team)
            except StoreUnavailable as error:
                log.error("removal not stored", team=team, reason=str(error), again_in_seconds=seconds)
            else:
                break
            if seconds is not None:
                await asyncio.sleep(seconds)
        await self._stop(team)


def _installed_in(body: Mapping[str, Any]) -> TeamId:
    """Return the workspace that an event is about, or the organization if the app was installed for all of it.

    Source: `authorizations` in docs.slack.dev/apis/events-api.
    """
    authorization: Mapping[str, Any] = next(iter(body.get("authorizations") or ()), {})
    organization = authorization.get("enterprise_id") if authorization.get("is_enterprise_install") else None
    return TeamId(str(organization or body.get("team_id") or ""))


async def sweep_uninstalled(
    transactions: Transactions, now: Callable[[], datetime], *, retention_days: float
) -> None:
    """Delete them periodically, until cancelled.

    No recovery runs for such a workspace. Its rows are kept for the retention period, in case the app comes back.
    """

    async def sweep_once() -> None:
        forgotten = await delete_uninstalled(transactions, now() - timedelta(days=retention_days))
        log.debug("left workspaces swept", forgotten=forgotten)

    await repeat_until_cancelled(sweep_once, every_seconds=SWEEP_SECONDS, failure_event="workspaces not read")
