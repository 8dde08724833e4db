"""What the project's documents name."""

from typing import Any

REQUIRED: dict[str, Any] = {
    "slack_bot_token": "xoxb-1",
    "slack_app_token": "xapp-1",
    "omni_base_url": "https://acme.omniapp.co",
    "omni_api_token": "key",
}

POSSIBLE = REQUIRED | {
    "slack_signing_secret": "0" * 32,
    "slack_client_id": "1.2",
    "slack_client_secret": "0" * 32,
    "encryption_key": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "port": "8080",
    "public_url": "https://omni-jobs.example.com",
}
