"""What comes in by Slack's other doors: `/omni-ask`, modals, shortcuts, mentions. In virtual time."""

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_bolt.async_app import AsyncAck
from structlog.testing import capture_logs

from bot.domain.cards import CardId, ChannelId, ChannelRef, MessageTs, UserId
from bot.domain.errors import (
    JobNotFound,
    KeyRefused,
    NotAllowedHere,
    OmniBusy,
    SlackBusy,
    SlackError,
    StoreUnavailable,
)
from bot.domain.ports.omni import OmniQuestions
from bot.domain.ports.storage import QuestionRepository
from bot.domain.questions import ChannelDefault, Model, ModelId
from bot.domain.references import find_reference, parse_reference
from bot.handlers import background, modal_input
from bot.handlers.messages import MessageHandlers
from bot.handlers.modals import NOWHERE, ModalHandlers
from bot.rendering import ask_replies, modals, replies
from bot.services.ask import AskRequest, AskService
from bot.services.feedback import FeedbackService
from bot.services.follow import FollowService
from bot.services.intents import SavedRequest
from bot.services.models import ModelCatalog
from bot.slack.payloads import shown_in
from tests.support.fakes import JOB, MODEL, FakeAccess, FakeAsking, FakeChannelDefaults, FakeOmni, a_job, now
from tests.support.golden_views import VIEWS
from tests.support.slack_payloads import ADA, HERE, TEAM, URL, Counter, click, slow_outcome, submitted

pytestmark = pytest.mark.looptime

BOT = UserId("U0BOT")
SAID = MessageTs("5.5")
"""The message of an `event`."""
DIRECT = ChannelRef(HERE.team, ChannelId(f"D{ADA}"))
NO_PLACE = ChannelRef(HERE.team, NOWHERE)
CHAT = "https://acme.omniapp.co/chat/0b9d3f3e-6c1f-4b53-9f6f-2f1f1f6a0c11"
CHAT_ID = "/chat/0b9d3f3e-6c1f-4b53-9f6f-2f1f1f6a0c11"


class FakeQuestions:
    """Which model people chose last."""

    def __init__(self) -> None:
        self.last: ModelId | None = None
        self.error: Exception | None = None

    async def last_model(self, *_who: object) -> ModelId | None:
        if self.error is not None:
            raise self.error
        return self.last


class Doors(Counter):
    """All of Slack's doors between desks and a person."""

    def __init__(self) -> None:
        super().__init__()
        self.access = FakeAccess()
        self.asking = FakeAsking()
        self.questions = FakeQuestions()
        self.omni = FakeOmni(a_job())
        self.channel_defaults = FakeChannelDefaults()
        self.models = ModelCatalog(
            omni=cast(OmniQuestions, self.asking),
            questions=cast(QuestionRepository, self.questions),
            now=now,
            default_model=None,
            channel_defaults=self.channel_defaults,
        )
        self.modals = ModalHandlers(
            follow_service=cast(FollowService, self.service),
            ask_service=cast(AskService, self.service),
            feedback_service=cast(FeedbackService, self.service),
            authorization=self.access,
            models=self.models,
            views=self.views,
            interactions=self.interactions,
            team=TEAM,
        )
        self.mentions = MessageHandlers(
            cast(FollowService, self.service),
            cast(AskService, self.service),
            self.interactions,
            team=TEAM,
            bot_user=BOT,
        )

    async def accept(self, listener: Any, body: dict[str, Any], *more: object) -> None:
        """Have a listener that waits for a desk to store something. These desks never say so, but answer."""
        await asyncio.wait_for(listener(self._ack, body, *more), 3.0)
        await self.interactions.drain()

    async def have(self, listener: Any, body: dict[str, Any], *more: object) -> None:
        """Hand something to a listener."""
        await listener(self._ack, body, *more)

    async def _ack(self, text: str = "", **answer: object) -> None:
        self.acknowledged_at.append(asyncio.get_running_loop().time())
        self.acknowledged.append(answer | ({"text": text} if text else {}))

    def posted_directly(self) -> list[str]:
        return [posted.message.text for posted in self.fake_slack.top_level(DIRECT)]


