"""Turns jobs and results into Slack messages, modals and files. Pure."""

from bot.rendering.blocks import (
    ASK_FOLLOW_UP,
    CANCEL_JOB,
    CARD_MENU,
    FOLLOW,
    OPEN_CHAT,
    RATE,
    RATE_HELPFUL,
    RATE_UNHELPFUL,
    RESUME,
    RETRY_JOB,
    SHOW_DATA,
    SHOW_STEPS,
    STOP_FOLLOWING,
    TRY_AGAIN,
    TRY_AGAIN_PRIVATELY,
)
from bot.rendering.card import rating_report
from bot.rendering.data_messages import messages, steps_message, uploads, with_rows
from bot.rendering.home_tab import CHOOSE_NOTIFY, MOST_FINISHED, MOST_RUNNING, Followed
from bot.rendering.modals import (
    CHANNEL,
    CHOOSE_MODEL,
    FOR_CHANNEL,
    JOB,
    MODEL,
    PRIVATELY,
    QUESTION,
    REASON,
    TOPIC,
    WHERE,
    ModelOptions,
    View,
)
