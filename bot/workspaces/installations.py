"""The workspaces that installed the app by OAuth, and the Omni of each."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

import structlog
from sqlalchemy import Connection, delete, insert, select, update

from bot.domain import (
    Credentials,
    DecryptionFailed,
    ModelId,
    OmniAccount,
    SlackError,
    TeamId,
    TokenRefused,
    UserId,
)
from bot.encryption import EncryptionKeys
from bot.storage import ENCRYPTED, Transactions, slack_bots, slack_installations, transactional, workspaces
from bot.tasks import loop_time
from bot.workspaces.sources import LISTED_FOR_SECONDS

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class InstallationInfo:
    """A workspace as shown to the operator, without secrets."""

    team: TeamId
    name: str | None
    """Its name when the app was installed; None if it is not installed."""
    omni: OmniAccount | None
    """Its own Omni."""


class Installations:
    """The `CredentialSource` of installed workspaces with an Omni.

    A workspace has its own Omni, or the one in the settings if it is in `ALLOWED_TEAMS`. Anyone who knows the install
    address can install the app, and must not get access to another company's data.
    """

    def __init__(
        self,
        transactions: Transactions,
        client_id: str,
        keys: EncryptionKeys,
        *,
        shared: OmniAccount | None,
        shared_with: Collection[TeamId],
        teams_of: Callable[[str], Awaitable[Sequence[TeamId]]] | None = None,
    ) -> None:
        """Args:
        transactions: the database.
        client_id: of the Slack app.
        keys: for the stored secrets.
        shared: the Omni of the workspaces in `shared_with` without their own.
        shared_with: workspaces, and organizations with all their workspaces.
        teams_of: lists the workspaces in which an organization's token works. May raise any SlackError.
        """
        self.transactions = transactions
        self._client_id = client_id
        self._keys = keys
        self._shared = shared
        self._shared_with = shared_with
        self._teams_of = teams_of
        self._listed: dict[TeamId, tuple[Sequence[TeamId], float]] = {}
        """The workspaces of each organization, and when they were listed, in monotonic time."""
        self._organization_of: dict[TeamId, TeamId] = {}
        """The organization whose installation serves a workspace, also after the app was removed."""

    async def list(self) -> Sequence[Credentials]:
        """See `CredentialSource.list`. Skips and logs workspaces whose secrets can't be decrypted."""
        bots, accounts = await self._read()
        found = []
        for team, bot in (await self._bots_of_workspaces(bots)).items():
            organization = _organization(bot)
            account = accounts.get(team) or accounts.get(organization or "")
            found.append(self._credentials(team, organization, bot, account))
        return [credentials for credentials in found if credentials is not None]

    async def _bots_of_workspaces(
        self, bots: Mapping[str, Mapping[Any, Any]]
    ) -> dict[TeamId, Mapping[Any, Any]]:
        """Return the bot of each workspace. An organization's is that of all its workspaces without their own."""
        found = {TeamId(team): bot for team, bot in bots.items() if _organization(bot) is None}
        for bot in bots.values():
            if (organization := _organization(bot)) is not None:
                for team in await self._workspaces_of(organization, bot):
                    found.setdefault(team, bot)
        return found

    async def _workspaces_of(self, organization: TeamId, bot: Mapping[Any, Any]) -> Sequence[TeamId]:
        teams, listed_at = self._listed.get(organization, ((), -inf))
        token = self._decrypted("bot_token", organization, bot["bot_token"])
        if self._teams_of is None or token is None or loop_time() - listed_at < LISTED_FOR_SECONDS:
            return teams
        try:
            teams = await self._teams_of(token)
            self._organization_of |= dict.fromkeys(teams, organization)
        except TokenRefused:
            teams = ()  # the app was removed from the organization
        except SlackError as error:
            log.warning("workspaces of the organization not read", code=error.code)
        self._listed[organization] = teams, loop_time()
        return teams

    async def bot_token(self, team: TeamId) -> str | None:
        """Return a workspace's bot token; None if there is none or it can't be decrypted. Raises StoreUnavailable."""
        bots, _ = await self._read()
        bot = bots.get(team) or bots.get(self._organization_of.get(team, team))
        return None if bot is None else self._decrypted("bot_token", team, bot["bot_token"])

    async def is_installed(self, team: TeamId) -> bool:
        """Whether a token is stored, even if it can't be decrypted. Raises StoreUnavailable."""
        bots, _ = await self._read()
        return team in bots or self._organization_of.get(team) in bots

    async def has_omni(self, team: TeamId) -> bool:
        """Whether the workspace has an Omni. Raises StoreUnavailable."""
        _, accounts = await self._read()
        return self._omni(team, None, accounts.get(team)) is not None

    async def known(self) -> Sequence[InstallationInfo]:
        """List all workspaces that are installed or have their own Omni, by team. Raises StoreUnavailable."""
        bots, accounts = await self._read()
        return [
            InstallationInfo(
                TeamId(team),
                str(bots[team]["team_name"] or team) if team in bots else None,
                self._own(TeamId(team), accounts[team]) if team in accounts else None,
            )
            for team in sorted(bots.keys() | accounts.keys())
        ]

    @transactional
    def remove(self, connection: Connection, team: TeamId) -> bool:
        """Delete a workspace's bot token, or that of its organization, but not its Omni.

        Returns whether there was one. Raises StoreUnavailable.
        """
        for owner in (team, self._organization_of.get(team)):
            removed = 0
            for table in (slack_bots, slack_installations):
                own = (table.c.client_id == self._client_id) & (table.c.team_id == owner)
                removed += connection.execute(delete(table).where(own)).rowcount
            if removed:
                return True
        return False

    @transactional
    def set_omni(self, connection: Connection, team: TeamId, omni: OmniAccount) -> None:
        """Set a workspace's own Omni. Raises StoreUnavailable."""
        values = {
            "omni_base_url": omni.base_url,
            "omni_api_token": self._keys.encrypt(omni.api_token),
            "requests_per_minute": omni.requests_per_minute,
            "default_model": omni.default_model,
        }
        change = update(workspaces).where(workspaces.c.team == team).values(**values)
        if not connection.execute(change).rowcount:
            connection.execute(insert(workspaces).values(team=team, **values))

    @transactional
    def remove_omni(self, connection: Connection, team: TeamId) -> bool:
        """Delete a workspace's own Omni. Returns whether there was one. Raises StoreUnavailable."""
        return bool(connection.execute(delete(workspaces).where(workspaces.c.team == team)).rowcount)

    @transactional
    def reencrypt(self, connection: Connection) -> int:
        """Re-encrypt everything with the first key.

        Returns:
            How many values could not be decrypted; they stay unchanged.

        Raises:
            StoreUnavailable: the database is unavailable.
        """
        left = 0
        for table, key, names in (
            (slack_bots, slack_bots.c.id, ENCRYPTED),
            (slack_installations, slack_installations.c.id, ENCRYPTED),
            (workspaces, workspaces.c.team, ("omni_api_token",)),
        ):
            for row in connection.execute(select(table)).mappings().all():
                kept = {name: row[name] for name in names if row.get(name) is not None}
                changed = self._reencrypted(kept)
                left += len(kept) - len(changed)
                if changed:
                    connection.execute(update(table).where(key == row[key.name]).values(**changed))
        return left

    def _reencrypted(self, kept: Mapping[str, str]) -> dict[str, str]:
        changed = {}
        for name, encrypted in kept.items():
            with suppress(DecryptionFailed):
                changed[name] = self._keys.reencrypt(encrypted)
        return changed

    @transactional
    def _read(
        self, connection: Connection
    ) -> tuple[dict[str, Mapping[Any, Any]], dict[str, Mapping[Any, Any]]]:
        """Load the newest installation and the Omni of each team."""
        bots = select(slack_bots).where(slack_bots.c.client_id == self._client_id).order_by(slack_bots.c.id)
        installed = connection.execute(bots).mappings().all()
        accounts = connection.execute(select(workspaces)).mappings().all()
        return {row["team_id"]: row for row in installed}, {row["team"]: row for row in accounts}

    def _credentials(
        self,
        team: TeamId,
        organization: TeamId | None,
        bot: Mapping[Any, Any],
        account: Mapping[Any, Any] | None,
    ) -> Credentials | None:
        omni = self._omni(team, organization, account)
        token = self._decrypted("bot_token", team, bot["bot_token"])
        if omni is None or token is None:
            return None
        return Credentials(
            team=team,
            organization=organization,
            bot_user=UserId(str(bot["bot_user_id"])),
            bot_id=str(bot["bot_id"] or ""),
            bot_token=token,
            omni_base_url=omni.base_url,
            omni_api_token=omni.api_token,
            requests_per_minute=omni.requests_per_minute,
            default_model=omni.default_model,
            is_shut=account is not None,
        )

    def _omni(
        self, team: TeamId, organization: TeamId | None, account: Mapping[Any, Any] | None
    ) -> OmniAccount | None:
        """If its own Omni can't be decrypted, it has none. It must not get the one in the settings."""
        if account is not None:
            return self._own(team, account)
        is_shared = team in self._shared_with or organization in self._shared_with
        return self._shared if is_shared else None

    def _own(self, team: TeamId, account: Mapping[Any, Any]) -> OmniAccount | None:
        token = self._decrypted("omni_api_token", team, account["omni_api_token"])
        if token is None:
            return None
        model = account["default_model"]
        return OmniAccount(
            base_url=account["omni_base_url"],
            api_token=token,
            requests_per_minute=account["requests_per_minute"],
            default_model=ModelId(model) if model else None,
        )

    def _decrypted(self, what: str, team: TeamId, encrypted: str | None) -> str | None:
        if encrypted is None:
            return None
        try:
            return self._keys.decrypt(encrypted)
        except DecryptionFailed as error:
            log.error("not decrypted", what=what, team=team, reason=str(error))
            return None


def _organization(bot: Mapping[Any, Any]) -> TeamId | None:
    """The organization for which a bot was installed as a whole. Its row has the organization's id as its team."""
    return TeamId(bot["team_id"]) if bot["is_enterprise_install"] else None
