"""Bolt listeners: acknowledge, call a service, reply."""

from bot.handlers.answers import AnswerHandlers
from bot.handlers.background import InteractionRunner
from bot.handlers.commands import CommandHandlers
from bot.handlers.home_tab import HomeTabs
from bot.handlers.messages import MessageHandlers
from bot.handlers.modals import ModalHandlers
