"""Stand-ins for the world that remember what was done to them, for tests in virtual time."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from bot.delivery.direct_messages import Reply
from bot.domain.access import ConversationInfo, SlackUser
from bot.domain.cards import (
    API_CLIENT,
    NEEDS_REDRAW,
    Card,
    CardFailure,
    CardId,
    ChannelId,
    ChannelRef,
    FencingToken,
    MessageTs,
    Notify,
    ReplyKind,
    TeamId,
    ThreadReply,
    UserId,
    ending,
)
from bot.domain.errors import (
    AskRefused,
    CardChanged,
    JobNotFound,
    MessageGone,
    NotAllowedHere,
    OmniError,
    OwnershipLost,
    Refused,
    SlackError,
    TooManyFollows,
    ViewGone,
)
from bot.domain.jobs import Conversation, Job, JobHistory, JobId, JobState
from bot.domain.messages import FileId, Message, Upload
from bot.domain.ports.metrics import RequestOutcome
from bot.domain.ports.omni import QueuePosition
from bot.domain.questions import (
    ChannelDefault,
    Model,
    ModelId,
    OmniUserId,
    PendingQuestion,
    Question,
    QuestionId,
    Submitted,
)
from bot.domain.results import JobResult, Rating
from bot.ratelimit import Rate
from bot.rendering import replies

ADA = UserId("U0ADA")
GRACE = UserId("U0GRACE")
JOB = JobId("550e8400-e29b-41d4-a716-446655440000")
CHAT = "660e8400-e29b-41d4-a716-446655440001"
MODEL = ModelId("770e8400-e29b-41d4-a716-446655440002")
HERE = ChannelRef(TeamId("T0"), ChannelId("C0HERE"))
START = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)


def now() -> datetime:
    """The time of day that belongs to the loop's virtual clock."""
    return START + timedelta(seconds=asyncio.get_running_loop().time())


def a_card(name: str = "watch", channel: ChannelRef = HERE, user: UserId = ADA) -> Card:
    return Card(CardId(name), JOB, channel, user, (user,), START)


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
    """A message as Slack holds it."""

    place: ChannelRef
    message: Message
    mark: str
    thread: MessageTs | None
    edits: list[tuple[float, Message]] = field(default_factory=list)


@dataclass
class Uploaded:
    """A file as Slack holds it."""

    place: ChannelRef
    upload: Upload
    thread: MessageTs | None
    at: float
    id: FileId


class FakeSlackMessages:
    """Slack as a dictionary. `plan` makes the next calls of a method fail, before or after their effect."""

    def __init__(self) -> None:
        self.posted: dict[MessageTs, Posted] = {}
        self.uploaded: list[Uploaded] = []
        self.private: dict[FileId, Upload] = {}
        """Files that were uploaded without a channel."""
        self.closed: set[ChannelRef] = set()
        self.gone_threads: set[MessageTs] = set()
        self.on_update: Callable[[], None] = lambda: None
        self.calls: list[tuple[float, str]] = []
        self._ts = count(1)
        self._plans: dict[str, deque[tuple[SlackError, bool]]] = {}

    def plan(self, method: str, *errors: SlackError, after_effect: bool = False) -> None:
        self._plans.setdefault(method, deque()).extend((error, after_effect) for error in errors)

    def forget_plans(self) -> None:
        self._plans.clear()

    def top_level(self, channel: ChannelRef = HERE) -> list[Posted]:
        return [
            posted for posted in self.posted.values() if posted.thread is None and posted.place == channel
        ]

    def replies(self) -> list[Posted]:
        return [posted for posted in self.posted.values() if posted.thread is not None]

    def times(self, method: str) -> list[float]:
        return [time for time, name in self.calls if name == method]

    async def post(
        self, channel: ChannelRef, message: Message, *, mark: str, thread: MessageTs | None = None
    ) -> MessageTs:
        late = self._begin("post")
        if channel in self.closed:
            raise NotAllowedHere("not_in_channel")
        if thread in self.gone_threads:
            raise MessageGone("thread_not_found")
        ts = MessageTs(f"{next(self._ts)}.0")
        self.posted[ts] = Posted(channel, message, mark, thread)
        _raise(late)
        return ts

    async def update(self, channel: ChannelRef, ts: MessageTs, message: Message) -> None:
        late = self._begin("update")
        self.on_update()
        if ts not in self.posted or self.posted[ts].place != channel:
            raise MessageGone("message_not_found")
        self.posted[ts].message = message
        self.posted[ts].edits.append((asyncio.get_running_loop().time(), message))
        _raise(late)

    async def delete(self, channel: ChannelRef, ts: MessageTs) -> None:
        late = self._begin("delete")
        self.posted.pop(ts, None)
        _raise(late)

    async def find_by_metadata(
        self, channel: ChannelRef, *, mark: str, since: datetime, thread: MessageTs | None = None
    ) -> MessageTs | None:
        late = self._begin("find")
        _raise(late)
        for ts, posted in self.posted.items():
            if posted.mark == mark and posted.place == channel and posted.thread == thread:
                return ts
        return None

    async def delete_file(self, file: FileId) -> None:
        late = self._begin("delete_file")
        self.uploaded = [each for each in self.uploaded if each.id != file]
        self.private.pop(file, None)
        _raise(late)

    async def upload(self, channel: ChannelRef, upload: Upload, *, thread: MessageTs | None = None) -> FileId:
        late = self._begin("upload")
        if channel in self.closed:
            raise NotAllowedHere("not_in_channel")
        file = FileId(f"F0FILE{len(self.uploaded)}")
        self.uploaded.append(Uploaded(channel, upload, thread, asyncio.get_running_loop().time(), file))
        _raise(late)
        return file

    async def upload_private(self, upload: Upload) -> FileId:
        late = self._begin("upload_private")
        file = FileId(f"F0PRIVATE{len(self.private)}")
        self.private[file] = upload
        _raise(late)
        return file

    async def permalink(self, _place: ChannelRef, ts: MessageTs) -> str:
        late = self._begin("permalink")
        _raise(late)
        if ts not in self.posted:
            raise MessageGone("message_not_found")
        return f"https://example.slack.com/{ts}"

    async def open_dm(self, channel: ChannelRef, user: UserId) -> ChannelRef:
        late = self._begin("direct")
        _raise(late)
        return ChannelRef(channel.team, ChannelId(f"D{user}"))

    def _begin(self, method: str) -> SlackError | None:
        """Fail before the effect where that is planned; else the error to raise after it."""
        self.calls.append((asyncio.get_running_loop().time(), method))
        plans = self._plans.get(method)
        if not plans:
            return None
        error, after_effect = plans.popleft()
        if not after_effect:
            raise error
        return error


