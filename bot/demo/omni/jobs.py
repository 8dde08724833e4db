"""One job inside the simulated Omni: what was asked, where it stands, and how tests bend what it says."""

import json
from dataclasses import dataclass, field
from typing import Any

from bot.demo.omni.job_data import JobData
from bot.demo.omni.organization import MODEL, ORGANIZATION
from bot.demo.omni.timeline import FINAL_STATES, Complete, Moment, Script, Stop, past, status_body, timestamp

RESULTS_KEPT_SECONDS = 14 * 86_400.0
"""Source: docs.omni.co, "Stream AI job results": retained for 14 days after completion."""


@dataclass(slots=True)
class SimulatedJob:
    """A job and its script. Every `now` is Unix seconds."""

    id: str
    conversation_id: str
    chat_url: str
    user_id: str
    prompt: str
    topic: str | None
    script: Script
    created_at: float
    model_id: str = MODEL
    branch_id: str | None = None
    data: JobData = field(default_factory=JobData)
    stop: Stop | None = None
    changed: dict[str, Any] = field(default_factory=dict)
    omitted: set[str] = field(default_factory=set)
    raw: bytes | None = None

    def moment(self, now: float) -> Moment:
        """Where the job stands."""
        return self._moments(now)[-1]

    def moments(self, now: float) -> tuple[Moment, ...]:
        """States of the job so far, the current one last."""
        return self._moments(now)

    def is_final(self, now: float) -> bool:
        """Whether the job has ended."""
        return self.moment(now).state in FINAL_STATES

    def cancel(self, now: float, by: str | None) -> None:
        """Note the wish to cancel; its effect depends on the state. A second one changes nothing."""
        if self.stop is None:
            self.stop = Stop(now - self.created_at, by)

    def status(self, now: float) -> bytes:
        """The body of `GET …/jobs/{jobId}`."""
        if self.raw is not None:
            return self.raw
        body = status_body(
            self._moments(now),
            created_at=self.created_at,
            job_id=self.id,
            conversation_id=self.conversation_id,
            chat_url=self.chat_url,
            prompt=self.prompt,
            topic=self.topic,
            branch_id=self.branch_id,
            user_id=self.user_id,
            organization_id=ORGANIZATION,
            model_id=self.model_id,
        )
        body |= self.changed
        return json.dumps({name: value for name, value in body.items() if name not in self.omitted}).encode()

    def result(self, now: float) -> bytes | None:
        """The body of `GET …/jobs/{jobId}/result`, or None where Omni has none: not COMPLETE, or too old."""
        end, ended_at = self._end(now)
        if end is None or not self.has_result(now) or now - ended_at > RESULTS_KEPT_SECONDS:
            return None
        return self.data.result(
            answer=end.markdown, topic=self.topic, chat_url=self.chat_url, ended_at=ended_at, now=now
        )

    def has_result(self, now: float) -> bool:
        """Whether the job is COMPLETE and what it found is where `/result` and `/vis` look for it."""
        end, ended_at = self._end(now)
        return end is not None and now - ended_at >= self.data.ready_after_seconds

    def _end(self, now: float) -> tuple[Complete | None, float]:
        last = self.moment(now)
        return last.end if isinstance(last.end, Complete) else None, self.created_at + last.since_seconds

    def turns(self, now: float, *, running_too: bool) -> list[dict[str, Any]]:
        """The job's turns in its conversation: the question, and the assistant's turn if there is one."""
        last = self.moment(now)
        asked = {"role": "user", "content": self.prompt, "timestamp": timestamp(self.created_at)}
        if last.state not in FINAL_STATES and not running_too:
            return [asked]
        answered = {
            "role": "assistant",
            "content": (last.end.markdown or "") if isinstance(last.end, Complete) else "",
            "timestamp": timestamp(self.created_at + last.since_seconds),
            "jobId": self.id,
            "omniChatUrl": self.chat_url,
        }
        return [asked, answered]

    def _moments(self, now: float) -> tuple[Moment, ...]:
        return past(self.script, now - self.created_at, self.stop)
