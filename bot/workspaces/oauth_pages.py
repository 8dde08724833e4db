"""The pages of an installation. They never repeat input from the browser."""

from dataclasses import dataclass
from html import escape

from bot.domain import TeamId

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

    def html(self, install_path: str) -> str:
        """Render the page."""
        more = f'<p><a href="{escape(install_path)}">Start again</a></p>' if self.may_try_again else ""
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
    "org_wide": Page(
        403,
        "Not for a whole organization",
        "This app is installed in one workspace at a time. Start again and choose a workspace instead of the "
        "organization. The bot stored nothing. An admin can remove the app from the organization in Slack.",
    ),
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
