"""Writes a document as mrkdwn. Tables become aligned text, with their links below.

Source of the syntax: docs.slack.dev/messaging/formatting-message-text.
"""

import re
import unicodedata
from collections.abc import Set as AbstractSet

from bot.rendering.markdown.document import (
    Block,
    Blocks,
    Break,
    Code,
    CodeBlock,
    Heading,
    Inline,
    Inlines,
    Link,
    List,
    Paragraph,
    Quote,
    Styled,
    Table,
    Text,
    links,
    words,
)
from bot.rendering.markdown.mrkdwn import BREAK, escape_code, escape_words, fenced

MOST_COLUMNS = 20
"""Most columns that are aligned, and that Slack draws.
Source: docs.slack.dev/reference/block-kit/blocks/table-block."""

_WIDEST_PADDED = 40
_MOST_GROWTH = 4
_DEEPEST_INDENT = 8
_MARKS = {"bold": "*", "italic": "_", "strike": "~"}
_EDGE = "\x00"
"""Marks the outer side of a formatting mark while a line is written. The text itself has no such character."""
_INSIDE_A_WORD = re.compile(rf"(?<=\w){_EDGE}+(?=[*_~])|(?<=[*_~]){_EDGE}+(?=\w)")
"""Where a mark touches a word from outside, so that Slack would ignore it."""


def to_mrkdwn(blocks: Blocks) -> str:
    """Write a document."""
    return "\n\n".join(map(_block, blocks))


def _block(block: Block) -> str:
    match block:
        case Paragraph(content):
            return _inlines(content)
        case Heading(content):
            return f"*{_inlines(content, is_bold=True)}*"
        case List():
            return "\n".join(_list_lines(block, 0))
        case Quote(inside):
            parts = [
                _block(part) if isinstance(part, CodeBlock) else _quoted(_block(part)) for part in inside
            ]
            return "\n> \n".join(parts)
        case CodeBlock(code):
            return fenced(code)
        case Table():
            found = [_link(link) for row in block.rows for cell in row for link in links(cell)]
            return "\n".join([fenced(text_of(block)), *[f"Links: {', '.join(found)}"] * bool(found)])
    return "———"


def text_of(table: Table) -> str:
    """The table as aligned text."""
    return aligned([[words(cell) for cell in row] for row in table.rows], table.right)


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.split("\n"))


def _list_lines(block: List, depth: int) -> list[str]:
    lines: list[str] = []
    indent = "    " * min(depth, _DEEPEST_INDENT)
    for number, item in enumerate(block.items, start=block.start or 0):
        mark = "• " if block.start is None else f"{number}. "
        for part in item or (Paragraph(()),):
            if mark and isinstance(part, List | CodeBlock):
                lines.append(f"{indent}{mark}".rstrip())
                mark = ""
            if isinstance(part, List):
                lines += _list_lines(part, depth + 1)
            elif isinstance(part, CodeBlock):
                lines.append(fenced(part.code))
            else:
                for line in _block(part).split("\n"):
                    lines.append(f"{indent}{mark or '   '}{line}".rstrip())
                    mark = ""
    return lines


def _inlines(content: Inlines, *, is_bold: bool = False) -> str:
    written = "".join(_inline(inline, is_bold=is_bold) for inline in content)
    return _INSIDE_A_WORD.sub(BREAK, written).replace(_EDGE, "") if _EDGE in written else written


def _inline(inline: Inline, *, is_bold: bool) -> str:
    match inline:
        case Text(said):
            return escape_words(said)
        case Code(code):
            return f"`{escape_code(code.replace('`', chr(39)))}`"
        case Break():
            return "\n"
        case Styled(style, content):
            inside = "".join(_inline(part, is_bold=is_bold or style == "bold") for part in content)
            mark = "" if style == "bold" and is_bold else _MARKS[style]
            return f"{_EDGE}{mark}{inside}{mark}{_EDGE}" if mark and inside.strip() else inside
        case Link():
            return _link(inline)


def _link(link: Link) -> str:
    said, address = words(link.content), link.address.replace("&", "&amp;")
    return f"<{address}>" if said == link.address else f"<{address}|{escape_words(said).replace('|', '¦')}>"


def aligned(rows: list[list[str]], right: AbstractSet[int]) -> str:
    """Write rows of one length, the heading first, with a line under it. Cells are padded, unless that makes the text
    much longer. `right`: the columns that are aligned to the right."""
    if len(rows[0]) > MOST_COLUMNS:
        return _unpadded(rows)
    sizes = [[_width(cell) for cell in row] for row in rows]
    widths = [min(_WIDEST_PADDED, max(column)) for column in zip(*sizes, strict=True)]
    written = sum(len(cell) + 1 for row in rows for cell in row)
    if len(rows) * sum(widths) > _MOST_GROWTH * written + 1_000:
        return _unpadded(rows)
    lines = [
        " | ".join(
            f"{' ' * (width - size)}{cell}" if at in right else f"{cell}{' ' * (width - size)}"
            for at, (cell, size, width) in enumerate(zip(row, row_sizes, widths, strict=True))
        ).rstrip()
        for row, row_sizes in zip(rows, sizes, strict=True)
    ]
    return "\n".join([lines[0], "-+-".join("-" * width for width in widths), *lines[1:]])


def _unpadded(rows: list[list[str]]) -> str:
    return "\n".join(" | ".join(row).rstrip() for row in rows)


def _width(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
