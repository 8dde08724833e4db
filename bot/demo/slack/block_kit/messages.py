"""Validates messages as Slack does. Pure.

The validation returns Slack's error code with the details that Slack adds as `response_metadata.messages`
(`"[ERROR] must be less than 3001 characters [json-pointer:/blocks/1/text/text]"`). Where the sources
disagree or are silent it is the stricter one: what passes here should pass there.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bot.demo.slack.block_kit import blocks as blocks_module
from bot.demo.slack.block_kit import data_blocks, markdown

TEXT_MOST = 4000
"""`text`, in characters. Source: docs.slack.dev/reference/methods/chat.update (`msg_too_long`).
chat.postMessage documents 40,000 but answers the same above 4,000 (seratch/ChatGPT-in-Slack#102)."""
BLOCKS_MOST = 50
"""Blocks in a message, markdown blocks counted as translated. Source: docs.slack.dev/reference/block-kit."""
MARKDOWN_MOST = 12_000
"""Characters over all markdown blocks. Source: docs.slack.dev/reference/block-kit/blocks/markdown-block."""
TABLE_CHARACTERS_MOST = 10_000
"""Characters over all table cells. Source: docs.slack.dev/reference/block-kit/blocks/table-block."""
WEIGHT_MOST = 13_000
BLOCK_WEIGHT = 60
"""Slack's formula for `msg_blocks_too_long` is not public. Text plus 60 for each block that is not
markdown, at most 13,000, agrees with every report: refused at 13,297 characters of markdown, at 13,172
with a divider (slackapi/bolt-js#2509), at 11,341 in 45 blocks; taken at 9,597 in 50 and 6,020 in 33
(slackapi/bolt-js#2867)."""
METADATA_MOST = 16_000
"""Characters of metadata as JSON. Slack has `metadata_too_large` but documents no number: an assumption."""


class Malformed(ValueError):
    """An argument that should be JSON of a certain shape and is not."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why Slack does not take a payload: its error code, and what it says in detail."""

    error: str
    messages: tuple[str, ...] = ()


Block = dict[str, Any]


def judge(text: object, blocks: object, *, markdown_allowed: bool = True) -> Refusal | None:
    """Judge the content of a message; None if Slack would take it.

    `blocks` is a list, or the same as a JSON string, or None. `markdown_allowed` is False where markdown
    blocks are not documented to work: response_url, answers to envelopes, chat.postEphemeral.
    """
    try:
        decoded = decode_blocks(blocks)
    except Malformed:
        return Refusal("invalid_blocks_format")
    if text is not None and not isinstance(text, str):
        return Refusal("invalid_arguments", ("must be a string [json-pointer:/text]",))
    if not decoded and not (text or "").strip():
        return Refusal("no_text")
    if len(text or "") > TEXT_MOST:
        return Refusal("msg_too_long")
    return _judge_blocks(decoded, markdown_allowed)


def decode_blocks(blocks: object) -> list[Any]:
    """The blocks as a list, however they were sent.

    Raises:
        Malformed: neither a list nor the JSON of one.
    """
    decoded = decode(blocks)
    if decoded is None:
        return []
    if not isinstance(decoded, list):
        raise Malformed("not a list of blocks")
    return decoded


def decode(argument: object) -> object:
    """An argument that may be sent as JSON in a string.

    Raises:
        Malformed: a string that is no JSON.
    """
    if not isinstance(argument, str):
        return argument
    try:
        decoded: object = json.loads(argument)
    except ValueError:
        raise Malformed("not JSON") from None
    return decoded


def judge_markdown_text(markdown_text: object, *, alone: bool) -> Refusal | None:
    """Judge `markdown_text`, which excludes `text` and `blocks`.

    Source: docs.slack.dev/reference/methods/chat.postMessage.
    """
    if not alone:
        return Refusal("markdown_text_conflict")
    if not isinstance(markdown_text, str) or not markdown_text.strip():
        return Refusal("no_text")
    if len(markdown_text) > MARKDOWN_MOST:
        return Refusal("msg_too_long")
    return _judge_whole([{"type": "markdown", "text": markdown_text}])


def judge_metadata(metadata: object) -> Refusal | None:
    """Judge message metadata: an `event_type` and an `event_payload`, nothing else.

    Source: docs.slack.dev/messaging/message-metadata.
    """
    try:
        decoded = decode_metadata(metadata)
    except Malformed:
        return Refusal("invalid_metadata_format")
    if len(json.dumps(decoded)) > METADATA_MOST:
        return Refusal("metadata_too_large")
    return None


def decode_metadata(metadata: object) -> dict[str, Any]:
    """Message metadata as an object, however it was sent.

    Raises:
        Malformed: not an object with `event_type` and `event_payload`, or not the JSON of one.
    """
    decoded = decode(metadata)
    if not isinstance(decoded, dict) or set(decoded) != {"event_type", "event_payload"}:
        raise Malformed("not metadata")
    if not isinstance(decoded["event_type"], str) or not decoded["event_type"]:
        raise Malformed("no event_type")
    if not isinstance(decoded["event_payload"], dict):
        raise Malformed("no event_payload")
    return decoded


def _judge_blocks(blocks: list[Any], markdown_allowed: bool) -> Refusal | None:
    if len(blocks) > BLOCKS_MOST:
        return _invalid_blocks([_too_many_blocks()])
    problems: list[str] = []
    for index, block in enumerate(blocks):
        at = f"/blocks/{index}"
        if not markdown_allowed and isinstance(block, dict) and block.get("type") == "markdown":
            problems.append(f"unsupported type: markdown [json-pointer:{at}/type]")
        problems += data_blocks.block(block, at)
    problems += _repeated_ids(blocks)
    if problems:
        return _invalid_blocks(problems)
    return _judge_whole(blocks)


def _judge_whole(blocks: Sequence[Block]) -> Refusal | None:
    """Check the message as a whole, after its blocks."""
    texts = [block["text"] for block in blocks if block["type"] == "markdown"]
    pieces = [piece for text in texts for piece in markdown.translate(text)]
    others = [block for block in blocks if block["type"] != "markdown"]
    if len(others) + len(pieces) > BLOCKS_MOST:
        return _invalid_blocks([_too_many_blocks()])
    if sum(map(len, texts)) > MARKDOWN_MOST:
        return Refusal("msg_blocks_too_long")
    for piece in pieces:
        # That a translated heading is held to the header block's own limits is an assumption.
        if piece.kind == "header" and not 0 < piece.characters <= blocks_module.HEADER_CHARACTERS:
            return _invalid_blocks(["must be less than 151 characters [json-pointer:/blocks]"])
    if refusal := _judge_tables([block for block in others if block["type"] == "table"], pieces):
        return refusal
    if refusal := _judge_data(blocks):
        return refusal
    if {"plan", "task_card"} <= {block["type"] for block in blocks}:
        # Reported by apps that use both (gitlab-org/gitlab, merge request 242201). The wording is an assumption.
        return _invalid_blocks(["plan and task_card are not allowed together [json-pointer:/blocks]"])
    if sum(map(len, _texts(blocks))) + BLOCK_WEIGHT * len(others) > WEIGHT_MOST:
        return Refusal("msg_blocks_too_long")
    return None


def _judge_tables(tables: Sequence[Block], pieces: Sequence[markdown.Piece]) -> Refusal | None:
    translated = [piece for piece in pieces if piece.kind == "table"]
    if len(tables) + len(translated) > 1:
        # Older pages and many reports say so, the newest page no longer does: the stricter one counts.
        return Refusal("invalid_attachments", ("only_one_table_allowed",))
    for piece in translated:
        if piece.empty_cells:
            # One empty cell rejects the message (NousResearch/hermes-agent#72871).
            return _invalid_blocks(["must be more than 0 characters [json-pointer:/blocks]"])
        # That a translated table is held to the table block's own limits is an assumption.
        if piece.rows > blocks_module.TABLE_ROWS or piece.columns > blocks_module.TABLE_COLUMNS:
            return _invalid_blocks(["no more than 100 rows of 20 cells allowed [json-pointer:/blocks]"])
    characters = sum(map(len, _texts(tables))) + sum(piece.characters for piece in translated)
    if characters > TABLE_CHARACTERS_MOST:
        return _invalid_blocks(["must be less than 10001 characters [json-pointer:/blocks]"])
    return None


def _judge_data(blocks: Sequence[Block]) -> Refusal | None:
    if sum(1 for block in blocks if block["type"] == "data_visualization") > data_blocks.CHARTS_MOST:
        return _invalid_blocks(
            [f"no more than {data_blocks.CHARTS_MOST} charts allowed [json-pointer:/blocks]"]
        )
    if sum(map(data_blocks.table_characters, blocks)) > data_blocks.TABLE_CHARACTERS_MOST:
        return _invalid_blocks(["must be less than 20001 characters [json-pointer:/blocks]"])
    return None


def _repeated_ids(blocks: Sequence[Any]) -> Iterator[str]:
    """Docs: a block_id once per message, an action_id once per block, nothing about a task_id. Here all once per
    message, since one action_id twice in a message makes a click ambiguous. The wording is an assumption."""
    for key in ("block_id", "action_id", "task_id"):
        for value, times in Counter(values_of(blocks, key)).items():
            if times > 1:
                yield f"{key} `{value}` already exists [json-pointer:/blocks]"


def values_of(node: object, key: str) -> Iterator[str]:
    """Every string under `key`, at any depth."""
    if isinstance(node, dict):
        if isinstance(node.get(key), str):
            yield node[key]
        for value in node.values():
            yield from values_of(value, key)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from values_of(value, key)


def _texts(blocks: Sequence[Any]) -> Iterator[str]:
    return values_of(list(blocks), "text")


def _too_many_blocks() -> str:
    return f"no more than {BLOCKS_MOST} items allowed [json-pointer:/blocks]"


def _invalid_blocks(problems: Sequence[str]) -> Refusal:
    return Refusal("invalid_blocks", tuple(problems))