def command(text: str) -> dict[str, Any]:
    return {
        "command": ask_replies.COMMAND,
        "text": text,
        "team_id": HERE.team,
        "channel_id": HERE.id,
        "user_id": ADA,
        "trigger_id": "trigger",
        "response_url": URL,
    }


def interaction(**more: Any) -> dict[str, Any]:
    return {"team": {"id": HERE.team}, "user": {"id": ADA}, "trigger_id": "trigger", **more}


def event(kind: str = "app_mention", text: str = f"<@{BOT}> Top products?", **more: Any) -> dict[str, Any]:
    inner = {"type": kind, "user": ADA, "text": text, "ts": "5.5", "channel": HERE.id} | more
    return {
        "team_id": HERE.team,
        "event_id": "Ev1",
        "event": {k: v for k, v in inner.items() if v is not None},
    }


# The command `/omni-ask`


@pytest.mark.parametrize(
    "typed, wish",
    [
        ("Top products?", AskRequest("Top products?", request_id="trigger")),
        (" Top products? private ", AskRequest("Top products?", private=True, request_id="trigger")),
        ("Which are private?", AskRequest("Which are private?", request_id="trigger")),
    ],
)
async def test_question_is_asked_where_it_was_typed(typed: str, wish: AskRequest) -> None:
    doors = Doors()
    await doors.accept(doors.modals.on_ask_command, command(typed))
    assert doors.service.asked == [("ask", wish, HERE, ADA)]
    assert doors.told == [(URL, "line")]


async def test_command_is_acknowledged_once_saved() -> None:
    doors = Doors()

    class Storing:
        async def ask(self, *_: object) -> SavedRequest:
            await asyncio.sleep(0.2)
            return SavedRequest(slow_outcome)

    doors.modals._ask_service = cast(AskService, Storing())
    await doors.accept(doors.modals.on_ask_command, command("Top products?"))
    assert doors.acknowledged_at == [pytest.approx(0.2)]


async def test_bare_command_opens_modal_with_choices() -> None:
    doors = Doors()
    await doors.press(doors.modals.on_ask_command, command(""))
    await doors.interactions.drain()
    ((trigger, opened),) = doors.views.opened
    ((view_id, filled),) = doors.views.updated
    assert trigger == "trigger" and "Loading" in str(opened)
    assert view_id == "V1" and "Shop" in str(filled)
    assert modal_input.channel_of(filled) == HERE
    assert doors.service.asked == [] and doors.told == []


async def test_denied_user_sees_reason_and_no_models() -> None:
    doors = Doors()
    doors.access.refused[ADA] = replies.not_for_you()
    await doors.press(doors.modals.on_ask_command, command(""))
    await doors.interactions.drain()
    ((_, filled),) = doors.views.updated
    assert replies.not_for_you() in str(filled) and "Shop" not in str(filled)
    assert "submit" not in filled


async def test_denied_follow_up_modal_has_no_input() -> None:
    doors = Doors()
    doors.access.refused[ADA] = replies.not_for_you()
    await doors.press(doors.modals.on_follow_up_button, click())
    await doors.interactions.drain()
    ((_, filled),) = doors.views.updated
    assert replies.not_for_you() in str(filled) and "submit" not in filled


async def test_unopened_modal_is_reported() -> None:
    doors = Doors()
    doors.views.error = SlackError("expired_trigger_id")
    await doors.press(doors.modals.on_ask_command, command(""))
    await doors.interactions.drain()
    assert doors.told == [(URL, replies.slack_busy())]


async def test_help_is_in_the_acknowledgement() -> None:
    doors = Doors()
    await doors.accept(doors.modals.on_ask_command, command("help"))
    assert doors.acknowledged == [{"text": ask_replies.help_text()}]


# What can be chosen


async def test_last_model_is_preselected_and_models_cached() -> None:
    doors = Doors()
    doors.questions.last = MODEL
    for _ in range(2):
        choices = await doors.models.choices(HERE, ADA)
    assert (choices.model, choices.topics) == (MODEL, ("order_items",))
    doors.questions.last = ModelId("gone")
    assert (await doors.models.choices(HERE, ADA)).model is None
    doors.questions.error = StoreUnavailable("down")
    assert (await doors.models.choices(HERE, ADA)).models == [Model(MODEL, "Shop")]
    doors.asking.shared = {}
    assert (await doors.models.choices(HERE, ADA)).models, "remembered"
    await asyncio.sleep(301)
    assert (await doors.models.choices(HERE, ADA)).models == []


