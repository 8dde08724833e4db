"""Shortcuts, modals, the Home tab and events with the real libraries: slack_bolt over real Socket Mode."""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.demo.slack.simulator import SimulatedSlack, Submission
from bot.demo.slack.user_views import TROUBLE
from tests.support.views import (
    button,
    choices,
    external,
    home,
    modal,
    option,
    plain,
    section,
    select,
    text_input,
)

Body = dict[str, Any]
LINK = "https://acme.omniapp.co/chat/1"


class Bot:
    """A small bot on the real libraries: answers what it is told to, and remembers the bodies of what it was sent."""

    def __init__(self, slack: SimulatedSlack) -> None:
        logger = logging.getLogger("tests.demo.bot")
        logger.setLevel(logging.CRITICAL)
        self.client = AsyncWebClient(slack.bot_token, base_url=slack.api_url, retry_handlers=[])
        self.app = AsyncApp(client=self.client, logger=logger)
        app_client = AsyncWebClient(slack.app_token, base_url=slack.api_url, logger=logger)
        self.handler = AsyncSocketModeHandler(self.app, slack.app_token, web_client=app_client, logger=logger)
        self.view = modal()
        self.on_submit: Body | None = {}
        """What a submission is acknowledged with; None: not at all."""
        self.offers: Any = [option("orders")]
        self.bodies: list[Body] = []
        self.app.shortcut("ask")(self.on_shortcut)
        self.app.shortcut("follow")(self.on_shortcut)
        self.app.view("ask")(self.on_view)
        self.app.view_closed("ask")(self.on_anything)
        self.app.action("press")(self.on_anything)
        self.app.action("model_choice")(self.on_anything)
        self.app.options("topic_choice")(self.on_options)
        for event in ("app_mention", "message", "app_home_opened"):
            self.app.event(event)(self.on_event)

    async def on_shortcut(self, ack: AsyncAck, body: Body) -> None:
        self.bodies.append(body)
        await ack()
        await self.client.views_open(trigger_id=body["trigger_id"], view=self.view)

    async def on_view(self, ack: AsyncAck, body: Body) -> None:
        self.bodies.append(body)
        if self.on_submit is not None:
            await ack(**self.on_submit)

    async def on_anything(self, ack: AsyncAck, body: Body) -> None:
        self.bodies.append(body)
        await ack()

    async def on_options(self, ack: AsyncAck, body: Body) -> None:
        self.bodies.append(body)
        await ack(options=self.offers)

    async def on_event(self, body: Body) -> None:
        self.bodies.append(body)


@pytest.fixture
async def slack() -> AsyncIterator[SimulatedSlack]:
    async with SimulatedSlack(limits=False) as slack:
        yield slack


@pytest.fixture
async def bot(slack: SimulatedSlack) -> AsyncIterator[Bot]:
    bot = Bot(slack)
    await bot.handler.client.connect()  # type: ignore[no-untyped-call]
    try:
        await slack.connected()
        yield bot
    finally:
        await bot.handler.client.close()  # type: ignore[no-untyped-call]


async def asked(slack: SimulatedSlack, bot: Bot, *blocks: Body, **more: Any) -> None:
    """Ada has the modal open."""
    bot.view = modal(*blocks, **more)
    assert (await slack.shortcut("ask", user="ada")).acked
    await slack.until(lambda: slack.modal("ada") is not None)
    bot.bodies.clear()


# Shortcuts


async def test_global_shortcut_opens_modal_without_channel(slack: SimulatedSlack, bot: Bot) -> None:
    assert (await slack.shortcut("ask", user="ada")).acked
    await slack.until(lambda: slack.modal("ada") is not None)
    (body,) = bot.bodies
    assert (body["type"], body["callback_id"]) == ("shortcut", "ask")
    assert (body["user"]["id"], body["user"]["team_id"]) == (slack.workspace.user("ada").id, slack.team)
    assert not {"channel", "message", "response_url"} & body.keys()


async def test_message_shortcut_includes_message(slack: SimulatedSlack, bot: Bot) -> None:
    parent = await slack.say("Look:", user="grace", channel="leadership")
    reply = await slack.say(f"it is {LINK}", user="grace", channel="leadership", thread=parent.ts)
    await slack.message_shortcut("follow", user="ada", channel="leadership", ts=reply.ts)
    (body,) = bot.bodies
    assert (body["type"], body["message_ts"]) == ("message_action", reply.ts)
    assert body["message"]["text"] == f"it is <{LINK}>"
    assert (body["message"]["thread_ts"], body["channel"]["name"]) == (parent.ts, "privategroup")
    assert body["response_url"].startswith(slack.workspace.url)


