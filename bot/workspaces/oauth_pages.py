"""What somebody sees in their browser who installs the app. Nothing of what a browser sent is repeated."""

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
    # The address holds a code.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""With every page."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page, with the status it has in HTTP."""

    status: int
    title: str
    text: str
    may_try_again: bool = True

    def html(self, install_path: str) -> str:
        """As a browser takes it."""
        more = f'<p><a href="{escape(install_path)}">Start again</a></p>' if self.may_try_again else ""
        return _PAGE.format(title=escape(self.title), text=escape(self.text), more=more)


_BEGUN_ELSEWHERE = Page(
    400,
    "This was not begun here",
    "The installation was begun in another browser, or cookies are off. Nothing was installed by this page.",
)
_USED_UP = Page(
    401,
    "This link is used up",
    "It was used before, or more than 10 minutes ago. Nothing was installed by this page.",
)
_BY_REASON = {
    "access_denied": Page(
        200, "Not installed", "You have declined, so nothing was installed. You can start again at any time."
    ),
    "invalid_browser": _BEGUN_ELSEWHERE,
    "invalid_state": _USED_UP,
    "invalid_code": Page(
        401,
        "Slack did not take the code",
        "It was used before, or has expired. Nothing was installed by this page.",
    ),
    "missing_code": Page(400, "Something is missing", "Slack's answer came without a code."),
    "org_wide": Page(
        403,
        "Not for a whole organisation",
        "This app is installed in one workspace at a time. Please start again and choose a workspace, not the "
        "organisation. Nothing was kept of this installation; an admin may remove it in Slack.",
    ),
}
_OTHERWISE = Page(400, "Not installed", "Slack did not let the app be installed.")

STARTING = Page(503, "Just starting", "The bot is just starting. Please try again in a minute.")
SLACK_SILENT = Page(502, "Slack did not answer", "Nothing was installed. Please try again in a minute.")
NOT_STORED = Page(503, "Not stored", "The bot's database did not answer. Please start again in a minute.")


def failure(reason: str) -> Page:
    """Why nothing was installed; `reason`: Bolt's word, or what Slack sent the browser back with."""
    return _BY_REASON.get(reason, _OTHERWISE)


def success(team: TeamId, team_name: str, *, has_omni: bool) -> Page:
    """The app is installed."""
    title = f"Installed in {team_name}"
    if has_omni:
        text = "Open Slack, invite the app to a channel and type /omni-job or /omni-ask there."
        return Page(200, title, text, may_try_again=False)
    text = (
        "One thing is missing: the app does not know the Omni of this workspace yet. Please ask whoever runs the bot "
        f"for it: python -m bot workspace add {team}"
    )
    return Page(200, title, text, may_try_again=False)
