"""What people can have asked of Omni: a question, one that goes on from an answer, and the same one again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import structlog

from bot.delivery.cards import Cards
from bot.delivery.direct_messages import Word
from bot.domain.access import Access
from bot.domain.cards import Place, Ts, UserId, Watch, WatchId
from bot.domain.errors import (
    BoardError,
    ClaimLost,
    NoOmniUser,
    OmniError,
    StoreUnavailable,
    TooManyFollows,
    Unjudged,
)
from bot.domain.jobs import Conversation, Job, JobId, JobState, Sight
from bot.domain.messages import Message
from bot.domain.ports.omni import Omni
from bot.domain.ports.storage import Asks, Watches
from bot.domain.questions import Ask, ModelId, Question, ask_id
from bot.log import Act, audit, bind_job
from bot.rendering import ask_replies, replies
from bot.services.authorization import OMNI_ANSWERS_WITHIN_SECONDS
from bot.services.submission import Submission, Submitting
from bot.services.targets import Destinations, pressed_card

log = structlog.get_logger()

_RETRIABLE = (JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants to have asked."""

    prompt: str = field(repr=False)
    model: ModelId | None = None
    """None: the one that they chose last, or else the operator's."""
    topic: str | None = None
    private: bool = False
    """Whether the card is to go to their direct messages."""
    delivery: str = ""
    """What Slack delivered it as: a trigger id, or the ts of a message. It is asked once, however often that is
    delivered, and to whichever process."""


