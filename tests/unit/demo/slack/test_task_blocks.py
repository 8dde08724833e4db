"""Validation of tasks and plans, with Slack's own errors."""

from typing import Any

import pytest

from bot.demo.slack.block_kit.messages import Refusal, judge

Block = dict[str, Any]


def said(text: str = "hello") -> Block:
    inside = {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}
    return {"type": "rich_text", "elements": [inside]}


def task(**changes: Any) -> Block:
    return {"type": "task_card", "task_id": "1", "title": "Query", "status": "in_progress", **changes}


def test_complete_task_and_plan_pass() -> None:
    source = {"type": "url", "url": "https://example.com/1", "text": "Orders"}
    whole = task(status="complete", details=said(), output=said(), sources=[source], hide_title=False)
    plan = {"type": "plan", "title": "Two steps", "tasks": [task(task_id="2", status="error"), whole]}
    assert judge("text", [plan]) is None
    assert judge("text", plan["tasks"]) is None


def test_plan_is_not_mixed_with_tasks() -> None:
    refusal = judge("text", [task(), {"type": "plan", "title": "One step", "tasks": [task(task_id="2")]}])
    assert refusal is not None and refusal.error == "invalid_blocks"


def test_task_id_is_used_once() -> None:
    refusal = judge("text", [{"type": "plan", "title": "Two steps", "tasks": [task(), task()]}])
    assert refusal is not None and refusal.messages[0].startswith("task_id `1` already exists")


@pytest.mark.parametrize(
    "block, complaint",
    [
        (task(status="pending"), "must be a valid enum value [json-pointer:/blocks/0/status]"),
        (task(status="done"), "must be a valid enum value [json-pointer:/blocks/0/status]"),
        (task(title=""), "must be more than 0 characters [json-pointer:/blocks/0/title]"),
        (task(title="x" * 257), "must be less than 257 characters [json-pointer:/blocks/0/title]"),
        (task(title={"type": "plain_text", "text": "x"}), "must be a string [json-pointer:/blocks/0/title]"),
        (task(details="text"), "must provide an object [json-pointer:/blocks/0/details]"),
        (task(progress=3), "invalid additional property: progress [json-pointer:/blocks/0]"),
        (
            {"type": "task_card", "title": "Query"},
            "missing required field: task_id [json-pointer:/blocks/0]",
        ),
        (
            task(sources=[{"type": "url", "url": "javascript:1", "text": "x"}]),
            "invalid url [json-pointer:/blocks/0/sources/0/url]",
        ),
        ({"type": "plan", "tasks": [task()]}, "missing required field: title [json-pointer:/blocks/0]"),
        (
            {"type": "plan", "title": "x", "tasks": [said()]},
            "unsupported type: rich_text [json-pointer:/blocks/0/tasks/0/type]",
        ),
    ],
)
def test_malformed_task_error_names_its_path(block: Block, complaint: str) -> None:
    refusal = judge("text", [block])
    assert refusal == Refusal("invalid_blocks", (complaint,))
