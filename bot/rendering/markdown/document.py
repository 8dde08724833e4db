"""The document model: an answer as a small tree, which each renderer writes for its own target.

The renderers escape text where their target needs it, so the tree holds every text as its reader shall see it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Text:
    """Words, on one line."""

    words: str


@dataclass(frozen=True, slots=True)
class Code:
    """Code in a line."""

    code: str


@dataclass(frozen=True, slots=True)
class Break:
    """The end of a line."""


@dataclass(frozen=True, slots=True)
class Styled:
    """Emphasized text. The styles have Slack's names."""

    style: Literal["bold", "italic", "strike"]
    content: "Inlines"


@dataclass(frozen=True, slots=True)
class Link:
    """A safe link; see `links.safe_link`. A picture is a link to it."""

    address: str
    content: "Inlines"


Inline = Text | Code | Break | Styled | Link
Inlines = tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Text."""

    content: Inlines


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading. Slack shows all levels alike."""

    content: Inlines


@dataclass(frozen=True, slots=True)
class List:
    """A list without tables. `start` is the first number, or None for bullets."""

    items: tuple["Blocks", ...]
    start: int | None


@dataclass(frozen=True, slots=True)
class Quote:
    """A quotation without tables."""

    blocks: "Blocks"


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """Code on lines of its own. `language` is the first word after the fence, or empty."""

    code: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table. The first of its rows, which are of one length, is the heading. `right`: the right-aligned columns."""

    rows: tuple[tuple[Inlines, ...], ...]
    right: frozenset[int]


@dataclass(frozen=True, slots=True)
class Rule:
    """A line between two parts."""


Block = Paragraph | Heading | List | Quote | CodeBlock | Table | Rule
Blocks = tuple[Block, ...]


def words(content: Inlines) -> str:
    """The words without any markup, on as many lines as there are."""
    return "".join(map(_words, content))


def _words(inline: Inline) -> str:
    match inline:
        case Text(said):
            return said
        case Code(code):
            return code
        case Break():
            return "\n"
        case Styled("strike", content):
            return f"(struck: {words(content)})"
    return words(inline.content)


def links(content: Inlines) -> Iterator[Link]:
    """Yield the links of a text in order."""
    for inline in content:
        if isinstance(inline, Link):
            yield inline
        elif isinstance(inline, Styled):
            yield from links(inline.content)


def trimmed(content: Inlines) -> Inlines:
    """The text without line ends around it."""
    first, end = 0, len(content)
    while first < end and isinstance(content[first], Break):
        first += 1
    while end > first and isinstance(content[end - 1], Break):
        end -= 1
    return content[first:end]


def to_text(blocks: Blocks) -> str:
    """The words of a document, for notifications and screen readers. A row of a table is a line. Not escaped."""
    return "\n".join(line for block in blocks for line in _lines(block))


def _lines(block: Block) -> list[str]:
    match block:
        case List(items, start):
            return [
                line
                for number, item in enumerate(items, start or 0)
                for line in _item(item, start and number)
            ]
        case Quote(blocks):
            return [line for inner in blocks for line in _lines(inner)]
        case CodeBlock(code):
            return code.split("\n")
        case Table(rows):
            return [", ".join(filter(None, map(words, row))) for row in rows]
        case Rule():
            return []
    return words(block.content).split("\n")


def _item(item: Blocks, number: int | None) -> list[str]:
    first, *more = [line for block in item for line in _lines(block)] or [""]
    return [f"{'•' if number is None else f'{number}.'} {first}", *more]
