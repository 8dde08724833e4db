"""Reads an answer, and the messages that Slack shows for it, word by word, independently of the bot's code.

A row is a line of text, a row of a table or a line of code. Numbers of lists count as words.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from bot.demo.page_views.text import as_words, mrkdwn

Row = list[str]

_DEEPEST = 50
_PARSER = MarkdownIt("commonmark", {"html": False, "maxNesting": _DEEPEST}).enable(["table", "strikethrough"])
_STRUCK = re.compile(r"\(struck: ([^()]*)\)")
"""How struck text is marked where there is no markup for it."""
LIVE = re.compile(r"<[!@#]\S|(?<![\w.+-])@(?:here|channel|everyone)", re.IGNORECASE)

_HIDDEN = re.compile("[\u00ad\u200b\u200c\u200d\u2060-\u206f\ufe00-\ufe0f\ufeff\u202a-\u202e\u200e\u200f]")


def words(text: str) -> Row:
    return re.findall(r"[^\W_]+", _HIDDEN.sub("", text).replace("%40", "@"))


def read_markdown(text: str) -> list[Row]:
    """The rows of a Markdown text."""
    rows: list[Row] = []
    numbers: list[int | None] = []
    pending = ""
    cells: list[str] | None = None
    tokens = _PARSER.parse(text)
    if any(token.level >= _DEEPEST - 2 for token in tokens):  # what is deeper is left out by the parser
        return [words(line) for line in text.split("\n")]
    for token in tokens:
        match token.type:
            case "ordered_list_open":
                numbers.append(int(token.attrs.get("start", 1)))
            case "bullet_list_open":
                numbers.append(None)
            case "ordered_list_close" | "bullet_list_close":
                numbers.pop()
            case "list_item_open":
                number = numbers[-1]
                if number is not None:  # a number that was left out stays so
                    number = max(number, int(token.info))
                pending = "" if number is None else f"{number} "
                numbers[-1] = None if number is None else number + 1
            case "list_item_close" if pending:
                rows.append(words(pending))
                pending = ""
            case "tr_open":
                cells = []
            case "tr_close":
                rows.append(words(" ".join(cells or ())))
                cells = None
            case "inline":
                said = "".join(map(_said, token.children or ()))
                if cells is not None:
                    cells.append(said)
                else:
                    rows += map(words, (pending + said).split("\n"))
                    pending = ""
            case "fence" | "code_block":
                rows += map(words, (pending + token.content).split("\n"))
                pending = ""
    return [row for row in rows if row]


def _said(token: Token) -> str:
    return "\n" if token.type in ("softbreak", "hardbreak") else token.content


def read_mrkdwn(text: str) -> list[Row]:
    """The rows of a mrkdwn text, as the simulated Slack shows it."""
    nodes: list[Any] = []
    for node in mrkdwn(text, lambda name: name):
        is_apart = isinstance(node, dict) and node["tag"] in ("pre", "blockquote")
        nodes += ["\n", node, "\n"] if is_apart else [node]
    shown = as_words(nodes, lambda _: "")
    shown = _STRUCK.sub(r"\1", shown)
    return [row for row in map(words, shown.split("\n")) if row and row[0] != "Links"]


def read_blocks(blocks: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The rows of an answer's blocks, without the links that stand again below a table."""
    said: list[str] = []
    for block in blocks:
        match block["type"]:
            case "header":
                said.append(block["text"]["text"])
            case "table":
                said += [" ".join(_text_of(cell) for cell in row) for row in block["rows"]]
            case "rich_text":
                said += [line for element in block["elements"] for line in _element_lines(element)]
    rows = (words(_STRUCK.sub(r"\1", line)) for line in said)
    return [row for row in rows if row and row[0] != "Links"]


def _element_lines(element: Mapping[str, Any]) -> list[str]:
    if element["type"] != "rich_text_list":
        return _text_of(element).split("\n")
    first = element.get("offset", 0) + 1
    is_ordered = element["style"] == "ordered"
    return [
        line
        for number, item in enumerate(element["elements"], start=first)
        for line in f"{number if is_ordered else ''} {_text_of(item)}".split("\n")
    ]


def _text_of(node: Mapping[str, Any]) -> str:
    return str(node["text"]) if "text" in node else "".join(map(_text_of, node["elements"]))


def flat(rows: Iterable[Row]) -> Row:
    return [word for row in rows for word in row]


def told(pieces: Sequence[list[Row]], source: Row) -> Row:
    """All words of consecutive pieces, without the table headings that are repeated."""
    said: Row = []
    for piece in pieces:
        repeated = piece[0] if said and piece else []
        with_it, without = flat(piece), flat(piece[1:])
        at = len(said)
        goes_on = bool(repeated) and source[at : at + len(without)] == without
        said += without if goes_on and source[at : at + len(with_it)] != with_it else with_it
    return said