def _raise(error: SlackError | None) -> None:
    if error is not None:
        raise error


class FakeDirectory:
    """Slack's people and conversations as dictionaries; who or what is not there is of the workspace, and not shared.

    What `people` or `venues` hold may be an error to raise instead; `errors` are raised first, and then `error`.
    Remembers who asked about whom.
    """

    def __init__(self, home: TeamId = HERE.team) -> None:
        self.people: dict[UserId, SlackUser | SlackError] = {}
        self.venues: dict[ChannelRef, ConversationInfo | SlackError] = {}
        self.emails: dict[str, UserId | SlackError] = {}
        self.absent: dict[ChannelRef, frozenset[UserId]] = {}
        """Who is not a member of a channel; all others are."""
        self.asked: list[UserId | ChannelRef] = []
        self.error: SlackError | None = None
        self.errors: list[SlackError] = []
        self._home = home

    async def user(self, user: UserId) -> SlackUser:
        self.asked.append(user)
        self._fail()
        found = self.people.get(
            user, SlackUser(user, frozenset({self._home}), email=f"{user.lower()}@example.com")
        )
        if isinstance(found, SlackError):
            raise found
        return found

    async def user_by_email(self, email: str) -> SlackUser:
        self.asked.append(UserId(email))
        self._fail()
        found = self.emails.get(email, NotAllowedHere("users_not_found"))
        if isinstance(found, SlackError):
            raise found
        return await self.user(found)

    async def conversation(self, channel: ChannelRef) -> ConversationInfo:
        self.asked.append(channel)
        self._fail()
        found = self.venues.get(channel, ConversationInfo(is_direct=channel.id.startswith("D")))
        if isinstance(found, SlackError):
            raise found
        return found

    async def members_among(self, channel: ChannelRef, users: frozenset[UserId]) -> frozenset[UserId]:
        self.asked.append(channel)
        self._fail()
        return users - self.absent.get(channel, frozenset())

    def _fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        if self.error is not None:
            raise self.error


@dataclass
class Whispered:
    """What one person was shown."""

    place: ChannelRef
    user: UserId
    message: Message
    thread: MessageTs | None


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
        self._plans: dict[str, deque[SlackError]] = {}
        self._ids = count(1)

    def plan(self, method: str, *errors: SlackError) -> None:
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

    async def post_ephemeral(
        self, channel: ChannelRef, user: UserId, message: Message, *, thread: MessageTs | None = None
    ) -> None:
        self._begin("whisper")
        self.whispered.append(Whispered(channel, user, message, thread))

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
        self.charts_asked: list[tuple[float, QueuePosition | None]] = []
        self.chart_seconds = 0.0
        self.on_asked: Callable[[], None] = lambda: None

    async def status(self, job: JobId, *, urgent: bool = False, position: QueuePosition | None = None) -> Job:
        assert job == JOB
        self.asked.append((asyncio.get_running_loop().time(), urgent))
        self.on_asked()
        await asyncio.sleep(self.delay_seconds)
        if isinstance(self.answer, OmniError):
            raise self.answer
        return self.answer

    async def chart(self, job: JobId, *, position: QueuePosition | None = None) -> bytes | None:
        assert job == JOB
        self.charts_asked.append((asyncio.get_running_loop().time(), position))
        await asyncio.sleep(self.chart_seconds)
        if isinstance(self.image, OmniError):
            raise self.image
        return self.image

    async def newest_job(self, _conversation: Conversation) -> JobId | None:
        return JOB

    async def result(
        self, job: JobId, *, urgent: bool = False, position: QueuePosition | None = None
    ) -> JobResult:
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
        raise AskRefused(404)


