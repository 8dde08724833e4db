"""Omni's AI jobs over HTTP: what is asked of which address, and how urgently.

Source of paths: Omni's OpenAPI document (github.com/exploreomni/cli, api/openapi.json). Bodies are read tolerantly:
what is not JSON at all counts as no answer.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from random import Random
from typing import TypeVar

import httpx
import structlog

from bot.domain import (
    Conversation,
    Job,
    JobId,
    JobNotFound,
    JobResult,
    JobState,
    Model,
    ModelId,
    OmniAccount,
    OmniBusy,
    OmniUnreachable,
    OmniUserId,
    Question,
    SubmitOutcomeUnknown,
    Submitted,
)
from bot.domain.ports import NO_METRICS, Metrics, Priority
from bot.omni.ask_schemas import (
    read_cancelled,
    read_models,
    read_submitted,
    read_topics,
    read_users,
    user_filter,
    written,
)
from bot.omni.http import (
    TIMEOUT_SECONDS,
    NotSent,
    OmniHttp,
    OmniRequest,
    OmniResponse,
    TooLarge,
    raise_for_status,
)
from bot.omni.schemas import read_newest_job, read_result, read_status
from bot.ratelimit import Rate, RateLimiter
from bot.tasks import RecentKeys
from bot.user_limit import UserLimit

log = structlog.get_logger()


_Read = TypeVar("_Read")

LONGER_TIMEOUT_SECONDS = 30.0
"""A result comes straight from storage and may be large; a chart is drawn when it is asked for; and to give up on a
submit is to not know whether the job runs."""

LARGEST_RESULT_BYTES = 16 * 1024 * 1024
"""What Omni's own app takes of a long run's result."""

LARGEST_CHART_BYTES = 8 * 1024 * 1024
"""A picture of more is not put into a thread."""

REMEMBERED_CHARTS = 200
"""Of how many jobs it is remembered whether they have one."""

READ_ASIDE_BYTES = 256 * 1024
"""A larger body is read in a thread of its own: nothing else may wait for that."""

ROWS_PER_PAGE = 100
"""Of lists. SCIM's default; Omni names no greatest page for models, and 100 for conversations."""

MOST_PAGES = 20
"""Each costs a request of the key's budget, and somebody waits for all of them."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""Source: w3.org/TR/png, section 5.2."""

_USERS = "/api/scim/v2/Users"

_USERS_IN_SMALL_LETTERS = "/api/scim/v2/users"
"""As docs.omni.co writes it, against the OpenAPI document and live tenants."""


