"""Jobs tracked in virtual time between fakes, and moments that fall badly."""

import asyncio
import functools
import re
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

from bot.delivery.direct_messages import REPORT_FAILURE_AFTER, report_failed_cards
from bot.delivery.outcomes import CardOutcome, CardOutcomes
from bot.domain.access import AccessPolicy
from bot.domain.cards import Card, CardId, ChannelId, ChannelRef, MessageTs, TeamId, UserId
from bot.domain.errors import MessageGone, NotAllowedHere, OmniError, ScopeMissing
from bot.domain.jobs import Job, JobId, JobState, Progress
from bot.domain.messages import Message
from bot.domain.ports.omni import IdentityMapper, OmniQuestions
from bot.domain.ports.slack import SlackViews
from bot.domain.ports.worker import Runner
from bot.ratelimit import Rate, RateLimiter
from bot.rendering import answer as answer_module
from bot.services.follow import FollowService
from bot.services.intents import Intents, Response, SavedRequest
from bot.services.lookups import Lookups
from bot.services.targets import Targets
from bot.settings import Settings
from bot.tasks import ShieldedTasks
from bot.tracking.events import JobEventBus
from bot.user_limit import UserLimit
from bot.worker.runner import TaskRunner
from bot.workspaces.wiring import Policy, Ports, build_components
from tests.support.fakes import (
    HERE,
    START,
    FakeAccess,
    FakeCards,
    FakeChannelDefaults,
    FakeDirectory,
    FakeDurations,
    FakeFailedCards,
    FakeMeter,
    FakeOmni,
    FakePreferences,
    FakeQuestions,
    FakeRatings,
    FakeRemovals,
    FakeSlackMessages,
    FreeLedger,
    a_card,
    a_job,
    now,
)

FOREIGN = ChannelRef(TeamId("T0"), ChannelId("C0FOREIGN"))

RULES = Policy(
    access=AccessPolicy(),
    tenant="https://acme.omniapp.co",
    settings=Settings.model_construct(),
)


async def tell_nobody(_response_url: str, _message: Message) -> None:
    """Nobody waits for a private line here."""


class Stage:
    """The core between fakes. The world outlives a bot: start another over the same to play a restart."""

    def __init__(self, job: Job | OmniError, *cards: Card) -> None:
        self.omni = FakeOmni(a_job())
        self.omni.answer = job
        self.fake_slack = FakeSlackMessages()
        self.card_repository = FakeCards(*cards)
        self.failed_cards = FakeFailedCards(self.card_repository)
        self.questions = FakeQuestions(self.card_repository)
        self.durations = FakeDurations()
        self.preferences = FakePreferences()
        self.ratings = FakeRatings()
        self.directory = FakeDirectory()
        self.access = FakeAccess()
        self.meter = FakeMeter()
        self.arrivals = CardOutcomes()
        self.waiting = ExitStack()
        self.rules = RULES
        self.events = JobEventBus()
        self.states: Callable[[], Sequence[JobState | None]] = tuple

    @asynccontextmanager
    async def bot(self) -> AsyncIterator[Runner]:
        world = Ports(
            omni=self.omni,
            messages=self.fake_slack,
            cards=self.card_repository,
            failed_cards=self.failed_cards,
            reply_to_response_url=tell_nobody,
            now=now,
            job_durations=self.durations,
            pending_questions=self.questions,
            preferences=self.preferences,
            channel_defaults=FakeChannelDefaults(),
            ratings=self.ratings,
            removals=FakeRemovals(self.card_repository),
            questions=cast(OmniQuestions, None),
            views=cast(SlackViews, None),
            directory=self.directory,
            people=Lookups(self.directory.user),
            identities=cast(IdentityMapper, None),
            team=HERE.team,
            bot_user=UserId("U0BOT"),
            user_limit=UserLimit(1_000),
            events=self.events,
            metrics=self.meter,
        )
        edits = RateLimiter(FreeLedger(), "edits", Rate(1.0, 0.0))
        parts = build_components(world, self.rules, edits, self.arrivals, TaskRunner)
        self.states = lambda: parts.tracker.states
        drawing = asyncio.create_task(parts.updater.run())
        durations = asyncio.create_task(parts.durations.run())
        await parts.runner.start_missing(await self.card_repository.open_jobs())
        try:
            yield parts.runner
        finally:
            await parts.runner.stop()
            await parts.poster.tasks.drain()
            drawing.cancel()
            durations.cancel()
            await asyncio.gather(drawing, durations, return_exceptions=True)

    async def report_failures(self) -> None:
        """Report failed cards by direct message, once no command can be replying."""
        await report_failed_cards(
            self.failed_cards, self.fake_slack, lambda: now() + REPORT_FAILURE_AFTER + timedelta(seconds=1)
        )

    def expects(self, card_id: CardId) -> asyncio.Future[CardOutcome]:
        """Somebody waits to hear what becomes of a card."""
        return self.waiting.enter_context(self.arrivals.subscribe(card_id))

    def says(self, state: JobState, **more: object) -> None:
        self.omni.answer = a_job(state, **more)

    def shown(self, channel: ChannelRef = HERE) -> list[str]:
        return [posted.message.text for posted in self.fake_slack.top_level(channel)]

    def told(self) -> list[str]:
        return [posted.message.text for posted in self.fake_slack.replies()]

    def all_closed(self) -> bool:
        return all(card.closed_at is not None for card in self.card_repository.rows.values())


