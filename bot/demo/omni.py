"""A simulated Omni: its AI-job API on loopback, as strict as the documented one.

Shapes, codes and texts: Omni's OpenAPI document (github.com/exploreomni/cli, api/openapi.json) and the
pages under docs.omni.co/api, which alone describe the conversations and the cancel of a DELIVERING job.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.demo.faults import Faults, Unanswered, meet
from bot.demo.jobdata import JobData
from bot.demo.jobs import KEY_OWNER, MODEL, ORGANIZATION, SHOP_MODEL, SimulatedJob
from bot.demo.timeline import Script, timestamp

WINDOW_SECONDS = 60.0
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CHAT_PAGE = Path(__file__).with_name("chat.html").read_text("utf-8")


@dataclass(slots=True)
class Request:
    """One request as it came in. `status` is what was answered; None while unanswered and if dropped."""

    at: float
    method: str
    path: str
    status: int | None = None


class SimulatedOmni:
    """Omni for one organisation and one API key.

    Use as an async context manager; `base_url` is known from then on. Times are those of `now`, Unix
    seconds: jobs have no clock of their own, so a test may jump.

    Args:
        requests_per_minute: above it, requests are answered 429. Source: docs.omni.co/api/rate-limits,
            60 per key.
        retry_after: seconds to send as `Retry-After` with a 429; Omni documents none.
        running_jobs_in_chats: whether a running job already has an assistant turn in its conversation;
            which of the two Omni does is not documented.
        draws: whether the organisation has the feature `apiAiVis`; without it `/vis` answers 404.
    """

    def __init__(
        self,
        *,
        requests_per_minute: int = 60,
        now: Callable[[], float] = time.time,
        api_key: str = "omni_osk_demo_0123456789abcdef",
        port: int = 0,
        retry_after: int | None = None,
        running_jobs_in_chats: bool = False,
        draws: bool = True,
    ) -> None:
        self.base_url = ""
        self.api_key = api_key
        self.faults = Faults()
        self.requests: list[Request] = []
        """Every request to the API; people's visits to chat pages are not among them."""
        self.answered_429 = 0
        self.jobs: dict[str, SimulatedJob] = {}
        self.script_for_submitted = Script(2.0, ((4.0, "Searching for fields", 1),), 1.0)
        """What happens to jobs that come in through the API."""
        self.requests_per_minute = requests_per_minute
        self.retry_after = retry_after
        self.running_jobs_in_chats = running_jobs_in_chats
        self.draws = draws
        self._now = now
        self._port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen on loopback."""
        app = web.Application(middlewares=[self._gate])
        job = "/api/v1/ai/jobs/{job}"
        app.router.add_post("/api/v1/ai/jobs", self._submit)
        app.router.add_get(job, self._status, allow_head=False)
        app.router.add_post(f"{job}/cancel", self._cancel)
        app.router.add_get(f"{job}/result", self._result, allow_head=False)
        app.router.add_get(f"{job}/vis", self._visualization, allow_head=False)
        app.router.add_get("/api/v1/ai/conversations/{conversation}", self._conversation, allow_head=False)
        app.router.add_get("/api/v1/models", self._models, allow_head=False)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop listening; what was recorded stays."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # What people do in Omni.

    def add(
        self,
        script: Script,
        *,
        job_id: str | None = None,
        prompt: str = "What are the top 5 products by revenue?",
        conversation_id: str | None = None,
        topic: str | None = None,
        user_id: str = KEY_OWNER,
        age_seconds: float = 0.0,
        data: JobData | None = None,
    ) -> str:
        """Somebody starts a job, now or `age_seconds` ago; `data` is what it will have found. Returns its id."""
        conversation_id = (conversation_id or str(uuid4())).lower()
        job = SimulatedJob(
            id=(job_id or str(uuid4())).lower(),
            conversation_id=conversation_id,
            chat_url=f"{self.base_url}/chat/{conversation_id}",
            user_id=user_id,
            prompt=prompt,
            topic=topic,
            script=script,
            created_at=self._now() - age_seconds,
            data=data or JobData(),
        )
        self.jobs[job.id] = job
        return job.id

    def cancel(self, job_id: str, *, by: str | None = KEY_OWNER) -> None:
        """Somebody cancels the job in Omni, with the effect that its state allows."""
        self.jobs[job_id].cancel(self._now(), by)

    def remove(self, job_id: str) -> None:
        """The job is gone: 404 from now on."""
        del self.jobs[job_id]

    # How tests bend a job.

    def set(self, job_id: str, **fields: Any) -> None:
        """Override fields of the status body, whatever the state."""
        self.jobs[job_id].omitted.difference_update(fields)
        self.jobs[job_id].changed.update(fields)

    def omit(self, job_id: str, *fields: str) -> None:
        """Leave fields out of the status body."""
        self.jobs[job_id].omitted.update(fields)

    def raw(self, job_id: str, body: Any) -> None:
        """Answer the status with this instead: bytes as they are, anything else as JSON."""
        self.jobs[job_id].raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    def restore(self, job_id: str) -> None:
        """Forget what `set`, `omit` and `raw` did to the job."""
        job = self.jobs[job_id]
        job.changed, job.omitted, job.raw = {}, set(), None

    # What was asked of Omni.

    def last_minute(self) -> int:
        """How many requests came in the last 60 s."""
        now = self._now()
        return sum(1 for request in self.requests if now - WINDOW_SECONDS < request.at <= now)

    def worst_minute(self) -> int:
        """The largest number of requests in any 60 s window, its start counted and its end not."""
        times = sorted(request.at for request in self.requests)
        worst = first = 0
        for last, at in enumerate(times):
            while at - times[first] >= WINDOW_SECONDS:
                first += 1
            worst = max(worst, last - first + 1)
        return worst

    # The API.

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/chat/"):
            return web.Response(text=_CHAT_PAGE, content_type="text/html")
        seen = Request(self._now(), request.method, request.path)
        self.requests.append(seen)
        # Refused requests count as well: Omni does not say, and this is the stricter reading.
        over_limit = self.last_minute() > self.requests_per_minute

        async def serve() -> web.StreamResponse:
            if over_limit:
                return self._too_many()
            if request.headers.get("Authorization") != f"Bearer {self.api_key}":
                return _problem(401, "Missing or invalid API key.")
            try:
                return await handler(request)
            except web.HTTPException as refusal:
                return _problem(refusal.status, refusal.reason)

        response = await meet(self.faults.take(f"{request.method} {request.path}"), request, serve)
        if isinstance(response, Unanswered):
            return response
        seen.status = response.status
        self.answered_429 += response.status == 429
        return response

    def _too_many(self) -> web.Response:
        refusal = _problem(429, "Too Many Requests")
        if self.retry_after is not None:
            refusal.headers["Retry-After"] = str(self.retry_after)
        return refusal

    def _job(self, request: web.Request) -> SimulatedJob:
        job = self.jobs.get(_uuid(request.match_info["job"], "job"))
        if job is None:
            raise web.HTTPNotFound(reason="Job not found")
        return job

    async def _status(self, request: web.Request) -> web.Response:
        job = self._job(request)
        return web.Response(body=job.status(self._now()), content_type="application/json")

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self._job(request)
        if job.moment(self._now()).state == "DELIVERING":
            raise web.HTTPBadRequest(reason="Job is not in a cancellable state")
        job.cancel(self._now(), KEY_OWNER)
        return web.json_response({"jobId": job.id, "state": job.moment(self._now()).state})

    async def _result(self, request: web.Request) -> web.Response:
        result = self._job(request).result(self._now())
        if result is None:
            raise web.HTTPNotFound(reason="Job results not yet available")
        # One JSON document, but live tenants send it under this type whatever the specification says.
        return web.Response(body=result, content_type="application/octet-stream")

    async def _visualization(self, request: web.Request) -> web.Response:
        job = self._job(request)
        if not self.draws or not job.has_result(self._now()):
            raise web.HTTPNotFound(reason="Job not found")
        if job.data.picture is None:
            return web.json_response({"error": job.data.why_no_picture}, status=422)
        return web.Response(body=job.data.picture, content_type="image/png")

    async def _conversation(self, request: web.Request) -> web.Response:
        conversation_id = _uuid(request.match_info["conversation"], "conversation")
        jobs = [job for job in self.jobs.values() if job.conversation_id == conversation_id]
        if not jobs:
            raise web.HTTPNotFound(reason="Conversation not found")
        jobs.sort(key=lambda job: job.created_at)
        now = self._now()
        messages = [turn for job in jobs for turn in job.turns(now, running_too=self.running_jobs_in_chats)]
        body = {
            "id": conversation_id,
            "userId": jobs[0].user_id,
            "organizationId": ORGANIZATION,
            "createdAt": timestamp(jobs[0].created_at),
            "updatedAt": messages[-1]["timestamp"],
            "messages": messages,
        }
        return web.json_response(body)

    async def _models(self, request: web.Request) -> web.Response:
        records = [SHOP_MODEL] if request.query.get("modelKind", "SHARED") == "SHARED" else []
        page = {"hasNextPage": False, "nextCursor": None, "pageSize": 20, "totalRecords": len(records)}
        return web.json_response({"pageInfo": page, "records": records})

    async def _submit(self, request: web.Request) -> web.Response:
        try:
            asked = await request.json()
        except ValueError:
            asked = None
        if not isinstance(asked, dict) or not isinstance(asked.get("prompt"), str) or not asked["prompt"]:
            raise web.HTTPBadRequest(reason="prompt: required, at least one character")
        if _uuid(str(asked.get("modelId")), "model") != MODEL:
            raise web.HTTPNotFound(reason="Model not found")
        conversation_id = asked.get("conversationId")
        if conversation_id is not None:
            self._refuse_second_job_in(_uuid(str(conversation_id), "conversation"))
        job_id = self.add(
            self.script_for_submitted,
            prompt=asked["prompt"],
            topic=asked.get("topicName"),
            conversation_id=conversation_id,
            user_id=request.query.get("userId", KEY_OWNER),
        )
        job = self.jobs[job_id]
        body = {"jobId": job.id, "conversationId": job.conversation_id, "omniChatUrl": job.chat_url}
        return web.json_response(body, status=201)

    def _refuse_second_job_in(self, conversation_id: str) -> None:
        now = self._now()
        for job in self.jobs.values():
            if job.conversation_id == conversation_id and not job.is_final(now):
                raise web.HTTPConflict(reason="Active job exists for conversation")


def _uuid(text: str, of: str) -> str:
    if not _UUID.fullmatch(text):
        raise web.HTTPBadRequest(reason=f"Invalid {of} ID format. Must be a valid UUID.")
    return text.lower()


def _problem(status: int, detail: str) -> web.Response:
    return web.json_response({"detail": detail, "status": status}, status=status)
