"""`python -m bot check`: one line per service, with a remedy for each problem."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from bot.cli.check import Finding, _beside, check
from bot.demo.faults import HTML_500, RESET_BEFORE, Fault
from bot.demo.omni.organization import ADA, KEY_OWNER, MODEL
from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Script
from bot.demo.slack.block_kit import messages
from bot.demo.slack.block_kit.messages import Refusal
from bot.demo.slack.simulator import SimulatedSlack, too_many_requests
from bot.omni.client import MISSING_JOB
from bot.settings import HINTS, Settings
from bot.storage.database import Database
from tests.support import proxies
from tests.support.installed import NEW_KEY

UNKNOWN = "11111111-2222-3333-4444-555555555555"
DATABASE_REMEDY = (
    "Check that the folder exists and is writable, or that the server is up. "
    f"Or: Set DATABASE_URL to {HINTS['DATABASE_URL']}."
)
REACH_SLACK = (
    "Check that this machine can reach slack.com, and the proxy in HTTPS_PROXY or ALL_PROXY, if any."
)


class World:
    """Simulated Slack and Omni, and the findings about them."""

    def __init__(self, slack: SimulatedSlack, omni: SimulatedOmni, folder: Path) -> None:
        self.slack = slack
        self.omni = omni
        self.database_url = f"sqlite+aiosqlite:///{folder / 'bot.sqlite3'}"

    @property
    def host(self) -> str:
        """Slack's simulator serves all its hosts at one address."""
        return str(make_url(self.slack.api_url).host) + f":{make_url(self.slack.api_url).port}"

    async def findings(self, **changed: Any) -> list[Finding]:
        values: dict[str, Any] = {
            "slack_bot_token": self.slack.bot_token,
            "slack_app_token": self.slack.app_token,
            "slack_api_url": self.slack.api_url,
            "omni_base_url": self.omni.base_url,
            "omni_api_token": self.omni.api_key,
            "database_url": self.database_url,
        }
        return [finding async for finding in check(Settings.model_validate(values | changed))]

    async def bad(self, **changed: Any) -> Finding:
        """Return the only bad finding."""
        (bad,) = [finding for finding in await self.findings(**changed) if not finding.good]
        return bad


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with SimulatedSlack() as slack, SimulatedOmni() as omni:
        yield World(slack, omni, tmp_path)


def remedy(name: str) -> str:
    return f"Set {name} to {HINTS[name]}."


async def test_check_passes_line_by_line(world: World) -> None:
    assert [str(finding) for finding in await world.findings()] == [
        "ok    Slack bot token: workspace Omni demo",
        "ok    Slack scopes: channels:read, chat:write, commands, groups:read, im:write, mpim:read, users:read",
        "ok    Slack blocks: every kind of card is accepted",
        "ok    Slack app token: Socket Mode connects",
        f"ok    Slack replies: {world.host} can be reached",
        f"ok    Slack files: {world.host} can be reached",
        f"ok    Omni: {world.omni.base_url} accepts the key",
        "ok    Omni key: organization key, role ORG_ADMIN",
        "ok    Omni users: lookup works",
        "ok    Database: opens",
    ]


async def test_check_changes_nothing(world: World) -> None:
    await world.findings()
    methods = {request.method for request in world.slack.requests}
    assert methods == {"auth.test", "apps.connections.open", "blocks.validate"}
    asked = [(request.method, request.path) for request in world.omni.requests]
    job = ("GET", f"/api/v1/ai/jobs/{MISSING_JOB}")
    others = ("/api/v1/whoami", "/api/scim/v2/Users", "/api/v1/ai/conversations")
    assert asked == [job, *[("GET", path) for path in others]]
    assert world.slack.socket_mode.connections == 0
    assert not [channel for channel in world.slack.workspace.channels.values() if channel.messages]


@pytest.mark.parametrize(
    "url, is_good", [("https://acme.eu.omni.co/chat/1", True), ("ftp://x/chat/1", False)]
)
async def test_newest_chat_must_be_linkable(world: World, url: str, is_good: bool) -> None:
    job = world.omni.add(Script(), age_seconds=60.0)
    world.omni.set(job, omniChatUrl=url)
    (chats,) = [each for each in await world.findings() if "chats" in each.what or "a chat" in each.what]
    assert chats.good is is_good
    assert ("acme.eu.omni.co" if is_good else "ftp://x/chat/1") in chats.what


@pytest.mark.parametrize("token", ["xoxb-wrong", None])
async def test_refused_bot_token_has_a_remedy(world: World, token: str | None) -> None:
    if token is None:
        world.slack.revoke_token()
    bad = await world.bad(slack_bot_token=token or world.slack.bot_token)
    code = "token_revoked" if token is None else "invalid_auth"
    assert (bad.what, bad.remedy) == (f"Slack refuses SLACK_BOT_TOKEN ({code})", remedy("SLACK_BOT_TOKEN"))


