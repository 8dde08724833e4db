"""Modals and shortcuts of the demo page: the acting user, and refused actions."""

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import yaml

from bot.demo.page_views.inputs import surface
from bot.demo.run import Stage, raised
from bot.demo.scene import Refused, Scene
from bot.demo.slack.surfaces import Surfaces
from bot.demo.visitor import OFFERS, SHORTCUTS
from tests.support.paths import ROOT
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

MANIFEST: dict[str, Any] = yaml.safe_load((ROOT / "manifest.yml").read_text("utf-8"))
IDLE = (sys.executable, "-c", "import time; time.sleep(600)")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with raised(port=0, command=IDLE) as built:
        built.scene.slack.socket_mode.ack_seconds = 0.05
        yield built


def person(scene: Scene, name: str = "ada") -> str:
    return scene.slack.workspace.user(name).id


def put_up(scene: Scene, view: dict[str, Any]) -> None:
    scene.slack.workspace.surfaces.open(person(scene), view)


# What is offered


def test_shortcuts_and_commands_match_manifest() -> None:
    features = MANIFEST["features"]
    assert {(s["type"], s["callback_id"], s["name"]) for s in features["shortcuts"]} == {
        (shortcut.kind, shortcut.callback_id, shortcut.name) for shortcut in SHORTCUTS
    }
    typed = {offer["text"].split()[0] for offer in OFFERS}
    assert typed - {"@omni-job-bot"} == {command["command"] for command in features["slash_commands"]}


# How a view is drawn


def drawn(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return surface(Surfaces().open("U0ADA", modal(*blocks, **more)), str)


def test_modal_uses_default_labels() -> None:
    assert drawn()["close"] == "Cancel"
    seen = drawn(close=plain("Not now"))
    assert (seen["title"], seen["submit"], seen["close"]) == ("Ask Omni", "Ask", "Not now")


def test_input_has_label_hint_and_value() -> None:
    seen = drawn(text_input(hint=plain("Short.")), select(initial_option=option("growth")))
    question, model = seen["blocks"]
    assert (question["label"], question["hint"], question["control"]["multiline"]) == (
        "Question",
        "Short.",
        True,
    )
    assert [each["plain"] for each in model["control"]["options"]] == ["Sales", "Growth"]
    assert seen["values"] == {"question": {"question_text": None}, "model": {"model_choice": "growth"}}


def test_every_input_kind_is_drawn() -> None:
    accessory = select()["element"] | {"action_id": "beside"}
    seen = drawn(external(), choices("checkboxes"), section(accessory=accessory), button())
    assert [block["type"] for block in seen["blocks"]] == ["input", "input", "section", "actions"]
    assert seen["blocks"][0]["control"]["min_query_length"] == 0
    assert seen["blocks"][2]["accessory"]["type"] == "static_select"
    assert seen["blocks"][3]["elements"][0]["type"] == "button"
    assert seen["values"]["where"] == {"where_choice": []}


def test_nothing_in_a_view_becomes_markup() -> None:
    seen = drawn(section("<javascript:alert(1)|x> <b>"), select(options=[option("x", "<b>x</b>")]))
    assert "href" not in json.dumps(seen["blocks"][0])
    assert seen["blocks"][1]["control"]["options"][0]["text"] == ["<b>x</b>"]


# What a visitor does


@pytest.mark.parametrize("callback_id", ["nothing", "follow_message"])
async def test_only_own_global_shortcuts_work_anywhere(stage: Stage, callback_id: str) -> None:
    with pytest.raises(Refused, match="no such shortcut"):
        await stage.scene.visit.shortcut(person(stage.scene), callback_id)


async def test_silent_bot_is_reported(stage: Stage) -> None:
    scene = stage.scene
    visit, ada = scene.visit, person(scene)
    message = await scene.slack.say("hello", user="ada", channel="data-team")
    put_up(scene, modal(text_input(), section(accessory=select()["element"]), button()))
    for deed in (
        visit.shortcut(ada, "ask_anywhere"),
        visit.message_shortcut(ada, message.channel, message.ts, "follow_message"),
        visit.open_home(ada),
        visit.press(ada, "modal", "press", "1"),
        visit.enter(ada, "modal", '{"model_choice": "sales"}'),
    ):
        with pytest.raises(Refused, match="did not answer"):
            await deed


async def test_missing_items_cannot_be_used(stage: Stage) -> None:
    visit, ada = stage.scene.visit, person(stage.scene)
    for deed in (
        visit.message_shortcut(ada, "C0DATATEAM", "1.2", "follow_message"),
        visit.press(ada, "home", "press", ""),
        visit.enter(ada, "modal", '{"question": "x"}'),
        visit.suggest(ada, "topic_choice", "x"),
        visit.submit(ada, "{}"),
        visit.close(ada),
    ):
        with pytest.raises(Refused, match=r"gone|no longer there|was closed"):
            await deed


async def test_modal_belongs_to_one_user(stage: Stage) -> None:
    scene = stage.scene
    put_up(scene, modal())
    assert scene.visit.modal(person(scene, "grace")) is None
    with pytest.raises(Refused):
        await scene.visit.close(person(scene, "grace"))
    await scene.visit.close(person(scene))
    assert scene.visit.modal(person(scene)) is None


async def test_view_changes_are_streamed(stage: Stage) -> None:
    scene, ada = stage.scene, person(stage.scene)
    workspace = scene.slack.workspace
    with scene.events() as events:
        workspace.tell_view("home", workspace.surfaces.publish(ada, home(section("One"))))
        put_up(scene, modal())
        await scene.visit.submit(ada, "{}")
        await scene.visit.close(ada)
        told = [events.get_nowait() for _ in range(3)]
    assert [(event["kind"], event["user"]) for event in told] == [("home", ada), ("view", ada), ("view", ada)]
    assert told[0]["view"]["blocks"][0]["text"] == ["One"]
    assert told[1]["view"]["errors"] == {"question": "Please complete this required field."}
    assert told[2]["view"] is None
    assert scene.snapshot()["homes"].keys() == {ada}


@pytest.mark.parametrize("values", ["", "[]", "3", "{"])
async def test_values_must_be_an_object(stage: Stage, values: str) -> None:
    put_up(stage.scene, modal())
    headers = {"Origin": stage.page.url, "Content-Type": "application/json"}
    async with httpx.AsyncClient(base_url=stage.page.url, headers=headers, trust_env=False) as client:
        asked = {"do": "submit", "user": person(stage.scene), "values": values}
        answer = await client.post("/do", json=asked)
    assert answer.status_code == 400


async def test_threads_accept_text_but_no_commands(stage: Stage) -> None:
    scene, ada = stage.scene, person(stage.scene)
    parent = await scene.slack.say("hello", user="ada", channel="data-team")
    with pytest.raises(Refused, match="threads"):
        await scene.type(ada, parent.channel, "/omni-ask why?", parent.ts)
    with pytest.raises(Refused, match="gone"):
        await scene.type(ada, parent.channel, "why?", "1.2")
    await scene.type(ada, parent.channel, "@omni-job-bot why?", parent.ts)
    (reply,) = scene.slack.replies("data-team", parent.ts)
    assert reply.text == f"<@{scene.slack.bot_user}> why?"
