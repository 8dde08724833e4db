"""A workspace installs the app, is given its Omni, works, and removes the app; all while the bot runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from bot.demo.timeline import Complete, Script
from bot.oauth import INSTALL_PATH, REDIRECT_PATH
from tests.end_to_end.world import World, a_free_port
from tests.installed import NEW_KEY

LONG = Script(0.0, ((60.0, "Thinking", 1),))
QUICK = Script(0.0, ((0.2, "Thinking", 1),), end=Complete("Widgets sell best."))


class Company:
    """A workspace whose people know where the app is installed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.slack = world.slack
        self.own = f"http://127.0.0.1:{a_free_port()}"
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
        """What the browser shows in the end."""
        jar = aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=[self.own])
        async with (
            aiohttp.ClientSession(cookie_jar=jar) as browser,
            browser.get(self.own + INSTALL_PATH) as page,
        ):
            assert page.status == 200
            return await page.text()


@pytest.fixture
def company(world: World) -> Company:
    return Company(world)


async def test_from_the_installation_to_the_removal_and_back(
    company: Company, capsys: pytest.CaptureFixture[str]
) -> None:
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

    assert early.payload is None and again.payload is None, "nobody answers where the app is not installed"


async def test_one_without_an_omni_is_told_what_is_missing_and_sees_nobody_elses(company: Company) -> None:
    slack, omni, world = company.slack, company.world.omni, company.world
    async with company.bot(allowed_teams="T0SOMEBODY"):
        page = await company.install()
        acked = await slack.command(omni.add(QUICK), user=world.ada, channel=world.channel)

    assert f"python -m bot workspace add {slack.team}" in page
    assert "has no Omni yet" in str(acked.payload)
    assert omni.requests == []
    assert slack.messages(world.channel) == []


async def _said(capsys: pytest.CaptureFixture[str], line: str) -> None:
    """Wait until the bot has logged it."""
    said = ""
    async with asyncio.timeout(15.0):
        while line not in said:
            said += capsys.readouterr().out
            await asyncio.sleep(0.05)
