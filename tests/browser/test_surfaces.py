"""Modals, the Home tab, shortcuts and threads of the demo page, in a real browser."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.demo.omni.timeline import Complete, Script
from bot.demo.run import Stage, raised
from bot.demo.scene import COMMAND
from tests.browser.chromium import Tab, chromium
from tests.browser.gallery import IDLE, enter
from tests.browser.visitor import FAINT, NARROW, TALL, WIDE, Visitor
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

pytestmark = pytest.mark.browser

MODAL = "document.getElementById('modal')"
THREAD = "document.getElementById('thread-messages').innerText"
STICKING_OUT = """
[...document.querySelectorAll("#modal[open] *, #home *")]
  .filter((node) => node.getBoundingClientRect().right > innerWidth).map((node) => node.outerHTML.slice(0, 80))
"""
QUESTION = "What sold best last week?"


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    async with raised(port=0) as stage, chromium() as tab:
        await stage.scene.start_bot()
        assert stage.scene.bot.state == "running", list(stage.scene.bot.last_lines)
        await opened(stage, tab)
        yield Visitor(stage.scene, tab)
        assert tab.complaints == []


@pytest.fixture
async def still() -> AsyncIterator[tuple[Stage, Tab]]:
    """A page without a bot, on which the test puts things up."""
    async with raised(port=0, command=IDLE) as stage, chromium() as tab:
        await opened(stage, tab)
        yield stage, tab
        assert tab.complaints == []


async def opened(stage: Stage, tab: Tab) -> None:
    await tab.look(WIDE, TALL)
    await tab.open(stage.page.url)
    await tab.until("document.body.dataset.ready === 'yes'")
    await tab.call("Emulation.setFocusEmulationEnabled", enabled=True)


async def chosen(tab: Tab, field: str, words: str) -> None:
    """Choose from a menu of the modal by its words."""
    await tab.get(
        f"(() => {{ const menu = document.querySelector({json.dumps(f'#modal {field} select')});"
        f"menu.value = [...menu.options].find((o) => o.text === {json.dumps(words)}).value;"
        "menu.dispatchEvent(new Event('change')); })()"
    )


async def be(tab: Tab, number: int) -> None:
    await tab.get(f"[...document.querySelectorAll('input[name=me]')][{number}].click()")


def put_up(stage: Stage, view: dict[str, Any]) -> Any:
    workspace = stage.scene.slack.workspace
    shown = workspace.surfaces.open(workspace.user("ada").id, view)
    workspace.tell_view("view", shown)
    return shown


FULL = modal(
    text_input(hint=plain("As you would ask a colleague.")),
    select(initial_option=option("sales")),
    external(),
    choices("radio_buttons", initial_option=option("here")),
    choices("checkboxes", "more", options=[option("tell") | {"description": plain("In the thread.")}]),
    section("*Only* you see this.", accessory=button()["elements"][0]),
    {"type": "context", "elements": [{"type": "mrkdwn", "text": "The first 100 of 120 models."}]},
)


# With the bot


async def test_question_from_modal_continues_in_thread(visitor: Visitor) -> None:
    tab = visitor.tab
    await visitor.types("/omni-ask")
    await tab.until(f"{MODAL}.open")
    await tab.type(QUESTION)
    await tab.until("document.querySelectorAll('#modal select').length > 0")
    assert await tab.get("document.querySelector('#modal textarea').value") == QUESTION
    await chosen(tab, "[data-block=model]", "Support")
    await visitor.sees("tickets", within=f"{MODAL}.innerText")
    assert await tab.get("document.querySelector('#modal textarea').value") == QUESTION
    await tab.click("#modal [type=submit]")
    await tab.until(f"!{MODAL}.open")
    await visitor.sees(QUESTION)
    await visitor.sees("Answered")
    await tab.get("document.querySelector('#messages [data-by-bot=true] .tools button').click()")
    await tab.type("/omni-ask and by month?")
    await tab.press("Enter")
    await visitor.sees("can't be used in threads", within="document.getElementById('reply-note').innerText")
    visitor.tab.complaints.clear()  # the browser's own, about the refusal
    await tab.get("document.getElementById('reply').value = ''")
    await tab.type("@omni-job-bot and by month?")
    await tab.press("Enter")
    await tab.until(f"{THREAD}.split('Answered').length === 3")
    assert len(await visitor.cards()) == 1


async def test_only_requester_cancels_after_confirmation(visitor: Visitor) -> None:
    tab, omni = visitor.tab, visitor.scene.omni
    job = omni.add(Script(600.0), prompt="How many?")
    await visitor.types(f"{COMMAND} {job}")
    await tab.click("[data-action=card_menu]")
    await tab.click("[data-action=cancel_job]")
    await tab.until("document.getElementById('ask').open")
    await tab.click("#ask-no")
    assert not any(request.path.endswith("/cancel") for request in omni.requests)
    await be(tab, 2)  # no admin
    await tab.click("[data-action=card_menu]")
    await tab.click("[data-action=cancel_job]")
    await tab.click("#ask-yes")
    await tab.until("document.querySelector('.private') !== null")
    assert not any(request.path.endswith("/cancel") for request in omni.requests)
    await be(tab, 0)
    await tab.click("[data-action=card_menu]")
    await tab.click("[data-action=cancel_job]")
    await tab.click("#ask-yes")
    await visitor.sees("The job was cancelled")


async def test_guest_and_stranger_are_refused(visitor: Visitor) -> None:
    tab = visitor.tab
    await be(tab, 3)
    assert "guest" in await tab.get("document.getElementById('who').innerText")
    await visitor.types(f"/omni-ask {QUESTION}")
    await tab.until("document.querySelectorAll('.private').length === 1")
    await be(tab, 4)
    await enter(tab, "partners")
    await visitor.types(f"/omni-ask {QUESTION}")
    await tab.until("document.querySelectorAll('.private').length === 1")
    assert await visitor.cards() == []
    assert not any(request.path == "/api/v1/ai/jobs" for request in visitor.scene.omni.requests)


async def test_home_tab_links_to_cards(visitor: Visitor) -> None:
    tab = visitor.tab
    job = visitor.scene.omni.add(Script(end=Complete("42")), prompt="How many?")
    await visitor.types(f"{COMMAND} {job}")
    await visitor.sees("Answered")
    await enter(tab, "Omni job bot")
    await tab.click("[data-tab=home]")
    await visitor.sees(job, within="document.getElementById('home').innerText")
    assert await tab.get("document.getElementById('composer').hidden")
    await tab.click("#home a")
    await tab.until(
        "document.querySelector('#messages .card') !== null && document.getElementById('home').hidden"
    )
    await visitor.sees("How many?")


async def test_shortcut_works_with_keyboard(visitor: Visitor) -> None:
    tab = visitor.tab
    await tab.click("#plus")
    await tab.press("ArrowDown")
    await tab.press("Enter")
    await tab.until(f"{MODAL}.open")
    await visitor.sees("Follow an Omni job", within=f"{MODAL}.innerText")
    await tab.press("Escape")
    await tab.until(f"!{MODAL}.open")
    assert visitor.scene.slack.modal("ada") is None
    await tab.click("#plus")
    await tab.press("Escape")
    assert await tab.get("document.activeElement.id") == "plus"


# Without a bot


async def test_modal_keeps_input_and_shows_errors(
    still: tuple[Stage, Tab],
) -> None:
    stage, tab = still
    view = put_up(stage, modal(text_input()))
    await tab.until(f"{MODAL}.open && document.activeElement.tagName === 'TEXTAREA'")
    await tab.type("Top pro")
    stage.scene.slack.workspace.surfaces.replace(view, FULL)
    stage.scene.slack.workspace.tell_view("view", view)
    await tab.until("document.querySelectorAll('#modal select').length === 1")
    await tab.type("ducts?")
    assert await tab.get("document.querySelector('#modal textarea').value") == "Top products?"
    view.errors = {"question": "Please ask something else."}
    stage.scene.slack.workspace.tell_view("view", view)
    wrong = await tab.until(
        "document.querySelector('#modal textarea[aria-invalid]')?.getAttribute('aria-describedby')"
    )
    said = await tab.get(f"document.getElementById({json.dumps(wrong.split()[0])}).innerText")
    assert said == "Please ask something else."


async def test_empty_required_input_is_refused_locally(still: tuple[Stage, Tab]) -> None:
    stage, tab = still
    put_up(stage, FULL)
    await tab.click("#modal [type=submit]")
    await tab.until("document.querySelector('[data-block=question] .wrong') !== null")
    assert "required" in await tab.get("document.querySelector('[data-block=question] .wrong').innerText")


async def test_unanswered_modal_stays_open(still: tuple[Stage, Tab]) -> None:
    stage, tab = still
    put_up(stage, modal(text_input()))
    await tab.until(f"{MODAL}.open")
    await tab.type(QUESTION)
    await tab.click("#modal [type=submit]")
    await tab.until("document.querySelector('#modal .trouble')?.innerText.includes('trouble connecting')")
    assert await tab.get("document.querySelector('#modal textarea').value") == QUESTION


async def test_modal_belongs_to_user_and_survives_reload(still: tuple[Stage, Tab]) -> None:
    stage, tab = still
    put_up(stage, modal(text_input()))
    await tab.until(f"{MODAL}.open")
    await be(tab, 1)
    await tab.until(f"!{MODAL}.open")
    await be(tab, 0)
    await tab.until(f"{MODAL}.open")
    await tab.call("Page.reload")
    await tab.until(f"document.body?.dataset.ready === 'yes' && {MODAL}.open")


async def test_every_surface_is_readable_and_fits(still: tuple[Stage, Tab]) -> None:
    stage, tab = still
    workspace = stage.scene.slack.workspace
    ada = workspace.user("ada").id
    sheet = home(section("*Running* `550e8400-e29b-41d4-a716-446655440000`"), button())
    workspace.tell_view("home", workspace.surfaces.publish(ada, sheet))
    view = put_up(stage, FULL)
    view.errors, view.trouble = {"question": "Please enter a question."}, "Try again?"
    workspace.tell_view("view", view)
    await tab.until(f"{MODAL}.open && document.querySelector('#modal .wrong') !== null")
    for at_home in (False, True):
        if at_home:
            workspace.surfaces.close(view)
            workspace.tell_view("view", view)
            await tab.until(f"!{MODAL}.open")
            await enter(tab, "Omni job bot")
            await tab.click("[data-tab=home]")
            await tab.until("document.querySelector('#home .sheet') !== null")
        for width in (NARROW, WIDE):
            for dark in (False, True):
                await tab.look(width, TALL, dark=dark)
                await asyncio.sleep(0.3)
                assert await tab.get(FAINT) == [], f"{width}, {'dark' if dark else 'light'}"
                assert await tab.get("document.documentElement.scrollWidth") <= width
                assert await tab.get(STICKING_OUT) == []
    # No bot answers the opened tab, and the page says so.
    await tab.until("document.querySelector('#home .trouble')?.innerText.includes('did not answer')")
    tab.complaints.clear()
