"""HTTP requests to Omni within the key's rate limit, and the errors that their responses stand for."""

import asyncio
import json
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import httpx
import structlog

from bot.domain import JobNotFound, KeyRefused, OmniBusy, OmniError, OmniUnreachable
from bot.domain.ports import NO_METRICS, Metrics, QueuePosition, RequestOutcome
from bot.omni.schemas import is_omnis_error
from bot.ratelimit import RateLimiter
from bot.tasks import backoff_seconds
from bot.user_limit import UserLimit

log = structlog.get_logger()

TIMEOUT_SECONDS = 10.0
"""For connecting, and for a small response to arrive in full."""
LARGEST_BODY_BYTES = 8 * 1024 * 1024
"""Bounds memory. More than any status seen; an answer of 50,000 characters is rare."""
LONGEST_PAUSE_SECONDS = 60.0
WITH_SCHEMA = "/api/v1/ai/"
"""Paths for which Omni's OpenAPI document describes the bodies of errors."""
_CODINGS = ("", "identity", "gzip", "x-gzip", "deflate")
"""Accepted content codings; stacked ones are refused. Source: RFC 9110, section 8.4.1."""
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
"""Makes zlib detect which of the two it is."""
_BEFORE_SENDING = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
"""Errors that httpx raises before a connection exists, so that no byte of the request was sent."""


@dataclass(frozen=True, slots=True)
class OmniRequest:
    """A request to Omni and the largest response body to read."""

    path: str
    method: Literal["GET", "POST"] = "GET"
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Mapping[str, object] | None = field(default=None, repr=False)
    """Sent as JSON. Text must not contain lone surrogates."""
    largest_bytes: int | None = None
    """Default: LARGEST_BODY_BYTES."""
    timeout_seconds: float | None = None
    """Default: TIMEOUT_SECONDS."""
    accept: str = "application/json"


@dataclass(frozen=True, slots=True)
class OmniResponse:
    """A response from Omni, or from a gateway in front of it."""

    status: int
    body: bytes = field(repr=False)
    has_schema: bool = True
    """Whether Omni documents the error bodies: it does for jobs and conversations, not for models, topics and SCIM."""

    @property
    def is_omnis(self) -> bool:
        """Whether Omni itself sent this error. A gateway's 401 or 404 says nothing about a key or a job."""
        if self.has_schema:
            return is_omnis_error(self.status, self.body)
        return not self.body.lstrip().startswith(b"<")


class TooLarge(OmniUnreachable):
    """The body exceeds the limit."""


class NotSent(OmniUnreachable):
    """No connection was made, so Omni did not receive the request."""


