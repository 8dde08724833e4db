"""The services that ask, follow and cancel, with trackers, between fakes. For tests in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from bot.delivery.card_charts import CardCharts
from bot.delivery.cards import CardLifecycle
from bot.delivery.direct_messages import Reply
from bot.delivery.fallback import BlockSupport
from bot.delivery.outcomes import CardOutcomes
from bot.delivery.posts import MessagePoster
from bot.delivery.removal import AnswerRemover
from bot.delivery.thread import CompletionThread
from bot.delivery.updates import MessageUpdater
from bot.domain.access import ContentPolicy
from bot.domain.cards import Card, CardId, ChannelId, ChannelRef, MessageTs, UserId
from bot.domain.errors import OmniError
from bot.domain.jobs import Conversation, Job, JobId, JobState
from bot.domain.messages import Message
from bot.domain.ports.omni import QueuePosition
from bot.domain.questions import ModelId
from bot.ratelimit import Rate, RateLimiter
from bot.services.ask import AskService
from bot.services.cancel import CancelService
from bot.services.intents import Intents, Response, SavedRequest
from bot.services.remove import RemoveService
from bot.services.share import ShareService
from bot.services.submission import QuestionSubmitter
from bot.services.targets import Targets
from bot.tasks import ShieldedTasks
from bot.tracking.durations import TypicalDurations
from bot.tracking.events import JobEventBus
from bot.tracking.recovery import report_interrupted_questions
from bot.tracking.tracker import JobTracker
from bot.worker.runner import TaskRunner
from tests.support.fakes import (
    ADA,
    HERE,
    JOB,
    START,
    FakeAccess,
    FakeAsking,
    FakeCards,
    FakeChannelDefaults,
    FakeDirectory,
    FakeDurations,
    FakeFailedCards,
    FakeOmni,
    FakePreferences,
    FakeQuestions,
    FakeRemovals,
    FakeSlackMessages,
    FreeLedger,
    a_card,
    a_job,
    now,
)
from tests.support.tracking import PatientFollowService, outcome_of

BOT = UserId("U0BOT")
TENANT = "https://acme.omniapp.co"
OLD_JOB = JobId("0ldb0000-e29b-41d4-a716-446655440000")
CHAT = "c0ffee00-0000-4000-8000-000000000000"
DEFAULT = ModelId("d0000000-0000-4000-8000-000000000000")
OLD_MODEL = "0de10000-0000-4000-8000-000000000000"
CARD = MessageTs("100.0")
OLD = CardId("old")


class ManyJobs(FakeOmni):
    """Omni with several jobs, and a conversation whose newest job is `newest`."""

    def __init__(self) -> None:
        super().__init__(a_job())
        self.jobs: dict[JobId, Job | OmniError] = {JOB: a_job()}
        self.newest: JobId | OmniError | None = None
        self.polled: list[tuple[float, JobId]] = []

    async def status(self, job: JobId, *, urgent: bool = False, position: QueuePosition | None = None) -> Job:
        self.polled.append((asyncio.get_running_loop().time(), job))
        await asyncio.sleep(self.delay_seconds)
        found = self.jobs[job]
        if isinstance(found, OmniError):
            raise found
        return found

    async def newest_job(self, _conversation: Conversation) -> JobId | None:
        await asyncio.sleep(0)
        if isinstance(self.newest, OmniError):
            raise self.newest
        return self.newest

    async def chart(self, job: JobId, *, position: QueuePosition | None = None) -> bytes | None:
        return None

    def says(self, job: JobId, state: JobState, **more: object) -> None:
        self.jobs[job] = replace(a_job(state, **more), id=job)


class AskWorld:
    """The fakes around the bot. They outlive it: start a second bot on the same stage to simulate a restart."""

    def __init__(self, *cards: Card) -> None:
        self.omni = ManyJobs()
        self.asking = FakeAsking()
        self.fake_slack = FakeSlackMessages()
        self.card_repository = FakeCards(*cards)
        self.failed_cards = FakeFailedCards(self.card_repository)
        self.questions = FakeQuestions(self.card_repository)
        self.access = access = FakeAccess()
        self.is_shared = access.is_shared
        self.content_policy = ContentPolicy()
        self.directory = FakeDirectory()
        self.removals = FakeRemovals(self.card_repository)
        self.default_model: ModelId | None = DEFAULT
        self.channel_defaults = FakeChannelDefaults()
        self.events = JobEventBus()

    @asynccontextmanager
    async def bot(self) -> AsyncIterator["Services"]:
        services = Services(self)
        tasks = [asyncio.create_task(services.drawing.run()), asyncio.create_task(services.durations.run())]
        await services.runner.start_missing(await self.card_repository.open_jobs())
        try:
            yield services
        finally:
            await services.submitting.stop()
            await services.runner.stop()
            await services.steps.drain()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def report_interrupted(self) -> None:
        await report_interrupted_questions(self.questions, self.fake_slack, now)

    def threads(self) -> Sequence[tuple[ChannelId, MessageTs | None]]:
        """The channel and thread of each message."""
        return [(posted.place.id, posted.thread) for posted in self.fake_slack.posted.values()]

    def told(self, user: UserId = ADA) -> list[str]:
        """The texts in a user's direct messages."""
        return [
            posted.message.text for posted in self.fake_slack.posted.values() if posted.place == direct(user)
        ]


