"""Installing by OAuth in a browser: the pages, between the browser and the simulated Slack, over real sockets."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest

from bot.demo.faults import HTML_500, RESET_BEFORE, Fault
from bot.demo.slack.simulator import HISTORY_SCOPES, SCOPES, SimulatedSlack
from bot.domain.cards import TeamId
from bot.encryption import EncryptionKeys
from bot.server.http import serve
from bot.slack.messages import slack_client, slack_session
from bot.storage.database import Database
from bot.storage.installations import InstallationStore, StateStore
from bot.storage.transactions import Transactions
from bot.workspaces.installations import Installations
from bot.workspaces.oauth import INSTALL_PATH, REDIRECT_PATH, OAuth, failure, flow, success
from tests.end_to_end.world import a_free_port
from tests.support.installed import NEW_KEY, SHARED

COOKIE = "slack-app-oauth-state"


class Clock:
    """Slack's."""

    def __init__(self) -> None:
        self.now = 1_777_896_000.0

    def __call__(self) -> float:
        return self.now


class Answer:
    """What the browser was answered."""

    def __init__(self, status: int, location: str, text: str, headers: dict[str, str]) -> None:
        self.status = status
        self.location = location
        self.text = text
        self.headers = headers


class Browser:
    """Follows no redirection by itself, and has the cookies that it was given."""

    def __init__(self, port: int, slack: SimulatedSlack, known: Installations, pages: OAuth) -> None:
        self.own = f"http://127.0.0.1:{port}"
        self.slack = slack
        self.known = known
        self.pages = pages
        self.told: list[TeamId] = []
        self.cookies: dict[str, str] = {}

    async def get(self, url: str) -> Answer:
        jar = aiohttp.DummyCookieJar()
        async with (
            aiohttp.ClientSession(cookie_jar=jar, cookies=None) as client,
            client.get(url, allow_redirects=False, headers=self._cookie()) as answer,
        ):
            for name, cookie in answer.cookies.items():
                assert cookie["secure"] and cookie["httponly"]
                self.cookies[name] = cookie.value
            headers = dict(answer.headers)
            return Answer(answer.status, headers.get("Location", ""), await answer.text(), headers)

    def _cookie(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    async def begin(self) -> str:
        """The address of Slack's page."""
        answer = await self.get(self.own + INSTALL_PATH)
        assert answer.status == 302
        return answer.location

    def allowed(self, page: str, *, org_wide: bool = False) -> str:
        """A person presses *Allow* there; where the browser is sent."""
        query = {name: value[0] for name, value in parse_qs(urlsplit(page).query).items()}
        return self.slack.oauth.allow(query, "U0ADABYRON", org_wide=org_wide)

    async def token(self, team: str | None = None) -> str | None:
        return await self.known.bot_token(TeamId(team or self.slack.team))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def browser(tmp_path: Path, clock: Clock) -> AsyncIterator[Browser]:
    port = a_free_port()
    pages = OAuth()
    database = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'bot.sqlite3'}")
    transactions = Transactions(database)
    async with SimulatedSlack(now=clock) as slack, slack_session() as session:
        app = slack.oauth.app
        app.redirect_urls.add(f"http://127.0.0.1:{port}{REDIRECT_PATH}")
        keys = EncryptionKeys(NEW_KEY)
        allowed = {TeamId(slack.team)}
        known = Installations(transactions, app.client_id, keys, shared=SHARED, shared_with=allowed)
        browser = Browser(port, slack, known, pages)

        async def installed(team: TeamId) -> None:
            browser.told.append(team)

        pages.open(
            flow(
                slack_client("", slack.api_url, session),
                InstallationStore(transactions, app.client_id, keys),
                StateStore(transactions),
                known.has_omni,
                installed,
                client_secret=app.client_secret,
                public_url=browser.own,
            )
        )
        async with serve("127.0.0.1", port, pages.routes()):
            yield browser
    await database.close()


async def test_who_allows_it_has_the_app_installed(browser: Browser) -> None:
    page = await browser.begin()
    asked = {name: value[0] for name, value in parse_qs(urlsplit(page).query).items()}
    answer = await browser.get((await browser.get(page)).location)

    assert page.startswith(f"{browser.slack.workspace.url}oauth/v2/authorize?")
    assert set(asked["scope"].split(",")) == SCOPES | HISTORY_SCOPES
    assert "user_scope" not in asked, "nothing is done in people's own names"
    assert answer.status == 200 and "Installed in Omni demo" in answer.text and "/omni-job" in answer.text
    assert browser.told == [browser.slack.team]
    assert str(await browser.token()).startswith("xoxb-")
    assert browser.cookies[COOKIE] == "deleted"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("team", "passed_on"),
    [("T0ACME", ["T0ACME"]), ("T0%0d%0aX:1", None), ("T0%26scope=admin", None), ("", None)],
)
async def test_team_is_passed_on_if_well_formed(
    browser: Browser, team: str, passed_on: list[str] | None
) -> None:
    page = await browser.get(f"{browser.own}{INSTALL_PATH}?team={team}")
    query = parse_qs(urlsplit(page.location).query)
    assert query.get("team") == passed_on
    assert "admin" not in query["scope"]


