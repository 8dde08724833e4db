"""What Omni tells, on its way to whoever follows the job, and whether it is relied on to come."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from bot.domain.cards import TeamId
from bot.domain.jobs import EventKind, JobEvent, JobId, JobState, Progress
from bot.domain.questions import QuestionId, Webhook
from bot.tracking.events import REMEMBERED, TOLD, EventRouter, JobEventBus
from tests.support.fakes import HERE, JOB, a_job

ENDED = JobEvent(EventKind.ENDED, 5.0)
PROGRESS = JobEvent(EventKind.PROGRESS, 1777896000.123457, Progress("Searching für\u2028", 3))
OTHER_TEAM = TeamId("T0OTHER")


class Wire:
    """Between two processes."""

    def __init__(self) -> None:
        self.ends: list[FakeRelay] = []
        self.carried: list[Mapping[str, str]] = []


class FakeRelay:
    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.hearers: dict[str, Callable[[Mapping[str, str]], None]] = {}
        self.lookers: list[Callable[[], None]] = []
        wire.ends.append(self)

    def subscribe(self, topic: str, hear: Callable[[Mapping[str, str]], None]) -> None:
        self.hearers[topic] = hear

    def on_reconnect(self, look: Callable[[], None]) -> None:
        self.lookers.append(look)

    def publish(self, topic: str, **words: str) -> asyncio.Future[None]:
        self.wire.carried.append(words)
        for end in self.wire.ends:
            if end is not self:
                end.hearers[topic](words)
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent


class Follows:
    """The follows of a process."""

    def __init__(self, events: JobEventBus, *jobs: JobId) -> None:
        self.jobs = jobs
        self.heard: list[JobEvent] = []
        self.doubts = 0
        events.listen(self._hear, self._doubt)

    def _hear(self, job: JobId, event: JobEvent) -> bool:
        if job in self.jobs:
            self.heard.append(event)
        return job in self.jobs

    def _doubt(self) -> None:
        self.doubts += 1


def webhook(question_id: QuestionId) -> Webhook:
    return Webhook(f"https://jobs.example.com/omni/webhook/T0/{question_id}", "secret")


@pytest.mark.parametrize(
    "event", [ENDED, PROGRESS, replace(PROGRESS, progress=Progress("x")), JobEvent(EventKind.UNCLEAR, 0.0)]
)
async def test_an_event_reaches_the_process_that_follows_whichever_it_came_to(event: JobEvent) -> None:
    wire = Wire()
    here, there = EventRouter(FakeRelay(wire)), EventRouter(FakeRelay(wire))
    here.connect(HERE.team, webhook)
    follows = Follows(there.connect(HERE.team, webhook), JOB)
    here.tell(HERE.team, JOB, event)
    there.tell(HERE.team, JOB, event)
    assert follows.heard == [event, event]


async def test_an_event_of_a_team_that_is_open_elsewhere_is_passed_on() -> None:
    wire = Wire()
    here, there = EventRouter(FakeRelay(wire)), EventRouter(FakeRelay(wire))
    follows = Follows(there.connect(HERE.team, webhook), JOB)
    here.tell(HERE.team, JOB, ENDED)
    assert follows.heard == [ENDED]


async def test_another_teams_follow_of_the_same_job_hears_nothing() -> None:
    router = EventRouter()
    mine = Follows(router.connect(HERE.team, webhook), JOB)
    others = Follows(router.connect(OTHER_TEAM, webhook), JOB)
    router.tell(HERE.team, JOB, ENDED)
    router.disconnect(OTHER_TEAM)
    router.tell(OTHER_TEAM, JOB, ENDED)
    assert (mine.heard, others.heard) == ([ENDED], [])


@pytest.mark.parametrize(
    "words", [{}, {"kind": "NEWER", "told_at": "1"}, {"kind": "ENDED", "told_at": "x"}, {"kind": "ENDED"}]
)
async def test_words_of_a_newer_version_are_let_pass(words: Mapping[str, str]) -> None:
    relay = FakeRelay(Wire())
    follows = Follows(EventRouter(relay).connect(HERE.team, webhook), JOB)
    relay.hearers[TOLD]({"team": HERE.team, "job": JOB, **words})
    assert follows.heard == []


async def test_after_a_gap_between_the_processes_no_follow_relies_on_what_it_hears() -> None:
    relay = FakeRelay(Wire())
    follows = Follows(EventRouter(relay).connect(HERE.team, webhook), JOB)
    relay.lookers[0]()
    assert follows.doubts == 1


def test_without_an_address_nothing_is_asked_for_and_nothing_relied_on() -> None:
    events = JobEventBus()
    events.record_submitted(a_job(JobState.QUEUED))
    assert (events.webhook(QuestionId("a")), events.is_trusted, events.submitted_job(JOB)) == (
        None,
        False,
        None,
    )


def test_a_job_that_just_began_is_known_once_to_whoever_follows_it() -> None:
    events, begun = JobEventBus(webhook), a_job(JobState.QUEUED)
    events.record_submitted(begun)
    assert events.submitted_job(JOB) == begun
    assert events.submitted_job(JOB) is None


def test_a_job_that_ended_before_anybody_followed_it_has_to_be_asked_for() -> None:
    events = JobEventBus(webhook)
    events.record_submitted(a_job(JobState.QUEUED))
    events.publish(JOB, ENDED)
    assert events.submitted_job(JOB) is None


def test_progress_before_anybody_follows_changes_nothing() -> None:
    events, begun = JobEventBus(webhook), a_job(JobState.QUEUED)
    events.record_submitted(begun)
    events.publish(JOB, PROGRESS)
    assert events.submitted_job(JOB) == begun


def test_what_is_remembered_of_jobs_that_nobody_follows_is_bounded() -> None:
    events = JobEventBus(webhook)
    for number in range(REMEMBERED + 5):
        events.record_submitted(replace(a_job(), id=JobId(str(number))))
        events.publish(JobId(f"ended {number}"), ENDED)
    assert events.submitted_job(JobId("0")) is None
    assert events.submitted_job(JobId("5")) is not None
    assert len(events._ended) == REMEMBERED


def test_once_a_word_did_not_come_none_is_relied_on_until_one_comes() -> None:
    events = JobEventBus(webhook)
    events.record_missed(JOB)
    events.record_submitted(a_job(JobState.QUEUED))
    assert events.submitted_job(JOB) is None
    assert events.webhook(QuestionId("a")) is not None, "or none could ever come again"
    was_relied_on = events.is_trusted
    events.publish(JobId("another"), PROGRESS)
    assert (was_relied_on, events.is_trusted) == (False, True)
