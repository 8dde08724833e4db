"""Installation by OAuth: two pages on `PORT` in front of Bolt's flow. They never repeat input from the browser.

Source: docs.slack.dev/authentication/installing-with-oauth.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import urljoin

import aiohttp
import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.error import BoltError
from slack_bolt.oauth.async_callback_options import AsyncCallbackOptions, AsyncFailureArgs, AsyncSuccessArgs
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.oauth.installation_store import Installation
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import StoreUnavailable, TeamId
from bot.slack import OPTIONAL_SCOPES, QUIET, REQUIRED_SCOPES
from bot.storage import BEGUN_FOR_SECONDS, InstallationStore, StateStore

log = structlog.get_logger()

INSTALL_PATH = "/slack/install"
REDIRECT_PATH = "/slack/oauth_redirect"

_TEAM = re.compile("[TE][A-Z0-9]{1,31}")


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}}</style></head>
<body><h1>{title}</h1><p>{text}</p>{more}</body></html>
"""
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    # The address contains the OAuth code.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every page."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page with its HTTP status."""

    status: int
    title: str
    text: str
    may_try_again: bool = True

    def html(self) -> str:
        """Render the page."""
        more = f'<p><a href="{INSTALL_PATH}">Start again</a></p>' if self.may_try_again else ""
        return _PAGE.format(title=escape(self.title), text=escape(self.text), more=more)


_OTHER_BROWSER = Page(
    400,
    "Not started in this browser",
    "The installation was started in another browser, or cookies are off. Nothing was installed.",
)
_EXPIRED = Page(
    401,
    "This link has expired",
    "It was already used, or is older than 10 minutes. Nothing was installed.",
)
_BY_REASON = {
    "access_denied": Page(
        200, "Not installed", "You declined, so nothing was installed. You can start again at any time."
    ),
    "invalid_browser": _OTHER_BROWSER,
    "invalid_state": _EXPIRED,
    "invalid_code": Page(
        401,
        "Slack did not accept the code",
        "It was already used, or has expired. Nothing was installed.",
    ),
    "missing_code": Page(400, "Not installed", "Slack sent no code. Nothing was installed."),
}
_REFUSED = Page(400, "Not installed", "Slack refused the installation.")

STARTING = Page(503, "Starting", "The bot is starting. Try again in a minute.")
SLACK_SILENT = Page(502, "Slack did not answer", "Nothing was installed. Try again in a minute.")
NOT_STORED = Page(503, "Not installed", "The bot's database did not answer. Start again in a minute.")


def failure(reason: str) -> Page:
    """Return the page for a failed installation. `reason`: from Bolt or Slack."""
    return _BY_REASON.get(reason, _REFUSED)


def success(team: TeamId, team_name: str, *, has_omni: bool) -> Page:
    """Return the page for a successful installation."""
    title = f"Installed in {team_name}"
    if has_omni:
        text = "Open Slack, invite the app to a channel and type /omni-job or /omni-ask there."
        return Page(200, title, text, may_try_again=False)
    text = (
        "One step is missing: the workspace isn't connected to Omni yet. Ask the operator of the bot to run: "
        f"python -m bot workspace add {team}"
    )
    return Page(200, title, text, may_try_again=False)


class Flow(AsyncOAuthFlow):
    """Bolt's flow. An installation for a whole organization is stored as one whose team is the organization."""

    async def store_installation(self, request: AsyncBoltRequest, installation: Installation) -> None:
        """See the base class.

        Raises:
            BoltError: it is of no workspace, or has no bot.
            StoreUnavailable: the database is unavailable.
        """
        if installation.is_enterprise_install:
            installation.team_id = installation.enterprise_id
            installation.team_name = installation.enterprise_name
        if not installation.team_id or not installation.bot_token:
            raise BoltError("no team or no bot")
        await super().store_installation(request, installation)


class OAuth:
    """The two pages. They respond with 503 until `open`."""

    def __init__(self) -> None:
        self._flow: Flow | None = None

    def open(self, flow: Flow) -> None:
        """Start accepting installations."""
        self._flow = flow

    def close(self) -> None:
        """Stop accepting installations."""
        self._flow = None

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get(INSTALL_PATH, self._install), web.get(REDIRECT_PATH, self._redirect)]

    async def _install(self, request: web.Request) -> web.Response:
        if self._flow is None:
            return _response(STARTING)
        try:
            team = request.query.get("team", "")  # Bolt copies it into the address
            query = f"team={team}" if _TEAM.fullmatch(team) else ""
            answer = await self._flow.handle_installation(_bolt_request(request, query))
        except StoreUnavailable as error:
            log.error("installation not started", reason=str(error))
            return _response(NOT_STORED)
        response = await to_aiohttp_response(answer)
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _redirect(self, request: web.Request) -> web.Response:
        if self._flow is None:
            return _response(STARTING)
        try:
            answer = await self._flow.handle_callback(_bolt_request(request, request.query_string))
        except StoreUnavailable as error:
            log.error("installation not stored", reason=str(error))
            return _response(NOT_STORED)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("slack not reached", reason=type(error).__name__)
            return _response(SLACK_SILENT)
        return await to_aiohttp_response(answer)


def flow(
    client: AsyncWebClient,
    store: InstallationStore,
    states: StateStore,
    has_omni: Callable[[TeamId], Awaitable[bool]],
    installed: Callable[[TeamId], Awaitable[None]],
    *,
    client_secret: str,
    public_url: str,
) -> Flow:
    """Build the flow. `client`: the Web API without a token. `has_omni` may raise StoreUnavailable. `installed`: called
    after each stored installation."""

    async def succeed(args: AsyncSuccessArgs) -> BoltResponse:
        team = TeamId(str(args.installation.team_id))
        log.info("app installed", team=team)
        await installed(team)
        name = args.installation.team_name or str(team)
        return _answer(success(team, name, has_omni=await has_omni(team)), args)

    async def fail(args: AsyncFailureArgs) -> BoltResponse:
        page = failure(args.reason)
        log.warning("app not installed", page=page.title)
        return _answer(page, args)

    settings = AsyncOAuthSettings(
        client_id=store.client_id,
        client_secret=client_secret,
        scopes=sorted(REQUIRED_SCOPES | OPTIONAL_SCOPES),
        user_scopes=(),
        redirect_uri=f"{public_url}{REDIRECT_PATH}",
        install_path=INSTALL_PATH,
        install_page_rendering_enabled=False,
        redirect_uri_path=REDIRECT_PATH,
        callback_options=AsyncCallbackOptions(succeed, fail),
        authorization_url=urljoin(client.base_url, "/oauth/v2/authorize"),
        installation_store=store,
        state_store=states,
        state_expiration_seconds=BEGUN_FOR_SECONDS,
        logger=QUIET,
    )
    return Flow(client=client, logger=QUIET, settings=settings)


def _bolt_request(request: web.Request, query: str) -> AsyncBoltRequest:
    """Convert the request for Bolt, with this query and without a body."""
    cookies = request.headers.getall("Cookie", [])
    return AsyncBoltRequest(body="", query=query, headers={"Cookie": cookies})


def _answer(page: Page, args: AsyncSuccessArgs | AsyncFailureArgs) -> BoltResponse:
    """Return the page, and delete the browser's state cookie."""
    cookie = args.settings.state_utils.build_set_cookie_for_deletion()
    headers: dict[str, str | Sequence[str]] = {**HEADERS, "Set-Cookie": [cookie]}
    return BoltResponse(status=page.status, body=page.html(), headers=headers)


def _response(page: Page) -> web.Response:
    return web.Response(status=page.status, text=page.html(), headers=HEADERS)
