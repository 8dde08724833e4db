"""The blocks of a Markdown text, and where each may be cut.

The items of ordered lists get explicit numbers: Markdown numbers a list from its first item only, and a list that is
cut must continue with the right one.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import pairwise

from markdown_it.token import Token

from bot.rendering.markdown.sanitize import BREAK, block_parser
from bot.rendering.markdown.tables import Table, read_table
from bot.rendering.markdown.wrap import wrap

LONGEST_HEADING = 150
"""Most characters. Slack turns each heading into a header block.
Source: docs.slack.dev/reference/block-kit/blocks/header-block."""

_LONGEST_INFO = 40
_DASHES = re.compile(r"[-:|]+[ \t]*[-:|]")
_BEFORE_A_FENCE = re.compile(r".{0,100}?(?=```|~~~)")
_LONGEST_QUOTE = 20
_ROOM_TO_GO_ON = 24
"""Characters that a piece may need to continue in the middle of a line."""
_STARTS_MARKUP = re.compile(
    r"```|~~~|>|\[[^\]\n]{1,300}\]:|(?:[-+*]|#{1,6}|\d{1,9}[.)])(?!\S)|([-*_=])(?:[ \t]*\1)*[ \t]*$"
)
_BETWEEN_LISTS = f"\n{BREAK}\n\n"
"""Invisible text that ends a list."""
_QUOTE = re.compile(r"(?: {0,3}> ?)+")

_LIST_MARKER = re.compile(r"(?:[-+*]|(\d{1,9})([.)]))(?=\s|$)")
_GREATEST_NUMBER = 999_999_999
"""Markdown allows no more digits. Source: spec.commonmark.org/0.31.2/#ordered-list-marker."""


class Kind(Enum):
    """Kinds of blocks that Slack counts differently."""

    TEXT = auto()
    HEADING = auto()
    RULE = auto()
    LIST = auto()
    TABLE = auto()
    CODE = auto()


@dataclass(frozen=True, slots=True)
class Segment:
    """A block that stays whole if possible, and the places where it may be cut."""

    kind: Kind
    units: tuple[str, ...]
    """Parts that are never cut; each ends with its own line end or blank."""
    head: str = ""
    """Start of the block and of every piece that continues it: a fence, a table's heading."""
    tail: str = ""
    """End of the block."""
    close: str = ""
    """End of a piece in the middle of the block."""
    instead: tuple["Segment", ...] = ()
    """The same content, cuttable (a list), or allowed next to another table (a table)."""

    @property
    def text(self) -> str:
        """The whole block."""
        return self.head + "".join(self.units) + self.tail

    def is_line(self, at: int) -> bool:
        """Whether this unit begins a line."""
        return not at or self.units[at - 1].endswith("\n")

    def beginning(self, at: int) -> str:
        """Return this unit as written at the start of a piece."""
        unit = self.units[at]
        if self.head or self.is_line(at):
            return unit
        start = at - 1
        while not self.is_line(start):
            start -= 1
        quote = _QUOTE.match(self.units[start])
        mark = quote.group() if quote and len(quote.group()) <= _LONGEST_QUOTE else ""
        return mark + _as_beginning(unit)


class Dedent:
    """Removes the indentation of a list item from its lines, one by one, when its start is in another piece."""

    def __init__(self, *, at_line_start: bool = True) -> None:
        self._indent: int | None = None
        self._at_line_start = at_line_start

    def __call__(self, unit: str) -> str:
        """Dedent the next line, or part of a line."""
        at_line_start, self._at_line_start = self._at_line_start, unit.endswith("\n")
        if not at_line_start or not unit.strip():
            return unit
        own = len(unit) - len(unit.lstrip(" \t"))
        self._indent = own if self._indent is None else min(self._indent, own)
        return unit[self._indent :]


def segments(text: str, limit: int) -> Iterator[Segment]:
    """Yield the outermost blocks in order. Together they hold every line.

    Args:
        text: sanitized Markdown.
        limit: most characters of a piece.
    """
    lines = text.splitlines(keepends=True)
    tokens = block_parser.parse(text)
    outer = [i for i, token in enumerate(tokens) if token.level == 0 and token.map and token.nesting >= 0]
    starts = [*[_span(tokens[i])[0] for i in outer], len(lines)]
    yield from _between(lines[: starts[0]], limit)
    for (own, following), after in zip(pairwise([*outer, len(tokens)]), starts[1:], strict=True):
        first, end = _span(tokens[own])
        gap = lines[end:after]
        yield _cuttable(tokens[own:following], lines[first:end], limit, "\n" if gap else "")
        yield from _between(gap, limit)


def _between(lines: list[str], limit: int) -> Iterator[Segment]:
    """Yield lines that are in no token: the addresses of reference links."""
    if "".join(lines).strip():
        yield _text(Kind.TEXT, lines, limit)


def _span(token: Token) -> tuple[int, int]:
    first, end = token.map or (0, 0)
    return first, end


