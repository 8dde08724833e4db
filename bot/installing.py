"""Several workspaces, as they install the app and remove it: what is shared by the pages, the events and the source."""

from functools import partial

import aiohttp
import structlog
from slack_bolt.async_app import AsyncApp

from bot.encryption import EncryptionKeys
from bot.errors import BoardError, StoreUnavailable
from bot.installations import Installations
from bot.installationstore import InstallationStore, StateStore
from bot.leaving import Leaving
from bot.lobby import lobby
from bot.meter import UNMETERED
from bot.oauth import Flow, flow
from bot.responseurl import whisper
from bot.settings import Settings
from bot.slack import identify, slack_client
from bot.transactions import Transactions
from bot.watch import TeamId
from bot.workspaces import Workspaces

log = structlog.get_logger()


class Installing:
    """Opens a workspace that has installed the app, and closes one that has removed it."""

    def __init__(
        self, settings: Settings, transactions: Transactions, session: aiohttp.ClientSession
    ) -> None:
        """Raises ValueError if the settings are not for several workspaces."""
        if settings.slack_client_id is None or settings.encryption_key is None:
            raise ValueError("several workspaces need SLACK_CLIENT_ID and ENCRYPTION_KEY")
        self._settings = settings
        self._transactions = transactions
        self._session = session
        self._client_id = settings.slack_client_id
        self._keys = EncryptionKeys(settings.encryption_key.get_secret_value())
        self.installations = Installations(
            transactions,
            self._client_id,
            self._keys,
            shared=settings.omni_account,
            shared_with=settings.allowed_teams,
        )
        self.leaving = Leaving(self.installations, self._stop, self._is_still_good)
        self._lobby = lobby(settings.slack_api_url, self.leaving, partial(whisper, session, UNMETERED))
        self._workspaces: Workspaces | None = None

    def open(self, workspaces: Workspaces) -> Flow:
        """Let all that happens act on these. Returns what the pages need."""
        self._workspaces = workspaces
        settings = self._settings
        secret = settings.slack_client_secret
        return flow(
            slack_client("", settings.slack_api_url, self._session),
            InstallationStore(self._transactions, self._client_id, self._keys),
            StateStore(self._transactions),
            self.installations,
            self._installed,
            client_secret="" if secret is None else secret.get_secret_value(),
            public_url=settings.public_url or "",
        )

    async def app_of(self, team: TeamId) -> AsyncApp | None:
        """What Bolt does with what Slack sends for the team; None where the app is not installed there. Raises
        StoreUnavailable."""
        app = None if self._workspaces is None else await self._workspaces.app_of(team)
        if app is None and await self.installations.is_installed(team):
            return self._lobby
        return app

    async def _installed(self, _team: TeamId) -> None:
        try:
            if self._workspaces is not None:
                await self._workspaces.look()
        except StoreUnavailable as error:
            log.warning("workspaces not read", reason=str(error))

    async def _stop(self, team: TeamId) -> None:
        if self._workspaces is not None:
            await self._workspaces.close(team)

    async def _is_still_good(self, team: TeamId) -> bool:
        """Whoever says that the app was removed is Slack. So unless Slack takes the token, it is believed."""
        token = await self.installations.bot_token(team)
        if token is None:
            return False
        try:
            await identify(slack_client(token, self._settings.slack_api_url, self._session))
        except BoardError:
            return False
        return True
