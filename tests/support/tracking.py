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

from bot.delivery.outcomes import Arrival, Arrivals
from bot.domain.access import AccessRules
from bot.domain.cards import ChannelId, Place, TeamId, Ts, UserId, Watch, WatchId
from bot.domain.errors import MessageGone, NotAllowedHere, OmniError, ScopeMissing
from bot.domain.jobs import Job, JobId, JobState, Progress
from bot.domain.messages import Message
from bot.domain.ports.omni import Asking, OmniUsers
from bot.domain.ports.slack import Views
from bot.domain.ports.worker import Runner
from bot.ratelimit import Gate, Rate
from bot.rendering import answer as answer_module
from bot.services.follow import Desk
from bot.services.intents import Intents
from bot.services.lookups import Lookups
from bot.settings import Settings
from bot.tasks import WholeSteps
from bot.tracking.events import JobEvents
from bot.user_limit import UserLimit
from bot.worker.runner import TaskRunner
from bot.workspaces.wiring import Rules, World, assemble
from tests.support.fakes import (
    HERE,
    START,
    FakeAccess,
    FakeAsks,
    FakeBoard,
    FakeDirectory,
    FakeDurations,
    FakeGivenUps,
    FakeMeter,
    FakeOmni,
    FakeWatches,
    FreeLedger,
    a_job,
    now,
)

FOREIGN = Place(TeamId("T0"), ChannelId("C0FOREIGN"))

RULES = Rules(
    access=AccessRules(),
    tenant="https://acme.omniapp.co",
    settings=Settings.model_construct(),
)


async def tell_nobody(_response_url: str, _message: Message) -> None:
    """Nobody waits for a private line here."""


class Stage:
    """The core between fakes. The world outlives a bot: start another over the same to play a restart."""

    def __init__(self, job: Job | OmniError, *watches: Watch) -> None:
        self.omni = FakeOmni(a_job())
        self.omni.answer = job
        self.board = FakeBoard()
        self.watches = FakeWatches(*watches)
        self.given_ups = FakeGivenUps(self.watches)
        self.asks = FakeAsks(self.watches)
        self.durations = FakeDurations()
        self.directory = FakeDirectory()
        self.access = FakeAccess()
        self.meter = FakeMeter()
        self.arrivals = Arrivals()
        self.waiting = ExitStack()
        self.rules = RULES
        self.events = JobEvents()
        self.states: Callable[[], Sequence[JobState | None]] = tuple

    @asynccontextmanager
    async def bot(self) -> AsyncIterator[Runner]:
        world = World(
            omni=self.omni,
            board=self.board,
            watches=self.watches,
            given_ups=self.given_ups,
            whisper=tell_nobody,
            now=now,
            durations=self.durations,
            asks=self.asks,
            asking=cast(Asking, None),
            views=cast(Views, None),
            directory=self.directory,
            people=Lookups(self.directory.person),
            omni_users=cast(OmniUsers, None),
            team=HERE.team,
            bot_user=UserId("U0BOT"),
            user_limit=UserLimit(1_000),
            events=self.events,
            meter=self.meter,
        )
        edits = Gate(FreeLedger(), "edits", Rate(1.0, 0.0))
        parts = assemble(world, self.rules, edits, self.arrivals, TaskRunner)
        self.states = lambda: parts.follower.states
        drawing = asyncio.create_task(parts.drawing.run())
        learning = asyncio.create_task(parts.learning.run())
        await parts.runner.ensure(await self.watches.open_jobs())
        try:
            yield parts.runner
        finally:
            await parts.runner.stop()
            await parts.posting.steps.settle()
            drawing.cancel()
            learning.cancel()
            await asyncio.gather(drawing, learning, return_exceptions=True)

    def expects(self, watch: WatchId) -> asyncio.Future[Arrival]:
        """Somebody waits to hear what becomes of a watch."""
        return self.waiting.enter_context(self.arrivals.waiting(watch))

    def says(self, state: JobState, **more: object) -> None:
        self.omni.answer = a_job(state, **more)

    def shown(self, place: Place = HERE) -> list[str]:
        return [posted.message.text for posted in self.board.top_level(place)]

    def told(self) -> list[str]:
        return [posted.message.text for posted in self.board.replies()]

    def all_closed(self) -> bool:
        return all(watch.closed_at is not None for watch in self.watches.rows.values())


