"""Slack's translation of a `markdown` block.

Slack stores a markdown block translated: a `header` per heading, a `table` per table, a `divider` per
rule, and one `rich_text` for each run of anything else; the message is held to 50 of those. The
reference says only that "one block may result in multiple blocks after translation"
(docs.slack.dev/reference/block-kit/blocks/markdown-block); what becomes what was measured with
slack_sdk 3.45 in October 2026 by github.com/duqaXxX/code-with-slack (docs/CHANGELOG.md).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
_TRAILING_HASHES = re.compile(r"(?:^|[ \t]+)#+[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
_RULE = re.compile(r" {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_DELIMITERS = re.compile(r" {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_CONTAINER = re.compile(r" {0,3}(?:>|[-*+][ \t]|\d{1,9}[.)][ \t])")


@dataclass(frozen=True, slots=True)
class Piece:
    """One stored block. `rows` and `columns` count a table's; `characters` is the text in its cells, or of a header;
    `empty_cells` counts cells without text, those that a row lacks among them."""

    kind: Literal["header", "divider", "table", "rich_text"]
    rows: int = 0
    columns: int = 0
    characters: int = 0
    empty_cells: int = 0


def translate(text: str) -> list[Piece]:
    """The blocks that Slack stores for a markdown text, in order. Linear in its length."""
    pieces: list[Piece] = []
    for piece in _pieces(text.expandtabs(4).splitlines()):
        if piece.kind != "rich_text" or not pieces or pieces[-1].kind != "rich_text":
            pieces.append(piece)
    return pieces


def _pieces(lines: list[str]) -> Iterator[Piece]:
    prose = Piece("rich_text")
    at = 0
    while at < len(lines):
        line = lines[at]
        following = lines[at + 1] if at + 1 < len(lines) else ""
        if fence := _FENCE.match(line):
            yield prose
            at = _after_fence(lines, at + 1, fence.group(1))
        elif not line.strip():
            at += 1
        elif heading := _HEADING.match(line):
            yield Piece("header", characters=len(_TRAILING_HASHES.sub("", line[heading.end() :]).strip()))
            at += 1
        elif _RULE.match(line):
            yield Piece("divider")
            at += 1
        elif _starts_table(line, following):
            table, at = _table(lines, at)
            yield table
        elif _CONTAINER.match(line) or line.startswith("    "):
            yield prose
            at += 1
        else:
            start = at
            underlined, at = _paragraph(lines, at)
            characters = sum(len(line.strip()) + 1 for line in lines[start : at - 1]) - 1
            yield Piece("header", characters=characters) if underlined else prose


def _paragraph(lines: list[str], at: int) -> tuple[bool, int]:
    """Whether the paragraph that starts here is underlined, which makes it a heading, and where it ends."""
    at += 1
    while at < len(lines) and lines[at].strip():
        if _UNDERLINE.match(lines[at]):
            return True, at + 1
        if _interrupts(lines[at]) or _starts_table(lines[at], lines[at + 1] if at + 1 < len(lines) else ""):
            break
        at += 1
    return False, at


def _interrupts(line: str) -> bool:
    return any(pattern.match(line) for pattern in (_HEADING, _RULE, _FENCE, _CONTAINER))


def _after_fence(lines: list[str], at: int, fence: str) -> int:
    closing = re.compile(rf" {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$")
    while at < len(lines) and not closing.match(lines[at]):
        at += 1
    return at + 1


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", inner)]


def _starts_table(line: str, following: str) -> bool:
    return (
        "|" in line
        and _DELIMITERS.match(following) is not None
        and not _CONTAINER.match(following)
        and len(_cells(line)) == len(_cells(following))
    )


def _table(lines: list[str], at: int) -> tuple[Piece, int]:
    head = _cells(lines[at])
    characters = sum(map(len, head))
    empty = head.count("")
    rows = 1
    at += 2
    while at < len(lines) and lines[at].strip() and not _ends_table(lines[at]):
        cells = _cells(lines[at])[: len(head)]
        characters += sum(map(len, cells))
        empty += cells.count("") + len(head) - len(cells)
        rows += 1
        at += 1
    return Piece("table", rows, len(head), characters, empty), at


def _ends_table(line: str) -> bool:
    return line.startswith("    ") or _interrupts(line)
