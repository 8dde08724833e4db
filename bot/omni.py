"""Omni's AI jobs over HTTP: one request function behind the key's one budget.

Source of paths, fields and states: Omni's OpenAPI document (github.com/exploreomni/cli, api/openapi.json).
Bodies are read tolerantly: fields may be missing or null, states may be new, and what is not JSON at all
counts as no answer.
"""

import asyncio
import json
import re
from datetime import UTC, datetime
from random import Random
from typing import Annotated, Any
from uuid import UUID

import httpx
import structlog
from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic.alias_generators import to_camel

from bot.budget import Gate
from bot.job import Conversation, Job, JobError, JobId, JobState, Progress
from bot.ports import JobNotFound, KeyRefused, OmniBusy, OmniUnreachable, Worth

log = structlog.get_logger()

TIMEOUT_SECONDS = 10.0
"""A status is a small body; whoever has not answered it in full by then is better asked again."""
LARGEST_BODY_BYTES = 8 * 1024 * 1024
"""More than any status seen (an answer of 50,000 characters is rare); a bound for what we hold in memory."""
LONGEST_PAUSE_SECONDS = 60.0
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_OMNI_STATES = frozenset(state.value for state in JobState) - {JobState.UNKNOWN.value}


def _time_or_none(value: object) -> datetime | None:
    """An ISO 8601 time, in UTC; None for anything else, since no time is worth losing a status over."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _whole_text(value: object) -> object:
    """A text without halves of characters, which JSON may hold where a text was cut, but UTF-8 can't."""
    return _LONE_SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


def _text_or_none(value: object) -> object:
    """A text with something in it; None for anything else."""
    return _whole_text(value) if isinstance(value, str) and value.strip() else None


def _job_id_or_none(value: object) -> JobId | None:
    """A job's id as we write it; None for what is no UUID."""
    try:
        return JobId(str(UUID(value))) if isinstance(value, str) else None
    except ValueError:
        return None


def _number_or_none(value: object) -> int | None:
    """A whole number of a size that counts something; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9 else None


def _object_or_empty(value: object) -> object:
    return value if isinstance(value, dict) else {}


Text = Annotated[str | None, BeforeValidator(_text_or_none)]
Time = Annotated[datetime | None, BeforeValidator(_time_or_none)]
Number = Annotated[int | None, BeforeValidator(_number_or_none)]


class _Body(BaseModel, alias_generator=to_camel, extra="ignore", hide_input_in_errors=True):
    pass


class _Progress(_Body):
    message: Text = None
    iteration: Number = None


class _Error(_Body):
    message: Text = None
    code: Text = None
    detail: Text = None


class _Status(_Body):
    """The body of `GET /api/v1/ai/jobs/{jobId}`. Only `state` is insisted on."""

    state: Annotated[str, BeforeValidator(_whole_text)]
    prompt: Text = None
    omni_chat_url: Text = None
    topic_name: Text = None
    progress: Annotated[_Progress, BeforeValidator(_object_or_empty)] = _Progress()
    error: Annotated[_Error, BeforeValidator(_object_or_empty)] = _Error()
    result_summary: Text = None
    created_at: Time = None
    execution_started_at: Time = None
    completed_at: Time = None
    cancelled_at: Time = None
    cancelled_by: Text = None


class _Turn(_Body):
    job_id: Annotated[str | None, BeforeValidator(_job_id_or_none)] = None


class _Conversation(_Body):
    """The body of `GET /api/v1/ai/conversations/{conversationId}`."""

    messages: list[Annotated[_Turn, BeforeValidator(_object_or_empty)]]


def read_status(job: JobId, body: bytes) -> Job:
    """A status body as a `Job`.

    Raises:
        OmniUnreachable: it is not a JSON object with a `state`.
    """
    try:
        status = _Status.model_validate(_decoded(body))
    except ValidationError as error:
        raise OmniUnreachable(f"not a job status: {error.error_count()} problems in the body") from error
    state = JobState(status.state) if status.state in _OMNI_STATES else JobState.UNKNOWN
    progress = None
    if state is JobState.EXECUTING and status.progress.message is not None:
        progress = Progress(status.progress.message, status.progress.iteration)
    failure = None
    if state is JobState.FAILED:
        message = status.error.message or "Omni gave no reason."
        failure = JobError(message, status.error.code, status.error.detail)
    return Job(
        id=job,
        state=state,
        raw_state=status.state,
        prompt=status.prompt or "",
        chat_url=status.omni_chat_url,
        topic=status.topic_name,
        progress=progress,
        answer=status.result_summary if state is JobState.COMPLETE else None,
        error=failure,
        created_at=status.created_at,
        execution_started_at=status.execution_started_at,
        completed_at=status.completed_at,
        cancelled_at=status.cancelled_at,
        cancelled_by=status.cancelled_by,
    )


def _decoded(body: bytes) -> Any:
    """A body as JSON. Raises OmniUnreachable where it is none, or nested deeper than any of Omni's."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise OmniUnreachable(f"not JSON: {type(error).__name__}") from error


