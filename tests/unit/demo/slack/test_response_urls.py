"""Response URLs of commands and clicks: what they accept, and when they expire."""

import asyncio
from typing import Any

import pytest

from bot.demo.faults import HTML_500
from bot.demo.slack.response_urls import LIFE_SECONDS, ResponseUrls
from bot.demo.slack.web_api.call import Refused
from bot.demo.slack.workspace import StoredMessage, Workspace
from tests.support.slack_http import Api, running

NOW = 1_700_000_000.0


class Scene:
    """A workspace in which Ada got a response_url."""

    def __init__(self, channel: str = "data-team") -> None:
        self.workspace = Workspace(lambda: NOW)
        self.channel = self.workspace.channel(channel)
        self.ada = self.workspace.user("ada").id
        self.urls = ResponseUrls(self.workspace)
        self.secret = self.urls.issue(self.channel, self.ada, None, NOW)

    def click_on(self, message: StoredMessage) -> None:
        """Ada clicks a button of a message: from here on its response_url is used."""
        self.secret = self.urls.issue(self.channel, self.ada, message, NOW)

    def use(self, at: float = NOW, **body: Any) -> None:
        self.urls.use(self.secret, body, at)

    def refusal(self, at: float = NOW, **body: Any) -> str:
        with pytest.raises(Refused) as caught:
            self.use(at, **body)
        return caught.value.error

    def posted(self) -> StoredMessage:
        return self.workspace.post(self.channel, self.workspace.bot.id, "original")

    def whispered(self) -> StoredMessage:
        return self.workspace.whisper(self.channel, self.ada, "original")

    @property
    def whispers(self) -> list[str]:
        return [message.text for message in self.workspace.private]

    @property
    def posts(self) -> list[str]:
        return [message.text for message in self.channel.messages.values()]


def test_response_is_ephemeral_by_default() -> None:
    scene = Scene()
    scene.use(text="private")
    scene.use(text="also private", response_type="ephemeral")
    scene.use(text="public", response_type="in_channel")
    assert scene.whispers == ["private", "also private"]
    assert scene.posts == ["public"]


@pytest.mark.parametrize("channel", ["leadership", "ada-grace", "random"])
def test_a_response_needs_no_membership(channel: str) -> None:
    scene = Scene(channel)
    scene.use(text="public", response_type="in_channel")
    assert scene.posts == ["public"]


def test_url_accepts_five_responses() -> None:
    scene = Scene()
    for number in range(5):
        scene.use(text=str(number))
    assert scene.refusal(text="6") == "used_url"
    assert scene.whispers == ["0", "1", "2", "3", "4"]


def test_refused_response_counts() -> None:
    scene = Scene()
    for _ in range(5):
        assert scene.refusal(text="") == "no_text"
    assert scene.refusal(text="x") == "used_url"


def test_url_is_valid_for_thirty_minutes() -> None:
    scene = Scene()
    scene.use(NOW + LIFE_SECONDS, text="just in time")
    assert scene.refusal(NOW + LIFE_SECONDS + 1, text="too late") == "expired_url"
    assert LIFE_SECONDS == 1800


def test_unknown_url_is_invalid() -> None:
    scene = Scene()
    scene.secret = "guessed"
    assert scene.refusal(text="x") == "expired_url"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "no_text"),
        ({"text": "x" * 4001}, "msg_too_long"),
        ({"text": "x", "blocks": [{"type": "markdown", "text": "x"}]}, "invalid_blocks"),
        ({"text": "x", "attachments": [{"text": "x"}]}, "invalid_attachments"),
        ({"text": "x", "response_type": "public"}, "invalid_arguments"),
        ({"text": "x", "thread": "1.2"}, "invalid_arguments"),
        ({"text": "x", "thread_ts": "1700000000.000000"}, "invalid_thread_ts"),
        ({"text": "x", "thread_ts": "0", "response_type": "in_channel"}, "invalid_thread_ts"),
        ({"text": "x", "replace_original": True}, "invalid_arguments"),
        ({"delete_original": True}, "invalid_arguments"),
    ],
)
def test_invalid_command_response_is_refused(body: dict[str, Any], error: str) -> None:
    scene = Scene()
    assert scene.refusal(**body) == error
    assert (scene.whispers, scene.posts) == ([], [])


def test_an_archived_channel_takes_no_response() -> None:
    scene = Scene()
    scene.channel.archived = True
    assert scene.refusal(text="x") == "is_archived"


def test_response_can_be_in_a_thread() -> None:
    scene = Scene()
    parent = scene.posted()
    scene.use(text="reply", response_type="in_channel", thread_ts=parent.ts)
    assert [message.text for message in scene.channel.replies(parent.ts)] == ["reply"]


def test_click_can_replace_and_delete_its_message() -> None:
    scene = Scene()
    message = scene.posted()
    scene.click_on(message)
    scene.use(text="replaced", replace_original=True)
    assert (scene.posts, message.edits) == (["replaced"], 1)
    scene.use(delete_original=True)
    assert scene.posts == []
    assert scene.refusal(text="x", replace_original=True) == "message_not_found"


def test_click_can_replace_and_delete_ephemeral() -> None:
    scene = Scene()
    scene.click_on(scene.whispered())
    scene.use(text="replaced", replace_original=True)
    assert scene.whispers == ["replaced"]
    scene.use(delete_original=True)
    assert scene.whispers == []
    assert scene.refusal(text="x", replace_original=True) == "message_not_found"


def test_replacing_keeps_visibility() -> None:
    scene = Scene()
    scene.click_on(scene.whispered())
    refused = scene.refusal(text="x", replace_original=True, response_type="in_channel")
    assert (refused, scene.whispers) == ("invalid_arguments", ["original"])


def test_click_response_can_be_a_new_message() -> None:
    scene = Scene()
    scene.click_on(scene.posted())
    scene.use(text="thanks", replace_original=False)
    assert (scene.posts, scene.whispers) == (["original"], ["thanks"])


async def test_http_statuses_are_404_and_400() -> None:
    async with running() as api:
        dead = f"{api.slack.workspace.url}response/never-issued"
        async with api.session.post(dead, json={"text": "x"}) as answer:
            assert (answer.status, (await answer.json())["error"]) == (404, "expired_url")
        url = await issued(api)
        async with api.session.post(url, json={"text": ""}) as answer:
            assert (answer.status, (await answer.json())["error"]) == (400, "no_text")
        async with api.session.post(url, data="{", headers={"Content-Type": "application/json"}) as answer:
            assert (answer.status, (await answer.json())["error"]) == (400, "invalid_json")
        async with api.session.post(url, json={"text": "hello"}) as answer:
            assert (answer.status, await answer.json()) == (200, {"ok": True})
        api.slack.faults.plan(HTML_500, on="response_url")
        async with api.session.post(url, json={"text": "hello"}) as answer:
            assert answer.status == 500
        assert [r.http_status for r in api.slack.calls("response_url")] == [404, 400, 400, 200, 500]
        assert [message.text for message in api.slack.private("ada")] == ["hello"]


async def issued(api: Api) -> str:
    """The response_url of a command that Ada typed."""
    opened = await api("apps.connections.open", token=api.slack.app_token)
    async with api.session.ws_connect(opened.body["url"]) as socket:
        await socket.receive_json(timeout=5)
        typing = asyncio.create_task(api.slack.command("x", user="ada", channel="data-team"))
        envelope = await socket.receive_json(timeout=5)
        await socket.send_json({"envelope_id": envelope["envelope_id"]})
        await typing
    return str(envelope["payload"]["response_url"])
