"""A workspace installs the app, gets its Omni, works, and removes the app while the bot runs."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.records import HOME_TEAM, ORGANIZATION, SECOND_TEAM
from bot.demo.slack.simulator import SimulatedSlack
from bot.handlers.commands import FOLLOW_MESSAGE
from bot.handlers.modals import ASK_ANYWHERE
from bot.rendering.ask_replies import COMMAND as ASK
from bot.slack.dispatch import NOT_WORKING
from bot.workspaces.oauth import INSTALL_PATH, REDIRECT_PATH
from tests.end_to_end.world import World, a_free_port
from tests.support.installed import NEW_KEY, OLD_KEY
from tests.support.postgres import database

LONG = Script(0.0, ((60.0, "Thinking", 1),))
QUICK = Script(0.0, ((0.2, "Thinking", 1),), end=Complete("Widgets sell best."))


class Company:
    """A workspace whose people know where the app is installed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.slack = world.slack
        # In HTTP mode one port serves both Slack and browsers.
        port = urlsplit(self.slack.request_url.url).port or a_free_port()
        self.own = f"http://127.0.0.1:{port}"
        self.slack.oauth.app.redirect_urls.add(self.own + REDIRECT_PATH)

    def settings(self, **more: str | None) -> dict[str, str | None]:
        app = self.slack.oauth.app
        return {
            "slack_bot_token": None,
            "slack_client_id": app.client_id,
            "slack_client_secret": app.client_secret,
            "encryption_key": NEW_KEY,
            "public_url": self.own,
            "port": self.own.rpartition(":")[2],
            "allowed_teams": self.slack.team,
            **more,
        }

    @asynccontextmanager
    async def bot(self, **more: str | None) -> AsyncIterator[None]:
        async with self.world.bot(**self.settings(**more)):
            yield

    async def install(self) -> str:
        """The last page in the browser."""
        jar = aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=[self.own])
        async with (
            aiohttp.ClientSession(cookie_jar=jar) as browser,
            browser.get(self.own + INSTALL_PATH) as page,
        ):
            assert page.status == 200
            return await page.text()

    def tokens(self) -> int:
        """How many bot tokens the database holds."""
        with sqlite3.connect(self.world.database_url.removeprefix("sqlite:///")) as database:
            counts = [
                database.execute(f"SELECT count(*) FROM {table} WHERE bot_token IS NOT NULL").fetchone()[0]
                for table in ("slack_bots", "slack_installations")
            ]
        return sum(counts)

    async def no_tokens(self) -> None:
        """Wait until the database holds none."""
        async with asyncio.timeout(15.0):
            while self.tokens():
                await asyncio.sleep(0.05)


@pytest.fixture
def company(world: World) -> Company:
    return Company(world)


