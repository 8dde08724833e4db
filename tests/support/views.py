"""Views that Slack takes, for the tests of what it makes of them."""

from typing import Any

View = dict[str, Any]


def plain(text: str) -> View:
    return {"type": "plain_text", "text": text}


def option(value: str, text: str | None = None) -> View:
    return {"text": plain(text or value.title()), "value": value}


def text_input(block_id: str = "question", **more: Any) -> View:
    element = {"type": "plain_text_input", "action_id": f"{block_id}_text", "multiline": True}
    return {"type": "input", "block_id": block_id, "label": plain("Question"), "element": element} | more


def select(block_id: str = "model", **more: Any) -> View:
    element = {
        "type": "static_select",
        "action_id": f"{block_id}_choice",
        "options": [option("sales"), option("growth")],
    }
    return {"type": "input", "block_id": block_id, "label": plain("Model"), "element": element | more}


def external(block_id: str = "topic", **more: Any) -> View:
    element = {"type": "external_select", "action_id": f"{block_id}_choice", "min_query_length": 0}
    block = {"type": "input", "block_id": block_id, "label": plain("Topic"), "optional": True}
    return block | {"element": element | more}


def choices(kind: str, block_id: str = "where", **more: Any) -> View:
    element = {
        "type": kind,
        "action_id": f"{block_id}_choice",
        "options": [option("here"), option("private")],
    }
    return {"type": "input", "block_id": block_id, "label": plain("Where"), "element": element | more}


def button(action_id: str = "press", value: str = "1", **more: Any) -> View:
    element = {"type": "button", "action_id": action_id, "value": value, "text": plain("Press")}
    return {"type": "actions", "elements": [element | more]}


def section(text: str = "Hello", **more: Any) -> View:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}} | more


def modal(*blocks: View, **more: Any) -> View:
    view = {"type": "modal", "callback_id": "ask", "title": plain("Ask Omni"), "submit": plain("Ask")}
    return view | {"blocks": list(blocks) or [text_input()]} | more


def home(*blocks: View, **more: Any) -> View:
    return {"type": "home", "blocks": list(blocks) or [section()]} | more


def conversations(block_id: str = "channel", **more: Any) -> View:
    element = {"type": "conversations_select", "action_id": f"{block_id}_choice"}
    return {"type": "input", "block_id": block_id, "label": plain("Channel"), "element": element | more}
