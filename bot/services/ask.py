"""What people can have asked of Omni: a question, one that goes on from an answer, and the same one again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import structlog

from bot.delivery import CardLifecycle
from bot.domain import (
    Authorization,
    Card,
    CardId,
    ChannelRef,
    Conversation,
    IdentityUnavailable,
    Job,
    JobId,
    JobState,
    JobStatus,
    Message,
    MessageTs,
    ModelId,
    NoOmniUser,
    OmniError,
    OwnershipLost,
    PendingQuestion,
    Question,
    SlackError,
    StoreUnavailable,
    TooManyFollows,
    UserId,
    ask_id,
)
from bot.domain.ports import CardRepository, OmniJobs, QuestionRepository
from bot.log import Act, audit, bind_job
from bot.rendering import ask_replies, replies
from bot.services.authorization import OMNI_ANSWERS_WITHIN_SECONDS
from bot.services.intents import Response, SavedRequest
from bot.services.submission import PreparedQuestion, QuestionSubmitter
from bot.services.targets import Targets, load_clicked_card

log = structlog.get_logger()

_RETRIABLE = (JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class AskRequest:
    """What a person wants to have asked."""

    prompt: str = field(repr=False)
    model: ModelId | None = None
    """None: the one that they chose last, or else the operator's."""
    topic: str | None = None
    private: bool = False
    """Whether the card is to go to their direct messages."""
    request_id: str = ""
    """What Slack delivered it as: a trigger id, or the ts of a message. It is asked once, however often that is
    delivered, and to whichever process."""


