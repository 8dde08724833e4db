"""Stand-ins for the world that remember what was done to them, for tests in virtual time."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from bot.delivery.direct_messages import Word
from bot.domain.cards import (
    DOUBTED,
    ChannelId,
    Claim,
    NoCard,
    Place,
    Reply,
    Slot,
    TeamId,
    Ts,
    UserId,
    Watch,
    WatchId,
    ending,
)
from bot.domain.errors import (
    AskRefused,
    BoardError,
    ClaimLost,
    JobNotFound,
    MessageGone,
    NotAllowedHere,
    OmniError,
    TooManyFollows,
    ViewGone,
    WatchChanged,
)
from bot.domain.jobs import Conversation, Job, JobId, JobState
from bot.domain.messages import Message, Upload
from bot.domain.people import Person, Venue
from bot.domain.ports.metrics import Outcome
from bot.domain.ports.omni import Worth
from bot.domain.questions import Ask, AskId, Model, ModelId, OmniUserId, Question, Submitted
from bot.domain.results import JobResult
from bot.ratelimit import Rate

ADA = UserId("U0ADA")
GRACE = UserId("U0GRACE")
JOB = JobId("550e8400-e29b-41d4-a716-446655440000")
CHAT = "660e8400-e29b-41d4-a716-446655440001"
MODEL = ModelId("770e8400-e29b-41d4-a716-446655440002")
HERE = Place(TeamId("T0"), ChannelId("C0HERE"))
START = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)


def now() -> datetime:
    """The time of day that belongs to the loop's virtual clock."""
    return START + timedelta(seconds=asyncio.get_running_loop().time())


def a_watch(name: str = "watch", place: Place = HERE, person: UserId = ADA) -> Watch:
    return Watch(WatchId(name), JOB, place, person, (person,), START)


def a_job(state: JobState = JobState.EXECUTING, **more: object) -> Job:
    return replace(Job(id=JOB, state=state, raw_state=state.value, prompt="Top products?"), **more)  # type: ignore[arg-type]


