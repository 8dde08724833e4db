"""Checks messages with two independent libraries: slackblocks and the models of slack_sdk.

Every block is built anew with the constructors of slackblocks 3, which check lengths, counts and types by
their own table of Slack's limits, and has to come out as it went in. slack_sdk reads it back too, and drops
what it does not know, so it has to come out whole as well.

These can't check, and the simulator does: what a `markdown` block becomes in Slack (how many blocks,
how many tables), Slack's total for a message (`msg_blocks_too_long`), whether an id is repeated, and the
length of `text`. slackblocks 3.0 does not know a section's `expand`, the `language` of code and rich text in
a table's cell, and slack_sdk 3.47 neither `data_table` nor `data_visualization`.
"""

from typing import Any

import slackblocks
from slack_sdk.models.blocks import Block as SdkBlock

from bot.domain.messages import Message

Raw = dict[str, Any]


class NotJudged(AssertionError):
    """A block that this module can't check yet."""


def judge(message: Message) -> None:
    """Raise AssertionError, or the library's own error, if either library rejects the message."""
    blocks = [_with_plain_cells(block) for block in message.blocks]
    built = [_built(block) for block in blocks]
    whole = slackblocks.Message(channel="C0DATA", text=message.text, blocks=built or None)
    resolved = whole._resolve()
    for given, found in zip(blocks, resolved.get("blocks") or [], strict=True):
        assert _plain(found) == _plain(given), f"slackblocks makes {found} of {given}"
    for block in message.blocks:
        if block["type"] not in ("data_table", "data_visualization"):
            _judge_by_sdk(block)


def _with_plain_cells(block: Raw) -> Raw:
    """A table with its rich cells judged apart."""
    if block["type"] != "table":
        return block
    for cell in (cell for row in block["rows"] for cell in row if cell["type"] == "rich_text"):
        assert _plain(_rich_text(cell)._resolve()) == _plain(cell)
    rows = [
        [cell if cell["type"] == "raw_text" else {"type": "raw_text", "text": "rich"} for cell in row]
        for row in block["rows"]
    ]
    return block | {"rows": rows}


def _judge_by_sdk(block: Raw) -> None:
    read = SdkBlock.parse(block)
    assert read is not None, f"slack_sdk does not know {block['type']}"
    read.validate_json()
    assert _plain(read.to_dict()) == _plain(block), f"slack_sdk makes {read.to_dict()} of {block}"


_ADDED: Raw = {
    "offset": 0,
    "border": 0,
    "emoji": False,
    "verbatim": False,
    "page_size": 5,
    "row_header_column_index": 0,
    "type": "task_card",
}
"""Defaults that a library writes, or leaves out inside a plan."""


def _plain(node: Any) -> Any:
    """A block without the keys that a library adds or does not know."""
    if isinstance(node, dict):
        return {
            key: _plain(value)
            for key, value in node.items()
            if key not in ("block_id", "expand", "language") and not (key in _ADDED and value == _ADDED[key])
        }
    return [_plain(each) for each in node] if isinstance(node, list | tuple) else node


def _built(block: Raw) -> slackblocks.Block:
    match block["type"]:
        case "section":
            accessory = block.get("accessory")
            return slackblocks.SectionBlock(
                _text(block["text"]) if "text" in block else None,
                fields=[_text(field) for field in block.get("fields", ())] or None,
                accessory=_button(accessory) if accessory else None,
            )
        case "context":
            return slackblocks.ContextBlock([_text(element) for element in block["elements"]])
        case "actions":
            return slackblocks.ActionsBlock([_control(element) for element in block["elements"]])
        case "context_actions":
            return slackblocks.ContextActionsBlock([_feedback(element) for element in block["elements"]])
        case "markdown":
            return slackblocks.MarkdownBlock(block["text"])
        case "rich_text":
            return _rich_text(block)
        case "table":
            rows = [[_cell(cell) for cell in row] for row in block["rows"]]
            columns = [slackblocks.ColumnSettings(**each) for each in block.get("column_settings", ())]
            return slackblocks.TableBlock(rows, columns or None)
        case "data_table":
            rows = [[_cell(cell) for cell in row] for row in block["rows"]]
            more = {key: block[key] for key in ("page_size", "row_header_column_index") if key in block}
            return slackblocks.DataTableBlock(rows, block["caption"], **more)
        case "task_card":
            return _task(block)
        case "plan":
            return slackblocks.PlanBlock(block["title"], [_task(task) for task in block.get("tasks", ())])
        case "divider" | "header" | "image":
            return slackblocks.Block.from_dict(block)
        case unknown:
            raise NotJudged(f"tests/support/outside.py has no judge for {unknown}")


