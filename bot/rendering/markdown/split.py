"""Splits a document into parts that fit into messages, cut where it disturbs reading least.

A part ends between blocks if that leaves it at least half full, else between list items, table rows (the heading is
repeated), lines of code or words. Only a word longer than a part is cut. Lists keep their numbers.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace

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
    Rule,
    Styled,
    Table,
    Text,
    trimmed,
    words,
)
from bot.rendering.markdown.mrkdwn import escape_code, escape_words
from bot.rendering.markdown.repairs import WIDE
from bot.rendering.markdown.to_blocks import MOST_ROWS
from bot.rendering.markdown.to_mrkdwn import to_mrkdwn

MOST_BLOCKS = 40
"""Slack allows 50 blocks in a message. The bot's own blocks need the rest."""
_BETWEEN = len("\n\n")
_FARTHEST_BACK = 100
"""Characters before the end of a part in which a better place to cut is looked for."""
_ENDS_A_SENTENCE = re.compile(r"[.!?…\u3002\uff01\uff1f][\"'”’)\]」』]*\s*\Z")
_REGIONAL_INDICATORS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_ENDING = (
    "\u3001\u3002\u300b\u300d\u300f\u3011\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\ufe00-\ufe0f\u3099\u309a"
)
_WORD = re.compile(rf"[{WIDE}][{_ENDING}]*\s*|[^\s{WIDE}]+\s*|\s+")


def split(blocks: Blocks, limit: int) -> Iterator[Blocks]:
    """Yield the parts of a document in order. The mrkdwn of each has at most `limit` characters."""
    while blocks:
        part, blocks = _take(blocks, limit, limit, 0)
        yield part


def _length(block: Block, per_line: int, enough: int | None = None) -> int:
    """Characters of a block, with `per_line` more for the marks before each line. Of a paragraph, only its words
    are counted if these are more than `enough`."""
    if enough is not None and isinstance(block, Paragraph) and (least := len(words(block.content))) > enough:
        return least
    text = to_mrkdwn((block,))
    return len(text) + per_line * (text.count("\n") + 1)


