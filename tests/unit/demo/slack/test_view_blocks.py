"""Validation of views."""

from typing import Any

import pytest

from bot.demo.slack.block_kit.views import judge, judge_options
from tests.support.views import (
    View,
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


def problems(view: object, kind: str = "modal") -> list[str]:
    """What is said to be wrong with a view, without the lines that only precede it."""
    refusal = judge(view, kind=kind)
    if refusal is None:
        return []
    assert refusal.error == "invalid_arguments"
    return [line for line in refusal.messages if not line.startswith("failed to match all")]


GOOD = {
    "a question": modal(),
    "every kind of input": modal(
        text_input(hint=plain("As you would ask a colleague."), optional=True),
        select(initial_option=option("sales")),
        external(initial_option=option("orders")),
        choices("radio_buttons", initial_option=option("here")),
        choices("checkboxes", "more", initial_options=[option("here")]),
    ),
    "a choice that is told at once": modal(
        section(accessory={"type": "static_select", "action_id": "model", "options": [option("sales")]}),
        button(),
        close=plain("Cancel"),
        notify_on_close=True,
        private_metadata="C0DATATEAM",
    ),
    "one action_id in several blocks": modal(button("open"), button("open")),
    "a modal that only says something": {"type": "modal", "title": plain("Wait"), "blocks": [section()]},
}


@pytest.mark.parametrize("name", GOOD)
def test_valid_views_are_accepted(name: str) -> None:
    assert problems(GOOD[name]) == []


def test_home_tab_and_json_are_accepted() -> None:
    assert problems(home(section(), button(), {"type": "divider"}), "home") == []
    assert problems('{"type": "home", "blocks": [{"type": "divider"}]}', "home") == []


BAD: dict[str, tuple[View, str]] = {
    "a long title": (
        modal(title=plain("x" * 25)),
        "must be less than 25 characters [json-pointer:/view/title/text]",
    ),
    "an empty title": (
        modal(title=plain("")),
        "must be more than 0 characters [json-pointer:/view/title/text]",
    ),
    "a title in mrkdwn": (
        modal(title={"type": "mrkdwn", "text": "Ask"}),
        "unsupported type: mrkdwn [json-pointer:/view/title/type]",
    ),
    "an input without a way to submit": (
        {"type": "modal", "title": plain("Ask"), "blocks": [text_input()]},
        "missing required field: submit [json-pointer:/view]",
    ),
    "no blocks": (modal() | {"blocks": []}, "no fewer than 1 items allowed [json-pointer:/view/blocks]"),
    "too many blocks": (
        modal(*[{"type": "divider"}] * 101),
        "no more than 100 items allowed [json-pointer:/view/blocks]",
    ),
    "much private metadata": (
        modal(private_metadata="x" * 3001),
        "must be less than 3001 characters [json-pointer:/view/private_metadata]",
    ),
    "a field that there is not": (
        modal(blockz=[]),
        "invalid additional property: blockz [json-pointer:/view]",
    ),
    "a block for messages only": (
        modal({"type": "markdown", "text": "x"}),
        "unsupported type: markdown [json-pointer:/view/blocks/0/type]",
    ),
    "one block_id twice": (
        modal(text_input(), text_input()),
        "block_id `question` already exists [json-pointer:/view/blocks]",
    ),
    "one action_id twice in a block": (
        modal({"type": "actions", "elements": [*button()["elements"], *button()["elements"]]}),
        "action_id `press` already exists [json-pointer:/view/blocks/0]",
    ),
    "two inputs with the focus": (
        modal(select(focus_on_load=True), external(focus_on_load=True)),
        "only one element may have `focus_on_load` [json-pointer:/view/blocks]",
    ),
    "a menu without options": (
        modal(select(options=[])),
        "no fewer than 1 items allowed [json-pointer:/view/blocks/0/element/options]",
    ),
    "a menu with too many options": (
        modal(select(options=[option(str(number)) for number in range(101)])),
        "no more than 100 items allowed [json-pointer:/view/blocks/0/element/options]",
    ),
    "a menu that offers in two ways": (
        modal(select(option_groups=[{"label": plain("All"), "options": [option("finance")]}])),
        "must define either `options` or `option_groups` [json-pointer:/view/blocks/0/element]",
    ),
    "a first choice that is not on offer": (
        modal(select(initial_option=option("finance"))),
        "the initial option is not among the options [json-pointer:/view/blocks/0/element]",
    ),
    "two options of one value": (
        modal(select(options=[option("sales"), option("sales")])),
        "option value `sales` already exists [json-pointer:/view/blocks/0/element]",
    ),
    "an option that is too long": (
        modal(select(options=[option("x" * 151, "short")])),
        "must be less than 151 characters [json-pointer:/view/blocks/0/element/options/0/value]",
    ),
    "an option's words that are too long": (
        modal(select(options=[option("short", "x" * 76)])),
        "must be less than 76 characters [json-pointer:/view/blocks/0/element/options/0/text/text]",
    ),
    "too many radio buttons": (
        modal(choices("radio_buttons", options=[option(str(number)) for number in range(11)])),
        "no more than 10 items allowed [json-pointer:/view/blocks/0/element/options]",
    ),
    "a longer text than fits": (
        modal(text_input(element={"type": "plain_text_input", "action_id": "a", "max_length": 3001})),
        "must be between 1 and 3000 [json-pointer:/view/blocks/0/element/max_length]",
    ),
    "a least length above the greatest": (
        modal(text_input(element={"type": "plain_text_input", "min_length": 9, "max_length": 8})),
        "min_length must not be greater than max_length [json-pointer:/view/blocks/0/element]",
    ),
    "a long placeholder": (
        modal(select(placeholder=plain("x" * 151))),
        "must be less than 151 characters [json-pointer:/view/blocks/0/element/placeholder/text]",
    ),
    "an input of a kind that there is not": (
        modal(text_input(element={"type": "slider", "action_id": "a"})),
        "unsupported type: slider [json-pointer:/view/blocks/0/element/type]",
    ),
    "a home tab": (home(), "must be a view of type modal [json-pointer:/view/type]"),
}


@pytest.mark.parametrize("name", BAD)
def test_invalid_views_are_refused(name: str) -> None:
    view, problem = BAD[name]
    assert problems(view) == [problem]


@pytest.mark.parametrize("view", ["no json", "[]", [], 3])
def test_view_must_be_an_object(view: object) -> None:
    assert problems(view) == ["must provide an object [json-pointer:/view]"]


def test_home_tab_has_no_title_or_submit() -> None:
    assert problems(home(title=plain("Jobs"), submit=plain("Go")), "home") == [
        "invalid additional property: title [json-pointer:/view]",
        "invalid additional property: submit [json-pointer:/view]",
    ]


def test_view_is_limited_to_250_kb() -> None:
    large = modal(*(section("ü" * 3000) for _ in range(42)))
    refusal = judge(large, kind="modal")
    assert refusal is not None and refusal.error == "view_too_large"
    assert judge(modal(*(section("ü" * 3000) for _ in range(40))), kind="modal") is None


@pytest.mark.parametrize(
    "answer, is_good",
    [
        ({"options": [option("orders")]}, True),
        ({"options": []}, True),
        ({"option_groups": [{"label": plain("All"), "options": [option("orders")]}]}, True),
        ({}, False),
        ({"options": [{"text": "orders", "value": "orders"}]}, False),
        ({"options": [option(str(number)) for number in range(101)]}, False),
        ({"options": [option("orders")], "more": True}, False),
    ],
)
def test_loaded_options_are_validated(answer: Any, is_good: bool) -> None:
    assert (judge_options(answer) is None) is is_good
