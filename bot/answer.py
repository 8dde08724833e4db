"""An answer's Markdown into pieces that Slack takes: each within a length, cut where reading allows it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise

from markdown_it.token import Token

from bot.neutral import BREAK, block_parser, clean, neutral
from bot.table import read_table

MOST_BLOCKS = 40
"""Slack turns one `markdown` block into several and allows 50 blocks in a message; ours take the rest."""

SHORTEST_PIECE = 200
"""Characters; below that a fence or a table's heading would leave no room for what is in it."""

_LONGEST_WORDS = 400
_LONGEST_INFO = 40
_UNREAD_BEYOND = 4
_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+")
_DASHES = re.compile(r"[-:|]+[ \t]*[-:|]")
_WORD = re.compile(r"\[[^\[\]\n]{0,300}\]\([^()\s]{0,2000}\)\s*|\S+\s*|\s+")


class _Kind(Enum):
    TEXT = auto()
    HEADING = auto()
    RULE = auto()
    LIST = auto()
    TABLE = auto()
    CODE = auto()


@dataclass(frozen=True, slots=True)
class _Block:
    """A part of the answer that stays together where it can, and the places where it may be cut."""

    kind: _Kind
    units: tuple[str, ...]
    """What is never cut; each ends with its own line end or blank."""
    head: str = ""
    """Begins the block and every piece that goes on with it: a fence and its language, a table's heading."""
    tail: str = ""
    """Ends the block."""
    close: str = ""
    """Ends a piece in the middle of the block."""
    instead: tuple["_Block", ...] = ()
    """The same content in a form that may be cut (a list) or may stand beside a table (a table)."""

    @property
    def text(self) -> str:
        return self.head + "".join(self.units) + self.tail


def first_piece(markdown: str, limit: int) -> tuple[str, bool]:
    """The beginning of an answer that fits in `limit` characters, and whether anything was left out."""
    text = _trimmed(markdown)
    near = text[: limit * _UNREAD_BEYOND]
    cut = _pieces(near, limit)
    return next(cut, ""), len(near) < len(text) or next(cut, None) is not None


def pieces(markdown: str, limit: int) -> list[str]:
    """All of an answer, made harmless, in pieces of at most `limit` characters; at least SHORTEST_PIECE.

    A piece ends between Markdown blocks where that leaves it reasonably full, else between list items,
    table rows (the heading is repeated), lines of code (the fence is closed and opened again) or words.
    A word longer than a piece is the only thing cut anywhere. Each piece has at most one table, which
    is all that Slack surely takes (`only_one_table_allowed`); another becomes aligned text in a fence.
    """
    return list(_pieces(_trimmed(markdown), limit))


def _trimmed(markdown: str) -> str:
    return _BLANK_LINES.sub("", clean(markdown)).rstrip()


def _pieces(text: str, limit: int) -> Iterator[str]:
    if limit < SHORTEST_PIECE:
        raise ValueError(f"A piece needs at least {SHORTEST_PIECE} characters.")
    page = _Page(limit)
    for block in _blocks(neutral(text), limit):
        yield from page.add(block)
    yield from page.turn()


class _Page:
    """The piece being filled."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._texts: list[str] = []
        self._length = 0
        self._kind: _Kind | None = None
        self._blocks = 0
        self._has_table = False

    def add(self, block: _Block) -> Iterator[str]:
        """Put the block here or on the next page; yields the pages that are full."""
        if block.kind is _Kind.TABLE and self._has_table and self._fits(block.instead[0]):
            block = block.instead[0]
        if self._fits(block):
            self._put(block.kind, block.text)
        elif self._length > self._limit // 4 and len(block.text) <= self._limit:
            yield from self.turn(keep_heading=True)
            yield from self.add(block)
        elif block.instead and block.kind is not _Kind.TABLE:
            for part in block.instead:
                yield from self.add(part)
        else:
            yield from self._fill(block)

    def _fill(self, block: _Block) -> Iterator[str]:
        if not self._has_room_for(block.kind):
            yield from self.turn()
        written = block.head
        for unit in block.units:
            if not self._holds(written + unit, block):
                begun = written != block.head
                if begun:
                    self._put(block.kind, written.rstrip("\n") + "\n" + block.close)
                yield from self.turn(keep_heading=not begun)
                if not self._holds(block.head + unit, block):
                    yield from self.turn()
                written = block.head
                unit = unit if block.head else _as_beginning(unit)
            written += unit
        self._put(block.kind, written + block.tail)

    def turn(self, *, keep_heading: bool = False) -> Iterator[str]:
        """Begin a new page; a heading that would end this one may go over to the next."""
        kept = ""
        if keep_heading and self._kind is _Kind.HEADING and len(self._texts) > 1:
            kept = self._texts.pop()
        page = "".join(self._texts).strip("\n")
        self._texts, self._length, self._blocks = [], 0, 0
        self._kind, self._has_table = None, False
        if kept:
            self._put(_Kind.HEADING, kept)
        if page.strip():
            yield page

    def _holds(self, text: str, block: _Block) -> bool:
        ending = max(len(block.tail), len(block.close) + 1)
        return self._length + len(text) + ending <= self._limit

    def _fits(self, block: _Block) -> bool:
        return self._length + len(block.text) <= self._limit and self._has_room_for(block.kind)

    def _has_room_for(self, kind: _Kind) -> bool:
        if kind is _Kind.TABLE and self._has_table:
            return False
        return self._blocks + self._slack_blocks(kind) <= MOST_BLOCKS

    def _slack_blocks(self, kind: _Kind) -> int:
        """How many blocks more Slack makes of the page with this: what is only text stays in one."""
        running = (_Kind.TEXT, _Kind.CODE)
        return 0 if kind in running and self._kind in running else 1

    def _put(self, kind: _Kind, text: str) -> None:
        self._blocks += self._slack_blocks(kind)
        self._has_table = self._has_table or kind is _Kind.TABLE
        self._texts.append(text)
        self._length += len(text)
        self._kind = kind


def _as_beginning(unit: str) -> str:
    """What stood in the middle of a line or list, so that it does not begin code at the top of a piece."""
    unit = unit.lstrip(" \t")
    return BREAK + unit if unit.startswith(("```", "~~~")) else unit


def _blocks(text: str, limit: int) -> Iterator[_Block]:
    """The answer's outermost blocks in order; together they hold every line of it."""
    lines = text.splitlines(keepends=True)
    tokens = block_parser.parse(text)
    outer = [i for i, token in enumerate(tokens) if token.level == 0 and token.map and token.nesting >= 0]
    starts = [*[_span(tokens[i])[0] for i in outer], len(lines)]
    yield from _between(lines[: starts[0]], limit)
    for (own, following), after in zip(pairwise([*outer, len(tokens)]), starts[1:], strict=True):
        first, end = _span(tokens[own])
        gap = lines[end:after]
        yield _block(tokens[own:following], lines[first:end], limit, "\n" if gap else "")
        yield from _between(gap, limit)


