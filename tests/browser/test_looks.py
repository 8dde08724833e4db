"""The page draws everything a message can contain: readable, within bounds and without moving."""

from collections.abc import AsyncIterator

import pytest

from bot.demo.run import raised
from tests.browser.chromium import Tab, chromium
from tests.browser.gallery import IDLE, enter, hang
from tests.browser.specimens import ANSWERS, BLOCKS
from tests.browser.visitor import FAINT, NARROW, TALL, WIDE

pytestmark = pytest.mark.browser

RINGLESS = """
[...document.querySelectorAll("main :is(a[href], button:enabled, input, [tabindex='0'])")].filter((node) => {
  if (!node.checkVisibility({ visibilityProperty: true })) return false;
  node.focus({ focusVisible: true });
  const drawn = getComputedStyle(node).boxShadow !== "none" || node.closest(".box") !== null;
  return !(document.activeElement === node && drawn);
}).map((node) => node.outerHTML.slice(0, 80))
"""

STICKING_OUT = """
[...document.querySelectorAll("#messages :is(.card, .file, .task, .chart, .words > *, .context > *)")]
  .filter((node) => !node.parentElement.closest(".scroll, pre"))
  .filter((node) => node.getBoundingClientRect().right > innerWidth - 4)
  .map((node) => node.outerHTML.slice(0, 80))
"""

LIST = "document.getElementById('messages')"

CARD = "document.querySelector('#messages .message:has({inside})')"


@pytest.fixture
async def page() -> AsyncIterator[tuple[Tab, dict[str, str]]]:
    """A page with everything on it, and no bot. Besides, the channel of each sheet."""
    async with raised(port=0, command=IDLE) as stage, chromium() as tab:
        rooms = hang(stage.scene)
        await tab.look(WIDE, TALL)
        await tab.open(stage.page.url)
        await tab.until("document.body.dataset.ready")
        await tab.call("Emulation.setFocusEmulationEnabled", enabled=True)
        yield tab, rooms
        assert tab.complaints == []


async def test_text_has_enough_contrast(page: tuple[Tab, dict[str, str]]) -> None:
    tab, rooms = page
    for dark in (False, True):
        await tab.look(WIDE, TALL, dark=dark)
        for room in rooms.values():
            await enter(tab, room)
            assert await tab.get(FAINT) == [], f"in {room}, {'dark' if dark else 'light'}"


async def test_focus_is_visible(page: tuple[Tab, dict[str, str]]) -> None:
    tab, rooms = page
    for room in rooms.values():
        await enter(tab, room)
        assert await tab.get(RINGLESS) == []


@pytest.mark.parametrize("width", [NARROW, 480, 900, WIDE])
async def test_everything_stays_within_the_window(width: int, page: tuple[Tab, dict[str, str]]) -> None:
    tab, rooms = page
    await tab.look(width, TALL)
    for room in rooms.values():
        await enter(tab, room)
        assert await tab.get("document.documentElement.scrollWidth") <= width
        assert await tab.get(f"{LIST}.scrollWidth <= {LIST}.clientWidth")
        assert await tab.get(STICKING_OUT) == []


async def test_wide_content_scrolls_in_its_box(
    page: tuple[Tab, dict[str, str]],
) -> None:
    tab, rooms = page
    await tab.look(NARROW, TALL)
    await enter(tab, rooms["specimens"])
    for inside in ("table", "pre"):
        box = ".scroll" if inside == "table" else "pre"
        scrolling = (
            f"[...document.querySelectorAll('#messages {box}')].filter((b) => b.scrollWidth > b.clientWidth)"
        )
        assert await tab.get(f"{scrolling}.length") > 0
        reachable = f"{scrolling}.every((box) => box.tabIndex === 0)"
        assert await tab.get(reachable), "with the keyboard, too"


