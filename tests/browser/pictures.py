"""Pictures of the card in each state, light and dark, taken from the demo page.

Run as `uv run python -m tests.browser.pictures OUT_DIR`.
"""

import asyncio
import json
import math
import sys
from pathlib import Path

from bot.demo.omni.organization import ADA
from bot.demo.omni.timeline import Cancelled, Complete, Failed, Script
from bot.demo.run import raised
from bot.demo.sample_answers import CHURN
from bot.demo.samples import sample
from bot.demo.scene import COMMAND, Scene
from tests.browser.chromium import Tab, chromium

WIDTH = 760
TALL = 2_000
QUIET_SECONDS = 2.5
"""A card that has not changed for so long shows what it will go on showing."""

QUESTION = "Which plan loses the most customers, and since when?"
SEARCHING = (6.0, "Searching for churn fields", 1)
STATES = {
    "queued": (Script(math.inf), 20.0),
    "executing": (
        Script(4.0, (SEARCHING, (math.inf, "Running query: Customers by plan and month", 2))),
        8.5,
    ),
    "delivering": (Script(4.0, (SEARCHING,), math.inf), 40.0),
    "complete": (Script(4.0, ((44.0, "Query returned 42 rows", 3),), 3.0, Complete(CHURN)), 51.0),
    "failed": (
        Script(
            4.0,
            (SEARCHING,),
            end=Failed(
                "Column 'churned_at' not found in table 'customers'",
                "QUERY_EXECUTION_ERROR",
                "The table has: customer_id, plan, signed_up_at, left_at",
            ),
        ),
        10.0,
    ),
    "cancelled": (Script(4.0, (SEARCHING,), end=Cancelled(ADA)), 10.0),
}
"""State, to a script that stays in it and the job's age when Ada asks for it."""


async def take(folder: Path) -> None:
    """Write `<state>-<light|dark>.png` for every state, and `page-<light|dark>.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    async with raised(port=0) as stage, chromium() as tab:
        await stage.scene.start_bot()
        await tab.look(WIDTH, TALL)
        await tab.open(stage.page.url)
        await tab.until("document.body.dataset.ready")
        for state, (script, age_seconds) in STATES.items():
            await _take_card(stage.scene, tab, folder, state, script, age_seconds)
        await _take_page(stage.scene, tab, folder)


async def _take_card(
    scene: Scene, tab: Tab, folder: Path, state: str, script: Script, age_seconds: float
) -> None:
    job = scene.omni.add(script, prompt=QUESTION, topic="subscriptions", age_seconds=age_seconds)
    card = await _ask(scene, job)
    await _quiet(scene)
    # The failed card is shown with its thread, which has the completion reply.
    selector = f'#messages [data-ts="{card}"]'
    if state == "failed":
        await tab.click(f"{selector} .replies")
        selector = "#thread-messages .message"
    for scheme in ("light", "dark"):
        await tab.look(WIDTH, TALL, dark=scheme == "dark")
        await asyncio.sleep(0.5)
        await tab.picture(folder / f"{state}-{scheme}.png", selector=selector, scale=2)
    if state == "failed":
        await tab.press("Escape")


async def _take_page(scene: Scene, tab: Tab, folder: Path) -> None:
    await tab.look(1440, 900)
    quick = sample("quick")
    await _ask(scene, quick.start(scene.omni), channel="sales")
    await tab.get(
        "[...document.querySelectorAll('.channel')].find((c) => c.innerText.includes('sales')).click()"
    )
    await asyncio.sleep(10)
    slow = sample("slow")
    card = await _ask(scene, slow.start(scene.omni), channel="sales")
    await tab.until(f"!!document.querySelector('[data-ts=\"{card}\"] .plan')", seconds=60)
    for scheme in ("light", "dark"):
        await tab.look(1440, 900, dark=scheme == "dark")
        await asyncio.sleep(0.5)
        await tab.picture(folder / f"page-{scheme}.png", scale=2)


async def _ask(scene: Scene, job: str, channel: str = "data-team") -> str:
    """Ada asks for a job. Returns the ts of its card."""
    workspace = scene.slack.workspace
    place = workspace.channel(channel).id
    await scene.type(workspace.user("ada").id, place, f"{COMMAND} {job}")

    def cards() -> list[str]:
        return [m.ts for m in scene.slack.messages(place) if m.by_bot and job in json.dumps(m.blocks)]

    await scene.slack.until(lambda: bool(cards()))
    return cards()[0]


async def _quiet(scene: Scene) -> None:
    """Wait until nothing has happened for a while."""
    with scene.events() as events:
        while True:
            try:
                await asyncio.wait_for(events.get(), QUIET_SECONDS)
            except TimeoutError:
                return


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1])))