class FreeLedger:
    """A budget without end that remembers who was let through when, and how long it was paused."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.paused_until = 0.0

    async def take(self, _budget: str, _rate: Rate, *, urgent: bool = True) -> float:
        time = asyncio.get_running_loop().time()
        if time < self.paused_until:
            return self.paused_until - time
        self.taken.append(time)
        return 0.0

    async def pause(self, _budget: str, _rate: Rate, seconds: float) -> None:
        self.paused_until = asyncio.get_running_loop().time() + seconds


@dataclass
class Posted:
    """A message as the board holds it."""

    place: Place
    message: Message
    mark: str
    thread: Ts | None
    edits: list[tuple[float, Message]] = field(default_factory=list)


@dataclass
class Uploaded:
    """A file as the board holds it."""

    place: Place
    upload: Upload
    thread: Ts | None
    at: float


class FakeBoard:
    """Slack as a dictionary. `plan` makes the next calls of a method fail, before or after their effect."""

    def __init__(self) -> None:
        self.posted: dict[Ts, Posted] = {}
        self.uploaded: list[Uploaded] = []
        self.closed: set[Place] = set()
        self.gone_threads: set[Ts] = set()
        self.on_update: Callable[[], None] = lambda: None
        self.calls: list[tuple[float, str]] = []
        self._ts = count(1)
        self._plans: dict[str, deque[tuple[BoardError, bool]]] = {}

    def plan(self, method: str, *errors: BoardError, after_effect: bool = False) -> None:
        self._plans.setdefault(method, deque()).extend((error, after_effect) for error in errors)

    def forget_plans(self) -> None:
        self._plans.clear()

    def top_level(self, place: Place = HERE) -> list[Posted]:
        return [posted for posted in self.posted.values() if posted.thread is None and posted.place == place]

    def replies(self) -> list[Posted]:
        return [posted for posted in self.posted.values() if posted.thread is not None]

    def times(self, method: str) -> list[float]:
        return [time for time, name in self.calls if name == method]

    async def post(self, place: Place, message: Message, *, mark: str, thread: Ts | None = None) -> Ts:
        late = self._begin("post")
        if place in self.closed:
            raise NotAllowedHere("not_in_channel")
        if thread in self.gone_threads:
            raise MessageGone("thread_not_found")
        ts = Ts(f"{next(self._ts)}.0")
        self.posted[ts] = Posted(place, message, mark, thread)
        _raise(late)
        return ts

    async def update(self, place: Place, ts: Ts, message: Message) -> None:
        late = self._begin("update")
        self.on_update()
        if ts not in self.posted or self.posted[ts].place != place:
            raise MessageGone("message_not_found")
        self.posted[ts].message = message
        self.posted[ts].edits.append((asyncio.get_running_loop().time(), message))
        _raise(late)

    async def delete(self, place: Place, ts: Ts) -> None:
        late = self._begin("delete")
        self.posted.pop(ts, None)
        _raise(late)

    async def find(self, place: Place, *, mark: str, since: datetime, thread: Ts | None = None) -> Ts | None:
        late = self._begin("find")
        _raise(late)
        for ts, posted in self.posted.items():
            if posted.mark == mark and posted.place == place and posted.thread == thread:
                return ts
        return None

    async def upload(self, place: Place, upload: Upload, *, thread: Ts | None = None) -> None:
        late = self._begin("upload")
        if place in self.closed:
            raise NotAllowedHere("not_in_channel")
        self.uploaded.append(Uploaded(place, upload, thread, asyncio.get_running_loop().time()))
        _raise(late)

    async def permalink(self, _place: Place, ts: Ts) -> str:
        late = self._begin("permalink")
        _raise(late)
        if ts not in self.posted:
            raise MessageGone("message_not_found")
        return f"https://example.slack.com/{ts}"

    async def direct(self, place: Place, user: UserId) -> Place:
        late = self._begin("direct")
        _raise(late)
        return Place(place.team, ChannelId(f"D{user}"))

    def _begin(self, method: str) -> BoardError | None:
        """Fail before the effect where that is planned; else the error to raise after it."""
        self.calls.append((asyncio.get_running_loop().time(), method))
        plans = self._plans.get(method)
        if not plans:
            return None
        error, after_effect = plans.popleft()
        if not after_effect:
            raise error
        return error


def _raise(error: BoardError | None) -> None:
    if error is not None:
        raise error


class FakeDirectory:
    """Slack's people and conversations as dictionaries; who or what is not there is of the workspace, and not shared.

    What `people` or `venues` hold may be an error to raise instead; `errors` are raised first, and then `error`.
    Remembers who asked about whom.
    """

    def __init__(self, home: TeamId = HERE.team) -> None:
        self.people: dict[UserId, Person | BoardError] = {}
        self.venues: dict[Place, Venue | BoardError] = {}
        self.asked: list[UserId | Place] = []
        self.error: BoardError | None = None
        self.errors: list[BoardError] = []
        self._home = home

    async def person(self, user: UserId) -> Person:
        self.asked.append(user)
        self._fail()
        found = self.people.get(user, Person(user, self._home, email=f"{user.lower()}@example.com"))
        if isinstance(found, BoardError):
            raise found
        return found

    async def venue(self, place: Place) -> Venue:
        self.asked.append(place)
        self._fail()
        found = self.venues.get(place, Venue(is_direct=place.channel.startswith("D")))
        if isinstance(found, BoardError):
            raise found
        return found

    def _fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        if self.error is not None:
            raise self.error


@dataclass
class Whispered:
    """What one person was shown."""

    place: Place
    user: UserId
    message: Message
    thread: Ts | None


class FakeViews:
    """Slack's modals and Home tabs as dictionaries. `plan` makes the next calls of a method fail."""

    def __init__(self) -> None:
        self.opened: dict[str, dict[str, object]] = {}
        """The modals by id, as they look now."""
        self.triggers: list[str] = []
        self.homes: dict[UserId, dict[str, object]] = {}
        self.published: list[tuple[float, UserId]] = []
        """When whose Home tab was published."""
        self.whispered: list[Whispered] = []
        self._plans: dict[str, deque[BoardError]] = {}
        self._ids = count(1)

    def plan(self, method: str, *errors: BoardError) -> None:
        self._plans.setdefault(method, deque()).extend(errors)

    def close(self, view_id: str) -> None:
        """The person closes that modal."""
        del self.opened[view_id]

    async def open(self, trigger: str, view: dict[str, object]) -> str:
        self._begin("open")
        if trigger in self.triggers:
            raise ViewGone("exchanged_trigger_id")
        self.triggers.append(trigger)
        view_id = f"V{next(self._ids)}"
        self.opened[view_id] = view
        return view_id

    async def update(self, view_id: str, view: dict[str, object]) -> None:
        self._begin("update")
        if view_id not in self.opened:
            raise ViewGone("not_found")
        self.opened[view_id] = view

    async def publish(self, user: UserId, view: dict[str, object]) -> None:
        self._begin("publish")
        self.homes[user] = view
        self.published.append((asyncio.get_running_loop().time(), user))

    async def whisper(
        self, place: Place, user: UserId, message: Message, *, thread: Ts | None = None
    ) -> None:
        self._begin("whisper")
        self.whispered.append(Whispered(place, user, message, thread))

    def _begin(self, method: str) -> None:
        if plans := self._plans.get(method):
            raise plans.popleft()


