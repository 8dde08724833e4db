"""Ask Omni a question, ask a follow-up to an answer, or retry a question."""

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
    ChannelDefault,
    ChannelRef,
    ContentPolicy,
    Conversation,
    Job,
    JobId,
    JobState,
    JobStatus,
    Message,
    MessageTs,
    ModelId,
    OmniError,
    OwnershipLost,
    PendingQuestion,
    Question,
    Refused,
    StoreUnavailable,
    UserId,
    is_direct,
    question_id,
)
from bot.domain.ports import CardRepository, ChannelDefaultRepository, OmniJobs, QuestionRepository
from bot.log import Act, audit, bind_job
from bot.rendering import answer_replies, ask_replies, replies
from bot.services.intents import Intents, Response, SavedRequest
from bot.services.submission import PreparedQuestion, QuestionSubmitter
from bot.services.targets import Targets, load_clicked_card, parse_private_flag

log = structlog.get_logger()

_RETRIABLE = (JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class AskRequest:
    """A question as a user entered it."""

    prompt: str = field(repr=False)
    model: ModelId | None = None
    """None: the channel's, or else the one that the user chose last, or else the operator's."""
    topic: str | None = None
    private: bool = False
    """Whether the card goes to the user's direct messages."""
    request_id: str = ""
    """Slack's trigger id, or the ts of the message. The question is asked once, however often Slack delivers it."""
    thread: MessageTs | None = None
    """The thread of the channel in which the card becomes a reply."""
    for_channel: bool = False
    """Whether the model and topic become the channel's default. Only admins may do that."""


class AskService:
    """Accepts questions from users. Each method returns a saved request, or a reply if nothing was saved."""

    def __init__(
        self,
        *,
        omni: OmniJobs,
        cards: CardRepository,
        questions: QuestionRepository,
        authorization: Authorization,
        content_policy: ContentPolicy,
        targets: Targets,
        lifecycle: CardLifecycle,
        intents: Intents,
        submitter: QuestionSubmitter,
        now: Callable[[], datetime],
        default_model: ModelId | None,
        channel_defaults: ChannelDefaultRepository,
    ) -> None:
        """`default_model`: used if neither the channel has a default nor the user has chosen a model."""
        self._omni = omni
        self._cards = cards
        self._questions = questions
        self._authorization = authorization
        self._content_policy = content_policy
        self._targets = targets
        self._lifecycle = lifecycle
        self._intents = intents
        self._submitter = submitter
        self._now = now
        self._default_model = default_model
        self._channel_defaults = channel_defaults

    async def ask(self, request: AskRequest, channel: ChannelRef, user: UserId) -> SavedRequest | Response:
        """Ask a question, in direct messages if there is no channel."""
        pending = replace(self._pending(request.request_id, channel, user), model=request.model)
        return await self._save(pending, partial(self._prepare_question, request, pending))

    async def follow_up(
        self,
        request: AskRequest,
        card_id: CardId,
        channel: ChannelRef,
        message_ts: MessageTs,
        user: UserId,
    ) -> SavedRequest | Response:
        """Ask a follow-up in a card's thread. The id in the button is untrusted: channel and ts must match."""
        pending = self._pending(request.request_id, channel, user)

        async def prepare() -> PreparedQuestion:
            await self._authorization.check(user, channel, new="question")
            card = await self._clicked_card(Act.FOLLOW_UP, user, card_id, channel, message_ts)
            return await self._prepare_follow_up(request.prompt, card, card.thread_of(message_ts), pending)

        return await self._save(pending, prepare)

    async def follow_up_in_thread(
        self,
        request: AskRequest,
        channel: ChannelRef,
        thread: MessageTs,
        user: UserId,
    ) -> SavedRequest | Response:
        """Ask a follow-up to the newest card in a thread, or a new question where the thread has no card."""
        pending = self._pending(request.request_id, channel, user)

        async def prepare() -> PreparedQuestion:
            cards = await self._cards.in_thread(channel, thread)
            if not cards:
                prompt, private = parse_private_flag(request.prompt)
                return await self._prepare_question(
                    replace(request, prompt=prompt, private=private, thread=thread), pending
                )
            await self._authorization.check(user, channel, new="question")
            return await self._prepare_follow_up(request.prompt, cards[0], thread, pending)

        return await self._save(pending, prepare)

    async def retry(
        self,
        card_id: CardId,
        channel: ChannelRef,
        message_ts: MessageTs,
        user: UserId,
        request_id: str = "",
    ) -> SavedRequest | Response:
        """Ask a card's question again. The id in the button is untrusted: channel and ts must match.

        `request_id`: as in an `AskRequest`.
        """
        pending = self._pending(request_id, channel, user)
        return await self._save(pending, partial(self._prepare_retry, card_id, message_ts, pending))

    def _pending(self, request_id: str, channel: ChannelRef, user: UserId) -> PendingQuestion:
        now = self._now()
        return PendingQuestion(question_id(channel, request_id), channel, user, now, now)

    async def _save(
        self, pending: PendingQuestion, prepare: Callable[[], Awaitable[PreparedQuestion]]
    ) -> SavedRequest | Response:
        return await self._intents.save(pending, prepare, self._submitter.submit)

    async def _prepare_question(self, request: AskRequest, pending: PendingQuestion) -> PreparedQuestion:
        user = pending.user
        channel = await self._targets.resolve(pending.channel, user)
        await self._authorization.check(user, channel, new="question")
        prompt = _checked_prompt(request.prompt)
        if request.for_channel:
            await self._set_default(request, channel, user)
        model, topic = await self._model_for(request, channel, user)
        as_user = await self._authorization.omni_user_for(user)
        target = await self._targets.choose(channel, user, private=request.private)
        # Its button holds the question.
        is_link_only = self._content_policy.is_link_only(channel)
        return PreparedQuestion(
            act=Act.ASK,
            pending=pending,
            question=Question(prompt, model, topic, as_user=as_user),
            target=target,
            thread=request.thread if target.channel == channel else None,
            unconfirmed_reply=ask_replies.maybe_submitted(
                None if is_link_only else prompt, private=request.private
            ),
        )

    async def _set_default(self, request: AskRequest, channel: ChannelRef, user: UserId) -> None:
        """Store the channel's default. The form may be forged or older than the user's rights. Raises Refused and
        StoreUnavailable."""
        if request.model is None or is_direct(channel) or not self._authorization.is_admin(user):
            audit(Act.SET_DEFAULT, user, channel, "refused")
            raise Refused(ask_replies.no_channel_default())
        default = ChannelDefault(request.model, request.topic)
        await self._channel_defaults.put(channel.id, default, self._now())
        audit(Act.SET_DEFAULT, user, channel, "set")

    async def _model_for(
        self, request: AskRequest, channel: ChannelRef, user: UserId
    ) -> tuple[ModelId, str | None]:
        """Return the model to ask and the topic, if one is chosen. Raises Refused and StoreUnavailable."""
        if request.model is not None:
            return request.model, request.topic
        if (default := await self._channel_defaults.get(channel.id)) is not None:
            return default.model, request.topic or default.topic
        model = await self._questions.last_model(channel.team, user) or self._default_model
        if model is None:
            raise Refused(ask_replies.no_model())
        return model, request.topic

    async def _prepare_follow_up(
        self, prompt: str, card: Card, thread: MessageTs, pending: PendingQuestion
    ) -> PreparedQuestion:
        prompt = _checked_prompt(prompt)
        job = await self._visible_job(card, pending.user)
        if job.conversation is None:
            raise Refused(ask_replies.no_conversation())
        target = await self._targets.choose(card.channel, pending.user, private=False)
        return PreparedQuestion(
            act=Act.FOLLOW_UP,
            pending=pending,
            question=await self._question_after(job, prompt, pending.user),
            target=target,
            thread=thread if target.channel == card.channel else None,
            unconfirmed_reply=ask_replies.maybe_submitted(None),
            find_earlier_jobs=partial(self._earlier_jobs, card, thread, job.conversation),
        )

    async def _prepare_retry(
        self, card_id: CardId, message_ts: MessageTs, pending: PendingQuestion
    ) -> PreparedQuestion:
        channel, user = pending.channel, pending.user
        await self._authorization.check(user, channel, new="question")
        card = await self._clicked_card(Act.RETRY, user, card_id, channel, message_ts)
        if not self._authorization.can_manage(user, await self._cards.first_card(card.job) or card):
            audit(Act.RETRY, user, channel, "refused: not theirs", job=card.job)
            raise Refused(replies.not_yours())
        if card.retried_by is not None:
            raise Refused(ask_replies.already_retried(card.retried_by))
        job = await self._visible_job(card, user)
        if job.state not in _RETRIABLE or not job.prompt.strip():
            raise Refused(ask_replies.not_retriable())
        target = await self._targets.choose(channel, user, private=False)
        question = await self._question_after(job, job.prompt, user)
        if not await self._questions.claim_retry(pending.id, card_id, user):
            raise Refused(ask_replies.already_retried(None))
        return PreparedQuestion(
            act=Act.RETRY,
            pending=pending,
            question=question,
            target=target,
            thread=card.thread if target.channel == channel else None,
            unconfirmed_reply=Message(ask_replies.retry_maybe_submitted()),
            on_submitted=partial(self._mark_retried, card_id, job),
        )

    async def _clicked_card(
        self, act: Act, user: UserId, card_id: CardId, channel: ChannelRef, message_ts: MessageTs
    ) -> Card:
        card = await load_clicked_card(self._cards, card_id, channel, message_ts)
        if card is None:
            audit(act, user, channel, "refused: no such card")
            raise Refused(replies.nothing_to_show_here())
        bind_job(card.job)
        return card

    async def _visible_job(self, card: Card, user: UserId) -> Job:
        if card.removed_by is not None:
            raise Refused(answer_replies.removed_before())
        job = await self._omni.status(card.job, urgent=True)
        await self._authorization.check_visible(user, job)
        return job

    async def _question_after(self, job: Job, prompt: str, user: UserId) -> Question:
        """Return a question to the model, branch and topic and in the conversation of the job. Without them Omni would
        answer from the main model."""
        model = ModelId(job.model) if job.model else self._default_model
        if model is None:
            raise Refused(ask_replies.no_model())
        as_user = await self._authorization.omni_user_for(user)
        return Question(
            prompt, model, job.topic, branch=job.branch, conversation=job.conversation, as_user=as_user
        )

    async def _earlier_jobs(self, card: Card, thread: MessageTs, conversation: str) -> Sequence[JobId]:
        # Not only the conversation's newest job: Omni may not list one that is still running.
        jobs = {card.job: None}
        try:
            jobs |= {other.job: None for other in await self._cards.in_thread(card.channel, thread)}
            if (newest := await self._omni.newest_job(Conversation(conversation))) is not None:
                jobs[newest] = None
        except (OmniError, StoreUnavailable) as error:
            log.info("earlier jobs unknown", error=type(error).__name__)
        return list(jobs)

    async def _mark_retried(self, card_id: CardId, job: Job) -> None:
        """Show on the old card who retried it. If this fails, pressing *Retry* there still replies so."""
        try:
            if (newest := await self._cards.get(card_id)) is not None:
                await self._lifecycle.mark_retried(newest, JobStatus(job=job))
        except (OwnershipLost, StoreUnavailable) as error:
            log.info("retry not shown", card=card_id, error=type(error).__name__)


def _checked_prompt(text: str) -> str:
    prompt = text.strip()
    if not prompt:
        raise Refused(ask_replies.usage())
    return prompt
