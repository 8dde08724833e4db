"""Client of Omni's API: jobs, questions and users.

Source of paths: Omni's OpenAPI document (github.com/exploreomni/cli, api/openapi.json).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
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
    ListRefused,
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
from bot.domain.ports import NO_METRICS, Metrics, QueuePosition
from bot.network import httpx_transport
from bot.omni.ask_schemas import (
    MODEL_KINDS,
    KeyIdentity,
    read_cancelled,
    read_identity,
    read_models,
    read_submitted,
    read_topics,
    read_user_attributes,
    read_user_roles,
    read_users,
    submit_body,
    user_filter,
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
from bot.omni.result_schemas import read_result
from bot.omni.schemas import read_conversations, read_newest_job, read_status
from bot.ratelimit import Rate, RateLimiter
from bot.tasks import RecentKeys
from bot.user_limit import UserLimit

log = structlog.get_logger()


_Read = TypeVar("_Read")

LONGER_TIMEOUT_SECONDS = 30.0
"""For results, which may be large; charts, which Omni draws on request; and submits, where a time-out leaves it unknown
whether the job runs."""

LARGEST_RESULT_BYTES = 16 * 1024 * 1024
"""The limit of Omni's own app for the result of a long run."""

LARGEST_CHART_BYTES = 8 * 1024 * 1024
"""A larger picture is not posted."""

REMEMBERED_CHARTS = 200
"""How many jobs the client remembers as having a chart or not."""

READ_ASIDE_BYTES = 256 * 1024
"""A larger body is parsed in a thread, so that it does not block the event loop."""

ROWS_PER_PAGE = 100
"""SCIM's default. Omni documents no maximum for models, and 100 for conversations."""

MOST_PAGES = 20
"""Each page costs a request of the key's budget while a user waits."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""Source: w3.org/TR/png, section 5.2."""

_USERS = "/api/scim/v2/Users"

_USERS_LOWER_CASE = "/api/scim/v2/users"
"""The spelling in docs.omni.co, which the OpenAPI document and live tenants contradict."""


