"""File uploads to the simulated Slack follow the documentation in all three steps."""

import json
import math
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from bot.demo.faults import RESET_AFTER
from tests.support.slack_http import Answer, Api, running

CSV = b"a,b\r\n1,2\r\n"


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running() as api:
        yield api


async def begin(api: Api, content: bytes = CSV, name: str = "top.csv", **more: Any) -> Answer:
    return await api("files.getUploadURLExternal", filename=name, length=len(content), **more)


async def send(api: Api, address: str, content: bytes = CSV, **more: Any) -> int:
    async with api.session.post(address, data=content, **more) as answer:
        return answer.status


async def complete(api: Api, file: str, channel: str = "data-team", **more: Any) -> Answer:
    files = json.dumps([{"id": file, "title": "Top products"}])
    return await api("files.completeUploadExternal", files=files, channel_id=api.channel(channel), **more)


async def uploaded(api: Api, content: bytes = CSV, **more: Any) -> str:
    """A file that has its bytes and is in no conversation yet."""
    begun = await begin(api, content, **more)
    assert await send(api, begun.body["upload_url"], content) == 200
    return str(begun.body["file_id"])


async def test_file_is_a_message_in_thread(api: Api) -> None:
    card = await api.post()
    file = await uploaded(api, name="chart.png", alt_txt="Bars")
    assert (await complete(api, file, thread_ts=card)).body["files"] == [
        {"id": file, "title": "Top products"}
    ]
    (reply,) = api.slack.replies("data-team", card)
    (shown,) = reply.as_json()["files"]
    assert (shown["title"], shown["name"], shown["mimetype"]) == ("Top products", "chart.png", "image/png")
    assert (shown["size"], shown["alt_txt"]) == (len(CSV), "Bars")
    async with api.session.get(shown["url_private"]) as answer:
        assert (await answer.read(), answer.content_type) == (CSV, "image/png")


async def test_a_file_may_be_sent_as_a_form(api: Api) -> None:
    begun = await begin(api)
    form = aiohttp.FormData()
    form.add_field("filename", CSV, filename="top.csv")
    assert await send(api, begun.body["upload_url"], form) == 200  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "args, error",
    [
        ({"filename": "a.csv", "length": 0}, "missing_argument"),
        ({"filename": "a.csv"}, "missing_argument"),
        ({"filename": "a.csv", "length": "many"}, "invalid_arguments"),
        ({"length": 3}, "invalid_arguments"),
        ({"filename": "", "length": 3}, "invalid_arguments"),
        ({"filename": "a.png", "length": 3, "alt_txt": "x" * 1001}, "alt_txt_too_large"),
    ],
)
async def test_invalid_upload_is_not_started(api: Api, args: dict[str, Any], error: str) -> None:
    assert (await api("files.getUploadURLExternal", **args)).error == error


@pytest.mark.parametrize(
    "allowed, name, error",
    [
        ("none", "a.png", "file_uploads_disabled"),
        ("images", "a.csv", "file_uploads_except_images_disabled"),
        ("images", "a.png", "None"),
    ],
)
async def test_admins_restrict_uploads(api: Api, allowed: Any, name: str, error: str) -> None:
    api.slack.workspace.files.allowed = allowed
    assert (await begin(api, name=name)).error == error


async def test_upload_needs_its_scope(api: Api) -> None:
    file = await uploaded(api)
    api.slack.granted_scopes.discard("files:write")
    assert (await begin(api)).error == "missing_scope"
    assert (await complete(api, file)).error == "missing_scope"


async def test_wrong_size_is_refused(api: Api) -> None:
    begun = await begin(api)
    assert await send(api, begun.body["upload_url"], CSV + b"!") == 400
    assert (await complete(api, begun.body["file_id"])).error == "file_not_found"


async def test_upload_url_accepts_one_file(api: Api) -> None:
    address = (await begin(api)).body["upload_url"]
    assert await send(api, address, headers={"Authorization": f"Bearer {api.slack.bot_token}"}) == 400
    assert await send(api, address) == 200
    assert await send(api, address) == 404


@pytest.mark.parametrize(
    "channel, error",
    [("random", "not_in_channel"), ("leadership", "channel_not_found"), ("old-project", "is_archived")],
)
async def test_upload_needs_membership(api: Api, channel: str, error: str) -> None:
    assert (await complete(api, await uploaded(api), channel)).error == error


async def test_file_is_shared_once_under_parent(api: Api) -> None:
    card = await api.post()
    reply = await api.post(thread_ts=card)
    file = await uploaded(api)
    assert (await complete(api, file, thread_ts=reply)).error == "cannot_reply_to_message"
    assert (await complete(api, file, thread_ts=card)).ok
    assert (await complete(api, file, thread_ts=card)).error == "file_not_found"


@pytest.mark.parametrize("files", [None, [], [{"name": "x"}], ["F1"], "F1"])
async def test_files_are_named_by_their_ids(api: Api, files: Any) -> None:
    answer = await api("files.completeUploadExternal", files=files, channel_id=api.channel("data-team"))
    assert answer.error in ("invalid_arguments", "file_not_found")


async def test_each_step_can_fail_on_demand(api: Api) -> None:
    api.slack.faults.plan(RESET_AFTER, on="upload")
    begun = await begin(api)
    with pytest.raises(aiohttp.ClientError):
        await send(api, begun.body["upload_url"])
    assert (await complete(api, begun.body["file_id"])).ok, "the bytes had arrived"


# Files in image blocks


async def shown(api: Api, **slack_file: str) -> Answer:
    image = {"type": "image", "slack_file": slack_file, "alt_text": "Bars"}
    return await api("chat.postMessage", channel=api.channel("data-team"), text="Chart", blocks=[image])


async def private(api: Api, name: str = "chart.png") -> str:
    """A file without a channel."""
    file = await uploaded(api, name=name)
    assert (await api("files.completeUploadExternal", files=json.dumps([{"id": file}]))).ok
    return file


async def test_private_image_is_shown_by_id_or_address(api: Api) -> None:
    file = await private(api)
    assert (await shown(api, id=file)).ok
    assert (await shown(api, url=api.slack.workspace.files.by_id[file].url_private)).ok
    assert [message.files for message in api.slack.messages("data-team")] == [[], []]


async def test_incomplete_upload_is_no_image(api: Api) -> None:
    answer = await shown(api, id=await uploaded(api, name="chart.png"))
    assert (answer.error, answer.body["errors"]) == (
        "invalid_blocks",
        ["invalid slack file [json-pointer:/blocks/0/slack_file]"],
    )


@pytest.mark.parametrize("name", ["answer.md", "chart.svg"])
async def test_other_files_are_no_images(api: Api, name: str) -> None:
    assert (await shown(api, id=await private(api, name))).error == "invalid_blocks"


@pytest.mark.parametrize("file", ["F0NOSUCHFILE", "chart.png", "F0short"])
async def test_unknown_file_is_no_image(api: Api, file: str) -> None:
    assert (await shown(api, id=file)).error == "invalid_blocks"


@pytest.mark.parametrize("seconds", [60.0, math.inf])
async def test_image_in_processing_is_not_shown(api: Api, seconds: float) -> None:
    api.slack.workspace.files.processing_seconds = seconds
    file = await private(api)
    assert (await shown(api, id=file)).error == "invalid_blocks"
    api.slack.workspace.files.by_id[file].usable_at = 0.0
    assert (await shown(api, id=file)).ok
