"""The chat.* methods of the Web API. No I/O.

Source of their errors: docs.slack.dev/reference/methods/<method>, unless noted.
"""

from typing import Any

from bot.demo.slack.block_kit import messages
from bot.demo.slack.limits import POSTS_PER_MINUTE, TIER_3, TIER_4
from bot.demo.slack.web_api.call import (
    Answer,
    Call,
    Method,
    Refused,
    message_json,
    need_content,
    need_membership,
    stored_message,
    thread_argument,
    visible_channel,
)
from bot.demo.slack.workspace import Channel

_CONTENT = {"channel", "text", "blocks", "attachments", "markdown_text", "metadata", "parse", "link_names"}
_POST = {
    *_CONTENT,
    "thread_ts",
    "reply_broadcast",
    "unfurl_links",
    "unfurl_media",
    "unfurl_app_links",
    "mrkdwn",
}


def _post(call: Call) -> Answer:
    channel = _destination(call)
    if channel.archived:
        raise Refused("is_archived")
    need_membership(call, channel)
    _admit_to(call, channel)
    thread = thread_argument(call, channel)
    text, blocks = _content(call)
    message = call.workspace.post(
        channel, call.workspace.bot.id, text, blocks=blocks, metadata=_metadata(call), thread=thread
    )
    shown = message_json(call.workspace, message, all_metadata=True)
    return {"ok": True, "channel": channel.id, "ts": message.ts, "message": shown}


def _destination(call: Call) -> Channel:
    """Only for posting, a person's id stands for the direct message with them.

    A channel's name would do for Slack too; here only ids do, so that nothing depends on names.
    """
    user = call.workspace.users.get(call.text("channel"))
    if user is not None and not user.is_bot:
        return call.workspace.direct(user.id)
    return visible_channel(call)


def _admit_to(call: Call, channel: Channel) -> None:
    if call.limits is not None and (seconds := call.limits.admit_post(channel.id, call.now)):
        raise Refused("rate_limited", retry_after=seconds)


def _content(call: Call, *, markdown_allowed: bool = True) -> tuple[str, list[dict[str, Any]]]:
    """Validate the content. Attachments are legacy and unused by this bot."""
    text, blocks = call.args.get("text"), call.args.get("blocks")
    if call.args.get("attachments"):
        raise Refused("invalid_attachments")
    markdown_text = call.args.get("markdown_text")
    if markdown_text is not None:
        need_content(messages.judge_markdown_text(markdown_text, alone=text is None and blocks is None))
        return str(markdown_text), [{"type": "markdown", "text": markdown_text}]
    need_content(messages.judge(text, blocks, markdown_allowed=markdown_allowed))
    decoded = messages.decode_blocks(blocks)
    _need_files(call, decoded)
    return text or "", decoded


def _need_files(call: Call, blocks: list[dict[str, Any]]) -> None:
    """Refuse image blocks with files that do not exist, are no images, or were not processed yet.

    Source of code and words: slackapi/python-slack-sdk#1658 and #1797.
    """
    problems = tuple(
        f"invalid slack file [json-pointer:/blocks/{index}/slack_file]"
        for index, block in enumerate(blocks)
        if "slack_file" in block and not call.workspace.may_show(block["slack_file"])
    )
    if problems:
        raise Refused("invalid_blocks", problems)


def _metadata(call: Call) -> dict[str, Any] | None:
    if call.args.get("metadata") is None:
        return None
    need_content(messages.judge_metadata(call.args["metadata"]))
    return messages.decode_metadata(call.args["metadata"])


def _update(call: Call) -> Answer:
    channel = visible_channel(call)
    ts = call.text("ts")
    if channel.archived:
        raise Refused("is_inactive")
    # Whether a bot may edit in a public channel that it has left is not documented: the stricter way.
    need_membership(call, channel)
    message = stored_message(channel, ts)
    if message.user != call.workspace.bot.id:
        raise Refused("cant_update_message")
    metadata = _metadata(call)
    if _keeps_content(call):
        # "If you don't include blocks, the message's previous blocks will only be retained if the text
        # argument is not provided." With neither, only metadata may have come.
        text, blocks = message.text, message.blocks
    else:
        text, blocks = _content(call)
    call.workspace.update(message, text, blocks, metadata)
    shown = message_json(call.workspace, message, all_metadata=True)
    return {"ok": True, "channel": channel.id, "ts": ts, "text": text, "message": shown}


def _keeps_content(call: Call) -> bool:
    content = (call.args.get(name) for name in ("text", "blocks", "markdown_text", "attachments"))
    return all(part is None for part in content) and call.args.get("metadata") is not None


def _post_ephemeral(call: Call) -> Answer:
    channel = visible_channel(call)
    user = call.text("user")
    if channel.archived:
        raise Refused("is_archived")
    need_membership(call, channel)
    if user not in channel.members:
        raise Refused("user_not_in_channel")
    thread = thread_argument(call, channel)
    # Whether a markdown block works here is not documented: the stricter way.
    text, blocks = _content(call, markdown_allowed=False)
    message = call.workspace.whisper(channel, user, text, blocks=blocks, thread=thread)
    return {"ok": True, "message_ts": message.ts}


def _delete(call: Call) -> Answer:
    channel = visible_channel(call)
    message = stored_message(channel, call.text("ts"))
    if message.user != call.workspace.bot.id:
        raise Refused("cant_delete_message")
    call.workspace.delete(message)
    return {"ok": True, "channel": channel.id, "ts": message.ts}


def _get_permalink(call: Call) -> Answer:
    channel = visible_channel(call)
    message = stored_message(channel, call.text("message_ts"))
    return {"ok": True, "channel": channel.id, "permalink": message.permalink}


def _validate(call: Call) -> Answer:
    """Only `blocks` is judged here. Source: docs.slack.dev/reference/methods/blocks.validate."""
    refusal = messages.judge(None, call.args.get("blocks"))
    if refusal is not None:
        errors = [{"pointer": "/", "code": "failed_constraint", "message": text} for text in refusal.messages]
        raise Refused("invalid_blocks", errors=errors)
    return {"ok": True}


CHAT_METHODS = {
    "blocks.validate": Method(_validate, TIER_3, frozenset({"blocks"})),
    "chat.postMessage": Method(_post, POSTS_PER_MINUTE, frozenset(_POST), "chat:write"),
    "chat.update": Method(
        _update, TIER_3, frozenset({*_CONTENT, "ts", "reply_broadcast", "file_ids"}), "chat:write"
    ),
    "chat.postEphemeral": Method(
        _post_ephemeral, TIER_4, frozenset({*_CONTENT, "user", "thread_ts"}), "chat:write"
    ),
    "chat.delete": Method(_delete, TIER_3, frozenset({"channel", "ts"}), "chat:write"),
    # "This method allows hundreds of requests per minute."
    "chat.getPermalink": Method(_get_permalink, 300, frozenset({"channel", "message_ts"})),
}
