"""How Omni's bodies are read: tolerantly, field by field.

A field may be missing, null or of another type than documented; that costs the field and not the body.
"""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator
from pydantic.alias_generators import to_camel

from bot.errors import OmniUnreachable

LARGEST_ERROR_BYTES = 64 * 1024
"""A longer body is no error of Omni's, which has one sentence."""
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _time_or_none(value: object) -> datetime | None:
    """An ISO 8601 time, in UTC; None for anything else, since no time is worth losing a body over."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def whole_text(value: object) -> object:
    """A text without halves of characters, which JSON may hold where a text was cut, but UTF-8 can't."""
    return _LONE_SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


def _text_or_none(value: object) -> object:
    """A text with something in it; None for anything else."""
    return whole_text(value) if isinstance(value, str) and value.strip() else None


def _any_text_or_none(value: object) -> object:
    return whole_text(value) if isinstance(value, str) else None


def uuid_or_none(value: object) -> str | None:
    """A UUID in lower case with dashes; None for what is none."""
    try:
        return str(UUID(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def _number_or_none(value: object) -> int | None:
    """A whole number of a size that counts something; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9 else None


def _flag_or_none(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def object_or_empty(value: object) -> object:
    """An object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def list_or_empty(value: object) -> object:
    """A list; an empty one for anything else."""
    return value if isinstance(value, list) else []


Text = Annotated[str | None, BeforeValidator(_text_or_none)]
AnyText = Annotated[str | None, BeforeValidator(_any_text_or_none)]
"""As `Text`, but one with nothing in it counts too."""
Id = Annotated[str | None, BeforeValidator(uuid_or_none)]
Time = Annotated[datetime | None, BeforeValidator(_time_or_none)]
Number = Annotated[int | None, BeforeValidator(_number_or_none)]
Flag = Annotated[bool | None, BeforeValidator(_flag_or_none)]


class Body(BaseModel, alias_generator=to_camel, extra="ignore", hide_input_in_errors=True):
    """An object of Omni's. What is in it never shows in an error."""


def decoded(body: bytes) -> Any:
    """A body as JSON. Raises OmniUnreachable where it is none, or nested deeper than any of Omni's."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise OmniUnreachable(f"not JSON: {type(error).__name__}") from error


def is_omnis_error(status: int, body: bytes) -> bool:
    """Whether an error's body is one that Omni documents: `{"detail": str, "status": int}`, of a chart that can't be
    drawn `{"error": str}`. Gateways have others: `{"message": ...}`, pages, or RFC 9457 with a `type` and a `title`."""
    try:
        error = decoded(body) if len(body) <= LARGEST_ERROR_BYTES else None
    except OmniUnreachable:
        return False
    if not isinstance(error, dict) or error.keys() & {"type", "title"}:
        return False
    if status == 422 and isinstance(error.get("error"), str):
        return True
    return isinstance(error.get("detail"), str) and error.get("status") == status
