"""How an app is installed in the simulated workspace by OAuth. No I/O.

Source: docs.slack.dev/authentication/installing-with-oauth and docs.slack.dev/reference/methods/oauth.v2.access.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from bot.demo.slack.web_api.call import Answer, Refused
from bot.demo.slack.workspace import Workspace

CODE_SECONDS = 600
"""How long a code is good."""


@dataclass(frozen=True, slots=True)
class Granted:
    """A granted authorization, until the app exchanges its code for a token."""

    redirect_uri: str
    scopes: frozenset[str]
    user: str
    at: float
    is_org_wide: bool


@dataclass(slots=True)
class App:
    """The app as its own page in Slack has it. Changed in place while the service runs."""

    client_id: str = field(default_factory=lambda: f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**12)}")
    client_secret: str = field(default_factory=lambda: secrets.token_hex(16))
    redirect_urls: set[str] = field(default_factory=set)


class OAuth:
    """Asks a person, and gives out tokens."""

    def __init__(self, workspace: Workspace, now: Callable[[], float], install: Callable[[], str]) -> None:
        """`install` adds the app to the workspace and returns its bot token."""
        self.app = App()
        self._workspace = workspace
        self._now = now
        self._install = install
        self._granted: dict[str, Granted] = {}

    def allow(self, query: Mapping[str, str], user: str, *, org_wide: bool = False) -> str:
        """A person presses *Allow* on Slack's page; where their browser is sent then.

        Raises:
            Refused: Slack shows an error instead of that page.
        """
        redirect_uri = self._checked(query)
        code = secrets.token_hex(16)
        scopes = frozenset(query["scope"].split(","))
        self._granted[code] = Granted(redirect_uri, scopes, user, self._now(), org_wide)
        return f"{redirect_uri}?{urlencode({'code': code, 'state': query.get('state', '')})}"

    def decline(self, query: Mapping[str, str]) -> str:
        """A person presses *Cancel*. As `allow`."""
        return (
            f"{self._checked(query)}?{urlencode({'error': 'access_denied', 'state': query.get('state', '')})}"
        )

    def exchange(self, client: tuple[str, str] | None, args: Mapping[str, Any]) -> Answer:
        """A code for a token: `oauth.v2.access`.

        Raises:
            Refused: `invalid_client_id`, `bad_client_secret`, `invalid_code` (also one used before),
                `code_expired`, `bad_redirect_uri`.
        """
        client_id, secret = client or (args.get("client_id"), args.get("client_secret"))
        if client_id != self.app.client_id:
            raise Refused("invalid_client_id")
        if secret != self.app.client_secret:
            raise Refused("bad_client_secret")
        granted = self._granted.pop(str(args.get("code")), None)
        if granted is None:
            raise Refused("invalid_code")
        if self._now() - granted.at > CODE_SECONDS:
            raise Refused("code_expired")
        if args.get("redirect_uri") != granted.redirect_uri:
            raise Refused("bad_redirect_uri")
        return self._answer(granted)

    def _checked(self, query: Mapping[str, str]) -> str:
        """Allowed redirect URLs. For others Slack shows its own page."""
        if query.get("client_id") != self.app.client_id:
            raise Refused("invalid_client_id")
        if not query.get("scope"):
            raise Refused("no_scopes")
        redirect_uri = query.get("redirect_uri", "")
        # Slack also takes what lies below one of them; the app here has no need of that.
        if redirect_uri not in self.app.redirect_urls:
            raise Refused("bad_redirect_uri")
        return redirect_uri

    def _answer(self, granted: Granted) -> Answer:
        workspace = self._workspace
        is_org_wide = granted.is_org_wide or bool(workspace.organization)
        team = None if is_org_wide else {"id": workspace.team, "name": "Omni demo"}
        return {
            "ok": True,
            "access_token": self._install(),
            "token_type": "bot",
            "scope": ",".join(sorted(granted.scopes)),
            "bot_user_id": workspace.bot.id,
            "app_id": workspace.app,
            "team": team,
            "enterprise": {"id": workspace.organization or "E0ACME", "name": "Acme"} if is_org_wide else None,
            "is_enterprise_install": is_org_wide,
            "authed_user": {"id": granted.user},
        }
