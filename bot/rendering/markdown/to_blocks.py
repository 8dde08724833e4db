"""Writes a document as Slack's blocks: rich text, headers, dividers and tables.

These are what Slack itself makes of a `markdown` block. Made here, no text is parsed by Slack: there is nothing to
escape, nothing can mention a user, and code, numbers and addresses are copied as they are.
Source: docs.slack.dev/reference/block-kit/blocks/rich-text-block, table-block and header-block.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from bot.domain import Block as SlackBlock
from bot.rendering.blocks import header
from bot.rendering.markdown.document import (
    Block,
    Blocks,
    Break,
    Code,
    CodeBlock,
    Heading,
    Inlines,
    Link,
    List,
    Paragraph,
    Quote,
    Rule,
    Styled,
    Table,
    Text,
    links,
    words,
)
from bot.rendering.markdown.to_mrkdwn import MOST_COLUMNS, text_of

MOST_ROWS = 100
"""Most rows of a table, with its heading. Source: docs.slack.dev/reference/block-kit/blocks/table-block."""
LONGEST_HEADER = 150
"""Most characters. Source: docs.slack.dev/reference/block-kit/blocks/header-block."""

_DEEPEST_LIST = 8
"""Most steps of indentation, which Slack does not document."""
_EMPTY = "\u200b"
"""Content of an empty cell, which Slack refuses. Unlike a space it is not trimmed."""
_LANGUAGES = frozenset(
    "bash css diff go html java javascript json python r ruby shell sql typescript xml yaml".split()
)
_Element = dict[str, Any]


def to_blocks(blocks: Blocks, most_tables: int) -> tuple[SlackBlock, ...]:
    """Write a document. Tables after the first `most_tables`, and any beyond Slack's limits, become aligned text."""
    found: list[SlackBlock] = []
    elements: list[_Element] = []
    for block in (*blocks, None):
        own: SlackBlock | None = None
        match block:
            case Table(rows) if most_tables and len(rows) <= MOST_ROWS and len(rows[0]) <= MOST_COLUMNS:
                most_tables -= 1
                own = _table(block)
            case Heading(content) if len(words(content)) <= LONGEST_HEADER and not any(links(content)):
                own = header(words(content))
            case Rule():
                own = {"type": "divider"}
        if own is None and block is not None:
            elements += _elements(block, 0)
        elif elements:
            found.append({"type": "rich_text", "elements": _spaced(elements)})
            elements = []
        found += [own] if own else []
    return tuple(found)


def _elements(block: Block, border: int) -> list[_Element]:
    """The elements of a block. `border`: 1 in a quote."""
    match block:
        case Paragraph(content):
            kind = "rich_text_quote" if border else "rich_text_section"
            return [{"type": kind, "elements": _inlines(content)}]
        case Heading(content):
            return _elements(Paragraph((Styled("bold", content),)), border)
        case List():
            return _list(block, 0, border)
        case Quote(blocks):
            return [element for inner in blocks for element in _elements(inner, 1)]
        case CodeBlock(code, language):
            named = {"language": language.lower()} if language.lower() in _LANGUAGES else {}
            return [_preformatted(code) | named | ({"border": 1} if border else {})]
        case Table():
            found = [(Text(", "), link) for row in block.rows for cell in row for link in links(cell)]
            below = Paragraph((Text("Links: "), *[part for pair in found for part in pair][1:]))
            return [_preformatted(text_of(block)), *(_elements(below, border) if found else [])]
    return []


def _preformatted(code: str) -> _Element:
    return {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": code or _EMPTY}]}


def _list(block: List, depth: int, border: int) -> list[_Element]:
    """The elements of a list. Its items hold only text, so that code and inner lists interrupt it."""
    found: list[_Element] = []
    run: list[_Element] = []
    shape: _Element = {"type": "rich_text_list", "style": "ordered" if block.start else "bullet"}
    shape |= ({"indent": min(depth, _DEEPEST_LIST)} if depth else {}) | ({"border": 1} if border else {})
    for number, item in enumerate(block.items, start=block.start or 0):
        end = next(
            (at for at, part in enumerate(item) if not isinstance(part, Paragraph | Heading)), len(item)
        )
        mark: Inlines = (
            (Text(f"{number}. "),) if block.start == 0 else ()
        )  # Slack has no list that begins with 0
        said = (inline for part in item[:end] for inline in (Break(), *part.content))  # type: ignore[union-attr]
        run.append({"type": "rich_text_section", "elements": _inlines((*mark, *tuple(said)[1:]))})
        if end < len(item) or number == (block.start or 0) + len(block.items) - 1:
            offset = number - len(run) if block.start else 0
            found.append(shape | {"elements": run} | ({"offset": offset} if offset > 0 else {}))
            run = []
        for part in item[end:]:
            found += _list(part, depth + 1, border) if isinstance(part, List) else _elements(part, border)
    return found


def _spaced(elements: list[_Element]) -> list[_Element]:
    """Put a blank line between paragraphs, and between a list or quote and the text after it."""
    spaced: list[_Element] = []
    for element in elements:
        before = spaced[-1] if spaced else {}
        if element["type"] in ("rich_text_section", "rich_text_quote"):
            if before.get("type") == element["type"]:
                joined = _joined(
                    [*before["elements"], {"type": "text", "text": "\n\n"}, *element["elements"]]
                )
                spaced[-1] = element | {"elements": joined}
                continue
            if before.get("type") in ("rich_text_list", "rich_text_quote"):
                element = element | {
                    "elements": _joined([{"type": "text", "text": "\n"}, *element["elements"]])
                }
        spaced.append(element)
    return spaced


def _inlines(content: Inlines, style: frozenset[str] = frozenset()) -> list[_Element]:
    """The elements of a text; at least one, because Slack refuses none."""
    return _joined(_runs(content, style)) or [{"type": "text", "text": _EMPTY}]


def _runs(content: Inlines, style: frozenset[str]) -> Iterator[_Element]:
    for inline in content:
        match inline:
            case Text(said):
                yield _styled({"type": "text", "text": said}, style)
            case Code(code):
                yield _styled({"type": "text", "text": code}, style | {"code"})
            case Break():
                yield _styled({"type": "text", "text": "\n"}, style)
            case Styled(name, inside):
                yield from _runs(inside, style | {name})
            case Link(address, inside):
                for element in _joined(_runs(inside, style)):
                    yield {"type": "link", "url": address} | {
                        key: element[key] for key in element if key != "type"
                    }


def _styled(element: _Element, style: frozenset[str]) -> _Element:
    return element | {"style": dict.fromkeys(sorted(style), True)} if style else element


def _joined(elements: Iterable[_Element]) -> list[_Element]:
    """The elements with adjacent texts of one style in one."""
    found: list[_Element] = []
    for element in elements:
        last = found[-1] if found else {}
        if element["type"] == "text" == last.get("type") and element.get("style") == last.get("style"):
            found[-1] = last | {"text": last["text"] + element["text"]}
        else:
            found.append(element)
    return found


def _table(table: Table) -> SlackBlock:
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    settings = [
        {"align": "right" if at in table.right else "left", "is_wrapped": True} for at in range(len(rows[0]))
    ]
    return {"type": "table", "rows": rows, "column_settings": settings}


def _cell(content: Inlines) -> SlackBlock:
    if all(isinstance(inline, Text) for inline in content):
        return {"type": "raw_text", "text": words(content) or _EMPTY}
    section = {"type": "rich_text_section", "elements": _inlines(content)}
    return {"type": "rich_text", "elements": [section]}
