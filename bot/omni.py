"""Omni's AI jobs over HTTP: one request function behind the key's one budget.

Source of paths, fields and states: Omni's OpenAPI document (github.com/exploreomni/cli, api/openapi.json).
Bodies are read tolerantly: fields may be missing or null, states may be new, and what is not JSON at all
counts as no answer.
"""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Annotated

import httpx
import structlog
from pydantic import BeforeValidator, ValidationError

from bot.budget import Gate
from bot.errors import JobNotFound, KeyRefused, OmniBusy, OmniUnreachable
from bot.job import Conversation, Job, JobError, JobId, JobState, Progress
from bot.omnibody import Body, Id, Number, Text, Time, decoded, object_or_empty, whole_text
from bot.omniresult import read_result
from bot.ports import Worth
from bot.result import JobResult

log = structlog.get_logger()

TIMEOUT_SECONDS = 10.0
"""A status is a small body; whoever has not answered it in full by then is better asked again."""
LONGER_TIMEOUT_SECONDS = 30.0
"""A result comes straight from storage and may be large; a chart is drawn when it is asked for."""
LARGEST_BODY_BYTES = 8 * 1024 * 1024
"""More than any status seen (an answer of 50,000 characters is rare); a bound for what we hold in memory."""
LARGEST_RESULT_BYTES = 16 * 1024 * 1024
"""What Omni's own app takes of a long run's result."""
LARGEST_CHART_BYTES = 8 * 1024 * 1024
"""A picture of more is not put into a thread."""
REMEMBERED_CHARTS = 1_000
"""Of how many jobs it is remembered whether they have one."""
READ_ASIDE_BYTES = 256 * 1024
"""A larger result is read in a thread of its own: nothing else may wait for that."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""Source: w3.org/TR/png, section 5.2."""
LONGEST_PAUSE_SECONDS = 60.0
_OMNI_STATES = frozenset(state.value for state in JobState) - {JobState.UNKNOWN.value}


class _Progress(Body):
    message: Text = None
    iteration: Number = None


class _Error(Body):
    message: Text = None
    code: Text = None
    detail: Text = None


class _Status(Body):
    """The body of `GET /api/v1/ai/jobs/{jobId}`. Only `state` is insisted on."""

    state: Annotated[str, BeforeValidator(whole_text)]
    prompt: Text = None
    omni_chat_url: Text = None
    topic_name: Text = None
    conversation_id: Id = None
    user_id: Id = None
    model_id: Id = None
    progress: Annotated[_Progress, BeforeValidator(object_or_empty)] = _Progress()
    error: Annotated[_Error, BeforeValidator(object_or_empty)] = _Error()
    result_summary: Text = None
    created_at: Time = None
    execution_started_at: Time = None
    completed_at: Time = None
    cancelled_at: Time = None
    cancelled_by: Text = None


class _Turn(Body):
    job_id: Id = None


class _Conversation(Body):
    """The body of `GET /api/v1/ai/conversations/{conversationId}`."""

    messages: list[Annotated[_Turn, BeforeValidator(object_or_empty)]]


