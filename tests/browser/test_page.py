"""The demo page in a real browser with the real bot."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bot.demo.omni.timeline import Complete, Failed, Script
from bot.demo.run import raised
from bot.demo.scene import COMMAND
from tests.browser.chromium import chromium
from tests.browser.visitor import CARDS, SAID, Visitor

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=\"document.title='broken in'\"> <script>document.title='broken in'</script>"


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    async with raised(port=0) as stage, chromium() as tab:
        await stage.scene.start_bot()
        assert stage.scene.bot.state == "running", list(stage.scene.bot.last_lines)
        await tab.look(1440, 900)
        await tab.open(stage.page.url)
        await tab.until("document.body.dataset.ready === 'yes'")
        yield Visitor(stage.scene, tab)
        assert tab.complaints == []


async def test_command_becomes_card_and_answer(visitor: Visitor) -> None:
    script = Script(2.0, ((8.0, "Counting the sunglasses", 1),), 1.0, Complete("We sold **forty two**."))
    job = visitor.scene.omni.add(script, prompt="How many sunglasses?")
    await visitor.types(f"{COMMAND} {job}")
    await visitor.sees("How many sunglasses?")
    (card,) = await visitor.cards()
    await visitor.sees("Counting the sunglasses")
    await visitor.tab.until(f"document.querySelector('[data-ts=\"{card}\"] .card.flash') !== null")
    await visitor.sees("We sold forty two.")
    assert await visitor.cards() == [card]
    await visitor.sees("edited in place")
    assert await visitor.tab.get("document.querySelector('.card strong') !== null")
    assert "Counting" not in await visitor.tab.get(SAID)


async def test_failed_job_mentions_requester_once(visitor: Visitor) -> None:
    script = Script(1.0, end=Failed("Column 'x' not found", "QUERY_EXECUTION_ERROR"))
    await visitor.types(f"{COMMAND} {visitor.scene.omni.add(script)}")
    await visitor.tab.until("document.querySelector('.replies') !== null")
    await visitor.sees("1 reply", within="document.querySelector('.replies').innerText")
    await visitor.tab.click(".replies")
    replies = await visitor.tab.until(
        "[...document.querySelectorAll('#thread-messages .message')].slice(1).map((each) => each.innerText)"
    )
    assert len(replies) == 1
    assert "Column 'x' not found" in replies[0]
    mentioned = await visitor.tab.get("document.querySelector('#thread-messages .mention.me').innerText")
    assert mentioned == "@Ada Byron"
    await visitor.tab.press("Escape")
    await visitor.tab.until("document.getElementById('thread').hidden")


async def test_invalid_id_reply_can_be_dismissed(visitor: Visitor) -> None:
    await visitor.types(f"{COMMAND} not-an-id")
    await visitor.tab.until("document.querySelector('.private') !== null")
    await visitor.sees("Only visible to you", within="document.querySelector('.private').innerText")
    assert visitor.scene.omni.requests == []
    await visitor.tab.get("document.querySelector('input[name=me]:not(:checked)').click()")
    await visitor.tab.until("document.querySelector('.private') === null")
    await visitor.tab.get("document.querySelector('input[name=me]').click()")
    await visitor.tab.click(".private .dismiss")
    await visitor.tab.until("document.querySelector('.private') === null")


async def test_restarted_bot_continues_same_card(visitor: Visitor) -> None:
    script = Script(1.0, ((9.0, "Still counting", 1),), 0.0, Complete("Counted."))
    await visitor.types(f"{COMMAND} {visitor.scene.omni.add(script)}")
    await visitor.sees("Still counting")
    (card,) = await visitor.cards()
    await visitor.tab.click("#kill")
    await visitor.sees("killed", within="document.getElementById('banner').innerText")
    await visitor.tab.click("#banner button")
    await visitor.tab.until("document.getElementById('bot-state').innerText.startsWith('running')")
    await visitor.sees("Counted.")
    assert await visitor.cards() == [card]


async def test_the_buttons_of_a_card_work(visitor: Visitor) -> None:
    await visitor.types(f"{COMMAND} {visitor.scene.omni.add(Script(60.0))}")
    await visitor.tab.click(".card [data-action=card_menu]")
    await visitor.tab.click(".card [data-action=stop_following]")
    await visitor.tab.click("#ask-yes")
    await visitor.tab.until("document.querySelector('.card [data-action=stop_following]') === null")
    assert len(await visitor.cards()) == 1


async def test_command_works_with_keyboard(visitor: Visitor) -> None:
    await visitor.tab.click("#command")
    await visitor.tab.type("/")
    await visitor.tab.until("document.getElementById('hints').hidden === false")
    for _ in range(3):
        await visitor.tab.press("ArrowDown")
    chosen = "document.getElementById('hints').querySelector('[aria-selected=true]').innerText"
    assert "help" in await visitor.tab.get(chosen)
    await visitor.tab.press("Enter")
    await visitor.tab.until("document.querySelector('.private') !== null")
    assert await visitor.tab.get("document.getElementById('command').value") == ""


async def test_no_text_becomes_markup(visitor: Visitor) -> None:
    answer = f"# {HOSTILE}\n\n{HOSTILE}\n\n[press](javascript:document.title='broken%20in')"
    job = visitor.scene.omni.add(Script(end=Complete(answer)), prompt=HOSTILE, topic=HOSTILE)
    await visitor.types(f"{COMMAND} {job}")
    await visitor.types(HOSTILE)
    await visitor.sees("onerror", within="document.getElementById('messages').innerText")
    await visitor.tab.until("document.querySelectorAll('#messages .message').length === 2")
    await asyncio.sleep(0.3)  # an injected image would need a moment to fail to load
    inside = "document.querySelectorAll('#messages :is(img, script, [onerror], [href^=javascript])').length"
    assert await visitor.tab.get(inside) == 0
    assert await visitor.tab.get("document.title") == "Omni job bot — demo"


@pytest.mark.parametrize("width", [360, 480, 900, 1440])
async def test_page_fits_any_width(width: int, visitor: Visitor) -> None:
    await visitor.tab.look(width, 800)
    await visitor.scene.try_sample("wide", *await _ada_in_data_team(visitor))
    await visitor.sees("Footwear fell by three points")
    wide = "document.documentElement.scrollWidth"
    assert await visitor.tab.get(wide) <= width
    sticking = f"{CARDS}.filter((card) => card.getBoundingClientRect().right > {width}).length"
    assert await visitor.tab.get(sticking) == 0


async def _ada_in_data_team(visitor: Visitor) -> tuple[str, str]:
    workspace = visitor.scene.slack.workspace
    return workspace.user("ada").id, workspace.channel("data-team").id