async def test_shortcut_needs_visible_message(slack: SimulatedSlack, bot: Bot) -> None:
    line = slack.workspace.whisper(
        slack.workspace.channel("data-team"), slack.workspace.user("ada").id, "psst"
    )
    for user in ("ada", "grace"):
        with pytest.raises(ValueError):
            await slack.message_shortcut("follow", user=user, channel="data-team", ts=line.ts)
    with pytest.raises(LookupError):
        await slack.message_shortcut("follow", user="ada", channel="data-team", ts="1.2")
    assert bot.bodies == []


# Submitting


async def test_submission_sends_all_values_and_closes(slack: SimulatedSlack, bot: Bot) -> None:
    private = choices("checkboxes", "more", initial_options=[option("private")])
    await asked(slack, bot, text_input(), select(), choices("radio_buttons"), private, private_metadata="C0")
    entered = {"question": "Top products?", "model_choice": "growth", "where": "private", "more": ["here"]}
    came_of_it = await slack.submit_view(entered, user="ada")
    assert came_of_it == Submission(True, closed=True)
    assert slack.modal("ada") is None
    (body,) = bot.bodies
    assert (body["type"], body["view"]["private_metadata"]) == ("view_submission", "C0")
    assert body["view"]["state"]["values"] == {
        "question": {"question_text": {"type": "plain_text_input", "value": "Top products?"}},
        "model": {"model_choice": {"type": "static_select", "selected_option": option("growth")}},
        "where": {"where_choice": {"type": "radio_buttons", "selected_option": option("private")}},
        "more": {"more_choice": {"type": "checkboxes", "selected_options": [option("here")]}},
    }


async def test_client_refuses_missing_or_overlong_input(slack: SimulatedSlack, bot: Bot) -> None:
    short = {"type": "plain_text_input", "action_id": "id", "min_length": 3, "max_length": 5}
    await asked(slack, bot, text_input(), text_input("id", element=short, optional=True))
    came_of_it = await slack.submit_view({"id": "ab"}, user="ada")
    assert not came_of_it.sent
    assert came_of_it.errors == {
        "question": "Please complete this required field.",
        "id": "Please enter at least 3 characters.",
    }
    assert (await slack.submit_view({"question": "x", "id": "abcdef"}, user="ada")).errors.keys() == {"id"}
    assert bot.bodies == []
    assert (await slack.submit_view({"id": None}, user="ada")).closed


async def test_ack_errors_appear_at_their_input(slack: SimulatedSlack, bot: Bot) -> None:
    await asked(slack, bot)
    bot.on_submit = {"response_action": "errors", "errors": {"question": "Ask something."}}
    came_of_it = await slack.submit_view({"question": "?"}, user="ada")
    assert came_of_it == Submission(True, errors={"question": "Ask something."})
    view = slack.modal("ada")
    assert view is not None and view.errors == {"question": "Ask something."}
    bot.on_submit = {}
    assert (await slack.submit_view(user="ada")).closed


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {"response_action": "errors", "errors": {"nowhere": "No."}},
        {"response_action": "errors", "errors": {"words": "Not an input."}},
        {"response_action": "errors", "errors": {}},
        {"response_action": "update", "view": {"type": "modal"}},
        {"response_action": "celebrate"},
    ],
)
async def test_invalid_ack_keeps_modal_open(slack: SimulatedSlack, bot: Bot, answer: Body | None) -> None:
    slack.socket_mode.ack_seconds = 0.3
    await asked(slack, bot, text_input(), section() | {"block_id": "words"})
    bot.on_submit = answer
    assert (await slack.submit_view({"question": "?"}, user="ada")).trouble == TROUBLE
    view = slack.modal("ada")
    assert view is not None and view.trouble == TROUBLE


async def test_ack_can_update_or_push_a_view(slack: SimulatedSlack, bot: Bot) -> None:
    await asked(slack, bot)
    bot.on_submit = {"response_action": "update", "view": modal(section("Wait"), title=plain("Asking"))}
    await slack.submit_view({"question": "?"}, user="ada")
    root = slack.modal("ada")
    assert root is not None and root.content["title"]["text"] == "Asking"
    bot.on_submit = {"response_action": "push", "view": modal(title=plain("Above"))}
    assert (await slack.submit_view(user="ada")).sent
    above = slack.modal("ada")
    assert above is not None and (above.previous, above.root) == (root.id, root.id)
    await slack.close_view(user="ada")
    assert slack.modal("ada") is root
    bot.on_submit = {"response_action": "clear"}
    assert (await slack.submit_view(user="ada")).closed
    assert slack.modal("ada") is None


