"""Polls each job or receives its webhooks, and drives its cards to the end."""

from bot.tracking.conversation_list import ConversationList, ConversationLists
from bot.tracking.durations import TypicalDurations
from bot.tracking.events import EventRouter, JobEventBus
from bot.tracking.recovery import look_again, sweep, sweep_asks, sweep_failed_cards
from bot.tracking.tracker import JobTracker