class FakeOmni:
    """Omni with one job, which is what the test says at each moment; remembers when it was asked."""

    def __init__(self, job: Job) -> None:
        self.answer: Job | OmniError = job
        self.delay_seconds = 0.0
        self.found: deque[JobResult | OmniError] = deque([JobNotFound("404")])
        self.looked: list[tuple[float, bool]] = []
        self.asked: list[tuple[float, bool]] = []
        self.image: bytes | OmniError | None = None
        """What it has for a chart."""
        self.charts_asked: list[tuple[float, Worth | None]] = []
        self.chart_seconds = 0.0
        self.on_asked: Callable[[], None] = lambda: None

    async def status(self, job: JobId, *, urgent: bool = False, worth: Worth | None = None) -> Job:
        assert job == JOB
        self.asked.append((asyncio.get_running_loop().time(), urgent))
        self.on_asked()
        await asyncio.sleep(self.delay_seconds)
        if isinstance(self.answer, OmniError):
            raise self.answer
        return self.answer

    async def chart(self, job: JobId, *, worth: Worth | None = None) -> bytes | None:
        assert job == JOB
        self.charts_asked.append((asyncio.get_running_loop().time(), worth))
        await asyncio.sleep(self.chart_seconds)
        if isinstance(self.image, OmniError):
            raise self.image
        return self.image

    async def newest_job(self, _conversation: Conversation) -> JobId | None:
        return JOB

    async def result(self, job: JobId, *, urgent: bool = False) -> JobResult:
        """What was found by now: the first of `found`, which the last look leaves there."""
        assert job == JOB
        self.looked.append((asyncio.get_running_loop().time(), urgent))
        await asyncio.sleep(self.delay_seconds)
        found = self.found.popleft() if len(self.found) > 1 else self.found[0]
        if isinstance(found, OmniError):
            raise found
        return found

    def has_chart(self, job: JobId) -> bool | None:
        return isinstance(self.image, bytes)


class FakeAsking:
    """What is begun and ended in Omni; remembers each question and each cancel.

    `answers` and `states` are what it says in turn; the last one it says for ever.
    """

    def __init__(self) -> None:
        self.answers: deque[Submitted | OmniError] = deque([Submitted(JOB, CHAT)])
        self.states: deque[JobState | OmniError] = deque([JobState.CANCELLED])
        self.shared: dict[Model, tuple[str, ...]] = {Model(MODEL, "Shop"): ("order_items",)}
        """The topics of each model."""
        self.submitted: list[Question] = []
        self.cancelled: list[JobId] = []
        self.delay_seconds = 0.0
        self.on_submit: Callable[[], None] = lambda: None

    async def submit(self, question: Question) -> Submitted:
        self.submitted.append(question)
        self.on_submit()
        await asyncio.sleep(self.delay_seconds)
        answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OmniError):
            raise answer
        return answer

    async def cancel(self, job: JobId) -> JobState:
        self.cancelled.append(job)
        await asyncio.sleep(self.delay_seconds)
        state = self.states.popleft() if len(self.states) > 1 else self.states[0]
        if isinstance(state, OmniError):
            raise state
        return state

    async def models(self) -> Sequence[Model]:
        await asyncio.sleep(self.delay_seconds)
        return sorted(self.shared, key=lambda model: model.name)

    async def topics(self, model: ModelId) -> Sequence[str]:
        await asyncio.sleep(self.delay_seconds)
        for known, topics in self.shared.items():
            if known.id == model:
                return topics
        raise AskRefused("404")


class FakeMembers:
    """The active Omni users by e-mail address, in lower case. Set `error` to make every call fail."""

    def __init__(self) -> None:
        self.users: dict[str, tuple[OmniUserId, ...]] = {}
        self.asked: list[str] = []
        self.error: OmniError | None = None
        self.delay_seconds = 0.0

    async def named(self, email: str) -> Sequence[OmniUserId]:
        self.asked.append(email)
        await asyncio.sleep(self.delay_seconds)
        if self.error is not None:
            raise self.error
        return self.users.get(email.lower(), ())


