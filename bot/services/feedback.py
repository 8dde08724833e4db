"""Records what users think of an answer, and passes it on to the operator's channel.

A rating is stored once per user and card. A post holds neither question nor answer, because the readers of the
operator's channel may not be allowed to see them: the link leads to Omni, which checks that.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import uuid4

import structlog

from bot.domain import (
    Authorization,
    Card,
    CardId,
    ChannelId,
    ChannelRef,
    MessageTs,
    OmniError,
    Rating,
    Refused,
    SlackError,
    StoreUnavailable,
    UserId,
)
from bot.domain.ports import CardRepository, Metrics, OmniJobs, RatingRepository, SlackMessages
from bot.log import Act, audit
from bot.rendering import answer_replies, rating_report, replies
from bot.rendering.markdown.links import chat_link
from bot.services.targets import load_clicked_answer

log = structlog.get_logger()


class FeedbackService:
    """Records ratings. Each method returns the ephemeral reply."""

    def __init__(
        self,
        *,
        omni: OmniJobs,
        messages: SlackMessages,
        cards: CardRepository,
        ratings: RatingRepository,
        authorization: Authorization,
        is_shared: Callable[[ChannelRef], Awaitable[bool]],
        is_on: bool,
        reports_to: ChannelId | None,
        tenant: str,
        now: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        """`is_on`: by the operator's choice; cards may still have buttons from before. `reports_to`: the operator's
        channel, if any. `is_shared`: asks Slack anew. `tenant`: Omni's base URL."""
        self._omni = omni
        self._messages = messages
        self._cards = cards
        self._ratings = ratings
        self._authorization = authorization
        self._is_shared = is_shared
        self._is_on = is_on
        self._reports_to = reports_to
        self._tenant = tenant
        self._now = now
        self._metrics = metrics

    @property
    def asks_for_reasons(self) -> bool:
        """Whether a reason would be read by anyone."""
        return self._is_on and self._reports_to is not None

    async def rate(
        self, rating: Rating, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
    ) -> str:
        """Record a rating. The id in the button is untrusted: channel and ts must match. Raises Refused."""
        try:
            card = await self._load(card_id, channel, message_ts, user)
            is_new = await self._ratings.rate(card, user, rating, self._now())
        except StoreUnavailable as error:
            log.error("rating not stored", card=card_id, reason=str(error))
            raise Refused(replies.storage_down()) from error
        if is_new:
            audit(Act.RATE, user, channel, rating, job=card.job)
            self._metrics.answer_rated(rating)
            await self._report(card, user, rating)
        return answer_replies.rated(is_new=is_new)

    async def explain(
        self, reason: str, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
    ) -> str:
        """Pass on why an answer is not helpful. The ids are checked as those of a button."""
        try:
            card = await self._load(card_id, channel, message_ts, user)
        except Refused as error:
            return error.reply
        except StoreUnavailable as error:
            log.error("reason not passed on", card=card_id, reason=str(error))
            return replies.storage_down()
        audit(Act.RATE, user, channel, "gave a reason", job=card.job)
        is_sent = await self._report(card, user, Rating.UNHELPFUL, reason)
        return answer_replies.reason_passed_on() if is_sent else answer_replies.reason_not_passed_on()

    async def _load(self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId) -> Card:
        if not self._is_on:
            raise Refused(answer_replies.feedback_is_off())
        await self._authorization.check(user, channel, asks_omni=self._reports_to is not None)
        card = await load_clicked_answer(self._cards, card_id, channel, message_ts)
        if not card.ended:
            raise Refused(replies.nothing_to_show_here())
        return card

    async def _report(self, card: Card, user: UserId, rating: Rating, reason: str = "") -> bool:
        """Post a rating in the operator's channel, at most once. Returns whether it is there."""
        if self._reports_to is None:
            return False
        channel = ChannelRef(card.channel.team, self._reports_to)
        try:
            if await self._is_shared(channel):
                log.warning("rating not reported", channel=channel.id, reason="the channel is shared")
                return False
            report = rating_report(card.job, user, rating, reason, await self._link(card))
            await self._messages.post(channel, report, mark=str(uuid4()))
        except SlackError as error:
            log.warning("rating not reported", channel=channel.id, code=error.code)
            return False
        return True

    async def _link(self, card: Card) -> str | None:
        """The link to the job's chat in Omni; None if Omni does not say now."""
        try:
            return chat_link((await self._omni.status(card.job, urgent=True)).chat_url, self._tenant)
        except (OmniError, StoreUnavailable) as error:
            log.info("no link for a rating", job=card.job, error=type(error).__name__)
            return None
