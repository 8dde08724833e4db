"""Take pictures of every card and of everything the page can draw.

Run as `uv run python -m tests.browser.gallery OUT_DIR`. Writes `<what>-<narrow|wide>-<light|dark>.png`; signs and
scripts look as the machine's fonts have them.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from bot.demo.run import raised
from bot.demo.scene import Scene
from bot.domain.jobs import JobStatus
from bot.rendering.card import render_card
from tests.browser.chromium import Tab, chromium
from tests.browser.specimens import ANSWERS, BLOCKS, FILES
from tests.support.golden import CARD, COMPLETE, MESSAGES, NOW, TENANT

WIDTHS = {"narrow": 390, "wide": 1_000}
TALL = 9_000
IDLE = (sys.executable, "-c", "import time; time.sleep(3600)")
_SHEETS = 3
"""Into how many pictures the cards are put."""


def hang(scene: Scene) -> dict[str, str]:
    """Post everything as the bot would. Returns for each picture the channel that it is in."""
    workspace = scene.slack.workspace
    names = list(MESSAGES)
    sheets = {f"cards-{at + 1}": names[at::_SHEETS] for at in range(_SHEETS)}
    rooms = dict(zip([*sheets, "specimens"], ("data-team", "sales", "leadership", "random"), strict=True))
    for sheet, shown in sheets.items():
        channel = workspace.channel(rooms[sheet])
        for name in shown:
            message = MESSAGES[name][0]
            workspace.post(channel, workspace.user("ada").id, name)
            workspace.post(channel, workspace.bot.id, message.text, blocks=list(message.blocks))
    channel = workspace.channel(rooms["specimens"])
    for file in FILES:
        workspace.files.by_id[file.id] = file
        workspace.complete(file, file.title)
    for name, answer in ANSWERS.items():
        message = render_card(CARD, JobStatus(replace(COMPLETE, answer=answer), NOW), NOW, TENANT)[0]
        workspace.post(channel, workspace.bot.id, name, blocks=list(message.blocks))
    for name, blocks in BLOCKS.items():
        workspace.post(channel, workspace.bot.id, name, blocks=blocks)
    workspace.share(channel, workspace.bot.id, [replace(file) for file in FILES], "Files")
    return rooms


async def enter(tab: Tab, room: str) -> None:
    """Go to a channel by its name."""
    await tab.get(
        f"[...document.querySelectorAll('.channel')].find((c) => c.textContent.includes('{room}')).click()"
    )


async def take(folder: Path) -> None:
    """Write the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    async with raised(port=0, command=IDLE) as stage, chromium() as tab:
        rooms = hang(stage.scene)
        await tab.open(stage.page.url)
        await tab.until("document.body.dataset.ready")
        for width, pixels in WIDTHS.items():
            for scheme in ("light", "dark"):
                await tab.look(pixels, TALL, dark=scheme == "dark")
                for sheet, room in rooms.items():
                    await enter(tab, room)
                    await asyncio.sleep(0.5)
                    await tab.picture(folder / f"{sheet}-{width}-{scheme}.png", selector="#messages > li")


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1])))