class FakeMembers:
    """The active Omni users by e-mail address, in lower case. Set `error` to make every call fail."""

    def __init__(self) -> None:
        self.users: dict[str, tuple[OmniUserId, ...]] = {}
        self.other_ids: dict[OmniUserId, OmniUserId] = {}
        self.asked: list[str] = []
        self.error: OmniError | None = None
        self.delay_seconds = 0.0

    async def named(self, email: str) -> Sequence[OmniUserId]:
        self.asked.append(email)
        await asyncio.sleep(self.delay_seconds)
        if self.error is not None:
            raise self.error
        return self.users.get(email.lower(), ())

    async def ids_of(self, user: OmniUserId) -> frozenset[OmniUserId]:
        self.asked.append(user)
        if self.error is not None:
            raise self.error
        return frozenset({user, self.other_ids.get(user, user)})


class FakeDurations:
    """What jobs took, in memory. Set `error` to make every call fail."""

    def __init__(self, *seconds: float) -> None:
        self.rows = {JobId(f"job {number}"): took for number, took in enumerate(seconds)}
        self.added: list[set[JobId]] = []
        self.error: Exception | None = None

    async def add(self, seconds: Mapping[JobId, float], _ended_at: datetime) -> None:
        await self._record()
        self.added.append(set(seconds))
        self.rows = {**seconds, **self.rows}

    async def newest(self) -> Sequence[float]:
        await self._record()
        return list(self.rows.values())

    async def _record(self) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


class FakeRatings:
    """Ratings, in memory. Set `error` to make every call fail."""

    def __init__(self) -> None:
        self.rows: dict[tuple[CardId, UserId], Rating] = {}
        self.error: Exception | None = None

    async def rate(self, card: Card, user: UserId, rating: Rating, _at: datetime) -> bool:
        if self.error is not None:
            raise self.error
        is_new = self.rows.get((card.id, user)) is not rating
        self.rows[card.id, user] = rating
        return is_new


class FakeChannelDefaults:
    """The models of channels, in memory. Set `error` to make every call fail."""

    def __init__(self) -> None:
        self.rows: dict[ChannelId, ChannelDefault] = {}
        self.error: Exception | None = None

    async def get(self, channel: ChannelId) -> ChannelDefault | None:
        await self._record()
        return self.rows.get(channel)

    async def put(self, channel: ChannelId, default: ChannelDefault, _at: datetime) -> None:
        await self._record()
        self.rows[channel] = default

    async def remove(self, channel: ChannelId) -> bool:
        await self._record()
        return self.rows.pop(channel, None) is not None

    async def all(self) -> Mapping[ChannelId, ChannelDefault]:
        await self._record()
        return dict(self.rows)

    async def _record(self) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


class FakePreferences:
    """Users' choices, in memory. Set `error` to make every call fail."""

    def __init__(self) -> None:
        self.rows: dict[UserId, Notify] = {}
        self.error: Exception | None = None

    async def notify(self, users: Sequence[UserId]) -> Mapping[UserId, Notify]:
        await self._record()
        return {user: self.rows.get(user, Notify.ALWAYS) for user in users}

    async def set_notify(self, user: UserId, choice: Notify, _at: datetime) -> None:
        await self._record()
        self.rows[user] = choice

    async def _record(self) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