async def test_refused_app_token_has_a_remedy(world: World) -> None:
    bad = await world.bad(slack_app_token="xapp-wrong")
    assert (bad.what, bad.remedy) == (
        "Slack refuses SLACK_APP_TOKEN (invalid_auth)",
        remedy("SLACK_APP_TOKEN"),
    )


@pytest.mark.parametrize(
    "fault, code",
    [
        (HTML_500, "http_500"),
        (too_many_requests(30), "ratelimited"),
        (Fault("status", 200, "<html>A proxy</html>", "text/html"), "http_200"),
        (RESET_BEFORE, "ServerDisconnectedError"),
    ],
    ids=["500", "429", "proxy", "reset"],
)
async def test_unavailable_slack_is_reported(world: World, fault: Fault, code: str) -> None:
    world.slack.faults.plan(fault, on="auth.test")
    bad = await world.bad()
    assert (bad.what, bad.remedy) == (f"Slack does not answer ({code})", REACH_SLACK)


async def test_unreachable_slack_fails_both_tokens(world: World) -> None:
    await world.slack.close()
    bad = [finding.what for finding in await world.findings() if not finding.good]
    assert [what.split(" (")[0].split(": ")[0] for what in bad] == [
        "Slack does not answer",
        "Socket Mode can't connect",
        f"{world.host} can't be reached",
        f"{world.host} can't be reached",
    ]
    assert all("Connect call failed" in what for what in bad)


async def test_socket_mode_that_is_off_is_told(world: World) -> None:
    body = '{"ok": false, "error": "socket_mode_not_enabled"}'
    world.slack.faults.plan(Fault("status", 200, body), on="apps.connections.open")
    bad = await world.bad()
    assert bad.what == "Socket Mode can't connect (socket_mode_not_enabled)"
    assert "Turn on Socket Mode" in bad.remedy and "connections:write" in bad.remedy


async def test_every_missing_scope_is_named(world: World) -> None:
    world.slack.granted_scopes.difference_update({"commands", "im:write"})
    bad = await world.bad()
    assert bad.what == "Slack scopes missing: commands, im:write"
    assert "manifest.yml" in bad.remedy and "install" in bad.remedy


@pytest.mark.parametrize(
    "scope, off",
    [
        ("im:history", "can't check whether a message arrived"),
        ("files:write", "no charts and no CSV files"),
        ("app_mentions:read", "receives no mentions"),
        ("users:read.email", "No user can ask questions (ASK_AS=asker)"),
    ],
)
async def test_missing_optional_scope_is_no_failure(world: World, scope: str, off: str) -> None:
    world.slack.granted_scopes.discard(scope)
    findings = await world.findings()
    assert all(finding.good for finding in findings)
    (without,) = [finding for finding in findings if "not granted" in finding.what]
    assert without.what == f"Optional Slack scopes not granted: {scope}" and off in without.remedy


@pytest.mark.parametrize("scope", ["channels:read", "groups:read", "mpim:read"])
async def test_scope_of_shared_channel_guard_is_required(world: World, scope: str) -> None:
    world.slack.granted_scopes.discard(scope)
    bad = await world.bad()
    assert bad.what == f"Slack scopes missing: {scope}"
    assert "sends cards to direct messages" in bad.remedy and "ALLOW_SHARED_CHANNELS" in bad.remedy
    assert all(finding.good for finding in await world.findings(allow_shared_channels=True))


async def test_unneeded_scope_is_not_mentioned(world: World) -> None:
    world.slack.granted_scopes.difference_update({"users:read.email", "channels:read"})
    findings = await world.findings(ask_as="key", allow_shared_channels=True)
    assert not [finding for finding in findings if "not granted" in finding.what]
    (without,) = [
        finding
        for finding in await world.findings(ask_as="key", access="owner", allow_shared_channels=True)
        if "not granted" in finding.what
    ]
    assert "Only admins can see jobs" in without.remedy and "ASK_AS" not in without.remedy


async def test_personal_token_has_a_remedy(world: World) -> None:
    token = world.omni.organization.personal_token(next(iter(world.omni.organization.members)))
    bad = await world.bad(omni_api_token=token)
    assert "does not let this key look up users" in bad.what
    assert "organization key" in bad.remedy and "ASK_AS to key" in bad.remedy
    assert all(finding.good for finding in await world.findings(omni_api_token=token, ask_as="key"))


async def test_refused_omni_key_has_a_remedy(world: World) -> None:
    bad = await world.bad(omni_api_token="wrong")
    assert (bad.what, bad.remedy) == ("Omni refuses OMNI_API_TOKEN (401)", remedy("OMNI_API_TOKEN"))


