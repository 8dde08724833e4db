"""HTTP mode: Slack calls `/slack/events` on `PORT`, for commands, interactions and events alike.

Nothing of a request is read before its signature is verified. Source: docs.slack.dev/authentication/
verifying-requests-from-slack and docs.slack.dev/apis/events-api/using-http-request-urls.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence

import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.signature import Clock, SignatureVerifier

from bot.dispatch import Dispatch

log = structlog.get_logger()

PATH = "/slack/events"
READ_WITHIN_SECONDS = 3.0
"""How long a body may take to arrive; Slack has given up by then."""
WARNED_EVERY_SECONDS = 60.0
"""How often the log tells of refused requests: anybody can have one refused, as often as they like."""
CLOSE_WITHIN_SECONDS = 1.5
"""At the end, how long what is being answered may take."""

_TIMESTAMP, _SIGNATURE = "X-Slack-Request-Timestamp", "X-Slack-Signature"
_PASSED_ON = ("Content-Type", "X-Slack-Retry-Num", "X-Slack-Retry-Reason")
"""What Bolt is told of the headers. They are not signed, and Bolt does as some others of them say."""


class HttpMode:
    """The address at which Slack reaches the app. Fulfils `delivery.Delivery`."""

    def __init__(self, dispatch: Dispatch, signing_secret: str, clock: Clock | None = None) -> None:
        """`clock`: another only for tests."""
        self._dispatch = dispatch
        self._verifier = SignatureVerifier(signing_secret, clock or Clock())
        self._is_open = False
        self._under_way: set[asyncio.Task[web.Response]] = set()
        self._warned_at = float("-inf")

    def routes(self) -> list[web.RouteDef]:
        """What Slack calls; answered with 503 unless `run` runs."""
        return [web.post(PATH, self._serve)]

    async def is_connected(self) -> bool:
        """Whether requests are taken. That Slack has the right address shows only when it calls."""
        return self._is_open

    async def run(self) -> None:
        """Take requests until cancelled; what is being answered then is answered."""
        self._is_open = True
        log.info("http open", path=PATH)
        try:
            await asyncio.Event().wait()
        finally:
            self._is_open = False
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=CLOSE_WITHIN_SECONDS)

    async def _serve(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(READ_WITHIN_SECONDS):
                body = await request.read()
        except TimeoutError:
            return web.Response(status=408)
        if not is_signed(self._verifier, body, request.headers):
            if b"ssl_check=1" in body.split(b"&"):
                # Slack looks at our certificate. Nowhere does it say whether it signs that; nothing comes of it.
                return web.Response()
            self._warn()
            return web.Response(status=401)
        if not self._is_open:
            return web.Response(status=503)
        answering = asyncio.create_task(self._answer(body.decode(), request.headers))
        self._under_way.add(answering)
        answering.add_done_callback(self._under_way.discard)
        return await answering

    def _warn(self) -> None:
        at = asyncio.get_running_loop().time()
        if at - self._warned_at >= WARNED_EVERY_SECONDS:
            self._warned_at = at
            log.warning("request refused: not signed by Slack, or more than 5 minutes ago")

    async def _answer(self, body: str, headers: Mapping[str, str]) -> web.Response:
        passed_on: dict[str, str | Sequence[str]] = {n: headers[n] for n in _PASSED_ON if n in headers}
        try:
            asked = AsyncBoltRequest(body=body, headers=passed_on)
        except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
            log.warning("signed request without a payload that can be read")
            return web.Response(status=400)
        if asked.body.get("ssl_check") == "1":
            return web.Response()
        if asked.body.get("type") == "url_verification":
            log.info("address verified by Slack")
            return web.json_response({"challenge": str(asked.body.get("challenge") or "")})
        return await to_aiohttp_response(await self._dispatch.async_dispatch(asked))


def is_signed(verifier: SignatureVerifier, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether Slack has signed a request, at most 5 minutes ago; compared in constant time."""
    timestamp, signature = headers.get(_TIMESTAMP, ""), headers.get(_SIGNATURE, "")
    # The verifier takes it for granted that these are of the form that Slack's have.
    if not (re.fullmatch("[0-9]{1,12}", timestamp) and re.fullmatch("v0=[0-9a-f]{64}", signature)):
        return False
    try:
        return verifier.is_valid(body, timestamp, signature)
    except UnicodeDecodeError:
        return False
