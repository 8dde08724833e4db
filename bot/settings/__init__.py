"""Reads and checks the operator's settings."""

from bot.settings.environment import HINTS, Settings, read_settings, setting_doc