async def test_nothing_is_left_undrawn(page: tuple[Tab, dict[str, str]]) -> None:
    tab, rooms = page
    for room in rooms.values():
        await enter(tab, room)
        assert await tab.get("document.querySelectorAll('#messages .unknown').length") == 0
    cards = await tab.get("document.querySelectorAll('#messages .card').length")
    assert cards == len(BLOCKS) + len(ANSWERS) + 1


async def test_task_shows_state_as_text_and_shape(page: tuple[Tab, dict[str, str]]) -> None:
    tab, rooms = page
    await enter(tab, rooms["specimens"])
    signs = await tab.get("[...document.querySelectorAll('.task .sign')].map((sign) => sign.ariaLabel)")
    assert signs == 2 * ["done:", "in progress:", "failed:"]


async def test_data_table_pages_and_sorts_in_place(
    page: tuple[Tab, dict[str, str]],
) -> None:
    tab, rooms = page
    await enter(tab, rooms["specimens"])
    table = CARD.format(inside=".data-table")
    first = f"{table}.querySelector('tbody tr').innerText"
    tall = await tab.get(f"{table}.offsetHeight")
    assert "Sunglasses" in await tab.get(first)
    assert await tab.get(f"{table}.querySelector('.pager span').innerText") == "1–5 of 7"
    await tab.click(".data-table .pager button:last-child")
    assert "Scarves" in await tab.get(first)
    assert await tab.get(f"{table}.offsetHeight") == tall
    await tab.click(".data-table th:nth-child(2) .sort")
    assert "Wool hats" in await tab.get(first)
    assert await tab.get(f"{table}.querySelector('th:nth-child(2)').ariaSort") == "ascending"
    await tab.click(".data-table th:nth-child(2) .sort")
    assert "Sunglasses" in await tab.get(first)


async def test_chart_shows_every_number(page: tuple[Tab, dict[str, str]]) -> None:
    tab, rooms = page
    await enter(tab, rooms["specimens"])
    rows = await tab.get("[...document.querySelectorAll('.chart tr')].map((row) => row.innerText)")
    assert [row.split() for row in rows][-3:] == [["Stores", "-20.5"], ["EMEA", "41"], ["APAC", "18.25"]]
    begins = await tab.get("[...document.querySelectorAll('.chart')][0].querySelectorAll('.bar').length")
    assert begins == 8


async def test_pictures_load_without_layout_shift(
    page: tuple[Tab, dict[str, str]],
) -> None:
    tab, rooms = page
    await enter(tab, rooms["specimens"])
    pictures = "[...document.querySelectorAll('#messages img')]"
    await tab.get(f"{pictures}.forEach((each) => {{ each.loading = 'eager'; }})")
    await tab.until(f"{pictures}.length === 2 && {pictures}.every((each) => each.naturalWidth === 720)")
    sized = "document.querySelector('.file img')"
    assert await tab.get(f"[{sized}.getAttribute('width'), {sized}.getAttribute('height')]") == ["720", "360"]
    assert await tab.get(f"{sized}.alt") == "Bars that rise from April to September"


async def test_file_shows_name_size_and_beginning(page: tuple[Tab, dict[str, str]]) -> None:
    tab, rooms = page
    await enter(tab, rooms["specimens"])
    files = await tab.get("[...document.querySelectorAll('.file')].map((file) => file.innerText)")
    picture, sheet, answer, other = files
    assert "revenue.png" in picture
    assert "revenue-by-channel-and-month.csv · 1.5\N{NO-BREAK SPACE}kB" in sheet
    assert "2026-04\t412300" in sheet and "and 49 more lines" in sheet
    assert "Revenue grew 15%" in answer and "more lines" in answer
    assert "18\N{NO-BREAK SPACE}MB" in other


async def test_tasks_show_their_boxes(page: tuple[Tab, dict[str, str]]) -> None:
    tab, rooms = page
    await enter(tab, rooms["specimens"])
    boxes = await tab.get("[...document.body.innerText].filter((letter) => '☐☑'.includes(letter)).join('')")
    assert boxes == "☑☑☐☐☐"