def _text(text: Raw) -> slackblocks.Text:
    kind = slackblocks.TextType(text["type"])
    return slackblocks.Text(text["text"], kind, text.get("emoji", False), text.get("verbatim", False))


def _control(element: Raw) -> Any:
    if element["type"] != "overflow":
        return _button(element)
    options = [slackblocks.Option(_text(option["text"]), option["value"]) for option in element["options"]]
    confirm = _confirm(element["confirm"]) if "confirm" in element else None
    return slackblocks.OverflowMenu(element["action_id"], options, confirm)


def _button(button: Raw) -> slackblocks.Button:
    if button["type"] != "button":
        raise NotJudged(f"tests/support/outside.py has no judge for {button['type']}")
    more = {key: button[key] for key in button.keys() - {"type", "text", "confirm"}}
    confirm = _confirm(button["confirm"]) if "confirm" in button else None
    return slackblocks.Button(_text(button["text"]), confirm=confirm, **more)


def _feedback(element: Raw) -> slackblocks.FeedbackButtons:
    parts = {
        part: slackblocks.FeedbackButton(**{**element[part], "text": _text(element[part]["text"])})
        for part in ("positive_button", "negative_button")
    }
    return slackblocks.FeedbackButtons(**parts, action_id=element["action_id"])


def _confirm(dialog: Raw) -> slackblocks.ConfirmationDialogue:
    parts = {part: _text(dialog[part]) for part in ("title", "text", "confirm", "deny")}
    return slackblocks.ConfirmationDialogue(**parts, style=dialog.get("style"))


def _rich_text(block: Raw) -> slackblocks.RichTextBlock:
    return slackblocks.RichTextBlock([_element(element) for element in block["elements"]])


def _element(element: Raw) -> Any:
    more = {key: element[key] for key in ("indent", "offset", "border") if key in element}
    inside = element["elements"]
    match element["type"]:
        case "rich_text_list":
            return slackblocks.RichTextList(element["style"], [_element(item) for item in inside], **more)
        case "rich_text_quote":
            return slackblocks.RichTextQuote([_inline(each) for each in inside], **more)
        case "rich_text_preformatted":
            return slackblocks.RichTextCodeBlock([_inline(each) for each in inside], **more)
        case _:
            return slackblocks.RichTextSection([_inline(each) for each in inside])


def _inline(element: Raw) -> slackblocks.RichTextElement:
    match element["type"]:
        case "text":
            return slackblocks.RichText(element["text"], **element.get("style", {}))
        case "link":
            return slackblocks.RichTextLink(element["url"], element.get("text"), **element.get("style", {}))
        case unknown:
            raise NotJudged(f"tests/support/outside.py has no judge for {unknown}")


def _cell(cell: Raw) -> Any:
    match cell["type"]:
        case "raw_text":
            return slackblocks.RawText(cell["text"])
        case "raw_number":
            return slackblocks.RawNumber(cell["value"], cell["text"])
        case _:
            return _rich_text(cell)


def _task(task: Raw) -> slackblocks.TaskCardBlock:
    details, output = (_rich_text(task[key]) if key in task else None for key in ("details", "output"))
    return slackblocks.TaskCardBlock(
        task["task_id"], task["title"], details=details, output=output, status=task.get("status")
    )
