"""Share an answer from the user's direct messages to a channel: one more card of the same job, posted once."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from uuid import uuid4

import structlog

from bot.delivery import CardOutcomes
from bot.domain import (
    Authorization,
    Card,
    CardId,
    ChannelRef,
    ContentPolicy,
    JobId,
    JobNotFound,
    JobState,
    Message,
    MessageTs,
    NotAllowedHere,
    PendingQuestion,
    Refused,
    ScopeMissing,
    StoreUnavailable,
    UserId,
    is_direct,
    question_id,
)
from bot.domain.ports import CardRepository, OmniJobs, QuestionRepository, SlackDirectory
from bot.log import Act, audit
from bot.rendering import answer_replies, replies
from bot.services.follow import FollowService
from bot.services.intents import Intents, Response, SavedRequest
from bot.services.targets import IsShared, Target, load_clicked_answer

log = structlog.get_logger()


class ShareService:
    """Use case: share an answer. Returns a saved request, or a reply if nothing was saved."""

    def __init__(
        self,
        *,
        omni: OmniJobs,
        cards: CardRepository,
        questions: QuestionRepository,
        directory: SlackDirectory,
        intents: Intents,
        outcomes: CardOutcomes,
        authorization: Authorization,
        content_policy: ContentPolicy,
        is_shared: IsShared,
        follow_service: FollowService,
        start: Callable[[JobId], Awaitable[None]],
        now: Callable[[], datetime],
        bot_user: UserId,
    ) -> None:
        """`is_shared`: asks Slack anew. `start` makes sure that a job is tracked."""
        self._omni = omni
        self._cards = cards
        self._questions = questions
        self._directory = directory
        self._intents = intents
        self._outcomes = outcomes
        self._authorization = authorization
        self._content_policy = content_policy
        self._is_shared = is_shared
        self._follow_service = follow_service
        self._start = start
        self._now = now
        self._bot_user = bot_user

    async def share(
        self,
        card_id: CardId,
        channel: ChannelRef,
        message_ts: MessageTs,
        target: ChannelRef,
        user: UserId,
        *,
        request_id: str = "",
    ) -> SavedRequest | Response:
        """Share the answer of a card in the user's direct messages. The ids are untrusted: channel and ts must match.

        `target`: the channel that the user picked. `request_id`: as of `AskRequest`.
        """
        now = self._now()
        request = PendingQuestion(
            question_id(channel, request_id),
            channel,
            user,
            now,
            now,
            follow=f"{answer_replies.SHARED}{card_id}"[:48],
        )
        return await self._intents.save(
            request,
            partial(self._check, request, card_id, message_ts, target),
            partial(self._post, request, target),
        )

    async def _check(
        self, request: PendingQuestion, card_id: CardId, message_ts: MessageTs, target: ChannelRef
    ) -> JobId:
        """Return the job to share. Raises Refused, OmniError, SlackError and StoreUnavailable."""
        user = request.user
        card = await load_clicked_answer(self._cards, card_id, request.channel, message_ts)
        if not is_direct(card.channel) or not card.ended:
            raise Refused(answer_replies.not_shareable())
        try:
            await self._authorization.check(user, target, new="follow")
            await self._check_channel(user, target)
            await self._check_answer(user, card.job)
        except Refused as error:
            audit(Act.SHARE, user, target, "refused", job=card.job)
            raise Refused(answer_replies.not_shared(target.id, error.reply)) from error
        return card.job

    async def _check_channel(self, user: UserId, target: ChannelRef) -> None:
        both = frozenset({user, self._bot_user})
        try:
            members = frozenset[UserId]() if is_direct(target) else await self._members(target, both)
        except ScopeMissing as error:
            log.warning("members not known", channel=target.id, code=error.code)
            raise Refused(answer_replies.members_unknown()) from error
        if members != both:
            raise Refused(answer_replies.not_both_members(self._bot_user))
        if await self._is_shared(target):
            raise Refused(answer_replies.readable_by_others())

    async def _members(self, target: ChannelRef, both: frozenset[UserId]) -> frozenset[UserId]:
        try:
            return await self._directory.members_among(target, both)
        except NotAllowedHere:
            return frozenset()

    async def _check_answer(self, user: UserId, job_id: JobId) -> None:
        try:
            job = await self._omni.status(job_id, urgent=True)
        except JobNotFound as error:
            raise Refused(answer_replies.answer_gone()) from error
        await self._authorization.check_visible(user, job)
        if job.state is not JobState.COMPLETE:
            raise Refused(answer_replies.not_shareable())

    async def _post(self, request: PendingQuestion, target: ChannelRef, job: JobId) -> Response:
        user = request.user
        mine = Card(CardId(str(uuid4())), job, target, user, (user,), self._now(), shared_by=user)
        try:
            # Subscribe before storing: a tracker that runs already may post the card at once.
            with self._outcomes.subscribe(mine.id) as outcome:
                card = await self._questions.bind(request.id, mine)
                if card.id == mine.id:
                    audit(Act.SHARE, user, target, "shared", job=job)
                    await self._start(job)
                    is_link_only = self._content_policy.is_link_only(target)
                    say = partial(answer_replies.shared, target.id, is_link_only=is_link_only)
                    there = Target(target, say)
                    return await self._follow_service.outcome_of_new(mine, outcome, there)
            audit(Act.SHARE, user, target, "already there", job=job)
            if card.removed_by is not None:
                return answer_replies.not_shared(target.id, answer_replies.removed_before())
            is_posted, link = await self._follow_service.find_posted(card)
            await self._start(job)
            return answer_replies.shared_before(target.id, link) if is_posted else replies.card_is_late()
        except StoreUnavailable as error:
            log.error("share not stored", reason=str(error))
            return self._intents.withdrawn(request, Message(replies.storage_down()))
