"""Parses Markdown into the document model."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from markdown_it.token import Token

from bot.domain import strip_control_chars
from bot.rendering.markdown.document import (
    Block,
    Blocks,
    Break,
    Code,
    CodeBlock,
    Heading,
    Inline,
    Inlines,
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
from bot.rendering.markdown.links import safe_link
from bot.rendering.markdown.repairs import DEEPEST, new_parser

_STYLES: dict[str, Any] = {"strong_open": "bold", "em_open": "italic", "s_open": "strike"}
_SIGN = "[$€£¥\uffe5₩₹₪₫₱₺₽฿₴₦]"
_NUMBER = re.compile(
    rf"[(+\-\u2212\u2013]{{0,2}}(?:[A-Z]{{0,2}}{_SIGN} ?|[A-Z]{{3}} )?[-\u2212]?\d[\d.,\u00a0 ]*"
    rf"(?:%|[KMBkmb]n?|x|pp|bps| ?{_SIGN}| ?[A-Z]{{3}})?\)?|[^\w\s]|n/?a|N/?A"
)
"""A number with its sign, currency and unit, or what stands for none."""
_BLANKS = re.compile("[ \u00a0]*\u00a0[ \u00a0]*")
_LONGEST_LANGUAGE = 20
_parser = new_parser()
_TASKS = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}


def parse(markdown: str, tenant: str = "") -> Blocks:
    """Parse Markdown. Linear in its length, also for hostile input.

    Args:
        markdown: any text.
        tenant: Omni's address without `/api`, where paths lead. Without it they become words.
    """
    text = strip_control_chars(markdown)
    tokens = _parser.parse(text)
    if any(token.level >= DEEPEST - 2 for token in tokens):  # the parser leaves out what is deeper
        return tuple(Paragraph((Text(line),)) for line in text.split("\n") if line.strip())
    return _Reader(tokens, tenant, has_entities="&" in text).read()


class _Reader:
    """Makes a tree of the parser's tokens."""

    def __init__(self, tokens: list[Token], tenant: str, *, has_entities: bool) -> None:
        self._tokens = tokens
        self._tenant = tenant
        self._has_entities = has_entities

    def read(self) -> Blocks:
        """Read all tokens. Tables in lists and quotes are moved out of them: Slack has them only by themselves."""
        inlines = [child for token in self._tokens for child in token.children or ()]
        self._used = {token.meta["label"] for token in inlines if "label" in token.meta}
        definitions = [token for token in reversed(self._tokens) if token.type == "definition"]
        self._first = {token.meta["id"]: token for token in definitions}
        blocks = self._blocks(iter(self._tokens), "")
        is_nested = any(token.type == "table_open" and token.level for token in self._tokens)
        return tuple(part for block in blocks for part in _without_tables(block)) if is_nested else blocks

    def _blocks(self, tokens: Iterator[Token], closing: str) -> Blocks:
        found: list[Block] = []
        for token in tokens:
            match token.type:
                case "paragraph_open" | "heading_open":
                    kind = Paragraph if token.type == "paragraph_open" else Heading
                    content = trimmed(self._inlines(next(tokens).children or ()))
                    found += [kind(content)] if words(content).strip() else []
                case "bullet_list_open" | "ordered_list_open":
                    found += self._lists(token, tokens)
                case "blockquote_open":
                    inside = self._blocks(tokens, "blockquote_close")
                    found += [Quote(inside)] if inside else []
                case "fence" | "code_block":
                    found.append(_code(token))
                case "table_open":
                    found.append(self._table(tokens))
                case "hr":
                    found.append(Rule())
                case "definition" if (
                    token.meta["id"] not in self._used or token is not self._first[token.meta["id"]]
                ):
                    label = Text(f"[{token.meta['label']}]: ")
                    found.append(Paragraph((label, *self._link(token.meta["url"], ()))))
                case other if other == closing:
                    break
        return tuple(found)

    def _lists(self, opening: Token, tokens: Iterator[Token]) -> Iterator[List]:
        """Yield a list. An item of a greater number than the next one, such as a year, begins a list of its own."""
        items: list[Blocks] = []
        is_ordered = opening.type == "ordered_list_open"
        start = int(opening.attrs.get("start", 1)) if is_ordered else 0
        closing = opening.type.replace("open", "close")
        for token in tokens:
            if token.type == closing:
                break
            number = int(token.info) if is_ordered else 0
            if number > start + len(items):
                yield List(tuple(items), start)
                items, start = [], number
            items.append(_as_task(self._blocks(tokens, "list_item_close")))
        yield List(tuple(items), start if is_ordered else None)

    def _table(self, tokens: Iterator[Token]) -> Table:
        rows: list[list[Inlines]] = []
        aligned: dict[int, str] = {}
        for token in tokens:
            match token.type:
                case "table_close":
                    break
                case "tr_open":
                    rows.append([])
                case "th_open":
                    aligned[len(rows[0])] = str(token.attrs.get("style", ""))
                case "inline":
                    rows[-1].append(self._cell(token.children or ()))
        columns = range(len(rows[0]))
        right = {at for at in columns if aligned[at].endswith("right")}
        right |= {at for at in columns if not aligned[at] and len(rows) > 1 and _are_numbers(rows[1:], at)}
        return Table(tuple(map(tuple, rows)), frozenset(right))

    def _cell(self, tokens: Sequence[Token]) -> Inlines:
        """A cell on one line."""
        for at, token in enumerate(tokens):
            if token.type in ("softbreak", "hardbreak"):
                is_ended = at and tokens[at - 1].content.rstrip().endswith((".", ",", ";", ":", "!", "?"))
                token.type, token.content = "text", " " if is_ended else "; "
        return trimmed(self._inlines(tokens))

    def _inlines(self, tokens: Sequence[Token]) -> Inlines:
        """Read the text of a block. A style inside itself is dropped, so that the tree is flat however deep it was."""
        open_tokens: list[Token] = []
        contents: list[list[Inline]] = [[]]
        for token in tokens:
            match token.type:
                case "text" if said := self._cleaned(token.content):
                    contents[-1].append(Text(said))
                case "code_inline":
                    contents[-1].append(Code(token.content))
                case "softbreak" | "hardbreak":
                    contents[-1].append(Break())
                case "image":
                    words_of_it = self._inlines(token.children or ()) or (Text("image"),)
                    contents[-1] += self._link(str(token.attrs.get("src", "")), words_of_it)
                case "link_open" | "strong_open" | "em_open" | "s_open":
                    open_tokens.append(token)
                    contents.append([])
                case "link_close" | "strong_close" | "em_close" | "s_close":
                    opening, content = open_tokens.pop(), tuple(contents.pop())
                    if opening.type == "link_open":
                        contents[-1] += self._link(str(opening.attrs.get("href", "")), content)
                    elif content and all(outer.type != opening.type for outer in open_tokens):
                        contents[-1].append(Styled(_STYLES[opening.type], content))
                    else:
                        contents[-1] += content
        return tuple(contents[0])

    def _cleaned(self, text: str) -> str:
        """The text without the invisible characters and several blanks that entities stand for."""
        return _BLANKS.sub(" ", strip_control_chars(text)) if self._has_entities else text

    def _link(self, address: str, content: Inlines) -> Inlines:
        return safe_link(address, content, self._tenant)