async def test_channels_model_is_preselected_for_everyone() -> None:
    doors = Doors()
    doors.questions.last = ModelId("other")
    doors.channel_defaults.rows[HERE.id] = ChannelDefault(MODEL, "order_items")
    choices = await doors.models.choices(HERE, ADA)
    assert (choices.model, choices.topic) == (MODEL, "order_items")
    doors.channel_defaults.error = StoreUnavailable("down")
    choices = await doors.models.choices(HERE, ADA)
    assert choices.models and (choices.model, choices.topic) == (None, None)


@pytest.mark.parametrize("is_admin", [True, False])
async def test_admins_alone_see_the_channels_checkbox(is_admin: bool) -> None:
    doors = Doors()
    doors.access.admins = {ADA} if is_admin else set()
    await doors.press(doors.modals.on_ask_command, command(""))
    await doors.press(doors.modals.on_ask_shortcut, interaction(trigger_id="elsewhere"))
    await doors.interactions.drain()
    shown = ["for_channel" in str(filled) for _, filled in doors.views.updated]
    assert sorted(shown) == sorted([is_admin, False]), "a form outside of channels has none"


async def test_checked_form_asks_for_the_channel() -> None:
    doors = Doors()
    view = submitted(VIEWS["ask_by_admin"], question="Top products?")
    view["state"]["values"]["for_channel"]["for_channel"]["selected_options"] = [{"value": "for_channel"}]
    await doors.accept(doors.modals.on_question, interaction(), view)
    ((_, request, channel, _),) = doors.service.asked
    assert cast(AskRequest, request).for_channel and channel == modal_input.channel_of(view)


@pytest.mark.parametrize(
    "error, line",
    [
        (KeyRefused("403"), replies.key_refused()),
        (OmniBusy(), replies.omni_busy()),
        (JobNotFound(), replies.omni_down()),
        (StoreUnavailable("no budget"), replies.storage_down()),
    ],
)
async def test_missing_models_are_explained(error: Exception, line: str) -> None:
    doors = Doors()

    async def models() -> Any:
        raise error

    doors.asking.models = models  # type: ignore[method-assign]
    choices = await doors.models.choices(HERE, ADA)
    assert choices.trouble == line and not choices.models


async def test_selected_model_shows_its_topics() -> None:
    doors = Doors()
    other = ModelId("other")
    doors.asking.shared[Model(other, "Warehouse")] = ("stock",)
    view = submitted(VIEWS["ask"], model=other) | {"id": "V9"}
    await doors.press(doors.modals.on_model_chosen, interaction(view=view))
    await doors.interactions.drain()
    ((view_id, redrawn),) = doors.views.updated
    assert view_id == "V9" and "stock" in str(redrawn)
    assert modal_input.channel_of(redrawn) == modal_input.channel_of(view)


async def test_limit_is_shown_in_the_kept_modal() -> None:
    doors = Doors()
    doors.access.refused[ADA] = "Wait."
    view = submitted(VIEWS["ask"], model=MODEL) | {"id": "V9"}
    await doors.press(doors.modals.on_model_chosen, interaction(view=view))
    await doors.interactions.drain()
    ((_, redrawn),) = doors.views.updated
    assert "Wait." in str(redrawn) and redrawn["callback_id"] == modals.ASK
    assert modal_input.channel_of(redrawn) == modal_input.channel_of(view)


# What is entered


async def test_modal_asks_in_its_channel() -> None:
    doors = Doors()
    view = submitted(modals.ask(HERE, modals.ModelOptions()), question="Top products?", where="private")
    await doors.accept(doors.modals.on_question, interaction(), view)
    assert doors.service.asked == [
        ("ask", AskRequest("Top products?", private=True, request_id="trigger"), HERE, ADA)
    ]
    assert doors.views.whispered == [(HERE, ADA, "line", None)]