class FakeDurations:
    """What jobs took, in memory. Set `error` to make every call fail."""

    def __init__(self, *seconds: float) -> None:
        self.rows = {JobId(f"job {number}"): took for number, took in enumerate(seconds)}
        self.added: list[set[JobId]] = []
        self.error: Exception | None = None

    async def add(self, seconds: Mapping[JobId, float], _ended_at: datetime) -> None:
        await self._turn()
        self.added.append(set(seconds))
        self.rows = {**seconds, **self.rows}

    async def newest(self) -> Sequence[float]:
        await self._turn()
        return list(self.rows.values())

    async def _turn(self) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


class FakeAsks:
    """The table of asks in memory, beside a table of watches, whose errors they share. Set `error` to make every call
    of this one alone fail.

    The rules are those of `bot.askstore.StoredAsks`: the store's tests hold one against the other.
    """

    def __init__(self, watches: "FakeWatches") -> None:
        self.watches = watches
        watches.asks = self
        self.rows: dict[AskId, Ask] = {}
        self.told_of: set[AskId] = set()
        self.writes: list[str] = []
        self.error: Exception | None = None

    async def begin(self, ask: Ask) -> bool:
        await self._turn("begin")
        if ask.id in self.rows:
            return False
        self.watches._make_sure_of_limit(ask.user, ask.place.team)
        self.rows[ask.id] = ask
        return True

    async def retries(self, ask: AskId, card: WatchId, by: UserId) -> bool:
        await self._turn("retries")
        found = self.watches.rows.get(card)
        if found is None or found.retried_by is not None or not self._is_in_hand(ask):
            return False
        self.watches.rows[card] = replace(found, retried_by=by)
        self.rows[ask] = replace(self.rows[ask], retry_of=card)
        return True

    async def touch(self, ask: AskId, at: datetime) -> bool:
        await self._turn("touch")
        if self._is_in_hand(ask):
            self.rows[ask] = replace(self.rows[ask], touched_at=at)
        return self._is_in_hand(ask)

    async def bind(self, ask: AskId, watch: Watch) -> Watch:
        await self._turn("bind")
        if ask in self.rows and self.rows[ask].job is None:
            self.rows[ask] = replace(self.rows[ask], job=watch.job)
            self.watches.askers[watch.job] = self.rows[ask].user
            self.watches._add(watch)
        here = [row for row in self.watches.rows.values() if (row.place, row.job) == (watch.place, watch.job)]
        return here[0] if here else watch

    async def withdraw(self, ask: AskId) -> None:
        await self._turn("withdraw")
        self._let_retry(ask)
        if ask in self.rows and self.rows[ask].job is None:
            del self.rows[ask]

    async def told(self, ask: AskId) -> None:
        await self._turn("told")
        self._let_retry(ask)
        self.told_of.add(ask)

    async def get(self, team: TeamId, ask: AskId) -> Ask | None:
        await self._turn()
        found = self.rows.get(ask)
        return found if found is not None and found.place.team == team else None

    async def orphans(self, before: datetime) -> Sequence[Ask]:
        await self._turn()
        found = [row for row in self.rows.values() if self._is_in_hand(row.id) and row.touched_at < before]
        return sorted(found, key=lambda row: (row.asked_at, row.id))

    async def take_over(self, ask: Ask, at: datetime) -> bool:
        await self._turn("take_over")
        if not self._is_in_hand(ask.id) or self.rows[ask.id].touched_at != ask.touched_at:
            return False
        self.rows[ask.id] = replace(self.rows[ask.id], touched_at=at)
        return True

    async def count(self, team: TeamId, user: UserId, since: datetime) -> int:
        await self._turn()
        questions = [row for row in self._of(team, user) if row.follow is None]
        return len([row for row in questions if row.asked_at >= since])

    async def last_model(self, team: TeamId, user: UserId) -> ModelId | None:
        await self._turn()
        newest_first = sorted(self._of(team, user), key=lambda row: row.asked_at, reverse=True)
        return next((row.model for row in newest_first if row.model), None)

    async def forget_asks(self, before: datetime) -> int:
        await self._turn("forget_asks")
        old = [row.id for row in self.rows.values() if row.asked_at < before]
        for ask in old:
            del self.rows[ask]
        return len(old)

    def _of(self, team: TeamId, user: UserId) -> list[Ask]:
        return [row for row in self.rows.values() if (row.place.team, row.user) == (team, user)]

    def _is_in_hand(self, ask: AskId) -> bool:
        return ask in self.rows and self.rows[ask].job is None and ask not in self.told_of

    def _let_retry(self, ask: AskId) -> None:
        mine = self.rows.get(ask)
        if mine is None or not self._is_in_hand(ask) or mine.retry_of is None:
            return
        card = self.watches.rows.get(mine.retry_of)
        if card is not None and card.retried_by == mine.user:
            self.watches.rows[card.id] = replace(card, retried_by=None)

    async def _turn(self, write: str = "") -> None:
        await asyncio.sleep(0)
        if (error := self.error or self.watches.error) is not None:
            raise error
        if write:
            self.writes.append(write)


