"""Where an answer's Markdown may be cut: its blocks in order, what is never cut in each, and how it goes on."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import pairwise

from markdown_it.token import Token

from bot.rendering.markdown.ordered_lists import (
    has_lists,
    has_lists_in_lists,
    separately_numbered,
    with_numbers,
)
from bot.rendering.markdown.sanitize import BREAK, block_parser
from bot.rendering.markdown.tables import Table, read_table
from bot.rendering.markdown.wrap import wrap

LONGEST_HEADING = 150
"""Characters; Slack makes a header block of each heading.
Source: docs.slack.dev/reference/block-kit/blocks/header-block."""

_LONGEST_INFO = 40
_DASHES = re.compile(r"[-:|]+[ \t]*[-:|]")
_BEFORE_A_FENCE = re.compile(r".{0,100}?(?=```|~~~)")
_LONGEST_QUOTE = 20
_ROOM_TO_GO_ON = 24
"""Characters that a piece may need to go on in the middle of a line."""
_STARTS_MARKUP = re.compile(
    r"```|~~~|>|\[[^\]\n]{1,300}\]:|(?:[-+*]|#{1,6}|\d{1,9}[.)])(?!\S)|([-*_=])(?:[ \t]*\1)*[ \t]*$"
)
_BETWEEN_LISTS = f"\n{BREAK}\n\n"
"""Something that nobody sees, and that ends a list."""
_QUOTE = re.compile(r"(?: {0,3}> ?)+")


class Kind(Enum):
    """What Slack makes of a block, as far as it matters to how many blocks a piece becomes."""

    TEXT = auto()
    HEADING = auto()
    RULE = auto()
    LIST = auto()
    TABLE = auto()
    CODE = auto()


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the answer that stays together where it can, and the places where it may be cut."""

    kind: Kind
    units: tuple[str, ...]
    """What is never cut; each ends with its own line end or blank."""
    head: str = ""
    """Begins the block and every piece that goes on with it: a fence and its language, a table's heading."""
    tail: str = ""
    """Ends the block."""
    close: str = ""
    """Ends a piece in the middle of the block."""
    instead: tuple["Segment", ...] = ()
    """The same content in a form that may be cut (a list) or may stand beside a table (a table)."""

    @property
    def text(self) -> str:
        """The whole block."""
        return self.head + "".join(self.units) + self.tail

    def is_line(self, at: int) -> bool:
        """Whether the unit at that place begins a line."""
        return not at or self.units[at - 1].endswith("\n")

    def beginning(self, at: int) -> str:
        """The unit at that place as it reads at the beginning of a piece."""
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
    """Takes from a list's lines, one by one, the indentation of what they stood under, which is elsewhere now."""

    def __init__(self, *, at_line_start: bool = True) -> None:
        self._indent: int | None = None
        self._at_line_start = at_line_start

    def __call__(self, unit: str) -> str:
        """The next line, or part of a line."""
        at_line_start, self._at_line_start = self._at_line_start, unit.endswith("\n")
        if not at_line_start or not unit.strip():
            return unit
        own = len(unit) - len(unit.lstrip(" \t"))
        self._indent = own if self._indent is None else min(self._indent, own)
        return unit[self._indent :]


def segments(text: str, limit: int) -> Iterator[Segment]:
    """The answer's outermost blocks in order; together they hold every line of it.

    Args:
        text: Markdown that is `neutral`.
        limit: how long a piece may be, in characters.
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
    """What the parser tells nothing of: blank lines, and the addresses that links refer to."""
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
    """A heading; text alone, or as it was typed, where Slack's header block would not take it."""
    if not words.strip():
        return _text(Kind.TEXT, [f"{BREAK}{line.lstrip()}" for line in lines], limit, gap)
    if len(words) > LONGEST_HEADING:
        return _text(Kind.TEXT, [_as_beginning(line) + "\n" for line in words.splitlines()], limit, gap)
    return _text(Kind.HEADING, lines, limit, gap)


def _text(kind: Kind, lines: list[str], limit: int, gap: str = "") -> Segment:
    longest = limit - _ROOM_TO_GO_ON
    return Segment(kind, tuple(unit for line in lines for unit in wrap(line, longest)), tail=gap)