class FakeQuestions:
    """The table of questions in memory, beside a table of cards, whose errors they share. Set `error` to make every
    call of this one alone fail.

    The rules are those of `SqlQuestionRepository`: the tests of the storage compare both.
    """

    def __init__(self, cards: "FakeCards") -> None:
        self.card_repository = cards
        cards.questions = self
        self.rows: dict[QuestionId, PendingQuestion] = {}
        self.told_of: set[QuestionId] = set()
        self.writes: list[str] = []
        self.error: Exception | None = None

    async def begin(self, question: PendingQuestion) -> bool:
        await self._record("begin")
        if question.id in self.rows:
            return False
        self.card_repository._make_sure_of_limit(question.user, question.channel.team)
        self.rows[question.id] = question
        return True

    async def claim_retry(self, question_id: QuestionId, card: CardId, by: UserId) -> bool:
        await self._record("claim_retry")
        found = self.card_repository.rows.get(card)
        if found is None or found.retried_by is not None or not self._is_in_hand(question_id):
            return False
        self.card_repository.rows[card] = replace(found, retried_by=by)
        self.rows[question_id] = replace(self.rows[question_id], retry_of=card)
        return True

    async def heartbeat(self, question_id: QuestionId, at: datetime) -> bool:
        await self._record("heartbeat")
        if self._is_in_hand(question_id):
            self.rows[question_id] = replace(self.rows[question_id], touched_at=at)
        return self._is_in_hand(question_id)

    async def bind(self, question_id: QuestionId, card: Card) -> Card:
        await self._record("bind")
        if question_id in self.rows and self.rows[question_id].job is None:
            self.rows[question_id] = replace(self.rows[question_id], job=card.job)
            if self.rows[question_id].follow is None:
                self.card_repository.askers[card.job] = self.rows[question_id].user
            self.card_repository._add(card)
        here = [
            row
            for row in self.card_repository.rows.values()
            if (row.channel, row.job) == (card.channel, card.job)
        ]
        return here[0] if here else card

    async def rollback(self, question_id: QuestionId) -> None:
        await self._record("rollback")
        self._let_retry(question_id)
        if question_id in self.rows and self.rows[question_id].job is None:
            del self.rows[question_id]

    async def mark_reported(self, question_id: QuestionId) -> None:
        await self._record("mark_reported")
        self._let_retry(question_id)
        self.told_of.add(question_id)

    async def get(self, team: TeamId, question_id: QuestionId) -> PendingQuestion | None:
        await self._record()
        found = self.rows.get(question_id)
        return found if found is not None and found.channel.team == team else None

    async def interrupted(self, before: datetime) -> Sequence[PendingQuestion]:
        await self._record()
        found = [row for row in self.rows.values() if self._is_in_hand(row.id) and row.touched_at < before]
        return sorted(found, key=lambda row: (row.asked_at, row.id))

    async def take_over(self, question: PendingQuestion, at: datetime) -> bool:
        await self._record("take_over")
        if not self._is_in_hand(question.id) or self.rows[question.id].touched_at != question.touched_at:
            return False
        self.rows[question.id] = replace(self.rows[question.id], touched_at=at)
        return True

    async def count(self, team: TeamId, user: UserId, since: datetime) -> int:
        await self._record()
        asked = [row for row in self._of(team, user) if row.follow is None]
        return len([row for row in asked if row.asked_at >= since])

    async def last_model(self, team: TeamId, user: UserId) -> ModelId | None:
        await self._record()
        newest_first = sorted(self._of(team, user), key=lambda row: row.asked_at, reverse=True)
        return next((row.model for row in newest_first if row.model), None)

    async def delete_old(self, before: datetime) -> int:
        await self._record("delete_old")
        old = [row.id for row in self.rows.values() if row.asked_at < before]
        for ask in old:
            del self.rows[ask]
        return len(old)

    def _of(self, team: TeamId, user: UserId) -> list[PendingQuestion]:
        return [row for row in self.rows.values() if (row.channel.team, row.user) == (team, user)]

    def _is_in_hand(self, question_id: QuestionId) -> bool:
        return (
            question_id in self.rows
            and self.rows[question_id].job is None
            and question_id not in self.told_of
        )

    def _let_retry(self, question_id: QuestionId) -> None:
        mine = self.rows.get(question_id)
        if mine is None or not self._is_in_hand(question_id) or mine.retry_of is None:
            return
        card = self.card_repository.rows.get(mine.retry_of)
        if card is not None and card.retried_by == mine.user:
            self.card_repository.rows[card.id] = replace(card, retried_by=None)

    async def _record(self, write: str = "") -> None:
        await asyncio.sleep(0)
        if (error := self.error or self.card_repository.error) is not None:
            raise error
        if write:
            self.writes.append(write)


def _closed(at: datetime) -> dict[str, object]:
    return {"closed_at": at, "history": JobHistory()}


