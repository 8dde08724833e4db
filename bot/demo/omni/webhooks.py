"""Webhooks of the simulated Omni: their content, signatures and retries.

Headers, signature and the body at the end: docs.omni.co/api/ai/create-ai-job. That progress is tried once, and that the
end is always sent: Omni's OpenAPI document (github.com/exploreomni/cli, api/openapi.json). Not documented, and chosen
here: the body of progress, what a failed job's holds, and how often the end is repeated without a 2xx.
A cancelled job sends nothing, because no event for it is documented.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from bot.demo.omni.jobs import SimulatedJob
from bot.demo.omni.submissions import Hook
from bot.demo.omni.timeline import FINAL_STATES, Complete, Moment, timestamp

AGAIN_AFTER_SECONDS = (1.0, 5.0, 25.0)
"""Delays before the end of a job is sent again."""
ANSWERED_WITHIN_SECONDS = 5.0
LOOKS_EVERY_SECONDS = 0.05
"""Jobs have no clock of their own."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it went out. `status` is what was answered; None: nothing."""

    url: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    status: int | None


class Webhooks:
    """Sends webhooks and records them in `sent`."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.sent: list[Sent] = []
        self.is_lost = False
        """Whether what is sent from now on is lost on the way."""
        self.times = 1
        """How often each event is sent, for any response."""
        self._now = now
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def hook(self, job: SimulatedJob, hook: Hook) -> None:
        """Tell of a job from now on."""
        self._spawn(self._tell(job, hook))

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> int | None:
        """Send a request as it is. Returns the status, or None without a response."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=ANSWERED_WITHIN_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout)
        try:
            async with self._session.post(url, data=body, headers=headers) as answer:
                status: int | None = answer.status
        except (aiohttp.ClientError, TimeoutError):
            status = None
        self.sent.append(Sent(url, headers, body, status))
        return status

    async def close(self) -> None:
        """Stop sending."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _tell(self, job: SimulatedJob, hook: Hook) -> None:
        told = 0
        while True:
            for moment in job.moments(self._now())[told:]:
                told += 1
                if moment.step is not None and moment.step.message is not None and hook.with_progress:
                    # Nobody waits for it, and nothing comes of a failure.
                    self._spawn(self._send(hook, progress_body(job, moment, hook)))
                if moment.state in FINAL_STATES:
                    if moment.state != "CANCELLED":
                        await self._send_until_taken(hook, end_body(job, moment, hook))
                    return
            await asyncio.sleep(LOOKS_EVERY_SECONDS)

    async def _send_until_taken(self, hook: Hook, body: bytes) -> None:
        for pause in (*AGAIN_AFTER_SECONDS, None):
            status = await self._send(hook, body)
            if (status is not None and 200 <= status < 300) or pause is None:
                return
            await asyncio.sleep(pause)

    async def _send(self, hook: Hook, body: bytes) -> int | None:
        headers = signed(hook.secret, int(self._now()), body)
        if self.is_lost:
            self.sent.append(Sent(hook.url, headers, body, None))
            return None
        for _ in range(self.times - 1):
            await self.send(hook.url, headers, body)
        return await self.send(hook.url, headers, body)

    def _spawn(self, telling: Any) -> None:
        task = asyncio.create_task(telling)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def signed(secret: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of a body that is signed at that time, in seconds since 1970."""
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-Omni-Signature-Timestamp": str(at),
        "X-Omni-Signature": f"sha256={signature}",
    }


def end_body(job: SimulatedJob, moment: Moment, hook: Hook) -> bytes:
    """Body of the event at the end. Its keys have two styles, as documented."""
    at = job.created_at + moment.since_seconds
    body: dict[str, Any] = {
        "event_id": f"evt_{job.id[:8]}_{moment.state}_{int(at)}",
        "jobId": job.id,
        "status": moment.state,
        "metadata": hook.metadata,
        "completed_at": timestamp(at),
    }
    if isinstance(moment.end, Complete):
        body["result_summary"] = moment.end.markdown
    return json.dumps(body).encode()


def progress_body(job: SimulatedJob, moment: Moment, hook: Hook) -> bytes:
    """Body of a progress event."""
    assert moment.step is not None
    at = job.created_at + moment.since_seconds
    body = {
        "event_id": f"evt_{job.id[:8]}_{moment.state}_{int(at * 1_000)}",
        "jobId": job.id,
        "status": moment.state,
        "progress": {"iteration": moment.step.iteration, "message": moment.step.message},
        "metadata": hook.metadata,
    }
    return json.dumps(body).encode()
