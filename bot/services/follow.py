"""Follows jobs, stops and resumes following, and lists what a user follows."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import zip_longest
from uuid import uuid4

import structlog

from bot.delivery import (
    ARRIVES_WITHIN_SECONDS,
    CardOutcome,
    CardOutcomes,
    CardPlacement,
    Reply,
)
from bot.domain import (
    Authorization,
    Card,
    CardFailure,
    CardId,
    ChannelRef,
    Conversation,
    JobId,
    Message,
    MessageGone,
    MessageTs,
    NotAJobReference,
    NotAllowedHere,
    OutcomeUnknown,
    PendingQuestion,
    Refused,
    ScopeMissing,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    StoreUnavailable,
    TeamId,
    TooManyFollows,
    UserId,
    parse_reference,
    question_id,
)
from bot.domain.ports import CardRepository, FailedCardRepository, OmniJobs, QuestionRepository, SlackMessages
from bot.log import Act, audit, bind_job
from bot.rendering import answer_replies, refusal_replies, replies
from bot.rendering.refusal_replies import RefusedPost
from bot.services.intents import Intents, Response, SavedRequest
from bot.services.targets import Target, Targets, has_private_flag, load_clicked_card
from bot.tasks import loop_time

log = structlog.get_logger()


class FollowService:
    """Use case: follow a job. Every method returns the reply, and raises only defects."""

    def __init__(
        self,
        *,
        omni: OmniJobs,
        messages: SlackMessages,
        cards: CardRepository,
        questions: QuestionRepository,
        intents: Intents,
        failed_cards: FailedCardRepository,
        outcomes: CardOutcomes,
        authorization: Authorization,
        targets: Targets,
        start: Callable[[JobId], Awaitable[None]],
        question_of: Callable[[Card], str],
        now: Callable[[], datetime],
        bot_user: UserId,
    ) -> None:
        """`start` makes sure that a job is tracked. `question_of`: what a list may show of the
        question of a card's job; empty if it is unknown."""
        self._omni = omni
        self._messages = messages
        self._cards = cards
        self._questions = questions
        self._intents = intents
        self._failed_cards = failed_cards
        self._outcomes = outcomes
        self._authorization = authorization
        self._targets = targets
        self._start = start
        self._question_of = question_of
        self._now = now
        self._bot_user = bot_user

    async def follow(
        self,
        text: str,
        channel: ChannelRef,
        user: UserId,
        *,
        request_id: str = "",
        thread: MessageTs | None = None,
    ) -> SavedRequest | Response:
        """Follow the job that the text names, in this channel, or in direct messages where there is none.

        `request_id`: as of `AskRequest`. `thread`: the thread of the channel in which the card becomes a reply.
        """
        private = has_private_flag(text)
        try:
            reference = parse_reference(text)
        except NotAJobReference as error:
            return replies.usage(str(error))
        now = self._now()
        follow = f"chat/{reference.id}" if isinstance(reference, Conversation) else reference
        question = PendingQuestion(question_id(channel, request_id), channel, user, now, now, follow=follow)
        return await self._intents.save(
            question,
            partial(self._look_up, reference, question, private=private),
            partial(self._follow_job, question, thread),
        )

    async def _look_up(
        self, reference: JobId | Conversation, question: PendingQuestion, *, private: bool
    ) -> tuple[JobId, Target]:
        """Find out which job is to be followed where. Raises Refused, OmniError, SlackError, and StoreUnavailable."""
        user = question.user
        channel = await self._targets.resolve(question.channel, user)
        await self._authorization.check(user, channel, new="follow")
        job = await self._omni.newest_job(reference) if isinstance(reference, Conversation) else reference
        await self._authorization.check_visible(user, job)
        if job is None:
            raise Refused(replies.chat_without_job())
        bind_job(job)
        try:
            return job, await self._targets.choose(channel, user, private=private)
        except (SlackBusy, SlackUnreachable, OutcomeUnknown):
            if private:
                raise
            return job, Target(channel)  # the tracker moves the card if needed

    async def stop_following(
        self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
    ) -> str:
        """Remove a follower. The id in the button must be that of the clicked card."""
        try:
            known = await load_clicked_card(self._cards, card_id, channel, message_ts)
            if known is None or known.closed_at is not None:
                return replies.not_following()
            bind_job(known.job)
            left = await self._cards.unfollow(card_id, user)
        except StoreUnavailable as error:
            log.error("unfollow not stored", reason=str(error))
            return replies.storage_down()
        if left is None:
            return replies.not_following()
        log.info("unfollowed", card=card_id, user=user, left=left)
        await self._start(known.job)
        return replies.unfollowed(left)

    async def join(self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId) -> str:
        """Add the user as a follower of the clicked card. May be repeated."""
        return await self._add_follower(card_id, channel, message_ts, user, resumes=False)

    async def resume(self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId) -> str:
        """Track a closed card again, and add the user as a follower."""
        return await self._add_follower(card_id, channel, message_ts, user, resumes=True)

    async def _add_follower(
        self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId, *, resumes: bool
    ) -> str:
        """The id in the button must be that of the clicked card. Access is as for a command in that channel."""
        try:
            await self._authorization.check(user, channel)
            known = await load_clicked_card(self._cards, card_id, channel, message_ts)
            if known is None:
                return replies.not_resumable() if resumes else replies.nothing_to_show_here()
            bind_job(known.job)
            if known.ended:
                return (
                    replies.already_followed(None, has_ended=True)
                    if resumes
                    else replies.too_late_to_follow()
                )
            await self._authorization.check_visible(user, known.job)
            if not resumes and known.closed_at is None and user in known.followers:
                return replies.followed_before()
            await self._cards.resume(card_id, user, self._now())
        except Refused as error:
            return error.reply
        except TooManyFollows as error:
            audit(Act.FOLLOW, user, None, "refused: too many open follows")
            return replies.too_many_follows(error.most)
        except StoreUnavailable as error:
            log.error("follower not stored", reason=str(error))
            return replies.storage_down()
        audit(Act.FOLLOW, user, channel, "resumed" if resumes else "followed", job=known.job)
        await self._start(known.job)
        return replies.resumed() if resumes else replies.joined()

    async def follows(self, team: TeamId, user: UserId) -> str:
        """List what the user follows now, with links to the cards."""
        try:
            followed = await self._cards.followed_cards(team, user)
        except StoreUnavailable as error:
            log.error("follows not read", reason=str(error))
            return replies.storage_down()
        links = await asyncio.gather(*(self._link(card) for card in followed[: replies.MOST_LISTED]))
        questions = [self._question_of(card) for card in followed[: replies.MOST_LISTED]]
        return replies.follows(list(zip_longest(followed, links, questions)))

    async def _follow_job(
        self, question: PendingQuestion, thread: MessageTs | None, found: tuple[JobId, Target]
    ) -> Reply | str | None:
        job, destination = found
        person = question.user
        mine = Card(CardId(str(uuid4())), job, destination.channel, person, (person,), self._now())
        if destination.channel == question.channel:
            mine = replace(mine, thread=thread)
        try:
            # Subscribe before storing: a tracker that runs already may post the card at once.
            with self._outcomes.subscribe(mine.id) as outcome:
                card = await self._questions.bind(question.id, mine)
                asked_in = question.channel if question.channel.id else destination.channel
                audit(Act.FOLLOW, person, asked_in, "followed", job=job)
                log.info("followed", card=card.id, job=job, user=person, channel=destination.channel.id)
                if card.id == mine.id:
                    await self._start(job)
                    return await self.outcome_of_new(mine, outcome, destination)
            with self._outcomes.subscribe(card.id) as outcome:
                line = await self._already_there(card)
                await self._start(job)
                return line or await self._trouble(card, person, outcome) or await self._already_there(card)
        except StoreUnavailable as error:
            log.error("follow not stored", reason=str(error))
            return self._intents.withdrawn(question, Message(replies.storage_down()))

    async def outcome_of_new(
        self, card: Card, outcome: asyncio.Future[CardOutcome], destination: Target
    ) -> Reply | str | None:
        """Return the reply about a new card: where it is or why there is none; None if the user sees it. Raises
        StoreUnavailable."""
        line = await self._trouble(card, card.requester, outcome)
        if line is not None or destination.say is None:
            return line
        there = await self._cards.get(card.id)
        return destination.say(await self._link(there) if there else None)

    async def find_posted(self, card: Card) -> tuple[bool, str | None]:
        """Return whether a card is posted, and its link. A message that a user deleted is forgotten, so that the card
        is posted again. Raises StoreUnavailable."""
        is_posted = await self._already_there(card) is not None
        there = await self._cards.get(card.id) if is_posted else None
        return is_posted, await self._link(there) if there else None

    async def _already_there(self, card: Card) -> str | None:
        """Return the reply that links to a posted card; None if it is not posted yet."""
        while True:
            there = await self._cards.get(card.id)
            if there is None or there.message_ts is None:
                return None
            if there.removed_by is not None:
                return answer_replies.removed_before()
            # The completion reply of a lost job has been started: it mentions no further followers.
            is_over = there.ended or there.completion_reply_started_at is not None
            try:
                if not there.is_message_gone:
                    link = await self._messages.permalink(there.channel, there.message_ts)
                    return replies.already_followed(link, has_ended=is_over)
            except MessageGone:
                pass
            except SlackError as error:
                log.warning("no permalink", card=card.id, code=error.code)
                return replies.already_followed(None, has_ended=is_over)
            # A user deleted the card. It is posted again, unless that has begun already.
            await self._cards.forget_message(card.id, there.message_ts)

    async def _trouble(
        self, card: Card, user: UserId, outcome: asyncio.Future[CardOutcome]
    ) -> Reply | str | None:
        """Wait for the outcome. Return the reply if the card is not in its channel; None if it is."""
        ends_at = loop_time() + ARRIVES_WITHIN_SECONDS
        came = await self._outcome(card, outcome, ends_at)
        if came is None:
            return replies.card_is_late()
        if came.result is CardPlacement.POSTED:
            return None
        if isinstance(came.result, CardFailure):
            return self._failed(came.result, card, user, self._refused(card, came))
        try:
            direct = await self._messages.open_dm(card.channel, user)
        except (NotAllowedHere, ScopeMissing):
            # Only other followers can be reached.
            return refusal_replies.not_allowed_anywhere(self._refused(card, came))
        except SlackError as error:
            log.warning("no direct message", user=user, code=error.code)
            return replies.card_is_late()
        moved = await self._cards.in_channel(card.job, direct)
        if moved is None:  # the user has stopped following
            return replies.card_is_late()
        with self._outcomes.subscribe(moved.id) as later:
            there = await self._stored_outcome(moved) or await self._outcome(moved, later, ends_at)
        if there is None or there.result is CardPlacement.MOVED:
            return replies.card_is_late()
        if isinstance(there.result, CardFailure):
            return self._failed(there.result, moved, user, self._refused(card, came))
        if came.result is CardPlacement.KEPT:
            return replies.kept_private(None)
        return refusal_replies.moved_to_dm(self._refused(card, came))

    async def _outcome(
        self, card: Card, outcome: asyncio.Future[CardOutcome], ends_at: float
    ) -> CardOutcome | None:
        """Return the outcome; None if there is none at `ends_at`, a time of the loop."""
        try:
            async with asyncio.timeout_at(ends_at):
                return await outcome
        except TimeoutError:
            # The message of another process may be lost. The database knows.
            return await self._stored_outcome(card)

    async def _stored_outcome(self, card: Card) -> CardOutcome | None:
        there = await self._cards.get(card.id)
        if there is None:
            return CardOutcome(CardPlacement.MOVED)
        if there.message_ts is not None:
            return CardOutcome(CardPlacement.POSTED)
        return CardOutcome(there.failure) if there.failure else None

    def _refused(self, card: Card, came: CardOutcome) -> RefusedPost:
        return RefusedPost(came.code, card.channel, self._bot_user)

    def _failed(self, failure: CardFailure, card: Card, user: UserId, refused: RefusedPost) -> Reply:
        return Reply(Message(self._why(failure, card, refused)), partial(self._mark_reported, card, user))

    def _why(self, failure: CardFailure, card: Card, refused: RefusedPost) -> str:
        match failure:
            case CardFailure.NOWHERE if card.shared_by is not None:
                there = answer_replies.refused_there(refused.code, self._bot_user)
                return answer_replies.not_shared(card.channel.id, there)
            case CardFailure.NOWHERE:
                return refusal_replies.not_allowed_anywhere(refused)
            case CardFailure.NO_SUCH_JOB:
                return replies.no_such_job()
            case CardFailure.KEY_REFUSED:
                return replies.key_refused()
            case CardFailure.UNCONFIRMED:
                return replies.unconfirmed_card(card.job if card.asked_by_bot else None)

    async def _mark_reported(self, card: Card, user: UserId) -> None:
        try:
            await self._failed_cards.mark_reported(card.id, user)
        except StoreUnavailable as error:
            # The user is then notified once more, in a direct message.
            log.warning("report not stored", card=card.id, reason=str(error))

    async def _link(self, card: Card) -> str | None:
        if card.message_ts is None or card.is_message_gone:
            return None
        try:
            return await self._messages.permalink(card.channel, card.message_ts)
        except SlackError as error:
            log.warning("no permalink", card=card.id, code=error.code)
            return None
