"""The files.* methods of the Web API. No I/O.

Source of their errors: docs.slack.dev/reference/methods/files.getUploadURLExternal and files.completeUploadExternal.
"""

from typing import Any

from bot.demo.slack.files import StoredFile
from bot.demo.slack.limits import TIER_3, TIER_4
from bot.demo.slack.web_api.call import (
    Answer,
    Call,
    Method,
    Refused,
    need_membership,
    thread_argument,
    visible_channel,
)
from bot.demo.slack.workspace import Channel

ALT_TXT_MOST = 1000
"""Characters of a description. Source: the method's page (`alt_txt_too_large`)."""


def _get_upload_url(call: Call) -> Answer:
    name = call.text("filename")
    length = _length(call)
    alt_txt = call.args.get("alt_txt") or None
    if not name:
        raise Refused("invalid_arguments", ("must be more than 0 characters [json-pointer:/filename]",))
    if alt_txt is not None and len(alt_txt) > ALT_TXT_MOST:
        raise Refused("alt_txt_too_large")
    files = call.workspace.files
    if files.allowed == "none":
        raise Refused("file_uploads_disabled")
    if files.allowed == "images" and not StoredFile("", name, length).is_image:
        raise Refused("file_uploads_except_images_disabled")
    file, secret = files.promise(name, length, alt_txt)
    return {"ok": True, "upload_url": f"{call.workspace.url}upload/v1/{secret}", "file_id": file.id}


def _length(call: Call) -> int:
    """The announced length; queries spell it as text.

    Raises:
        Refused: `missing_argument` also for 0, as the method's page says.
    """
    given = call.args.get("length")
    try:
        length = int(given if given is not None else 0)
    except (TypeError, ValueError):
        raise Refused("invalid_arguments", ("must be an integer [json-pointer:/length]",)) from None
    if length <= 0:
        raise Refused("missing_argument")
    return length


def _complete_upload(call: Call) -> Answer:
    uploaded = [_uploaded(call, item) for item in _items(call)]
    # `blocks` are left out: with a Markdown block in them Slack answers internal_error (slackapi/node-slack-sdk#2564).
    conversation = _conversation(call)
    for file, title in uploaded:
        call.workspace.complete(file, title)
    if conversation is not None:
        channel, thread = conversation
        files = [file for file, _ in uploaded]
        comment = call.args.get("initial_comment") or ""
        call.workspace.share(channel, call.workspace.bot.id, files, comment, thread=thread)
    return {"ok": True, "files": [{"id": file.id, "title": file.title} for file, _ in uploaded]}


def _items(call: Call) -> list[Any]:
    items = call.args.get("files")
    if not isinstance(items, list) or not items:
        raise Refused("invalid_arguments", ("missing required field: files",))
    return items


def _uploaded(call: Call, item: object) -> tuple[StoredFile, str | None]:
    """A file that has its bytes, and the title to give it. That others are not found is an assumption."""
    if not isinstance(item, dict) or not set(item) <= {"id", "title", "highlight_type"}:
        raise Refused("invalid_arguments", ("invalid file [json-pointer:/files]",))
    file = call.workspace.files.by_id.get(str(item.get("id")))
    if file is None or file.title:
        raise Refused("file_not_found")
    title = item.get("title")
    return file, title if isinstance(title, str) else None


def _conversation(call: Call) -> tuple[Channel, str | None] | None:
    """The channel for the files; None for no channel. The bot must be a member, with any scopes."""
    if not call.args.get("channel_id"):
        if call.args.get("thread_ts"):
            raise Refused("invalid_arguments", ("missing required field: channel_id",))
        return None
    channel = visible_channel(call, "channel_id")
    if channel.archived:
        raise Refused("is_archived")
    need_membership(call, channel)
    return channel, thread_argument(call, channel)


def _delete(call: Call) -> Answer:
    """Source: docs.slack.dev/reference/methods/files.delete. An app may delete only its own files; here all are its."""
    file = call.workspace.files.by_id.get(call.text("file"))
    if file is None or not file.title:
        raise Refused("file_not_found")
    if file.is_deleted:
        raise Refused("file_deleted")
    call.workspace.delete_file(file)
    return {"ok": True}


FILE_METHODS = {
    "files.delete": Method(_delete, TIER_3, frozenset({"file"}), "files:write"),
    "files.getUploadURLExternal": Method(
        _get_upload_url, TIER_4, frozenset({"filename", "length", "alt_txt", "snippet_type"}), "files:write"
    ),
    "files.completeUploadExternal": Method(
        _complete_upload,
        TIER_4,
        frozenset({"files", "channel_id", "thread_ts", "initial_comment"}),
        "files:write",
    ),
}