def _cuttable(tokens: list[Token], lines: list[str], limit: int, gap: str) -> Segment:
    match tokens[0].type:
        case "heading_open":
            return _heading(tokens[1].content, lines, limit, gap)
        case "hr":
            return _text(Kind.RULE, lines, limit, gap)
        case "fence" | "code_block":
            return _code(tokens[0].content, tokens[0].info, limit, gap)
        case "table_open":
            return _table(lines, limit, gap)
        case "bullet_list_open" | "ordered_list_open":
            return _list(tokens, lines, limit, gap)
        case "blockquote_open":
            origin, _ = _span(tokens[0])
            lines = _without_tables(tokens, lines, origin)
            parts = _parts(Kind.TEXT, tokens, lines, origin, limit)
            return Segment(Kind.TEXT, tuple(lines), tail=gap, instead=_with_tail(parts, gap))
        case _:
            return _text(Kind.TEXT, lines, limit, gap)


def _heading(words: str, lines: list[str], limit: int, gap: str) -> Segment:
    """A heading, or text if Slack's header block would refuse it."""
    if not words.strip():
        return _text(Kind.TEXT, [f"{BREAK}{line.lstrip()}" for line in lines], limit, gap)
    if len(words) > LONGEST_HEADING:
        return _text(Kind.TEXT, [_as_beginning(line) + "\n" for line in words.splitlines()], limit, gap)
    return _text(Kind.HEADING, lines, limit, gap)


def _text(kind: Kind, lines: list[str], limit: int, gap: str = "") -> Segment:
    longest = limit - _ROOM_TO_GO_ON
    return Segment(kind, tuple(unit for line in lines for unit in wrap(line, longest)), tail=gap)


def _as_beginning(unit: str) -> str:
    """Prevent text from the middle of a line from becoming a list, heading or code at its start."""
    unit = unit.lstrip(" \t")
    return BREAK + unit if _STARTS_MARKUP.match(unit) else unit


def _code(content: str, info: str, limit: int, gap: str) -> Segment:
    """Code in a new fence that nothing inside can close."""
    info = info.strip().replace("`", "'")
    if len(info) > _LONGEST_INFO:
        content, info = f"{info}\n{content}", ""
    head, close = f"```{info}\n", "```\n"
    content = content.replace("```", f"`{BREAK}`{BREAK}`")
    if content and not content.endswith("\n"):
        content += "\n"
    room = limit - len(head) - len(close) - 2
    units = [unit for line in content.splitlines(keepends=True) for unit in wrap(line, room)]
    return Segment(Kind.CODE, tuple(units), head, close + gap, close)


def _table(lines: list[str], limit: int, gap: str) -> Segment:
    table = read_table(lines)
    code = _aligned(table, limit, gap)
    if not table.can_be_drawn:
        return code
    head, rows = table.markdown_heading(), table.markdown_rows()
    if max(map(len, [head, *rows])) > limit // 3:
        return code
    return Segment(Kind.TABLE, tuple(rows), head, gap, instead=(code,))


def _aligned(table: Table, limit: int, gap: str) -> Segment:
    """The table as aligned text in a fence. Every piece begins with the heading."""
    code = _code(table.aligned(), "", limit, gap)
    heading = "".join(code.units[: len(code.units) - len(table.rows)])
    if len(code.units) != table.aligned().count("\n") or len(heading) > limit // 3:
        return code
    return replace(code, head=code.head + heading, units=code.units[-len(table.rows) :] if table.rows else ())


def _list(tokens: list[Token], lines: list[str], limit: int, gap: str) -> Segment:
    """A list, cut between its items where possible, and numbered throughout."""
    origin, _ = _span(tokens[0])
    lines = _with_numbers(tokens, _without_tables(tokens, lines, origin), origin)
    own = [i for i, token in enumerate(tokens) if token.type == "list_item_open" and token.level == 1]
    starts = [*[_span(tokens[i])[0] - origin for i in own], len(lines)]
    items = [
        _item(tokens[i:following], lines[start:end], limit, origin + start)
        for (i, following), (start, end) in zip(pairwise([*own, len(tokens)]), pairwise(starts), strict=True)
    ]
    if (cut_last := items[-1].instead) and _has_lists(tokens[own[-1] :]):
        # The cut item may end with an inner list, which the next list must not continue.
        items[-1] = replace(items[-1], instead=_with_tail(list(cut_last), _BETWEEN_LISTS))
    return Segment(Kind.LIST, tuple(lines), tail=gap, instead=_with_tail(items, gap))


def _item(tokens: list[Token], lines: list[str], limit: int, origin: int) -> Segment:
    if sum(map(len, lines)) <= limit // 2:
        return Segment(Kind.LIST, ("".join(lines),))
    parts = _parts(Kind.LIST, tokens, _separately_numbered(tokens, lines, origin), origin, limit)
    # Keeps the next item from continuing the last lines, or the last list, of this one.
    between = _BETWEEN_LISTS if _has_nested_lists(tokens) else "\n"
    return Segment(Kind.LIST, tuple(lines), instead=_with_tail(parts, between))


