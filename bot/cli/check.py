"""`python -m bot check`: does everything outside answer, and what to do where it does not."""

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

NOBODYS_ADDRESS = "nobody@omni-job-bot.invalid"
"""Nobody's: RFC 2606 keeps `.invalid` for that."""

_DONE_WITHOUT = {
    HISTORY_SCOPES: "Without them the bot can't look for a message whose answer from Slack was lost, and does not hear "
    "what people write to it directly.",
    frozenset({FILES_SCOPE}): "Without it the bot puts no chart and no CSV file into a card's thread.",
    MENTION_SCOPES: "Without it the bot does not hear mentions; follow-ups are asked by the button.",
}
"""The optional scopes, and what is off without them."""


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
    """Try each thing outside in turn. Posts nothing, follows nothing and asks nothing."""
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
        return [Finding(False, f"Slack does not answer ({error.code})", "Is slack.com reachable from here?")]
    return [Finding(True, f"Slack bot token: workspace {identity.team_name}"), *_scopes(identity, settings)]


def _scopes(identity: Identity, settings: Settings) -> list[Finding]:
    findings = []
    if missing := REQUIRED_SCOPES - identity.scopes:
        remedy = "Update the app from manifest.yml and install it to the workspace again."
        findings.append(Finding(False, f"Slack scopes missing: {', '.join(sorted(missing))}", remedy))
    else:
        findings.append(Finding(True, f"Slack scopes: {', '.join(sorted(REQUIRED_SCOPES))}"))
    for scopes, remedy in [*_DONE_WITHOUT.items(), *_ruled_out(settings)]:
        if absent := scopes - identity.scopes:
            what = f"Slack scopes done without: {', '.join(sorted(absent))}"
            findings.append(Finding(True, what, remedy))
    return findings


def _ruled_out(settings: Settings) -> list[tuple[frozenset[str], str]]:
    """The optional scopes that the settings make something depend on, and what is off without them."""
    found = []
    if not settings.allow_shared_channels:
        remedy = (
            "Without them the bot can't see whether a conversation is shared with another organisation, so cards go "
            "to direct messages. Or set ALLOW_SHARED_CHANNELS to true."
        )
        found.append((VENUE_SCOPES, remedy))
    by_email = [
        what
        for what, is_on in [
            ("nobody can ask (ASK_AS=asker)", settings.ask_as == "asker"),
            ("nobody but admins sees a job (ACCESS=owner)", settings.access == "owner"),
        ]
        if is_on
    ]
    if by_email:
        found.append((frozenset({EMAIL_SCOPE}), f"Without it {', and '.join(by_email)}."))
    return found


async def _app_token(client: AsyncWebClient) -> Finding:
    try:
        await may_connect(client)
    except TokenRefused as error:
        return Finding(False, f"Slack refuses SLACK_APP_TOKEN ({error.code})", _set("SLACK_APP_TOKEN"))
    except SlackError as error:
        remedy = (
            "Is Socket Mode on in the Slack app's settings, and has the token the scope connections:write?"
        )
        if isinstance(error, SlackUnreachable):
            remedy = "Is slack.com reachable from here?"
        return Finding(False, f"Slack opens no Socket Mode connection ({error.code})", remedy)
    return Finding(True, "Slack app token: Socket Mode opens")


def _http_mode(settings: Settings) -> Finding:
    what = f"Slack calls HTTP mode: {PATH} on {settings.host}:{settings.port}"
    remedy = (
        "Whether it does shows in the Slack app's settings: there the request URL has to become verified while the "
        "bot runs. If it does not, is SLACK_SIGNING_SECRET this app's, and does the address lead here over https?"
    )
    return Finding(True, what, remedy)


def _installable(settings: Settings) -> Finding:
    what = f"Workspaces install the app at {settings.public_url}{INSTALL_PATH}"
    remedy = (
        f"The Slack app's settings have to name {settings.public_url}{REDIRECT_PATH} as a redirect URL. Which "
        "workspace has which Omni: python -m bot workspace list"
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
        taken = Finding(True, f"Omni: {account.base_url} takes the key")
        return [taken, *await _omni_users(omni, settings)]


async def _omni_users(omni: OmniClient, settings: Settings) -> list[Finding]:
    """Whether people can be found in Omni, where the settings need that."""
    if settings.ask_as == "key" and settings.access == "workspace":
        return []
    try:
        await omni.named(NOBODYS_ADDRESS)
    except KeyRefused as error:
        remedy = (
            "Set OMNI_API_TOKEN to an organisation key. With a personal token, set ASK_AS to key and ACCESS to "
            "workspace: then every question runs with that person's permissions."
        )
        return [Finding(False, f"Omni does not let the key look up people ({error})", remedy)]
    except OmniError as error:
        return [Finding(False, f"Omni does not look up people ({error})", "Please try again in a minute.")]
    return [Finding(True, "Omni users: can be looked up")]


async def _database(settings: Settings) -> Finding:
    try:
        database = await Database.open(settings.database_url.get_secret_value())
    except DatabaseInUse:
        return Finding(True, "Database: in use by the running bot")
    except StoreUnavailable as error:
        remedy = f"Mend the folder or its rights, or see to the server. Or: {_set('DATABASE_URL')}"
        return Finding(False, f"Database does not open: {error}", remedy)
    await database.close()
    return Finding(True, "Database: opens")


def _set(name: str) -> str:
    return f"Set {name} to {HINTS[name]}."
