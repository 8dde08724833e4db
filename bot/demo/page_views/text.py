"""Slack's two ways of writing rich text, mrkdwn and Markdown, as a tree that a page can draw safely.

A node is a string (text, to be shown as it is) or a dict with a `tag` and perhaps `children`. The page
builds elements from a list of known tags, so nothing that a message says can become HTML.

Source of both grammars: docs.slack.dev/messaging/formatting-message-text and
docs.slack.dev/reference/block-kit/blocks/markdown-block.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

Node = str | dict[str, Any]
Names = Callable[[str], str]
"""Display names: `U…` or `C…` into a name without its `@` or `#`."""

_FENCE = re.compile(r"```\n?(.*?)\n?```", re.DOTALL)
_QUOTE = re.compile(r"(?:>|&gt;) ?")
_ATOM = re.compile(r"`([^`\n]+)`|<([^<>\n]+)>")
_HELD = re.compile("\ue000(\\d+)\ue001")
_PRIVATE_USE = re.compile("[\ue000\ue001]")
_EMPHASIS = re.compile(
    r"(?<!\w)(?:\*(?=\S)(?P<strong>[^*\n]+?)(?<=\S)\*|_(?=\S)(?P<em>[^_\n]+?)(?<=\S)_"
    r"|~(?=\S)(?P<s>[^~\n]+?)(?<=\S)~)(?!\w)"
)
_BOX = re.compile(r"\[([ xX])\] ")
_ANGLE = re.compile(r"<([^<>\n]+)>")
_SAFE_LINK = re.compile(r"(?:https?|mailto):", re.IGNORECASE)
_MARKDOWN = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])


def mrkdwn(text: str, names: Names) -> list[Node]:
    """The tree of a mrkdwn text."""
    nodes: list[Node] = []
    for index, part in enumerate(_FENCE.split(_PRIVATE_USE.sub("", text))):
        if index % 2:
            nodes.append({"tag": "pre", "children": [_unescape(part)]})
        elif part:
            nodes += _lines(part, names)
    return nodes


def markdown(text: str, names: Names) -> list[Node]:
    """The tree of a `markdown` block's text."""
    return _children(SyntaxTreeNode(_MARKDOWN.parse(text)), names)


def as_words(nodes: Sequence[Node], when: Callable[[dict[str, Any]], str]) -> str:
    """Plain text of a tree. `when` formats a `time` node."""
    return "".join(node if isinstance(node, str) else _words_of(node, when) for node in nodes)


def _words_of(node: dict[str, Any], when: Callable[[dict[str, Any]], str]) -> str:
    if node["tag"] == "br":
        return "\n"
    if node["tag"] == "time":
        return when(node)
    return as_words(node.get("children", ()), when)


def _lines(text: str, names: Names) -> list[Node]:
    nodes: list[Node] = []
    quoted: list[str] = []
    plain: list[str] = []

    def flush(lines: list[str], tag: str | None) -> None:
        if not lines:
            return
        children = _inline("\n".join(lines), names)
        nodes.extend([{"tag": tag, "children": children}] if tag else children)
        lines.clear()

    for line in text.split("\n"):
        if mark := _QUOTE.match(line):
            flush(plain, None)
            quoted.append(line[mark.end() :])
        else:
            flush(quoted, "blockquote")
            plain.append(line)
    flush(plain, None)
    flush(quoted, "blockquote")
    return nodes


def _inline(text: str, names: Names) -> list[Node]:
    held: list[Node] = []

    def hold(match: re.Match[str]) -> str:
        code, angle = match.groups()
        held.append({"tag": "code", "children": [_unescape(code)]} if code else _reference(angle, names))
        return f"\ue000{len(held) - 1}\ue001"

    return _emphasised(_ATOM.sub(hold, text), held)


def _emphasised(text: str, held: list[Node]) -> list[Node]:
    nodes: list[Node] = []
    end = 0
    for match in _EMPHASIS.finditer(text):
        nodes += _leaves(text[end : match.start()], held)
        tag = str(match.lastgroup)
        nodes.append({"tag": tag, "children": _emphasised(match.group(tag), held)})
        end = match.end()
    return nodes + _leaves(text[end:], held)


def _leaves(text: str, held: list[Node]) -> list[Node]:
    nodes: list[Node] = []
    for index, part in enumerate(_HELD.split(text)):
        nodes += [held[int(part)]] if index % 2 else lines(_unescape(part))
    return nodes


