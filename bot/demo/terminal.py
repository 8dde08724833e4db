"""Prints the demo's visible events to the terminal, one line each."""

import io
import shutil
import textwrap
import time
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TextIO

from bot.demo.page_views.text import Names, as_words, mrkdwn
from bot.demo.scene import Event

_NARROWEST = 80
_SUBJECT = 20
_LINES = 6
_STYLES = {"dim": "2", "bold": "1", "green": "32", "yellow": "33", "red": "31", "cyan": "36"}
_BOT = {
    "starting": ("yellow", "the bot is starting"),
    "running": ("green", "the bot is connected"),
    "killed": ("red", "the bot is killed (SIGKILL)"),
    "stopped": ("dim", "the bot is stopped"),
}


class Story:
    """Tells events as lines on a stream.

    Args:
        stream: where to.
        names: what people call an id.
        is_direct: whether a channel's id is that of a direct message.
        environment: decides about colour: only on a terminal, and not with NO_COLOR (no-color.org).
    """

    def __init__(
        self,
        stream: TextIO,
        names: Names,
        is_direct: Callable[[str], bool],
        environment: Mapping[str, str],
        now: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # A console without these letters shall not end the demo.
        self._stream = stream
        self._names = names
        self._is_direct = is_direct
        self._colour = stream.isatty() and not environment.get("NO_COLOR")
        self._now = now

    def say(self, text: str, style: str = "") -> None:
        """A line of the demo's own."""
        self._stream.write(f"{self._styled(text, style)}\n")
        self._stream.flush()

    def tell(self, event: Event) -> None:
        """The line for an event; empty for invisible ones."""
        kind = event["kind"]
        if kind == "pulse" and event.get("changed") == "bot":
            self._tell_bot(event)
        elif kind == "typed":
            self._line(
                event["channel"], self._names(event["user"]), "types", event["message"]["text"], "cyan"
            )
        elif kind == "ephemeral":
            self._line(event["channel"], f"only {self._names(event['user'])}", "sees", self._words(event))
        elif kind in ("posted", "updated", "deleted"):
            who = self._names(event["message"]["author"])
            verb = {"posted": "posts", "updated": "edits", "deleted": "loses"}[kind]
            if kind == "posted" and event["message"]["thread_ts"]:
                verb = "replies"
            self._line(event["channel"], who, verb, self._words(event), "bold" if kind == "posted" else "")

    def _tell_bot(self, pulse: Event) -> None:
        if pulse["bot"] == "died":
            self._line(
                "", "bot", "died", f"by itself, exit code {pulse['exit_code']}: {pulse['last_line']}", "red"
            )
        elif pulse["bot"] in _BOT:
            style, words = _BOT[pulse["bot"]]
            process = f", process {pulse['pid']}" if pulse["pid"] and pulse["bot"] == "running" else ""
            self._line("", "", "", f"{words}{process}", style)

    def _line(self, channel: str, who: str, verb: str, words: str, style: str = "") -> None:
        at = _at(self._now())
        place = "" if not channel else "direct" if self._is_direct(channel) else f"#{self._names(channel)}"
        head = f"{at}  {place:<11}  "
        subject = f"{who} {verb}".strip()
        margin = len(head) + max(len(subject), _SUBJECT) + 2
        width = max(_NARROWEST, shutil.get_terminal_size((110, 24)).columns) - margin - 1
        first, *more = _wrapped(words, width)
        self._stream.write(
            f"{self._styled(head, 'dim')}{subject:<{_SUBJECT}}  {self._styled(first, style)}\n"
        )
        for line in more:
            self._stream.write(f"{'':<{margin}}{self._styled(line, style)}\n")
        self._stream.flush()

    def _words(self, event: Event) -> str:
        words = as_words(mrkdwn(event["message"]["text"], self._names), lambda node: _at(node["unix"]))
        files = [f"[{file['name']}, {file['size']}]" for file in event["message"].get("files", ())]
        return "\n".join(filter(None, [words, *files]))

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._colour and style else text


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%H:%M:%S")


def _wrapped(text: str, width: int) -> list[str]:
    """The beginning of a text in at least one and at most `_LINES` lines."""
    lines = [
        line
        for written in text.splitlines()
        for line in textwrap.wrap(_harmless(written), width, break_on_hyphens=False)
    ]
    if len(lines) > _LINES:
        lines[_LINES - 1] = f"{lines[_LINES - 1][: width - 2]} …"
    return lines[:_LINES] or [""]


def _harmless(text: str) -> str:
    """Without what could move the cursor, recolour the terminal or turn the writing round."""
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs")).strip()