def _take(blocks: Blocks, room: int, limit: int, per_line: int) -> tuple[Blocks, Blocks]:
    """Take as much as fits into what is left of a part, and return it and the rest."""
    used = n_blocks = 0
    for at, block in enumerate(blocks):
        between = _BETWEEN + per_line if at else 0
        size = _length(block, per_line, limit) + between
        n_blocks += 2 if isinstance(block, Heading | Rule | Table) else 0
        if used + size <= room and n_blocks <= MOST_BLOCKS and not _is_too_tall(block):
            used += size
            continue
        head: Blocks = ()
        tail: Blocks = (block,)
        if n_blocks <= MOST_BLOCKS and (used <= limit // 2 or size > limit):
            head, tail = _cut(block, room - used - between, limit, per_line)
        end = at
        while not head and end > 1 and isinstance(blocks[end - 1], Heading):
            end -= 1  # a heading stays with what follows it
        return (*blocks[:end], *head), (*blocks[end:at], *tail, *blocks[at + 1 :])
    return blocks, ()


def _is_too_tall(block: Block) -> bool:
    return isinstance(block, Table) and len(block.rows) > MOST_ROWS


def _cut(block: Block, room: int, limit: int, per_line: int) -> tuple[Blocks, Blocks]:
    """Cut a block in two. The first is empty if too little would fit; never if the part is still empty."""
    match block:
        case Paragraph(content):
            return _cut_text(content, room, limit, per_line)
        case Heading(content):
            return _cut_text((Styled("bold", content),), room, limit, per_line)
        case List():
            return _cut_list(block, room, limit, per_line)
        case Quote(inside):
            head, tail = _take(inside, room, limit, per_line + len("> "))
            return ((Quote(head),), (Quote(tail),) if tail else ()) if head else ((), (block,))
        case CodeBlock():
            return _cut_code(block, room, limit, per_line)
        case Table():
            return _cut_table(block, room, limit)
    return (), (block,)


def _cut_list(block: List, room: int, limit: int, per_line: int) -> tuple[Blocks, Blocks]:
    first = block.start or 0
    indent = per_line + len("    ")
    used = 0
    for at, item in enumerate(block.items):
        mark = len(f"{first + at}. \n") + per_line
        size = mark + sum(_length(part, indent) + 1 for part in item)
        if used + size <= room:
            used += size
            continue
        if size > limit // 2 or (at == 0 and room > limit // 2):
            head, tail = _take(item, room - used - mark, limit, indent)
            if head:
                rest = (_from(block, at + 1),) if at + 1 < len(block.items) else ()
                return (List((*block.items[:at], head), block.start),), (*tail, *rest)
        return ((List(block.items[:at], block.start),) if at else ()), (_from(block, at),)
    return (block,), ()


def _from(block: List, at: int) -> List:
    return List(block.items[at:], None if block.start is None else block.start + at)


def _cut_table(block: Table, room: int, limit: int) -> tuple[Blocks, Blocks]:
    heading, *rows = block.rows
    fits, most = 0, min(len(rows), MOST_ROWS - 1)
    while fits < most:
        middle = (fits + most + 1) // 2
        if _length(replace(block, rows=(heading, *rows[:middle])), 0) <= room:
            fits = middle
        else:
            most = middle - 1
    if fits:
        rest = (replace(block, rows=(heading, *rows[fits:])),) if rows[fits:] else ()
        return (replace(block, rows=(heading, *rows[:fits])),), rest
    if room <= limit // 2:
        return (), (block,)
    # No row fits, so the cells become text.
    lines = tuple(Paragraph(tuple(_with_bars(row))) for row in block.rows)
    return _take(lines, room, limit, 0)


def _with_bars(cells: tuple[Inlines, ...]) -> Iterator[Inline]:
    for at, cell in enumerate(cells):
        yield from (Text(" | "), *cell) if at else cell


def _cut_code(block: CodeBlock, room: int, limit: int, per_line: int) -> tuple[Blocks, Blocks]:
    lines = block.code.split("\n")
    used = _length(replace(block, code=""), per_line)
    for at, line in enumerate(lines):
        used += _length(replace(block, code=line), 0) - _length(replace(block, code=""), 0) + 1 + per_line
        if used <= room:
            continue
        if at == 0 and room > limit // 2:
            end = _fitting(line, room - (used - len(escape_code(line))))
            lines[:1] = [line[:end], line[end:]]
            at = 1
        if at == 0:
            return (), (block,)
        head, tail = "\n".join(lines[:at]), "\n".join(lines[at:])
        return (replace(block, code=head),), (replace(block, code=tail),)
    return (block,), ()


def _cut_text(content: Inlines, room: int, limit: int, per_line: int) -> tuple[Blocks, Blocks]:
    head, tail = _cut_inlines(content, room - per_line, per_line, is_forced=room > limit // 2)
    head, tail = trimmed(head), trimmed(tail)
    return ((Paragraph(head),) if head else ()), ((Paragraph(tail),) if tail else ())


def _cut_inlines(content: Inlines, room: int, per_line: int, *, is_forced: bool) -> tuple[Inlines, Inlines]:
    """Cut a text between words. `is_forced`: cut the first word if it does not fit, and take a link as its words."""
    for at, inline in enumerate(content):
        size = _length(Paragraph((inline,)), 0) + (per_line if isinstance(inline, Break) else 0)
        if isinstance(inline, Styled):
            size += 2  # what keeps its marks apart from the words around
        if size <= room:
            room -= size
            continue
        head: Inlines = ()
        tail: Inlines = (inline,)
        is_first = is_forced and at == 0
        match inline:
            case Text(said):
                end = _end_of_words(said, room) or (_fitting(said, room) if is_first else 0)
                head, tail = _nonempty(Text, said[:end]), _nonempty(Text, said[end:])
            case Code(code) if is_first:
                end = _fitting(code, room - len("``"))
                head, tail = _nonempty(Code, code[:end]), _nonempty(Code, code[end:])
            case Styled(style, inside):
                parts = _cut_inlines(inside, room - len("**") - 2, per_line, is_forced=is_first)
                head, tail = [(Styled(style, part),) if part else () for part in parts]
            case Link(_, inside) if is_first:
                return _cut_inlines((*inside, *content[1:]), room, per_line, is_forced=True)
        return (*content[:at], *head), (*tail, *content[at + 1 :])
    return content, ()


def _nonempty(kind: type[Text | Code], said: str) -> Inlines:
    return (kind(said),) if said else ()


def _end_of_words(said: str, room: int) -> int:
    """How much of a text fits in whole words, or in whole sentences if one ends near there."""
    end = sentence = 0
    for word in _WORD.finditer(said):
        room -= len(escape_words(word[0]))
        if room < 0:
            return sentence if end - sentence < _FARTHEST_BACK else end
        end = word.end()
        if _ENDS_A_SENTENCE.search(word[0]):
            sentence = end
    return end


def _fitting(text: str, room: int) -> int:
    """How much of a text fits after escaping; not a part of a number, nor of a character such as an emoji sequence."""
    end = 0
    for character in text[:room]:
        room -= len(escape_words(character)) + (character in "<@")  # a mention is broken
        if room < 0:
            break
        end += 1
    ends = [at for at in range(end, max(1, end - _FARTHEST_BACK), -1) if not _is_inside_a_character(text, at)]
    between_words = (at for at in ends if not (text[at - 1].isalnum() and text[at : at + 1].isalnum()))
    return next(between_words, ends[0] if ends else max(1, end))


def _is_inside_a_character(text: str, index: int) -> bool:
    is_joined = index < len(text) and (_joins(text[index]) or text[index - 1] == "\u200d")
    return is_joined or _is_inside_a_flag(text, index)


def _joins(character: str) -> bool:
    skin_tone = "\U0001f3fb" <= character <= "\U0001f3ff"
    return skin_tone or unicodedata.category(character) in ("Mn", "Me", "Mc", "Cf")


def _is_inside_a_flag(text: str, index: int) -> bool:
    """Whether the index is inside a flag: two regional indicators, in a row without separators."""
    if text[index : index + 1] not in tuple(_REGIONAL_INDICATORS):
        return False
    before = text[:index]
    return (index - len(before.rstrip(_REGIONAL_INDICATORS))) % 2 == 1
