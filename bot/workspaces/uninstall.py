"""Handles the removal of the app from a workspace: deletes its token and stops it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import structlog
from slack_bolt.async_app import AsyncApp

from bot.domain import StoreUnavailable, TeamId

log = structlog.get_logger()

RETRY_AFTER_SECONDS = (1.0, 10.0, 60.0)
"""Delays between retries while the database is unavailable. After the last one the token, now invalid, stays."""

Stop = Callable[[TeamId], Awaitable[None]]
"""Stops a team's workspace and waits for its end."""


class Installed(Protocol):
    """Stores the bot tokens of workspaces."""

    async def remove(self, team: TeamId) -> bool:
        """Delete a workspace's bot token. Returns whether there was one. Raises StoreUnavailable."""
        ...


class Uninstaller:
    """Handles `app_uninstalled` and `tokens_revoked`. An uninstall sends both, in any order.

    Source: docs.slack.dev/reference/events/app_uninstalled and /tokens_revoked.
    """

    def __init__(
        self, installed: Installed, stop: Stop, is_token_valid: Callable[[TeamId], Awaitable[bool]]
    ) -> None:
        """`is_token_valid`: whether Slack accepts the stored token. A late event may follow a new installation."""
        self._installed = installed
        self._stop = stop
        self._is_token_valid = is_token_valid
        self._tasks: set[asyncio.Task[None]] = set()

    def register(self, app: AsyncApp) -> None:
        """Register the listeners."""
        app.event("app_uninstalled")(self.uninstalled)
        app.event("tokens_revoked")(self.revoked)

    async def uninstalled(self, body: Mapping[str, Any]) -> None:
        """Handle `app_uninstalled`."""
        await self._uninstall(TeamId(str(body.get("team_id") or "")))

    async def revoked(self, body: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Handle `tokens_revoked`. Users' tokens don't matter."""
        if (event.get("tokens") or {}).get("bot"):
            await self._uninstall(TeamId(str(body.get("team_id") or "")))

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
                if await self._installed.remove(team):
                    log.info("app removed from its workspace", team=team)
            except StoreUnavailable as error:
                log.error("removal not stored", team=team, reason=str(error), again_in_seconds=seconds)
            else:
                break
            if seconds is not None:
                await asyncio.sleep(seconds)
        await self._stop(team)
