"""HTTP mode: Slack calls `/slack/events` on `PORT`, for commands, interactions and events alike.

Nothing of a body is parsed before its signature is verified, and without headers of Slack's form it is not even read.
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
from bot.slack import Dispatcher

log = structlog.get_logger()

PATH = "/slack/events"
READ_WITHIN_SECONDS = 3.0
"""How long a body may take to arrive; Slack has given up by then."""
LARGEST_SSL_CHECK_BYTES = 1024
"""Of an unsigned body that is read all the same, since it may be Slack's look at our certificate."""
CLOSE_WITHIN_SECONDS = 1.5
"""At the end, how long what is being answered may take."""

GOOD_FOR_SECONDS = 300.0
"""How far a timestamp may be from our time; the SDK's verifier has the same limit."""

_TIMESTAMP, _SIGNATURE = "X-Slack-Request-Timestamp", "X-Slack-Signature"
_PASSED_ON = ("Content-Type", "X-Slack-Retry-Num", "X-Slack-Retry-Reason")
"""What Bolt is told of the headers. They are not signed, and Bolt does as some others of them say."""


class SlackEvents:
    """The address at which Slack reaches the app. Fulfils `delivery.EventSource`."""

    def __init__(self, dispatch: Dispatcher, signing_secret: str, clock: Clock | None = None) -> None:
        """`clock`: another only for tests."""
        self._dispatch = dispatch
        self._verifier = SignatureVerifier(signing_secret, clock or Clock())
        self._is_open = False
        self._under_way: set[asyncio.Task[web.Response]] = set()

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
        size = request.content_length
        if not is_claimed(self._verifier, request.headers) and (
            size is None or size > LARGEST_SSL_CHECK_BYTES
        ):
            return _refused()
        try:
            body = await read_body(request, within_seconds=READ_WITHIN_SECONDS)
        except BodyRefused as refused:
            return web.Response(status=refused.status)
        if not is_signed(self._verifier, body, request.headers):
            if b"ssl_check=1" in body.split(b"&"):
                # Slack looks at our certificate. Nowhere does it say whether it signs that; nothing comes of it.
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
            log.warning("signed request without a payload that can be read")
            return web.Response(status=400)
        if asked.body.get("ssl_check") == "1":
            return web.Response()
        if asked.body.get("type") == "url_verification":
            log.info("address verified by Slack")
            return web.json_response({"challenge": str(asked.body.get("challenge") or "")})
        return await to_aiohttp_response(await self._dispatch.async_dispatch(asked))


def _refused() -> web.Response:
    log.warning("request refused: not signed by Slack, or more than 5 minutes ago")
    return web.Response(status=401)


def is_claimed(verifier: SignatureVerifier, headers: Mapping[str, str]) -> bool:
    """Whether a request says of itself, in Slack's form, that Slack has signed it at most 5 minutes ago."""
    timestamp, signature = headers.get(_TIMESTAMP, ""), headers.get(_SIGNATURE, "")
    if not (re.fullmatch("[0-9]{1,12}", timestamp) and re.fullmatch("v0=[0-9a-f]{64}", signature)):
        return False
    return abs(verifier.clock.now() - int(timestamp)) <= GOOD_FOR_SECONDS


def is_signed(verifier: SignatureVerifier, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether Slack has signed a request, at most 5 minutes ago; compared in constant time."""
    # The verifier takes it for granted that the headers are of the form that Slack's have.
    if not is_claimed(verifier, headers):
        return False
    try:
        return verifier.is_valid(body, headers[_TIMESTAMP], headers[_SIGNATURE])
    except UnicodeDecodeError:
        return False
