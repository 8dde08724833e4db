"""Reads and checks the operator's settings."""

from bot.settings.environment import HINTS, Settings, read_settings, setting_doc
from bot.settings.values import is_token, is_uuid, omni_address
