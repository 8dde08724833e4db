"""`python -m bot channel`: gives channels a model and topic of their own. Also while the bot runs, with SQLite too."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from bot.cli.workspaces import Refused, team_id
from bot.domain import ChannelDefault, ChannelId, ModelId, SlackError, TeamId
from bot.encryption import EncryptionKeys
from bot.settings import Settings, is_uuid
from bot.slack import identify, slack_client, slack_session, teams_of
from bot.storage import Database, SqlChannelDefaultRepository, Transactions
from bot.workspaces import Installations

LONGEST_TOPIC = 150
"""Characters. Longer topics can't be chosen in the form either."""


def channel_id(text: str) -> ChannelId:
    """Parse the id of a channel. Raises Refused."""
    if not re.fullmatch(r"[CG][A-Z0-9]{2,30}", text):
        raise Refused("Give the channel's id, such as C0123ABCD. Slack shows it at the end of its details.")
    return ChannelId(text)


def channel_default(model: str, topic: str | None) -> ChannelDefault:
    """Parse a model and topic. Raises Refused."""
    if not is_uuid(model):
        raise Refused("Give the model's id, a UUID. It is in the model's address in Omni.")
    if topic is not None and not (topic.strip() and topic.isprintable() and len(topic) <= LONGEST_TOPIC):
        raise Refused(f"Give the topic's name, of at most {LONGEST_TOPIC} characters, or leave --topic out.")
    return ChannelDefault(ModelId(model.lower()), topic and topic.strip())


async def set_default(
    settings: Settings, team: str | None, channel: ChannelId, default: ChannelDefault
) -> AsyncIterator[str]:
    """Set a channel's default. Yields lines to print.

    `team`: the workspace's id; None: the only one.

    Raises:
        Refused: nothing was changed.
        StoreUnavailable: the database can't be opened.
    """
    async with _defaults(settings, team) as defaults:
        await defaults.put(channel, default, datetime.now(UTC))
        yield f"Questions asked in {channel} now go to {_shown(default)}, unless the form names another model."


async def unset(settings: Settings, team: str | None, channel: ChannelId) -> AsyncIterator[str]:
    """Delete a channel's default. As `set_default`."""
    async with _defaults(settings, team) as defaults:
        if not await defaults.remove(channel):
            raise Refused(f"{channel} has no model of its own. Nothing was changed.")
        yield f"{channel} no longer has a model of its own."


async def list_all(settings: Settings, team: str | None) -> AsyncIterator[str]:
    """List the channels that have a default, one per line. As `set_default`."""
    async with _defaults(settings, team) as defaults:
        found = await defaults.all()
        for channel, default in found.items():
            yield f"{channel}  {_shown(default)}"
        if not found:
            yield "No channel has a model of its own."


def _shown(default: ChannelDefault) -> str:
    return f"model {default.model}" + (f", topic {default.topic}" if default.topic else "")


@asynccontextmanager
async def _defaults(settings: Settings, team: str | None) -> AsyncIterator[SqlChannelDefaultRepository]:
    asked = None if team is None else team_id(team)
    database = await Database.join(settings.database_url.get_secret_value())
    try:
        transactions = Transactions(database)
        known = await _teams(settings, transactions)
        if asked is None and len(known) != 1:
            raise Refused(f"Give --team with the workspace's id, one of: {', '.join(known) or 'none yet'}.")
        if asked is not None and asked not in known:
            raise Refused(f"The bot is not installed in {asked}, but in: {', '.join(known) or 'none yet'}.")
        yield SqlChannelDefaultRepository(transactions, asked or known[0])
    finally:
        await database.close()


async def _teams(settings: Settings, transactions: Transactions) -> Sequence[TeamId]:
    """List the workspaces that the bot serves. Raises Refused and StoreUnavailable."""
    async with slack_session() as session:
        if settings.slack_client_id is None or settings.encryption_key is None:
            try:
                identity = await identify(slack_client(settings.bot_token, settings.slack_api_url, session))
            except SlackError as error:
                raise Refused(
                    f"Slack does not say to which workspace SLACK_BOT_TOKEN belongs ({error.code}). "
                    "Nothing was changed."
                ) from error
            return identity.teams
        installations = Installations(
            transactions,
            settings.slack_client_id,
            EncryptionKeys(settings.encryption_key.get_secret_value()),
            shared=settings.omni_account,
            shared_with=settings.allowed_teams,
            teams_of=lambda token: teams_of(slack_client(token, settings.slack_api_url, session)),
        )
        return [credentials.team for credentials in await installations.list()]