async def test_unreachable_omni_is_reported_with_address(world: World) -> None:
    await world.omni.close()
    bad = await world.bad()
    reason = "ConnectError: All connection attempts failed"
    assert bad.what == f"Omni does not answer at {world.omni.base_url} ({reason})"
    assert "HTTPS_PROXY" in bad.remedy and "OMNI_BASE_URL" not in bad.remedy


async def test_untrusted_certificate_has_a_remedy(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    _, server_tls = proxies.certificate(tmp_path, "omni.test")
    server = await asyncio.start_server(
        lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=server_tls
    )
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        findings = await world.findings(omni_base_url=url, slack_api_url=f"{url}/api/")
    bad = [finding for finding in findings if not finding.good]
    assert len(bad) == 5
    assert all("certificate verify failed" in finding.what for finding in bad)
    assert all("Set SSL_CERT_FILE to a file" in finding.remedy for finding in bad)


async def test_silent_socket_mode_is_not_blamed_on_settings(world: World) -> None:
    world.slack.faults.plan(RESET_BEFORE, on="apps.connections.open")
    bad = await world.bad()
    assert bad.what.startswith("Socket Mode can't connect") and bad.remedy == REACH_SLACK


@pytest.mark.parametrize(
    "fault, reason",
    [
        (Fault("status", 200, "<html>Log in</html>", "text/html"), "not JSON: JSONDecodeError"),
        (Fault("status", 302, headers=(("Location", "https://login.example/"),)), "HTTP 302"),
        (
            Fault("status", 404, "<html>No such page</html>", "text/html"),
            "HTTP 404 in a form that Omni does not use; did a gateway answer?",
        ),
    ],
    ids=["a log-in page", "a redirect", "another site"],
)
async def test_foreign_site_is_reported_with_address(world: World, fault: Fault, reason: str) -> None:
    world.omni.faults.plan(fault)
    bad = await world.bad()
    assert bad.what == f"Omni does not answer at {world.omni.base_url} ({reason})"
    assert bad.remedy == remedy("OMNI_BASE_URL")


async def test_failing_omni_is_not_blamed_on_address(world: World) -> None:
    world.omni.faults.plan(HTML_500)
    bad = await world.bad()
    assert bad.what == f"Omni does not answer at {world.omni.base_url} (HTTP 500)"
    assert "in a minute" in bad.remedy and "OMNI_BASE_URL" not in bad.remedy


async def test_omni_without_user_directory_blames_address(world: World) -> None:
    world.omni.faults.plan(Fault("status", 404, "{}"), on="GET /api/scim/v2/Users", times=None)
    world.omni.faults.plan(Fault("status", 404, "{}"), on="GET /api/scim/v2/users", times=None)
    bad = await world.bad()
    assert (bad.what, bad.remedy) == ("Omni can't look up users (HTTP 404)", remedy("OMNI_BASE_URL"))


# Whose the key is


async def whose(world: World, **changed: Any) -> Finding:
    (found,) = [
        each for each in await world.findings(**changed) if "Omni key" in each.what or "model" in each.what
    ]
    return found


async def test_key_that_lends_its_rights_is_told(world: World) -> None:
    found = await whose(world, ask_as="key", omni_model_id=MODEL)
    assert (found.good, found.what) == (True, "Omni key: organization key, role ORG_ADMIN")
    assert (
        found.remedy == "ASK_AS=key: every question runs with the permissions of this key, whoever asks it."
    )
    token = world.omni.organization.personal_token(ADA)
    assert (
        await whose(world, ask_as="key", omni_api_token=token)
    ).what == "Omni key: personal token, role MEMBER"


async def test_key_without_ai_is_a_failure_where_it_asks(world: World) -> None:
    world.omni.organization.change_member(KEY_OWNER, may_use_ai=False)
    found = await whose(world, ask_as="key", omni_model_id=MODEL)
    assert not found.good and "may not use AI on the model of OMNI_MODEL_ID" in found.what
    assert (await whose(world, omni_model_id=MODEL)).good


async def test_unknown_model_is_a_failure(world: World) -> None:
    found = await whose(world, omni_model_id=UNKNOWN)
    assert (found.good, found.remedy) == (False, remedy("OMNI_MODEL_ID"))
    assert found.what == f"Omni has no model {UNKNOWN}, or the key may not see it"


async def test_omni_without_whoami_is_no_failure(world: World) -> None:
    world.omni.faults.plan(Fault("status", 404, "{}"), on="GET /api/v1/whoami", times=None)
    found = await whose(world, omni_model_id=MODEL)
    assert (found.good, found.what) == (True, "Omni key: Omni does not say whose it is (404)")


# Slack's other hosts and blocks


async def test_refused_card_is_reported_and_no_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "judge", lambda *_: Refusal("invalid_blocks", ("no such block",)))
    (found,) = [each for each in await world.findings() if "blocks" in each.what]
    assert (found.good, found.what) == (True, "Slack blocks: not all cards are accepted")
    assert "QUEUED: {'pointer': '/'" in found.remedy and "no such block" in found.remedy