class FakeCards:
    """The table of cards in memory. Set `error` to make every call fail; remembers every write.

    The rules are those of `SqlCardRepository`: the tests of the storage compare both.
    """

    def __init__(self, *cards: Card) -> None:
        self.rows = {card.id: card for card in cards}
        self.threads: dict[CardId, dict[ReplyKind, ThreadReply]] = {}
        """The replies that go on from each card."""
        self.most_open_follows: int | None = None
        self.questions: FakeQuestions | None = None
        """Those beside it, of which the ones in hand count among a person's follows."""
        self.askers: dict[JobId, UserId] = {}
        """Who asked for the jobs that the bot has begun."""
        self.writes: list[str] = []
        self.error: Exception | None = None
        self._claims = count(1)

    def let_follow(self, card_id: CardId, *followers: UserId) -> None:
        """Somebody joins or leaves, in another task or process."""
        self._set(card_id, followers=followers)

    async def add(self, card: Card) -> Card:
        await self._record("add")
        here = [row for row in self.rows.values() if (row.channel, row.job) == (card.channel, card.job)]
        if not any(row.ended if row.closed_at else card.requester in row.followers for row in here):
            self._make_sure_of_limit(card.requester, card.channel.team)
        return self._add(card)

    async def get(self, card_id: CardId) -> Card | None:
        await self._record()
        return self.rows.get(card_id)

    async def reload(self, card: Card) -> Card | None:
        newest = await self.get(card.id)
        if newest is not None and not newest.has_same_owner(card):
            raise OwnershipLost
        return newest

    async def claim(self, job: JobId) -> tuple[FencingToken, Sequence[Card]]:
        await self._record("claim")
        claim = FencingToken(f"claim {next(self._claims)}")
        for row in self._open(job):
            self._set(row.id, token=claim)
        found = self._open(job)
        await self._record()
        return claim, found

    async def open_cards(self, job: JobId, token: FencingToken) -> Sequence[Card]:
        found = self._open(job)
        if any(row.token not in (None, token) for row in found):
            await self._record()
            raise OwnershipLost
        for row in found:
            self._set(row.id, token=token)
        await self._record()  # a real answer is on its way for a while too, and old when it comes
        return [replace(row, token=token) for row in found]

    async def open_jobs(self) -> Sequence[JobId]:
        await self._record()
        return list(dict.fromkeys(row.job for row in self._open()))

    async def followed_cards(self, team: TeamId, follower: UserId) -> Sequence[Card]:
        await self._record()
        mine = [row for row in self._open() if row.channel.team == team and follower in row.followers]
        return mine[::-1]

    async def ended_cards(self, team: TeamId, follower: UserId, most: int) -> Sequence[Card]:
        await self._record()
        ended = [row for row in self.rows.values() if row.ended and row.closed_at and not row.removed_by]
        mine = [row for row in ended if row.channel.team == team and follower in row.followers]
        return sorted(mine, key=lambda row: (-(row.closed_at or START).timestamp(), row.id))[:most]

    async def first_card(self, job: JobId) -> Card | None:
        await self._record()
        found = [row for row in self.rows.values() if row.job == job and row.failure is None]
        first = min(found, key=lambda row: (row.requested_at, row.id), default=None)
        return replace(first, requester=self.askers.get(job, first.requester)) if first else None

    async def in_channel(self, job: JobId, channel: ChannelRef) -> Card | None:
        await self._record()
        return next((row for row in self.rows.values() if (row.job, row.channel) == (job, channel)), None)

    async def in_thread(self, channel: ChannelRef, thread: MessageTs) -> Sequence[Card]:
        await self._record()
        found = [
            row
            for row in self.rows.values()
            if row.channel == channel and thread in (row.message_ts, row.thread)
        ]
        return sorted(found, key=lambda row: (row.requested_at, row.id))[::-1]

    async def leave_thread(self, card: Card) -> None:
        await self._record("leave_thread")
        self._write(card, thread=None, post_started_at=None)

    async def set_canceller(self, job: JobId, by: UserId | None, *, instead_of: UserId | None) -> None:
        await self._record("set_canceller")
        for row in list(self.rows.values()):
            if row.job == job and not row.ended and row.cancelled_by == instead_of:
                self._set(row.id, cancelled_by=by)

    async def unfollow(self, card_id: CardId, follower: UserId) -> int | None:
        await self._record("unfollow")
        row = self.rows.get(card_id)
        if row is None or follower not in row.followers:
            return None
        left = tuple(user for user in row.followers if user != follower)
        self._set(card_id, followers=left)
        return sum(user != API_CLIENT for user in left)

    async def mark_post_started(self, card: Card, at: datetime | None) -> None:
        await self._record("mark_post_started")
        self._write(card, post_started_at=at, history=card.history)

    async def mark_posted(
        self,
        card_id: CardId,
        tried_at: datetime,
        ts: MessageTs,
        fingerprint: str | None,
        *,
        ended: bool = False,
    ) -> bool:
        await self._record("mark_posted")
        row = self.rows.get(card_id)
        if row is None or row.post_started_at != tried_at or row.message_ts not in (None, ts):
            return False
        if row.message_ts is None:
            self._set(card_id, message_ts=ts, shown_fingerprint=fingerprint, ended=ended)
        return True

    async def mark_shown(
        self,
        card: Card,
        message_ts: MessageTs,
        fingerprint: str | None,
        *,
        outcome: JobState | None = None,
    ) -> bool:
        await self._record("mark_shown")
        ended = outcome is not None
        mine, there = ending(card.token), self.rows.get(card.id)
        is_end = ended and fingerprint is not None and mine is not None
        if is_end and there and there.message_ts == message_ts and there.may_show_the_end:
            claim = card.token if there.token == card.token else None
            look = fingerprint if there.shown_fingerprint == mine else there.shown_fingerprint
            self._set(card.id, shown_fingerprint=look, ended=True, token=claim)
            return True
        row = self._write(card)
        if row.message_ts != message_ts:
            return True
        if fingerprint is None:
            history = JobHistory() if ended else card.history
            known = {} if outcome is None else {"outcome": outcome}
            self._set(card.id, shown_fingerprint=mine if ended else None, history=history, **known)
        elif row.shown_fingerprint == NEEDS_REDRAW:
            return False
        else:
            self._set(card.id, shown_fingerprint=fingerprint, ended=row.ended or ended)
        return True

    async def mark_stale(self, card_id: CardId, message_ts: MessageTs, *, is_end: bool = False) -> None:
        await self._record("mark_stale")
        row = self.rows.get(card_id)
        if row is not None and is_end and row.removed_by is None and (row.closed_at is None or row.ended):
            return
        if row is not None and self._has(card_id, message_ts):
            self._set(card_id, shown_fingerprint=NEEDS_REDRAW)
            if row.closed_at is not None or row.ended:
                self._set(card_id, closed_at=None, token=None)

    async def mark_message_gone(self, card_id: CardId, message_ts: MessageTs) -> None:
        await self._record("mark_message_gone")
        if self._has(card_id, message_ts):
            self._set(card_id, is_message_gone=True)

    async def mark_completion_reply_started(self, card: Card, at: datetime | None) -> None:
        await self._record("mark_completion_reply_started")
        if self._write(card).message_ts != card.message_ts:
            raise OwnershipLost
        if at is not None and self._write(card).followers != card.followers:
            raise CardChanged
        self._write(card, completion_reply_started_at=at)

    async def mark_completion_reply_posted(
        self, card_id: CardId, tried_at: datetime, ts: MessageTs, fingerprint: str | None
    ) -> bool:
        await self._record("mark_completion_reply_posted")
        row = self.rows.get(card_id)
        if (
            row is None
            or row.completion_reply_started_at != tried_at
            or row.completion_reply_ts not in (None, ts)
        ):
            return False
        self._set(card_id, completion_reply_ts=ts)
        return True

    async def replies(self, card_id: CardId) -> Mapping[ReplyKind, ThreadReply]:
        await self._record()
        return dict(self.threads.get(card_id, {}))

    async def mark_reply_started(self, card: Card, slot: ReplyKind, at: datetime | None) -> None:
        await self._record("mark_reply_started")
        if self._write(card).message_ts != card.message_ts:
            raise OwnershipLost
        thread = self.threads.setdefault(card.id, {})
        begun = thread.get(slot)
        if at is not None:
            thread[slot] = ThreadReply(at, begun.ts if begun else None)
        elif begun is not None and begun.ts is None:
            del thread[slot]

    async def mark_reply_posted(
        self, card_id: CardId, slot: ReplyKind, tried_at: datetime, ts: MessageTs, fingerprint: str | None
    ) -> bool:
        await self._record("mark_reply_posted")
        begun = self.threads.get(card_id, {}).get(slot)
        if begun is None or begun.started_at != tried_at or begun.ts not in (None, ts):
            return False
        self.threads[card_id][slot] = ThreadReply(tried_at, ts)
        return True

    async def move(self, card: Card, to: Sequence[Card], *, left_at: datetime | None = None) -> bool:
        await self._record("move")
        row = self._write(card)
        if row.followers != card.followers:
            return False
        if left_at is not None and row.is_stale:
            raise CardChanged
        if left_at is None:
            self._forget(card.id)
        else:
            self._set(card.id, followers=(), **_closed(left_at), ended=False, outcome=None)
        for elsewhere in to:
            merged = self._add(elsewhere)
            if merged.requested_at > elsewhere.requested_at:
                self._set(merged.id, requester=elsewhere.requester, requested_at=elsewhere.requested_at)
        return True

    async def forget_message(self, card_id: CardId, message_ts: MessageTs) -> None:
        await self._record("forget_message")
        if self._has(card_id, message_ts) and self.rows[card_id].removed_by is None:
            self._have_no_card(card_id)
            if self.rows[card_id].closed_at is not None:
                self._set(card_id, closed_at=None, token=None)

    async def resume(self, card_id: CardId, follower: UserId, at: datetime) -> None:
        await self._record("resume")
        row = self.rows.get(card_id)
        if row is not None:
            if not (row.ended if row.closed_at else follower in row.followers):
                self._make_sure_of_limit(follower, row.channel.team)
            followers = tuple(dict.fromkeys((*row.followers, follower)))
            self._set(card_id, followers=followers)
            self._look_after(row, at)
            if row.closed_at is not None and not row.ended:
                self._open_again(card_id)

    async def lost_jobs(self, before: datetime) -> Sequence[JobId]:
        await self._record()
        return sorted({row.job for row in self._lost() if row.closed_at and row.closed_at < before})

    async def settle_lost(self, job: JobId, *, found: bool) -> None:
        await self._record("settle_lost")
        for row in [row for row in self._lost() if row.job == job]:
            if found:
                self._open_again(row.id)
            else:
                self._set(row.id, outcome=None)

    def _open_again(self, card_id: CardId) -> None:
        opened_again = "closed_at token completion_reply_started_at completion_reply_ts failure outcome"
        self._set(card_id, **dict.fromkeys(opened_again.split()))

    def _lost(self) -> list[Card]:
        return [
            row for row in self.rows.values() if row.closed_at is not None and row.outcome is JobState.UNKNOWN
        ]

    async def close(
        self, card: Card, at: datetime, *, ended: bool = False, outcome: JobState | None = None
    ) -> None:
        await self._record("close")
        row = self._write(card)
        is_unchanged = (row.followers, row.resumed_at) == (card.followers, card.resumed_at)
        if is_unchanged and not row.is_stale:
            self._set(card.id, **_closed(at), ended=ended, outcome=outcome)

    async def close_if_unfollowed(self, card: Card, at: datetime) -> None:
        await self._record("close_if_unfollowed")
        row = self._write(card)
        if not row.followers and not row.is_stale:
            self._set(card.id, **_closed(at))

    async def remove(self, card: Card) -> None:
        await self._record("remove")
        self._write(card)
        self._forget(card.id)

    async def delete_closed(self, before: datetime) -> int:
        await self._record("delete_closed")
        old = [row.id for row in self.rows.values() if row.closed_at is not None and row.closed_at < before]
        for card in old:
            self._forget(card)
        return len(old)

    async def _record(self, write: str = "") -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if write:
            self.writes.append(write)

    def _make_sure_of_limit(self, user: UserId, team: TeamId) -> None:
        """Raise TooManyFollows unless the person may follow one more."""
        if user == API_CLIENT:
            return
        count = sum(user in row.followers and row.channel.team == team for row in self._open())
        if self.questions is not None:
            count += sum(self.questions._is_in_hand(ask.id) for ask in self.questions._of(team, user))
        if self.most_open_follows is not None and count >= self.most_open_follows:
            raise TooManyFollows(self.most_open_follows)

    def _open(self, job: JobId | None = None) -> list[Card]:
        """The open cards, of one job or of all, oldest first."""
        found = [row for row in self.rows.values() if row.closed_at is None and job in (None, row.job)]
        return sorted(found, key=lambda row: (row.requested_at, row.id))

    def _add(self, card: Card) -> Card:
        for row in self.rows.values():
            if (row.channel, row.job) == (card.channel, card.job):
                break
        else:
            self.rows[card.id] = card
            return card
        goes_on = bool(row.followers) if row.closed_at is None else row.ended
        if goes_on:
            self._look_after(row, card.requested_at)
        else:
            self._open_again(row.id)
            self._set(row.id, resumed_at=card.requested_at)
        self._set(row.id, followers=tuple(dict.fromkeys((*row.followers, *card.followers))))
        return self.rows[row.id]

    def _have_no_card(self, card_id: CardId) -> None:
        self._set(
            card_id, post_started_at=None, message_ts=None, is_message_gone=False, shown_fingerprint=None
        )
        self._set(
            card_id, completion_reply_started_at=None, completion_reply_ts=None, ended=False, outcome=None
        )
        self.threads.pop(card_id, None)

    def _forget(self, card_id: CardId) -> None:
        del self.rows[card_id]
        self.threads.pop(card_id, None)

    def _look_after(self, row: Card, at: datetime) -> None:
        self._set(row.id, resumed_at=at if row.resumed_at is None else max(row.resumed_at, at))

    def _has(self, card_id: CardId, message_ts: MessageTs) -> bool:
        return card_id in self.rows and self.rows[card_id].message_ts == message_ts

    def _write(self, card: Card, **facts: object) -> Card:
        """Set facts if the claim still holds. The row as it then is."""
        row = self.rows.get(card.id)
        if row is None or not row.has_same_owner(card):
            raise OwnershipLost
        self._set(card.id, **facts)
        return self.rows[card.id]

    def _set(self, card_id: CardId, **facts: object) -> None:
        if card_id in self.rows:
            self.rows[card_id] = replace(self.rows[card_id], **facts)  # type: ignore[arg-type]


