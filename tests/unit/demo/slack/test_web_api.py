"""The simulated Web API over real sockets: what it accepts and refuses."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from bot.demo.faults import HTML_500, RESET_AFTER, RESET_BEFORE, Fault
from bot.demo.slack.simulator import HISTORY_SCOPES, SCOPES, too_many_requests
from bot.demo.slack.web_api.dispatch import METHODS
from tests.support.clock import Clock
from tests.support.slack_http import Api, running

Block = dict[str, Any]


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running(limits=False) as api:
        yield api


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def limited(clock: Clock) -> AsyncIterator[Api]:
    async with running(now=clock) as api:
        yield api


def section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


METADATA = {"event_type": "job", "event_payload": {"watch": "1"}}


async def test_auth_test_returns_identity_and_scopes(api: Api) -> None:
    answer = await api("auth.test")
    assert answer.ok
    assert answer.body["user_id"] == api.slack.bot_user
    assert answer.body["team_id"] == api.slack.team
    assert answer.headers["x-oauth-scopes"] == ",".join(sorted(SCOPES | HISTORY_SCOPES))


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({}, "not_authed"),
        ({"Authorization": "Bearer "}, "not_authed"),
        ({"Authorization": "Bearer xoxb-somebody-elses"}, "invalid_auth"),
    ],
)
async def test_missing_or_unknown_token_is_refused(api: Api, headers: dict[str, str], error: str) -> None:
    answer = await api.send("auth.test", headers=headers)
    assert (answer.status, answer.ok, answer.error) == (200, False, error)


async def test_token_is_accepted_in_form_but_not_json(api: Api) -> None:
    assert (await api.send("auth.test", json={"token": api.slack.bot_token})).error == "not_authed"
    assert (await api.send("auth.test", data={"token": api.slack.bot_token})).ok


async def test_each_kind_of_token_has_its_own_methods(api: Api) -> None:
    assert (await api("auth.test", token=api.slack.app_token)).error == "not_allowed_token_type"
    assert (await api("apps.connections.open")).error == "not_allowed_token_type"
    assert (await api("apps.connections.open", token=api.slack.app_token)).ok


async def test_uninstalling_revokes_the_token(api: Api) -> None:
    api.slack.revoke_token()
    assert (await api("auth.test")).error == "token_revoked"
    assert (
        await api("chat.postMessage", channel=api.channel("data-team"), text="x")
    ).error == "token_revoked"


async def test_an_unknown_method_is_unknown(api: Api) -> None:
    assert (await api("chat.shout")).error == "unknown_method"


@pytest.mark.parametrize(
    ("channel", "scope"),
    [("data-team", "channels:history"), ("leadership", "groups:history"), ("bot-ada", "im:history")],
)
async def test_reading_needs_scope_of_channel_kind(channel: str, scope: str) -> None:
    async with running(history_scopes=False) as api:
        api.slack.dm("ada")
        await api.slack.invite_bot("leadership")
        answer = await api("conversations.history", channel=api.channel(channel))
        assert answer.error == "missing_scope"
        assert answer.body["needed"] == scope
        assert answer.body["provided"] == ",".join(sorted(SCOPES))
        api.slack.granted_scopes.add(scope)
        assert (await api("conversations.history", channel=api.channel(channel))).ok


async def test_users_info_needs_its_scope(api: Api) -> None:
    api.slack.granted_scopes.discard("users:read")
    assert (await api("users.info", user=api.user("ada"))).body["needed"] == "users:read"
    api.slack.granted_scopes.add("users:read")
    assert (await api("users.info", user=api.user("ada"))).body["user"]["real_name"] == "Ada Byron"
    assert (await api("users.info", user="U0NOBODY")).error == "user_not_found"


async def test_without_chat_write_nothing_is_posted_or_changed(api: Api) -> None:
    ts = await api.post()
    api.slack.granted_scopes.discard("chat:write")
    channel = api.channel("data-team")
    assert (await api("chat.postMessage", channel=channel, text="x")).error == "missing_scope"
    assert (await api("chat.update", channel=channel, ts=ts, text="x")).error == "missing_scope"
    assert [message.text for message in api.slack.messages("data-team")] == ["hello"]


async def test_form_carries_json_blocks_and_metadata(api: Api) -> None:
    answer = await api.send(
        "chat.postMessage",
        data={
            "token": api.slack.bot_token,
            "channel": api.channel("data-team"),
            "text": "hello",
            "blocks": json.dumps([section("hello")]),
            "metadata": json.dumps(METADATA),
        },
    )
    assert answer.ok
    (message,) = api.slack.messages("data-team")
    assert (message.blocks, message.metadata) == ([section("hello")], METADATA)
    assert api.slack.requests[-1].args["blocks"] == [section("hello")]


async def test_get_query_of_the_sdk_works(api: Api) -> None:
    ts = await api.post()
    answer = await api.send(
        "chat.getPermalink",
        "GET",
        params={"channel": api.channel("data-team"), "message_ts": ts},
        headers={"Authorization": f"Bearer {api.slack.bot_token}"},
    )
    assert answer.body["permalink"] == api.slack.messages("data-team")[0].permalink


@pytest.mark.parametrize(
    ("request_args", "error"),
    [
        ({"data": "{", "headers": {"Content-Type": "application/json"}}, "invalid_json"),
        ({"json": ["x"]}, "json_not_object"),
        ({"data": b"x", "headers": {"Content-Type": "text/plain"}}, "invalid_post_type"),
    ],
)
async def test_unreadable_body_is_refused(api: Api, request_args: dict[str, Any], error: str) -> None:
    assert (await api.send("auth.test", **request_args)).error == error


async def test_a_misspelt_argument_is_refused(api: Api) -> None:
    answer = await api("chat.postMessage", channel=api.channel("data-team"), text="x", thread="1")
    assert answer.error == "invalid_arguments"
    assert answer.messages == ["[ERROR] invalid additional property: thread"]


async def test_missing_or_mistyped_argument_is_refused(api: Api) -> None:
    assert (await api("chat.postMessage", text="x")).messages == ["[ERROR] missing required field: channel"]
    assert (await api("chat.postMessage", text="x", channel=7)).error == "invalid_arguments"


async def test_requests_are_recorded_without_token(api: Api) -> None:
    await api.post(text="recorded")
    await api.send("auth.test", data={"token": "xoxb-wrong", "why": "x"})
    posted, refused = api.slack.requests
    assert posted.method == "chat.postMessage"
    assert posted.args == {"channel": api.channel("data-team"), "text": "recorded"}
    assert (posted.ok, posted.error, posted.http_status) == (True, None, 200)
    assert refused.args == {"why": "x"}
    assert (refused.ok, refused.error, refused.http_status) == (False, "invalid_auth", 200)
    assert api.slack.calls("auth.test") == [refused]


async def test_a_post_is_stored_and_answered_with_its_ts(api: Api) -> None:
    blocks = [section("hello")]
    answer = await api(
        "chat.postMessage",
        channel=api.channel("data-team"),
        text="hello",
        blocks=blocks,
        metadata=METADATA,
        unfurl_links=False,
        unfurl_media=False,
    )
    (message,) = api.slack.messages("data-team")
    assert answer.body["ts"] == message.ts
    assert answer.body["channel"] == message.channel
    assert answer.body["message"]["bot_id"]
    assert (message.user, message.by_bot) == (api.slack.bot_user, True)
    assert (message.text, message.blocks, message.metadata) == ("hello", blocks, METADATA)


async def test_message_ts_are_unique(limited: Api) -> None:
    stamps = [await limited.post() for _ in range(3)]
    assert stamps == ["1700000000.000000", "1700000000.000001", "1700000000.000002"]


@pytest.mark.parametrize(
    ("channel", "error"),
    [
        ("random", "not_in_channel"),
        ("leadership", "channel_not_found"),
        ("ada-grace", "channel_not_found"),
        ("old-project", "is_archived"),
    ],
)
async def test_posting_needs_membership(api: Api, channel: str, error: str) -> None:
    assert (await api("chat.postMessage", channel=api.channel(channel), text="x")).error == error
    assert api.slack.messages(channel) == []


@pytest.mark.parametrize("channel", ["", "C0NOWHERE", "data-team", "#data-team"])
async def test_a_channel_goes_by_its_id(api: Api, channel: str) -> None:
    assert (await api("chat.postMessage", channel=channel, text="x")).error == "channel_not_found"


async def test_removed_bot_cannot_post_until_invited(api: Api) -> None:
    await api.slack.remove_bot("data-team")
    answer = await api("chat.postMessage", channel=api.channel("data-team"), text="x")
    assert answer.error == "not_in_channel"
    await api.slack.invite_bot("leadership")
    await api.post("leadership")
    assert len(api.slack.messages("leadership")) == 1


async def test_direct_message_accepts_user_or_channel_id(api: Api) -> None:
    opened = await api("conversations.open", users=api.user("grace"))
    assert opened.body["channel"]["id"] == api.slack.dm("grace")
    answer = await api("chat.postMessage", channel=api.user("grace"), text="by person")
    assert answer.body["channel"] == api.slack.dm("grace")
    assert (await api("chat.postMessage", channel=api.slack.dm("grace"), text="by conversation")).ok
    assert [m.text for m in api.slack.messages(api.slack.dm("grace"))] == ["by person", "by conversation"]


async def test_conversation_opens_once_with_users(api: Api) -> None:
    first = await api("conversations.open", users=api.user("ada"))
    second = await api("conversations.open", users=api.user("ada"))
    assert first.body["channel"]["id"] == second.body["channel"]["id"]
    assert (await api("conversations.open")).error == "users_list_not_supplied"
    assert (await api("conversations.open", users="U0NOBODY")).error == "user_not_found"
    assert (await api("conversations.open", users=api.slack.bot_user)).error == "cannot_dm_bot"
    assert (await api("conversations.open", users="U1,U2")).body["needed"] == "mpim:write"
    api.slack.granted_scopes.discard("im:write")
    assert (await api("conversations.open", users=api.user("ada"))).body["needed"] == "im:write"


async def test_content_is_judged_with_slacks_details(api: Api) -> None:
    answer = await api(
        "chat.postMessage", channel=api.channel("data-team"), text="x", blocks=[section("x" * 3001)]
    )
    assert answer.error == "invalid_blocks"
    assert "[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]" in answer.messages
    assert answer.body["errors"][0] == "failed to match all allowed schemas [json-pointer:/blocks/0/text]"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({}, "no_text"),
        ({"text": ""}, "no_text"),
        ({"text": "x" * 4001}, "msg_too_long"),
        ({"text": "x", "blocks": "[{"}, "invalid_blocks_format"),
        ({"text": "x", "blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
        ({"text": "x", "blocks": [{"type": "markdown", "text": "x" * 12_001}]}, "msg_blocks_too_long"),
        ({"text": "x", "attachments": [{"text": "x"}]}, "invalid_attachments"),
        ({"text": "x", "markdown_text": "x"}, "markdown_text_conflict"),
        ({"text": "x", "metadata": {"event_type": "job"}}, "invalid_metadata_format"),
    ],
)
@pytest.mark.parametrize("method", ["chat.postMessage", "chat.update"])
async def test_bad_content_is_refused_and_changes_nothing(
    api: Api, method: str, content: dict[str, Any], error: str
) -> None:
    ts = await api.post()
    if method == "chat.update":
        content = {**content, "ts": ts}
    assert (await api(method, channel=api.channel("data-team"), **content)).error == error
    (message,) = api.slack.messages("data-team")
    assert (message.text, message.edits) == ("hello", 0)


async def test_markdown_text_is_posted_as_a_markdown_block(api: Api) -> None:
    answer = await api("chat.postMessage", channel=api.channel("data-team"), markdown_text="**hi**")
    assert answer.ok
    assert api.slack.messages("data-team")[0].blocks == [{"type": "markdown", "text": "**hi**"}]


async def test_reply_is_only_in_the_thread(api: Api) -> None:
    parent = await api.post()
    reply = await api.post(text="reply", thread_ts=parent)
    assert [message.ts for message in api.slack.messages("data-team")] == [parent]
    (stored,) = api.slack.replies("data-team", parent)
    assert (stored.ts, stored.thread_ts) == (reply, parent)
    assert stored.permalink.endswith(f"?thread_ts={parent}&cid={api.channel('data-team')}")


async def test_a_reply_to_a_reply_is_refused(api: Api) -> None:
    parent = await api.post()
    reply = await api.post(text="reply", thread_ts=parent)
    answer = await api("chat.postMessage", channel=api.channel("data-team"), text="x", thread_ts=reply)
    assert answer.error == "cannot_reply_to_message"


@pytest.mark.parametrize("thread", [1602251441.0017, "", "0", "yesterday"])
async def test_a_thread_that_is_no_ts_is_refused(api: Api, thread: object) -> None:
    answer = await api("chat.postMessage", channel=api.channel("data-team"), text="x", thread_ts=thread)
    assert answer.error == "invalid_thread_ts"
    assert answer.messages == [f"[ERROR] {thread} is not a valid thread_ts"]


async def test_reply_to_deleted_message_is_top_level(api: Api) -> None:
    parent = await api.post()
    await api.slack.delete_message("data-team", parent)
    answer = await api("chat.postMessage", channel=api.channel("data-team"), text="late", thread_ts=parent)
    assert answer.ok
    assert "thread_ts" not in answer.body["message"]
    assert [message.text for message in api.slack.messages("data-team")] == ["late"]


async def test_thread_survives_deleted_parent(api: Api) -> None:
    parent = await api.post()
    reply = await api.post(text="first", thread_ts=parent)
    await api.slack.delete_message("data-team", parent)
    await api.post(text="second", thread_ts=parent)
    assert api.slack.messages("data-team") == []
    assert [message.text for message in api.slack.replies("data-team", parent)] == ["first", "second"]
    thread = await api("conversations.replies", channel=api.channel("data-team"), ts=parent)
    assert [m["text"] for m in thread.body["messages"]] == ["This message was deleted.", "first", "second"]
    await api.slack.delete_message("data-team", reply)
    assert (await api("conversations.replies", channel=api.channel("data-team"), ts=parent)).ok
    (last,) = api.slack.replies("data-team", parent)
    await api.slack.delete_message("data-team", last.ts)
    gone = await api("conversations.replies", channel=api.channel("data-team"), ts=parent)
    assert gone.error == "thread_not_found"


async def test_text_without_blocks_removes_the_blocks(api: Api) -> None:
    ts = await api.post(blocks=[section("hello")])
    assert (await api("chat.update", channel=api.channel("data-team"), ts=ts, text="plain")).ok
    (message,) = api.slack.messages("data-team")
    assert (message.text, message.blocks) == ("plain", [])


async def test_update_replaces_content_and_keeps_metadata(api: Api) -> None:
    ts = await api.post(blocks=[section("hello")], metadata=METADATA)
    channel, blocks = api.channel("data-team"), [section("new")]
    assert (await api("chat.update", channel=channel, ts=ts, text="new", blocks=blocks)).ok
    (message,) = api.slack.messages("data-team")
    assert (message.text, message.blocks, message.metadata) == ("new", [section("new")], METADATA)
    assert (message.ts, message.edits, len(message.edited_at)) == (ts, 1, 1)


async def test_metadata_update_keeps_visible_content(api: Api) -> None:
    ts = await api.post(blocks=[section("hello")])
    assert (await api("chat.update", channel=api.channel("data-team"), ts=ts, metadata=METADATA)).ok
    (message,) = api.slack.messages("data-team")
    assert (message.text, message.blocks, message.metadata) == ("hello", [section("hello")], METADATA)


async def test_an_update_without_any_content_is_no_text(api: Api) -> None:
    ts = await api.post(blocks=[section("hello")])
    assert (await api("chat.update", channel=api.channel("data-team"), ts=ts)).error == "no_text"
    assert (await api("chat.update", channel=api.channel("data-team"), ts=ts, blocks=[])).error == "no_text"


async def test_only_own_messages_can_be_updated(api: Api) -> None:
    channel = api.channel("data-team")
    said = await api.slack.say("mine", user="ada", channel="data-team")
    assert (await api("chat.update", channel=channel, ts=said.ts, text="x")).error == "cant_update_message"
    assert (await api("chat.update", channel=channel, ts="1.2", text="x")).error == "message_not_found"
    ts = await api.post()
    await api.slack.delete_message("data-team", ts)
    assert (await api("chat.update", channel=channel, ts=ts, text="x")).error == "message_not_found"


async def test_update_needs_channel_id_not_user_id(api: Api) -> None:
    posted = await api("chat.postMessage", channel=api.user("ada"), text="x")
    ts = posted.body["ts"]
    assert (await api("chat.update", channel=api.user("ada"), ts=ts, text="y")).error == "channel_not_found"
    assert (await api("chat.update", channel=api.slack.dm("ada"), ts=ts, text="y")).ok


async def test_an_archived_channel_is_inactive_for_updates(api: Api) -> None:
    ts = await api.post()
    await api.slack.archive("data-team")
    channel = api.channel("data-team")
    assert (await api("chat.update", channel=channel, ts=ts, text="x")).error == "is_inactive"
    assert (await api("chat.postMessage", channel=channel, text="x")).error == "is_archived"


async def test_removed_bot_cannot_update(api: Api) -> None:
    ts = await api.post()
    await api.slack.remove_bot("data-team")
    answer = await api("chat.update", channel=api.channel("data-team"), ts=ts, text="x")
    assert answer.error == "not_in_channel"


async def test_ephemeral_message_is_seen_by_one_user(api: Api) -> None:
    channel = api.channel("data-team")
    answer = await api("chat.postEphemeral", channel=channel, user=api.user("ada"), text="psst")
    ts = answer.body["message_ts"]
    assert [message.text for message in api.slack.private("ada", "data-team")] == ["psst"]
    assert api.slack.private("grace") == []
    assert api.slack.messages("data-team") == []
    assert (await api("chat.update", channel=channel, ts=ts, text="x")).error == "message_not_found"


@pytest.mark.parametrize(
    ("channel", "user", "error"),
    [
        ("random", "ada", "not_in_channel"),
        ("leadership", "ada", "channel_not_found"),
        ("old-project", "ada", "is_archived"),
        ("data-team", "linus", "user_not_in_channel"),
    ],
)
async def test_ephemeral_message_needs_both_members(api: Api, channel: str, user: str, error: str) -> None:
    api.slack.workspace.channel("data-team").members.discard(api.user("linus"))
    answer = await api("chat.postEphemeral", channel=api.channel(channel), user=api.user(user), text="x")
    assert answer.error == error


async def test_ephemeral_message_refuses_markdown_block(api: Api) -> None:
    answer = await api(
        "chat.postEphemeral",
        channel=api.channel("data-team"),
        user=api.user("ada"),
        text="x",
        blocks=[{"type": "markdown", "text": "x"}],
    )
    assert answer.error == "invalid_blocks"


async def test_ephemeral_message_refuses_missing_thread(api: Api) -> None:
    answer = await api(
        "chat.postEphemeral",
        channel=api.channel("data-team"),
        user=api.user("ada"),
        text="x",
        thread_ts="0",
    )
    assert answer.error == "invalid_thread_ts"


async def test_the_bot_deletes_its_own_messages_only(api: Api) -> None:
    channel = api.channel("data-team")
    said = await api.slack.say("mine", user="ada", channel="data-team")
    ts = await api.post()
    assert (await api("chat.delete", channel=channel, ts=said.ts)).error == "cant_delete_message"
    assert (await api("chat.delete", channel=channel, ts=ts)).ok
    assert (await api("chat.delete", channel=channel, ts=ts)).error == "message_not_found"
    assert [message.text for message in api.slack.messages("data-team")] == ["mine"]


async def test_permalink_needs_visible_message(api: Api) -> None:
    ts = await api.post()
    answer = await api("chat.getPermalink", channel=api.channel("data-team"), message_ts=ts)
    assert answer.body["permalink"].endswith(f"/archives/{api.channel('data-team')}/p{ts.replace('.', '')}")
    missing = await api("chat.getPermalink", channel=api.channel("data-team"), message_ts="1.2")
    assert missing.error == "message_not_found"
    hidden = await api("chat.getPermalink", channel=api.channel("leadership"), message_ts=ts)
    assert hidden.error == "channel_not_found"
    async with api.session.get(answer.body["permalink"]) as page:
        assert page.status == 200


async def test_history_is_newest_first_without_replies(api: Api) -> None:
    first = await api.post(text="first", metadata=METADATA)
    await api.post(text="reply", thread_ts=first)
    second = await api.post(text="second")
    plain = await api("conversations.history", channel=api.channel("data-team"))
    assert [message["ts"] for message in plain.body["messages"]] == [second, first]
    assert plain.body["messages"][1]["metadata"] == {"event_type": "job"}
    assert plain.body["messages"][1]["reply_count"] == 1
    whole = await api("conversations.history", channel=api.channel("data-team"), include_all_metadata=True)
    assert whole.body["messages"][1]["metadata"] == METADATA


async def test_history_is_bounded_by_oldest_and_latest(api: Api) -> None:
    first, second, third = [await api.post(text=str(n)) for n in range(3)]

    async def found(**bounds: Any) -> list[str]:
        answer = await api("conversations.history", channel=api.channel("data-team"), **bounds)
        return [message["ts"] for message in answer.body["messages"]]

    assert await found(oldest=first) == [third, second]
    assert await found(oldest=first, inclusive=True) == [third, second, first]
    assert await found(latest=third, oldest=first) == [second]
    assert await found(oldest="0") == [third, second, first]
    assert await found(oldest=first.split(".")[0]) == [third, second, first]


async def test_history_comes_in_pages(api: Api) -> None:
    stamps = [await api.post(text=str(n)) for n in range(5)]
    channel = api.channel("data-team")
    page = await api("conversations.history", channel=channel, limit=2)
    seen = [message["ts"] for message in page.body["messages"]]
    while page.body["has_more"]:
        cursor = page.body["response_metadata"]["next_cursor"]
        page = await api("conversations.history", channel=channel, limit="2", cursor=cursor)
        seen += [message["ts"] for message in page.body["messages"]]
    assert seen == stamps[::-1]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"limit": 0}, "invalid_limit"),
        ({"limit": 1001}, "invalid_limit"),
        ({"limit": "many"}, "invalid_limit"),
        ({"cursor": "x"}, "invalid_cursor"),
        ({"oldest": "yesterday"}, "invalid_ts_oldest"),
        ({"latest": "now"}, "invalid_ts_latest"),
    ],
)
async def test_malformed_bounds_are_refused(api: Api, bad: dict[str, Any], error: str) -> None:
    await api.post()
    assert (await api("conversations.history", channel=api.channel("data-team"), **bad)).error == error


async def test_every_page_of_replies_starts_with_parent(api: Api) -> None:
    parent = await api.post(text="parent")
    replies = [await api.post(text=str(n), thread_ts=parent) for n in range(3)]
    channel = api.channel("data-team")
    whole = await api("conversations.replies", channel=channel, ts=parent)
    assert [message["ts"] for message in whole.body["messages"]] == [parent, *replies]
    page = await api("conversations.replies", channel=channel, ts=parent, limit=2)
    assert [message["ts"] for message in page.body["messages"]] == [parent, *replies[:2]]
    since = await api("conversations.replies", channel=channel, ts=parent, oldest=replies[1])
    assert [message["ts"] for message in since.body["messages"]] == [parent, replies[2]]


async def test_reading_needs_membership(api: Api) -> None:
    for channel, error in (("random", "not_in_channel"), ("leadership", "channel_not_found")):
        place = api.channel(channel)
        assert (await api("conversations.history", channel=place)).error == error
        assert (await api("conversations.replies", channel=place, ts="1.2")).error == error


def test_methods_have_documented_rate_and_scope() -> None:
    assert {name: (method.per_minute, method.scope, method.token) for name, method in METHODS.items()} == {
        "apps.connections.open": (50, None, "app"),
        "auth.teams.list": (20, None, "bot"),
        "auth.test": (300, None, "bot"),
        "blocks.validate": (50, None, "bot"),
        "chat.delete": (50, "chat:write", "bot"),
        "chat.getPermalink": (300, None, "bot"),
        "chat.postEphemeral": (100, "chat:write", "bot"),
        "chat.postMessage": (300, "chat:write", "bot"),
        "chat.update": (50, "chat:write", "bot"),
        "conversations.history": (50, None, "bot"),
        "conversations.info": (50, None, "bot"),
        "conversations.members": (100, None, "bot"),
        "conversations.open": (50, "im:write", "bot"),
        "conversations.replies": (50, None, "bot"),
        "files.completeUploadExternal": (100, "files:write", "bot"),
        "files.delete": (50, "files:write", "bot"),
        "files.getUploadURLExternal": (100, "files:write", "bot"),
        "users.info": (100, "users:read", "bot"),
        "users.lookupByEmail": (50, "users:read.email", "bot"),
        "views.open": (100, None, "bot"),
        "views.publish": (100, None, "bot"),
        "views.update": (100, None, "bot"),
    }


async def test_updates_are_limited_per_workspace(limited: Api, clock: Clock) -> None:
    one, other = await limited.post("data-team"), await limited.post("sales")

    async def update(channel: str, ts: str) -> Any:
        return await limited("chat.update", channel=limited.channel(channel), ts=ts, text="x")

    for _ in range(25):
        assert (await update("data-team", one)).ok
        assert (await update("sales", other)).ok
    clock.time += 20
    refused = await update("sales", other)
    assert (refused.status, refused.body) == (429, {"ok": False, "error": "ratelimited"})
    assert refused.headers["retry-after"] == "40"
    assert limited.slack.requests[-1].http_status == 429
    clock.time += 40
    assert (await update("sales", other)).ok


async def test_posts_are_limited_per_channel(limited: Api, clock: Clock) -> None:
    for _ in range(5):
        await limited.post("data-team")
    refused = await limited("chat.postMessage", channel=limited.channel("data-team"), text="x")
    assert (refused.status, refused.error, refused.headers["retry-after"]) == (429, "rate_limited", "1")
    await limited.post("sales")
    clock.time += 1
    await limited.post("data-team")
    assert len(limited.slack.messages("data-team")) == 6


async def test_without_limits_only_the_rates_are_free(api: Api) -> None:
    ts = await api.post()
    for _ in range(60):
        assert (await api("chat.update", channel=api.channel("data-team"), ts=ts, text="x")).ok
    assert (await api("chat.update", channel=api.channel("data-team"), ts=ts)).error == "no_text"


async def test_planned_response_prevents_the_effect(api: Api) -> None:
    api.slack.faults.plan(too_many_requests(7), on="chat.*")
    busy = await api("chat.postMessage", channel=api.channel("data-team"), text="x")
    assert (busy.status, busy.error, busy.headers["retry-after"]) == (429, "ratelimited", "7")
    api.slack.faults.plan(HTML_500, on="chat.postMessage")
    with pytest.raises(aiohttp.ContentTypeError):
        await api("chat.postMessage", channel=api.channel("data-team"), text="x")
    assert api.slack.messages("data-team") == []
    assert [(r.ok, r.http_status) for r in api.slack.requests] == [(False, 429), (False, 500)]


async def test_dropped_request_has_planned_effect(api: Api) -> None:
    api.slack.faults.plan(RESET_BEFORE, on="chat.postMessage")
    api.slack.faults.plan(RESET_AFTER, on="chat.postMessage")
    for text in ("lost request", "lost answer"):
        with pytest.raises(aiohttp.ClientConnectionError):
            await api("chat.postMessage", channel=api.channel("data-team"), text=text)
    assert [message.text for message in api.slack.messages("data-team")] == ["lost answer"]
    assert [(r.ok, r.http_status) for r in api.slack.requests] == [(False, None), (True, None)]


async def test_a_delayed_request_is_answered_later(api: Api) -> None:
    api.slack.faults.plan(Fault("delay", delay_seconds=0.01), on="auth.test")
    assert (await api("auth.test")).ok


async def test_members_come_in_pages(api: Api) -> None:
    channel = api.channel("data-team")
    first = await api("conversations.members", channel=channel, limit=2)
    more = first.body["response_metadata"]["next_cursor"]
    rest = await api("conversations.members", channel=channel, cursor=more)
    assert {*first.body["members"], *rest.body["members"]} == api.slack.workspace.channel("data-team").members
    assert rest.body["response_metadata"]["next_cursor"] == ""
    assert (await api("conversations.members", channel=channel, limit=1000)).error == "invalid_limit"
    assert (
        await api("conversations.members", channel=api.channel("leadership"))
    ).error == "channel_not_found"
    api.slack.granted_scopes.discard("channels:read")
    assert (await api("conversations.members", channel=channel)).body["needed"] == "channels:read"
