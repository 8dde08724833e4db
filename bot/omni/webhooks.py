"""Omni's webhooks as they are on the wire: what they are signed with, whether a signature is right, what they say.

Source of headers and of the body at the end: docs.omni.co/api/ai/create-ai-job. That the signature is in hexadecimal
digits and the timestamp in seconds is implied there and not said, and the body of progress is not documented, so more
than one form is understood. How old a timestamp may be is not documented either; the choice is ours.
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
from bot.omni.schemas import Body, Id, Number, Text, decoded, object_or_empty

SIGNATURE = "X-Omni-Signature"

TIMESTAMP = "X-Omni-Signature-Timestamp"
"""The headers."""

FRESH_SECONDS = 300.0
"""How far a timestamp may be from our time, either way."""

LONGEST_PROGRESS = 500
"""Characters of what the AI says it does now. It travels between processes, whose words PostgreSQL bounds to 8,000
bytes, twelve of which a character may take."""

_PREFIX = "sha256="

_SIGNED = re.compile(_PREFIX + "(?:[0-9a-f]{64}|[A-Za-z0-9+/]{43}=)", re.IGNORECASE)

_MILLISECONDS_FROM = 10_000_000_000.0
"""As seconds this would be the year 2286."""

_ENDS = frozenset(state.value for state in JobState if state.is_final) | {"DENIED"}

_END_EVENTS = frozenset({"job.complete", "job.failed", "job.denied", "job.cancelled"})


class _Step(Body):
    message: Text = None
    iteration: Number = None


class _Told(Body):
    """The body of a webhook. Its keys are written in two styles."""

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
    """What a webhook says."""

    event: JobEvent
    id: str | None
    """Omni's name for the event, the same when it is told again; None where it has none."""
    job: JobId | None
    """Whose event it is, by its own account."""


def signing_secret(server_secret: bytes, team: TeamId, question_id: QuestionId) -> str:
    """What Omni signs the webhooks of one question with: 64 hexadecimal digits that tell nothing of any other's."""
    return hmac.new(server_secret, f"omni webhook\n{team}\n{question_id}".encode(), sha256).hexdigest()


def is_claimed(timestamp: str, signature: str, now: datetime) -> bool:
    """Whether the two headers say, in Omni's form, that Omni has signed a body lately."""
    at = _seconds(timestamp)
    return at is not None and _is_fresh(at, now) and _SIGNED.fullmatch(signature) is not None


def signed_at(timestamp: str, signature: str, body: bytes, secret: str, now: datetime) -> float | None:
    """When Omni signed the body, in seconds since 1970; None if it did not, or too long ago, or in the future.

    Args:
        timestamp: the header TIMESTAMP, as it came.
        signature: the header SIGNATURE, as it came.
        body: as it came, unread.
        secret: what it must be signed with.
        now: the time, aware UTC.
    """
    digest = hmac.new(
        secret.encode(), timestamp.encode("utf-8", "surrogateescape") + b"." + body, sha256
    ).digest()
    given = signature.encode("utf-8", "surrogateescape")
    # Both are compared, always, so that how long it takes tells nothing.
    in_hexadecimal = hmac.compare_digest(given.lower(), f"{_PREFIX}{digest.hex()}".encode())
    in_base64 = hmac.compare_digest(given, _PREFIX.encode() + base64.b64encode(digest))
    at = _seconds(timestamp)
    if at is None or not (in_hexadecimal or in_base64):
        return None
    return at if _is_fresh(at, now) else None


def parse_webhook(body: bytes, at: float) -> WebhookEvent:
    """What a body says that was signed at that time. An odd one is UNCLEAR, never an error."""
    try:
        told = _Told.model_validate(decoded(body))
    except (ValidationError, OmniUnreachable):
        told = _Told()
    return WebhookEvent(
        _event(told, at),
        told.event_id,
        None if told.job_id is None else JobId(told.job_id),
    )


def _event(told: _Told, at: float) -> JobEvent:
    names = {name.upper() for name in (told.status, told.state) if name is not None}
    events = {name.lower() for name in (told.event, told.type) if name is not None}
    if names & _ENDS or events & _END_EVENTS:
        return JobEvent(EventKind.ENDED, at)
    message = told.progress.message or told.message
    if message is None:
        return JobEvent(EventKind.UNCLEAR, at)
    iteration = told.iteration if told.progress.iteration is None else told.progress.iteration
    return JobEvent(EventKind.PROGRESS, at, Progress(message[:LONGEST_PROGRESS], iteration))


def _is_fresh(at: float, now: datetime) -> bool:
    return abs(now.timestamp() - at) <= FRESH_SECONDS


def _seconds(timestamp: str) -> float | None:
    """Seconds since 1970, from those, from milliseconds, or from an ISO 8601 time; None for anything else."""
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
    """Makes what each question of a team takes along to Omni. `secret`: the server's."""

    def webhook(question_id: QuestionId) -> Webhook:
        return Webhook(f"{public_url}{PATH}/{team}/{question_id}", signing_secret(secret, team, question_id))

    return webhook
