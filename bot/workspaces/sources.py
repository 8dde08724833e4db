"""The single workspace of the settings' tokens."""

import asyncio
from collections.abc import Sequence

import aiohttp
import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import Credentials, SlackBusy, SlackError, TokenRefused
from bot.settings import Settings
from bot.slack import Identity, identify, may_connect, slack_client
from bot.tasks import backoff_seconds

log = structlog.get_logger()

LONGEST_BACK_OFF_SECONDS = 30.0


class SingleWorkspace:
    """The `CredentialSource` of the workspace that the settings' tokens belong to."""

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
        self._credentials: Credentials | None = None

    async def list(self) -> Sequence[Credentials]:
        """See `CredentialSource.list`. The first call waits until Slack answers."""
        if self._credentials is None:
            self._credentials = self._credentials_of(await self._identify())
        return [self._credentials]

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
                log.info("slack identified the bot", team=identity.team, user=identity.user)
                return identity

    def _credentials_of(self, identity: Identity) -> Credentials:
        return Credentials(
            team=identity.team,
            bot_user=identity.user,
            bot_id=identity.bot_id,
            bot_token=self._settings.bot_token,
            omni_base_url=self._omni.base_url,
            omni_api_token=self._omni.api_token,
            requests_per_minute=self._omni.requests_per_minute,
            default_model=self._omni.default_model,
        )