MARIE = UserId("U0MARIE")

CARD_ID = CardId("watch")


class OddSlack(FakeSlackMessages):
    """Slack in the moods that these tests need."""

    def __init__(self) -> None:
        super().__init__()
        self.takes_replies = True
        self.shows_history = True
        self.is_behind_by = timedelta(0)
        self.direct_seconds = 0.0
        self.gone_seconds = 0.0
        self.permalink_seconds: Callable[[MessageTs], float] = lambda _: 0.0

    async def post(
        self, channel: ChannelRef, message: Message, *, mark: str, thread: MessageTs | None = None
    ) -> MessageTs:
        if thread is not None and not self.takes_replies:
            raise NotAllowedHere("restricted_action_non_threadable_channel")
        return await super().post(channel, message, mark=mark, thread=thread)

    async def update(self, channel: ChannelRef, ts: MessageTs, message: Message) -> None:
        try:
            await super().update(channel, ts, message)
        except MessageGone:
            await asyncio.sleep(self.gone_seconds)
            raise

    async def find_by_metadata(
        self, channel: ChannelRef, *, mark: str, since: datetime, thread: MessageTs | None = None
    ) -> MessageTs | None:
        if not self.shows_history:
            raise ScopeMissing("missing_scope")
        if channel in self.closed:
            raise NotAllowedHere("not_in_channel")
        if since > START - self.is_behind_by:
            return None
        return await super().find_by_metadata(channel, mark=mark, since=since, thread=thread)

    async def permalink(self, channel: ChannelRef, ts: MessageTs) -> str:
        seconds = self.permalink_seconds(ts)
        try:
            return await super().permalink(channel, ts)
        finally:
            await asyncio.sleep(seconds)

    async def open_dm(self, channel: ChannelRef, user: UserId) -> ChannelRef:
        await asyncio.sleep(self.direct_seconds)
        return await super().open_dm(channel, user)


def a_stage(*cards: Card) -> tuple[Stage, OddSlack]:
    """A stage of a running job, with the odd Slack."""
    stage = Stage(a_job(), *cards)
    stage.fake_slack = fake_slack = OddSlack()
    return stage, fake_slack


async def outcome_of(request: Awaitable[SavedRequest | Response]) -> Response:
    """Await a request to its end, as `InteractionRunner` does."""
    response = await request
    return await response.outcome() if isinstance(response, SavedRequest) else response


class PatientFollowService(FollowService):
    """Awaits the outcome of what it has saved."""

    async def follow(
        self,
        text: str,
        channel: ChannelRef,
        user: UserId,
        *,
        request_id: str = "",
        thread: MessageTs | None = None,
    ) -> Response:
        return await outcome_of(super().follow(text, channel, user, request_id=request_id, thread=thread))


def a_follow_service(stage: Stage, start: Callable[[JobId], Awaitable[None]]) -> PatientFollowService:
    return PatientFollowService(
        omni=stage.omni,
        messages=stage.fake_slack,
        cards=stage.card_repository,
        questions=stage.questions,
        intents=Intents(stage.questions, ShieldedTasks(), now),
        failed_cards=stage.failed_cards,
        outcomes=stage.arrivals,
        authorization=stage.access,
        targets=Targets(stage.fake_slack, stage.access.is_shared),
        start=start,
        question_of=lambda _: "",
        now=now,
        bot_user=UserId("U0BOT"),
    )


def direct(user: UserId) -> ChannelRef:
    return ChannelRef(HERE.team, ChannelId(f"D{user}"))


def step(stage: Stage, number: int) -> None:
    stage.says(JobState.EXECUTING, progress=Progress(f"step {number}", number))


LONG = 600.0
"""How long a job is looked after here."""


