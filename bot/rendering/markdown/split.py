"""Splits Markdown into pieces that Slack accepts, cut where it disturbs reading least."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from markdown_it.common.utils import normalizeReference

from bot.domain import strip_control_chars
from bot.rendering.markdown.sanitize import BREAK, block_parser, sanitize
from bot.rendering.markdown.segments import Dedent, Kind, Segment, segments

MOST_BLOCKS = 40
"""Slack turns one `markdown` block into several, and allows 50 in a message. The bot's own blocks need the rest."""

SHORTEST_PIECE = 200
"""Fewest characters of a limit: a fence or a table's heading must leave room for content."""

_READ_BEYOND = 2
_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+")
_REFERENCE = re.compile(
    r"`{1,3}[^`\n]{1,500}`{1,3}"  # code, in which nothing is a link
    r"|(?<!\\)(?P<words>!?\[[^\[\]\n]{1,300}\])(?:\[(?P<label>[^\[\]\n]{0,300})\])?(?![\[(:])"
)
_DEFINED_NAME = re.compile(r"\](?=:)")
_PARENTHESES = str.maketrans({"(": "%28", ")": "%29"})


def most_read(limit: int, most: int) -> int:
    """How many characters `first_pieces` reads at most."""
    return limit * (most + 1) * _READ_BEYOND


def first_pieces(markdown: str, limit: int, most: int) -> tuple[list[str], bool]:
    """Return at most `most` pieces of the beginning, and whether anything was left out.

    Reads at most `most_read` characters, so a very long table may be cut differently than by `pieces`.
    """
    text = _trimmed(markdown)
    near = text[: most_read(limit, most)]
    found = list(islice(_pieces(near, limit), most + 1))
    return found[:most], len(near) < len(text) or len(found) > most


def pieces(markdown: str, limit: int) -> list[str]:
    """Sanitize Markdown and split it into pieces of at most `limit` characters, at least SHORTEST_PIECE.

    A piece ends between Markdown blocks if that leaves it at least half full, else between list items, table rows
    (the heading is repeated), lines of code (the fence is closed and reopened) or words. Only a word longer than a
    piece is cut. Each piece has at most one table, because Slack may refuse more (`only_one_table_allowed`); another
    table becomes aligned text.
    """
    return list(_pieces(_trimmed(markdown), limit))


def _trimmed(markdown: str) -> str:
    return _BLANK_LINES.sub("", strip_control_chars(markdown)).rstrip()


def _pieces(text: str, limit: int) -> Iterator[str]:
    if limit < SHORTEST_PIECE:
        raise ValueError(f"A piece needs at least {SHORTEST_PIECE} characters.")
    page = _Page(limit)
    for block in segments(_inline_references(sanitize(text)), limit):
        yield from page.add(block)
    yield from page.turn()


def _inline_references(text: str) -> str:
    """Replace reference links, `[text][1]` with `[1]: https://…` elsewhere, by inline links. Takes sanitized Markdown.

    A cut answer could have the text in one piece and the address in another, and Slack does not document whether its
    `markdown` block supports reference links. Unused addresses are shown as text.
    """
    if "]:" not in text:
        return text
    found: dict[str, Any] = {}
    tokens = block_parser.parse(text, found)
    definitions: dict[str, dict[str, Any]] = found.get("references", {})
    if not definitions:
        return text
    lines = text.splitlines(keepends=True)
    code = {
        number
        for token in tokens
        if token.type in ("fence", "code_block") and token.map
        for number in range(*token.map)
    }
    of_definitions = {number for each in definitions.values() for number in range(*each["map"])}
    used: set[str] = set()

    def inline(match: re.Match[str]) -> str:
        words = match["words"]
        if words is None:
            return match.group()
        label = normalizeReference(match["label"] or words.removeprefix("!")[1:-1])
        if label not in definitions:
            return match.group()
        used.add(label)
        return f"{words}({definitions[label]['href'].translate(_PARENTHESES)})"

    for number, line in enumerate(lines):
        if number not in code and number not in of_definitions:
            lines[number] = _REFERENCE.sub(inline, line)
    for label, definition in definitions.items():
        first, end = definition["map"]
        if label in used:
            lines[first:end] = [""] * (end - first)
        else:
            lines[first] = _DEFINED_NAME.sub(f"]{BREAK}", lines[first], count=1)
    for repeated in found.get("duplicate_refs", ()):
        first = repeated["map"][0]
        lines[first] = _DEFINED_NAME.sub(f"]{BREAK}", lines[first], count=1)
    return "".join(lines)


