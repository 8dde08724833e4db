"""Validation of submits to the simulated Omni. No I/O.

Fields, types and bounds: `AiJobSubmitBody` of Omni's OpenAPI document (github.com/exploreomni/cli, api/openapi.json).
It does not say what becomes of a field that it does not name, or of a null: both are refused, which is the stricter
reading. That goes for `attachments` too, which newer documents have.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bot.demo.omni.organization import Refusal

LONGEST_TOPIC = 256
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def uuid(text: str, of: str) -> str:
    """A UUID in lower case. Raises Refusal."""
    if not _UUID.fullmatch(text):
        raise Refusal(400, f"Invalid {of} ID format. Must be a valid UUID.")
    return text.lower()


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a job's events go, as its submit has it."""

    url: str
    secret: str = field(repr=False)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    with_progress: bool = False


@dataclass(frozen=True, slots=True)
class Submission:
    """A request to start a job."""

    model_id: str
    prompt: str
    topic: str | None
    branch_id: str | None
    conversation_id: str | None
    hook: Hook | None


def read_submission(body: bytes) -> Submission:
    """Validate the body on its own. Raises Refusal."""
    try:
        asked = json.loads(body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise Refusal(400, "Bad Request: Expected object")
    for name in ("modelId", "prompt"):
        if name not in asked:
            raise Refusal(400, f"Bad Request: {name}: Required")
    for name, value in asked.items():
        if name not in _FIELDS:
            raise Refusal(400, f"Bad Request: Unrecognized key: {name}")
        if not _FIELDS[name](value):
            raise Refusal(400, f"Bad Request: {name}: Invalid value")
    _check_webhook(asked)
    conversation_id = asked.get("conversationId")
    return Submission(
        model_id=asked["modelId"].lower(),
        prompt=asked["prompt"],
        topic=asked.get("topicName"),
        branch_id=asked["branchId"].lower() if "branchId" in asked else None,
        conversation_id=None if conversation_id is None else conversation_id.lower(),
        hook=_hook(asked),
    )


def _hook(asked: Mapping[str, Any]) -> Hook | None:
    if "webhookUrl" not in asked:
        return None
    return Hook(
        url=asked["webhookUrl"],
        secret=asked["webhookSigningSecret"],
        metadata=asked.get("webhookMetadata", {}),
        with_progress=asked.get("progressWebhookEnabled", False),
    )


def _check_webhook(asked: Mapping[str, Any]) -> None:
    if "webhookUrl" in asked and "webhookSigningSecret" not in asked:
        raise Refusal(400, "Bad Request: webhookSigningSecret: Required if webhookUrl is specified")
    if asked.get("progressWebhookEnabled") and "webhookUrl" not in asked:
        raise Refusal(400, "Bad Request: progressWebhookEnabled: Requires webhookUrl")


def _is_uuid(value: object) -> bool:
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_url(value: object) -> bool:
    return isinstance(value, str) and urlsplit(value).scheme in ("http", "https")


_FIELDS: dict[str, Callable[[object], bool]] = {
    "branchId": _is_uuid,
    "conversationId": _is_uuid,
    "modelId": _is_uuid,
    "progressWebhookEnabled": lambda value: isinstance(value, bool),
    "prompt": lambda value: _is_text(value) and value != "",
    "topicName": lambda value: isinstance(value, str) and len(value) <= LONGEST_TOPIC,
    "webhookMetadata": lambda value: isinstance(value, dict),
    "webhookSigningSecret": _is_text,
    "webhookUrl": _is_url,
}
"""Whether a field is what it has to be."""