class _Refused(Exception):
    """Nothing is submitted; `line` says why."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


class AskDesk:
    """Takes questions from people. Every method returns what to tell them privately, or None where the card speaks
    for itself, and raises nothing that a person or the world around can cause."""

    def __init__(
        self,
        *,
        omni: Omni,
        watches: Watches,
        asks: Asks,
        access: Access,
        destinations: Destinations,
        cards: Cards,
        submitting: Submitting,
        now: Callable[[], datetime],
        default_model: ModelId | None,
    ) -> None:
        """`default_model`: whom to ask where a person has chosen none."""
        self._omni = omni
        self._watches = watches
        self._asks = asks
        self._access = access
        self._destinations = destinations
        self._cards = cards
        self._submitting = submitting
        self._now = now
        self._default_model = default_model

    async def ask(
        self, wish: Wish, place: Place, user: UserId, stored: Callable[[], None] = lambda: None
    ) -> Message | Word | None:
        """Ask a question, in direct messages where the place is none. `stored` is called once a crash can no longer
        make it forgotten without a word."""
        ask = replace(self._intention(wish.delivery, place, user), model=wish.model)
        return await self._seen_through(ask, partial(self._new, wish, ask), stored)

    async def follow_up(
        self,
        wish: Wish,
        watch: WatchId,
        place: Place,
        card: Ts,
        user: UserId,
        stored: Callable[[], None] = lambda: None,
    ) -> Message | Word | None:
        """Ask on from a card, in its thread. The watch, named by a button, must be the one of that card. `stored`: as
        for `ask`."""
        ask = self._intention(wish.delivery, place, user)

        async def prepare() -> Submission:
            await self._let_in(user, place)
            known = await self._card(Act.FOLLOW_UP, user, watch, place, card)
            return await self._next(wish.prompt, known, known.thread_of(card), ask)

        return await self._seen_through(ask, prepare, stored)

    async def mentioned(
        self, wish: Wish, place: Place, thread: Ts, user: UserId, stored: Callable[[], None] = lambda: None
    ) -> Message | Word | None:
        """Ask on from the newest card in a thread. `stored`: as for `ask`."""
        ask = self._intention(wish.delivery, place, user)

        async def prepare() -> Submission:
            await self._let_in(user, place)
            found = await self._watches.in_thread(place, thread)
            if not found:
                raise _Refused(ask_replies.no_card_here())
            return await self._next(wish.prompt, found[0], thread, ask)

        return await self._seen_through(ask, prepare, stored)

    async def retry(
        self,
        watch: WatchId,
        place: Place,
        card: Ts,
        user: UserId,
        delivery: str = "",
        stored: Callable[[], None] = lambda: None,
    ) -> Message | Word | None:
        """Ask a card's question again. The watch, named by a button, must be the one of that card. `delivery`: as of a
        `Wish`; `stored`: as for `ask`."""
        ask = self._intention(delivery, place, user)
        return await self._seen_through(ask, partial(self._again, watch, card, ask), stored)

    async def _seen_through(
        self,
        ask: Ask,
        preparing: Callable[[], Awaitable[Submission]],
        stored: Callable[[], None],
    ) -> Message | Word | None:
        """Submit what is prepared, or tell why that can't be."""
        try:
            return await self._submitting.see_through(ask, partial(self._prepared, preparing), stored)
        except TooManyFollows as error:
            audit(Act.ASK, ask.user, ask.place, "refused: too many open follows")
            return Message(replies.too_many_follows(error.most))
        except StoreUnavailable as error:
            log.error("ask not stored", reason=str(error))
            return Message(replies.storage_down())

    async def _prepared(self, preparing: Callable[[], Awaitable[Submission]]) -> Submission | Message:
        try:
            async with asyncio.timeout(OMNI_ANSWERS_WITHIN_SECONDS):
                return await preparing()
        except (_Refused, NoOmniUser) as error:
            return Message(error.line)
        except Unjudged:
            return Message(replies.not_known())
        except OmniError as error:
            return Message(ask_replies.refused(error))
        except BoardError as error:
            return Message(self._destinations.not_had(error))
        except TimeoutError:
            return Message(replies.omni_busy())
        except StoreUnavailable as error:
            log.error("ask not prepared", reason=str(error))
            return Message(replies.storage_down())

    # What is to be submitted

    async def _new(self, wish: Wish, ask: Ask) -> Submission:
        user = ask.user
        place = await self._destinations.resolve(ask.place, user)
        await self._let_in(user, place)
        prompt = _said(wish.prompt)
        model = wish.model or await self._asks.last_model(place.team, user) or self._default_model
        if model is None:
            raise _Refused(ask_replies.no_model())
        as_user = await self._access.asker(user)
        destination = await self._destinations.choose(place, user, private=wish.private)
        return Submission(
            act=Act.ASK,
            ask=ask,
            question=Question(prompt, model, wish.topic, as_user=as_user),
            destination=destination,
            thread=None,
            unanswered=ask_replies.maybe_taken(prompt, private=wish.private),
        )

    async def _next(self, prompt: str, known: Watch, thread: Ts, ask: Ask) -> Submission:
        """What goes on from a card's job, in that thread."""
        prompt = _said(prompt)
        job = await self._job(known, ask.user)
        if job.conversation is None:
            raise _Refused(ask_replies.no_conversation())
        destination = await self._destinations.choose(known.place, ask.user, private=False)
        is_here = destination.place == known.place
        return Submission(
            act=Act.FOLLOW_UP,
            ask=ask,
            question=await self._on_from(job, prompt, ask.user),
            destination=destination,
            thread=thread if is_here else None,
            unanswered=ask_replies.maybe_taken(None),
            ahead=partial(self._ahead, known, thread, job.conversation),
        )

    async def _again(self, watch: WatchId, card: Ts, ask: Ask) -> Submission:
        """What asks a card's question once more."""
        place, user = ask.place, ask.user
        await self._let_in(user, place)
        known = await self._card(Act.RETRY, user, watch, place, card)
        if not self._access.may_act(user, await self._watches.first_of(known.job) or known):
            audit(Act.RETRY, user, place, "refused: not theirs", job=known.job)
            raise _Refused(replies.not_yours())
        if known.retried_by is not None:
            raise _Refused(ask_replies.already_retried(known.retried_by))
        job = await self._job(known, user)
        if job.state not in _RETRIABLE or not job.prompt.strip():
            raise _Refused(ask_replies.not_retriable())
        destination = await self._destinations.choose(place, user, private=False)
        question = await self._on_from(job, job.prompt, user)
        if not await self._asks.retries(ask.id, watch, user):
            raise _Refused(ask_replies.already_retried(None))
        return Submission(
            act=Act.RETRY,
            ask=ask,
            question=question,
            destination=destination,
            thread=known.thread if destination.place == place else None,
            unanswered=Message(ask_replies.retry_maybe_taken()),
            taken=partial(self._show_retried, watch, job),
        )

    async def _let_in(self, user: UserId, place: Place) -> None:
        line = await self._access.refusal(user, place)
        line = line or await self._access.over_limit(user, place.team, asking=True)
        if line is not None:
            raise _Refused(line)

    async def _card(self, act: Act, user: UserId, watch: WatchId, place: Place, card: Ts) -> Watch:
        """The watch of a card, which a button named."""
        known = await pressed_card(self._watches, watch, place, card)
        if known is None:
            audit(act, user, place, "refused: no such card")
            raise _Refused(replies.nothing_to_show_here())
        bind_job(known.job)
        return known

    async def _job(self, known: Watch, user: UserId) -> Job:
        """The job of a card. One that is not there and one that is somebody else's read the same."""
        job = await self._omni.status(known.job, urgent=True)
        if not await self._access.may_see(user, job):
            raise _Refused(replies.no_such_job())
        return job

    async def _on_from(self, job: Job, prompt: str, user: UserId) -> Question:
        """A question in the chat of a job, and of the same model."""
        model = ModelId(job.model) if job.model else self._default_model
        if model is None:
            raise _Refused(ask_replies.no_model())
        as_user = await self._access.asker(user)
        return Question(prompt, model, conversation=job.conversation, as_user=as_user)

    def _intention(self, delivery: str, place: Place, user: UserId) -> Ask:
        now = self._now()
        return Ask(ask_id(place, delivery), place, user, now, now)

    async def _ahead(self, known: Watch, thread: Ts, conversation: str) -> Sequence[JobId]:
        """The jobs that may keep a chat busy: a running one need not be told of by the chat itself."""
        jobs = {known.job: None}
        try:
            jobs |= {watch.job: None for watch in await self._watches.in_thread(known.place, thread)}
            if (newest := await self._omni.newest_job(Conversation(conversation))) is not None:
                jobs[newest] = None
        except (OmniError, StoreUnavailable) as error:
            log.info("jobs ahead not known", error=type(error).__name__)
        return list(jobs)

    async def _show_retried(self, watch: WatchId, job: Job) -> None:
        """Let the old card say so. Should that fail, its button still says so to whoever presses it."""
        try:
            if (newest := await self._watches.get(watch)) is not None:
                await self._cards.show_retried(newest, Sight(job=job))
        except (ClaimLost, StoreUnavailable) as error:
            log.info("retry not shown", watch=watch, error=type(error).__name__)


def _said(prompt: str) -> str:
    """The question. Raises _Refused where nothing was asked."""
    said = prompt.strip()
    if not said:
        raise _Refused(ask_replies.usage())
    return said
