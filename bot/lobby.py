"""What Slack sends from workspaces that have installed the app and whose Omni is not known yet."""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot import asklines, lines
from bot.boltlog import QUIET
from bot.errors import BoardError
from bot.leaving import Leaving
from bot.ports import Message

NO_OMNI_YET = (
    "This workspace has no Omni yet. Please ask whoever runs this bot to add it: "
    "`python -m bot workspace add {team}`"
)


_ANY = re.compile("")


def lobby(api_url: str, leaving: Leaving, whisper: Callable[[str, Message], Awaitable[None]]) -> AsyncApp:
    """Build the Bolt app of all these workspaces: it answers that the Omni is missing, and handles the app's removal.

    `whisper` replies by a response_url; it raises any BoardError.
    """

    async def authorize(team_id: str | None) -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=None, team_id=team_id)

    async def on_command(ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack(_line(body))

    async def on_interaction(ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        if url := body.get("response_url"):
            with suppress(BoardError):
                await whisper(str(url), Message(_line(body)))

    app = AsyncApp(
        logger=QUIET,
        client=AsyncWebClient(base_url=api_url),
        authorize=authorize,
        request_verification_enabled=False,  # `httpmode` has verified the signature, and passes no signature on
    )
    for command in (asklines.COMMAND, lines.COMMAND):
        app.command(command)(on_command)
    for listen in (app.action, app.shortcut, app.view):
        listen(_ANY)(on_interaction)
    leaving.register(app)
    return app


def _line(body: dict[str, Any]) -> str:
    team = body.get("team_id") or (body.get("team") or {}).get("id") or ""
    return NO_OMNI_YET.format(team=team)