def lines(text: str) -> list[Node]:
    """A text without markup; its line breaks become breaks."""
    nodes: list[Node] = []
    for line in text.split("\n"):
        nodes += [{"tag": "br"}, line]
    return [node for node in nodes[1:] if node != ""]


def _reference(inner: str, names: Names) -> Node:
    """A reference between `<` and `>`: a user, a channel, a broadcast, a date or a URL."""
    target, _, label = inner.partition("|")
    if target.startswith("@"):
        return {"tag": "mention", "id": target[1:], "children": [f"@{names(target[1:])}"]}
    if target.startswith("#"):
        return {"tag": "mention", "id": target[1:], "children": [f"#{names(target[1:])}"]}
    if target.startswith("!date^"):
        return _date(target, label)
    if target.startswith("!"):
        return {"tag": "mention", "id": target, "children": [f"@{label or target[1:]}"]}
    if _SAFE_LINK.match(target):
        return {"tag": "a", "href": _unescape(target), "children": [_unescape(label or target)]}
    return f"<{_unescape(inner)}>"


def _date(target: str, fallback: str) -> Node:
    _, seconds, form, *link = [*target.split("^"), ""][:4]
    if not seconds.isdecimal():
        return fallback
    return {"tag": "time", "unix": int(seconds), "format": form, "fallback": fallback, "href": link[0]}


def _unescape(text: str) -> str:
    """Slack knows three entities; `&amp;` last, so that `&amp;lt;` shows as `&lt;`."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


_TAGS = {
    "heading": "h4",
    "bullet_list": "ul",
    "blockquote": "blockquote",
    "strong": "strong",
    "em": "em",
    "s": "s",
    "table": "table",
    "thead": "thead",
    "tbody": "tbody",
    "tr": "tr",
}


def _children(node: SyntaxTreeNode, names: Names) -> list[Node]:
    return [built for child in node.children for built in _build(child, names)]


def _build(node: SyntaxTreeNode, names: Names) -> list[Node]:
    kind = node.type
    if kind in _TAGS:
        return [{"tag": _TAGS[kind], "children": _children(node, names)}]
    match kind:
        case "text":
            return _with_references(node.content, names)
        case "softbreak" | "hardbreak":
            return [{"tag": "br"}]
        case "code_inline":
            return [{"tag": "code", "children": [node.content]}]
        case "list_item":
            return [_item(_children(node, names))]
        case "code_block":
            return [{"tag": "pre", "children": [node.content.removesuffix("\n")]}]
        case "fence":
            language = (node.info.split() or [""])[0]
            return [{"tag": "pre", "language": language, "children": [node.content.removesuffix("\n")]}]
        case "hr":
            return [{"tag": "hr"}]
        case "paragraph":
            children = _children(node, names)
            return children if node.hidden else [{"tag": "p", "children": children}]
        case "ordered_list":
            return [
                {"tag": "ol", "start": int(node.attrs.get("start", 1)), "children": _children(node, names)}
            ]
        case "th" | "td":
            align = str(node.attrs.get("style", "")).removeprefix("text-align:")
            return [{"tag": kind, "align": align, "children": _children(node, names)}]
        case "link":
            return [link(str(node.attrs.get("href", "")), _children(node, names))]
        case "image":
            # Slack shows an image in Markdown as a link to it.
            return [link(str(node.attrs.get("src", "")), [node.content or "image"])]
        case _:
            return _children(node, names)


def _item(children: list[Node]) -> Node:
    """A list item; one that begins with `[ ]` or `[x]` is a task."""
    item: dict[str, Any] = {"tag": "li", "children": children}
    first = children[0] if children else ""
    inside = first["children"] if isinstance(first, dict) and first["tag"] == "p" else children
    if inside and isinstance(inside[0], str) and (box := _BOX.match(inside[0])):
        inside[0] = inside[0][box.end() :]
        item["task"] = "open" if box.group(1) == " " else "done"
    return item


def link(href: str, children: list[Node]) -> Node:
    """A link where the address is a web or mail address, else only its words."""
    if _SAFE_LINK.match(href):
        return {"tag": "a", "href": href, "children": children}
    return {"tag": "span", "children": children}


def _with_references(text: str, names: Names) -> list[Node]:
    nodes: list[Node] = []
    for index, part in enumerate(_ANGLE.split(text)):
        nodes.append(_reference(part, names) if index % 2 else part)
    return [node for node in nodes if node != ""]