def _between(lines: list[str], limit: int) -> Iterator[_Block]:
    """What the parser tells nothing of: blank lines, and the addresses that links refer to."""
    if "".join(lines).strip():
        yield _text(_Kind.TEXT, lines, limit)


def _span(token: Token) -> tuple[int, int]:
    first, end = token.map or (0, 0)
    return first, end


def _block(tokens: list[Token], lines: list[str], limit: int, gap: str) -> _Block:
    match tokens[0].type:
        case "heading_open":
            return _text(_Kind.HEADING, lines, limit, gap)
        case "hr":
            return _text(_Kind.RULE, lines, limit, gap)
        case "fence" | "code_block":
            return _code(tokens[0].content, tokens[0].info, limit, gap)
        case "table_open":
            return _table(lines, limit, gap)
        case "bullet_list_open" | "ordered_list_open":
            return _container(_Kind.LIST, tokens, lines, limit, gap)
        case "blockquote_open":
            return _container(_Kind.TEXT, tokens, lines, limit, gap)
        case _:
            return _text(_Kind.TEXT, lines, limit, gap)


def _text(kind: _Kind, lines: list[str], limit: int, gap: str = "") -> _Block:
    longest = min(_LONGEST_WORDS, limit - 2)
    units = [unit for line in lines for unit in _cut(line, longest)]
    return _Block(kind, tuple(units), tail=gap)


def _cut(line: str, longest: int) -> Iterator[str]:
    """The line in parts of at most `longest` characters, cut between words and not inside a link."""
    if len(line) <= longest:
        yield line
        return
    part = ""
    for word in _WORD.findall(line):
        if part and len(part) + len(word) > longest:
            yield part
            part = ""
        while len(word) > longest:
            yield word[:longest]
            word = word[longest:]
        part += word
    if part:
        yield part


def _code(content: str, info: str, limit: int, gap: str) -> _Block:
    """Code in a fence of our own, which nothing inside can end, whether or not the source closed its own."""
    info = info.strip().replace("`", "'")
    if len(info) > _LONGEST_INFO:
        content, info = f"{info}\n{content}", ""
    head, close = f"```{info}\n", "```\n"
    content = content.replace("```", f"`{BREAK}`{BREAK}`")
    if content and not content.endswith("\n"):
        content += "\n"
    room = limit - len(head) - len(close) - 2
    units = [unit for line in content.splitlines(keepends=True) for unit in _cut(line, room)]
    return _Block(_Kind.CODE, tuple(units), head, close + gap, close)


def _table(lines: list[str], limit: int, gap: str) -> _Block:
    table = read_table(lines)
    code = _code(table.aligned(), "", limit, gap)
    if not table.can_be_drawn:
        return code
    head, rows = table.markdown_heading(), table.markdown_rows()
    if max(map(len, [head, *rows])) > limit // 3:
        return code
    return _Block(_Kind.TABLE, tuple(rows), head, gap, instead=(code,))


def _container(kind: _Kind, tokens: list[Token], lines: list[str], limit: int, gap: str) -> _Block:
    """A list or quote. Where it must be cut, code inside it becomes code of its own."""
    origin, _ = _span(tokens[0])
    lines = _without_tables(tokens, lines, origin)
    parts: list[_Block] = []
    done = 0
    for token in tokens:
        if token.type == "fence":
            first, end = (number - origin for number in _span(token))
            parts += [_text(kind, lines[done:first], limit), _code(token.content, token.info, limit, "")]
            done = end
    parts.append(_text(kind, lines[done:], limit, gap))
    return _Block(kind, tuple(lines), tail=gap, instead=tuple(parts))


def _without_tables(tokens: list[Token], lines: list[str], origin: int) -> list[str]:
    """The lines with tables inside a list or quote made plain: Slack may count them as tables too."""
    dashes = {_span(token)[0] + 1 - origin for token in tokens if token.type == "table_open"}
    return [
        _DASHES.sub(f"{BREAK}\\g<0>", line, count=1) if number in dashes else line
        for number, line in enumerate(lines)
    ]
