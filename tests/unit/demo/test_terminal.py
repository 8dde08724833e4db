"""Events in the terminal: readable, and safe for any text."""

import io
from typing import Any

import pytest

from bot.demo.terminal import Story


@pytest.fixture(autouse=True)
def wide_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")


class Screen(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def story(screen: Screen, **environment: str) -> Story:
    names = {"U0ADA": "Ada Byron", "C0DATA": "data-team", "U0BOT": "Omni job bot"}
    return Story(screen, names.__getitem__, lambda some_id: some_id.startswith("D"), environment, lambda: 0.0)


def said(kind: str, text: str, **more: Any) -> dict[str, Any]:
    message = {"author": "U0BOT", "text": text, "thread_ts": None} | more
    return {"kind": kind, "channel": "C0DATA", "user": "U0ADA", "message": message}


def told(*events: dict[str, Any]) -> list[str]:
    screen = Screen()
    teller = story(screen)
    for event in events:
        teller.tell(event)
    return [line[8:].strip() for line in screen.getvalue().splitlines()]


def test_events_are_printed_in_order() -> None:
    assert told(
        said("typed", "/omni-job 1"),
        said("posted", "*Queued* &amp; waiting"),
        said("updated", "Answered"),
        said("posted", "<@U0ADA> it failed", thread_ts="1.0"),
        said("ephemeral", "No such job"),
    ) == [
        "#data-team   Ada Byron types       /omni-job 1",
        "#data-team   Omni job bot posts    Queued & waiting",
        "#data-team   Omni job bot edits    Answered",
        "#data-team   Omni job bot replies  @Ada Byron it failed",
        "#data-team   only Ada Byron sees   No such job",
    ]


def test_pulses_are_silent_unless_the_bot_changed() -> None:
    pulse = {"kind": "pulse", "bot": "died", "exit_code": 3, "last_line": "no such table"}
    assert told(pulse, pulse | {"changed": "bot"}) == [
        "bot died              by itself, exit code 3: no such table"
    ]


def test_long_text_is_cut() -> None:
    lines = told(said("posted", "\n".join(f"line {n}" for n in range(100))))
    assert len(lines) == 6
    assert lines[-1] == "line 5 …"


def test_text_cannot_control_the_terminal() -> None:
    screen = Screen(terminal=True)
    story(screen, NO_COLOR="1").tell(said("posted", "\x1b[2J\x07\u202egone\x9b31m"))
    assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(screen.getvalue())


def test_color_depends_on_the_terminal() -> None:
    assert "\x1b[" not in coloured(terminal=False)
    assert "\x1b[" not in coloured(terminal=True, NO_COLOR="1")
    assert "\x1b[" in coloured(terminal=True)


def coloured(*, terminal: bool, **environment: str) -> str:
    screen = Screen(terminal=terminal)
    story(screen, **environment).say("Hello", "bold")
    return screen.getvalue()
