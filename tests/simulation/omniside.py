"""The simulated Omni without its sockets: its jobs, its limit, and the answers of its API to the bot."""

import json
import re
from collections import deque
from collections.abc import Callable
from typing import Any

import httpx

from bot.demo.omni.conversations import Listing, conversations_page
from bot.demo.omni.jobs import SimulatedJob
from bot.demo.omni.organization import KEY_OWNER, Key, Refusal
from bot.demo.omni.timeline import Script
from tests.simulation.scenario import JobPlan
from tests.simulation.wire import NO_ROUTE, Answer, Exchange, Unreachable, Wire

API_KEY = "omni_osk_simulated"
BASE_URL = "https://acme.omniapp.co"
MODEL = "d0000000-0000-4000-8000-000000000000"
PNG = b"\x89PNG\r\n\x1a\n, and a picture"
_STATUS = re.compile(r"/api/v1/ai/jobs/([0-9a-f-]{36})")
_CANCEL = re.compile(r"/api/v1/ai/jobs/([0-9a-f-]{36})/cancel")
_CHART = re.compile(r"/api/v1/ai/jobs/([0-9a-f-]{36})/vis")
_RESULT = re.compile(r"/api/v1/ai/jobs/[0-9a-f-]{36}/result")
_CONVERSATIONS = "/api/v1/ai/conversations"
_CONVERSATION = re.compile(r"/api/v1/ai/conversations/([0-9a-f-]{36})")