class OmniApi:
    """`Omni` over httpx. Each request takes a turn of the gate, so the key's limit holds for all of them."""

    def __init__(self, client: httpx.AsyncClient, gate: Gate, random: Random) -> None:
        """`client` comes from `omni_client`."""
        self._client = client
        self._gate = gate
        self._random = random
        self._refusals = 0

    async def status(self, job: JobId, *, urgent: bool = False, worth: Worth | None = None) -> Job:
        """See `Omni.status`."""
        return read_status(job, await self._request(f"/api/v1/ai/jobs/{job}", urgent=urgent, worth=worth))

    async def newest_job(self, conversation: Conversation) -> JobId | None:
        """See `Omni.newest_job`. Source: docs.omni.co/api/ai/get-conversation."""
        body = await self._request(f"/api/v1/ai/conversations/{conversation.id}", urgent=True)
        try:
            turns = _Conversation.model_validate(_decoded(body)).messages
        except ValidationError as error:
            raise OmniUnreachable("not a conversation") from error
        with_job = [turn.job_id for turn in turns if turn.job_id is not None]
        return JobId(with_job[-1]) if with_job else None

    async def chart(self, job: JobId, *, worth: Worth | None = None) -> bytes | None:
        """See `Omni.chart`."""
        try:
            body = await self._request(f"/api/v1/ai/jobs/{job}/vis", urgent=False, worth=worth)
        except JobNotFound:
            return None
        except OmniUnreachable as error:
            if str(error) == "HTTP 422":  # what Omni can't draw
                return None
            raise
        return body if body.startswith(b"\x89PNG\r\n\x1a\n") else None

    async def _request(self, path: str, *, urgent: bool, worth: Worth | None = None) -> bytes:
        """GET a path. Raises any OmniError."""
        await self._gate.turn(urgent=urgent, worth=worth)
        try:
            # httpx bounds each wait, but not how many of them a dripping body takes.
            async with asyncio.timeout(TIMEOUT_SECONDS), self._client.stream("GET", path) as response:
                body = await _read(response)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise OmniUnreachable(type(error).__name__) from error
        if response.status_code == 429:
            await self._slow_down(response)
        elif response.status_code == 200:
            self._refusals = 0
        return _judge(response, body)

    async def _slow_down(self, response: httpx.Response) -> None:
        """Pause everything that uses the key: as long as Omni says, else longer each time, with jitter."""
        self._refusals += 1
        seconds = _retry_after_seconds(response)
        if seconds is None:
            seconds = 2.0 ** min(self._refusals, 6) * (0.75 + 0.5 * self._random.random())
        seconds = min(seconds, LONGEST_PAUSE_SECONDS)
        log.warning("omni rate limit met", pause_seconds=round(seconds, 1), in_a_row=self._refusals)
        await self._gate.pause(seconds)


def omni_client(base_url: str, token: str) -> httpx.AsyncClient:
    """The HTTP client for Omni: the key in every request, bounded waits, no redirects followed.

    A redirect from an API is a log-in page or a wrong address; following it could hand the key to another host.
    """
    return httpx.AsyncClient(
        base_url=base_url,
        headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
        timeout=httpx.Timeout(TIMEOUT_SECONDS),
        limits=httpx.Limits(max_connections=20, keepalive_expiry=30.0),
        follow_redirects=False,
    )


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > LARGEST_BODY_BYTES:
            raise OmniUnreachable("the body is too large")
    return bytes(body)


def _judge(response: httpx.Response, body: bytes) -> bytes:
    """The body of a good answer; an OmniError for any other."""
    code = response.status_code
    if code == 200:
        return body
    if code == 429:
        raise OmniBusy("429")
    if code in (401, 403):
        raise KeyRefused(str(code))
    # 400: "Invalid job ID format"; a 404 counts only if Omni says it in JSON, since a proxy's page of the
    # same code says nothing about the job.
    if code in (400, 404) and _is_object(body):
        raise JobNotFound(str(code))
    raise OmniUnreachable(f"HTTP {code}")


def _is_object(body: bytes) -> bool:
    return body.lstrip()[:1] == b"{"


def _retry_after_seconds(response: httpx.Response) -> float | None:
    """Seconds from a Retry-After header; Omni does not promise one. Its form as a date is not read."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", "")))
    except ValueError:
        return None