def _as_beginning(unit: str) -> str:
    """What stood in the middle of a line, so that it does not become a list, heading or code at its beginning."""
    unit = unit.lstrip(" \t")
    return BREAK + unit if _STARTS_MARKUP.match(unit) else unit


def _code(content: str, info: str, limit: int, gap: str) -> Segment:
    """Code in a fence of our own, which nothing inside can end, whether or not the source closed its own."""
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
    """The table as aligned text in a fence; every piece of it begins with the heading."""
    code = _code(table.aligned(), "", limit, gap)
    heading = "".join(code.units[: len(code.units) - len(table.rows)])
    if len(code.units) != table.aligned().count("\n") or len(heading) > limit // 3:
        return code
    return replace(code, head=code.head + heading, units=code.units[-len(table.rows) :] if table.rows else ())


def _list(tokens: list[Token], lines: list[str], limit: int, gap: str) -> Segment:
    """A list, cut between its items where these are not too long, and numbered as if it were whole."""
    origin, _ = _span(tokens[0])
    lines = with_numbers(tokens, _without_tables(tokens, lines, origin), origin)
    own = [i for i, token in enumerate(tokens) if token.type == "list_item_open" and token.level == 1]
    starts = [*[_span(tokens[i])[0] - origin for i in own], len(lines)]
    items = [
        _item(tokens[i:following], lines[start:end], limit, origin + start)
        for (i, following), (start, end) in zip(pairwise([*own, len(tokens)]), pairwise(starts), strict=True)
    ]
    if (cut_last := items[-1].instead) and has_lists(tokens[own[-1] :]):
        # It may leave a list of its own where the block ends, and the next one must not go on with that.
        items[-1] = replace(items[-1], instead=_with_tail(list(cut_last), _BETWEEN_LISTS))
    return Segment(Kind.LIST, tuple(lines), tail=gap, instead=_with_tail(items, gap))


def _item(tokens: list[Token], lines: list[str], limit: int, origin: int) -> Segment:
    if sum(map(len, lines)) <= limit // 2:
        return Segment(Kind.LIST, ("".join(lines),))
    parts = _parts(Kind.LIST, tokens, separately_numbered(tokens, lines, origin), origin, limit)
    # Something between keeps the next item from going on with the last lines, or the last list, of this one.
    between = _BETWEEN_LISTS if has_lists_in_lists(tokens) else "\n"
    return Segment(Kind.LIST, tuple(lines), instead=_with_tail(parts, between))


def _with_tail(parts: list[Segment], tail: str) -> tuple[Segment, ...]:
    return (*parts[:-1], replace(parts[-1], tail=parts[-1].tail + tail))


def _parts(kind: Kind, tokens: list[Token], lines: list[str], origin: int, limit: int) -> list[Segment]:
    """An item or quote that must be cut, in parts: code inside it becomes code of its own."""
    parts: list[Segment] = []
    done = 0
    for token in tokens:
        if token.type == "fence":
            first, end = (number - origin for number in _span(token))
            mark = _BEFORE_A_FENCE.match(lines[first])
            before = [*lines[done:first], *([f"{mark.group().rstrip()}\n"] if mark else [])]
            if "".join(before).strip(" >\n"):
                parts.append(_text(kind, _going_on(before, done), limit))
            parts.append(_code(token.content, token.info, limit, ""))
            done = end
    if "".join(lines[done:]).strip() or not parts:
        parts.append(_text(kind, _going_on(lines[done:], done), limit))
    return parts


def _going_on(lines: list[str], done: int) -> list[str]:
    return [*map(Dedent(), lines)] if done else lines


def _without_tables(tokens: list[Token], lines: list[str], origin: int) -> list[str]:
    """The lines with tables inside a list or quote made plain: Slack may count them as tables too."""
    dashes = {_span(token)[0] + 1 - origin for token in tokens if token.type == "table_open"}
    return [
        _DASHES.sub(f"{BREAK}\\g<0>", line, count=1) if number in dashes else line
        for number, line in enumerate(lines)
    ]