def _with_tail(parts: list[Segment], tail: str) -> tuple[Segment, ...]:
    return (*parts[:-1], replace(parts[-1], tail=parts[-1].tail + tail))


def _parts(kind: Kind, tokens: list[Token], lines: list[str], origin: int, limit: int) -> list[Segment]:
    """Cut an item or quote into parts. Code inside becomes a block of its own."""
    parts: list[Segment] = []
    done = 0
    for token in tokens:
        if token.type == "fence":
            first, end = (number - origin for number in _span(token))
            mark = _BEFORE_A_FENCE.match(lines[first])
            before = [*lines[done:first], *([f"{mark.group().rstrip()}\n"] if mark else [])]
            if "".join(before).strip(" >\n"):
                parts.append(_text(kind, _dedented(before, done), limit))
            parts.append(_code(token.content, token.info, limit, ""))
            done = end
    if "".join(lines[done:]).strip() or not parts:
        parts.append(_text(kind, _dedented(lines[done:], done), limit))
    return parts


def _dedented(lines: list[str], done: int) -> list[str]:
    return [*map(Dedent(), lines)] if done else lines


def _without_tables(tokens: list[Token], lines: list[str], origin: int) -> list[str]:
    """Turn tables inside a list or quote into text: Slack may count them as tables, too."""
    dashes = {_span(token)[0] + 1 - origin for token in tokens if token.type == "table_open"}
    return [
        _DASHES.sub(f"{BREAK}\\g<0>", line, count=1) if number in dashes else line
        for number, line in enumerate(lines)
    ]


def _with_numbers(tokens: list[Token], lines: list[str], origin: int) -> list[str]:
    """Write the displayed number into each item of a list, also of nested ones.

    Args:
        tokens: of the list, from its opening on.
        lines: its source.
        origin: index of the first of these lines in the parsed text.
    """
    lines = list(lines)
    for number, _, token, marker in _items(tokens, lines, origin):
        if int(token.info) != number <= _GREATEST_NUMBER:
            _replace_marker(lines, token, origin, marker, f"{number}{marker.group(2)}")
    return lines


def _separately_numbered(tokens: list[Token], lines: list[str], origin: int) -> list[str]:
    """Give each ordered list in an item another mark, `.` or `)`, than the list around it.

    Where a cut item ends with an inner list, the outer list would otherwise continue it.
    """
    lines = list(lines)
    own = tokens[0].markup
    marks = (")", ".") if own == ")" else (".", ")")
    for number, depth, token, marker in _items(tokens, lines, origin):
        mark = marks[(depth + (own in marks)) % 2 - 1]
        if marker.group() != f"{number}{mark}":
            _replace_marker(lines, token, origin, marker, f"{number}{mark}")
    return lines


def _has_lists(tokens: list[Token]) -> bool:
    """Whether an item contains an ordered list."""
    return any(token.type == "ordered_list_open" for token in tokens)


def _has_nested_lists(tokens: list[Token]) -> bool:
    """Whether an ordered item contains two levels of ordered lists, so that marks repeat."""
    depth = deepest = 0
    for token in tokens:
        if token.type in ("ordered_list_open", "ordered_list_close"):
            depth += token.nesting
            deepest = max(deepest, depth)
    return tokens[0].markup in (".", ")") and deepest > 1


def _items(
    tokens: list[Token], lines: list[str], origin: int
) -> Iterator[tuple[int, int, Token, re.Match[str]]]:
    """Yield number, depth in ordered lists, token and current marker of each ordered item."""
    next_numbers: list[int | None] = []
    begun_on_line: Counter[int] = Counter()
    for token in tokens:
        match token.type:
            case "ordered_list_open":
                next_numbers.append(int(token.attrs.get("start", 1)))
            case "bullet_list_open":
                next_numbers.append(None)
            case "ordered_list_close" | "bullet_list_close" if next_numbers:
                next_numbers.pop()
            case "list_item_open" if token.map:
                line = token.map[0] - origin
                marker = _marker(lines[line], begun_on_line[line])
                begun_on_line[line] += 1
                if not next_numbers or (number := next_numbers[-1]) is None:
                    continue
                next_numbers[-1] = number + 1
                if marker is not None and marker.group(1):
                    depth = len(next_numbers) - next_numbers.count(None)
                    yield number, depth, token, marker


def _marker(line: str, nth: int) -> re.Match[str] | None:
    """The marker of the nth item that begins on this line."""
    for number, marker in enumerate(_LIST_MARKER.finditer(line)):
        if number == nth:
            return marker
    return None


def _replace_marker(lines: list[str], token: Token, origin: int, marker: re.Match[str], mark: str) -> None:
    """Replace the marker of an item. A longer one moves the rest of the item to the right."""
    first, end = (number - origin for number in token.map or (origin, origin))
    line = lines[first]
    lines[first] = line[: marker.start()] + mark + line[marker.end() :]
    longer = len(mark) - len(marker.group())
    for number in range(first + 1, min(end, len(lines)) if longer > 0 else 0):
        if lines[number].strip():
            lines[number] = " " * longer + lines[number]
