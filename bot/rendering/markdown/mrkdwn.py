"""Converts text and Markdown to Slack's mrkdwn, and to plain words.

Source of the syntax: docs.slack.dev/messaging/formatting-message-text.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from markdown_it import MarkdownIt
from markdown_it.token import Token

from bot.domain import strip_control_chars
from bot.rendering.markdown.sanitize import BREAK, without_pings
from bot.rendering.markdown.tables import table_of

_DEEPEST = 50

_parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _DEEPEST}).enable(["table", "strikethrough"])

_FORMATTING = re.compile(r"[*~`]|(?<![^\W_])_|_(?![^\W_])")

_BROKEN_ENTITY = re.compile(r"&[a-z]{0,3}$")

_LAST_WORD = re.compile(r"\s\S{0,40}$")

_SAFE_ADDRESS = re.compile(r"(?:https?://|mailto:)[^\s<>|]+", re.IGNORECASE)

_BLANK_LINES = re.compile(r"\n\s*\n+")

MOST_READ = 12_000
"""Most characters of Markdown that `plain` reads by default."""

_MOST_READ_AHEAD = 8


def escape(text: str) -> str:
    """Escape text for mrkdwn: no mention, no link, no formatting.

    mrkdwn has no escape for `*`, `_`, `~` and the backtick, so each that could format gets a zero-width space after it.
    """
    return _FORMATTING.sub(rf"\g<0>{BREAK}", _escape_code(text))


def _escape_code(text: str) -> str:
    bare = without_pings(
        strip_control_chars(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
    return bare.replace("```", f"`{BREAK}`{BREAK}`")


def shortened(text: str, limit: int) -> str:
    """Escape the text and cut it to `limit` characters, with `…` after a whole word."""
    near = text[: limit * _MOST_READ_AHEAD]
    return _cut(escape(near) + "…" * (len(near) < len(text)), limit)


def code(text: str, limit: int) -> str:
    """Format a short text as inline code, within `limit` characters and two backticks."""
    line = " ".join(strip_control_chars(text[: limit * _MOST_READ_AHEAD]).replace("`", "'").split())
    return f"`{_cut(_escape_code(line), limit)}`" if line else ""


def fenced(text: str) -> str:
    """Format a text as a code block."""
    return "\n".join(["```", _escape_code(text).rstrip("\n"), "```"])


def excerpt(text: str, limit: int, lines: int) -> str:
    """Return the first `lines` non-blank lines, within `limit` characters. Not escaped for mrkdwn."""
    read = strip_control_chars(text[: limit * _MOST_READ_AHEAD])
    said = [line.strip() for line in read.split("\n") if line.strip()]
    left_out = len(said) > lines or limit * _MOST_READ_AHEAD < len(text)
    start = without_pings("\n".join(said[:lines]))
    return _cut(start + "…" * left_out, limit)


def _cut(text: str, limit: int) -> str:
    """Cut the text to `limit` characters, with `…` after a whole word if one is near."""
    if len(text) <= limit:
        return text
    cut = _BROKEN_ENTITY.sub("", text[: limit - 1])
    return _LAST_WORD.sub("", cut).rstrip() + "…"


def plain(markdown: str, most_read: int = MOST_READ) -> str:
    """Return the words of Markdown without markup, for screen readers and notifications. Not escaped for mrkdwn.

    Reads the first `most_read` characters.
    """
    parts: list[str] = []
    row: list[str] | None = None
    text = strip_control_chars(markdown[:most_read])
    if (tokens := _tokens(text)) is None:
        return without_pings(text)
    for token in tokens:
        match token.type:
            case "tr_open":
                row = []
            case "tr_close" if row is not None:
                parts.append(", ".join(filter(None, row)))
                row = None
            case "inline":
                words = "".join(map(_words, token.children or ()))
                (parts if row is None else row).append(words)
            case "fence" | "code_block":
                parts.append(token.content.rstrip("\n"))
    return without_pings(strip_control_chars("\n".join(part for part in parts if part.strip())))


def _words(token: Token) -> str:
    return "\n" if token.type in ("softbreak", "hardbreak") else token.content


def from_markdown(markdown: str) -> str:
    """Convert Markdown to mrkdwn. Tables become aligned text."""
    tokens = _tokens(markdown)
    return escape(markdown) if tokens is None else _Writer(tokens).text()


def _tokens(markdown: str) -> list[Token] | None:
    """Parse Markdown; None if it is nested so deep that the parser would leave out content."""
    tokens = _parser.parse(markdown)
    return tokens if all(token.level < _DEEPEST - 2 for token in tokens) else None


class _Writer:
    """Writes the blocks of a document as mrkdwn lines."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._lines: list[str] = []
        self._quotes = 0
        self._numbers: list[int | None] = []
        self._bullet: str | None = None
        self._in_heading = False
        self._rows: list[list[str]] | None = None

    def text(self) -> str:
        """Write the whole document."""
        for token in self._tokens:
            self._take(token)
        return _BLANK_LINES.sub("\n\n", "\n".join(self._lines)).strip("\n")

    def _take(self, token: Token) -> None:
        match token.type:
            case "inline":
                self._inline(token)
            case "heading_open" | "heading_close":
                self._in_heading = token.nesting == 1
            case "fence" | "code_block":
                self._code(token.content)
            case "hr":
                self._write("———")
            case "blockquote_open" | "blockquote_close":
                self._quotes += token.nesting
            case "bullet_list_open" | "ordered_list_open":
                is_ordered = token.type == "ordered_list_open"
                self._numbers.append(int(token.attrs.get("start", 1)) if is_ordered else None)
            case "bullet_list_close" | "ordered_list_close":
                self._numbers.pop()
            case "list_item_open":
                self._begin_item()
            case "list_item_close":
                self._end_mark()
            case "table_open":
                self._rows = []
            case "tr_open" if self._rows is not None:
                self._rows.append([])
            case "table_close" if self._rows is not None:
                aligned, self._rows = table_of(self._rows).aligned(), None
                self._code(aligned)
        if (token.nesting == -1 and token.level == 0) or token.type in ("fence", "hr"):
            self._lines.append("")

    def _inline(self, token: Token) -> None:
        if self._rows is not None:
            self._rows[-1].append("".join(map(_words, token.children or ())).replace("\n", " "))
            return
        text = _inline(token.children or (), bold=not self._in_heading)
        self._write(f"*{text}*" if self._in_heading and text.strip() else text)

    def _begin_item(self) -> None:
        number = self._numbers[-1]
        self._bullet = "•" if number is None else f"{number}."
        if number is not None:
            self._numbers[-1] = number + 1

    def _write(self, text: str) -> None:
        indent = "    " * max(0, len(self._numbers) - 1)
        for line in text.split("\n"):
            bullet = f"{self._bullet} " if self._bullet else "   " if self._numbers else ""
            self._lines.append(("> " if self._quotes else "") + indent + bullet + line)
            self._bullet = None

    def _end_mark(self) -> None:
        """Write the mark of an item that begins without text."""
        if self._bullet:
            self._write("")

    def _code(self, content: str) -> None:
        self._end_mark()
        self._lines.append(fenced(content))