class FakeRemovals:
    """`RemovalRepository` of a table of cards in memory, whose errors they share."""

    def __init__(self, cards: FakeCards) -> None:
        self.card_repository = cards

    async def request(self, card_id: CardId, by: UserId) -> bool:
        await self.card_repository._record("removals.request")
        row = self.card_repository.rows.get(card_id)
        if row is None or not row.ended or row.message_ts is None or row.removed_by is not None:
            return False
        reopened = {"closed_at": None, "token": None, "shown_fingerprint": NEEDS_REDRAW}
        self.card_repository._set(card_id, removed_by=by, **reopened)
        return True

    async def begin_post(self, card_id: CardId, kind: ReplyKind, at: datetime) -> bool:
        await self.card_repository._record("removals.begin_post")
        row = self.card_repository.rows.get(card_id)
        if row is None or row.removed_by is not None:
            return False
        self.card_repository.threads.setdefault(card_id, {})[kind] = ThreadReply(at)
        return True

    async def forget_replies(self, card_id: CardId, kinds: Collection[ReplyKind]) -> None:
        await self.card_repository._record("removals.forget_replies")
        for kind in kinds:
            self.card_repository.threads.get(card_id, {}).pop(kind, None)

    async def forget_completion_reply(self, card_id: CardId) -> None:
        await self.card_repository._record("removals.forget_completion_reply")
        self.card_repository._set(card_id, completion_reply_started_at=None, completion_reply_ts=None)