async def test_modal_without_channel_asks_in_dm() -> None:
    doors = Doors()
    view = submitted(modals.ask(None, modals.ModelOptions()), question="Top products?")
    await doors.accept(doors.modals.on_question, interaction(), view)
    assert doors.service.asked == [("ask", AskRequest("Top products?", request_id="trigger"), NO_PLACE, ADA)]
    assert doors.posted_directly() == ["line"]


@pytest.mark.parametrize("thread", [None, "0.5"])
async def test_follow_up_replies_in_the_cards_thread(
    thread: str | None,
) -> None:
    doors = Doors()
    container = {"channel_id": HERE.id, "message_ts": "1.1"} | ({"thread_ts": thread} if thread else {})
    await doors.press(doors.modals.on_follow_up_button, click(container=container))
    await doors.interactions.drain()
    ((_, opened),) = doors.views.opened
    view = submitted(opened, question="And by region?")
    await doors.accept(doors.modals.on_follow_up, interaction(trigger_id="other"), view)
    assert doors.service.asked == [
        (
            "follow_up",
            AskRequest("And by region?", request_id="other"),
            CardId("watch"),
            HERE,
            MessageTs("1.1"),
            ADA,
        )
    ]
    assert doors.views.whispered == [(HERE, ADA, "line", MessageTs(thread or "1.1"))]


@pytest.mark.parametrize(
    "listener, view",
    [
        ("on_follow_up", submitted(VIEWS["follow_up"], question="And by region?")),
        ("on_job", submitted(VIEWS["follow_job"], job=str(JOB))),
    ],
)
async def test_modal_is_acknowledged_once_saved(listener: str, view: dict[str, Any]) -> None:
    class Storing:
        async def follow_up(self, *_: object, request_id: str = "") -> SavedRequest:
            await asyncio.sleep(0.2)
            return SavedRequest(slow_outcome)

        follow = follow_up

    doors = Doors()
    doors.modals._ask_service = cast(AskService, Storing())
    doors.modals._follow_service = cast(FollowService, Storing())
    await doors.accept(getattr(doors.modals, listener), interaction(), view)
    assert doors.acknowledged_at == [pytest.approx(0.2)]


async def test_modal_follows_job_in_dm() -> None:
    doors = Doors()
    view = submitted(modals.follow_job(), job=str(JOB))
    await doors.accept(doors.modals.on_job, interaction(), view)
    assert doors.service.asked == [("follow", str(JOB), NO_PLACE, ADA, "trigger")]


@pytest.mark.parametrize(
    "listener, view, block",
    [
        ("on_question", VIEWS["ask"], "question"),
        ("on_follow_up", VIEWS["follow_up"], "question"),
        ("on_job", VIEWS["follow_job"], "job"),
    ],
)
async def test_missing_input_is_shown_in_the_modal(listener: str, view: dict[str, Any], block: str) -> None:
    doors = Doors()
    await doors.accept(getattr(doors.modals, listener), interaction(), submitted(view, **{block: " "}))
    (answer,) = doors.acknowledged
    assert answer["response_action"] == "errors" and set(cast(dict[str, str], answer["errors"])) == {block}
    assert doors.service.asked == []


@pytest.mark.parametrize(
    "typed, told",
    [
        ("banana", "not an Omni job id"),
        ("https://acme.omniapp.co/w/1", "its links end with /chat/"),
    ],
)
async def test_invalid_job_is_shown_in_the_modal(typed: str, told: str) -> None:
    doors = Doors()
    await doors.accept(doors.modals.on_job, interaction(), submitted(modals.follow_job(), job=typed))
    (answer,) = doors.acknowledged
    assert answer["response_action"] == "errors" and told in cast(dict[str, str], answer["errors"])["job"]
    assert doors.service.asked == []


async def test_duplicate_modal_is_asked_once() -> None:
    doors = Doors()
    view = submitted(VIEWS["ask"], question="Top products?")
    for _ in range(2):
        await doors.accept(doors.modals.on_question, interaction(), view)
    assert len(doors.service.asked) == 1 and len(doors.acknowledged) == 2


@pytest.mark.parametrize("error", [NotAllowedHere("user_not_in_channel"), SlackError("channel_not_found")])
async def test_undeliverable_ephemeral_reply_goes_to_dm(error: SlackError) -> None:
    doors = Doors()
    doors.views.error = error
    view = submitted(VIEWS["follow_up"], question="And by region?")
    await doors.accept(doors.modals.on_follow_up, interaction(), view)
    assert [posted.message.text for posted in doors.fake_slack.posted.values()] == ["line"]
    assert next(iter(doors.fake_slack.posted.values())).thread is None, "that thread is elsewhere"


