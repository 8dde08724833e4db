"""Installs and uninstalls the app in several workspaces."""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import aiohttp
import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import Message, SlackError, StoreUnavailable, TeamId
from bot.domain.ports import NO_METRICS, MessageBus
from bot.encryption import EncryptionKeys
from bot.rendering import ask_replies, replies
from bot.settings import Settings
from bot.slack import QUIET, identify, reply_to_response_url, slack_client, teams_of
from bot.storage import InstallationStore, StateStore, Transactions
from bot.workspaces.installations import Installations
from bot.workspaces.oauth import Flow, flow
from bot.workspaces.registry import Workspaces
from bot.workspaces.uninstall import Uninstaller

log = structlog.get_logger()

CHANGED = "installations"
"""Topic of the message to other processes that an installation was added or removed."""


class Installer:
    """Starts a workspace that has installed the app, and stops one that has removed it."""

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
            teams_of=lambda token: teams_of(slack_client(token, settings.slack_api_url, session)),
        )
        self.uninstaller = Uninstaller(self.installations.remove, self._stop, self._is_token_valid)
        self._unconfigured_app = unconfigured_app(
            settings.slack_api_url, self.uninstaller, partial(reply_to_response_url, session, NO_METRICS)
        )
        self._workspaces: Workspaces | None = None
        self._bus: MessageBus | None = None

    def open(self, workspaces: Workspaces, bus: MessageBus | None = None) -> Flow:
        """Start handling installations. Returns the OAuth flow. `bus`: to the other processes on the database."""
        self._workspaces, self._bus = workspaces, bus
        if bus is not None:
            bus.subscribe(CHANGED, lambda _: workspaces.refresh_soon())
        settings = self._settings
        secret = settings.slack_client_secret
        return flow(
            slack_client("", settings.slack_api_url, self._session),
            InstallationStore(self._transactions, self._client_id, self._keys),
            StateStore(self._transactions),
            self.installations.has_omni,
            self._installed,
            client_secret="" if secret is None else secret.get_secret_value(),
            public_url=settings.public_url or "",
        )

    async def app_of(self, team: TeamId) -> AsyncApp | None:
        """Return the team's Bolt app; None if the app is not installed there. Raises StoreUnavailable."""
        app = None if self._workspaces is None else await self._workspaces.app_of(team)
        if app is None and await self.installations.is_installed(team):
            return self._unconfigured_app
        return app

    async def _installed(self, _team: TeamId) -> None:
        if self._bus is not None:
            self._bus.publish(CHANGED)
        try:
            if self._workspaces is not None:
                await self._workspaces.refresh()
        except StoreUnavailable as error:
            log.warning("workspaces not read", reason=str(error))

    async def _stop(self, team: TeamId) -> None:
        if self._workspaces is not None:
            await self._workspaces.close(team)
        # An organization has more workspaces, which its token no longer serves.
        await self._installed(team)

    async def _is_token_valid(self, team: TeamId) -> bool:
        """Whether Slack accepts the stored token, so that the app was not removed."""
        token = await self.installations.bot_token(team)
        if token is None:
            return False
        try:
            await identify(slack_client(token, self._settings.slack_api_url, self._session))
        except SlackError:
            return False
        return True


NO_OMNI_YET = (
    "This workspace isn't connected to Omni yet. Ask the operator of this bot to run "
    "`python -m bot workspace add {team}`."
)

_ANY = re.compile("")


def unconfigured_app(
    api_url: str, uninstaller: Uninstaller, reply: Callable[[str, Message], Awaitable[None]]
) -> AsyncApp:
    """Build the Bolt app for workspaces without an Omni. It replies that the Omni is missing, and handles uninstalls.

    `reply` sends a message to a response_url; it may raise SlackError.
    """

    async def authorize(team_id: str | None) -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=None, team_id=team_id)

    async def on_command(ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack(_line(body))

    async def on_interaction(ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        if url := body.get("response_url"):
            with suppress(SlackError):
                await reply(str(url), Message(_line(body)))

    app = AsyncApp(
        logger=QUIET,
        client=AsyncWebClient(base_url=api_url),
        authorize=authorize,
        request_verification_enabled=False,  # `SlackEvents` has verified the signature and does not pass it on
    )
    for command in (ask_replies.COMMAND, replies.COMMAND):
        app.command(command)(on_command)
    for listen in (app.action, app.shortcut, app.view):
        listen(_ANY)(on_interaction)
    uninstaller.register(app)
    return app


def _line(body: dict[str, Any]) -> str:
    team = body.get("team_id") or (body.get("team") or {}).get("id") or ""
    return NO_OMNI_YET.format(team=team)
