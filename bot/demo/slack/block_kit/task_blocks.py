"""The shape of Slack's blocks for what an agent does, judged as its API judges them. Pure.

Sources: docs.slack.dev/reference/block-kit/blocks/task-card-block and plan-block. Those pages know a status
`pending`, which the API refuses (slackapi/java-slack-sdk#1638), and no lengths: titles are held to the 256
characters that they have in a stream (docs.slack.dev/reference/methods/chat.appendStream).
"""

from collections.abc import Iterator

from bot.demo.slack.block_kit.blocks import (
    CONTEXT_ACTIONS,
    Check,
    array,
    boolean,
    obj,
    one_of,
    string,
    typed,
    url,
)
from bot.demo.slack.block_kit.blocks import block as other_block

TITLE_MOST = 256
TASKS_MOST = 50
"""No number is documented; a message has no more blocks than that."""

_RICH_TEXT = typed({"rich_text": other_block})
_SOURCE = typed({"url": obj({"url": url(3000), "text": string(TITLE_MOST)})})
_TASK = obj(
    {"task_id": string(255), "title": string(TITLE_MOST)},
    {
        "status": one_of("in_progress", "complete", "error"),
        "details": _RICH_TEXT,
        "output": _RICH_TEXT,
        "sources": array(_SOURCE, TASKS_MOST),
        "hide_title": boolean,
        "block_id": string(255),
    },
)
_BLOCKS: dict[str, Check] = {
    "context_actions": CONTEXT_ACTIONS,
    "task_card": _TASK,
    "plan": obj(
        {"title": string(TITLE_MOST)},
        {"tasks": array(typed({"task_card": _TASK}), TASKS_MOST), "block_id": string(255)},
    ),
}


def block(value: object, at: str) -> Iterator[str]:
    """One block of a message, of an agent's doings or any other."""
    kind = value.get("type") if isinstance(value, dict) else None
    yield from _BLOCKS.get(str(kind), other_block)(value, at)