async def test_rate_limited_reply_is_sent_once_more() -> None:
    doors = Doors()
    doors.views.error = SlackBusy("ratelimited", 1.0)
    view = submitted(VIEWS["follow_up"], question="And by region?")
    accepting = asyncio.create_task(doors.accept(doors.modals.on_follow_up, interaction(), view))
    await asyncio.sleep(1.5)
    doors.views.error = None
    await accepting
    assert len(doors.views.whispered) == 1 and doors.fake_slack.posted == {}


# Shortcuts


async def test_message_shortcut_follows_named_job() -> None:
    doors = Doors()
    message = {"text": "see below", "blocks": [{"type": "section", "text": {"text": f"It is <{CHAT}|here>"}}]}
    body = interaction(channel={"id": HERE.id}, message=message, response_url=URL)
    await doors.accept(doors.handlers.on_follow_message, body)
    assert doors.service.asked == [("follow", CHAT_ID, HERE, ADA, "trigger", None)]
    assert doors.told == [(URL, "line")]


@pytest.mark.parametrize("ts, thread", [("2.2", "1.1"), ("1.1", None)], ids=["reply", "parent"])
async def test_message_shortcut_on_a_reply_follows_in_its_thread(ts: str, thread: str | None) -> None:
    doors = Doors()
    message = {"text": str(JOB), "ts": ts, "thread_ts": "1.1"}
    body = interaction(channel={"id": HERE.id}, message=message, response_url=URL)
    await doors.accept(doors.handlers.on_follow_message, body)
    assert doors.service.asked == [("follow", str(JOB), HERE, ADA, "trigger", thread)]


async def test_message_shortcut_without_job_says_so() -> None:
    doors = Doors()
    body = interaction(channel={"id": HERE.id}, message={"text": "hello"}, response_url=URL)
    await doors.accept(doors.handlers.on_follow_message, body)
    assert doors.service.asked == [] and doors.told == [(URL, replies.nothing_to_follow())]


async def test_global_shortcuts_open_their_modals() -> None:
    doors = Doors()
    await doors.press(doors.modals.on_follow_shortcut, interaction(trigger_id="one"))
    await doors.press(doors.modals.on_ask_shortcut, interaction(trigger_id="two"))
    await doors.interactions.drain()
    assert [view["callback_id"] for _, view in doors.views.opened] == [modals.FOLLOW_JOB, modals.ASK]
    assert [trigger for trigger, _ in doors.views.opened] == ["one", "two"]


@pytest.mark.parametrize(
    "text, found",
    [
        (f"see {JOB}, please", str(JOB)),
        (f"<{CHAT}|the chat> and {JOB}", CHAT_ID),
        (f"{JOB} and {CHAT}", str(JOB)),
        (f"`{str(JOB).upper()}`", str(JOB)),
        (f"{CHAT_ID.replace('chat', 'dashboards')} by {JOB}", str(JOB)),
        (f"x{JOB}", None),
        (f"{JOB}-1", None),
        ("nothing", None),
        ("", None),
    ],
)
def test_first_job_or_chat_is_found(text: str, found: str | None) -> None:
    assert find_reference(text) == found


@given(st.text(), st.sampled_from([str(JOB), CHAT]), st.text())
def test_found_reference_can_be_parsed(before: str, named: str, after: str) -> None:
    found = find_reference(f"{before} {named} {after}")
    assert found is not None
    parse_reference(found)


def test_only_visible_text_is_searched() -> None:
    card = {
        "text": "shown",
        "blocks": [
            {"type": "actions", "elements": [{"value": "hidden", "url": "address"}]},
            {"type": "task_card", "task_id": "hidden"},
        ],
        "attachments": [{"fallback": "also shown"}, None, "odd"],
    }
    assert shown_in(card).split("\n") == ["shown", "address", "also shown"]


# Mentions and direct messages


