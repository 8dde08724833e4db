"""Gets messages into Slack once and keeps them current within the rate limits."""

from bot.delivery.card_charts import CardCharts, ChartFetcher
from bot.delivery.cards import CardLifecycle
from bot.delivery.direct_messages import (
    SETTLED_AFTER_SECONDS,
    InterruptedRequest,
    Reply,
    report_failed_cards,
    send_direct_message,
)
from bot.delivery.fallback import BlockSupport, back_off
from bot.delivery.outcomes import (
    ARRIVES_WITHIN_SECONDS,
    CardOutcome,
    CardOutcomes,
    CardPlacement,
)
from bot.delivery.posts import MessagePoster, reply_mark
from bot.delivery.removal import CSV, AnswerRemover, count_left
from bot.delivery.thread import CompletionThread
from bot.delivery.updates import MessageUpdater
