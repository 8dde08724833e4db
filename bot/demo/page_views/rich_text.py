"""`rich_text` and `table` blocks as the trees that the page draws (see `text`).

Source of the shapes: docs.slack.dev/reference/block-kit/blocks/rich-text-block and table-block.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bot.demo.page_views.text import Names, Node, lines, link

Raw = Mapping[str, Any]
_STYLES = {"bold": "strong", "italic": "em", "strike": "s", "code": "code"}


def rich_text(block: Raw, names: Names) -> list[Node]:
    """The tree of a `rich_text` block."""
    return [_element(element, names) for element in block.get("elements", [])]


def table(block: Raw, names: Names) -> list[Node]:
    """The tree of a `table` block; its first row is drawn as the head."""
    settings = block.get("column_settings", [])
    aligns = [str((each or {}).get("align", "left")) for each in settings]
    rows = [
        _row(row, aligns, names, "td" if index else "th") for index, row in enumerate(block.get("rows", []))
    ]
    head: Node = {"tag": "thead", "children": rows[:1]}
    body: Node = {"tag": "tbody", "children": rows[1:]}
    return [{"tag": "table", "children": [head, body]}]


def _row(cells: Sequence[Raw], aligns: Sequence[str], names: Names, tag: str) -> Node:
    drawn: list[Node] = []
    for index, cell in enumerate(cells):
        align = aligns[index] if index < len(aligns) else "left"
        inside = rich_text(cell, names) if cell.get("type") == "rich_text" else [str(cell.get("text", ""))]
        drawn.append({"tag": tag, "align": align, "children": inside})
    return {"tag": "tr", "children": drawn}


def _element(element: Raw, names: Names) -> Node:
    if element.get("border"):
        inner = {key: value for key, value in element.items() if key != "border"}
        return {"tag": "blockquote", "children": [_element(inner, names)]}
    inside = element.get("elements", [])
    match element.get("type"):
        case "rich_text_list":
            items: list[Node] = [
                {"tag": "li", "children": _inlines(item.get("elements", []), names)} for item in inside
            ]
            drawn = {"indent": int(element.get("indent", 0)), "children": items}
            if element.get("style") == "ordered":
                return {"tag": "ol", "start": int(element.get("offset", 0)) + 1, **drawn}
            return {"tag": "ul", **drawn}
        case "rich_text_quote":
            return {"tag": "blockquote", "children": _inlines(inside, names)}
        case "rich_text_preformatted":
            return {
                "tag": "pre",
                "language": element.get("language", ""),
                "children": _inlines(inside, names),
            }
        case _:
            return {"tag": "p", "children": _inlines(inside, names)}


def _inlines(elements: Sequence[Raw], names: Names) -> list[Node]:
    return [node for element in elements for node in _inline(element, names)]


def _inline(element: Raw, names: Names) -> list[Node]:
    match element.get("type"):
        case "text":
            nodes = lines(str(element.get("text", "")))
        case "link":
            nodes = [link(str(element.get("url", "")), [str(element.get("text") or element.get("url", ""))])]
        case "user":
            return [_mention(str(element.get("user_id", "")), "@", names)]
        case "channel":
            return [_mention(str(element.get("channel_id", "")), "#", names)]
        case "broadcast":
            return [_mention(str(element.get("range", "")), "@", str)]
        case "emoji":
            return [f":{element.get('name', '')}:"]
        case "date":
            return [_date(element)]
        case _:
            return []
    for name, tag in _STYLES.items():
        if (element.get("style") or {}).get(name):
            nodes = [{"tag": tag, "children": nodes}]
    return nodes


def _mention(some_id: str, sign: str, names: Names) -> Node:
    return {"tag": "mention", "id": some_id, "children": [f"{sign}{names(some_id)}"]}


def _date(element: Raw) -> Node:
    fallback = str(element.get("fallback", ""))
    seconds = element.get("timestamp")
    if not isinstance(seconds, int):
        return fallback
    return {
        "tag": "time",
        "unix": seconds,
        "format": str(element.get("format", "")),
        "fallback": fallback,
        "href": "",
    }
