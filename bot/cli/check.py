"""`python -m bot check`: tests the tokens, Omni and the database, and prints what to fix."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiohttp
import httpx
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import (
    Card,
    CardId,
    ChannelId,
    ChannelRef,
    Conversation,
    DatabaseInUse,
    Job,
    JobError,
    JobNotFound,
    JobState,
    JobStatus,
    KeyRefused,
    OmniAccount,
    OmniBusy,
    OmniError,
    OutcomeUnknown,
    Progress,
    SlackError,
    SlackUnreachable,
    StoreUnavailable,
    TeamId,
    TokenRefused,
    UserId,
)
from bot.domain.ports import QueuePosition
from bot.omni import MISSING_JOB, OmniClient, unmetered, verify_api_key
from bot.rendering.card import render_card
from bot.rendering.markdown.links import chat_link
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
    blocks_problem,
    connect,
    identify,
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


_REACH_SLACK = (
    "Check that this machine can reach slack.com, and the proxy in HTTPS_PROXY or ALL_PROXY, if any."
)
_TRUST = (
    "Set SSL_CERT_FILE to a file with the certificates to trust: those of the proxy or the server, and the public ones "
    "that other hosts need. REQUESTS_CA_BUNDLE is not read."
)
_REACH_OMNI = (
    "Check that this machine can reach this address, and the proxy in HTTPS_PROXY or ALL_PROXY, if any. If Omni "
    "itself fails, run the check again in a minute."
)


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
    """Test each service and each kind of connection in turn. Posts no message and submits no question."""
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
        for what, host in (("replies", "hooks"), ("files", "files")):
            yield await _reach(session, what, _beside(settings.slack_api_url, host))
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
        return [Finding(False, f"Slack does not answer ({_reason(error)})", _connect(error, _REACH_SLACK))]
    accepted = Finding(True, f"Slack bot token: workspace {identity.team_name}")
    if identity.organization is not None:
        what = f"Slack bot token: organization {identity.team_name}, {len(identity.teams)} workspaces"
        remedy = "In the organization's admin pages, add the app to its workspaces."
        accepted = Finding(bool(identity.teams), what, "" if identity.teams else remedy)
    return [accepted, *_scopes(identity, settings), await _cards(client)]


async def _cards(client: AsyncWebClient) -> Finding:
    """Let Slack judge the blocks of one card of each kind. A refusal is no failure: plainer blocks are sent then."""
    problems = []
    for status in _samples():
        try:
            problem = await blocks_problem(client, render_card(_CARD, status, _ASKED, _TENANT)[0].blocks)
        except SlackError as error:
            return Finding(True, f"Slack blocks: not judged ({error.code})")
        if problem is not None and status.job is not None:
            problems.append(f"{status.job.raw_state}: {problem}")
    if problems:
        remedy = f"The bot sends plainer blocks then. Report this: {'; '.join(problems)}"
        return Finding(True, "Slack blocks: not all cards are accepted", remedy)
    return Finding(True, "Slack blocks: every kind of card is accepted")


_TENANT = "https://omni.invalid"
_ASKED = datetime(2026, 1, 1, tzinfo=UTC)
_CARD = Card(
    id=CardId("00000000-0000-0000-0000-000000000000"),
    job=MISSING_JOB,
    channel=ChannelRef(TeamId("T0"), ChannelId("C0")),
    requester=UserId("U0"),
    followers=(UserId("U0"),),
    requested_at=_ASKED,
)


def _samples() -> Iterator[JobStatus]:
    """One status for each kind of card."""
    job = Job(
        MISSING_JOB,
        JobState.QUEUED,
        "QUEUED",
        "Why?",
        f"{_TENANT}/chat/{MISSING_JOB}",
        progress=Progress("Running a query", 1),
        answer="**Top products**\n\n| Region | Sales |\n| --- | ---: |\n| EMEA | 41 |",
        error=JobError("The query took too long.", "QUERY_TIMEOUT"),
        created_at=_ASKED,
        completed_at=_ASKED,
        cancelled_at=_ASKED,
    )
    for state in JobState:
        yield JobStatus(replace(job, state=state, raw_state=state.name), _ASKED)


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
        # Closed at once: as long as it is open, Slack may send requests here instead of to the running bot.
        await (await connect(client)).close()
    except TokenRefused as error:
        return Finding(False, f"Slack refuses SLACK_APP_TOKEN ({error.code})", _set("SLACK_APP_TOKEN"))
    except SlackError as error:
        remedy = (
            "Turn on Socket Mode in the Slack app's settings, and give the token the scope connections:write."
        )
        if isinstance(error, SlackUnreachable | OutcomeUnknown):
            remedy = _connect(error, _REACH_SLACK)
        return Finding(False, f"Socket Mode can't connect ({_reason(error)})", remedy)
    except (aiohttp.ClientError, OSError) as error:
        return Finding(False, f"Socket Mode can't connect: {_reason(error)}", _connect(error, _REACH_SLACK))
    return Finding(True, "Slack app token: Socket Mode connects")


async def _reach(session: aiohttp.ClientSession, what: str, url: str) -> Finding:
    """Test that a host answers at all. Any HTTP response will do, also a redirect."""
    host = urlsplit(url).netloc
    try:
        async with session.get(url):
            pass
    except aiohttp.TooManyRedirects:
        pass
    except (aiohttp.ClientError, OSError) as error:
        reach = _connect(error, _REACH_SLACK.replace("slack.com", host))
        remedy = f"Without it, {what} don't reach Slack. {reach}"
        return Finding(False, f"{host} can't be reached: {_reason(error)}", remedy)
    return Finding(True, f"Slack {what}: {host} can be reached")


def _beside(api_url: str, name: str) -> str:
    """Return the address of Slack's host of that name; Slack's simulator serves everything from one."""
    parts = urlsplit(api_url)
    host = (parts.hostname or "").removeprefix("www.")
    return f"https://{name}.{host}/" if host.endswith(".com") else f"{parts.scheme}://{parts.netloc}/"


def _reason(error: Exception) -> str:
    """Return the error, and what kept a connection from being made."""
    cause = error.__cause__
    if isinstance(error, SlackError | OmniError) and isinstance(
        cause, aiohttp.ClientConnectorError | httpx.TransportError
    ):
        return f"{error}: {cause}"
    return str(error) or type(error).__name__


def _connect(error: Exception, otherwise: str) -> str:
    """Return the remedy for a connection that was not made."""
    return _TRUST if "CERTIFICATE_VERIFY_FAILED" in _reason(error) else otherwise


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
            what = f"Omni does not answer at {account.base_url} ({_reason(error)})"
            return [Finding(False, what, _remedy(error))]
        accepted = Finding(True, f"Omni: {account.base_url} accepts the key")
        findings = [accepted, await _identity(omni, settings), *await _omni_users(omni, settings)]
        return [*findings, *await _chats(omni, account)]


async def _identity(omni: OmniClient, settings: Settings) -> Finding:
    """Say whose the key is, and test what it may do with the default model."""
    try:
        key = await omni.whoami(None)
    except OmniError as error:
        return Finding(True, f"Omni key: Omni does not say whose it is ({error})")
    kind = {"organization": "organization key", "user": "personal token"}.get(key.scope or "", "unknown kind")
    what = f"Omni key: {kind}, role {key.role}"
    lends = "ASK_AS=key: every question runs with the permissions of this key, whoever asks it."
    remedy = lends if settings.ask_as == "key" else ""
    if (model := settings.omni_model_id) is None:
        return Finding(True, what, remedy)
    try:
        permissions = (await omni.whoami(model)).permissions.get(model, frozenset())
    except JobNotFound:
        return Finding(False, f"Omni has no model {model}, or the key may not see it", _set("OMNI_MODEL_ID"))
    except OmniError as error:
        return Finding(True, f"{what}; no answer about OMNI_MODEL_ID ({error})", remedy)
    if settings.ask_as == "key" and permissions and "USE_AI" not in permissions:
        what = f"{what}, may not use AI on the model of OMNI_MODEL_ID"
        return Finding(False, what, "In Omni, give the key's user a role with AI on that model. " + lends)
    return Finding(True, what, remedy)


async def _chats(omni: OmniClient, account: OmniAccount) -> list[Finding]:
    """Test whether the address of the newest chat can be linked, if the key can read one."""
    try:
        updated = await omni.recently_updated(position=QueuePosition(since=0.0))
        newest = max(updated, key=updated.__getitem__, default="")
        job = await omni.newest_job(Conversation(newest)) if newest else None
        chat_url = (await omni.status(job)).chat_url if job else None
    except OmniError:
        return []
    if job is None:
        return []
    if (link := chat_link(chat_url, account.base_url)) is None:
        what = f"Omni's address of a chat can't be linked: {(chat_url or 'none')[:100]!r}"
        return [Finding(False, what, "Cards have no button to Omni. Please report this line.")]
    return [Finding(True, f"Omni chats: linked at {urlsplit(link).netloc}")]


def _remedy(error: OmniError) -> str:
    """Return what to do if Omni did not answer as expected."""
    if isinstance(error, OmniBusy):
        return "Omni's limit for this key is used up. Run the check again in a minute."
    if isinstance(error.__cause__, httpx.HTTPError | TimeoutError) or str(error).startswith("HTTP 5"):
        return _connect(error, _REACH_OMNI)
    return _set("OMNI_BASE_URL")


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
        return [Finding(False, f"Omni can't look up users ({_reason(error)})", _remedy(error))]
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
