"""`python -m bot workspace`: assigns an Omni to each workspace. Keys are neither shown nor taken as arguments."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.domain import KeyRefused, ModelId, OmniAccount, OmniError, TeamId
from bot.encryption import EncryptionKeys
from bot.omni import unmetered, verify_api_key
from bot.settings import Settings, is_token, is_uuid, omni_address
from bot.storage import Database, Transactions
from bot.workspaces import InstallationInfo, Installations

MOST_PER_MINUTE = 10_000


class Refused(Exception):
    """Nothing was changed. The message says why, without a key."""


def team_id(text: str) -> TeamId:
    """Parse the id of a workspace or of an organization. Raises Refused."""
    if not re.fullmatch(r"[TE][A-Z0-9]{2,30}", text):
        raise Refused("Give the workspace's id, such as T0123ABCD. In a browser, it is in Slack's address.")
    return TeamId(text)


def account(address: str, key: str, requests_per_minute: int, model: str | None) -> OmniAccount:
    """Parse an Omni. Raises Refused."""
    try:
        base_url = omni_address(address)
    except ValueError as error:
        raise Refused(f"The address of Omni {error}.") from error
    if not is_token(key):
        raise Refused(
            "The key is missing, or has characters that no key has. Type it when prompted, or send it to stdin."
        )
    if not 1 <= requests_per_minute <= MOST_PER_MINUTE:
        raise Refused(f"The requests per minute must be a whole number from 1 to {MOST_PER_MINUTE}.")
    if model is not None and not is_uuid(model):
        raise Refused("Give the model's id, a UUID.")
    return OmniAccount(base_url, key, requests_per_minute, ModelId(model.lower()) if model else None)


async def add(settings: Settings, team: TeamId, omni: OmniAccount) -> AsyncIterator[str]:
    """Set a workspace's Omni if Omni accepts the key. Yields lines to print.

    Raises:
        Refused: Omni refuses the key, or the settings are not for several workspaces.
        StoreUnavailable: the database can't be opened.
    """
    async with _installations(settings) as installations:
        async with unmetered(omni) as client:
            try:
                await verify_api_key(client)
            except KeyRefused as error:
                raise Refused(f"Omni refuses the key ({error}). Nothing was changed.") from error
            except OmniError as error:
                raise Refused(
                    f"Omni does not answer at {omni.base_url} ({error}). Nothing was changed."
                ) from error
        await installations.set_omni(team, omni)
        yield f"{team}: {omni.base_url} accepts the key and is now this workspace's Omni."
        if await installations.bot_token(team) is None:
            yield f"The app is not installed there yet. Install it at {settings.public_url}/slack/install"
        else:
            yield "A running bot starts the workspace within a minute."


async def remove(settings: Settings, team: TeamId) -> AsyncIterator[str]:
    """Remove a workspace's Omni. Raises as `add`."""
    async with _installations(settings) as installations:
        if not await installations.remove_omni(team):
            raise Refused(f"{team} has no Omni of its own. Nothing was changed.")
        yield f"{team} no longer has an Omni of its own. A running bot stops following its jobs within a minute."
        if await installations.has_omni(team):
            yield "After that it uses OMNI_BASE_URL, because it is in ALLOWED_TEAMS."


async def list_all(settings: Settings) -> AsyncIterator[str]:
    """List all workspaces, one per line. Raises as `add`."""
    async with _installations(settings) as installations:
        found = await installations.known()
        for one in found:
            yield _line(one, has_omni=await installations.has_omni(one.team))
        if not found:
            yield f"No workspace yet. Install the app at {settings.public_url}/slack/install"


async def encrypt(settings: Settings) -> AsyncIterator[str]:
    """Re-encrypt all stored tokens with the first key. Raises as `add`."""
    async with _installations(settings) as installations:
        left = await installations.reencrypt()
        if left:
            raise Refused(
                f"{left} tokens or keys could not be decrypted. Add the key they were encrypted with to ENCRYPTION_KEY."
            )
        yield "Everything is encrypted with the first key of ENCRYPTION_KEY. You can remove the other keys."


def _line(one: InstallationInfo, *, has_omni: bool) -> str:
    installed = f"installed as {one.name!r}" if one.name is not None else "not installed"
    if one.omni is not None:
        model = f", model {one.omni.default_model}" if one.omni.default_model else ""
        return f"{one.team}  {installed}; {one.omni.base_url}, {one.omni.requests_per_minute} a minute{model}"
    return f"{one.team}  {installed}; {'uses OMNI_BASE_URL' if has_omni else 'no Omni, so it does not run'}"


@asynccontextmanager
async def _installations(settings: Settings) -> AsyncIterator[Installations]:
    if settings.slack_client_id is None or settings.encryption_key is None:
        raise Refused(
            "Several workspaces need SLACK_CLIENT_ID. The workspace of SLACK_BOT_TOKEN uses OMNI_BASE_URL."
        )
    keys = EncryptionKeys(settings.encryption_key.get_secret_value())
    database = await Database.open(settings.database_url.get_secret_value())
    try:
        yield Installations(
            Transactions(database),
            settings.slack_client_id,
            keys,
            shared=settings.omni_account,
            shared_with=settings.allowed_teams,
        )
    finally:
        await database.close()