class FakeWatches:
    """The table of watches in memory. Set `error` to make every call fail; remembers every write.

    The rules are those of `bot.store.Store`: the store's tests hold one against the other.
    """

    def __init__(self, *watches: Watch) -> None:
        self.rows = {watch.id: watch for watch in watches}
        self.threads: dict[WatchId, dict[Slot, Reply]] = {}
        """The replies that go on from each card."""
        self.most_open_follows: int | None = None
        self.asks: FakeAsks | None = None
        """Those beside it, of which the ones in hand count among a person's follows."""
        self.askers: dict[JobId, UserId] = {}
        """Who asked for the jobs that the bot has begun."""
        self.writes: list[str] = []
        self.error: Exception | None = None
        self._claims = count(1)

    def let_follow(self, watch: WatchId, *followers: UserId) -> None:
        """Somebody joins or leaves, in another task or process."""
        self._set(watch, followers=followers)

    async def add(self, watch: Watch) -> Watch:
        await self._turn("add")
        here = [row for row in self.rows.values() if (row.place, row.job) == (watch.place, watch.job)]
        if not any(row.ended if row.closed_at else watch.requester in row.followers for row in here):
            self._make_sure_of_limit(watch.requester, watch.place.team)
        return self._add(watch)

    async def get(self, watch: WatchId) -> Watch | None:
        await self._turn()
        return self.rows.get(watch)

    async def newest(self, watch: Watch) -> Watch | None:
        newest = await self.get(watch.id)
        if newest is not None and newest.claim != watch.claim:
            raise ClaimLost
        return newest

    async def claim(self, job: JobId) -> tuple[Claim, Sequence[Watch]]:
        await self._turn("claim")
        claim = Claim(f"claim {next(self._claims)}")
        for row in self._open(job):
            self._set(row.id, claim=claim)
        found = self._open(job)
        await self._turn()
        return claim, found

    async def open_watches(self, job: JobId, claim: Claim) -> Sequence[Watch]:
        found = self._open(job)
        if any(row.claim not in (None, claim) for row in found):
            await self._turn()
            raise ClaimLost
        for row in found:
            self._set(row.id, claim=claim)
        await self._turn()  # a real answer is on its way for a while too, and old when it comes
        return [replace(row, claim=claim) for row in found]

    async def open_jobs(self) -> Sequence[JobId]:
        await self._turn()
        return list(dict.fromkeys(row.job for row in self._open()))

    async def open_watches_of(self, team: TeamId, follower: UserId) -> Sequence[Watch]:
        await self._turn()
        mine = [row for row in self._open() if row.place.team == team and follower in row.followers]
        return mine[::-1]

    async def ended_watches_of(self, team: TeamId, follower: UserId, most: int) -> Sequence[Watch]:
        await self._turn()
        ended = [row for row in self.rows.values() if row.ended and row.closed_at is not None]
        mine = [row for row in ended if row.place.team == team and follower in row.followers]
        return sorted(mine, key=lambda row: (-(row.closed_at or START).timestamp(), row.id))[:most]

    async def first_of(self, job: JobId) -> Watch | None:
        await self._turn()
        found = [row for row in self.rows.values() if row.job == job and row.given_up is None]
        first = min(found, key=lambda row: (row.asked_at, row.id), default=None)
        return replace(first, requester=self.askers.get(job, first.requester)) if first else None

    async def in_thread(self, place: Place, thread: Ts) -> Sequence[Watch]:
        await self._turn()
        found = [row for row in self.rows.values() if row.place == place and thread in (row.card, row.thread)]
        return sorted(found, key=lambda row: (row.asked_at, row.id))[::-1]

    async def leave_thread(self, watch: Watch) -> None:
        await self._turn("leave_thread")
        self._write(watch, thread=None, card_tried_at=None)

    async def set_canceller(self, job: JobId, by: UserId | None, *, instead_of: UserId | None) -> None:
        await self._turn("set_canceller")
        for row in list(self.rows.values()):
            if row.job == job and not row.ended and row.cancelled_by == instead_of:
                self._set(row.id, cancelled_by=by)

    async def unfollow(self, watch: WatchId, follower: UserId) -> int | None:
        await self._turn("unfollow")
        row = self.rows.get(watch)
        if row is None or follower not in row.followers:
            return None
        left = tuple(user for user in row.followers if user != follower)
        self._set(watch, followers=left)
        return len(left)

    async def card_tried(self, watch: Watch, at: datetime | None) -> None:
        await self._turn("card_tried")
        self._write(watch, card_tried_at=at)

    async def card_posted(
        self, watch: WatchId, tried_at: datetime, ts: Ts, fingerprint: str | None, *, ended: bool = False
    ) -> bool:
        await self._turn("card_posted")
        row = self.rows.get(watch)
        if row is None or row.card_tried_at != tried_at or row.card not in (None, ts):
            return False
        if row.card is None:
            self._set(watch, card=ts, shown=fingerprint, ended=ended)
        return True

    async def card_shows(
        self, watch: Watch, card: Ts, fingerprint: str | None, *, ended: bool = False
    ) -> bool:
        await self._turn("card_shows")
        mine, there = ending(watch.claim), self.rows.get(watch.id)
        if ended and fingerprint and mine and there and (there.card, there.shown) == (card, mine):
            claim = watch.claim if there.claim == watch.claim else None
            self._set(watch.id, shown=fingerprint, ended=True, claim=claim)
            return True
        row = self._write(watch)
        if row.card != card:
            return True
        if fingerprint is None:
            self._set(watch.id, shown=mine if ended else None)
        elif row.shown == DOUBTED:
            return False
        else:
            self._set(watch.id, shown=fingerprint, ended=row.ended or ended)
        return True

    async def doubt_last_look(self, watch: WatchId, card: Ts, *, is_end: bool = False) -> None:
        await self._turn("doubt_last_look")
        row = self.rows.get(watch)
        if row is not None and is_end and (row.closed_at is None or row.ended):
            return
        if row is not None and self._has(watch, card):
            self._set(watch, shown=DOUBTED)
            if row.closed_at is not None or row.ended:
                self._set(watch, closed_at=None, claim=None)

    async def card_is_gone(self, watch: WatchId, card: Ts) -> None:
        await self._turn("card_is_gone")
        if self._has(watch, card):
            self._set(watch, card_gone=True)

    async def notice_tried(self, watch: Watch, at: datetime | None) -> None:
        await self._turn("notice_tried")
        if self._write(watch).card != watch.card:
            raise ClaimLost
        if at is not None and self._write(watch).followers != watch.followers:
            raise WatchChanged
        self._write(watch, notice_tried_at=at)

    async def notice_posted(
        self, watch: WatchId, tried_at: datetime, ts: Ts, fingerprint: str | None
    ) -> bool:
        await self._turn("notice_posted")
        row = self.rows.get(watch)
        if row is None or row.notice_tried_at != tried_at or row.notice not in (None, ts):
            return False
        self._set(watch, notice=ts)
        return True

    async def replies(self, watch: WatchId) -> Mapping[Slot, Reply]:
        await self._turn()
        return dict(self.threads.get(watch, {}))

    async def reply_tried(self, watch: Watch, slot: Slot, at: datetime | None) -> None:
        await self._turn("reply_tried")
        if self._write(watch).card != watch.card:
            raise ClaimLost
        thread = self.threads.setdefault(watch.id, {})
        begun = thread.get(slot)
        if at is not None:
            thread[slot] = Reply(at, begun.ts if begun else None)
        elif begun is not None and begun.ts is None:
            del thread[slot]

    async def reply_posted(
        self, watch: WatchId, slot: Slot, tried_at: datetime, ts: Ts, fingerprint: str | None
    ) -> bool:
        await self._turn("reply_posted")
        begun = self.threads.get(watch, {}).get(slot)
        if begun is None or begun.tried_at != tried_at or begun.ts not in (None, ts):
            return False
        self.threads[watch][slot] = Reply(tried_at, ts)
        return True

    async def move(self, watch: Watch, to: Sequence[Watch], *, left_at: datetime | None = None) -> bool:
        await self._turn("move")
        row = self._write(watch)
        if row.followers != watch.followers:
            return False
        if left_at is not None and row.has_doubted_look:
            raise WatchChanged
        if left_at is None:
            self._forget(watch.id)
        else:
            self._set(watch.id, followers=(), closed_at=left_at, ended=False, outcome=None)
        for elsewhere in to:
            merged = self._add(elsewhere)
            if merged.asked_at > elsewhere.asked_at:
                self._set(merged.id, requester=elsewhere.requester, asked_at=elsewhere.asked_at)
        return True

    async def start_over(self, watch: WatchId, card: Ts) -> None:
        await self._turn("start_over")
        if self._has(watch, card):
            self._have_no_card(watch)
            if self.rows[watch].closed_at is not None:
                self._set(watch, closed_at=None, claim=None)

    async def resume(self, watch: WatchId, follower: UserId, at: datetime) -> None:
        await self._turn("resume")
        row = self.rows.get(watch)
        if row is not None:
            if not (row.ended if row.closed_at else follower in row.followers):
                self._make_sure_of_limit(follower, row.place.team)
            followers = tuple(dict.fromkeys((*row.followers, follower)))
            self._set(watch, followers=followers)
            self._look_after(row, at)
            if row.closed_at is not None and not row.ended:
                self._open_again(watch)

    async def lost_jobs(self, before: datetime) -> Sequence[JobId]:
        await self._turn()
        return sorted({row.job for row in self._lost() if row.closed_at and row.closed_at < before})

    async def settle_lost(self, job: JobId, *, found: bool) -> None:
        await self._turn("settle_lost")
        for row in [row for row in self._lost() if row.job == job]:
            if found:
                self._open_again(row.id)
            else:
                self._set(row.id, outcome=None)

    def _open_again(self, watch: WatchId) -> None:
        nothing = dict.fromkeys(("closed_at", "claim", "notice_tried_at", "notice", "given_up", "outcome"))
        self._set(watch, **nothing)

    def _lost(self) -> list[Watch]:
        return [
            row for row in self.rows.values() if row.closed_at is not None and row.outcome is JobState.UNKNOWN
        ]

    async def close(
        self, watch: Watch, at: datetime, *, ended: bool = False, outcome: JobState | None = None
    ) -> None:
        await self._turn("close")
        row = self._write(watch)
        is_unchanged = (row.followers, row.resumed_at) == (watch.followers, watch.resumed_at)
        if is_unchanged and not row.has_doubted_look:
            self._set(watch.id, closed_at=at, ended=ended, outcome=outcome)

    async def close_if_deserted(self, watch: Watch, at: datetime) -> None:
        await self._turn("close")
        row = self._write(watch)
        if not row.followers and not row.has_doubted_look:
            self._set(watch.id, closed_at=at)

    async def remove(self, watch: Watch) -> None:
        await self._turn("remove")
        self._write(watch)
        self._forget(watch.id)

    async def forget_closed(self, before: datetime) -> int:
        await self._turn("forget_closed")
        old = [row.id for row in self.rows.values() if row.closed_at is not None and row.closed_at < before]
        for watch in old:
            self._forget(watch)
        return len(old)

    async def _turn(self, write: str = "") -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if write:
            self.writes.append(write)

    def _make_sure_of_limit(self, user: UserId, team: TeamId) -> None:
        """Raise TooManyFollows unless the person may follow one more."""
        count = sum(user in row.followers and row.place.team == team for row in self._open())
        if self.asks is not None:
            count += sum(self.asks._is_in_hand(ask.id) for ask in self.asks._of(team, user))
        if self.most_open_follows is not None and count >= self.most_open_follows:
            raise TooManyFollows(self.most_open_follows)

    def _open(self, job: JobId | None = None) -> list[Watch]:
        """The open watches, of one job or of all, oldest first."""
        found = [row for row in self.rows.values() if row.closed_at is None and job in (None, row.job)]
        return sorted(found, key=lambda row: (row.asked_at, row.id))

    def _add(self, watch: Watch) -> Watch:
        for row in self.rows.values():
            if (row.place, row.job) == (watch.place, watch.job):
                break
        else:
            self.rows[watch.id] = watch
            return watch
        goes_on = bool(row.followers) if row.closed_at is None else row.ended
        if goes_on:
            self._look_after(row, watch.asked_at)
        else:
            self._open_again(row.id)
            self._set(row.id, resumed_at=watch.asked_at)
        self._set(row.id, followers=tuple(dict.fromkeys((*row.followers, *watch.followers))))
        return self.rows[row.id]

    def _have_no_card(self, watch: WatchId) -> None:
        self._set(watch, card_tried_at=None, card=None, card_gone=False, shown=None)
        self._set(watch, notice_tried_at=None, notice=None, ended=False, outcome=None)
        self.threads.pop(watch, None)

    def _forget(self, watch: WatchId) -> None:
        del self.rows[watch]
        self.threads.pop(watch, None)

    def _look_after(self, row: Watch, at: datetime) -> None:
        self._set(row.id, resumed_at=at if row.resumed_at is None else max(row.resumed_at, at))

    def _has(self, watch: WatchId, card: Ts) -> bool:
        return watch in self.rows and self.rows[watch].card == card

    def _write(self, watch: Watch, **facts: object) -> Watch:
        """Set facts if the claim still holds. The row as it then is."""
        row = self.rows.get(watch.id)
        if row is None or row.claim != watch.claim:
            raise ClaimLost
        self._set(watch.id, **facts)
        return self.rows[watch.id]

    def _set(self, watch: WatchId, **facts: object) -> None:
        if watch in self.rows:
            self.rows[watch] = replace(self.rows[watch], **facts)  # type: ignore[arg-type]


