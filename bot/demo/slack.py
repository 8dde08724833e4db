"""The simulated Slack: Web API, Socket Mode and response_urls on loopback, and the people who use it.

It is strict. What it takes is meant to pass with Slack itself; what is merely assumed says so where it is
decided: `payload` (content), `chat_methods`, `conversation_methods`, `limits`, `socketmode`, `responseurl`.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from bot.demo.call import Refused
from bot.demo.events import Subscription
from bot.demo.faults import Fault
from bot.demo.interaction import click_payload, command_payload, find_button
from bot.demo.limits import Limits
from bot.demo.responseurl import say
from bot.demo.slackserver import Access, Request, SlackServer
from bot.demo.socketmode import Acknowledgement
from bot.demo.workspace import Channel, StoredMessage, User, Workspace

__all__ = ["Acked", "Request", "SimulatedSlack", "StoredMessage", "too_many_requests"]

SCOPES = {"commands", "chat:write", "im:write", "files:write"}
HISTORY_SCOPES = {"channels:history", "groups:history", "im:history", "mpim:history"}
Acked = Acknowledgement

_LOOK_AGAIN_SECONDS = 0.2


def too_many_requests(retry_after_seconds: int, error: str = "ratelimited") -> Fault:
    """A fault that answers as Slack does when an app asks too often."""
    return Fault(
        "status",
        429,
        f'{{"ok":false,"error":"{error}"}}',
        headers=(("Retry-After", str(retry_after_seconds)),),
    )


class SimulatedSlack:
    """One workspace with one app in it, served on a loopback port from `start` to `close`."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.time,
        limits: bool = True,
        history_scopes: bool = True,
        port: int = 0,
    ) -> None:
        self.workspace = Workspace(now)
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
            limits=Limits() if limits else None,
            announce=self._announce,
            changed=self._wake,
        )
        self.faults = self._server.faults
        self.requests = self._server.requests
        self.socket_mode = self._server.socket_mode
        self._changed = asyncio.Event()
        self._subscriptions: list[Subscription] = []
        self.workspace.listeners.append(lambda change: self._announce(change.as_json()))

    @property
    def granted_scopes(self) -> set[str]:
        """What the bot's token may do; add and discard as an operator would."""
        return self._access.scopes

    async def start(self) -> None:
        """Listen on 127.0.0.1.

        Raises:
            OSError: the port is taken.
        """
        await self._server.start(self._port)
        self.api_url = f"{self.workspace.url}api/"

    async def close(self) -> None:
        """Close every connection and stop listening."""
        await self._server.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # What people do.

    async def command(
        self, text: str, *, user: str, channel: str, command: str = "/omni-job", deliveries: int = 1
    ) -> Acked:
        """A person types a command; returns when the app has acknowledged it, or failed to in 3 seconds.

        `user` and `channel` are ids or names. `deliveries=2` sends the same envelope twice.

        Raises:
            LookupError: there is no such person or channel.
            ValueError: the person can't type there.
        """
        person, place = self._person_in(user, channel)
        if place.archived:
            raise ValueError(f"nobody can type in {place.name}: it is archived")
        self.workspace.typed(place, person.id, f"{command} {text}".rstrip())
        body = command_payload(
            self.workspace,
            command=command,
            text=text,
            user=person,
            channel=place,
            response_url=self._response_url(place, person, None),
        )
        acked = await self.socket_mode.deliver("slash_commands", body, answerable=True, times=deliveries)
        if not acked.acked:
            self.workspace.whisper(place, person.id, f"{command} failed with the error `operation_timeout`")
        elif acked.payload:
            self._answer_inline(place, person, acked.payload)
        return acked

    def _answer_inline(self, place: Channel, person: User, payload: dict[str, Any]) -> None:
        try:
            say(self.workspace, place, person.id, payload)
        except Refused as refused:
            self.workspace.whisper(place, person.id, f"the app's answer was refused: `{refused.error}`")

    async def click(
        self,
        *,
        user: str,
        channel: str,
        ts: str,
        action_id: str,
        value: str | None = None,
        deliveries: int = 1,
    ) -> Acked:
        """A person clicks a button of a message; `value` forges a click that no button offers.

        Raises:
            LookupError: there is no such person, channel, message or button.
            ValueError: the person can't see the message.
        """
        person, place = self._person_in(user, channel)
        message = self._seen_by(person, place, ts)
        action = find_button(message, action_id)
        if value is not None:
            action = {"type": "button", "block_id": "forged", **(action or {}), "action_id": action_id}
            action["value"] = value
        if action is None:
            raise LookupError(f"no button {action_id!r} in {message.blocks}")
        body = click_payload(
            self.workspace,
            user=person,
            channel=place,
            message=message,
            action=action,
            response_url=self._response_url(place, person, message),
        )
        return await self.socket_mode.deliver("interactive", body, answerable=False, times=deliveries)

    async def delete_message(self, channel: str, ts: str) -> None:
        """Somebody who may deletes a message, and everybody sees it go."""
        self.workspace.delete(self.workspace.channel(channel).messages[ts])

    async def say(self, text: str, *, user: str, channel: str) -> StoredMessage:
        """A person posts a message of their own."""
        person, place = self._person_in(user, channel)
        return self.workspace.post(place, person.id, text)

    async def archive(self, channel: str) -> None:
        """Somebody archives a channel."""
        self.workspace.channel(channel).archived = True

    async def remove_bot(self, channel: str) -> None:
        """Somebody removes the bot from a channel."""
        self.workspace.channel(channel).members.discard(self.bot_user)

    async def invite_bot(self, channel: str) -> None:
        """Somebody invites the bot to a channel."""
        self.workspace.channel(channel).members.add(self.bot_user)

    def revoke_token(self) -> None:
        """Somebody uninstalls the app: its bot token is good no longer."""
        self._tokens[self.bot_token] = "revoked"

    async def disconnect(self, reason: str = "warning") -> None:
        """End every open connection as Slack does: announced with a reason, then closed."""
        await self.socket_mode.disconnect(reason)

    async def connected(self, timeout: float = 10) -> None:
        """Wait until a bot holds an open connection."""
        await self.until(lambda: self.socket_mode.connections > 0, timeout)

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
            TimeoutError: it still does not hold after `timeout` seconds; tells what is stored.
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

    def _person_in(self, user: str, channel: str) -> tuple[User, Channel]:
        person, place = self.workspace.user(user), self.workspace.channel(channel)
        if person.id not in place.members:
            raise ValueError(f"{person.name} is not in {place.name}")
        return person, place

    def _seen_by(self, person: User, place: Channel, ts: str) -> StoredMessage:
        for message in [*place.messages.values(), *self.workspace.private]:
            if message.channel == place.id and message.ts == ts:
                if message.only_for not in (None, person.id):
                    raise ValueError(f"{person.name} can't see {ts}")
                return message
        raise LookupError(f"no message {ts} in {place.name}")

    def _response_url(self, place: Channel, person: User, original: StoredMessage | None) -> str:
        secret = self._server.response_urls.issue(place, person.id, original, self._now())
        return f"{self.workspace.url}response/{secret}"

    def _announce(self, event: dict[str, Any]) -> None:
        for subscription in self._subscriptions:
            subscription.put(event)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