async def test_modals_stack_three_high_and_clear(slack: SimulatedSlack, bot: Bot) -> None:
    await asked(slack, bot, section())
    bot.on_submit = {"response_action": "push", "view": modal(section("Above"))}
    outcomes = [(await slack.submit_view(user="ada")).trouble for _ in range(3)]
    assert outcomes == [None, None, TROUBLE]
    bot.on_submit = {"response_action": "clear"}
    assert (await slack.submit_view(user="ada")).closed and slack.modal("ada") is None


@pytest.mark.parametrize("asks, told", [(True, ["view_closed"]), (False, [])])
async def test_closing_is_sent_if_requested(
    slack: SimulatedSlack, bot: Bot, asks: bool, told: list[str]
) -> None:
    await asked(slack, bot, notify_on_close=asks)
    await slack.close_view(user="ada")
    assert [body["type"] for body in bot.bodies] == told
    assert slack.modal("ada") is None


async def test_closed_view_cannot_be_submitted(slack: SimulatedSlack, bot: Bot) -> None:
    with pytest.raises(LookupError):
        await slack.submit_view(user="ada")
    await asked(slack, bot)
    for wrong in ({"nothing": "x"}, {"question": "x", "model": "sales"}):
        with pytest.raises(LookupError):
            await slack.submit_view(wrong, user="ada")
    assert bot.bodies == []


# In a view


async def test_choice_is_sent_only_if_dispatched(slack: SimulatedSlack, bot: Bot) -> None:
    await asked(slack, bot, select(), select("topic") | {"dispatch_action": False})
    assert await slack.enter({"model": "sales"}, user="ada") == []
    await asked(slack, bot, text_input(), select() | {"dispatch_action": True})
    (acked,) = await slack.enter({"model": "growth"}, user="ada")
    assert acked.acked
    (body,) = bot.bodies
    assert (body["type"], body["container"]["type"]) == ("block_actions", "view")
    assert body["actions"][0]["selected_option"] == option("growth")
    assert body["view"]["state"]["values"]["model"]["model_choice"]["selected_option"] == option("growth")
    assert not {"channel", "message", "response_url"} & body.keys()


async def test_options_request_omits_other_input(slack: SimulatedSlack, bot: Bot) -> None:
    await asked(slack, bot, select(), external(min_query_length=2))
    await slack.enter({"model": "sales"}, user="ada")
    assert await slack.suggest("topic_choice", "o", user="ada") == []
    assert bot.bodies == []
    assert await slack.suggest("topic_choice", "or", user="ada") == [option("orders")]
    (body,) = bot.bodies
    assert (body["type"], body["value"], body["block_id"]) == ("block_suggestion", "or", "topic")
    assert body["view"]["state"] == {"values": {}}
    await slack.enter({"topic": "orders"}, user="ada")
    bot.offers = [{"value": "x"}]
    assert await slack.suggest("topic_choice", "or", user="ada") == []


async def test_home_tab_click_can_be_forged(slack: SimulatedSlack, bot: Bot) -> None:
    ada = slack.workspace.user("ada").id
    await bot.client.views_publish(user_id=ada, view=home(button(value="1"), button(value="2")))
    for value in ("2", "forged"):
        assert (await slack.press("press", user="ada", on="home", value=value)).acked
    assert [body["actions"][0]["value"] for body in bot.bodies] == ["2", "forged"]
    view = slack.home("ada")
    assert view is not None and bot.bodies[0]["container"] == {"type": "view", "view_id": view.id}
    with pytest.raises(LookupError):
        await slack.press("press", user="grace", on="home")
    with pytest.raises(LookupError):
        await slack.press("other", user="ada", on="home")


# Events


