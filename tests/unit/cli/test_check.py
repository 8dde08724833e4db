"""`python -m bot check`: one line per service, with a remedy for each problem."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from bot.cli.check import Finding, check
from bot.demo.faults import HTML_500, RESET_BEFORE, Fault
from bot.demo.omni.server import SimulatedOmni
from bot.demo.slack.simulator import SimulatedSlack, too_many_requests
from bot.omni.client import MISSING_JOB
from bot.settings import HINTS, Settings
from bot.storage.database import Database
from tests.support.installed import NEW_KEY

DATABASE_REMEDY = (
    "Check that the folder exists and is writable, or that the server is up. "
    f"Or: Set DATABASE_URL to {HINTS['DATABASE_URL']}."
)
REACH_SLACK = "Check that this machine can reach slack.com."


class World:
    """Simulated Slack and Omni, and the findings about them."""

    def __init__(self, slack: SimulatedSlack, omni: SimulatedOmni, folder: Path) -> None:
        self.slack = slack
        self.omni = omni
        self.database_url = f"sqlite+aiosqlite:///{folder / 'bot.sqlite3'}"

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
        "ok    Slack app token: Socket Mode connects",
        f"ok    Omni: {world.omni.base_url} accepts the key",
        "ok    Omni users: lookup works",
        "ok    Database: opens",
    ]


async def test_check_costs_two_omni_requests(world: World) -> None:
    await world.findings()
    assert [request.method for request in world.slack.requests] == ["auth.test", "apps.connections.open"]
    asked = [(request.method, request.path) for request in world.omni.requests]
    assert asked == [("GET", f"/api/v1/ai/jobs/{MISSING_JOB}"), ("GET", "/api/scim/v2/Users")]
    assert not [channel for channel in world.slack.workspace.channels.values() if channel.messages]


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
    assert bad == [
        "Slack does not answer (no_connection)",
        "Socket Mode can't connect (no_connection)",
    ]


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
    assert bad.what == f"Omni does not answer at {world.omni.base_url} (ConnectError)"
    assert bad.remedy == remedy("OMNI_BASE_URL")


@pytest.mark.parametrize(
    "fault, reason",
    [
        (HTML_500, "HTTP 500"),
        (Fault("status", 200, "<html>Log in</html>", "text/html"), "not JSON: JSONDecodeError"),
        (Fault("status", 302, headers=(("Location", "https://login.example/"),)), "HTTP 302"),
        (
            Fault("status", 404, "<html>No such page</html>", "text/html"),
            "HTTP 404 in a form that Omni does not use; did a gateway answer?",
        ),
    ],
    ids=["500", "a log-in page", "a redirect", "another site"],
)
async def test_foreign_site_is_reported_with_address(world: World, fault: Fault, reason: str) -> None:
    world.omni.faults.plan(fault)
    bad = await world.bad()
    assert bad.what == f"Omni does not answer at {world.omni.base_url} ({reason})"


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
    assert [finding.good for finding in findings] == [False] * 4
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
    assert [request.method for request in world.slack.requests] == ["auth.test"]


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
