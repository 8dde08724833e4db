"""The workspace of the settings' tokens, or the workspaces of their organization."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from math import inf

import aiohttp
import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import Credentials, SlackBusy, SlackError, TeamId, TokenRefused
from bot.settings import Settings
from bot.slack import Identity, identify, may_connect, slack_client, teams_of
from bot.tasks import backoff_seconds, loop_time

log = structlog.get_logger()

LONGEST_BACK_OFF_SECONDS = 30.0
LISTED_FOR_SECONDS = 10.0
"""How long a list of an organization's workspaces counts. Requests of unknown workspaces read it too."""


class SingleWorkspace:
    """The `CredentialSource` of the workspace that the settings' tokens belong to, or of all workspaces to which an
    organization's admins have added the app."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession, app: AsyncWebClient) -> None:
        """`app`: the Web API with the app token, which is empty in HTTP mode.

        Raises:
            ValueError: the settings name no Omni.
        """
        if settings.omni_account is None:
            raise ValueError("one workspace needs one Omni")
        self._settings = settings
        self._omni = settings.omni_account
        self._bot = slack_client(settings.bot_token, settings.slack_api_url, session)
        self._app = app
        self._identity: Identity | None = None
        self._listed_at = -inf

    async def list(self) -> Sequence[Credentials]:
        """See `CredentialSource.list`. The first call waits until Slack answers."""
        if self._identity is None:
            self._identity, self._listed_at = await self._identify(), loop_time()
        if self._identity.organization and loop_time() - self._listed_at >= LISTED_FOR_SECONDS:
            self._listed_at = loop_time()
            try:
                self._identity = replace(self._identity, teams=await teams_of(self._bot))
            except SlackError as error:
                log.warning("workspaces of the organization not read", code=error.code)
        return [self._credentials_of(self._identity, team) for team in self._identity.teams]

    async def _identify(self) -> Identity:
        """Verify both tokens, and retry while Slack is unavailable."""
        failures = 0
        while True:
            try:
                identity = await identify(self._bot)
                if self._app.token:
                    await may_connect(self._app)
            except TokenRefused:
                raise
            except SlackError as error:
                longest = backoff_seconds(failures, longest=LONGEST_BACK_OFF_SECONDS)
                seconds = error.retry_after_seconds if isinstance(error, SlackBusy) else longest
                failures += 1
                log.warning("slack not reached", code=error.code, again_in_seconds=seconds)
                await asyncio.sleep(seconds)
            else:
                teams = identity.organization or identity.teams[0]
                log.info("slack identified the bot", team=teams, user=identity.user)
                return identity

    def _credentials_of(self, identity: Identity, team: TeamId) -> Credentials:
        return Credentials(
            team=team,
            organization=identity.organization,
            bot_user=identity.user,
            bot_id=identity.bot_id,
            bot_token=self._settings.bot_token,
            omni_base_url=self._omni.base_url,
            omni_api_token=self._omni.api_token,
            requests_per_minute=self._omni.requests_per_minute,
            default_model=self._omni.default_model,
        )
