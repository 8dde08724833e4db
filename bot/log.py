"""The log: its format, the context of its lines, redaction of secrets, and the audit trail."""

import io
import logging
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import Literal
from uuid import uuid4

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

from bot.domain import ChannelRef, JobId, UserId

Format = Literal["text", "json"]

LONGEST_VALUE = 2_000

LONGEST_TRACE = 20_000
"""Characters of a value in a line, and of a stack trace."""

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")

_REDACTED = "[redacted]"

_SECRETS = re.compile(
    r"(?:xox[a-z]-|xapp-|omni_osk_)[\w-]+"
    r"|(?<=ticket=)[\w-]+"
    r"|(?<=Bearer )\S+"
    r"|(?<=password=)(?:'[^']*'|[^\s&]+)"
    r"|(?<=hooks\.slack\.com/)[\w/-]+",
    re.IGNORECASE,
)

_PASSWORD_IN_ADDRESS = re.compile(r"(\w://[^\s:/@]*:)[^\s/]+(?=@)")

LINES_PER_MINUTE = 20
"""How many warnings or errors one place in the code may log."""

_SHORTEST_KNOWN = 6
"""Characters. A shorter secret is a part of too many words to be blanked out by its letters."""


class RepeatLimit(logging.Filter):
    """Bounds the warnings and errors that one place in the code logs, so that no stranger can fill the disk.

    The last line of a minute says that more are left out, the first one afterwards how many were. Information lines,
    and so the audit trail, are never left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[tuple[str, int], _Minute] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if record.levelno < logging.WARNING:
            return True
        place, now = (record.pathname, record.lineno), monotonic()
        minute = self._places.get(place)
        if minute is None or now - minute.began >= 60.0:
            if minute is not None and minute.lines > LINES_PER_MINUTE:
                record.left_out = minute.lines - LINES_PER_MINUTE
            minute = self._places[place] = _Minute(now)
        minute.lines += 1
        if minute.lines == LINES_PER_MINUTE:
            record.more_left_out = True
        return minute.lines <= LINES_PER_MINUTE


@dataclass(slots=True)
class _Minute:
    began: float
    """Monotonic time in seconds."""
    lines: int = 0


def _add_left_out(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add what `RepeatLimit` has noted."""
    for name in ("left_out", "more_left_out"):
        value = getattr(event["_record"], name, None)
        if value is not None:
            event[name] = value
    return event


class Redaction:
    """Blanks out whatever looks like a secret, and the secrets that are known, in whatever is logged: also inside lists
    and exceptions. The last line of defence: nothing that is logged should hold any."""

    def __init__(self, known: Collection[str] = ()) -> None:
        """`known`: secrets that are told by their letters, such as a database's password."""
        # A secret that begins with another one has to be found first, or its end is left.
        longest_first = sorted(
            {each for each in known if len(each) >= _SHORTEST_KNOWN}, key=len, reverse=True
        )
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """The event as it may be written."""
        for key, value in event.items():
            if not isinstance(value, bool | int | float | None):
                longest = LONGEST_TRACE if key == "exception" else LONGEST_VALUE
                event[key] = _fitting(self._blank_out(str(value)), longest)
        return event

    def _blank_out(self, text: str) -> str:
        text = _SECRETS.sub(_REDACTED, text)
        text = _PASSWORD_IN_ADDRESS.sub(rf"\1{_REDACTED}", text)
        return self._known.sub(_REDACTED, text) if self._known else text


def _fitting(text: str, longest: int) -> str:
    """The text within a length, its control characters written out: what others sent must not drive a terminal."""
    text = text if len(text) <= longest else f"{text[:longest]}…"
    return _CONTROLS.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def configure(level: str, style: Format = "text", secrets: Collection[str] = ()) -> None:
    """Write our own events from `level` on, and the libraries' from `warning` on: theirs can hold bodies.

    Args:
        level: debug, info, warning or error.
        style: key=value, or a JSON object per line.
        secrets: what is blanked out wherever it stands.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that the output can't hold must not cost the line.
        sys.stdout.reconfigure(errors="backslashreplace")
    output = logging.StreamHandler(sys.stdout)
    output.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                _add_left_out,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                Redaction(secrets),
                _renderer(style),
            ],
        )
    )
    output.addFilter(RepeatLimit())
    root = logging.getLogger()
    root.handlers = [output]
    root.setLevel(logging.WARNING)
    logging.getLogger("bot").setLevel(level.upper())
    logging.getLogger(LOGGER).setLevel(logging.INFO)  # whatever else is left out


def _renderer(style: Format) -> Processor:
    if style == "json":
        return structlog.processors.JSONRenderer()
    return structlog.processors.LogfmtRenderer(
        key_order=["timestamp", "level", "event", "errand", "follow"], drop_missing=True, bool_as_flag=False
    )


def begin_interaction() -> None:
    """From here on, lines are about something that a person has just done; an id tells it from all else."""
    bind_contextvars(errand=uuid4().hex[:8])


def begin_follow(job: JobId) -> None:
    """From here on, lines are about this follow, and no more about the errand for which it was begun."""
    clear_contextvars()
    bind_contextvars(follow=job)


def bind_job(job: JobId) -> None:
    """From here on, lines are also about this follow. Its id is its job's: a job has one follow."""
    bind_contextvars(follow=job)


LOGGER = "bot.audit"


class Act(StrEnum):
    """What a person did, or wanted to."""

    ASK = "ask"
    FOLLOW_UP = "follow up"
    RETRY = "retry"
    FOLLOW = "follow"
    CANCEL = "cancel"
    USE = "use"
    """Anything at all: what is refused to people who may not use the bot."""


_log = structlog.get_logger(LOGGER)


def audit(
    act: Act, user: UserId, channel: ChannelRef | None, outcome: str, *, job: JobId | None = None
) -> None:
    """Write a line: who, where, which job, and what came of it, in words of ours.

    `channel`: None where what is refused has none, such as a job that a list leaves out.
    """
    where = {} if channel is None else {"team": channel.team, "channel": channel.id}
    which = {} if job is None else {"job": job}
    _log.info("audit", act=act.value, user=user, **where, **which, outcome=outcome)
