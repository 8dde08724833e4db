"""State of the simulated Omni: its jobs, its organization, and overrides for tests. No I/O."""

import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from bot.demo.omni.conversations import Listing
from bot.demo.omni.job_data import JobData
from bot.demo.omni.jobs import SimulatedJob
from bot.demo.omni.lists import USERS_PER_PAGE
from bot.demo.omni.organization import KEY_OWNER, MODEL, Key, Organization
from bot.demo.omni.submissions import Hook
from bot.demo.omni.timeline import Script


class OmniWorld:
    """One organisation with its jobs, as people in Omni and tests change it.

    Times are those of `now`, Unix seconds: jobs have no clock of their own, so a test may jump.
    """

    def __init__(self, api_key: str, now: Callable[[], float] = time.time) -> None:
        self.base_url = ""
        self.api_key = api_key
        """The organisation's key."""
        self.now = now
        self.jobs: dict[str, SimulatedJob] = {}
        self.organization = Organization()
        self.script_for_submitted = Script(2.0, ((4.0, "Searching for fields", 1),), 1.0)
        """Script of jobs that are submitted through the API."""
        self.data_for_submitted = JobData()
        """Their results."""
        self.course: Callable[[str], tuple[Script, JobData]] = self._as_set
        """Both, by their prompt."""
        self.hooked: Callable[[SimulatedJob, Hook], None] = lambda _job, _hook: None
        """Called with each job that has a webhook."""
        self.running_jobs_in_chats = False
        """Whether a running job already has an assistant turn in its conversation; which of the two Omni does is not
        documented."""
        self.chats_are_private = False
        """Whether a conversation accepts only its creator's questions. Omni doesn't document this."""
        self.listing = Listing()
        """How the list of conversations behaves."""
        self.draws = True
        """Whether the organisation has the feature `apiAiVis`; without it `/vis` answers 404."""
        self.ignores_user_filter = False
        """Whether the filter of the user list is ignored, as on some live instances."""
        self.shows_user_attributes = False
        """Whether SCIM shows a user's attributes with the id that Omni defines there. Its documents don't say."""
        self.users_per_page = USERS_PER_PAGE
        """How many users a page has at most."""
        self.users_path = "Users"
        """How the list of users is spelt: "Users" as the OpenAPI document has it, or "users" as docs.omni.co."""

    def key(self, authorization: str | None) -> Key | None:
        """The caller with that header; None if unknown."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme != "Bearer":
            return None
        if token == self.api_key:
            return Key(KEY_OWNER)
        member = self.organization.personal_tokens.get(token)
        return None if member is None else Key(member, is_personal=True)

    def _as_set(self, _prompt: str) -> tuple[Script, JobData]:
        return self.script_for_submitted, self.data_for_submitted

    # Actions of users in Omni.

    def add(
        self,
        script: Script,
        *,
        job_id: str | None = None,
        prompt: str = "What are the top 5 products by revenue?",
        conversation_id: str | None = None,
        topic: str | None = None,
        branch_id: str | None = None,
        model_id: str = MODEL,
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
            branch_id=branch_id,
            model_id=model_id,
            script=script,
            created_at=self.now() - age_seconds,
            data=data or JobData(),
        )
        self.jobs[job.id] = job
        return job.id

    def cancel(self, job_id: str, *, by: str | None = KEY_OWNER) -> None:
        """Somebody cancels the job in Omni, with the effect that its state allows."""
        self.jobs[job_id].cancel(self.now(), by)

    def remove(self, job_id: str) -> None:
        """The job is gone: 404 from now on."""
        del self.jobs[job_id]

    # How tests bend a job.

    def set(self, job_id: str, **fields: Any) -> None:
        """Override fields of the status body in every state."""
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
