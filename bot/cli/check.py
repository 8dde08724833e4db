"""`python -m bot check`: tests the tokens, Omni and the database, and prints what to fix."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import (
    DatabaseInUse,
    KeyRefused,
    OmniAccount,
    OmniError,
    SlackError,
    SlackUnreachable,
    StoreUnavailable,
    TokenRefused,
)
from bot.omni import OmniClient, unmetered, verify_api_key
from bot.server import PATH
from bot.settings import HINTS, Settings
from bot.slack import (
    EMAIL_SCOPE,
    FILES_SCOPE,
    HISTORY_SCOPES,
    MENTION_SCOPES,
    REQUIRED_SCOPES,
    VENUE_SCOPES,
    Identity,
    identify,
    may_connect,
    slack_client,
    slack_session,
)
from bot.storage import Database
from bot.workspaces import INSTALL_PATH, REDIRECT_PATH

UNUSED_ADDRESS = "nobody@omni-job-bot.invalid"
"""RFC 2606 reserves `.invalid`."""

_OPTIONAL = {
    HISTORY_SCOPES: "The bot can't check whether a message arrived if Slack's response was lost, and receives no "
    "direct messages.",
    frozenset({FILES_SCOPE}): "The bot posts no charts and no CSV files.",
    MENTION_SCOPES: "The bot receives no mentions. Follow-up questions need the button.",
}
"""The optional scopes, and what does not work without them."""


_REACH_SLACK = "Check that this machine can reach slack.com."


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check."""

    good: bool
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{'ok  ' if self.good else 'FAIL'}  {self.what}"
        return f"{line}\n      {self.remedy}" if self.remedy else line


async def check(settings: Settings) -> AsyncIterator[Finding]:
    """Test each service in turn. Posts no message and submits no question."""
    async with slack_session() as session:
        if settings.slack_client_id is None:
            client = slack_client(settings.bot_token, settings.slack_api_url, session)
            for finding in await _bot_token(client, settings):
                yield finding
        else:
            yield _installable(settings)
        if settings.app_token:
            yield await _app_token(slack_client(settings.app_token, settings.slack_api_url, session))
        else:
            yield _http_mode(settings)
    if settings.omni_account is not None:
        for finding in await _omni(settings.omni_account, settings):
            yield finding
    yield await _database(settings)


async def _bot_token(client: AsyncWebClient, settings: Settings) -> list[Finding]:
    try:
        identity = await identify(client)
    except TokenRefused as error:
        return [Finding(False, f"Slack refuses SLACK_BOT_TOKEN ({error.code})", _set("SLACK_BOT_TOKEN"))]
    except SlackError as error:
        return [Finding(False, f"Slack does not answer ({error.code})", _REACH_SLACK)]
    return [Finding(True, f"Slack bot token: workspace {identity.team_name}"), *_scopes(identity, settings)]


def _scopes(identity: Identity, settings: Settings) -> list[Finding]:
    findings = []
    required = REQUIRED_SCOPES - (VENUE_SCOPES if settings.allow_shared_channels else frozenset())
    if missing := required - identity.scopes:
        remedy = "Update the app from manifest.yml, and reinstall it to the workspace."
        if missing <= VENUE_SCOPES:
            remedy += (
                " Until then the bot sends cards to direct messages, because it can't check whether a channel is "
                "shared with another organization. Or set ALLOW_SHARED_CHANNELS to true."
            )
        findings.append(Finding(False, f"Slack scopes missing: {', '.join(sorted(missing))}", remedy))
    else:
        findings.append(Finding(True, f"Slack scopes: {', '.join(sorted(required))}"))
    for scopes, remedy in [*_OPTIONAL.items(), *_needed_by(settings)]:
        if absent := scopes - identity.scopes:
            what = f"Optional Slack scopes not granted: {', '.join(sorted(absent))}"
            findings.append(Finding(True, what, remedy))
    return findings


