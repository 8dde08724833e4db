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
from structlog.contextvars import bind_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

from bot.domain import ChannelRef, JobId, UserId

Format = Literal["text", "json"]

LONGEST_VALUE = 2_000

LONGEST_TRACE = 20_000
"""Most characters of a stack trace. LONGEST_VALUE: of any other value."""

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
"""Most warnings or errors per line of code."""

_SHORTEST_KNOWN = 6
"""Shortest secret that is searched for. A shorter one would match inside ordinary words."""


class RepeatLimit(logging.Filter):
    """Limit the warnings and errors per line of code, so that no outsider can fill the disk.

    The last line of a minute is marked `more_left_out`, the first one of the next minute with the number `left_out`.
    Info lines, and so the audit trail, are never dropped.
    """

    def __init__(self) -> None:
        super().__init__()
        self._minutes: dict[tuple[str, int], _Minute] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the line."""
        if record.levelno < logging.WARNING:
            return True
        source, now = (record.pathname, record.lineno), monotonic()
        minute = self._minutes.get(source)
        if minute is None or now - minute.began >= 60.0:
            if minute is not None and minute.lines > LINES_PER_MINUTE:
                record.left_out = minute.lines - LINES_PER_MINUTE
            minute = self._minutes[source] = _Minute(now)
        minute.lines += 1
        if minute.lines == LINES_PER_MINUTE:
            record.more_left_out = True
        return minute.lines <= LINES_PER_MINUTE


@dataclass(slots=True)
class _Minute:
    began: float
    """Monotonic time in seconds."""
    lines: int = 0


class Redaction:
    """Replaces secrets in all values of an event, known ones and those with a typical form.

    A last line of defense: no caller should log a secret.
    """

    def __init__(self, known: Collection[str] = ()) -> None:
        """`known`: secrets without a typical form, such as a database password."""
        # The longest first: where one secret begins with another, the rest of it would be left.
        longest_first = sorted(
            {each for each in known if len(each) >= _SHORTEST_KNOWN}, key=len, reverse=True
        )
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Redact, cut and escape the values of an event."""
        for key, value in event.items():
            if not isinstance(value, bool | int | float | None):
                longest = LONGEST_TRACE if key == "exception" else LONGEST_VALUE
                text = _SECRETS.sub(_REDACTED, str(value))
                text = _PASSWORD_IN_ADDRESS.sub(rf"\1{_REDACTED}", text)
                text = self._known.sub(_REDACTED, text) if self._known else text
                text = text if len(text) <= longest else f"{text[:longest]}…"
                # Escaped, so that foreign text can't control a terminal.
                event[key] = _CONTROLS.sub(
                    lambda found: found.group().encode("unicode_escape").decode(), text
                )
        return event


def configure(level: str, style: Format = "text", secrets: Collection[str] = ()) -> None:
    """Log the bot's events from `level` up, and the libraries' from `warning` up: theirs can contain message bodies.

    Args:
        level: debug, info, warning or error.
        style: key=value, or one JSON object per line.
        secrets: texts to redact everywhere.
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
        # A character that the output can't encode must not lose the line.
        sys.stdout.reconfigure(errors="backslashreplace")
    output = logging.StreamHandler(sys.stdout)
    output.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ExtraAdder(["left_out", "more_left_out"]),  # of `RepeatLimit`
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
    logging.getLogger(LOGGER).setLevel(logging.INFO)  # at every level


def _renderer(style: Format) -> Processor:
    if style == "json":
        return structlog.processors.JSONRenderer()
    return structlog.processors.LogfmtRenderer(
        key_order=["timestamp", "level", "event", "interaction", "job"], drop_missing=True, bool_as_flag=False
    )


def begin_interaction() -> None:
    """Add the random id of a new interaction to the lines of this task."""
    bind_contextvars(interaction=uuid4().hex[:8])


def bind_job(job: JobId) -> None:
    """Add the job to the lines of this task."""
    bind_contextvars(job=job)


LOGGER = "bot.audit"


class Act(StrEnum):
    """An action of a user, done or tried."""

    ASK = "ask"
    FOLLOW_UP = "follow up"
    RETRY = "retry"
    FOLLOW = "follow"
    ANNOUNCE = "announce"
    """Follow a job in a channel over HTTP, as the user API_CLIENT."""
    CANCEL = "cancel"
    RATE = "rate"
    SHARE = "share"
    REMOVE = "remove"
    SET_DEFAULT = "set channel default"
    USE = "use"
    """Any use of the bot, by a user who may not use it."""


_log = structlog.get_logger(LOGGER)


def audit(
    act: Act, user: UserId, channel: ChannelRef | None, outcome: str, *, job: JobId | None = None
) -> None:
    """Log what a user did. `channel`: None if there is none, as for a job left out of a list."""
    where = {} if channel is None else {"team": channel.team, "channel": channel.id}
    which = {} if job is None else {"job": job}
    _log.info("audit", act=act.value, user=user, **where, **which, outcome=outcome)