async def refused(browser: Browser, url: str, status: int, saying: str) -> Answer:
    """Fails unless the browser sees a page that says so, and nothing was installed."""
    answer = await browser.get(url)
    assert (answer.status, saying in answer.text) == (status, True), answer.text
    assert INSTALL_PATH in answer.text, "they can start again"
    assert browser.told == []
    assert await browser.token() is None
    return answer


async def test_unknown_oauth_state_is_refused(browser: Browser) -> None:
    back = browser.allowed(await browser.begin())
    forged = back.replace(back.split("state=")[1], "550e8400-e29b-41d4-a716-446655440000")
    await refused(browser, forged, 400, "Not started in this browser")
    browser.cookies[COOKIE] = "550e8400-e29b-41d4-a716-446655440000"
    await refused(browser, forged, 401, "has expired")


async def test_link_from_another_browser_is_refused(browser: Browser) -> None:
    back = browser.allowed(await browser.begin())
    browser.cookies.clear()
    await refused(browser, back, 400, "Not started in this browser")


async def test_a_link_installs_once(browser: Browser) -> None:
    back = browser.allowed(await browser.begin())
    cookies = dict(browser.cookies)
    assert (await browser.get(back)).status == 200
    first = await browser.token()
    browser.cookies = cookies
    again = await browser.get(back)
    assert (again.status, "has expired" in again.text) == (401, True)
    assert await browser.token() == first
    assert len(browser.told) == 1


async def test_declined_installation_has_a_page(browser: Browser) -> None:
    page = await browser.begin()
    query = {name: value[0] for name, value in parse_qs(urlsplit(page).query).items()}
    await refused(browser, browser.slack.oauth.decline(query), 200, "You declined")


async def test_a_code_that_has_expired_is_refused(browser: Browser, clock: Clock) -> None:
    back = browser.allowed(await browser.begin())
    clock.now += 601
    await refused(browser, back, 401, "did not accept the code")


async def test_unknown_code_is_refused(browser: Browser) -> None:
    back = browser.allowed(await browser.begin())
    state = parse_qs(urlsplit(back).query)["state"][0]
    other = f"{browser.own}{REDIRECT_PATH}?{urlencode({'code': 'made-up', 'state': state})}"
    await refused(browser, other, 401, "did not accept the code")


async def test_missing_code_is_refused(browser: Browser) -> None:
    back = browser.allowed(await browser.begin())
    state = parse_qs(urlsplit(back).query)["state"][0]
    await refused(browser, f"{browser.own}{REDIRECT_PATH}?state={state}", 400, "Slack sent no code")
    await refused(browser, browser.own + REDIRECT_PATH, 400, "Not started in this browser")


async def test_organization_wide_installation_is_stored_as_the_organizations(browser: Browser) -> None:
    answer = await browser.get(browser.allowed(await browser.begin(), org_wide=True))
    assert answer.status == 200 and "Installed in Acme" in answer.text
    assert await browser.token("E0ACME") is not None


@pytest.mark.parametrize("fault", [HTML_500, RESET_BEFORE], ids=["500", "cut off"])
async def test_silent_slack_has_a_page(browser: Browser, fault: Fault) -> None:
    back = browser.allowed(await browser.begin())
    browser.slack.faults.plan(fault, on="oauth.v2.access")
    answer = await browser.get(back)
    assert answer.status in (401, 502) and "Start again" in answer.text
    assert await browser.token() is None


async def test_pages_repeat_no_input(browser: Browser) -> None:
    hostile = urlencode({"error": "<script>alert(1)</script>", "state": '"><b>'})
    answer = await refused(browser, f"{browser.own}{REDIRECT_PATH}?{hostile}", 400, "Not installed")
    assert "script" not in answer.text and "<b>" not in answer.text


async def test_starting_bot_has_a_page(browser: Browser) -> None:
    browser.pages.close()
    for path in (INSTALL_PATH, REDIRECT_PATH):
        answer = await browser.get(browser.own + path)
        assert (answer.status, "is starting" in answer.text) == (503, True)


async def test_codes_and_secrets_are_not_logged(
    browser: Browser, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    back = browser.allowed(await browser.begin())
    code = parse_qs(urlsplit(back).query)["code"][0]
    browser.slack.oauth.app.client_secret = "another"
    await refused(browser, back, 401, "did not accept the code")
    said = caplog.text + "".join(capsys.readouterr())
    assert code not in said and browser.slack.oauth.app.client_secret not in said


def test_workspace_without_omni_gets_instructions() -> None:
    page = success(TeamId("T0NEW"), "<i>New</i>", has_omni=False)
    assert "python -m bot workspace add T0NEW" in page.text
    assert "&lt;i&gt;New&lt;/i&gt;" in page.html() and "<i>" not in page.html()


def test_unknown_reason_has_a_page() -> None:
    assert failure("team_not_allowed").title == "Not installed"
