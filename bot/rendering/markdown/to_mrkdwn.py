"""Writes a document as mrkdwn. Tables become aligned text, with their links below.

Source of the syntax: docs.slack.dev/messaging/formatting-message-text.
"""

import re

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
from bot.rendering.markdown.tables import aligned

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