async def test_mention_is_sent_once_with_thread(slack: SimulatedSlack, bot: Bot) -> None:
    parent = await slack.say("hello @grace", user="ada", channel="data-team")
    reply = await slack.mention("and by month?", user="ada", channel="data-team", thread=parent.ts)
    (body,) = bot.bodies
    event = body["event"]
    assert (body["type"], body["team_id"], body["is_ext_shared_channel"]) == (
        "event_callback",
        slack.team,
        False,
    )
    assert event["text"] == f"<@{slack.bot_user}> and by month?"
    assert (event["type"], event["ts"], event["thread_ts"]) == ("app_mention", reply.ts, parent.ts)


async def test_direct_messages_are_sent_as_messages(slack: SimulatedSlack, bot: Bot) -> None:
    await slack.mention("hello", user="ada", channel=slack.dm("ada"))
    await slack.mention("@omni-job-bot hello", user="ada", channel=slack.dm("ada"))
    assert [body["event"]["type"] for body in bot.bodies] == ["message", "message"]
    assert [body["event"]["channel_type"] for body in bot.bodies] == ["im", "im"]


async def test_invisible_and_own_messages_are_not_sent(slack: SimulatedSlack, bot: Bot) -> None:
    await slack.mention("hello", user="ada", channel="random")
    await bot.client.chat_postMessage(channel=slack.dm("ada"), text=f"hello <@{slack.bot_user}> {LINK}")
    assert bot.bodies == []


@pytest.mark.parametrize("event, scope", [("app_mention", "app_mentions:read"), ("message.im", "im:history")])
async def test_an_event_needs_its_scope_and_its_subscription(
    slack: SimulatedSlack, bot: Bot, event: str, scope: str
) -> None:
    place = slack.dm("ada") if event == "message.im" else "data-team"
    slack.granted_scopes.discard(scope)
    await slack.mention("hello", user="ada", channel=place)
    slack.granted_scopes.add(scope)
    slack.event_settings.subscribed.discard(event)
    await slack.mention("hello", user="ada", channel=place)
    assert bot.bodies == []


async def test_stranger_is_distinguished_from_members(slack: SimulatedSlack, bot: Bot) -> None:
    await slack.mention("hello", user="edsger", channel="partners")
    (body,) = bot.bodies
    assert body["is_ext_shared_channel"] is True
    assert (body["team_id"], body["event"]["user_team"]) == (slack.team, "T0PARTNERS")


async def test_repeated_event_keeps_its_id(slack: SimulatedSlack, bot: Bot) -> None:
    await slack.mention("hello", user="ada", channel="data-team", deliveries=2)
    await slack.until(lambda: len(bot.bodies) == 2)
    assert bot.bodies[0] == bot.bodies[1] and bot.bodies[0]["event_id"].startswith("Ev")


async def test_unacknowledged_event_is_resent_with_its_id(slack: SimulatedSlack) -> None:
    slack.socket_mode.retry_seconds = (0.0, 0.2, 60.0)
    message = await slack.mention("hello", user="ada", channel="data-team")
    late = Bot(slack)
    await late.handler.client.connect()  # type: ignore[no-untyped-call]
    try:
        await slack.until(lambda: bool(late.bodies))
    finally:
        await late.handler.client.close()  # type: ignore[no-untyped-call]
    (body,) = late.bodies
    assert body["event"]["ts"] == message.ts


async def test_opening_home_tab_sends_its_view(slack: SimulatedSlack, bot: Bot) -> None:
    assert (await slack.open_home("ada")).acked
    await bot.client.views_publish(user_id=slack.workspace.user("ada").id, view=home())
    await slack.open_home("ada")
    assert [body["event"]["tab"] for body in bot.bodies] == ["home", "home"]
    assert ["view" in body["event"] for body in bot.bodies] == [False, True]


# Confirmation dialogs


async def test_declined_confirmation_is_not_sent(slack: SimulatedSlack, bot: Bot) -> None:
    words = {
        "title": plain("Cancel?"),
        "text": plain("It ends."),
        "confirm": plain("Yes"),
        "deny": plain("No"),
    }
    blocks = [button(confirm=words)]
    posted = await bot.client.chat_postMessage(channel="C0DATATEAM", text="x", blocks=blocks)
    click: Callable[..., Any] = slack.click
    where = {"user": "ada", "channel": "data-team", "ts": posted["ts"], "action_id": "press"}
    assert not (await click(**where, confirmed=False)).acked
    assert bot.bodies == []
    assert (await click(**where)).acked
    plainly = await bot.client.chat_postMessage(channel="C0DATATEAM", text="x", blocks=[button()])
    with pytest.raises(LookupError):
        await click(**(where | {"ts": plainly["ts"]}), confirmed=False)
