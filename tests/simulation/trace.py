"""Trace of a seed: one line per event, with virtual time."""

import sys
from collections.abc import Callable
from hashlib import blake2b

from structlog import DropEvent
from structlog.typing import EventDict, WrappedLogger


class Trace:
    """The lines, in the order in which they happened."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self.is_kept = True
        """Whether lines are kept; a world that runs for days has no room for them."""
        self.lines: list[str] = []

    def note(self, who: str, what: str) -> None:
        """Add a line."""
        if self.is_kept:
            self.lines.append(f"{self._seconds():10.3f} {who:<6} {what}")

    @property
    def fingerprint(self) -> str:
        """Equal for equal traces."""
        return blake2b("\n".join(self.lines).encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()


class LogOfTheBot:
    """Takes the bot's log into a trace. Defects that it reports are kept apart."""

    def __init__(self, trace: Trace, process: Callable[[], str]) -> None:
        self._trace = trace
        self._process = process
        self.defects: list[str] = []

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """A processor of structlog: notes the event and lets nothing out."""
        if method == "debug":
            raise DropEvent
        exception = event.pop("exc_info", None)
        words = " ".join(f"{name}={value}" for name, value in event.items() if name != "event")
        line = f"{method}: {event.get('event')} {words}".rstrip()
        if exception is not None:
            line += f" {_exception(exception)}"
        if exception is not None or method in ("exception", "critical"):
            self.defects.append(line)
        self._trace.note(self._process(), line)
        raise DropEvent


def _exception(exception: object) -> str:
    if exception is True:
        exception = sys.exc_info()[1]
    return repr(exception)