class Resting(Stage):
    """A stage on which jobs are looked after for ten minutes."""

    def __init__(self, job: Job | OmniError, *cards: Card) -> None:
        super().__init__(job, *cards)
        self.rules = replace(RULES, settings=Settings.model_construct(max_follow_hours=LONG / 3_600.0))

    def rests(self) -> bool:
        return "The bot stopped watching" in self.shown()[0]

    def row(self) -> Card:
        return self.card_repository.rows[CARD_ID]


class Paused:
    """Somebody's way to a part of the world, on which every call stops while they are paused."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self.awake = asyncio.Event()
        self.awake.set()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._world, name)

        async def call(*args: Any, **more: Any) -> Any:
            await self.awake.wait()
            answer = await method(*args, **more)
            await self.awake.wait()
            return answer

        return call


class Processes(Stage):
    """A stage on which one process can be paused, in the middle of anything, and another one comes."""

    @asynccontextmanager
    async def one_that_can_be_paused(self) -> AsyncIterator[Paused]:
        """A process whose every way to Slack and to the table leads through the same switch."""
        cards, fake_slack = self.card_repository, self.fake_slack
        to_cards, to_slack = Paused(cards), Paused(fake_slack)
        to_slack.awake = to_cards.awake
        self.card_repository, self.fake_slack = cast(FakeCards, to_cards), cast(FakeSlackMessages, to_slack)
        try:
            async with self.bot():
                self.card_repository, self.fake_slack = cards, fake_slack
                try:
                    yield to_cards
                finally:
                    to_cards.awake.set()
        finally:
            self.card_repository, self.fake_slack = cards, fake_slack


PIECES = 3


@functools.cache
def tall(replies: int, *, file: bool = False) -> str:
    """The shortest answer that goes on in so many replies, of numbered paragraphs."""

    def of(number: int) -> str:
        filling = "Some words to fill it. " * 20
        return "".join(f"paragraph {n} of it. {filling}\n\n" for n in range(1, number + 1))

    def goes_on_in(number: int) -> tuple[int, bool]:
        rest = answer_module.continuation(a_job(JobState.COMPLETE, answer=of(number)), RULES.tenant)
        return len(rest.replies), rest.file is not None

    numbers = range(1, 128)
    number = numbers[bisect_left(numbers, (replies, file), key=goes_on_in)]
    assert goes_on_in(number) == (replies, file)
    return of(number)


TALL = tall(PIECES)

TALLEST = tall(5, file=True)


def paragraphs(*messages: Message) -> list[int]:
    """The numbers of the paragraphs in the order in which people see them."""
    return [int(n) for m in messages for n in re.findall(r"paragraph (\d+) of", str(m.blocks or m.text))]


CHAT = "https://acme.omniapp.co/chat/550e8400"
PNG = b"\x89PNG\r\n\x1a\n picture"


def an_answer(answer: str = TALL, **more: object) -> tuple[Stage, OddSlack]:
    """A stage on which the job has ended before anybody asks."""
    stage, fake_slack = a_stage(a_card())
    stage.says(JobState.COMPLETE, answer=answer, chat_url=CHAT, completed_at=START, **more)
    return stage, fake_slack


async def delivered(stage: Stage, seconds: float = 60.0) -> None:
    async with stage.bot():
        await asyncio.sleep(seconds)


def is_whole(stage: Stage, channel: ChannelRef = HERE) -> bool:
    """Whether card and replies together show the answer once, in order, with nothing left out."""
    (card,) = stage.fake_slack.top_level(channel)
    replies = [posted for posted in stage.fake_slack.replies() if posted.place == channel]
    assert {stage.fake_slack.posted[posted.thread].place for posted in replies if posted.thread} <= {channel}
    seen = paragraphs(card.message, *[posted.message for posted in replies])
    assert not isinstance(stage.omni.answer, OmniError)
    whole = len(re.findall("paragraph", stage.omni.answer.answer or ""))
    return seen == list(range(1, len(seen) + 1)) and seen[-1:] == [whole]


def charts(fake_slack: FakeSlackMessages) -> list[str]:
    """Where users see a chart: `card` for each card that shows one, `thread` for each file."""
    shown = [block for posted in fake_slack.posted.values() for block in posted.message.blocks]
    on_cards = [block["slack_file"]["id"] for block in shown if block["type"] == "image"]
    assert set(on_cards) <= set(fake_slack.private)
    files = [file for file in fake_slack.uploaded if file.upload.name == "chart.png"]
    return ["card"] * len(on_cards) + ["thread"] * len(files)
