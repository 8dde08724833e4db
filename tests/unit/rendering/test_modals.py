"""Modals and Home tabs: their golden files, Slack's limits, and reading their input."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.demo.slack.block_kit.views import judge
from bot.domain.cards import ChannelId, ChannelRef, MessageTs, Notify
from bot.domain.errors import InvalidInput
from bot.domain.questions import Model, ModelId
from bot.handlers import modal_input
from bot.handlers.modal_input import FollowUpInput, QuestionInput, ShareInput
from bot.rendering import home_tab, modals
from bot.rendering.modals import ModelOptions
from tests.support.golden import CARD
from tests.support.golden_views import (
    CHOICES,
    FOLDER,
    HERE,
    MANY,
    RENEW,
    SHOP,
    VIEWS,
    WAREHOUSE,
    as_json,
    followed,
)
from tests.support.slack_payloads import submitted


def test_views_equal_their_golden_files() -> None:
    golden = {file.stem: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.json")}
    assert golden == {name: as_json(view) for name, view in VIEWS.items()}, RENEW


@pytest.mark.parametrize("name", VIEWS)
def test_view_is_within_slack_limits(name: str) -> None:
    view = VIEWS[name]
    assert judge(view, kind=view["type"]) is None
    assert len(view["blocks"]) <= 100
    assert len(json.dumps(view)) < 250_000
    assert len(view.get("title", {"text": ""})["text"]) <= 24
    assert len(view.get("private_metadata", "")) <= 3_000
    ids = [block["block_id"] for block in view["blocks"] if "block_id" in block]
    assert len(ids) == len(set(ids))
    has_input = any(block["type"] == "input" for block in view["blocks"])
    confirms = view.get("callback_id") == modals.REMOVE
    assert (has_input or confirms) == ("submit" in view), (
        "a modal with an input needs a button that submits it"
    )


def test_submitted_input_is_read() -> None:
    view = submitted(VIEWS["ask"], question=" Top products? ", topic="users", where="private")
    assert modal_input.question(view) == QuestionInput("Top products?", SHOP.id, "users", True, HERE)
    view = submitted(VIEWS["ask"], question="Top products?", model=WAREHOUSE.id)
    assert modal_input.question(view) == QuestionInput("Top products?", WAREHOUSE.id, None, False, HERE)
    view = submitted(VIEWS["ask_without_a_choice"], question="Top products?")
    assert modal_input.question(view) == QuestionInput("Top products?", None, None, False, None)
    view = submitted(VIEWS["ask"], question="Top products?", model=WAREHOUSE.id, topic="users")
    assert modal_input.question(view).topic is None, "the topic of another model"
    view = submitted(VIEWS["follow_up"], question="And by region?")
    assert modal_input.follow_up(view) == FollowUpInput(
        "And by region?", CARD.id, HERE, MessageTs("1.1"), MessageTs("1.1")
    )
    job = "550e8400-e29b-41d4-a716-446655440000"
    assert modal_input.job(submitted(VIEWS["follow_job"], job=f" {job} ")) == job
    there = ChannelRef(HERE.team, ChannelId("C0THERE"))
    shared = modal_input.share(submitted(VIEWS["share"], channel=there.id))
    assert shared == ShareInput(CARD.id, HERE, MessageTs("1.1"), there)


@pytest.mark.parametrize("typed", [None, "", " \n"])
def test_empty_input_is_reported_at_its_field(typed: str | None) -> None:
    for read, view, block in (
        (modal_input.question, VIEWS["ask"], "question"),
        (modal_input.follow_up, VIEWS["follow_up"], "question"),
        (modal_input.job, VIEWS["follow_job"], "job"),
        (modal_input.share, VIEWS["share"], "channel"),
    ):
        with pytest.raises(InvalidInput) as wrong:
            read(submitted(view, **{block: typed}))
        assert set(wrong.value.errors) == {block}


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda inner: (
            st.dictionaries(st.sampled_from(["team", "channel", "watch", "card"]), inner) | st.lists(inner)
        ),
        max_leaves=5,
    )
)
def test_malformed_metadata_is_handled(kept: object) -> None:
    view = submitted(VIEWS["follow_up"], question="?") | {"private_metadata": json.dumps(kept)}
    try:
        found = modal_input.follow_up(view)
    except InvalidInput:
        return
    assert isinstance(found.channel.team, str) and isinstance(found.message_ts, str)


def test_view_without_state_is_invalid_input() -> None:
    for read in (modal_input.question, modal_input.follow_up, modal_input.job, modal_input.share):
        with pytest.raises(InvalidInput):
            read({})
    assert modal_input.chosen_model({}) is None


def test_question_input_keeps_its_ids() -> None:
    ids = [
        (block["block_id"], block["element"]["action_id"])
        for name in ("ask_loading", "ask")
        for block in VIEWS[name]["blocks"][:1]
    ]
    assert ids[0] == ids[1], "Slack keeps the value of an input with the same ids"


def test_each_model_has_its_own_topic_block() -> None:
    ids = {
        modals.ask(HERE, replace(CHOICES, model=model))["blocks"][-2]["block_id"]
        for model in (SHOP.id, WAREHOUSE.id)
    }
    assert len(ids) == 2


def test_chosen_model_is_always_an_option() -> None:
    (menu,) = [
        block["element"] for block in VIEWS["ask_of_many"]["blocks"] if block.get("block_id") == "model"
    ]
    assert len(menu["options"]) == 100
    assert menu["initial_option"] in menu["options"]
    assert menu["initial_option"]["value"] == MANY[-1].id


@given(st.lists(st.text(max_size=300)), st.text(max_size=200))
def test_menus_hold_any_names(topics: list[str], name: str) -> None:
    view = modals.ask(HERE, ModelOptions((Model(ModelId("m"), name),), ModelId("m"), topics))
    for block in view["blocks"]:
        if block["type"] == "input" and "options" in block["element"]:
            options = block["element"]["options"]
            assert 1 <= len(options) <= 100
            assert all(1 <= len(option["text"]["text"]) <= 75 for option in options)
            assert all(1 <= len(option["value"]) <= 150 for option in options)
            assert len({option["value"] for option in options}) == len(options)


def test_home_tab_shows_states_and_links() -> None:
    shown = json.dumps(VIEWS["home"], ensure_ascii=False)
    for word in ("Queued", "Working", "Delivering", "Answered", "Failed", "Cancelled", "|card>"):
        assert word in shown
    finished = [followed(number, None, ended=True) for number in range(40)]
    shown = json.dumps(home_tab.home([], finished, notify=Notify.ALWAYS, notify_after_seconds=0.0))
    assert shown.count("`job ") == 20


@pytest.mark.parametrize("name, slow", [("home", " that took longer than 30 s"), ("home_full", "")])
def test_home_tab_says_when_it_notifies(name: str, slow: str) -> None:
    (menu,) = [block["accessory"] for block in VIEWS[name]["blocks"] if "accessory" in block]
    assert [option["value"] for option in menu["options"]] == ["always", "failures", "never"]
    assert f"and with an answer{slow}. *Failures only*" in json.dumps(VIEWS[name])