def read_status(job: JobId, body: bytes) -> Job:
    """A status body as a `Job`.

    Raises:
        OmniUnreachable: it is not a JSON object with a `state`.
    """
    try:
        status = _Status.model_validate(decoded(body))
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
        conversation=status.conversation_id,
        user=status.user_id,
        model=status.model_id,
        progress=progress,
        answer=status.result_summary if state is JobState.COMPLETE else None,
        error=failure,
        created_at=status.created_at,
        execution_started_at=status.execution_started_at,
        completed_at=status.completed_at,
        cancelled_at=status.cancelled_at,
        cancelled_by=status.cancelled_by,
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for, and how much of it is taken."""

    path: str
    largest_bytes: int | None = None
    """None: LARGEST_BODY_BYTES."""
    timeout_seconds: float | None = None
    """None: TIMEOUT_SECONDS."""
    accept: str = "application/json"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes


class _TooLarge(OmniUnreachable):
    """There is more of it than is taken."""


class OmniApi:
    """`Omni` over httpx. Each request takes a turn of the gate, so the key's limit holds for all of them."""

    def __init__(self, client: httpx.AsyncClient, gate: Gate, random: Random) -> None:
        """`client` comes from `omni_client`."""
        self._client = client
        self._gate = gate
        self._random = random
        self._refusals = 0
        self._charts: dict[JobId, bool] = {}

    async def status(self, job: JobId, *, urgent: bool = False, worth: Worth | None = None) -> Job:
        """See `Omni.status`."""
        return read_status(job, await self._request(f"/api/v1/ai/jobs/{job}", urgent=urgent, worth=worth))

    async def newest_job(self, conversation: Conversation) -> JobId | None:
        """See `Omni.newest_job`. Source: docs.omni.co/api/ai/get-conversation."""
        body = await self._request(f"/api/v1/ai/conversations/{conversation.id}", urgent=True)
        try:
            turns = _Conversation.model_validate(decoded(body)).messages
        except ValidationError as error:
            raise OmniUnreachable("not a conversation") from error
        with_job = [turn.job_id for turn in turns if turn.job_id is not None]
        return JobId(with_job[-1]) if with_job else None

    async def result(self, job: JobId, *, urgent: bool = False) -> JobResult:
        """See `Omni.result`. The type that Omni calls it by is not looked at: live tenants say octet-stream."""
        asked = _Asked(f"/api/v1/ai/jobs/{job}/result", LARGEST_RESULT_BYTES, LONGER_TIMEOUT_SECONDS)
        body = _judge(await self._ask(asked, urgent=urgent))
        if len(body) > READ_ASIDE_BYTES:
            return await asyncio.to_thread(read_result, body)
        return read_result(body)

    def has_chart(self, job: JobId) -> bool | None:
        """See `Omni.has_chart`."""
        return self._charts.get(job)

    async def chart(self, job: JobId, *, worth: Worth | None = None) -> bytes | None:
        """See `Omni.chart`."""
        picture = await self._chart(job, worth)
        self._charts[job] = picture is not None
        if len(self._charts) > REMEMBERED_CHARTS:
            del self._charts[next(iter(self._charts))]
        return picture

    async def _chart(self, job: JobId, worth: Worth | None) -> bytes | None:
        asked = _Asked(f"/api/v1/ai/jobs/{job}/vis", LARGEST_CHART_BYTES, LONGER_TIMEOUT_SECONDS, "image/png")
        try:
            answer = await self._ask(asked, urgent=False, worth=worth)
        except _TooLarge:
            log.info("chart too large", job=job)
            return None
        # 404: also where the organisation has no such feature. 422: not drawable, as most answers are.
        if answer.status in (400, 404, 422):
            return None
        picture = _judge(answer)
        return picture if picture.startswith(_PNG_SIGNATURE) else None

    async def _request(self, path: str, *, urgent: bool, worth: Worth | None = None) -> bytes:
        """GET a path. Raises any OmniError."""
        return _judge(await self._ask(_Asked(path), urgent=urgent, worth=worth))

    async def _ask(self, asked: _Asked, *, urgent: bool, worth: Worth | None = None) -> _Answer:
        """GET what is asked for. Raises OmniUnreachable where nothing usable comes back."""
        await self._gate.turn(urgent=urgent, worth=worth)
        seconds = asked.timeout_seconds or TIMEOUT_SECONDS
        headers = {"Accept": asked.accept}
        try:
            # httpx bounds each wait, but not how many of them a dripping body takes.
            async with (
                asyncio.timeout(seconds),
                self._client.stream("GET", asked.path, headers=headers, timeout=seconds) as response,
            ):
                body = await _read(response, asked.largest_bytes or LARGEST_BODY_BYTES)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise OmniUnreachable(type(error).__name__) from error
        if response.status_code == 429:
            await self._slow_down(response)
        elif response.status_code == 200:
            self._refusals = 0
        return _Answer(response.status_code, body)

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
        headers={"Authorization": f"Bearer {token}"},
        timeout=httpx.Timeout(TIMEOUT_SECONDS),
        limits=httpx.Limits(max_connections=20, keepalive_expiry=30.0),
        follow_redirects=False,
    )


async def _read(response: httpx.Response, largest_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > largest_bytes:
            raise _TooLarge("the body is too large")
    return bytes(body)


def _judge(answer: _Answer) -> bytes:
    """The body of a good answer; an OmniError for any other."""
    code = answer.status
    if code == 200:
        return answer.body
    if code == 429:
        raise OmniBusy("429")
    if code in (401, 403):
        raise KeyRefused(str(code))
    # 400: "Invalid job ID format"; a 404 counts only if Omni says it in JSON, since a proxy's page of the
    # same code says nothing about the job.
    if code in (400, 404) and _is_object(answer.body):
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