class _Page:
    """The piece being filled."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._texts: list[str] = []
        self._length = 0
        self._kind: Kind | None = None
        self._blocks = 0
        self._has_table = False

    def add(self, block: Segment) -> Iterator[str]:
        """Put the block here or on the next page. Yields the pages that are full."""
        if block.kind is Kind.TABLE and self._has_table and self._fits(block.instead[0]):
            block = block.instead[0]
        if self._fits(block):
            self._put(block.kind, block.text)
        elif self._length > self._limit // 2 and len(block.text) <= self._limit:
            yield from self.turn(keep_heading=True)
            yield from self.add(block)
        elif block.instead and block.kind is not Kind.TABLE:
            for part in block.instead:
                yield from self.add(part)
        else:
            yield from self._fill(block)

    def _fill(self, block: Segment) -> Iterator[str]:
        if not self._has_room_for(block.kind):
            yield from self.turn()
        written = block.head
        dedent: Dedent | None = None
        for at, unit in enumerate(block.units):
            text = dedent(unit) if dedent else unit
            if not self._holds(written + text, block):
                begun = written != block.head
                if begun:
                    self._put(block.kind, written.rstrip("\n") + "\n" + block.close)
                    dedent = None if block.head else Dedent(at_line_start=block.is_line(at))
                    text = dedent(block.beginning(at)) if dedent else unit
                yield from self.turn(keep_heading=not begun)
                if not self._holds(block.head + text, block):
                    yield from self.turn()
                written = block.head
            written += text
        self._put(block.kind, written + block.tail)

    def turn(self, *, keep_heading: bool = False) -> Iterator[str]:
        """Begin a new page, optionally taking along a heading at the end of this one."""
        kept = ""
        if keep_heading and self._kind is Kind.HEADING and len(self._texts) > 1:
            kept = self._texts.pop()
        page = "".join(self._texts).lstrip("\n").rstrip(f"\n{BREAK}")
        self._texts, self._length, self._blocks = [], 0, 0
        self._kind, self._has_table = None, False
        if kept:
            self._put(Kind.HEADING, kept)
        if page.strip():
            yield page

    def _holds(self, text: str, block: Segment) -> bool:
        ending = max(len(block.tail), len(block.close) + 1)
        return self._length + len(text) + ending <= self._limit

    def _fits(self, block: Segment) -> bool:
        return self._length + len(block.text) <= self._limit and self._has_room_for(block.kind)

    def _has_room_for(self, kind: Kind) -> bool:
        if kind is Kind.TABLE and self._has_table:
            return False
        return self._blocks + self._slack_blocks(kind) <= MOST_BLOCKS

    def _slack_blocks(self, kind: Kind) -> int:
        """How many more blocks Slack makes of the page with this one. Adjacent text stays one block."""
        running = (Kind.TEXT, Kind.CODE)
        continues = kind is self._kind is Kind.LIST
        return 0 if continues or (kind in running and self._kind in running) else 1

    def _put(self, kind: Kind, text: str) -> None:
        self._blocks += self._slack_blocks(kind)
        self._has_table = self._has_table or kind is Kind.TABLE
        self._texts.append(text)
        self._length += len(text)
        self._kind = kind