async def test_install_remove_and_reinstall(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    slack, omni, world = company.slack, company.world.omni, company.world
    async with company.bot():
        early = await slack.command("", user=world.ada, channel=world.channel)
        assert "Installed in Omni demo" in await company.install()
        job = omni.add(LONG)
        await world.type(job)
        await world.card("Thinking")
        await slack.uninstall()
        await _said(capsys, "workspace closed")
        asked = len(omni.requests)
        again = await slack.command(job, user=world.ada, channel=world.channel)
        assert len(omni.requests) == asked, "nobody follows any more"
        assert "/omni-job" in await company.install()
        quick = omni.add(QUICK)
        await slack.command(quick, user=world.ada, channel=world.channel)
        await slack.until(lambda: any("Widgets" in m.text for m in slack.messages(world.channel)))

    assert early.payload == again.payload == {"text": NOT_WORKING}


@pytest.mark.both_modes
async def test_workspace_without_omni_gets_only_a_notice(company: Company) -> None:
    slack, omni, world = company.slack, company.world.omni, company.world
    async with company.bot(allowed_teams="T0SOMEBODY"):
        page = await company.install()
        acked = await slack.command(omni.add(QUICK), user=world.ada, channel=world.channel)

    assert f"python -m bot workspace add {slack.team}" in page
    assert "connected to Omni yet" in str(acked.payload)
    assert omni.requests == []
    assert slack.messages(world.channel) == []


WITHOUT_OMNI = {"allowed_teams": "T0SOMEBODY"}


@pytest.mark.both_modes
@pytest.mark.parametrize("event", ["app_uninstalled", "tokens_revoked"])
async def test_removal_deletes_token_without_omni(company: Company, event: str) -> None:
    async with company.bot(**WITHOUT_OMNI):
        await company.install()
        assert company.tokens() > 0
        await company.slack.uninstall(event)
        await company.no_tokens()


@pytest.mark.both_modes
async def test_uninstalling_deletes_undecryptable_token(company: Company) -> None:
    async with company.bot():
        await company.install()
    async with company.bot(encryption_key=OLD_KEY):
        await company.slack.uninstall()
        await company.no_tokens()


@pytest.mark.both_modes
async def test_everything_is_acknowledged_without_omni(company: Company) -> None:
    slack, world = company.slack, company.world
    async with company.bot(**WITHOUT_OMNI):
        await company.install()
        message = await slack.say(
            "550e8400-e29b-41d4-a716-446655440000", user=world.ada, channel=world.channel
        )
        asked = await slack.command("Top products?", user=world.ada, channel=world.channel, command=ASK)
        chosen = await slack.shortcut(ASK_ANYWHERE, user=world.ada)
        followed = await slack.message_shortcut(
            FOLLOW_MESSAGE, user=world.ada, channel=world.channel, ts=message.ts
        )
        opened = await slack.open_home(world.ada)
        told = await world.reply_to(world.ada, "connected to Omni yet")

    assert "connected to Omni yet" in str(asked.payload)
    assert (chosen.acked, followed.acked, opened.acked) == (True, True, True)
    assert slack.team in told


async def _said(capsys: pytest.CaptureFixture[str], line: str, times: int = 1) -> None:
    """Wait until the bot has logged it so many times."""
    said = ""
    async with asyncio.timeout(15.0):
        while said.count(line) < times:
            said += capsys.readouterr().out
            await asyncio.sleep(0.05)


async def test_installation_for_an_organization_serves_its_workspaces(tmp_path: Path) -> None:
    async with SimulatedSlack(organization=ORGANIZATION) as slack, SimulatedOmni() as omni:
        company = Company(World(slack, omni, tmp_path))
        world, berlin = company.world, slack.workspace.channel("berlin").id
        job = omni.add(LONG)
        async with company.bot(allowed_teams=ORGANIZATION):
            assert "Installed in" in await company.install()
            await world.type(job)
            await world.card("Thinking")
            await world.type(job, channel=berlin)
            await world.card("Thinking", channel=berlin)
            await slack.uninstall("tokens_revoked")
            await company.no_tokens()

    rows = sqlite3.connect(tmp_path / "follows.sqlite3").execute("SELECT team, channel FROM watches")
    assert set(rows) == {(HOME_TEAM, world.channel), (SECOND_TEAM, berlin)}


async def test_removal_from_an_organization_stops_all_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with database() as url:
        async with SimulatedSlack(organization=ORGANIZATION) as slack, SimulatedOmni() as omni:
            company = Company(World(slack, omni, tmp_path, url))
            async with company.bot(allowed_teams=ORGANIZATION):
                await company.install()
                await _said(capsys, "workspace opened", 2)
                async with company.bot(allowed_teams=ORGANIZATION, port=str(a_free_port())):
                    await _said(capsys, "workspace opened", 2)
                    await slack.uninstall("app_uninstalled")
                    await _said(capsys, "workspace closed", 4)


async def test_organization_without_omni_gets_only_a_notice(tmp_path: Path) -> None:
    async with SimulatedSlack(organization=ORGANIZATION) as slack, SimulatedOmni() as omni:
        company = Company(World(slack, omni, tmp_path))
        async with company.bot(allowed_teams="T0SOMEBODY"):
            assert f"python -m bot workspace add {ORGANIZATION}" in await company.install()
            acked = await slack.command(omni.add(QUICK), user="ada", channel="berlin")

    assert "connected to Omni yet" in str(acked.payload) and omni.requests == []