def _as_task(item: Blocks) -> Blocks:
    """The item of a task list with a box as its mark."""
    match item:
        case (Paragraph((Text(said), *more)), *others) if said[:4] in _TASKS:
            return (Paragraph((Text(_TASKS[said[:4]] + said[4:]), *more)), *others)
    return item


def _code(token: Token) -> CodeBlock:
    code, info = token.content.removesuffix("\n"), token.info.strip()
    is_language = (
        len(info) <= _LONGEST_LANGUAGE and " " not in info
    )  # else code that begins next to the fence
    return CodeBlock(code, info) if is_language else CodeBlock(f"{info}\n{code}".rstrip("\n"))


def _are_numbers(rows: list[list[Inlines]], column: int) -> bool:
    cells = [words(row[column]).strip() for row in rows]
    return any(cells) and all(_NUMBER.fullmatch(cell) for cell in cells if cell)


def _without_tables(block: Block) -> Iterator[Block]:
    """Yield a list or quote in pieces, with the tables from inside it between them."""
    match block:
        case Quote(blocks):
            inside: list[Block] = []
            for part in (part for inner in blocks for part in _without_tables(inner)):
                if isinstance(part, Table):
                    yield from [Quote(tuple(inside))] if inside else []
                    yield part
                    inside = []
                else:
                    inside.append(part)
            yield from [Quote(tuple(inside))] if inside else []
        case List(items, start):
            first, kept = 0, list[Blocks]()
            for number, item in enumerate(items, start=1):
                parts = tuple(part for inner in item for part in _without_tables(inner))
                cut = next((at for at, part in enumerate(parts) if isinstance(part, Table)), len(parts))
                kept.append(parts[:cut])
                if cut < len(parts):
                    yield List(tuple(kept), None if start is None else start + first)
                    yield from parts[cut:]
                    first, kept = number, []
            if kept:
                yield List(tuple(kept), None if start is None else start + first)
        case _:
            yield block