class FakeFailedCards:
    """`FailedCardRepository` of a table of cards in memory, whose errors they share."""

    def __init__(self, cards: FakeCards) -> None:
        self.card_repository = cards

    async def add(self, card: Card, why: CardFailure, at: datetime) -> None:
        await self.card_repository._record("failed_cards.add")
        self.card_repository._write(card)
        self.card_repository._have_no_card(card.id)
        self.card_repository._set(card.id, **_closed(at), failure=why, token=None)
        if not self.card_repository.rows[card.id].followers:
            self.card_repository._forget(card.id)

    async def take_unreported(self, before: datetime, at: datetime) -> Card | None:
        await self.card_repository._record("failed_cards.take_unreported")
        found = [row for row in self.card_repository.rows.values() if row.failure is not None]
        overdue = [
            row for row in found if (row.completion_reply_started_at or row.closed_at or before) < before
        ]
        if not overdue:
            return None
        taken = min(overdue, key=lambda row: (row.requested_at, row.id))
        self.card_repository._set(taken.id, completion_reply_started_at=at)
        return taken

    async def mark_reported(self, card_id: CardId, follower: UserId) -> None:
        await self.card_repository._record("failed_cards.mark_reported")
        row = self.card_repository.rows.get(card_id)
        if row is None or row.failure is None:
            return
        left = tuple(user for user in row.followers if user != follower)
        self.card_repository._set(card_id, followers=left)
        if not left:
            self.card_repository._forget(card_id)


