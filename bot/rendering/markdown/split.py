"""An answer's Markdown into pieces that Slack takes: each within a length, cut where reading allows it."""

import re
from collections.abc import Iterator
from itertools import islice

from bot.domain import strip_control_chars
from bot.rendering.markdown.reference_links import inline_references
from bot.rendering.markdown.sanitize import BREAK, sanitize
from bot.rendering.markdown.segments import Dedent, Kind, Segment, segments

MOST_BLOCKS = 40
"""Slack turns one `markdown` block into several and allows 50 blocks in a message; ours take the rest."""

SHORTEST_PIECE = 200
"""Characters; below that a fence or a table's heading would leave no room for what is in it."""

_READ_BEYOND = 2
_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+")


def most_read(limit: int, most: int) -> int:
    """How many characters of an answer `first_pieces` looks at."""
    return limit * (most + 1) * _READ_BEYOND


def first_pieces(markdown: str, limit: int, most: int) -> tuple[list[str], bool]:
    """The beginning of an answer in at most `most` pieces, and whether anything was left out.

    It reads no more than `most_read` characters, so a table that goes on for very long may be cut otherwise than by
    `pieces`.
    """
    text = _trimmed(markdown)
    near = text[: most_read(limit, most)]
    found = list(islice(_pieces(near, limit), most + 1))
    return found[:most], len(near) < len(text) or len(found) > most


def pieces(markdown: str, limit: int) -> list[str]:
    """All of an answer, made harmless, in pieces of at most `limit` characters; at least SHORTEST_PIECE.

    A piece ends between Markdown blocks where that leaves it reasonably full, else between list items,
    table rows (the heading is repeated), lines of code (the fence is closed and opened again) or words.
    A word longer than a piece is the only thing cut anywhere. Each piece has at most one table, which
    is all that Slack surely takes (`only_one_table_allowed`); another becomes aligned text in a fence.
    """
    return list(_pieces(_trimmed(markdown), limit))


def _trimmed(markdown: str) -> str:
    return _BLANK_LINES.sub("", strip_control_chars(markdown)).rstrip()


def _pieces(text: str, limit: int) -> Iterator[str]:
    if limit < SHORTEST_PIECE:
        raise ValueError(f"A piece needs at least {SHORTEST_PIECE} characters.")
    page = _Page(limit)
    for block in segments(inline_references(sanitize(text)), limit):
        yield from page.add(block)
    yield from page.turn()


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
        """Put the block here or on the next page; yields the pages that are full."""
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
        going_on: Dedent | None = None
        for at, unit in enumerate(block.units):
            told = going_on(unit) if going_on else unit
            if not self._holds(written + told, block):
                begun = written != block.head
                if begun:
                    self._put(block.kind, written.rstrip("\n") + "\n" + block.close)
                    going_on = None if block.head else Dedent(at_line_start=block.is_line(at))
                    told = going_on(block.beginning(at)) if going_on else unit
                yield from self.turn(keep_heading=not begun)
                if not self._holds(block.head + told, block):
                    yield from self.turn()
                written = block.head
            written += told
        self._put(block.kind, written + block.tail)

    def turn(self, *, keep_heading: bool = False) -> Iterator[str]:
        """Begin a new page; a heading that would end this one may go over to the next."""
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
        """How many blocks more Slack makes of the page with this: what is only text stays in one."""
        running = (Kind.TEXT, Kind.CODE)
        goes_on = kind is self._kind is Kind.LIST
        return 0 if goes_on or (kind in running and self._kind in running) else 1

    def _put(self, kind: Kind, text: str) -> None:
        self._blocks += self._slack_blocks(kind)
        self._has_table = self._has_table or kind is Kind.TABLE
        self._texts.append(text)
        self._length += len(text)
        self._kind = kind
