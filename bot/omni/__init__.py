"""Client of Omni's API, and the format of its webhooks."""

from bot.omni.client import MISSING_JOB, OmniClient, omni_client, unmetered, verify_api_key
from bot.omni.webhooks import (
    PATH,
    SIGNATURE,
    TIMESTAMP,
    WebhookEvent,
    looks_signed,
    parse_webhook,
    signed_at,
    signing_secret,
    webhook_for,
)
