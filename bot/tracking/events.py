"""Passes Omni's webhook events to the trackers in all processes, and detects when webhooks stop arriving.

A webhook reaches any one process, which publishes it to the others. A lost event costs time, never an answer, because a
tracker that receives none polls.
"""

from collections.abc import Callable, Mapping

import structlog

from bot.domain import EventKind, Job, JobEvent, JobId, Progress, QuestionId, TeamId, Webhook
from bot.domain.ports import MessageBus
from bot.tasks import RecentKeys

log = structlog.get_logger()

TOLD = "job event"
"""The topic of job events on the message bus."""
REMEMBERED = 1_000
"""For how many jobs early events are kept until a tracker starts."""


class JobEventBus:
    """Job events of one team in this process."""

    def __init__(
        self,
        webhook: Callable[[QuestionId], Webhook] | None = None,
        tell_others: Callable[[JobId, JobEvent], None] = lambda _job, _event: None,
    ) -> None:
        """`webhook` makes the webhook for a question; None: webhooks are off."""
        self._webhook = webhook
        self._tell_others = tell_others
        self._hear: Callable[[JobId, JobEvent], bool] = lambda _job, _event: False
        self._doubt: Callable[[], None] = lambda: None
        self._begun: RecentKeys[JobId, Job] = RecentKeys(REMEMBERED)
        self._ended: RecentKeys[JobId, JobEvent] = RecentKeys(REMEMBERED)
        self._is_missed = False

    @property
    def is_trusted(self) -> bool:
        """Whether webhooks are expected: they are on, and none has been missed since the last one arrived."""
        return self._webhook is not None and not self._is_missed

    def listen(self, hear: Callable[[JobId, JobEvent], bool], doubt: Callable[[], None]) -> None:
        """Call `hear` with each event; it returns whether the job is tracked. Call `doubt` if events may have been
        missed."""
        self._hear, self._doubt = hear, doubt

    def webhook(self, question_id: QuestionId) -> Webhook | None:
        """The webhook to send along with a question."""
        return None if self._webhook is None else self._webhook(question_id)

    def record_submitted(self, job: Job) -> None:
        """Keep the job that Omni returned for a question, so that its tracker needs no first poll."""
        if self.is_trusted:
            self._begun[job.id] = job

    def submitted_job(self, job: JobId) -> Job | None:
        """The job as Omni returned it for its question; None if a poll is needed."""
        reading = self._begun.pop(job, None)
        return None if job in self._ended else reading

    def reported_end(self, job: JobId) -> JobEvent | None:
        """The event that ended a job before a tracker started."""
        return self._ended.get(job)

    def publish(self, job: JobId, event: JobEvent) -> None:
        """Handle an event that arrived at this process, and pass it on to the others."""
        self._tell_others(job, event)
        self.on_event(job, event)

    def on_event(self, job: JobId, event: JobEvent) -> None:
        """Handle an event that arrived at this or another process."""
        if self._is_missed:
            log.info("webhooks come again")
        self._is_missed = False
        if not self._hear(job, event) and event.kind is EventKind.ENDED:
            self._ended[job] = event

    def record_missed(self, job: JobId) -> None:
        """A job ended without a webhook: poll new jobs until webhooks arrive again."""
        if not self._is_missed:
            log.warning("no webhook came", job=job)
        self._is_missed = True

    def distrust(self) -> None:
        """Events from other processes may have been missed."""
        self._doubt()


class EventRouter:
    """Routes job events to the teams, and between processes."""

    def __init__(self, bus: MessageBus | None = None) -> None:
        self._bus = bus
        self._teams: dict[TeamId, JobEventBus] = {}
        if bus is not None:
            bus.subscribe(TOLD, self._hear)
            bus.on_reconnect(self._doubt)

    def connect(self, team: TeamId, webhook: Callable[[QuestionId], Webhook] | None) -> JobEventBus:
        """Start a team's event bus."""

        def tell_others(job: JobId, event: JobEvent) -> None:
            if self._bus is not None:
                self._bus.publish(TOLD, team=team, job=job, **_words(event))

        self._teams[team] = JobEventBus(webhook, tell_others)
        return self._teams[team]

    def disconnect(self, team: TeamId) -> None:
        """Stop a team's event bus."""
        self._teams.pop(team, None)

    def tell(self, team: TeamId, job: JobId, event: JobEvent) -> None:
        """Route an event that arrived at this process."""
        if team in self._teams:
            self._teams[team].publish(job, event)
        elif self._bus is not None:
            self._bus.publish(TOLD, team=team, job=job, **_words(event))

    def _hear(self, words: Mapping[str, str]) -> None:
        event = _event(words)
        events = self._teams.get(TeamId(words.get("team", "")))
        if event is None:
            log.warning("job event not understood")  # from a newer version of the bot
        elif events is not None:
            events.on_event(JobId(words.get("job", "")), event)

    def _doubt(self) -> None:
        for events in self._teams.values():
            events.distrust()


def _words(event: JobEvent) -> dict[str, str]:
    words = {"kind": event.kind.name, "told_at": repr(event.signed_at)}
    if event.progress is not None:
        words["message"] = event.progress.message
        if event.progress.iteration is not None:
            words["iteration"] = str(event.progress.iteration)
    return words


def _event(words: Mapping[str, str]) -> JobEvent | None:
    """Parse an event of another process; None if it is invalid."""
    try:
        kind, told_at = EventKind[words["kind"]], float(words["told_at"])
        iteration = int(words["iteration"]) if "iteration" in words else None
    except (LookupError, ValueError):
        return None
    progress = Progress(words["message"], iteration) if "message" in words else None
    return JobEvent(kind, told_at, progress)