def said(outcome: Reply | Message | str | None) -> str:
    """What a person is told of what they asked for; nothing where they see for themselves."""
    if isinstance(outcome, Reply):
        outcome = outcome.message
    return outcome.text if isinstance(outcome, Message) else outcome or ""


class FakeAccess:
    """`Authorization` that allows everything until a test says otherwise."""

    def __init__(self) -> None:
        self.refused: dict[UserId, str] = {}
        self.hidden: set[UserId] = set()
        self.shared: set[ChannelRef] = set()
        self.limited: dict[UserId, str] = {}
        self.admins: set[UserId] = set()
        self.idle: set[UserId] = set()
        """Users who may not cancel or retry."""
        self.only_requesters = False
        """Whether only requesters may."""
        self.omni_user: OmniUserId | Exception | None = None
        self.owner_only = False
        self.error: Exception | None = None
        self.looks_up_for_seconds = 0.0

    async def check(
        self, user: UserId, _channel: ChannelRef, *, new: str | None = None, asks_omni: bool = True
    ) -> None:
        if self.looks_up_for_seconds:
            await asyncio.sleep(self.looks_up_for_seconds)
        if (reply := self.refused.get(user) or (self.limited.get(user) if new else None)) is not None:
            raise Refused(reply)

    async def check_visible(self, user: UserId, job: Job | JobId | None) -> None:
        if not isinstance(job, Job) and not self.owner_only:
            return
        if self.error is not None:
            raise self.error
        if user in self.hidden or job is None:
            raise Refused(replies.no_such_job())

    async def omni_user_for(self, _user: UserId) -> OmniUserId | None:
        if isinstance(self.omni_user, Exception):
            raise self.omni_user
        return self.omni_user

    def is_admin(self, user: UserId) -> bool:
        return user in self.admins

    def can_manage(self, user: UserId, card: Card) -> bool:
        return user not in self.idle and (not self.only_requesters or user == card.requester)

    async def is_shared(self, channel: ChannelRef) -> bool:
        """Whether tests have shared the channel: what `SharedChannels` answers."""
        return channel in self.shared


class FakeMeter:
    """Remembers what it was told, in order."""

    def __init__(self) -> None:
        self.omni_requests: list[RequestOutcome] = []
        self.slack_calls: list[tuple[str, RequestOutcome]] = []
        self.webhooks: list[int] = []
        self.sent = 0
        self.coalesced = 0
        self.ends: list[float] = []
        self.ratings: list[Rating] = []

    def answer_rated(self, rating: Rating) -> None:
        self.ratings.append(rating)

    def omni_request(self, outcome: RequestOutcome) -> None:
        self.omni_requests.append(outcome)

    def slack_call(self, method: str, outcome: RequestOutcome) -> None:
        self.slack_calls.append((method, outcome))

    def webhook(self, status: int) -> None:
        self.webhooks.append(status)

    def edit_sent(self) -> None:
        self.sent += 1

    def edit_coalesced(self) -> None:
        self.coalesced += 1

    def end_shown(self, after_seconds: float) -> None:
        self.ends.append(after_seconds)