@pytest.mark.parametrize(
    "body, asked",
    [
        (
            event(thread_ts="1.1"),
            (
                "follow_up_in_thread",
                AskRequest("Top products?", request_id=SAID),
                HERE,
                MessageTs("1.1"),
                ADA,
            ),
        ),
        (event(), ("ask", AskRequest("Top products?", request_id=SAID), HERE, ADA)),
        (event(thread_ts="5.5"), ("ask", AskRequest("Top products?", request_id=SAID), HERE, ADA)),
        (
            event(text=f"Top products? <@{BOT}|omni>"),
            ("ask", AskRequest("Top products?", request_id=SAID), HERE, ADA),
        ),
        (
            event(text=f"<@{BOT}> a &lt; b &amp; c"),
            ("ask", AskRequest("a < b & c", request_id=SAID), HERE, ADA),
        ),
        (
            event(text=f"<@{BOT}> sales of <@U0GRACE>"),
            ("ask", AskRequest("sales of <@U0GRACE>", request_id=SAID), HERE, ADA),
        ),
        (event(text=f"<@{BOT}> {JOB}"), ("follow", str(JOB), HERE, ADA, SAID, None)),
        (event(text=f"<@{BOT}> <{CHAT}> private"), ("follow", f"{CHAT} private", HERE, ADA, SAID, None)),
        (event(text=f"<@{BOT}>: {JOB}?", thread_ts="1.1"), ("follow", f"{JOB}?", HERE, ADA, SAID, "1.1")),
    ],
)
async def test_mention_asks_or_follows_up(body: dict[str, Any], asked: tuple[object, ...]) -> None:
    doors = Doors()
    await doors.mentions.on_mention(body)
    await doors.interactions.drain()
    assert doors.service.asked == [asked]
    thread = body["event"].get("thread_ts")
    assert doors.views.whispered == [(HERE, ADA, "line", thread if thread != "5.5" else None)]


@pytest.mark.parametrize("thread", [None, "1.1"])
async def test_mention_event_without_a_mention_is_ignored(thread: str | None) -> None:
    doors = Doors()
    for text in ("thanks, looks good to me", "<@U0GRACE> please look", ""):
        assert (await doors.mentions.on_mention(event(text=text, thread_ts=thread))).status == 200
    await doors.interactions.drain()
    assert doors.service.asked == [] and doors.views.whispered == []


@pytest.mark.parametrize(
    "text, words",
    [
        ("How many users from <http://acme.com|acme.com>?", "How many users from acme.com?"),
        ("from <https://acme.com/|acme.com/> and <https://acme.com>", "from acme.com/ and https://acme.com"),
        ("see <https://acme.com/x|this page>", "see this page (https://acme.com/x)"),
        ("did <mailto:bob@acme.com|bob@acme.com> buy?", "did bob@acme.com buy?"),
        ("call <tel:+15551234|+15551234>", "call +15551234"),
        ("in <#C9|general> or <#C8> or <#C7|>", "in #general or #C8 or #C7"),
        ("by <!subteam^S1|@sales> or <!subteam^S2>", "by @sales or @S2"),
        ("tell <!here> <!channel|@channel>", "tell @here @channel"),
        ("since <!date^1392734382^{date}|Feb 18>", "since Feb 18"),
        ("sales of <@U0GRACE> and <@W0BOB|bob>", "sales of <@U0GRACE> and @bob"),
        ("a &lt;b&gt; &amp; 1 < 2", "a <b> & 1 < 2"),
        (":tada: who won?", ":tada: who won?"),
        (": , who won?", "who won?"),
    ],
)
@pytest.mark.parametrize("is_direct", [False, True])
async def test_what_slack_linked_is_words_again(text: str, words: str, is_direct: bool) -> None:
    doors = Doors()
    if is_direct:
        await doors.mentions.on_message(event("message", text, channel_type="im", channel=DIRECT.id))
    else:
        await doors.mentions.on_mention(event(text=f"<@{BOT}> {text}"))
    await doors.interactions.drain()
    assert [asked[1] for asked in doors.service.asked] == [AskRequest(words, request_id=SAID)]