_MARKS = {"strong": "*", "em": "_", "s": "~"}

_EDGE = "\x00"
"""Marks the outer side of a formatting mark while a line is written. The text itself has no such character."""

_INSIDE_A_WORD = re.compile(rf"(?<=\w){_EDGE}+(?=[*_~])|(?<=[*_~]){_EDGE}+(?=\w)")
"""Where a mark touches a word from outside, so that Slack would ignore it."""

_EDGES = re.compile(_EDGE)


def _inline(tokens: Sequence[Token], *, bold: bool) -> str:
    written: list[str] = []
    links: list[str] = []
    for token in tokens:
        kind = token.type.removesuffix("_open").removesuffix("_close")
        if kind in _MARKS:
            mark = _MARKS[kind] if bold or kind != "strong" else ""
            written.append(f"{mark}{_EDGE}" if token.nesting < 0 else f"{_EDGE}{mark}")
        elif token.type == "link_open":
            links.append(_address(str(token.attrs.get("href", ""))))
            written.append(f"<{links[-1]}|" if links[-1] else "")
        elif token.type == "link_close":
            written.append(">" if links.pop() else "")
        elif token.type == "image":
            written.append(escape(token.content) if links else _image(token))
        elif token.type == "code_inline":
            written.append("`" + _escape_code(token.content.replace("`", "'")) + "`")
        elif token.type in ("softbreak", "hardbreak"):
            written.append(" " if links else "\n")
        else:
            written.append(escape(token.content).replace("|", "¦") if links else escape(token.content))
    return _EDGES.sub("", _INSIDE_A_WORD.sub(BREAK, "".join(written)))


def _image(token: Token) -> str:
    address = _address(str(token.attrs.get("src", "")))
    words = escape(token.content or "image").replace("\n", " ")
    return f"<{address}|{words.replace('|', '¦')}>" if address else words


def _address(address: str) -> str:
    """Escape a URL for mrkdwn; empty if its scheme is not allowed."""
    return address.replace("&", "&amp;") if _SAFE_ADDRESS.fullmatch(address) else ""


def moment(at: datetime) -> str:
    """Format a time that Slack shows in the reader's time zone.

    Source: docs.slack.dev/messaging/formatting-message-text, "Date formatting".
    """
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{spoken(at)}>"


def clock(at: datetime) -> str:
    """Format a time of day to the second, in the reader's time zone."""
    return f"<!date^{int(at.timestamp())}^{{time_secs}}|{at.astimezone(UTC):%H:%M:%S} UTC>"


def spoken(at: datetime) -> str:
    """Format a time in UTC, where Slack supports no date token."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """Format a duration: to the second below an hour, to the minute above."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min" if minutes_left else f"{hours} h"
    if minutes:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{rest} s" if rest else "less than a second"
