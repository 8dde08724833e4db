"""Rules for the Markdown parser, which repair what language models write.

Repaired are Slack's `<address|words>`, bare addresses, blanks in addresses, simple HTML, numbered citations, footnotes,
LaTeX, products with stars, bold text next to CJK characters or punctuation, and rows longer than their table's heading.

Each rule returns whether it took what is at `state.pos`; a silent one only looks.
"""

import html
import re
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.normalize_url import normalizeLink
from markdown_it.common.utils import normalizeReference
from markdown_it.parser_inline import ParserInline
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.reference import reference
from markdown_it.rules_block.table import escapedSplit, getLine, table
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned
from markdown_it.token import Token

WIDE = "\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
"""The characters of scripts without spaces, for a regular expression."""
DEEPEST = 50
"""The deepest nesting that is parsed."""

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
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
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


def _as_note(label: str) -> str:
    """The mark of a footnote: a raised number, which no citation has."""
    return label.translate(_RAISED) if label.isdecimal() and label.isascii() else f"[{label}]"


def _bracket(state: StateInline, silent: bool) -> bool:
    """Take citations, `[1][2]` as two of them, and footnotes."""
    if state.src[state.pos] != "[" or (found := _CITATION.match(state.src, state.pos, state.posMax)) is None:
        return False
    label = normalizeReference(found["number"] or found["note"])
    said = f"[{label}]" if found["number"] else _as_note(found["note"][1:])
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
_NORMAL_ADDRESS = re.compile(r"https?://[a-z0-9.-]+(?:[/?#][\w/.~!$&'()*+,;=:@?-]*)?", re.ASCII)
"""An address that normalizing leaves as it is. Normalizing all of them takes a twelfth of the time of an answer full of
links."""


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


def _normalized(address: str) -> str:
    return address if _NORMAL_ADDRESS.fullmatch(address) else normalizeLink(address)


def new_parser() -> MarkdownIt:
    """A parser of Markdown with these rules."""
    options = {"html": False, "maxNesting": DEEPEST, "store_labels": True, "inline_definitions": True}
    parser = MarkdownIt("commonmark", options)
    parser.inline = _InlineParser()
    parser.enable(["table", "strikethrough"])
    parser.disable(["html_inline", "linkify"], ignoreInvalid=True)
    parser.normalizeLink = _normalized  # type: ignore[assignment, method-assign]
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