class OmniHttp:
    """Sends requests to Omni, each after the rate limiter lets it through."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        limiter: RateLimiter,
        random: Random,
        metrics: Metrics = NO_METRICS,
        users: UserLimit | None = None,
    ) -> None:
        """`users`: limits the requests that each user causes; None: unlimited."""
        self._client = client
        self._limiter = limiter
        self._random = random
        self._metrics = metrics
        self._users = users or UserLimit(sys.maxsize)
        self._refusals = 0

    async def ask(
        self, asked: OmniRequest, *, urgent: bool, position: QueuePosition | None = None
    ) -> OmniResponse:
        """Send a request once. There are no retries.

        Raises:
            NotSent: no connection was made.
            OmniUnreachable: there was no usable response, so the request's effect is unknown.
        """
        if urgent:
            async with self._users.turn():
                await self._limiter.acquire(urgent=True, position=position)
        else:
            await self._limiter.acquire(position=position)
        outcome = RequestOutcome.ABANDONED
        try:
            response, body = await self._send(asked)
            answer = OmniResponse(response.status_code, body, asked.path.startswith(WITH_SCHEMA))
            outcome = _outcome(answer)
        except NotSent:
            outcome = RequestOutcome.NOT_SENT
            raise
        except OmniUnreachable:
            outcome = RequestOutcome.UNANSWERED
            raise
        finally:
            self._metrics.omni_request(outcome)
        if response.status_code == 429:
            await self._slow_down(response)
        elif response.is_success:
            self._refusals = 0
        return answer

    async def _send(self, asked: OmniRequest) -> tuple[httpx.Response, bytes]:
        seconds = asked.timeout_seconds or TIMEOUT_SECONDS
        headers = {"Accept": asked.accept, "Accept-Encoding": "identity"}
        if asked.body is not None:
            headers["Content-Type"] = "application/json"
        request = self._client.build_request(
            asked.method,
            asked.path,
            params=asked.query or None,
            content=None if asked.body is None else json.dumps(asked.body).encode(),
            headers=headers,
            timeout=httpx.Timeout(seconds, connect=TIMEOUT_SECONDS, pool=TIMEOUT_SECONDS),
        )
        try:
            # httpx limits each read, but not how many of them a slow body takes.
            async with asyncio.timeout(seconds):
                response = await self._client.send(request, stream=True)
                try:
                    body = await _read(response, asked.largest_bytes or LARGEST_BODY_BYTES)
                finally:
                    await response.aclose()
        except _BEFORE_SENDING as error:
            raise NotSent(type(error).__name__) from error
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise OmniUnreachable(type(error).__name__) from error
        return response, body

    async def _slow_down(self, response: httpx.Response) -> None:
        """Pause all requests with this key, for Retry-After or with exponential back-off and jitter."""
        self._refusals += 1
        seconds = _retry_after_seconds(response)
        if seconds is None:
            seconds = backoff_seconds(self._refusals, longest=64.0) * (0.75 + 0.5 * self._random.random())
        seconds = min(seconds, LONGEST_PAUSE_SECONDS)
        log.warning("omni rate limit met", pause_seconds=round(seconds, 1), in_a_row=self._refusals)
        await self._limiter.pause(seconds)


def raise_for_status(answer: OmniResponse) -> bytes:
    """Return the body of a 200. Raises the OmniError that any other status stands for."""
    if answer.status == 200:
        return answer.body
    raise refusal(answer)


def refusal(answer: OmniResponse) -> OmniError:
    """Return the error that an unsuccessful response stands for, unless its request gives it another meaning."""
    code = answer.status
    if code == 429:
        return OmniBusy("429")
    if not 400 <= code < 500:
        return OmniUnreachable(f"HTTP {code}")
    if not answer.is_omnis:
        return OmniUnreachable(f"HTTP {code} in a form that Omni does not use; did a gateway answer?")
    if code in (401, 403):
        return KeyRefused(str(code))
    # 400: "Invalid job ID format".
    return JobNotFound(str(code)) if code in (400, 404) else OmniUnreachable(f"HTTP {code}")


def _outcome(answer: OmniResponse) -> RequestOutcome:
    status = answer.status
    if status == 429:
        return RequestOutcome.RATE_LIMITED
    if status >= 500 or (status >= 400 and not answer.is_omnis):
        return RequestOutcome.SERVER_ERROR
    if status in (401, 403):
        return RequestOutcome.KEY_REFUSED
    return RequestOutcome.OK if 200 <= status < 300 else RequestOutcome.REFUSED


async def _read(response: httpx.Response, largest_bytes: int) -> bytes:
    """Read and inflate the body, holding at most `largest_bytes`. Raises OmniUnreachable.

    The request asks for identity, but Omni may send a stored result compressed.
    """
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in _CODINGS:
        raise OmniUnreachable("the body has a content coding that was not asked for")
    inflater = None if coding in ("", "identity") else zlib.decompressobj(_GZIP_OR_ZLIB)
    body = bytearray()
    async for chunk in response.aiter_raw():
        left_bytes = largest_bytes + 1 - len(body)
        try:
            body += chunk[:left_bytes] if inflater is None else inflater.decompress(chunk, left_bytes)
        except zlib.error as error:
            raise OmniUnreachable("the body can't be inflated") from error
        if len(body) > largest_bytes:
            raise TooLarge("the body is too large")
    if inflater is not None and not inflater.eof:
        raise OmniUnreachable("the body is cut short")
    return bytes(body)


def _retry_after_seconds(response: httpx.Response) -> float | None:
    """The seconds in a Retry-After header, which Omni does not document. The date form is ignored."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", "")))
    except ValueError:
        return None
