"""Parses Markdown into the document model, and repairs what language models write.

Repaired: Slack's `<address|words>`, bare addresses, blanks in addresses, simple HTML, numbered citations, footnotes,
LaTeX, bold text next to CJK characters or punctuation, and rows that are longer than their table's heading.
"""

import html
import re
from collections.abc import Iterator, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import normalizeReference
from markdown_it.parser_inline import ParserInline
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.reference import reference
from markdown_it.rules_block.table import escapedSplit, getLine, table
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned
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

WIDE = "\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
"""The characters of scripts without spaces, for a regular expression."""
_DEEPEST = 50
_STYLES: dict[str, Any] = {"strong_open": "bold", "em_open": "italic", "s_open": "strike"}
_NUMBER = re.compile(
    r"[^\w\s,;:|]{0,4} ?\d[\d.,\u00a0 ]*(?:%|[kmb]n?|x|pp|bps)?\)?|[^\w\s]|n/?a", re.IGNORECASE
)
"""A number with its sign, currency and unit, or what stands for none."""
_BLANKS = re.compile("[ \u00a0]*\u00a0[ \u00a0]*")
_TASKS = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}


def parse(markdown: str, tenant: str = "") -> Blocks:
    """Parse Markdown. Linear in its length, also for hostile input.

    Args:
        markdown: any text.
        tenant: Omni's address without `/api`, where paths lead. Without it they become words.
    """
    text = strip_control_chars(markdown)
    tokens = _parser.parse(text)
    if any(token.level >= _DEEPEST - 2 for token in tokens):  # the parser leaves out what is deeper
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
                    content = trimmed(self._inlines(iter(next(tokens).children or ())))
                    found += [kind(content)] if words(content).strip() else []
                case "bullet_list_open" | "ordered_list_open":
                    found.append(self._list(token, tokens))
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

    def _list(self, opening: Token, tokens: Iterator[Token]) -> List:
        items: list[Blocks] = []
        closing = opening.type.replace("open", "close")
        for token in tokens:
            if token.type == closing:
                break
            items.append(_as_task(self._blocks(tokens, "list_item_close")))
        is_ordered = opening.type == "ordered_list_open"
        return List(tuple(items), int(opening.attrs.get("start", 1)) if is_ordered else None)

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
        return trimmed(self._inlines(iter(tokens)))

    def _inlines(self, tokens: Iterator[Token], closing: str = "") -> Inlines:
        found: list[Inline] = []
        for token in tokens:
            match token.type:
                case "text" if token.content:
                    said = self._cleaned(token.content)
                    found += [Text(said)] if said else []
                case "code_inline":
                    found.append(Code(token.content))
                case "softbreak" | "hardbreak":
                    found.append(Break())
                case "link_open":
                    content = self._inlines(tokens, "link_close")
                    found += self._link(str(token.attrs.get("href", "")), content)
                case "image":
                    content = self._inlines(iter(token.children or ())) or (Text("image"),)
                    found += self._link(str(token.attrs.get("src", "")), content)
                case "strong_open" | "em_open" | "s_open":
                    content = self._inlines(tokens, token.type.replace("open", "close"))
                    found += [Styled(_STYLES[token.type], content)] if content else []
                case other if other == closing:
                    break
        return tuple(found)

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
    code = token.content.removesuffix("\n")
    language, *more = token.info.split() or [""]
    # More than one word is code that begins next to the fence.
    return CodeBlock(f"{token.info.strip()}\n{code}" if more else code, "" if more else language)


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


# The rules that are added to the parser. Each returns whether it took what is at `state.pos`.

