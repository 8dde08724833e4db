"""Removes control characters and invisible characters from text."""

import re

_LINE_ENDS = re.compile("\r\n|[\r\u2028\u2029]")

_BLANK_CONTROLS = re.compile("[\x0b\x0c\x1c-\x1f\x85]")

_SURROGATES = re.compile("[\ud800-\udfff]")

INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # controls
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0"  # soft hyphen, fillers
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"  # zero width, marks, bidi overrides and isolates
    "\ufeff\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e00ff"  # byte order mark, tags
)

_INVISIBLE_ONES = re.compile(f"[{INVISIBLE}]")

_JOINER_RUN = re.compile("[\u200c\u200d\ufe00-\ufe0f]+")

_JOINERS = re.compile("[\u200c\u200d]")


def strip_control_chars(text: str) -> str:
    """Remove control, bidi and zero-width characters, and normalize line ends to `\\n`.

    Joiners stay where writing needs them: inside emoji and between non-ASCII characters.
    """
    if text.isascii() and text.isprintable():
        return text  # as most texts are
    text = _LINE_ENDS.sub("\n", text)
    text = _BLANK_CONTROLS.sub(" ", text)
    text = _SURROGATES.sub("\ufffd", text)
    text = _INVISIBLE_ONES.sub("", text)
    return _JOINER_RUN.sub(_needed_joiners, text)


def _needed_joiners(match: re.Match[str]) -> str:
    run, text = match.group(), match.string
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    if before.isascii():
        is_keycap = run == "\ufe0f" and after == "\u20e3" and before != ""
        return run if is_keycap else ""
    return _JOINERS.sub("", run) if after.isascii() else run
