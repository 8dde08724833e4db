"""Stored messages as the demo page draws them: blocks whose texts are trees, never HTML."""

import csv
from collections.abc import Mapping
from typing import Any

from bot.demo.page_views.data import chart, data_table
from bot.demo.page_views.rich_text import rich_text, table
from bot.demo.page_views.text import Names, Node, as_words, link, markdown, mrkdwn

View = dict[str, Any]


def message(stored: Mapping[str, Any], names: Names) -> View:
    """A message for the page; the text stands in where there are no blocks, as in Slack."""
    blocks = [block(each, names) for each in stored["blocks"]]
    files = [file(each) for each in stored["files"]]
    if not blocks and (stored["text"] or not files):
        blocks = [{"type": "section", "text": mrkdwn(stored["text"], names), "fields": []}]
    return {
        "ts": stored["ts"],
        "channel": stored["channel"],
        "thread_ts": stored["thread_ts"],
        "author": stored["user"],
        "by_bot": stored["by_bot"],
        "edits": stored["edits"],
        "only_for": stored["only_for"],
        "text": stored["text"],
        "said": as_words(mrkdwn(stored["text"], names), lambda node: str(node["fallback"])),
        "mentions": _mentions([stored["text"], stored["blocks"]]),
        "blocks": blocks,
        "files": files,
    }


def block(raw: Mapping[str, Any], names: Names) -> View:
    """One block; of a type that the page can't draw, only its name."""
    kind = str(raw.get("type", ""))
    match kind:
        case "section":
            return {
                "type": kind,
                "text": text(raw.get("text"), names),
                "fields": [text(field, names) for field in raw.get("fields", [])],
                "accessory": _element(raw.get("accessory"), names),
            }
        case "context" | "actions" | "context_actions":
            return {"type": kind, "elements": [_element(each, names) for each in raw.get("elements", [])]}
        case "header":
            return {"type": kind, "text": text(raw.get("text"), names)}
        case "markdown":
            return {"type": kind, "text": markdown(str(raw.get("text", "")), names)}
        case "rich_text":
            return {"type": "markdown", "text": rich_text(raw, names)}
        case "table":
            return {"type": "markdown", "text": table(raw, names)}
        case "data_table":
            return data_table(raw, names)
        case "data_visualization":
            return chart(raw)
        case "task_card":
            return _task(raw, names)
        case "plan":
            tasks = [_task(task, names) for task in raw.get("tasks", [])]
            return {"type": kind, "title": str(raw.get("title", "")), "tasks": tasks}
        case "image":
            return _image(raw) | {"title": text(raw.get("title"), names)}
        case "divider":
            return {"type": kind}
        case _:
            return {"type": "unknown", "name": kind}


def _task(raw: Mapping[str, Any], names: Names) -> View:
    return {
        "type": "task",
        "title": "" if raw.get("hide_title") else str(raw.get("title", "")),
        "status": str(raw.get("status", "in_progress")),
        "details": rich_text(raw.get("details", {}), names),
        "output": rich_text(raw.get("output", {}), names),
        "sources": [link(str(each["url"]), [str(each["text"])]) for each in raw.get("sources", [])],
    }


def _element(raw: Mapping[str, Any] | None, names: Names) -> View | None:
    if raw is None:
        return None
    match raw.get("type"):
        case "button":
            return {
                "type": "button",
                "text": text(raw.get("text"), names),
                "action_id": raw.get("action_id", ""),
                "value": raw.get("value"),
                "url": raw.get("url"),
                "style": raw.get("style"),
                "confirm": _confirm(raw.get("confirm"), names),
            }
        case "feedback_buttons":
            return {
                "type": "feedback",
                "buttons": [
                    {
                        "text": text(raw[part]["text"], names),
                        "label": raw[part].get("accessibility_label", ""),
                        "value": raw[part]["value"],
                    }
                    for part in ("positive_button", "negative_button")
                ],
            }
        case "overflow":
            return {
                "type": "overflow",
                "action_id": raw.get("action_id", ""),
                "options": [
                    {"text": text(option.get("text"), names), "value": option.get("value", "")}
                    for option in raw.get("options", [])
                ],
                "confirm": _confirm(raw.get("confirm"), names),
            }
        case "image":
            return _image(raw)
        case "mrkdwn" | "plain_text":
            return {"type": "text", "text": text(raw, names)}
        case kind:
            return {"type": "unknown", "name": str(kind)}


def _confirm(raw: Mapping[str, Any] | None, names: Names) -> View | None:
    if raw is None:
        return None
    words = {part: text(raw.get(part), names) for part in ("title", "text", "confirm", "deny")}
    return {**words, "style": raw.get("style")}


def _image(raw: Mapping[str, Any]) -> View:
    slack_file: Mapping[str, Any] = raw.get("slack_file", {})
    return {
        "type": "image",
        "url": raw.get("image_url") or slack_file.get("url"),
        "file": slack_file.get("id"),
        "alt": raw.get("alt_text", ""),
    }


def text(raw: Mapping[str, Any] | None, names: Names) -> list[Node]:
    """A text object as a tree; nothing where there is none."""
    if raw is None:
        return []
    said = str(raw.get("text", ""))
    return mrkdwn(said, names) if raw.get("type") == "mrkdwn" else [said]


def _mentions(raw: Any) -> list[str]:
    """The ids of the people whom a message mentions, wherever it does."""
    if isinstance(raw, str):
        return [part.partition(">")[0].partition("|")[0] for part in raw.split("<@")[1:]]
    if isinstance(raw, Mapping):
        return sorted({name for each in raw.values() for name in _mentions(each)})
    if isinstance(raw, list):
        return sorted({name for each in raw for name in _mentions(each)})
    return []


Raw = Mapping[str, Any]

_ROWS = 6

_UNITS = ("B", "kB", "MB", "GB")


def file(raw: Raw) -> View:
    """A file of a message, from `StoredFile.as_json`."""
    if raw.get("mode") == "tombstone":
        return {"name": "", "title": "This file was deleted.", "size": "", "url": None, "kind": "deleted"}
    preview = raw.get("preview")
    shown: View = {
        "name": raw["name"],
        "title": raw.get("title") or raw["name"],
        "size": size(raw["size"]),
        "url": raw["url_private"],
        "kind": "other",
    }
    if str(raw["mimetype"]).startswith("image/"):
        dimensions = {"width": raw.get("original_w"), "height": raw.get("original_h")}
        return shown | dimensions | {"kind": "image", "alt": raw.get("alt_txt", "")}
    if not preview:
        return shown
    if raw["mimetype"] == "text/csv":
        return shown | _table(str(preview), raw.get("lines_more", 0))
    if raw["mimetype"] == "text/markdown":
        return shown | {"kind": "text", "text": markdown(str(preview), str), "more": raw.get("lines_more", 0)}
    plain = [{"tag": "pre", "children": [str(preview)]}]
    return shown | {"kind": "text", "text": plain, "more": raw.get("lines_more", 0)}


def size(length: int) -> str:
    """Bytes as people read them."""
    amount, unit = float(length), 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    digits = 0 if amount >= 10 or not unit else 1
    return f"{amount:.{digits}f}\N{NO-BREAK SPACE}{_UNITS[unit]}"


def _table(preview: str, lines_more: int) -> View:
    rows = [row for row in csv.reader(preview.splitlines()) if row]
    more = max(0, len(rows) - _ROWS) + lines_more
    return {"kind": "table", "head": rows[:1], "rows": rows[1:_ROWS], "more": more}
