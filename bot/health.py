"""Whether the bot can do its work right now, told over HTTP: `/healthz` and `/readyz`."""

from aiohttp import web

from bot.delivery import Delivery
from bot.errors import StoreUnavailable
from bot.transactions import Transactions
from bot.workspaces import Workspaces


class Health:
    """Why the bot can't do its work right now, as `/readyz` tells it."""

    def __init__(self) -> None:
        self.workspaces: Workspaces | None = None
        self.delivery: Delivery | None = None
        self.transactions: Transactions | None = None

    async def problem(self) -> str | None:
        """A few words, or None if all is well."""
        if self.transactions is None or self.delivery is None or not await self.delivery.is_connected():
            return "not connected to Slack"
        if self._is_refused_everywhere():
            return "Slack refuses the bot's token"
        try:
            await self.transactions.answers()
        except StoreUnavailable:
            return "database does not answer"
        return None

    def _is_refused_everywhere(self) -> bool:
        """Where one of several workspaces has thrown the bot out, it does its work in the others."""
        running = self.workspaces.running if self.workspaces is not None else []
        return bool(running) and all(workspace.board.refused is not None for workspace in running)

    def routes(self) -> list[web.RouteDef]:
        """What a supervisor asks.

        - `/healthz`: 200 as long as the event loop turns. Restart the process if it does not answer.
        - `/readyz`: 200 while Slack is connected and the database answers, else 503 and why. Restarting does not
          help against that.
        """

        async def healthz(_: web.Request) -> web.Response:
            return web.Response(text="ok\n")

        async def readyz(_: web.Request) -> web.Response:
            why_not = await self.problem()
            return web.Response(text=f"{why_not or 'ready'}\n", status=503 if why_not else 200)

        return [web.get("/healthz", healthz), web.get("/readyz", readyz)]