class OmniSide(httpx.AsyncBaseTransport):
    """Omni, and the transport that leads to it."""

    def __init__(
        self,
        wire: Wire,
        now: Callable[[], float],
        requests_per_minute: int,
        listing: Listing | None = None,
    ) -> None:
        self._wire = wire
        self._now = now
        self.requests_per_minute = requests_per_minute
        self.listing = listing or Listing()
        self._window: deque[float] = deque()
        self.jobs: dict[str, SimulatedJob] = {}
        self.drawn: set[str] = set()
        """The jobs whose answers have a chart."""
        self.removed: set[str] = set()
        self.seen: set[str] = set()
        """Jobs with a state that the bot has received."""
        self.questions: dict[str, list[JobPlan]] = {}
        """The jobs that begin when they are asked for, by their questions: the second when that is asked again."""
        self.repeated: dict[str, str] = {}
        """The jobs of questions that were asked more often than planned, with the last planned one."""
        self.submitted: list[str] = []
        """The questions that were taken, each as often as it was."""
        self.denied: dict[str, list[float]] = {}
        """When Omni answered that a job or chat does not exist."""

    def add(self, job: str, conversation: str, script: Script, prompt: str, *, chart: bool) -> None:
        """Somebody starts a job."""
        if chart:
            self.drawn.add(job)
        self.jobs[job] = SimulatedJob(
            id=job,
            conversation_id=conversation,
            chat_url=f"{BASE_URL}/chat/{conversation}",
            user_id=KEY_OWNER,
            prompt=prompt,
            topic="Orders",
            script=script,
            created_at=self._now(),
        )

    def remove(self, job: str) -> None:
        """The job is gone: 404 from now on."""
        del self.jobs[job]
        self.removed.add(job)

    def forget(self) -> None:
        """Drop every job."""
        for known in (
            self.jobs,
            self.drawn,
            self.removed,
            self.seen,
            self.repeated,
            self.denied,
            self.submitted,
        ):
            known.clear()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`."""
        path = request.url.path
        body = json.loads(request.content or b"{}")
        authorized = request.headers.get("Authorization") == f"Bearer {API_KEY}"
        try:
            answer = await self._wire.ask(
                "omni",
                f"{request.method} {path}",
                body,
                lambda exchange: self._serve(exchange, path, dict(request.url.params), authorized),
            )
        except Unreachable as error:
            if error.certain:
                raise httpx.ConnectError("refused", request=request) from error
            raise httpx.RemoteProtocolError("reset", request=request) from error
        headers = {**answer.headers, "Content-Type": answer.content_type}
        asked = _STATUS.fullmatch(path) or _CONVERSATION.fullmatch(path)
        if answer.status == 404 and answer is not NO_ROUTE and asked:
            self.denied.setdefault(asked.group(1), []).append(self._now())
        return httpx.Response(
            answer.status, headers=headers, stream=httpx.ByteStream(answer.body), request=request
        )

    def _serve(self, exchange: Exchange, path: str, query: dict[str, str], authorized: bool) -> Answer:
        now = self._now()
        self._window.append(now)
        while self._window[0] <= now - 60.0:
            self._window.popleft()
        if len(self._window) > self.requests_per_minute:
            exchange.outcome = "over the limit"
            return _problem(429, "Too Many Requests")
        if not authorized:
            return _problem(401, "Missing or invalid API key.")
        exchange.done = True
        if exchange.name == "POST /api/v1/ai/jobs":
            return self._submit(exchange, exchange.args["prompt"])
        if asked := _STATUS.fullmatch(path):
            return self._status(exchange, asked.group(1))
        if asked := _CANCEL.fullmatch(path):
            return self._cancel(exchange, asked.group(1))
        if asked := _CHART.fullmatch(path):
            return self._chart(exchange, asked.group(1))
        if path == _CONVERSATIONS:
            return self._conversations(exchange, query)
        if asked := _CONVERSATION.fullmatch(path):
            return self._conversation(asked.group(1))
        if _RESULT.fullmatch(path):
            # Asked for an answer that the status lacks. The result lacks it as well here.
            return _problem(404, "Job result not found")
        raise AssertionError(f"not simulated: {exchange.name}")

    def _submit(self, exchange: Exchange, question: str) -> Answer:
        plans = self.questions[question]
        # Omni has no idempotency key: who asks twice has two jobs.
        times = self.submitted.count(question)
        plan = plans[min(times, len(plans) - 1)]
        job = plan.id
        if times >= len(plans):
            job = f"{plan.id[:-1]}{times:x}"
            self.repeated[job] = plan.id
        self.submitted.append(question)
        self.add(job, plan.conversation, plan.script, question, chart=plan.chart)
        exchange.outcome = "taken"
        return Answer(
            200,
            json.dumps(
                {
                    "jobId": job,
                    "conversationId": plan.conversation,
                    "omniChatUrl": self.jobs[job].chat_url,
                }
            ).encode(),
        )

    def _cancel(self, exchange: Exchange, job: str) -> Answer:
        known = self.jobs.get(job)
        if known is None:
            return _problem(404, "Job not found")
        if known.moment(self._now()).state == "DELIVERING":
            return _problem(400, "Job is not in a cancellable state")
        known.cancel(self._now(), "the bot")
        exchange.outcome = known.moment(self._now()).state
        return Answer(200, json.dumps({"jobId": job, "state": exchange.outcome}).encode())

    def _status(self, exchange: Exchange, job: str) -> Answer:
        known = self.jobs.get(job)
        if known is None:
            return _problem(404, "Job not found")
        self.seen.add(job)
        exchange.outcome = known.moment(self._now()).state
        return Answer(200, known.status(self._now()))

    def _chart(self, exchange: Exchange, job: str) -> Answer:
        known = self.jobs.get(job)
        exchange.outcome = known.moment(self._now()).state if known else ""
        if exchange.outcome != "COMPLETE":
            return _problem(404, "Job not found")
        if job not in self.drawn:
            return Answer(422, b'{"error":"Visualization type is not renderable as an image"}')
        return Answer(200, PNG, content_type="image/png")

    def _conversations(self, exchange: Exchange, query: dict[str, str]) -> Answer:
        try:
            body = conversations_page(self.jobs.values(), query, Key(KEY_OWNER), self.listing, self._now())
        except Refusal as refusal:
            exchange.outcome = str(refusal.status)
            return _problem(refusal.status, refusal.detail)
        exchange.outcome = f"{len(body['data'])} rows"
        return Answer(200, json.dumps(body).encode())

    def _conversation(self, conversation: str) -> Answer:
        now = self._now()
        jobs = [job for job in self.jobs.values() if job.conversation_id == conversation]
        if not jobs:
            return _problem(404, "Conversation not found")
        body = {
            "id": conversation,
            "messages": [turn for j in jobs for turn in j.turns(now, running_too=True)],
        }
        return Answer(200, json.dumps(body).encode())


def _problem(status: int, detail: str) -> Answer:
    body: dict[str, Any] = {"detail": detail, "status": status}
    return Answer(status, json.dumps(body).encode())
