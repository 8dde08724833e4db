"""The independent validators detect invalid blocks, so their silence means something."""

from typing import Any

import pytest

from bot.domain.messages import Message
from tests.support import outside

BUTTON: dict[str, Any] = {
    "type": "button",
    "text": {"type": "plain_text", "text": "Go", "emoji": False},
    "action_id": "go",
}


def section(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, **more}}


@pytest.mark.parametrize(
    "blocks",
    [
        [section("")],
        [section("x" * 3_001)],
        [section("x", verbatin=True)],
        [{**section("x"), "txet": 1}],
        [{"type": "sektion"}],
        [{"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11}],
        [{"type": "actions", "elements": [BUTTON | {"url": "https://omni.co/" + "a" * 3_000}]}],
        [{"type": "actions", "elements": [BUTTON | {"value": "x" * 2_001}]}],
        [{"type": "markdown", "text": "x" * 12_001}],
        [{"type": "markdown", "text": "x" * 7_000}] * 2,
        [section("x")] * 51,
        [{"type": "rich_text", "elements": [{"type": "rich_text_quote", "elements": [{"type": "text"}]}]}],
    ],
    ids=lambda blocks: str(blocks)[:60],
)
def test_invalid_messages_are_detected(blocks: list[dict[str, Any]]) -> None:
    with pytest.raises(Exception, match=r"."):
        outside.judge(Message("text", tuple(blocks)))


def test_valid_messages_pass() -> None:
    good = [section("x", verbatim=True), {"type": "actions", "elements": [BUTTON]}, {"type": "divider"}]
    outside.judge(Message("text", tuple(good)))
    outside.judge(Message("text"))
