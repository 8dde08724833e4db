"""Inputs of a modal as the demo page draws them, and the modal or Home tab around them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from bot.demo.page_views import messages
from bot.demo.page_views.text import Names
from bot.demo.slack.block_kit import view_state
from bot.demo.slack.block_kit.view_state import View
from bot.demo.slack.surfaces import OpenView


def surface(shown: OpenView, names: Names) -> messages.View:
    """A modal or a Home tab for the page, with what its person has entered."""
    content = shown.content
    return {
        "id": shown.id,
        "type": content["type"],
        "title": _plain(content.get("title")),
        "submit": _plain(content.get("submit")),
        # Slack's own words where the app gives none.
        "close": _plain(content.get("close")) or "Cancel",
        "is_above": shown.previous is not None,
        "blocks": [_block(block, names) for block in content["blocks"]],
        "values": {
            block_id: {action_id: view_state.plainly(state) for action_id, state in states.items()}
            for block_id, states in shown.values.items()
        },
        "errors": dict(shown.errors),
        "trouble": shown.trouble,
    }


def with_conversations(shown: OpenView, offered: Callable[[View], list[View]]) -> OpenView:
    """A view whose conversations selects hold their options, which Slack's client adds. `offered`: those of one."""
    blocks = [
        {**block, "element": {**block["element"], "options": offered(block["element"])}}
        if block.get("element", {}).get("type") == "conversations_select"
        else block
        for block in shown.content["blocks"]
    ]
    return replace(shown, content={**shown.content, "blocks": blocks})


def _block(raw: Mapping[str, Any], names: Names) -> messages.View:
    if raw["type"] == "input":
        return {
            "type": "input",
            "block_id": raw["block_id"],
            "label": _plain(raw["label"]),
            "hint": _plain(raw.get("hint")),
            "optional": bool(raw.get("optional")),
            "control": control(raw["element"], names),
        }
    drawn = messages.block(raw, names) | {"block_id": raw["block_id"]}
    for name in ("accessory", "elements"):
        if raw.get(name):
            drawn[name] = _with_controls(raw[name], drawn[name], names)
    return drawn


def _with_controls(raw: Any, drawn: Any, names: Names) -> Any:
    """The elements of a block as they are drawn; what holds something entered, as a control."""
    if isinstance(raw, list):
        return [_with_controls(each, made, names) for each, made in zip(raw, drawn, strict=True)]
    return control(raw, names) if raw["type"] in view_state.KINDS else drawn


def control(raw: Mapping[str, Any], names: Names) -> messages.View:
    """An input element."""
    common = {
        "type": raw["type"],
        "action_id": raw["action_id"],
        "placeholder": _plain(raw.get("placeholder")),
        "has_focus": bool(raw.get("focus_on_load")),
    }
    match raw["type"]:
        case "plain_text_input":
            return common | {
                "multiline": bool(raw.get("multiline")),
                "max_length": raw.get("max_length", view_state.TEXT_MOST),
            }
        case "external_select":
            first = raw.get("initial_option")
            return common | {
                "min_query_length": raw.get("min_query_length", view_state.QUERY_LEAST),
                "options": [option(first, names)] if first else [],
            }
        case _:
            return common | {"options": [option(each, names) for each in view_state.options(dict(raw))]}


def option(raw: Mapping[str, Any], names: Names) -> messages.View:
    """One thing to choose."""
    return {
        "value": raw["value"],
        "text": messages.text(raw["text"], names),
        "plain": _plain(raw["text"]),
        "description": messages.text(raw.get("description"), names),
    }


def _plain(raw: Mapping[str, Any] | None) -> str:
    return "" if raw is None else str(raw["text"])
