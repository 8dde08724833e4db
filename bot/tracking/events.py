"""Hands what Omni tells of jobs to whoever follows them, in this process or another, and minds whether it comes at all.

A webhook reaches any of the processes. Each that hears of it lets its own follow of the job know, if it has one; what
is lost on the way costs time, never an answer, since a follow that hears nothing asks.
"""

from collections.abc import Callable, Mapping

import structlog

from bot.domain import EventKind, Job, JobEvent, JobId, Progress, QuestionId, TeamId, Webhook
from bot.domain.ports import MessageBus
from bot.tasks import RecentKeys

log = structlog.get_logger()

TOLD = "job event"
"""What the processes tell each other: a word of Omni's about a job."""
REMEMBERED = 1_000
"""Of how many jobs it is remembered what was learned of them before anybody followed them."""


class JobEventBus:
    """What Omni tells of one team's jobs, as this process hears of it."""

    def __init__(
        self,
        webhook: Callable[[QuestionId], Webhook] | None = None,
        tell_others: Callable[[JobId, JobEvent], None] = lambda _job, _event: None,
    ) -> None:
        """`webhook` makes what a question takes along to Omni; None: Omni is not asked to tell anything."""
        self._webhook = webhook
        self._tell_others = tell_others
        self._hear: Callable[[JobId, JobEvent], bool] = lambda _job, _event: False
        self._doubt: Callable[[], None] = lambda: None
        self._begun: RecentKeys[JobId, Job] = RecentKeys(REMEMBERED)
        self._ended: RecentKeys[JobId, JobEvent] = RecentKeys(REMEMBERED)
        self._is_missed = False

    @property
    def is_trusted(self) -> bool:
        """Whether Omni is expected to tell how jobs go on: it was asked to, and has not failed to since."""
        return self._webhook is not None and not self._is_missed

    def listen(self, hear: Callable[[JobId, JobEvent], bool], doubt: Callable[[], None]) -> None:
        """Let `hear` be called with each event; it says whether the job is followed. `doubt`: called where events may
        have been missed."""
        self._hear, self._doubt = hear, doubt

    def webhook(self, question_id: QuestionId) -> Webhook | None:
        """What a question is to take along, so that its job is told of."""
        return None if self._webhook is None else self._webhook(question_id)

    def record_submitted(self, job: Job) -> None:
        """Omni has just taken a question, and this is its job. Whoever follows it need not ask what it is."""
        if self.is_trusted:
            self._begun[job.id] = job

    def submitted_job(self, job: JobId) -> Job | None:
        """How the job was when it began, for whoever begins to follow it; None where Omni has to be asked."""
        reading = self._begun.pop(job, None)
        return None if job in self._ended else reading

    def reported_end(self, job: JobId) -> JobEvent | None:
        """That Omni has told of a job's end before anybody followed it."""
        return self._ended.get(job)

    def publish(self, job: JobId, event: JobEvent) -> None:
        """Take in what Omni has told this process, and pass it on to the others."""
        self._tell_others(job, event)
        self.on_event(job, event)

    def on_event(self, job: JobId, event: JobEvent) -> None:
        """Take in what Omni has told, here or elsewhere."""
        if self._is_missed:
            log.info("webhooks come again")
        self._is_missed = False
        if not self._hear(job, event) and event.kind is EventKind.ENDED:
            self._ended[job] = event

    def record_missed(self, job: JobId) -> None:
        """A job ended and Omni has not told: jobs that begin from now on are asked about, until it tells again."""
        if not self._is_missed:
            log.warning("no webhook came", job=job)
        self._is_missed = True

    def distrust(self) -> None:
        """Words from other processes may have been missed."""
        self._doubt()


class EventRouter:
    """The events of all teams, and the way between the processes."""

    def __init__(self, bus: MessageBus | None = None) -> None:
        self._bus = bus
        self._teams: dict[TeamId, JobEventBus] = {}
        if bus is not None:
            bus.subscribe(TOLD, self._hear)
            bus.on_reconnect(self._doubt)

    def connect(self, team: TeamId, webhook: Callable[[QuestionId], Webhook] | None) -> JobEventBus:
        """The events of a team's jobs from now on."""

        def tell_others(job: JobId, event: JobEvent) -> None:
            if self._bus is not None:
                self._bus.publish(TOLD, team=team, job=job, **_words(event))

        self._teams[team] = JobEventBus(webhook, tell_others)
        return self._teams[team]

    def disconnect(self, team: TeamId) -> None:
        """Nobody follows that team's jobs here any more."""
        self._teams.pop(team, None)

    def tell(self, team: TeamId, job: JobId, event: JobEvent) -> None:
        """Omni has told this process of a team's job."""
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
    """An event out of the words of another process; None for what is none."""
    try:
        kind, told_at = EventKind[words["kind"]], float(words["told_at"])
        iteration = int(words["iteration"]) if "iteration" in words else None
    except (LookupError, ValueError):
        return None
    progress = Progress(words["message"], iteration) if "message" in words else None
    return JobEvent(kind, told_at, progress)
