"""The simulated Slack as a service on loopback, and its visible state.

Actions of users are in `user_messages` and `user_views`.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from bot.demo.faults import Subscription
from bot.demo.slack.events_api import EventSettings
from bot.demo.slack.http_mode import RequestUrl
from bot.demo.slack.limits import Limits
from bot.demo.slack.records import HOME_TEAM
from bot.demo.slack.server import Access, Request, SlackServer
from bot.demo.slack.socket_mode import Acknowledgement, SocketMode
from bot.demo.slack.workspace import Channel, StoredMessage, User, Workspace

SCOPES = {
    "app_mentions:read",
    "channels:read",
    "chat:write",
    "commands",
    "files:write",
    "groups:read",
    "im:write",
    "mpim:read",
    "users:read",
    "users:read.email",
}
HISTORY_SCOPES = {"channels:history", "groups:history", "im:history", "mpim:history"}
Acked = Acknowledgement

_LOOK_AGAIN_SECONDS = 0.2


class SlackService:
    """One workspace with one app in it, served on a loopback port from `start` to `close`."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.time,
        limits: bool = True,
        distributed: bool = False,
        history_scopes: bool = True,
        port: int = 0,
        team: str = HOME_TEAM,
        organization: str = "",
    ) -> None:
        """`distributed`: the limits are those of an app that is sold outside the Marketplace. `organization`: see
        `Workspace`."""
        self.workspace = Workspace(now, team, organization=organization)
        self.bot_token = f"xoxb-demo-{secrets.token_hex(12)}"
        self.app_token = f"xapp-demo-{secrets.token_hex(12)}"
        self.bot_user = self.workspace.bot.id
        self.app_id = self.workspace.app
        self.team = self.workspace.team
        self.api_url = ""
        self._now = now
        self._port = port
        self._tokens = {self.bot_token: "bot", self.app_token: "app"}
        self._access = Access(self._tokens, SCOPES | HISTORY_SCOPES if history_scopes else set(SCOPES))
        self._server = SlackServer(
            self.workspace,
            self._access,
            now=now,
            limits=Limits(distributed=distributed) if limits else None,
            announce=self._announce,
            changed=self._wake,
        )
        self.faults = self._server.faults
        self.requests = self._server.requests
        self.socket_mode = self._server.socket_mode
        self.oauth = self._server.oauth
        self.request_url = self._server.request_url
        self.event_settings = EventSettings()
        self._changed = asyncio.Event()
        self._background: set[asyncio.Task[Any]] = set()
        self._subscriptions: list[Subscription] = []
        self.workspace.listeners.append(lambda change: self._announce(change.as_json()))

    @property
    def delivery(self) -> SocketMode | RequestUrl:
        """Delivers events to the app: to its request URL if it has one, as Slack does."""
        return self.request_url if self.request_url.url else self.socket_mode

    @property
    def granted_scopes(self) -> set[str]:
        """Scopes of the bot's token; add and discard as an admin would."""
        return self._access.scopes

    async def start(self) -> None:
        """Listen on 127.0.0.1.

        Raises:
            OSError: the port is taken.
        """
        await self._server.start(self._port)
        self.api_url = f"{self.workspace.url}api/"

    async def close(self) -> None:
        """Close every connection and stop listening; what is still to be delivered is not."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._server.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Looking.

    def messages(self, channel: str) -> list[StoredMessage]:
        """The top-level messages of a channel, oldest first."""
        stored = self.workspace.channel(channel).messages.values()
        return [message for message in stored if message.thread_ts is None]

    def replies(self, channel: str, ts: str) -> list[StoredMessage]:
        """The replies in a thread, oldest first, without the parent."""
        return self.workspace.channel(channel).replies(ts)

    def private(self, user: str, channel: str | None = None) -> list[StoredMessage]:
        """The lines that only this person saw, oldest first."""
        person = self.workspace.user(user).id
        place = None if channel is None else self.workspace.channel(channel).id
        return [
            message
            for message in self.workspace.private
            if message.only_for == person and place in (None, message.channel)
        ]

    def dm(self, user: str) -> str:
        """The id of the bot's direct message with a person."""
        return self.workspace.direct(self.workspace.user(user).id).id

    def calls(self, method: str) -> list[Request]:
        """The requests to one method, in the order they came."""
        return [request for request in self.requests if request.method == method]

    async def until(self, condition: Callable[[], bool], timeout: float = 10) -> None:
        """Wait until a condition holds; asked again at every change here, and now and then besides.

        Raises:
            TimeoutError: it still does not hold after `timeout` seconds; the message lists the stored data.
        """
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), _LOOK_AGAIN_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"not so after {timeout} s; Slack holds:\n{self._inventory()}") from None

    def subscribe(self) -> Subscription:
        """All events from now on: what is posted, updated, deleted, whispered, typed, and every request."""
        subscription = Subscription(self._subscriptions.remove)
        self._subscriptions.append(subscription)
        return subscription

    def _inventory(self) -> str:
        lines = []
        for channel in self.workspace.channels.values():
            for message in channel.messages.values():
                thread = f" in {message.thread_ts}" if message.thread_ts else ""
                lines.append(f"  #{channel.name} {message.ts}{thread}: {message.text[:100]!r}")
        lines += [f"  only {m.only_for} in {m.channel}: {m.text[:100]!r}" for m in self.workspace.private]
        lines += [
            f"  {r.method} -> {'ok' if r.ok else r.error or r.http_status}" for r in self.requests[-10:]
        ]
        lines.append(f"  {self.socket_mode.connections} open connections")
        return "\n".join(lines)

    def _in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _person_in(self, user: str, channel: str) -> tuple[User, Channel]:
        person, place = self.workspace.user(user), self.workspace.channel(channel)
        if person.id not in place.members:
            raise ValueError(f"{person.name} is not in {place.name}")
        return person, place

    def _announce(self, event: dict[str, Any]) -> None:
        for subscription in self._subscriptions:
            subscription.put(event)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