def _needed_by(settings: Settings) -> list[tuple[frozenset[str], str]]:
    """Return the optional scopes that these settings need, and what does not work without them."""
    by_email = [
        what
        for what, is_on in [
            ("No user can ask questions (ASK_AS=asker).", settings.ask_as == "asker"),
            ("Only admins can see jobs (ACCESS=owner).", settings.access == "owner"),
        ]
        if is_on
    ]
    return [(frozenset({EMAIL_SCOPE}), " ".join(by_email))] if by_email else []


async def _app_token(client: AsyncWebClient) -> Finding:
    try:
        await may_connect(client)
    except TokenRefused as error:
        return Finding(False, f"Slack refuses SLACK_APP_TOKEN ({error.code})", _set("SLACK_APP_TOKEN"))
    except SlackError as error:
        remedy = (
            "Turn on Socket Mode in the Slack app's settings, and give the token the scope connections:write."
        )
        if isinstance(error, SlackUnreachable):
            remedy = _REACH_SLACK
        return Finding(False, f"Socket Mode can't connect ({error.code})", remedy)
    return Finding(True, "Slack app token: Socket Mode connects")


def _http_mode(settings: Settings) -> Finding:
    what = f"HTTP mode: Slack sends requests to {PATH} on {settings.host}:{settings.port}"
    remedy = (
        "Start the bot, and verify the request URL in the Slack app's settings. If that fails, check that "
        "SLACK_SIGNING_SECRET belongs to this app, and that the address leads here over https."
    )
    return Finding(True, what, remedy)


def _installable(settings: Settings) -> Finding:
    what = f"Workspaces install the app at {settings.public_url}{INSTALL_PATH}"
    remedy = (
        f"Add {settings.public_url}{REDIRECT_PATH} as a redirect URL in the Slack app's settings. To see each "
        "workspace's Omni, run: python -m bot workspace list"
    )
    return Finding(True, what, remedy)


async def _omni(account: OmniAccount, settings: Settings) -> list[Finding]:
    async with unmetered(account) as omni:
        try:
            await verify_api_key(omni)
        except KeyRefused as error:
            return [Finding(False, f"Omni refuses OMNI_API_TOKEN ({error})", _set("OMNI_API_TOKEN"))]
        except OmniError as error:
            what = f"Omni does not answer at {account.base_url} ({error})"
            return [Finding(False, what, _set("OMNI_BASE_URL"))]
        accepted = Finding(True, f"Omni: {account.base_url} accepts the key")
        return [accepted, *await _omni_users(omni, settings)]


async def _omni_users(omni: OmniClient, settings: Settings) -> list[Finding]:
    """Test the lookup of users, if the settings need it."""
    if settings.ask_as == "key" and settings.access == "workspace":
        return []
    try:
        await omni.named(UNUSED_ADDRESS)
    except KeyRefused as error:
        remedy = (
            "Set OMNI_API_TOKEN to an organization key. Or, with a personal token, set ASK_AS to key and ACCESS to "
            "workspace; then every question runs with that user's permissions."
        )
        return [Finding(False, f"Omni does not let this key look up users ({error})", remedy)]
    except OmniError as error:
        remedy = f"Try again in a minute. If it fails again: {_set('OMNI_BASE_URL')}"
        return [Finding(False, f"Omni can't look up users ({error})", remedy)]
    return [Finding(True, "Omni users: lookup works")]


async def _database(settings: Settings) -> Finding:
    try:
        database = await Database.open(settings.database_url.get_secret_value())
    except DatabaseInUse:
        return Finding(True, "Database: in use by the running bot")
    except StoreUnavailable as error:
        remedy = (
            "Check that the folder exists and is writable, or that the server is up. Or: "
            f"{_set('DATABASE_URL')}"
        )
        return Finding(False, f"Database can't be opened: {error}", remedy)
    await database.close()
    return Finding(True, "Database: opens")


def _set(name: str) -> str:
    return f"Set {name} to {HINTS[name]}."
