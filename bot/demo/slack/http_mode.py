"""Slack's side of HTTP mode: signed requests to the app, and their acknowledgements.

Sources: docs.slack.dev/authentication/verifying-requests-from-slack (signatures), docs.slack.dev/apis/events-api (the
challenge, retries), docs.slack.dev/interactivity/implementing-slash-commands and docs.slack.dev/interactivity/
handling-user-interaction (3 s, status 200, the forms). That commands and interactions are never sent again is
UNCONFIRMED; no document speaks of it.
"""

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp

from bot.demo.slack.socket_mode import ACK_SECONDS, EVENT_RETRY_SECONDS, Acknowledgement

_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"
_EVENT = "events_api"


@dataclass(frozen=True, slots=True)
class Reply:
    """The app's response to a request."""

    status: int | None
    """None: nothing, in time."""
    content_type: str = ""
    body: str = ""
    wants_no_retry: bool = False
    reason: str = ""
    """Why it was not delivered, in Slack's words for `X-Slack-Retry-Reason`."""


class RequestUrl:
    """The app's address, at which it is called. Delivers as `socketmode.SocketMode` does."""

    def __init__(self) -> None:
        self.url = ""
        """Empty: the app uses Socket Mode."""
        self.signing_secret = secrets.token_hex(16)
        self.ack_seconds = ACK_SECONDS
        self.retry_seconds: Sequence[float] = EVENT_RETRY_SECONDS
        self.to_lose = 0
        """How many of the next answers are lost on the way."""
        self.replies: list[Reply] = []
        """Responses to all requests."""
        self._of_event: dict[str, Reply] = {}
        """The newest, by event id."""
        self._session: aiohttp.ClientSession | None = None

    async def is_verified(self) -> bool:
        """Whether the app answers the challenge that Slack sends when an address is entered in its settings."""
        challenge = secrets.token_urlsafe(32)
        body = {
            "token": "deprecated-verification-token",
            "challenge": challenge,
            "type": "url_verification",
        }
        reply = await self._send(_JSON, json.dumps(body), {})
        if reply.status != 200:
            return False
        # In any of three forms. Source: docs.slack.dev/reference/events/url_verification.
        match reply.content_type:
            case "text/plain":
                return reply.body == challenge
            case "application/json":
                return bool(_json(reply.body) == {"challenge": challenge})
            case _:
                return reply.body == urlencode({"challenge": challenge})

    async def deliver_event(
        self, payload: dict[str, Any], *, times: int = 1, attempt: int = 0
    ) -> Acknowledgement:
        """Send an event as `deliver` does; `attempt` counts earlier unacknowledged deliveries."""
        before = self._of_event.get(payload["event_id"])
        headers = {}
        if attempt:
            reason = before.reason if before is not None else "unknown_error"
            headers = {"X-Slack-Retry-Num": str(attempt), "X-Slack-Retry-Reason": reason}
        return await self.deliver(_EVENT, payload, answerable=False, times=times, more=headers)

    async def deliver_again(self, payload: dict[str, Any]) -> None:
        """Send an event that was not acknowledged again, until it is, at most as often as Slack, and not where the app
        said `X-Slack-No-Retry`."""
        for attempt, seconds in enumerate(self.retry_seconds, start=1):
            before = self._of_event.get(payload["event_id"])
            if before is not None and before.wants_no_retry:
                return
            await asyncio.sleep(seconds)
            if (await self.deliver_event(payload, attempt=attempt)).acked:
                return

    async def deliver(
        self,
        kind: str,
        payload: dict[str, Any],
        *,
        answerable: bool,
        times: int = 1,
        more: Mapping[str, Any] | None = None,
    ) -> Acknowledgement:
        """Send one request, `times` over at once as a proxy may, and wait for its first acknowledgement.

        `kind` is that of a Socket Mode envelope. `more`: further headers.
        """
        content_type, body = _encoded(kind, payload)
        began = time.monotonic()
        sending = [self._send(content_type, body, more or {}) for _ in range(times)]
        replies = await asyncio.gather(*sending)
        if kind == _EVENT:
            self._of_event[payload["event_id"]] = replies[0]
        acks = [_acknowledgement(kind, reply, answerable) for reply in replies]
        is_acked, answer = next((ack for ack in acks if ack[0]), acks[0])
        return Acknowledgement(is_acked, answer, time.monotonic() - began)

    async def send_signed(self, body: str, content_type: str = _JSON) -> Reply:
        """Send any body, signed as Slack does."""
        return await self._send(content_type, body, {})

    async def _send(self, content_type: str, body: str, more: Mapping[str, Any]) -> Reply:
        raw = body.encode()
        timestamp = str(int(time.time()))
        headers = {
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
            "Content-Type": content_type,
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": sign(self.signing_secret, timestamp, raw),
            **more,
        }
        reply = await self._reply(raw, headers)
        self.replies.append(reply)
        return reply

    async def _reply(self, raw: bytes, headers: Mapping[str, str]) -> Reply:
        if self._session is None:
            # An app that was started anew at its address has none of the old connections.
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        try:
            async with asyncio.timeout(self.ack_seconds):
                async with self._session.post(
                    self.url, data=raw, headers=headers, allow_redirects=False
                ) as answer:
                    text = await answer.text()
        except TimeoutError:
            return Reply(None, reason="http_timeout")
        except aiohttp.ClientConnectorError:
            return Reply(None, reason="connection_failed")
        except (aiohttp.ClientError, UnicodeDecodeError):
            return Reply(None, reason="http_error")
        if self.to_lose > 0:
            self.to_lose -= 1
            return Reply(None, reason="http_timeout")
        is_fine = 200 <= answer.status < 300
        return Reply(
            answer.status,
            answer.content_type,
            text,
            wants_no_retry=not is_fine and answer.headers.get("X-Slack-No-Retry") == "1",
            reason="" if is_fine else "http_error",
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The value of `X-Slack-Signature`."""
    return "v0=" + hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()


def _encoded(kind: str, payload: Mapping[str, Any]) -> tuple[str, str]:
    """The content type and the body. A form can't hold null: such fields are left out."""
    match kind:
        case "events_api":
            return _JSON, json.dumps(payload)
        case "interactive":
            return _FORM, urlencode({"payload": json.dumps(payload)})
        case _:
            return _FORM, urlencode({name: value for name, value in payload.items() if value is not None})


def _acknowledgement(kind: str, reply: Reply, answerable: bool) -> tuple[bool, dict[str, Any] | None]:
    """Whether it counts, and what it says. Of an answer to a modal Slack takes JSON only; to a command, text too."""
    if kind == _EVENT:
        return reply.status is not None and 200 <= reply.status < 300, None
    if reply.status != 200:
        return False, None
    if not answerable or not reply.body:
        return True, None
    if reply.content_type == "application/json":
        answer = _json(reply.body)
        return isinstance(answer, dict), answer if isinstance(answer, dict) else None
    return (True, {"text": reply.body}) if kind == "slash_commands" else (False, None)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