class FakeGivenUps:
    """`GivenUps` of a table of watches in memory, whose errors they share."""

    def __init__(self, watches: FakeWatches) -> None:
        self.watches = watches

    async def give_up(self, watch: Watch, why: NoCard, at: datetime) -> None:
        await self.watches._turn("give_up")
        self.watches._write(watch)
        self.watches._have_no_card(watch.id)
        self.watches._set(watch.id, closed_at=at, given_up=why, claim=None)
        if not self.watches.rows[watch.id].followers:
            self.watches._forget(watch.id)

    async def left(self, before: datetime) -> Sequence[Watch]:
        await self.watches._turn()
        found = [row for row in self.watches.rows.values() if row.given_up is not None]
        overdue = [row for row in found if (row.notice_tried_at or row.closed_at or before) < before]
        return sorted(overdue, key=lambda row: (row.asked_at, row.id))

    async def telling(self, watch: Watch, at: datetime) -> Watch | None:
        await self.watches._turn("telling")
        row = self.watches.rows.get(watch.id)
        if row is None or row.given_up is None:
            return None
        if (row.closed_at, row.notice_tried_at) != (watch.closed_at, watch.notice_tried_at):
            return None
        self.watches._set(watch.id, notice_tried_at=at)
        return self.watches.rows[watch.id]

    async def told(self, watch: WatchId, follower: UserId) -> None:
        await self.watches._turn("told")
        row = self.watches.rows.get(watch)
        if row is None or row.given_up is None:
            return
        left = tuple(user for user in row.followers if user != follower)
        self.watches._set(watch, followers=left)
        if not left:
            self.watches._forget(watch)


