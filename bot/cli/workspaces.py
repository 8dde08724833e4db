"""`python -m bot workspace add|list|remove|encrypt`: which workspace has which Omni. No key is shown, and none is taken
from the command line."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.domain import KeyRefused, ModelId, OmniAccount, OmniError, TeamId
from bot.encryption import EncryptionKeys
from bot.omni import unmetered, verify_api_key
from bot.settings import Settings
from bot.storage import Database, Transactions
from bot.urls import is_token, is_uuid, omni_address
from bot.workspaces import InstallationInfo, Installations

MOST_PER_MINUTE = 10_000


class Refused(Exception):
    """Nothing was changed; the message says why, and holds no key."""


def team_id(text: str) -> TeamId:
    """A workspace's id as typed. Raises Refused."""
    if not re.fullmatch(r"T[A-Z0-9]{2,30}", text):
        raise Refused(
            "The workspace is named by its id, such as T0123ABCD. It is in Slack's address in a browser."
        )
    return TeamId(text)


def account(address: str, key: str, requests_per_minute: int, model: str | None) -> OmniAccount:
    """An Omni as typed. Raises Refused."""
    try:
        base_url = omni_address(address)
    except ValueError as error:
        raise Refused(f"The address of Omni {error}.") from error
    if not is_token(key):
        raise Refused(
            "No key was given, or one with characters that no key has. It is read from the terminal or stdin."
        )
    if not 1 <= requests_per_minute <= MOST_PER_MINUTE:
        raise Refused(f"The requests per minute are a whole number from 1 to {MOST_PER_MINUTE}.")
    if model is not None and not is_uuid(model):
        raise Refused("The model is named by its id, a UUID.")
    return OmniAccount(base_url, key, requests_per_minute, ModelId(model.lower()) if model else None)


async def add(settings: Settings, team: TeamId, omni: OmniAccount) -> AsyncIterator[str]:
    """Give a workspace its Omni, once Omni takes the key. What came of it, line by line.

    Raises:
        Refused: Omni does not take it, or the settings are not for several workspaces.
        StoreUnavailable: the database can't be opened.
    """
    async with _installations(settings) as installations:
        async with unmetered(omni) as asked:
            try:
                await verify_api_key(asked)
            except KeyRefused as error:
                raise Refused(f"Omni refuses the key ({error}). Nothing was changed.") from error
            except OmniError as error:
                raise Refused(
                    f"Omni does not answer at {omni.base_url} ({error}). Nothing was changed."
                ) from error
        await installations.set_omni(team, omni)
        yield f"{team}: {omni.base_url} takes the key, and is this workspace's Omni now."
        if await installations.bot_token(team) is None:
            yield f"The app is not installed there yet: {settings.public_url}/slack/install"
        else:
            yield "A running bot opens the workspace within a minute."


async def remove(settings: Settings, team: TeamId) -> AsyncIterator[str]:
    """Take a workspace's Omni away. Raises as `add`."""
    async with _installations(settings) as installations:
        if not await installations.remove_omni(team):
            raise Refused(f"{team} has no Omni of its own. Nothing was changed.")
        yield f"{team} has no Omni of its own any more. A running bot stops its follows within a minute."
        if await installations.has_omni(team):
            yield "From then on it uses that of the settings, since ALLOWED_TEAMS names it."


async def known(settings: Settings) -> AsyncIterator[str]:
    """Every workspace, a line each. Raises as `add`."""
    async with _installations(settings) as installations:
        found = await installations.known()
        for one in found:
            yield _line(one, has_omni=await installations.has_omni(one.team))
        if not found:
            yield f"No workspace yet. The app is installed at {settings.public_url}/slack/install"


async def encrypt(settings: Settings) -> AsyncIterator[str]:
    """Encrypt all that is kept with the first of the keys. Raises as `add`."""
    async with _installations(settings) as installations:
        left = await installations.encrypt_anew()
        if left:
            raise Refused(
                f"{left} tokens or keys were encrypted with a key that ENCRYPTION_KEY does not name."
            )
        yield "All is encrypted with the first of ENCRYPTION_KEY. The others can go."


def _line(one: InstallationInfo, *, has_omni: bool) -> str:
    installed = f"installed as {one.name!r}" if one.name is not None else "not installed"
    if one.omni is not None:
        model = f", model {one.omni.default_model}" if one.omni.default_model else ""
        return f"{one.team}  {installed}; {one.omni.base_url}, {one.omni.requests_per_minute} a minute{model}"
    return f"{one.team}  {installed}; {'the Omni of the settings' if has_omni else 'no Omni, so it does not run'}"


@asynccontextmanager
async def _installations(settings: Settings) -> AsyncIterator[Installations]:
    if settings.slack_client_id is None or settings.encryption_key is None:
        raise Refused(
            "Only with SLACK_CLIENT_ID are there several workspaces. The one of SLACK_BOT_TOKEN has OMNI_*."
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
