"""Reads an answer, and the messages that Slack shows for it, word by word, independently of the bot's code.

A row is a line of text, a row of a table or a line of code. Numbers of lists count as words.
"""

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from bot.demo.page_views.text import as_words, mrkdwn

Row = list[str]

_DEEPEST = 50
_PARSER = MarkdownIt("commonmark", {"html": False, "maxNesting": _DEEPEST}).enable(["table", "strikethrough"])
LIVE = re.compile(r"<[!@#]\S|@(?:here|channel|everyone)", re.IGNORECASE)

_HIDDEN = re.compile("[\u00ad\u200b\u200c\u200d\u2060-\u206f\ufe00-\ufe0f\ufeff\u202a-\u202e\u200e\u200f]")


def as_anybody_reads_it(text: str) -> str:
    """Decode all entities, also nested ones, and remove escapes and joiners."""
    for _ in range(4):
        text = html.unescape(text)
    return re.sub("[\\\\\u200c\u200d\ufe00-\ufe0f]", "", text)


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
    return [row for row in map(words, shown.split("\n")) if row]


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
