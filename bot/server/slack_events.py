"""HTTP mode: Slack sends commands, interactions and events to `/slack/events` on `PORT`.

No body is parsed before its signature is verified. Without headers of Slack's form it is not even read.
Source: docs.slack.dev/authentication/verifying-requests-from-slack and
docs.slack.dev/apis/events-api/using-http-request-urls.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence

import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.signature import Clock, SignatureVerifier

from bot.server.http import BodyRefused, read_body
from bot.slack import NOT_CONNECTED, Dispatcher

log = structlog.get_logger()

PATH = "/slack/events"
READ_WITHIN_SECONDS = 3.0
"""For a body to arrive; Slack gives up after 3 s."""
LARGEST_SSL_CHECK_BYTES = 1024
"""Unsigned bodies up to this size are read, since Slack may be checking the certificate."""
CLOSE_WITHIN_SECONDS = 1.5
"""How long requests in progress may delay the shutdown."""

FRESH_SECONDS = 300.0
"""How far a timestamp may differ from our time, as in the SDK's verifier."""

_TIMESTAMP, _SIGNATURE = "X-Slack-Request-Timestamp", "X-Slack-Signature"
_PASSED_ON = ("Content-Type", "X-Slack-Retry-Num", "X-Slack-Retry-Reason")
"""The headers that Bolt gets. Headers are not signed, and Bolt obeys some of them."""


class SlackEvents:
    """The `EventSource` of HTTP mode."""

    def __init__(self, dispatch: Dispatcher, signing_secret: str, clock: Clock | None = None) -> None:
        """`clock`: for tests."""
        self._dispatch = dispatch
        self._verifier = SignatureVerifier(signing_secret, clock or Clock())
        self._is_open = False
        self._under_way: set[asyncio.Task[web.Response]] = set()

    def routes(self) -> list[web.RouteDef]:
        """Return the route, which responds with 503 unless `run` runs."""
        return [web.post(PATH, self._serve)]

    def problem(self) -> str | None:
        """See `EventSource.problem`. Whether Slack has the right address shows only when it calls."""
        return None if self._is_open else NOT_CONNECTED

    async def run(self) -> None:
        """See `EventSource.run`. Requests in progress are finished."""
        self._is_open = True
        log.info("http open", path=PATH)
        try:
            await asyncio.Event().wait()
        finally:
            self._is_open = False
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=CLOSE_WITHIN_SECONDS)

    async def _serve(self, request: web.Request) -> web.Response:
        size = request.content_length
        if not looks_signed(self._verifier, request.headers) and (
            size is None or size > LARGEST_SSL_CHECK_BYTES
        ):
            return _refused()
        try:
            body = await read_body(request, within_seconds=READ_WITHIN_SECONDS)
        except BodyRefused as refused:
            return web.Response(status=refused.status)
        if not is_signed(self._verifier, body, request.headers):
            if b"ssl_check=1" in body.split(b"&"):
                # Slack checks the certificate. Its docs don't say whether this request is signed.
                return web.Response()
            return _refused()
        if not self._is_open:
            return web.Response(status=503)
        answering = asyncio.create_task(self._answer(body.decode(), request.headers))
        self._under_way.add(answering)
        answering.add_done_callback(self._under_way.discard)
        return await answering

    async def _answer(self, body: str, headers: Mapping[str, str]) -> web.Response:
        passed_on: dict[str, str | Sequence[str]] = {n: headers[n] for n in _PASSED_ON if n in headers}
        try:
            asked = AsyncBoltRequest(body=body, headers=passed_on)
        except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
            log.warning("signed request unreadable")
            return web.Response(status=400)
        if asked.body.get("ssl_check") == "1":
            return web.Response()
        if asked.body.get("type") == "url_verification":
            log.info("request url verified")
            return web.json_response({"challenge": str(asked.body.get("challenge") or "")})
        return await to_aiohttp_response(await self._dispatch.async_dispatch(asked))


def _refused() -> web.Response:
    log.warning("request refused: not signed by Slack, or more than 5 minutes ago")
    return web.Response(status=401)


def looks_signed(verifier: SignatureVerifier, headers: Mapping[str, str]) -> bool:
    """Whether the headers have Slack's form and a fresh timestamp. The signature is not verified."""
    timestamp, signature = headers.get(_TIMESTAMP, ""), headers.get(_SIGNATURE, "")
    if not (re.fullmatch("[0-9]{1,12}", timestamp) and re.fullmatch("v0=[0-9a-f]{64}", signature)):
        return False
    return abs(verifier.clock.now() - int(timestamp)) <= FRESH_SECONDS


def is_signed(verifier: SignatureVerifier, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether Slack signed the request at most 5 minutes ago. Compares in constant time."""
    # The verifier requires headers of Slack's form.
    if not looks_signed(verifier, headers):
        return False
    try:
        return verifier.is_valid(body, headers[_TIMESTAMP], headers[_SIGNATURE])
    except UnicodeDecodeError:
        return False
