"""The simulated Slack with the real libraries: slack_bolt over real Socket Mode, slack_sdk over real HTTP."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.demo.faults import RESET_AFTER, RESET_BEFORE
from bot.demo.slack.simulator import SimulatedSlack

Body = dict[str, Any]


@pytest.fixture
async def slack() -> AsyncIterator[SimulatedSlack]:
    async with SimulatedSlack() as slack:
        yield slack


class Bot:
    """A small bot on the real libraries. It remembers the bodies of what it was sent."""

    def __init__(self, slack: SimulatedSlack) -> None:
        # The libraries log each reconnect as an error with a traceback; the tests assert on effects.
        logger = logging.getLogger("tests.demo.bot")
        logger.setLevel(logging.CRITICAL)
        self.client = AsyncWebClient(slack.bot_token, base_url=slack.api_url, retry_handlers=[])
        self.app = AsyncApp(client=self.client, logger=logger)
        app_client = AsyncWebClient(slack.app_token, base_url=slack.api_url, logger=logger)
        self.handler = AsyncSocketModeHandler(
            self.app, slack.app_token, web_client=app_client, logger=logger, ping_interval=0.2
        )
        self.commands: list[Body] = []
        self.clicks: list[Body] = []
        self.app.command("/omni-job")(self.on_command)
        self.app.action("stop")(self.on_stop)

    async def on_command(self, ack: AsyncAck, command: Body, respond: AsyncRespond) -> None:
        self.commands.append(command)
        words = command["text"].split()
        if words[:1] == ["silent"]:
            return
        if words[:1] == ["inline"]:
            await ack("an answer in the ack")
            return
        await ack()
        if words[:1] == ["respond"]:
            await respond("an answer to the response_url")
            return
        answer = await self.client.chat_postMessage(
            channel=command["channel_id"], text="working", blocks=card("working", button=True)
        )
        await self.client.chat_update(
            channel=answer["channel"],
            ts=answer["ts"],
            text="still working",
            blocks=card("still", button=True),
        )

    async def on_stop(self, ack: AsyncAck, body: Body, respond: AsyncRespond) -> None:
        self.clicks.append(body)
        await ack()
        container = body["container"]
        if container["is_ephemeral"]:
            await respond("stopped", replace_original=True)
            return
        await self.client.chat_update(
            channel=container["channel_id"],
            ts=container["message_ts"],
            text="stopped",
            blocks=card("stopped"),
        )


def card(text: str, *, button: bool = False) -> list[Body]:
    blocks: list[Body] = [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]
    if button:
        stop = {
            "type": "button",
            "action_id": "stop",
            "text": {"type": "plain_text", "text": "Stop"},
            "value": "job-1",
        }
        blocks.append({"type": "actions", "elements": [stop]})
    return blocks


@asynccontextmanager
async def connected_bot(slack: SimulatedSlack) -> AsyncIterator[Bot]:
    bot = Bot(slack)
    before = slack.socket_mode.connections
    await bot.handler.client.connect()  # type: ignore[no-untyped-call]
    try:
        await slack.until(lambda: slack.socket_mode.connections > before)
        yield bot
    finally:
        await bot.handler.client.close()  # type: ignore[no-untyped-call]


async def test_command_message_is_edited_and_stopped(
    slack: SimulatedSlack,
) -> None:
    async with connected_bot(slack) as bot:
        acked = await slack.command("550e8400", user="ada", channel="data-team")
        assert acked.acked
        assert acked.payload is None
        await slack.until(lambda: [m.text for m in slack.messages("data-team")] == ["still working"])
        (message,) = slack.messages("data-team")
        clicked = await slack.click(user="grace", channel="data-team", ts=message.ts, action_id="stop")
        assert clicked.acked
        await slack.until(lambda: message.text == "stopped")
    assert slack.messages("data-team") == [message]
    assert (message.edits, message.blocks) == (2, card("stopped"))
    (body,) = bot.clicks
    assert body["user"]["id"] == slack.workspace.user("grace").id
    assert body["actions"][0]["value"] == "job-1"
    assert body["message"]["ts"] == message.ts
    assert [r.method for r in slack.requests if r.method.startswith("chat.")] == [
        "chat.postMessage",
        "chat.update",
        "chat.update",
    ]
    assert all(request.ok for request in slack.requests)


async def test_command_has_slacks_fields(slack: SimulatedSlack) -> None:
    async with connected_bot(slack) as bot:
        await slack.command("inline  `x` ", user="ada", channel="leadership")
        await slack.command("inline", user="ada", channel="data-team")
        await slack.command("inline", user="grace", channel="ada-grace")
    private, public, direct = bot.commands
    assert private["command"] == "/omni-job"
    assert private["text"] == "inline  `x` "
    assert private["team_id"] == slack.team
    assert private["api_app_id"] == slack.app_id
    assert private["user_id"] == slack.workspace.user("ada").id
    assert private["channel_id"] == slack.workspace.channel("leadership").id
    assert [b["channel_name"] for b in bot.commands] == ["privategroup", "data-team", "directmessage"]
    assert len({b["trigger_id"] for b in bot.commands}) == 3
    assert len({b["response_url"] for b in bot.commands}) == 3
    assert not {"ts", "thread_ts", "message_ts", "event_id"} & set(public)
    assert direct["user_name"] == "grace"


async def test_ack_response_is_ephemeral(slack: SimulatedSlack) -> None:
    async with connected_bot(slack):
        acked = await slack.command("inline", user="ada", channel="leadership")
    assert acked.payload == {"text": "an answer in the ack"}
    assert [message.text for message in slack.private("ada", "leadership")] == ["an answer in the ack"]
    assert slack.private("grace") == []
    assert slack.messages("leadership") == []


async def test_response_url_needs_no_membership(slack: SimulatedSlack) -> None:
    async with connected_bot(slack):
        await slack.command("respond", user="ada", channel="ada-grace")
        await slack.until(lambda: bool(slack.private("ada", "ada-grace")))
    assert [message.text for message in slack.private("ada")] == ["an answer to the response_url"]
    assert [request.ok for request in slack.calls("response_url")] == [True]


async def test_missing_ack_shows_timeout(slack: SimulatedSlack) -> None:
    slack.socket_mode.ack_seconds = 0.05
    async with connected_bot(slack) as bot:
        acked = await slack.command("silent", user="ada", channel="data-team")
    assert not acked.acked
    assert len(bot.commands) == 1
    assert [message.text for message in slack.private("ada", "data-team")] == [
        "/omni-job failed with the error `operation_timeout`"
    ]


async def test_missing_connection_shows_timeout_at_once(slack: SimulatedSlack) -> None:
    acked = await slack.command("550e8400", user="ada", channel="data-team")
    assert (acked.acked, acked.seconds) == (False, 0.0)
    assert "operation_timeout" in slack.private("ada")[0].text


async def test_repeated_delivery_keeps_its_trigger(slack: SimulatedSlack) -> None:
    async with connected_bot(slack) as bot:
        await slack.command("inline", user="ada", channel="data-team", deliveries=2)
        await slack.until(lambda: len(slack.socket_mode.acks) == 2)
    first, second = bot.commands
    assert first == second
    one, other = slack.socket_mode.acks
    assert one["envelope_id"] == other["envelope_id"]
    assert len(slack.private("ada")) == 1


async def test_one_of_two_connections_gets_the_command(slack: SimulatedSlack) -> None:
    async with connected_bot(slack) as one, connected_bot(slack) as other:
        assert slack.socket_mode.connections == 2
        for _ in range(4):
            await slack.command("inline", user="ada", channel="data-team")
    assert len(one.commands) + len(other.commands) == 4


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
async def test_bot_reconnects_with_new_ticket(slack: SimulatedSlack, reason: str) -> None:
    async with connected_bot(slack) as bot:
        await slack.disconnect(reason)
        await slack.connected()
        acked = await slack.command("inline", user="ada", channel="data-team")
    assert acked.acked
    assert len(bot.commands) == 1
    assert len(slack.calls("apps.connections.open")) == 2


async def test_bot_reconnects_after_cut_connection(slack: SimulatedSlack) -> None:
    async with connected_bot(slack) as bot:
        slack.socket_mode.cut()
        assert slack.socket_mode.connections == 0
        await slack.connected()
        assert (await slack.command("inline", user="ada", channel="data-team")).acked
    assert len(bot.commands) == 1


async def test_the_clients_pings_are_answered(slack: SimulatedSlack) -> None:
    async with connected_bot(slack) as bot:
        client = bot.handler.client
        began = client.last_ping_pong_time
        async with asyncio.timeout(5):
            # The library keeps no event for it: its own monitor pings and notes each answer.
            while client.last_ping_pong_time in (None, began):
                await asyncio.sleep(0.02)
        assert await client.is_connected()


async def test_refused_handshake_is_retried(slack: SimulatedSlack) -> None:
    slack.faults.plan(RESET_BEFORE, on="socket")
    async with connected_bot(slack):
        assert (await slack.command("inline", user="ada", channel="data-team")).acked


async def test_retrying_client_posts_twice(slack: SimulatedSlack) -> None:
    slack.faults.plan(RESET_AFTER, on="chat.postMessage")
    client = AsyncWebClient(slack.bot_token, base_url=slack.api_url)
    channel = slack.workspace.channel("data-team").id
    await client.chat_postMessage(channel=channel, text="once?")
    assert [message.text for message in slack.messages("data-team")] == ["once?", "once?"]


async def test_the_sdks_reading_methods_pass(slack: SimulatedSlack) -> None:
    client = AsyncWebClient(slack.bot_token, base_url=slack.api_url)
    opened = await client.conversations_open(users=slack.workspace.user("ada").id)
    channel = opened["channel"]["id"]
    metadata = {"event_type": "job", "event_payload": {"watch": "1"}}
    posted = await client.chat_postMessage(channel=channel, text="hello", metadata=metadata)
    history = await client.conversations_history(channel=channel, include_all_metadata=True, limit=5)
    assert history["messages"][0]["metadata"] == metadata
    replies = await client.conversations_replies(channel=channel, ts=posted["ts"])
    assert [message["text"] for message in replies["messages"]] == ["hello"]
    link = await client.chat_getPermalink(channel=channel, message_ts=posted["ts"])
    assert link["permalink"] == slack.messages(channel)[0].permalink
    assert (await client.auth_test()).headers["x-oauth-scopes"].startswith("app_mentions:read,")
    await client.chat_delete(channel=channel, ts=posted["ts"])
    assert slack.messages(channel) == []


async def test_ephemeral_button_can_replace_its_message(slack: SimulatedSlack) -> None:
    async with connected_bot(slack) as bot:
        channel = slack.workspace.channel("data-team")
        ada = slack.workspace.user("ada").id
        line = slack.workspace.whisper(channel, ada, "only you", blocks=card("only you", button=True))
        await slack.click(user="ada", channel="data-team", ts=line.ts, action_id="stop")
        await slack.until(lambda: line.text == "stopped")
    assert slack.private("ada") == [line]
    assert "message" not in bot.clicks[0]
    assert bot.clicks[0]["container"]["is_ephemeral"] is True


async def test_click_can_be_forged_deliberately(slack: SimulatedSlack) -> None:
    async with connected_bot(slack) as bot:
        message = slack.workspace.post(
            slack.workspace.channel("data-team"), slack.bot_user, "x", blocks=card("x", button=True)
        )
        await slack.click(user="ada", channel="data-team", ts=message.ts, action_id="stop", value="job-2")
        with pytest.raises(LookupError, match="no button 'start'"):
            await slack.click(user="ada", channel="data-team", ts=message.ts, action_id="start")
        with pytest.raises(LookupError, match="no message"):
            await slack.click(user="ada", channel="data-team", ts="1.2", action_id="stop")
        await slack.until(lambda: bool(bot.clicks))
    assert [body["actions"][0]["value"] for body in bot.clicks] == ["job-2"]


@pytest.mark.parametrize("forged", [None, "cancel job-2"])
async def test_menu_choice_sends_the_option(slack: SimulatedSlack, forged: str | None) -> None:
    options = [
        {"text": {"type": "plain_text", "text": name, "emoji": False}, "value": f"{name} job-1"}
        for name in ("pause", "cancel")
    ]
    menu = {"type": "actions", "elements": [{"type": "overflow", "action_id": "stop", "options": options}]}
    channel = slack.workspace.channel("data-team")
    async with connected_bot(slack) as bot:
        message = slack.workspace.post(channel, slack.bot_user, "x", blocks=[menu])
        await slack.click(user="ada", channel=channel.id, ts=message.ts, action_id="cancel", value=forged)
        await slack.until(lambda: bool(bot.clicks))
    (action,) = bot.clicks[0]["actions"]
    assert (action["type"], action["action_id"]) == ("overflow", "stop") and "value" not in action
    assert action["selected_option"] == options[1] | {"value": forged or "cancel job-1"}


async def test_users_act_only_in_their_channels(slack: SimulatedSlack) -> None:
    with pytest.raises(ValueError, match="linus is not in ada-grace"):
        await slack.command("x", user="linus", channel="ada-grace")
    with pytest.raises(ValueError, match="archived"):
        await slack.command("x", user="ada", channel="old-project")
    with pytest.raises(LookupError, match="no user 'eve'"):
        await slack.command("x", user="eve", channel="data-team")
    with pytest.raises(LookupError, match="no channel 'secret'"):
        await slack.command("x", user="ada", channel="secret")
    line = slack.workspace.whisper(
        slack.workspace.channel("data-team"),
        slack.workspace.user("ada").id,
        "x",
        blocks=card("x", button=True),
    )
    with pytest.raises(ValueError, match="grace can't see"):
        await slack.click(user="grace", channel="data-team", ts=line.ts, action_id="stop")


async def test_timeout_reports_slacks_messages(slack: SimulatedSlack) -> None:
    await slack.say("something else", user="ada", channel="data-team")
    with pytest.raises(TimeoutError, match="something else"):
        await slack.until(lambda: False, timeout=0.01)


async def test_watcher_sees_all_events_in_order(slack: SimulatedSlack) -> None:
    events = slack.subscribe()
    async with connected_bot(slack):
        await slack.command("550e8400", user="ada", channel="data-team")
        await slack.until(lambda: bool(slack.calls("chat.update")))
    (message,) = slack.messages("data-team")
    await slack.delete_message("data-team", message.ts)
    seen = []
    async with asyncio.timeout(5):
        while "deleted" not in seen:
            event = await anext(events)
            if event["kind"] != "request" or event["method"].startswith("chat."):
                seen.append(event["kind"])
    assert seen == ["typed", "posted", "request", "updated", "request", "deleted"]
    events.close()
    await slack.say("unseen", user="ada", channel="data-team")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(events.get(), 0.01)


async def test_slow_watcher_loses_oldest_events(slack: SimulatedSlack) -> None:
    events = slack.subscribe()
    for number in range(1001):
        await slack.say(str(number), user="ada", channel="data-team")
    assert (await events.get())["message"]["text"] == "1"


async def test_instances_are_independent(slack: SimulatedSlack) -> None:
    async with SimulatedSlack() as other:
        assert other.api_url != slack.api_url
        stranger = AsyncWebClient(other.bot_token, base_url=slack.api_url)
        with pytest.raises(SlackApiError, match="invalid_auth"):
            await stranger.auth_test()
        assert other.requests == []


async def test_port_is_free_after_closing(slack: SimulatedSlack) -> None:
    port = int(slack.api_url.split(":")[2].split("/")[0])
    with pytest.raises(OSError):
        await SimulatedSlack(port=port).start()
    await slack.close()
    async with SimulatedSlack(port=port) as next_one:
        assert next_one.api_url == slack.api_url