def said(outcome: Word | Message | str | None) -> str:
    """What a person is told of what they asked for; nothing where they see for themselves."""
    if isinstance(outcome, Word):
        outcome = outcome.message
    return outcome.text if isinstance(outcome, Message) else outcome or ""


class FakeAccess:
    """Lets everybody do everything until a test says otherwise; remembers who was asked about."""

    def __init__(self) -> None:
        self.refused: dict[UserId, str] = {}
        self.hidden: set[UserId] = set()
        self.shared: set[Place] = set()
        self.limited: dict[UserId, str] = {}
        self.idle: set[UserId] = set()
        """Who may not cancel or retry."""
        self.only_requesters = False
        """Whether nobody else may."""
        self.omni_user: OmniUserId | Exception | None = None
        self.looks_at_jobs = False
        self.error: Exception | None = None
        self.looks_up_for_seconds = 0.0

    async def refusal(self, user: UserId, _place: Place, *, asks_omni: bool = True) -> str | None:
        if self.looks_up_for_seconds:
            await asyncio.sleep(self.looks_up_for_seconds)
        return self.refused.get(user)

    async def may_see(self, user: UserId, _job: Job) -> bool:
        if self.error is not None:
            raise self.error
        return user not in self.hidden

    async def asker(self, _user: UserId) -> OmniUserId | None:
        if isinstance(self.omni_user, Exception):
            raise self.omni_user
        return self.omni_user

    def may_act(self, user: UserId, watch: Watch) -> bool:
        return user not in self.idle and (not self.only_requesters or user == watch.requester)

    async def is_shared(self, place: Place) -> bool:
        return place in self.shared

    async def over_limit(self, user: UserId, _team: TeamId, *, asking: bool) -> str | None:
        return self.limited.get(user)


class FakeMeter:
    """Remembers what it was told, in order."""

    def __init__(self) -> None:
        self.omni_requests: list[Outcome] = []
        self.slack_calls: list[tuple[str, Outcome]] = []
        self.webhooks: list[int] = []
        self.sent = 0
        self.coalesced = 0
        self.ends: list[float] = []

    def omni_request(self, outcome: Outcome) -> None:
        self.omni_requests.append(outcome)

    def slack_call(self, method: str, outcome: Outcome) -> None:
        self.slack_calls.append((method, outcome))

    def webhook(self, status: int) -> None:
        self.webhooks.append(status)

    def edit_sent(self) -> None:
        self.sent += 1

    def edit_coalesced(self) -> None:
        self.coalesced += 1

    def end_shown(self, after_seconds: float) -> None:
        self.ends.append(after_seconds)