class Services:
    """The services of one process."""

    def __init__(self, stage: AskWorld) -> None:
        block_support, outcomes, self.steps = BlockSupport(), CardOutcomes(), ShieldedTasks()
        self.drawing = MessageUpdater(
            stage.fake_slack,
            stage.card_repository,
            RateLimiter(FreeLedger(), "edits", Rate(1.0, 0.0)),
            block_support,
        )
        posting = MessagePoster(stage.fake_slack, stage.card_repository, now, block_support)
        thread = CompletionThread(
            cards=stage.card_repository,
            preferences=FakePreferences(),
            poster=posting,
            now=now,
            tenant=TENANT,
            notify_after_seconds=30.0,
        )
        cards = CardLifecycle(
            messages=stage.fake_slack,
            cards=stage.card_repository,
            failed_cards=stage.failed_cards,
            updater=self.drawing,
            poster=posting,
            thread=thread,
            remover=AnswerRemover(
                messages=stage.fake_slack,
                cards=stage.card_repository,
                removals=stage.removals,
                updater=self.drawing,
                poster=posting,
                tenant=TENANT,
            ),
            charts=CardCharts(
                messages=stage.fake_slack,
                cards=stage.card_repository,
                updater=self.drawing,
                thread=thread,
                now=now,
                is_on_card=True,
            ),
            block_support=block_support,
            outcomes=outcomes,
            is_shared=stage.is_shared,
            content_policy=stage.content_policy,
            now=now,
            tenant=TENANT,
        )
        self.durations = TypicalDurations(FakeDurations(), now)
        follower = JobTracker(
            omni=stage.omni,
            cards=stage.card_repository,
            lifecycle=cards,
            now=now,
            durations=self.durations,
            follow_for_seconds=86_400.0,
            events=stage.events,
        )
        self.runner = TaskRunner(follower.track)
        intents = Intents(stage.questions, self.steps, now)
        targets = Targets(stage.fake_slack, stage.is_shared)
        self.follow = follow_service = PatientFollowService(
            omni=stage.omni,
            messages=stage.fake_slack,
            cards=stage.card_repository,
            questions=stage.questions,
            intents=intents,
            failed_cards=stage.failed_cards,
            outcomes=outcomes,
            authorization=stage.access,
            targets=targets,
            start=self.runner.start,
            question_of=lambda card: follower.question_of(card.job),
            now=now,
            bot_user=BOT,
        )
        self.submitting = QuestionSubmitter(
            omni=stage.omni,
            omni_questions=stage.asking,
            messages=stage.fake_slack,
            questions=stage.questions,
            intents=intents,
            outcomes=outcomes,
            follow_service=follow_service,
            start=self.runner.start,
            steps=self.steps,
            now=now,
            events=stage.events,
        )
        self.ask_service = AskService(
            omni=stage.omni,
            cards=stage.card_repository,
            questions=stage.questions,
            authorization=stage.access,
            content_policy=stage.content_policy,
            targets=targets,
            lifecycle=cards,
            intents=intents,
            submitter=self.submitting,
            now=now,
            default_model=stage.default_model,
            channel_defaults=stage.channel_defaults,
        )
        self.ask = Asking(self.ask_service)
        self.cancel = CancelService(
            omni=stage.asking,
            cards=stage.card_repository,
            authorization=stage.access,
            start=self.runner.start,
        )
        self.removing = RemoveService(
            messages=stage.fake_slack,
            cards=stage.card_repository,
            removals=stage.removals,
            authorization=stage.access,
            start=self.runner.start,
        )
        self.sharing = ShareService(
            omni=stage.omni,
            cards=stage.card_repository,
            questions=stage.questions,
            directory=stage.directory,
            intents=intents,
            outcomes=outcomes,
            authorization=stage.access,
            content_policy=stage.content_policy,
            is_shared=stage.is_shared,
            follow_service=follow_service,
            start=self.runner.start,
            now=now,
            bot_user=BOT,
        )


class Asking:
    """The service as `InteractionRunner` uses it: each reply is delivered."""

    def __init__(self, service: AskService) -> None:
        self._service = service

    async def ask(self, *what: Any) -> Message | None:
        return await delivered(self._service.ask(*what))

    async def follow_up(self, *what: Any) -> Message | None:
        return await delivered(self._service.follow_up(*what))

    async def follow_up_in_thread(self, *what: Any) -> Message | None:
        return await delivered(self._service.follow_up_in_thread(*what))

    async def retry(self, *what: Any) -> Message | None:
        return await delivered(self._service.retry(*what))


async def delivered(asked: Awaitable[SavedRequest | Response]) -> Message | None:
    """Deliver the reply."""
    reply = await outcome_of(asked)
    if isinstance(reply, Reply):
        await reply.on_delivered()
        return reply.message
    return Message(reply) if isinstance(reply, str) else reply


def old_card(state: JobState = JobState.COMPLETE, **more: object) -> AskWorld:
    """A stage with the final card of another job, in another conversation."""
    ended = replace(a_card("old"), job=OLD_JOB, message_ts=CARD, closed_at=START, ended=True, outcome=state)
    card = replace(ended, **more)  # type: ignore[arg-type]
    stage = AskWorld(card)
    stage.omni.says(OLD_JOB, state, conversation=CHAT, model=OLD_MODEL)
    stage.omni.newest = OLD_JOB
    return stage


def said(message: Message | None) -> str:
    return message.text if message else ""


def direct(user: UserId) -> ChannelRef:
    """A user's direct messages."""
    return ChannelRef(HERE.team, ChannelId(f"D{user}"))
