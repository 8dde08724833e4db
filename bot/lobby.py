"""What Slack sends from workspaces that have installed the app and whose Omni is not known yet."""

from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot import asklines, lines
from bot.boltlog import QUIET
from bot.leaving import Leaving

NO_OMNI_YET = (
    "This workspace has no Omni yet. Please ask whoever runs this bot to add it: "
    "`python -m bot workspace add {team}`"
)


def lobby(api_url: str, leaving: Leaving) -> AsyncApp:
    """Bolt, for all of them: tells that the Omni is missing, and hears when one of them removes the app."""

    async def authorize(team_id: str | None) -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=None, team_id=team_id)

    app = AsyncApp(logger=QUIET, client=AsyncWebClient(base_url=api_url), authorize=authorize)
    for command in (asklines.COMMAND, lines.COMMAND):
        app.command(command)(_no_omni_yet)
    leaving.register(app)
    return app


async def _no_omni_yet(ack: AsyncAck, body: dict[str, Any]) -> None:
    await ack(NO_OMNI_YET.format(team=body.get("team_id", "")))