class OmniClient:
    """`OmniJobs`, `OmniConversations`, `OmniQuestions` and `OmniUserDirectory` over httpx, within the key's limit."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        limiter: RateLimiter,
        random: Random,
        metrics: Metrics = NO_METRICS,
        users: UserLimit | None = None,
    ) -> None:
        """`client` must come from `omni_client`. `users`: see `OmniHttp`."""
        self._http = OmniHttp(client, limiter, random, metrics, users)
        self._charts: RecentKeys[JobId, bool] = RecentKeys(REMEMBERED_CHARTS)
        self._users_path = _USERS
        self._key_owner: frozenset[OmniUserId] = frozenset()

    async def status(self, job: JobId, *, urgent: bool = False, position: QueuePosition | None = None) -> Job:
        """See `OmniJobs.status`."""
        response = await self._http.ask(
            OmniRequest(f"/api/v1/ai/jobs/{job}"), urgent=urgent, position=position
        )
        return await _parse(partial(read_status, job), raise_for_status(response))

    async def newest_job(self, conversation: Conversation) -> JobId | None:
        """See `OmniJobs.newest_job`."""
        request = OmniRequest(f"/api/v1/ai/conversations/{conversation.id}")
        response = await self._http.ask(request, urgent=True)
        return await _parse(partial(read_newest_job, conversation), raise_for_status(response))

    async def recently_updated(self, *, position: QueuePosition) -> Mapping[str, datetime]:
        """See `OmniConversations.recently_updated`."""
        request = OmniRequest("/api/v1/ai/conversations", query={"pageSize": str(ROWS_PER_PAGE)})
        try:
            response = await self._http.ask(request, urgent=False, position=position)
        except TooLarge as error:
            raise ListRefused("the list is too large") from error
        if 400 <= response.status < 500 and response.status != 429:
            raise ListRefused(str(response.status))
        return await _parse(read_conversations, raise_for_status(response))

    async def result(
        self, job: JobId, *, urgent: bool = False, position: QueuePosition | None = None
    ) -> JobResult:
        """See `OmniJobs.result`. The content type is ignored: live tenants send octet-stream."""
        request = OmniRequest(
            f"/api/v1/ai/jobs/{job}/result",
            largest_bytes=LARGEST_RESULT_BYTES,
            timeout_seconds=LONGER_TIMEOUT_SECONDS,
        )
        response = await self._http.ask(request, urgent=urgent, position=position)
        return await _parse(read_result, raise_for_status(response))

    def has_chart(self, job: JobId) -> bool | None:
        """See `OmniJobs.has_chart`."""
        return self._charts.get(job)

    async def chart(self, job: JobId, *, position: QueuePosition | None = None) -> bytes | None:
        """See `OmniJobs.chart`."""
        picture = await self._chart(job, position)
        self._charts[job] = picture is not None
        return picture

    async def _chart(self, job: JobId, position: QueuePosition | None) -> bytes | None:
        request = OmniRequest(
            f"/api/v1/ai/jobs/{job}/vis",
            largest_bytes=LARGEST_CHART_BYTES,
            timeout_seconds=LONGER_TIMEOUT_SECONDS,
            accept="image/png",
        )
        try:
            response = await self._http.ask(request, urgent=False, position=position)
        except TooLarge:
            log.info("chart too large", job=job)
            return None
        # 404: the organization may lack the feature. 422: Omni can't draw it, which is true of most answers.
        if response.is_omnis and response.status in (400, 404, 422):
            return None
        picture = raise_for_status(response)
        return picture if picture.startswith(_PNG_SIGNATURE) else None

    async def submit(self, question: Question) -> Submitted:
        """See `OmniQuestions.submit`. Omni has no idempotency key, so a submit that may have arrived is never repeated.

        If Omni refuses the webhook, the question is submitted without it.
        """
        request = OmniRequest(
            "/api/v1/ai/jobs",
            method="POST",
            query={} if question.as_user is None else {"userId": question.as_user},
            body=submit_body(question),
            timeout_seconds=LONGER_TIMEOUT_SECONDS,
        )
        try:
            response = await self._http.ask(request, urgent=True)
        except NotSent:
            raise
        except OmniUnreachable as error:
            raise SubmitOutcomeUnknown(str(error)) from error
        if question.webhook is not None and response.is_omnis and response.status == 400:
            # Omni does not say which field a 400 is about. No job was created.
            log.warning("webhook refused by omni", url=question.webhook.url)
            return await self.submit(replace(question, webhook=None))
        return read_submitted(response, question)

    async def cancel(self, job: JobId) -> JobState:
        """See `OmniQuestions.cancel`. It is idempotent, so a conflict is retried once."""
        request = OmniRequest(f"/api/v1/ai/jobs/{job}/cancel", method="POST")
        response = await self._http.ask(request, urgent=True)
        if response.status == 409:
            response = await self._http.ask(request, urgent=True)
        return read_cancelled(response, job)

    async def models(self) -> Sequence[Model]:
        """See `OmniQuestions.models`."""
        found: dict[ModelId, Model] = {}
        for kind in MODEL_KINDS:
            found |= await self._models(kind)
        return sorted(found.values(), key=lambda model: (model.name.casefold(), model.id))

    async def _models(self, kind: str) -> dict[ModelId, Model]:
        found: dict[ModelId, Model] = {}
        query = {"modelKind": kind, "sortField": "name", "pageSize": str(ROWS_PER_PAGE)}
        for _ in range(MOST_PAGES):
            page = read_models(await self._http.ask(OmniRequest("/api/v1/models", query=query), urgent=True))
            found |= {model.id: model for model in page.models}
            if page.next_cursor in (None, query.get("cursor")):
                break
            query["cursor"] = page.next_cursor
        else:
            log.info("model list truncated", read=len(found))
        return found

    async def topics(self, model: ModelId) -> Sequence[str]:
        """See `OmniQuestions.topics`."""
        return read_topics(await self._http.ask(OmniRequest(f"/api/v1/models/{model}/topic"), urgent=True))

    async def whoami(self, model: ModelId | None) -> KeyIdentity:
        """Ask whose the key is. Source: docs.omni.co/api/who-am-i. Raises as `read_identity`."""
        query = {} if model is None else {"modelId": model}
        return read_identity(await self._http.ask(OmniRequest("/api/v1/whoami", query=query), urgent=True))

    async def named(self, email: str) -> Sequence[OmniUserId]:
        """See `OmniUserDirectory.named`. Raises OmniUnreachable if not all pages can be read: an unread one may hold a
        second match."""
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
                raise OmniUnreachable("the user pages repeat")
            seen |= page.ids
        raise OmniUnreachable("too many user pages")

    async def ids_of(self, user: OmniUserId) -> frozenset[OmniUserId]:
        """See `OmniUserDirectory.ids_of`.

        Sources: `membershipId` in docs.omni.co/api/user-model-roles and docs.omni.co/api/who-am-i; `omni_user_id` among
        the system-defined attributes of Omni's OpenAPI document.
        """
        found = frozenset({user})
        for path, read in (
            (f"{self._users_path}/{user}", read_user_attributes),
            (f"/api/v1/users/{user}/model-roles", read_user_roles),
        ):
            found |= await self._ids_shown(path, read)
        self._key_owner = self._key_owner or await self._ids_shown(
            "/api/v1/whoami", lambda response: read_identity(response).ids
        )
        return found | self._key_owner if found & self._key_owner else found

    async def _ids_shown(
        self, path: str, read: Callable[[OmniResponse], frozenset[OmniUserId]]
    ) -> frozenset[OmniUserId]:
        """Read ids of a user; none where Omni has no such path or does not show it to this key."""
        response = await self._http.ask(OmniRequest(path), urgent=True)
        is_refused = 400 <= response.status < 500 and response.status != 429
        return frozenset() if is_refused else read(response)

    async def _users(self, email: str, first: int) -> OmniResponse:
        """Load the page of users that starts at index `first`, counted from 1."""
        query = {"filter": user_filter(email), "startIndex": str(first), "count": str(ROWS_PER_PAGE)}
        response = await self._http.ask(OmniRequest(self._users_path, query=query), urgent=True)
        if response.status == 404 and self._users_path == _USERS:
            response = await self._http.ask(OmniRequest(_USERS_LOWER_CASE, query=query), urgent=True)
            if response.status == 200:
                # If both return 404, a gateway answered, and Omni's spelling is still unknown.
                self._users_path = _USERS_LOWER_CASE
        return response


def omni_client(base_url: str, token: str) -> httpx.AsyncClient:
    """Build the HTTP client for Omni, with the key in every request.

    It follows no redirects: they lead to a log-in page or a wrong address, and could hand the key to another host.
    """
    return httpx.AsyncClient(
        base_url=base_url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=httpx.Timeout(TIMEOUT_SECONDS),
        transport=httpx_transport(base_url, httpx.Limits(max_connections=20, keepalive_expiry=30.0)),
        follow_redirects=False,
    )


async def _parse(read: Callable[[bytes], _Read], body: bytes) -> _Read:
    """Parse a body, in a thread if it is large."""
    return await asyncio.to_thread(read, body) if len(body) > READ_ASIDE_BYTES else read(body)


MISSING_JOB = JobId("00000000-0000-0000-0000-000000000000")
"""A job that does not exist. Omni answers 404 to a valid key and 401 to an invalid one."""


@asynccontextmanager
async def unmetered(account: OmniAccount) -> AsyncIterator[OmniClient]:
    """Open a client that does not count against the running bot's request budget, for a few requests."""
    async with omni_client(account.base_url, account.api_token) as client:
        yield OmniClient(client, RateLimiter(_Unmetered(), "check", Rate.within(1, burst=1)), Random())


async def verify_api_key(omni: OmniClient) -> None:
    """Check the key with one request.

    Raises:
        KeyRefused: Omni refuses the key.
        OmniError: no response, or none in Omni's form.
    """
    with suppress(JobNotFound, OmniBusy):
        await omni.status(MISSING_JOB)


class _Unmetered:
    """A `RateLimitStore` without a limit."""

    async def take(self, _budget: str, _rate: Rate, *, urgent: bool = True) -> float:  # noqa: ARG002
        return 0.0

    async def pause(self, _budget: str, _rate: Rate, _seconds: float) -> None:
        """Do nothing."""