MARIE = UserId("U0MARIE")

WATCH = WatchId("watch")


class OddBoard(FakeBoard):
    """Slack in the moods that these tests need."""

    def __init__(self) -> None:
        super().__init__()
        self.takes_replies = True
        self.shows_history = True
        self.is_behind_by = timedelta(0)
        self.direct_seconds = 0.0
        self.gone_seconds = 0.0
        self.permalink_seconds: Callable[[Ts], float] = lambda _: 0.0

    async def post(self, place: Place, message: Message, *, mark: str, thread: Ts | None = None) -> Ts:
        if thread is not None and not self.takes_replies:
            raise NotAllowedHere("restricted_action_non_threadable_channel")
        return await super().post(place, message, mark=mark, thread=thread)

    async def update(self, place: Place, ts: Ts, message: Message) -> None:
        try:
            await super().update(place, ts, message)
        except MessageGone:
            await asyncio.sleep(self.gone_seconds)
            raise

    async def find(self, place: Place, *, mark: str, since: datetime, thread: Ts | None = None) -> Ts | None:
        if not self.shows_history:
            raise ScopeMissing("missing_scope")
        if place in self.closed:
            raise NotAllowedHere("not_in_channel")
        if since > START - self.is_behind_by:
            return None
        return await super().find(place, mark=mark, since=since, thread=thread)

    async def permalink(self, place: Place, ts: Ts) -> str:
        seconds = self.permalink_seconds(ts)
        try:
            return await super().permalink(place, ts)
        finally:
            await asyncio.sleep(seconds)

    async def direct(self, place: Place, user: UserId) -> Place:
        await asyncio.sleep(self.direct_seconds)
        return await super().direct(place, user)


def a_stage(*watches: Watch) -> tuple[Stage, OddBoard]:
    """A stage of a running job, with the odd board."""
    stage = Stage(a_job(), *watches)
    stage.board = board = OddBoard()
    return stage, board


def a_desk(stage: Stage, start: Callable[[JobId], Awaitable[None]]) -> Desk:
    return Desk(
        omni=stage.omni,
        board=stage.board,
        watches=stage.watches,
        asks=stage.asks,
        intents=Intents(stage.asks, WholeSteps(), now),
        given_ups=stage.given_ups,
        arrivals=stage.arrivals,
        access=stage.access,
        start=start,
        now=now,
        bot_user=UserId("U0BOT"),
    )


def direct(person: UserId) -> Place:
    return Place(HERE.team, ChannelId(f"D{person}"))


def step(stage: Stage, number: int) -> None:
    stage.says(JobState.EXECUTING, progress=Progress(f"step {number}", number))


LONG = 600.0
"""How long a job is looked after here."""


class Resting(Stage):
    """A stage on which jobs are looked after for ten minutes."""

    def __init__(self, job: Job | OmniError, *watches: Watch) -> None:
        super().__init__(job, *watches)
        self.rules = replace(RULES, settings=Settings.model_construct(max_follow_hours=LONG / 3_600.0))

    def rests(self) -> bool:
        return "The bot stopped looking" in self.shown()[0]

    def row(self) -> Watch:
        return self.watches.rows[WATCH]


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
        watches, board = self.watches, self.board
        to_watches, to_board = Paused(watches), Paused(board)
        to_board.awake = to_watches.awake
        self.watches, self.board = cast(FakeWatches, to_watches), cast(FakeBoard, to_board)
        try:
            async with self.bot():
                self.watches, self.board = watches, board
                try:
                    yield to_watches
                finally:
                    to_watches.awake.set()
        finally:
            self.watches, self.board = watches, board


PIECES = 3


@functools.cache
def tall(replies: int, *, file: bool = False) -> str:
    """The shortest answer that goes on in so many replies, of numbered paragraphs."""

    def of(number: int) -> str:
        filling = "Some words to fill it. " * 20
        return "".join(f"paragraph {n} of it. {filling}\n\n" for n in range(1, number + 1))

    def goes_on_in(number: int) -> tuple[int, bool]:
        rest = answer_module.rest(a_job(JobState.COMPLETE, answer=of(number)), RULES.tenant)
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
