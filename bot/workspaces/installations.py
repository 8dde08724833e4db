"""The workspaces that installed the app by OAuth, and the Omni of each."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection, delete, insert, select, update

from bot.domain import Credentials, DecryptionFailed, ModelId, OmniAccount, TeamId, UserId
from bot.encryption import EncryptionKeys
from bot.storage import ENCRYPTED, Transactions, slack_bots, slack_installations, transactional, workspaces

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
    ) -> None:
        """`shared`: the Omni of the workspaces in `shared_with` without their own."""
        self.transactions = transactions
        self._client_id = client_id
        self._keys = keys
        self._shared = shared
        self._shared_with = shared_with

    async def list(self) -> Sequence[Credentials]:
        """See `CredentialSource.list`. Skips and logs workspaces whose secrets can't be decrypted."""
        bots, accounts = await self._read()
        found = [self._credentials(TeamId(team), bot, accounts.get(team)) for team, bot in bots.items()]
        return [credentials for credentials in found if credentials is not None]

    async def bot_token(self, team: TeamId) -> str | None:
        """Return a workspace's bot token; None if there is none or it can't be decrypted. Raises StoreUnavailable."""
        bots, _ = await self._read()
        bot = bots.get(team)
        return None if bot is None else self._decrypted("bot_token", team, bot["bot_token"])

    async def is_installed(self, team: TeamId) -> bool:
        """Whether a token is stored, even if it can't be decrypted. Raises StoreUnavailable."""
        bots, _ = await self._read()
        return team in bots

    async def has_omni(self, team: TeamId) -> bool:
        """Whether the workspace has an Omni. Raises StoreUnavailable."""
        _, accounts = await self._read()
        return self._omni(team, accounts.get(team)) is not None

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
        """Delete a workspace's bot token, but not its Omni. Returns whether there was one. Raises StoreUnavailable."""
        removed = 0
        for table in (slack_bots, slack_installations):
            own = (table.c.client_id == self._client_id) & (table.c.team_id == team)
            removed += connection.execute(delete(table).where(own)).rowcount
        return removed > 0

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
        self, team: TeamId, bot: Mapping[Any, Any], account: Mapping[Any, Any] | None
    ) -> Credentials | None:
        omni = self._omni(team, account)
        token = self._decrypted("bot_token", team, bot["bot_token"])
        if omni is None or token is None:
            return None
        return Credentials(
            team=team,
            bot_user=UserId(str(bot["bot_user_id"])),
            bot_id=str(bot["bot_id"] or ""),
            bot_token=token,
            omni_base_url=omni.base_url,
            omni_api_token=omni.api_token,
            requests_per_minute=omni.requests_per_minute,
            default_model=omni.default_model,
            is_shut=account is not None,
        )

    def _omni(self, team: TeamId, account: Mapping[Any, Any] | None) -> OmniAccount | None:
        """If its own Omni can't be decrypted, it has none. It must not get the one in the settings."""
        if account is not None:
            return self._own(team, account)
        return self._shared if team in self._shared_with else None

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