@pytest.mark.parametrize("text", [f"<@{BOT}>", f"<@{BOT}> help "])
async def test_empty_mention_gets_help(text: str) -> None:
    doors = Doors()
    await doors.mentions.on_mention(event(text=text))
    await doors.interactions.drain()
    assert doors.service.asked == [] and doors.views.whispered[0][2] == ask_replies.help_text()


@pytest.mark.parametrize(
    "text, told",
    [
        ("hi", ask_replies.help_text()),
        ("Hello!", ask_replies.help_text()),
        ("help", ask_replies.help_text()),
        ("Thank you!", ask_replies.welcome()),
        ("list", "line"),
    ],
)
@pytest.mark.parametrize("thread", [None, "1.1"])
async def test_obvious_words_are_answered_locally(text: str, told: str, thread: str | None) -> None:
    doors = Doors()
    said = event("message", text, channel_type="im", channel=DIRECT.id, thread_ts=thread)
    await doors.mentions.on_message(said)
    await doors.interactions.drain()
    assert [name for name, *_ in doors.service.asked] == ["follows"] * (told == "line")
    assert doors.posted_directly() == ([told] if thread is None else [])


async def test_direct_message_is_a_question() -> None:
    doors = Doors()
    await doors.mentions.on_message(event("message", "Top products?", channel_type="im", channel=DIRECT.id))
    await doors.interactions.drain()
    assert doors.service.asked == [("ask", AskRequest("Top products?", request_id=SAID), DIRECT, ADA)]
    assert doors.posted_directly() == ["line"]


@pytest.mark.parametrize("subtype", ["file_share", "thread_broadcast"])
async def test_question_with_file_or_broadcast_is_asked(subtype: str) -> None:
    doors = Doors()
    fields = {"channel_type": "im", "channel": DIRECT.id, "subtype": subtype}
    await doors.mentions.on_message(event("message", "Top products?", **fields))
    await doors.interactions.drain()
    assert doors.service.asked == [("ask", AskRequest("Top products?", request_id=SAID), DIRECT, ADA)]


@pytest.mark.parametrize(
    "changed",
    [
        {"channel_type": "channel"},
        {"subtype": "message_changed"},
        {"bot_id": "B1"},
        {"user": BOT},
        {"user": None},
    ],
    ids=["not to the bot", "an edit", "a bot's", "its own", "nobody's"],
)
async def test_other_messages_are_no_questions(changed: dict[str, Any]) -> None:
    doors = Doors()
    fields = {"channel_type": "im", "channel": DIRECT.id} | changed
    await doors.mentions.on_message(event("message", "Top products?", **fields))
    await doors.interactions.drain()
    assert doors.service.asked == []


async def test_repeated_event_is_answered_once() -> None:
    doors = Doors()
    for _ in range(3):
        await doors.mentions.on_mention(event())
    await doors.interactions.drain()
    assert len(doors.service.asked) == 1


async def test_edited_message_is_answered_once() -> None:
    doors = Doors()
    await doors.mentions.on_mention(event())
    forgotten = event(text=f"<@{BOT}>", ts="7.7")
    await doors.mentions.on_mention(forgotten | {"event_id": "Ev3"})
    corrected = event(text=f"<@{BOT}> Top product?", edited={"user": ADA, "ts": "6.6"}) | {"event_id": "Ev2"}
    await doors.mentions.on_mention(corrected)
    await doors.interactions.drain()
    assert len(doors.service.asked) == 1
    await doors.mentions.on_mention(event(ts="7.7") | {"event_id": "Ev4"})
    await doors.interactions.drain()
    assert len(doors.service.asked) == 2, "where nothing was asked at first"


# More at once than the bot does


