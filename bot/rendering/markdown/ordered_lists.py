"""The numbers of a Markdown list's items, written out, so that a list that is cut goes on with the right one.

Markdown numbers a list from its first item only: the others may all say `1.`.
"""

import re
from collections import Counter
from collections.abc import Iterator

from markdown_it.token import Token

_MARKER = re.compile(r"(?:[-+*]|(\d{1,9})([.)]))(?=\s|$)")
_GREATEST = 999_999_999
"""Markdown takes no more digits. Source: spec.commonmark.org/0.31.2/#ordered-list-marker."""


def with_numbers(tokens: list[Token], lines: list[str], origin: int) -> list[str]:
    """The lines of a list in which each item has the number that it is shown with, nested ones too.

    Args:
        tokens: the list's, from its opening on.
        lines: its source.
        origin: the number of the first of these lines in what was parsed.
    """
    lines = list(lines)
    for number, _, token, marker in _items(tokens, lines, origin):
        if int(token.info) != number <= _GREATEST:
            _write(lines, token, origin, marker, f"{number}{marker.group(2)}")
    return lines


def separately_numbered(tokens: list[Token], lines: list[str], origin: int) -> list[str]:
    """The lines of one item in which each ordered list has another mark than the one that it is in.

    An item that is cut may leave an inner list where the outer one goes on, and with the same mark they
    would be taken for one list, numbered as such.
    """
    lines = list(lines)
    own = tokens[0].markup
    marks = (")", ".") if own == ")" else (".", ")")
    for number, depth, token, marker in _items(tokens, lines, origin):
        mark = marks[(depth + (own in marks)) % 2 - 1]
        if marker.group() != f"{number}{mark}":
            _write(lines, token, origin, marker, f"{number}{mark}")
    return lines


def has_lists(tokens: list[Token]) -> bool:
    """Whether there is a numbered list in an item."""
    return any(token.type == "ordered_list_open" for token in tokens)


def has_lists_in_lists(tokens: list[Token]) -> bool:
    """Whether a numbered item has numbered lists in numbered lists, of which the innermost is marked as it is."""
    depth = deepest = 0
    for token in tokens:
        if token.type in ("ordered_list_open", "ordered_list_close"):
            depth += token.nesting
            deepest = max(deepest, depth)
    return tokens[0].markup in (".", ")") and deepest > 1


def _items(
    tokens: list[Token], lines: list[str], origin: int
) -> Iterator[tuple[int, int, Token, re.Match[str]]]:
    """Each numbered item of these lists: its number, how many numbered lists it is in, its token, and its
    mark as it stands in the line by now."""
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
    """The mark of the item that is the nth to begin on this line."""
    for number, marker in enumerate(_MARKER.finditer(line)):
        if number == nth:
            return marker
    return None


def _write(lines: list[str], token: Token, origin: int, marker: re.Match[str], mark: str) -> None:
    """Give the item another mark; a longer one moves the rest of the item to the right with it."""
    first, end = (number - origin for number in token.map or (origin, origin))
    line = lines[first]
    lines[first] = line[: marker.start()] + mark + line[marker.end() :]
    longer = len(mark) - len(marker.group())
    for number in range(first + 1, min(end, len(lines)) if longer > 0 else 0):
        if lines[number].strip():
            lines[number] = " " * longer + lines[number]
