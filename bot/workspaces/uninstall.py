"""Slack tells that a workspace has removed the app: its token is forgotten, and what runs for it stops."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import structlog
from slack_bolt.async_app import AsyncApp

from bot.domain import StoreUnavailable, TeamId

log = structlog.get_logger()

TRIES_AGAIN_AFTER_SECONDS = (1.0, 10.0, 60.0)
"""While the database does not answer. After that the token, which is good no longer, is left there."""

Stop = Callable[[TeamId], Awaitable[None]]
"""Ends all that runs for a team, and waits for that."""


class Installed(Protocol):
    """Keeps what the app may do in which workspace."""

    async def remove(self, team: TeamId) -> bool:
        """Forget the bot's token in a workspace. Whether there was one. Raises StoreUnavailable."""
        ...


class Uninstaller:
    """What is done when a workspace is left. Source: docs.slack.dev/reference/events/app_uninstalled and
    /tokens_revoked; they come in any order, and both when the app is uninstalled."""

    def __init__(
        self, installed: Installed, stop: Stop, is_still_good: Callable[[TeamId], Awaitable[bool]]
    ) -> None:
        """`is_still_good`: whether Slack takes the token that is kept for the team. An event may come late, when
        somebody has installed the app again."""
        self._installed = installed
        self._stop = stop
        self._is_still_good = is_still_good
        self._under_way: set[asyncio.Task[None]] = set()

    def register(self, app: AsyncApp) -> None:
        """Listen."""
        app.event("app_uninstalled")(self.uninstalled)
        app.event("tokens_revoked")(self.revoked)

    async def uninstalled(self, body: Mapping[str, Any]) -> None:
        """Somebody has removed the app from their workspace."""
        await self._uninstall(TeamId(str(body.get("team_id") or "")))

    async def revoked(self, body: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Tokens were revoked. Those of people are none of ours."""
        if (event.get("tokens") or {}).get("bot"):
            await self._uninstall(TeamId(str(body.get("team_id") or "")))

    async def _uninstall(self, team: TeamId) -> None:
        # What stops the workspace stops the listeners of its app as well, this one too.
        leaving = asyncio.create_task(self._end(team), name=f"leave {team}")
        self._under_way.add(leaving)
        leaving.add_done_callback(self._under_way.discard)
        await asyncio.shield(leaving)

    async def _end(self, team: TeamId) -> None:
        for seconds in (*TRIES_AGAIN_AFTER_SECONDS, None):
            try:
                if await self._is_still_good(team):
                    log.info("removal of an earlier installation passed over", team=team)
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