class OmniClient:
    """`OmniJobs`, `OmniQuestions` and `Members` over httpx, behind one gate."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        limiter: RateLimiter,
        random: Random,
        metrics: Metrics = NO_METRICS,
        users: UserLimit | None = None,
    ) -> None:
        """`client` comes from `omni_client`. `users`: as for `OmniHttp`."""
        self._http = OmniHttp(client, limiter, random, metrics, users)
        self._charts: RecentKeys[JobId, bool] = RecentKeys(REMEMBERED_CHARTS)
        self._users_path = _USERS

    # Jobs.

    async def status(self, job: JobId, *, urgent: bool = False, worth: Priority | None = None) -> Job:
        """See `OmniJobs.status`."""
        answer = await self._http.ask(OmniRequest(f"/api/v1/ai/jobs/{job}"), urgent=urgent, worth=worth)
        return await _aside(partial(read_status, job), raise_for_status(answer))

    async def newest_job(self, conversation: Conversation) -> JobId | None:
        """See `OmniJobs.newest_job`."""
        asked = OmniRequest(f"/api/v1/ai/conversations/{conversation.id}")
        answer = await self._http.ask(asked, urgent=True)
        return await _aside(partial(read_newest_job, conversation), raise_for_status(answer))

    async def result(self, job: JobId, *, urgent: bool = False) -> JobResult:
        """See `OmniJobs.result`. The type that Omni calls it by is not looked at: live tenants say octet-stream."""
        asked = OmniRequest(
            f"/api/v1/ai/jobs/{job}/result",
            largest_bytes=LARGEST_RESULT_BYTES,
            timeout_seconds=LONGER_TIMEOUT_SECONDS,
        )
        return await _aside(read_result, raise_for_status(await self._http.ask(asked, urgent=urgent)))

    def has_chart(self, job: JobId) -> bool | None:
        """See `OmniJobs.has_chart`."""
        return self._charts.get(job)

    async def chart(self, job: JobId, *, worth: Priority | None = None) -> bytes | None:
        """See `OmniJobs.chart`."""
        picture = await self._chart(job, worth)
        self._charts[job] = picture is not None
        return picture

    async def _chart(self, job: JobId, worth: Priority | None) -> bytes | None:
        asked = OmniRequest(
            f"/api/v1/ai/jobs/{job}/vis",
            largest_bytes=LARGEST_CHART_BYTES,
            timeout_seconds=LONGER_TIMEOUT_SECONDS,
            accept="image/png",
        )
        try:
            answer = await self._http.ask(asked, urgent=False, worth=worth)
        except TooLarge:
            log.info("chart too large", job=job)
            return None
        # 404: also where the organisation has no such feature. 422: not drawable, as most answers are.
        if answer.is_omnis and answer.status in (400, 404, 422):
            return None
        picture = raise_for_status(answer)
        return picture if picture.startswith(_PNG_SIGNATURE) else None

    # Asking.

    async def submit(self, question: Question) -> Submitted:
        """See `OmniQuestions.submit`. Omni has no key by which it would know a second submit for the first.

        A webhook that Omni refuses must not keep people from asking: the question goes without it.
        """
        asked = OmniRequest(
            "/api/v1/ai/jobs",
            method="POST",
            query={} if question.as_user is None else {"userId": question.as_user},
            body=written(question),
            timeout_seconds=LONGER_TIMEOUT_SECONDS,
        )
        try:
            answer = await self._http.ask(asked, urgent=True)
        except NotSent:
            raise
        except OmniUnreachable as error:
            raise SubmitOutcomeUnknown(str(error)) from error
        if question.webhook is not None and answer.is_omnis and answer.status == 400:
            # Omni does not document which of its fields a 400 is about. Nothing was begun.
            log.warning("submit refused, asked again without its webhook", url=question.webhook.url)
            return await self.submit(replace(question, webhook=None))
        return read_submitted(answer, question)

    async def cancel(self, job: JobId) -> JobState:
        """See `OmniQuestions.cancel`. It may be asked any number of times: on a job that has ended it changes
        nothing."""
        asked = OmniRequest(f"/api/v1/ai/jobs/{job}/cancel", method="POST")
        answer = await self._http.ask(asked, urgent=True)
        if answer.status == 409:
            answer = await self._http.ask(asked, urgent=True)
        return read_cancelled(answer, job)

    async def models(self) -> Sequence[Model]:
        """See `OmniQuestions.models`."""
        found: dict[ModelId, Model] = {}
        query = {"modelKind": "SHARED", "sortField": "name", "pageSize": str(ROWS_PER_PAGE)}
        for _ in range(MOST_PAGES):
            page = read_models(await self._http.ask(OmniRequest("/api/v1/models", query=query), urgent=True))
            found |= {model.id: model for model in page.models}
            if page.next_cursor in (None, query.get("cursor")):
                break
            query["cursor"] = page.next_cursor
        else:
            log.info("more models than are read", read=len(found))
        return sorted(found.values(), key=lambda model: (model.name.casefold(), model.id))

    async def topics(self, model: ModelId) -> Sequence[str]:
        """See `OmniQuestions.topics`."""
        return read_topics(await self._http.ask(OmniRequest(f"/api/v1/models/{model}/topic"), urgent=True))

    # Members.

    async def named(self, email: str) -> Sequence[OmniUserId]:
        """See `Members.named`. OmniUnreachable also where not all users can be read: one that was not seen may have
        the address too."""
        seen: set[str] = set()
        found: dict[OmniUserId, None] = {}
        first = 1
        for _ in range(MOST_PAGES):
            page = read_users(await self._users(email, first), email)
            found |= dict.fromkeys(page.matching)
            first += page.rows
            if page.rows == 0 or (page.total is not None and first > page.total):
                return tuple(found)
            if page.ids <= seen:
                raise OmniUnreachable("the pages of users do not go on")
            seen |= page.ids
        raise OmniUnreachable("more users than are read")

    async def _users(self, email: str, first: int) -> OmniResponse:
        """The page of users that begins with that one, counted from 1."""
        query = {"filter": user_filter(email), "startIndex": str(first), "count": str(ROWS_PER_PAGE)}
        answer = await self._http.ask(OmniRequest(self._users_path, query=query), urgent=True)
        if answer.status == 404 and self._users_path == _USERS:
            answer = await self._http.ask(OmniRequest(_USERS_IN_SMALL_LETTERS, query=query), urgent=True)
            if answer.status == 200:
                # Only then: a 404 of both is a gateway's, and says nothing about how Omni spells it.
                self._users_path = _USERS_IN_SMALL_LETTERS
        return answer


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


async def _aside(read: Callable[[bytes], _Read], body: bytes) -> _Read:
    """Read a body, a large one in a thread of its own."""
    return await asyncio.to_thread(read, body) if len(body) > READ_ASIDE_BYTES else read(body)


NOBODYS_JOB = JobId("00000000-0000-0000-0000-000000000000")
"""A job that does not exist: a good key is told so, a bad one is refused."""


@asynccontextmanager
async def unmetered(account: OmniAccount) -> AsyncIterator[OmniClient]:
    """Omni, beside the budget that the running bot keeps for the key."""
    async with omni_client(account.base_url, account.api_token) as client:
        yield OmniClient(client, RateLimiter(_Unmetered(), "check", Rate.within(1, burst=1)), Random())


async def verify_api_key(omni: OmniClient) -> None:
    """Ask for nobody's job.

    Raises:
        KeyRefused: Omni does not take the key.
        OmniError: Omni does not answer, or not as Omni does.
    """
    with suppress(JobNotFound, OmniBusy):
        await omni.status(NOBODYS_JOB)


class _Unmetered:
    """A ledger for the few requests of a check."""

    async def take(self, _budget: str, _rate: Rate, *, urgent: bool = True) -> float:  # noqa: ARG002
        return 0.0

    async def pause(self, _budget: str, _rate: Rate, _seconds: float) -> None:
        """One request needs no pause after it."""
