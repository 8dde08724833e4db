"""The simulated Slack: Web API, Socket Mode, HTTP mode and response_urls on loopback, and the people who use it.

It is strict. Requests that it accepts should pass with Slack; what is merely assumed says so where it is
decided: `payload` and `viewkit` (content), `chat_methods`, `conversation_methods`, `people_methods`, `view_methods`,
`eventsapi`, `limits`, `socketmode`, `requesturl`, `responseurl`.
"""

import asyncio

from bot.demo.faults import Fault
from bot.demo.slack import events_api
from bot.demo.slack.server import Request
from bot.demo.slack.service import HISTORY_SCOPES, SCOPES, Acked
from bot.demo.slack.user_views import Submission, Surfacing
from bot.demo.slack.workspace import StoredMessage

_ASK_AGAIN_SECONDS = 0.05

__all__ = [
    "HISTORY_SCOPES",
    "SCOPES",
    "Acked",
    "Request",
    "SimulatedSlack",
    "StoredMessage",
    "Submission",
    "too_many_requests",
]


def too_many_requests(retry_after_seconds: int, error: str = "ratelimited") -> Fault:
    """A fault that answers as Slack does when an app asks too often."""
    return Fault(
        "status",
        429,
        f'{{"ok":false,"error":"{error}"}}',
        headers=(("Retry-After", str(retry_after_seconds)),),
    )


class SimulatedSlack(Surfacing):
    """One workspace with one app in it, served on a loopback port from `start` to `close`: with all that people and
    admins do there."""

    async def delete_message(self, channel: str, ts: str) -> None:
        """Delete a message as an authorized user."""
        self.workspace.delete(self.workspace.channel(channel).messages[ts])

    async def archive(self, channel: str) -> None:
        """Somebody archives a channel."""
        self.workspace.channel(channel).archived = True

    async def remove_bot(self, channel: str) -> None:
        """Somebody removes the bot from a channel."""
        self.workspace.channel(channel).members.discard(self.bot_user)

    async def invite_bot(self, channel: str) -> None:
        """Somebody invites the bot to a channel."""
        self.workspace.channel(channel).members.add(self.bot_user)

    async def uninstall(self, *events: str) -> None:
        """Remove the app from the workspace. Return when the app was sent these events (both if none is given), in an
        order that Slack does not promise."""
        for token, kind in self._tokens.items():
            if kind == "bot":
                self._tokens[token] = "revoked"
        for event in (events_api.revoked(self.workspace), events_api.uninstalled(self.workspace)):
            if event["type"] in (events or (event["type"],)):
                await self._deliver(event)

    def revoke_token(self) -> None:
        """Somebody uninstalls the app: its bot token is good no longer."""
        self._tokens[self.bot_token] = "revoked"

    async def disconnect(self, reason: str = "warning") -> None:
        """End every open connection as Slack does: announced with a reason, then closed."""
        await self.socket_mode.disconnect(reason)

    async def connected(self, timeout: float = 10) -> None:
        """Wait until a bot holds an open connection, or answers at its address.

        Raises:
            TimeoutError: none does after `timeout` seconds.
        """
        if not self.request_url.url:
            await self.until(lambda: self.socket_mode.connections > 0, timeout)
            return
        async with asyncio.timeout(timeout):
            while True:
                if await self.request_url.is_verified():
                    return
                await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def share_channel(self, channel: str, *, pending: bool = False) -> None:
        """Somebody shares a channel with another company, or invites one to (`pending`)."""
        self.workspace.channel(channel).shared = "pending" if pending else "external"
