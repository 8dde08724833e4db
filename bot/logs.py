"""The log: one line of key=value per event on standard output, without tokens, prompts or answers."""

import io
import logging
import re
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger

from bot import audit

_SECRETS = re.compile(
    r"(?:xox[a-z]-|xapp-|omni_osk_)[\w-]+|(?<=ticket=)[\w-]+|(?<=Bearer )\S+", re.IGNORECASE
)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank out whatever looks like a token in the event, also inside lists and exceptions."""
    for key, value in event.items():
        if not isinstance(value, bool | int | float | None):
            event[key] = _SECRETS.sub("[redacted]", str(value))
    return event


def configure(level: str) -> None:
    """Write our own events from `level` on, and the libraries' from `warning` on: theirs can hold bodies."""
    shared: list[structlog.typing.Processor] = [
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
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                structlog.processors.LogfmtRenderer(
                    key_order=["timestamp", "level", "event"], bool_as_flag=False
                ),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [output]
    root.setLevel(logging.WARNING)
    logging.getLogger("bot").setLevel(level.upper())
    logging.getLogger(audit.LOGGER).setLevel(logging.INFO)  # whatever else is left out