async def test_unjudged_cards_are_no_failure(world: World) -> None:
    world.slack.faults.plan(HTML_500, on="blocks.validate")
    (found,) = [each for each in await world.findings() if "blocks" in each.what]
    assert (found.good, found.what) == (True, "Slack blocks: not judged (http_500)")


@pytest.mark.parametrize(
    "api_url, url",
    [
        ("https://slack.com/api/", "https://hooks.slack.com/"),
        ("https://www.slack.com/api/", "https://hooks.slack.com/"),
        ("https://slack-gov.com/api/", "https://hooks.slack-gov.com/"),
        ("http://127.0.0.1:8000/api/", "http://127.0.0.1:8000/"),
    ],
)
def test_other_hosts_follow_from_api_url(api_url: str, url: str) -> None:
    assert _beside(api_url, "hooks") == url


async def test_busy_omni_accepts_the_key(world: World) -> None:
    world.omni.faults.plan(Fault("status", 429, "{}"))
    assert all(finding.good for finding in await world.findings())


async def test_database_in_use_is_no_failure(world: World) -> None:
    database = await Database.open(world.database_url)
    findings = await world.findings()
    await database.close()
    assert str(findings[-1]) == "ok    Database: in use by the running bot"


async def test_unusable_database_has_a_remedy(world: World, tmp_path: Path) -> None:
    bad = await world.bad(database_url=f"sqlite+aiosqlite:///{tmp_path / 'missing' / 'bot.sqlite3'}")
    assert bad.what == f"Database can't be opened: No such file or directory: {tmp_path / 'missing'}"
    assert bad.remedy == DATABASE_REMEDY


async def test_postgresql_in_use_passes(world: World, postgresql: str) -> None:
    running = await Database.open(postgresql)
    findings = await world.findings(database_url=postgresql)
    await running.close()
    assert str(findings[-1]) == "ok    Database: opens"
    assert all(finding.good for finding in findings)


async def test_unreachable_postgresql_hides_password(world: World, postgresql: str) -> None:
    address = make_url(postgresql).set(port=1, password="s3cret").render_as_string(hide_password=False)
    bad = await world.bad(database_url=address)
    assert bad.what.startswith("Database can't be opened: ") and "Connection refused" in bad.what
    assert bad.remedy == DATABASE_REMEDY
    assert "s3cret" not in f"{bad} {bad!r}"


async def test_the_check_leaves_the_database_free(world: World) -> None:
    await world.findings()
    await (await Database.open(world.database_url)).close()


async def test_all_failures_are_reported(world: World, tmp_path: Path) -> None:
    await world.slack.close()
    await world.omni.close()
    findings = await world.findings(database_url=f"sqlite+aiosqlite:///{tmp_path / 'missing' / 'x'}")
    assert [finding.good for finding in findings] == [False] * 6
    assert all(finding.remedy for finding in findings)


async def test_no_line_holds_a_token(world: World) -> None:
    secrets = ("xoxb-wrong", "xapp-wrong", "omni-wrong")
    findings = await world.findings(
        slack_bot_token=secrets[0], slack_app_token=secrets[1], omni_api_token=secrets[2]
    )
    shown = "\n".join(map(str, findings))
    assert shown.count("FAIL") == 3
    assert not [secret for secret in secrets if secret in shown]


async def test_http_mode_shows_request_url(world: World) -> None:
    findings = await world.findings(slack_app_token=None, slack_signing_secret="0" * 32, port=8080)
    assert all(finding.good for finding in findings)
    (where,) = [finding for finding in findings if "HTTP mode" in finding.what]
    assert where.what == "HTTP mode: Slack sends requests to /slack/events on 127.0.0.1:8080"
    assert "SLACK_SIGNING_SECRET" in where.remedy
    assert not [request for request in world.slack.requests if request.method == "apps.connections.open"]


async def test_oauth_shows_install_url(world: World) -> None:
    several = {
        "slack_bot_token": None,
        "slack_client_id": "111.222",
        "slack_client_secret": "0" * 32,
        "encryption_key": NEW_KEY,
        "public_url": "https://jobs.example.com",
        "port": 8080,
    }
    (first, *others) = await world.findings(**several)
    assert first.good and first.what == "Workspaces install the app at https://jobs.example.com/slack/install"
    assert "https://jobs.example.com/slack/oauth_redirect" in first.remedy
    assert any("accepts the key" in finding.what for finding in others)
    without = await world.findings(**several, omni_base_url=None, omni_api_token=None)
    assert all(finding.good and "Omni" not in finding.what for finding in without)
    assert [request.method for request in world.slack.requests] == ["apps.connections.open"] * 2
