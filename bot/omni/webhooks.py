"""Omni's webhooks: signing secrets, signatures and bodies.

Source of the headers and of the body of a job's end: docs.omni.co/api/ai/create-ai-job. The encodings of signature and
timestamp and the body of a progress event are not documented, so several forms are accepted.
"""

import base64
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError

from bot.domain import (
    EventKind,
    JobEvent,
    JobId,
    JobState,
    OmniUnreachable,
    Progress,
    QuestionId,
    TeamId,
    Webhook,
)
from bot.omni.schemas import UNNAMED_ENDS, Body, Id, Number, Text, decoded, object_or_empty

SIGNATURE = "X-Omni-Signature"
TIMESTAMP = "X-Omni-Signature-Timestamp"

FRESH_SECONDS = 300.0
"""How far a timestamp may differ from our time. Omni documents no limit."""

LONGEST_PROGRESS = 500
"""Characters of a progress message. Processes exchange it by PostgreSQL's NOTIFY, whose payload is limited to 8,000
bytes; a character may take twelve."""

_PREFIX = "sha256="

_SIGNED = re.compile(_PREFIX + "(?:[0-9a-f]{64}|[A-Za-z0-9+/]{43}=)", re.IGNORECASE)

_MILLISECONDS_FROM = 10_000_000_000.0
"""Larger timestamps are in milliseconds: in seconds this would be the year 2286."""

_ENDS = frozenset(state.value for state in JobState if state.is_final) | UNNAMED_ENDS

_END_EVENTS = frozenset({"job.complete", "job.failed", "job.denied", "job.cancelled"})


class _Step(Body):
    message: Text = None
    iteration: Number = None


class _Body(Body):
    """The body of a webhook. Omni uses two styles of keys."""

    event_id: Text = Field(default=None, alias="event_id")
    event: Text = None
    type: Text = None
    job_id: Id = None
    status: Text = None
    state: Text = None
    message: Text = None
    iteration: Number = None
    progress: Annotated[_Step, BeforeValidator(object_or_empty)] = _Step()


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """A webhook's content."""

    event: JobEvent
    id: str | None
    """Omni's id of the event, which stays the same when Omni repeats it."""
    job: JobId | None
    """The job that the body names."""


def signing_secret(server_secret: bytes, team: TeamId, question_id: QuestionId) -> str:
    """Derive the secret that Omni signs the webhooks of one question with: 64 hexadecimal digits."""
    return hmac.new(server_secret, f"omni webhook\n{team}\n{question_id}".encode(), sha256).hexdigest()


def looks_signed(timestamp: str, signature: str, now: datetime) -> bool:
    """Whether the headers have Omni's form and a fresh timestamp. The signature is not verified."""
    at = _seconds(timestamp)
    return at is not None and _is_fresh(at, now) and _SIGNED.fullmatch(signature) is not None


def signed_at(timestamp: str, signature: str, body: bytes, secret: str, now: datetime) -> float | None:
    """Verify a webhook's signature.

    Args:
        timestamp: the header TIMESTAMP.
        signature: the header SIGNATURE.
        body: the raw body.
        secret: the question's signing secret.
        now: the time, aware UTC.

    Returns:
        When Omni signed it, in seconds since 1970; None if the signature is wrong or the timestamp not fresh.
    """
    digest = hmac.new(
        secret.encode(), timestamp.encode("utf-8", "surrogateescape") + b"." + body, sha256
    ).digest()
    given = signature.encode("utf-8", "surrogateescape")
    # Both are always compared, so that the duration reveals nothing.
    in_hexadecimal = hmac.compare_digest(given.lower(), f"{_PREFIX}{digest.hex()}".encode())
    in_base64 = hmac.compare_digest(given, _PREFIX.encode() + base64.b64encode(digest))
    at = _seconds(timestamp)
    if at is None or not (in_hexadecimal or in_base64):
        return None
    return at if _is_fresh(at, now) else None


def parse_webhook(body: bytes, at: float) -> WebhookEvent:
    """Parse a body that was signed at `at`. Unexpected content gives an UNCLEAR event, never an error."""
    try:
        content = _Body.model_validate(decoded(body))
    except (ValidationError, OmniUnreachable):
        content = _Body()
    return WebhookEvent(
        _event(content, at),
        content.event_id,
        None if content.job_id is None else JobId(content.job_id),
    )


def _event(content: _Body, at: float) -> JobEvent:
    names = {name.upper() for name in (content.status, content.state) if name is not None}
    events = {name.lower() for name in (content.event, content.type) if name is not None}
    if names & _ENDS or events & _END_EVENTS:
        return JobEvent(EventKind.ENDED, at)
    message = content.progress.message or content.message
    if message is None:
        return JobEvent(EventKind.UNCLEAR, at)
    iteration = content.iteration if content.progress.iteration is None else content.progress.iteration
    return JobEvent(EventKind.PROGRESS, at, Progress(message[:LONGEST_PROGRESS], iteration))


def _is_fresh(at: float, now: datetime) -> bool:
    return abs(now.timestamp() - at) <= FRESH_SECONDS


def _seconds(timestamp: str) -> float | None:
    """Parse seconds or milliseconds since 1970 or an ISO 8601 time, into seconds."""
    try:
        number = float(timestamp)
    except ValueError:
        return _iso_seconds(timestamp)
    return number / 1_000.0 if number >= _MILLISECONDS_FROM else number


def _iso_seconds(timestamp: str) -> float | None:
    try:
        at = datetime.fromisoformat(timestamp)
        return at.timestamp() if at.tzinfo else None
    except (ValueError, OverflowError):
        return None


PATH = "/omni/webhook"


def webhook_for(public_url: str, secret: bytes, team: TeamId) -> Callable[[QuestionId], Webhook]:
    """Return a function that makes the webhook of each of a team's questions. `secret`: the server secret."""

    def webhook(question_id: QuestionId) -> Webhook:
        return Webhook(f"{public_url}{PATH}/{team}/{question_id}", signing_secret(secret, team, question_id))

    return webhook