@pytest.fixture(params=["MAX_UNSAVED", "MAX_RUNNING"])
async def full(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Doors:
    """Doors of a bot that does as much as it does at once."""
    monkeypatch.setattr(background, request.param, 1)
    doors = Doors()
    await doors.have(doors.handlers.on_resume, click(trigger_id="first"))
    await asyncio.sleep(0)
    return doors


async def test_commands_beyond_the_most_are_declined(full: Doors) -> None:
    for listener in (full.handlers.on_command, full.modals.on_ask_command):
        await full.have(listener, command(str(JOB)) | {"trigger_id": str(listener)})
    assert full.acknowledged[1:] == [{"text": replies.busy()}] * 2
    await full.interactions.drain()
    assert [name for name, *_ in full.service.asked] == ["resume"]
    assert full.told == [(URL, "line")]


async def test_clicks_beyond_the_most_are_declined(full: Doors) -> None:
    for listener in (full.handlers.on_resume, full.handlers.on_retry):
        await full.have(listener, click(trigger_id=str(listener)))
        await asyncio.sleep(0.1)
    await full.interactions.drain()
    assert full.told == [(URL, replies.busy())] * 2 + [(URL, "line")]
    assert len(full.service.asked) == 1


async def test_clicks_of_one_user_decline_no_other() -> None:
    doors = Doors()
    for number in range(background.MAX_UNSAVED):
        await doors.have(doors.handlers.on_resume, click(trigger_id=f"{number}"))
    await doors.have(doors.handlers.on_resume, click(trigger_id="other", user={"id": "U0BEA"}))
    await doors.interactions.drain()
    assert len(doors.service.asked) == background.MAX_UNSAVED_PER_USER + 1


async def test_declined_question_stays_in_its_modal(full: Doors) -> None:
    view = submitted(VIEWS["ask"], question="Top products?")
    await full.have(full.modals.on_question, interaction(), view)
    assert full.acknowledged[-1] == {"response_action": "errors", "errors": {"question": replies.busy()}}
    await full.interactions.drain()
    await full.accept(full.modals.on_question, interaction(trigger_id="again"), view)
    assert [name for name, *_ in full.service.asked] == ["resume", "ask"]


async def test_mention_beyond_the_most_is_declined(full: Doors) -> None:
    await full.mentions.on_mention(event())
    await full.interactions.drain()
    assert [text for _, _, text, _ in full.views.whispered] == [replies.busy()]


async def test_saved_request_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MAX_UNSAVED", 1)
    doors = Doors()
    stored = asyncio.Event()

    async def wait() -> SavedRequest:
        await stored.wait()
        return SavedRequest(slow_outcome)

    tell = doors.interactions.reply_to({"response_url": URL}, HERE, ADA)
    accepting = asyncio.create_task(
        doors.interactions.ack_when_saved(cast(AsyncAck, doors._ack), "first", wait(), tell)
    )
    await asyncio.sleep(0.1)
    was_full = doors.interactions.is_full
    stored.set()
    await accepting
    assert (was_full, doors.interactions.is_full, doors.interactions.running) == (True, False, 1)


async def test_declining_is_logged_once_a_minute(full: Doors) -> None:
    with capture_logs() as logged:
        for number in range(3):
            await full.have(full.handlers.on_command, command(str(JOB)) | {"trigger_id": f"{number}"})
    assert [line["event"] for line in logged] == ["requests declined"]


class SlowService:
    """Stores what it is asked after so many seconds, and answers long after that."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked = 0

    async def ask(self, *_: object, **_more: object) -> SavedRequest:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        return SavedRequest(slow_outcome)

    follow = follow_up_in_thread = ask


@pytest.mark.parametrize(
    "said",
    [event(), event(thread_ts="1.1"), event(text=f"<@{BOT}> {JOB}")],
    ids=["ask", "follow-up", "follow"],
)
async def test_mention_is_acknowledged_once_stored(said: dict[str, Any]) -> None:
    doors = Doors()
    doors.mentions = MessageHandlers(
        cast(FollowService, SlowService(0.5)),
        cast(AskService, SlowService(0.5)),
        doors.interactions,
        team=TEAM,
        bot_user=BOT,
    )
    assert (await doors.mentions.on_mention(said)).status == 200
    assert asyncio.get_running_loop().time() == pytest.approx(0.5)


async def test_unstored_mention_is_taken_when_redelivered() -> None:
    doors = Doors()
    slow = SlowService(10.0)
    doors.mentions = MessageHandlers(
        cast(FollowService, slow), cast(AskService, slow), doors.interactions, team=TEAM, bot_user=BOT
    )
    assert (await doors.mentions.on_mention(event())).status == 503
    assert asyncio.get_running_loop().time() < 3.0
    slow.seconds = 0.5
    assert (await doors.mentions.on_mention(event())).status == 200
    assert (await doors.mentions.on_mention(event())).status == 200
    assert slow.asked == 2
