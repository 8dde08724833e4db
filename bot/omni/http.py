"""Requests to Omni over HTTP, behind the one budget of the key, and what their answers mean."""

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
from bot.domain.ports import NO_METRICS, Metrics, Priority, RequestOutcome
from bot.omni.schemas import is_omnis_error
from bot.ratelimit import RateLimiter
from bot.tasks import backoff_seconds
from bot.user_limit import UserLimit

log = structlog.get_logger()

TIMEOUT_SECONDS = 10.0
"""A status is a small body; whoever has not answered it in full by then is better asked again. No connection takes
longer to come about either."""
LARGEST_BODY_BYTES = 8 * 1024 * 1024
"""More than any status seen (an answer of 50,000 characters is rare); a bound for what we hold in memory."""
LONGEST_PAUSE_SECONDS = 60.0
WITH_SCHEMA = "/api/v1/ai/"
"""Under it Omni documents the bodies of errors. Source: its OpenAPI document."""
_CODINGS = ("", "identity", "gzip", "x-gzip", "deflate")
"""Of a body; a second coding on top of one of these is refused. Source: RFC 9110, section 8.4.1."""
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
"""Lets zlib tell the two by their header."""
_BEFORE_SENDING = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
"""What httpx raises while there is no connection yet, so that no byte of a request can have gone out."""


@dataclass(frozen=True, slots=True)
class OmniRequest:
    """What is asked for, and how much of it is taken."""

    path: str
    method: Literal["GET", "POST"] = "GET"
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Mapping[str, object] | None = field(default=None, repr=False)
    """Sent as JSON; all text in it must be whole."""
    largest_bytes: int | None = None
    """None: LARGEST_BODY_BYTES."""
    timeout_seconds: float | None = None
    """None: TIMEOUT_SECONDS."""
    accept: str = "application/json"


@dataclass(frozen=True, slots=True)
class OmniResponse:
    """The answer to a request: Omni's, or that of a gateway in front of Omni."""

    status: int
    body: bytes = field(repr=False)
    has_schema: bool = True
    """Whether Omni documents the body of an error there. It does for AI jobs and conversations, not for models, topics
    and SCIM."""

    @property
    def is_omnis(self) -> bool:
        """Whether an error is Omni's own. A gateway uses the same codes, and knows nothing about a job or a key."""
        if self.has_schema:
            return is_omnis_error(self.status, self.body)
        return not self.body.lstrip().startswith(b"<")


class TooLarge(OmniUnreachable):
    """There is more of it than is taken."""


class NotSent(OmniUnreachable):
    """No connection came about: Omni certainly knows nothing of the request."""


class OmniHttp:
    """Asks Omni. Each request takes a turn of the gate, so the key's limit holds for all of them."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        limiter: RateLimiter,
        random: Random,
        metrics: Metrics = NO_METRICS,
        users: UserLimit | None = None,
    ) -> None:
        """`users`: counts what each user causes; None: nothing is counted."""
        self._client = client
        self._limiter = limiter
        self._random = random
        self._metrics = metrics
        self._users = users or UserLimit(sys.maxsize)
        self._refusals = 0

    async def ask(self, asked: OmniRequest, *, urgent: bool, worth: Priority | None = None) -> OmniResponse:
        """Ask once; nothing is ever sent a second time.

        Raises:
            NotSent: there is no connection.
            OmniUnreachable: nothing usable comes back. Whether the request had its effect, nobody can tell.
        """
        if urgent:
            async with self._users.turn():
                await self._limiter.acquire(urgent=True)
        else:
            await self._limiter.acquire(worth=worth)
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
        request = self._client.build_request(
            asked.method,
            asked.path,
            params=asked.query or None,
            content=None if asked.body is None else json.dumps(asked.body).encode(),
            headers=_headers(asked),
            timeout=httpx.Timeout(seconds, connect=TIMEOUT_SECONDS, pool=TIMEOUT_SECONDS),
        )
        try:
            # httpx bounds each wait, but not how many of them a dripping body takes.
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
        """Pause everything that uses the key: as long as Omni says, else longer each time, with jitter."""
        self._refusals += 1
        seconds = _retry_after_seconds(response)
        if seconds is None:
            seconds = backoff_seconds(self._refusals, longest=64.0) * (0.75 + 0.5 * self._random.random())
        seconds = min(seconds, LONGEST_PAUSE_SECONDS)
        log.warning("omni rate limit met", pause_seconds=round(seconds, 1), in_a_row=self._refusals)
        await self._limiter.pause(seconds)


def raise_for_status(answer: OmniResponse) -> bytes:
    """The body of a good answer; an OmniError for any other."""
    if answer.status == 200:
        return answer.body
    raise refusal(answer)


def refusal(answer: OmniResponse) -> OmniError:
    """What an answer means that is not the one hoped for, of whatever has no meaning of its own."""
    code = answer.status
    if code == 429:
        return OmniBusy("429")
    if not 400 <= code < 500:
        return OmniUnreachable(f"HTTP {code}")
    if not answer.is_omnis:
        return OmniUnreachable(f"HTTP {code}, not in Omni's form: a gateway's?")
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


def _headers(asked: OmniRequest) -> dict[str, str]:
    headers = {"Accept": asked.accept, "Accept-Encoding": "identity"}
    return headers if asked.body is None else headers | {"Content-Type": "application/json"}


async def _read(response: httpx.Response, largest_bytes: int) -> bytes:
    """Read the body. No step holds more than `largest_bytes` of it, however well it is compressed.

    Identity is asked for, but a result may be stored compressed and sent as it is stored.
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
    """Seconds from a Retry-After header; Omni does not promise one. Its form as a date is not read."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", "")))
    except ValueError:
        return None