_DEFINITION = re.compile(r"\[[^\]]+\]:[ \t]*<?(?:https?://|mailto:|/)", re.IGNORECASE)
_LESS_THAN = re.compile(
    r"<(?P<address>(?:https?://|mailto:)[^\s<>|]+)\|(?P<words>[^<>\n]*)>"
    r"|<a(?=\s)[^<>]*?\shref=[\"'](?P<href>[^\"'<>]+)[\"'][^<>]*>(?P<linked>.{0,1000}?)</a>"
    r"|<!--.{0,1000}?-->"
    r"|</?(?P<tag>[A-Za-z][A-Za-z0-9]*)(?:\s+(?:open|[\w-]+=(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+)))*\s*/?>",
    re.DOTALL,
)
_LINE_ENDING_TAGS = frozenset({"br", "/p", "/div", "/li", "/tr", "/summary"})
_DROPPED_TAGS = frozenset(
    "a abbr b big blockquote br center cite dd del details div dl dt em font h1 h2 h3 h4 h5 h6 i ins kbd li mark ol p "
    "q s small span strike strong sub summary sup table tbody td th thead tr tt u ul var wbr".split()
)
_EMPHASIZED_ADDRESS = re.compile(r"(\*\*\*|\*\*|\*|___|__|_|~~)<(https?://[^\s<>|]+?)\1>")
_STYLE_TOKENS = {"*": ("em",), "_": ("em",), "**": ("strong",), "__": ("strong",), "~~": ("s",)}
_SCHEME = re.compile(r"(?<![A-Za-z0-9])https?\Z", re.IGNORECASE)
_ADDRESS = re.compile(
    rf"://(?:[^\s<>\"\[\]`|\\^{{}}\u200b“”‘’«»{WIDE}]|\\[*_~&#()-]|\[[^\s\[\]<>]{{0,100}}\]){{1,2500}}",
    re.IGNORECASE,
)
_MARK_BEFORE = re.compile(r"[*_~]+\Z")
_CITATION = re.compile(r"\[(?P<number>\d{1,3})\](?![(:])|\[(?P<note>\^[^\]\s]{1,30})\]")
_BLANK_IN_ADDRESS = re.compile(r"\[(?P<words>[^\[\]\n]+)\]\(\s*(?P<address>(?:https?://|/)[^()\n<>]*)\)")
_MATH = re.compile(r"\\\((.{1,300}?)\\\)|\\\[(.{1,300}?)\\\]", re.DOTALL)
_IS_FORMULA = re.compile(r"[\\^_={}]")