class _Refused(Exception):
    """Nothing is submitted; `line` says why."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


class AskService:
    """Takes questions from people. Every method returns what to tell them privately, or None where the card speaks
    for itself, and raises nothing that a person or the world around can cause."""

    def __init__(
        self,
        *,
        omni: OmniJobs,
        watches: CardRepository,
        questions: QuestionRepository,
        authorization: Authorization,
        destinations: Targets,
        cards: CardLifecycle,
        submitting: QuestionSubmitter,
        now: Callable[[], datetime],
        default_model: ModelId | None,
    ) -> None:
        """`default_model`: whom to ask where a person has chosen none."""
        self._omni = omni
        self._cards = watches
        self._questions = questions
        self._authorization = authorization
        self._targets = destinations
        self._lifecycle = cards
        self._submitter = submitting
        self._now = now
        self._default_model = default_model

    async def ask(self, wish: AskRequest, channel: ChannelRef, user: UserId) -> SavedRequest | Response:
        """Ask a question, in direct messages where there is no channel."""
        ask = replace(self._intention(wish.request_id, channel, user), model=wish.model)
        return await self._seen_through(ask, partial(self._new, wish, ask))

    async def follow_up(
        self,
        wish: AskRequest,
        card_id: CardId,
        channel: ChannelRef,
        message_ts: MessageTs,
        user: UserId,
    ) -> SavedRequest | Response:
        """Ask on from a card, in its thread. The watch, named by a button, must be the one of that card."""
        ask = self._intention(wish.request_id, channel, user)

        async def prepare() -> PreparedQuestion:
            await self._let_in(user, channel)
            known = await self._card(Act.FOLLOW_UP, user, card_id, channel, message_ts)
            return await self._next(wish.prompt, known, known.thread_of(message_ts), ask)

        return await self._seen_through(ask, prepare)

    async def mentioned(
        self,
        wish: AskRequest,
        channel: ChannelRef,
        thread: MessageTs,
        user: UserId,
    ) -> SavedRequest | Response:
        """Ask on from the newest card in a thread."""
        ask = self._intention(wish.request_id, channel, user)

        async def prepare() -> PreparedQuestion:
            await self._let_in(user, channel)
            found = await self._cards.in_thread(channel, thread)
            if not found:
                raise _Refused(ask_replies.no_card_in_thread())
            return await self._next(wish.prompt, found[0], thread, ask)

        return await self._seen_through(ask, prepare)

    async def retry(
        self,
        card_id: CardId,
        channel: ChannelRef,
        message_ts: MessageTs,
        user: UserId,
        delivery: str = "",
    ) -> SavedRequest | Response:
        """Ask a card's question again. The watch, named by a button, must be the one of that card. `delivery`: as of a
        `AskRequest`."""
        ask = self._intention(delivery, channel, user)
        return await self._seen_through(ask, partial(self._again, card_id, message_ts, ask))

    async def _seen_through(
        self,
        question: PendingQuestion,
        preparing: Callable[[], Awaitable[PreparedQuestion]],
    ) -> SavedRequest | Response:
        """Submit what is prepared, or tell why that can't be."""
        try:
            return await self._submitter.save(question, partial(self._prepared, preparing))
        except TooManyFollows as error:
            audit(Act.ASK, question.user, question.place, "refused: too many open follows")
            return Message(replies.too_many_follows(error.most))
        except StoreUnavailable as error:
            log.error("ask not stored", reason=str(error))
            return Message(replies.storage_down())

    async def _prepared(
        self, preparing: Callable[[], Awaitable[PreparedQuestion]]
    ) -> PreparedQuestion | Message:
        try:
            async with asyncio.timeout(OMNI_ANSWERS_WITHIN_SECONDS):
                return await preparing()
        except (_Refused, NoOmniUser) as error:
            return Message(error.line)
        except IdentityUnavailable:
            return Message(replies.identity_unavailable())
        except OmniError as error:
            return Message(ask_replies.rejected(error))
        except SlackError as error:
            return Message(self._targets.not_had(error))
        except TimeoutError:
            return Message(replies.omni_busy())
        except StoreUnavailable as error:
            log.error("ask not prepared", reason=str(error))
            return Message(replies.storage_down())

    # What is to be submitted

    async def _new(self, wish: AskRequest, question: PendingQuestion) -> PreparedQuestion:
        user = question.user
        place = await self._targets.resolve(question.place, user)
        await self._let_in(user, place)
        prompt = _said(wish.prompt)
        model = wish.model or await self._questions.last_model(place.team, user) or self._default_model
        if model is None:
            raise _Refused(ask_replies.no_model())
        as_user = await self._authorization.omni_user_for(user)
        destination = await self._targets.choose(place, user, private=wish.private)
        return PreparedQuestion(
            act=Act.ASK,
            ask=question,
            question=Question(prompt, model, wish.topic, as_user=as_user),
            destination=destination,
            thread=None,
            unanswered=ask_replies.maybe_submitted(prompt, private=wish.private),
        )

    async def _next(
        self, prompt: str, known: Card, thread: MessageTs, question: PendingQuestion
    ) -> PreparedQuestion:
        """What goes on from a card's job, in that thread."""
        prompt = _said(prompt)
        job = await self._job(known, question.user)
        if job.conversation is None:
            raise _Refused(ask_replies.no_conversation())
        destination = await self._targets.choose(known.channel, question.user, private=False)
        is_here = destination.place == known.channel
        return PreparedQuestion(
            act=Act.FOLLOW_UP,
            ask=question,
            question=await self._on_from(job, prompt, question.user),
            destination=destination,
            thread=thread if is_here else None,
            unanswered=ask_replies.maybe_submitted(None),
            ahead=partial(self._ahead, known, thread, job.conversation),
        )

    async def _again(self, card_id: CardId, message_ts: MessageTs, ask: PendingQuestion) -> PreparedQuestion:
        """What asks a card's question once more."""
        place, user = ask.place, ask.user
        await self._let_in(user, place)
        known = await self._card(Act.RETRY, user, card_id, place, message_ts)
        if not self._authorization.can_manage(user, await self._cards.first_card(known.job) or known):
            audit(Act.RETRY, user, place, "refused: not theirs", job=known.job)
            raise _Refused(replies.not_yours())
        if known.retried_by is not None:
            raise _Refused(ask_replies.already_retried(known.retried_by))
        job = await self._job(known, user)
        if job.state not in _RETRIABLE or not job.prompt.strip():
            raise _Refused(ask_replies.not_retriable())
        destination = await self._targets.choose(place, user, private=False)
        question = await self._on_from(job, job.prompt, user)
        if not await self._questions.claim_retry(ask.id, card_id, user):
            raise _Refused(ask_replies.already_retried(None))
        return PreparedQuestion(
            act=Act.RETRY,
            ask=ask,
            question=question,
            destination=destination,
            thread=known.thread if destination.place == place else None,
            unanswered=Message(ask_replies.retry_maybe_submitted()),
            taken=partial(self._show_retried, card_id, job),
        )

    async def _let_in(self, user: UserId, channel: ChannelRef) -> None:
        line = await self._authorization.deny_new(user, channel, asking=True)
        if line is not None:
            raise _Refused(line)

    async def _card(
        self, act: Act, user: UserId, card_id: CardId, channel: ChannelRef, message_ts: MessageTs
    ) -> Card:
        """The watch of a card, which a button named."""
        known = await load_clicked_card(self._cards, card_id, channel, message_ts)
        if known is None:
            audit(act, user, channel, "refused: no such card")
            raise _Refused(replies.nothing_to_show_here())
        bind_job(known.job)
        return known

    async def _job(self, known: Card, user: UserId) -> Job:
        """The job of a card. One that is not there and one that is somebody else's read the same."""
        job = await self._omni.status(known.job, urgent=True)
        if not await self._authorization.can_see(user, job):
            raise _Refused(replies.no_such_job())
        return job

    async def _on_from(self, job: Job, prompt: str, user: UserId) -> Question:
        """A question in the chat of a job, and of the same model."""
        model = ModelId(job.model) if job.model else self._default_model
        if model is None:
            raise _Refused(ask_replies.no_model())
        as_user = await self._authorization.omni_user_for(user)
        return Question(prompt, model, conversation=job.conversation, as_user=as_user)

    def _intention(self, delivery: str, channel: ChannelRef, user: UserId) -> PendingQuestion:
        now = self._now()
        return PendingQuestion(ask_id(channel, delivery), channel, user, now, now)

    async def _ahead(self, known: Card, thread: MessageTs, conversation: str) -> Sequence[JobId]:
        """The jobs that may keep a chat busy: a running one need not be told of by the chat itself."""
        jobs = {known.job: None}
        try:
            jobs |= {card.job: None for card in await self._cards.in_thread(known.channel, thread)}
            if (newest := await self._omni.newest_job(Conversation(conversation))) is not None:
                jobs[newest] = None
        except (OmniError, StoreUnavailable) as error:
            log.info("jobs ahead not known", error=type(error).__name__)
        return list(jobs)

    async def _show_retried(self, card_id: CardId, job: Job) -> None:
        """Let the old card say so. Should that fail, its button still says so to whoever presses it."""
        try:
            if (newest := await self._cards.get(card_id)) is not None:
                await self._lifecycle.mark_retried(newest, JobStatus(job=job))
        except (OwnershipLost, StoreUnavailable) as error:
            log.info("retry not shown", watch=card_id, error=type(error).__name__)


def _said(prompt: str) -> str:
    """The question. Raises _Refused where nothing was asked."""
    said = prompt.strip()
    if not said:
        raise _Refused(ask_replies.usage())
    return said