def _reference(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Take `[name]: address` as a definition, but not `[Note]: words`."""
    first = state.bMarks[start] + state.tShift[start]
    is_definition = _DEFINITION.match(state.src, first, state.eMarks[start]) is not None
    return is_definition and reference(state, start, end, silent)


def _whole_table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Take a table, and keep the cells of rows that are longer than its heading."""
    before = len(state.tokens)
    if not table(state, start, end, silent):
        return False
    last: Token | None = None
    columns, line = 0, 0
    for token in [] if silent else state.tokens[before:]:
        if token.type == "th_open":
            columns += 1
        elif token.type == "inline":
            last, line = token, (token.map or [0])[0]
        elif token.type == "tr_close" and last is not None and line > start:
            cells = escapedSplit(getLine(state, line).strip().strip("|"))
            last.content = " | ".join([last.content, *map(str.strip, cells[columns:])])
    return True


def _push_link(
    state: StateInline, address: str, said: str, *, label: str | None = None, nested: bool = False
) -> None:
    opening = state.push("link_open", "a", 1)
    opening.attrs = {"href": state.md.normalizeLink(address)}
    opening.meta = {} if label is None else {"label": label}
    if nested:
        state.linkLevel += 1
        inner: list[Token] = []
        state.tokens += state.md.inline.parse(said, state.md, state.env, inner)
        state.linkLevel -= 1
    else:
        state.push("text", "", 0).content = said
    state.push("link_close", "a", -1)


def _less_than(state: StateInline, silent: bool) -> bool:
    """Take Slack's own links and simple HTML."""
    if state.src[state.pos] != "<" or (found := _LESS_THAN.match(state.src, state.pos, state.posMax)) is None:
        return False
    tag = (found["tag"] or "").lower()
    if tag and tag not in _DROPPED_TAGS:
        return False
    if not silent:
        if address := found["address"] or found["href"]:
            _push_link(state, html.unescape(address), found["words"] or found["linked"] or "", nested=True)
        elif tag == "br" or (f"/{tag}" in _LINE_ENDING_TAGS and found[0].startswith("</")):
            state.push("hardbreak", "br", 0)
        elif tag in ("td", "th"):
            state.pending += " "
    state.pos = found.end()
    return True


def _emphasized_address(state: StateInline, silent: bool) -> bool:
    """Take `**<https://…**>`: the marks belong to the text, not to the address."""
    if state.src[state.pos] not in "*_~":
        return False
    found = _EMPHASIZED_ADDRESS.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        styles = _STYLE_TOKENS.get(found[1], ("strong", "em"))
        for style in styles:
            state.push(f"{style}_open", style, 1)
        _push_link(state, found[2], found[2])
        for style in reversed(styles):
            state.push(f"{style}_close", style, -1)
    state.pos = found.end()
    return True


def _bare_address(state: StateInline, silent: bool) -> bool:
    """Take an address in the text, without the punctuation and the marks after it."""
    if state.src[state.pos] != ":" or state.linkLevel > 0:
        return False
    scheme = _SCHEME.search(state.src, max(0, state.pos - 6), state.pos)
    found = _ADDRESS.match(state.src, state.pos, state.posMax)
    if scheme is None or found is None or not (silent or state.pending.endswith(scheme[0])):
        return False
    rest = found[0]
    if (mark := _MARK_BEFORE.search(state.src, max(0, scheme.start() - 3), scheme.start())) is not None:
        rest = rest.partition(mark[0])[0]
    while rest[-1:] in tuple(".,;:!?'*_~\\") or (rest[-1:] == ")" and rest.count(")") > rest.count("(")):
        rest = rest[:-1]
    if len(rest) <= len("://"):
        return False
    if not silent:
        state.pending = state.pending[: -len(scheme[0])]
        address = scheme[0] + re.sub(r"\\(.)", r"\1", rest).replace("&amp;", "&")
        _push_link(state, address, address)
    state.pos += len(rest)
    return True


def _bracket(state: StateInline, silent: bool) -> bool:
    """Take citations, `[1][2]` as two of them, and footnotes."""
    if state.src[state.pos] != "[" or (found := _CITATION.match(state.src, state.pos, state.posMax)) is None:
        return False
    label = normalizeReference(found["number"] or found["note"])
    said = f"[{found['number'] or found['note'][1:]}]"
    definition = state.env.get("references", {}).get(label)
    if definition is None and not found["note"]:
        return False
    if not silent:
        if definition is None or state.linkLevel > 0:
            state.pending += said
        else:
            _push_link(state, definition["href"], said, label=label)
    state.pos = found.end()
    return True


def _blank_in_address(state: StateInline, silent: bool) -> bool:
    """Take a link whose address has blanks."""
    if state.src[state.pos] != "[" or state.linkLevel > 0:
        return False
    found = _BLANK_IN_ADDRESS.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        _push_link(
            state, html.unescape(found["address"].strip()).replace(" ", "%20"), found["words"], nested=True
        )
    state.pos = found.end()
    return True


def _math(state: StateInline, silent: bool) -> bool:
    r"""Take `\(x^2\)` and `\[x^2\]` as code."""
    if state.src[state.pos] != "\\" or (found := _MATH.match(state.src, state.pos, state.posMax)) is None:
        return False
    if not _IS_FORMULA.search(found[1] or found[2]):
        return False
    if not silent:
        state.push("code_inline", "code", 0).content = " ".join((found[1] or found[2]).split())
    state.pos = found.end()
    return True


_IS_WIDE = re.compile(f"[{WIDE}]")


class _State(StateInline):
    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:  # noqa: N802, N803 (the parser's names)
        """Let `**` open and close next to any character but a blank, and take `*` between letters as itself."""
        scanned = super().scanDelims(start, canSplitWord)
        mark, end = self.src[start], start + scanned.length
        before, after = self.src[start - 1 : start] or " ", self.src[end : min(end + 1, self.posMax)] or " "
        is_wide = _IS_WIDE.match(before) or _IS_WIDE.match(after)
        if mark == "_":
            return scanned
        if scanned.length == 1 and not is_wide:
            is_product = mark == "*" and before.isalnum() and after.isalnum()
            return Scanned(False, False, 1) if is_product else scanned
        is_power = before.isalnum() and after.isdigit() and not is_wide
        return Scanned(not after.isspace() and not is_power, not before.isspace(), scanned.length)


class _InlineParser(ParserInline):
    def parse(self, src: str, md: MarkdownIt, env: Any, tokens: list[Token]) -> list[Token]:
        """Parse the text of a block, with the rules of `_State`."""
        state = _State(src, md, env, tokens)
        self.tokenize(state)
        for rule in self.ruler2.getRules(""):
            rule(state)
        return state.tokens


def _new_parser() -> MarkdownIt:
    options = {"html": False, "maxNesting": _DEEPEST, "store_labels": True, "inline_definitions": True}
    parser = MarkdownIt("commonmark", options)
    parser.inline = _InlineParser()
    parser.enable(["table", "strikethrough"])
    parser.disable(["html_inline", "linkify"], ignoreInvalid=True)
    parser.validateLink = bool  # type: ignore[assignment, method-assign]  # `safe_link` decides
    parser.block.ruler.at("reference", _reference)
    parser.block.ruler.at("table", _whole_table, {"alt": ["paragraph", "reference"]})
    parser.inline.ruler.before("escape", "math", _math)
    parser.inline.ruler.before("strikethrough", "emphasized address", _emphasized_address)
    parser.inline.ruler.before("link", "citation", _bracket)
    parser.inline.ruler.after("link", "blank in address", _blank_in_address)
    parser.inline.ruler.before("autolink", "less than", _less_than)
    parser.inline.ruler.push("bare address", _bare_address)
    return parser


_parser = _new_parser()
