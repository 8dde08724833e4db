"""One installation in an Enterprise Grid organization serves its workspaces, whose rows stay apart."""

import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from bot.cli.check import check
from bot.demo.omni.organization import MODEL
from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.records import HOME_TEAM, ORGANIZATION, SECOND_TEAM
from bot.demo.slack.simulator import SimulatedSlack
from tests.end_to_end.world import World

LONG = Script(0.0, ((60.0, "Thinking", 1),), 0.0, Complete("Done."))
QUICK = Script(0.0, ((0.2, "Thinking", 1),), end=Complete("Widgets."))


@pytest.fixture
async def grid(tmp_path: Path) -> AsyncIterator[World]:
    async with SimulatedSlack(organization=ORGANIZATION) as slack, SimulatedOmni() as omni:
        yield World(slack, omni, tmp_path)


async def test_each_workspace_of_an_organization_has_its_own_cards(grid: World) -> None:
    slack, berlin = grid.slack, grid.slack.workspace.channel("berlin").id
    job = grid.omni.add(LONG)
    async with grid.bot():
        await grid.type(job)
        await grid.card("Thinking")
        await grid.type("list", channel=berlin)
        await slack.until(lambda: any("aren't following" in m.text for m in slack.private(grid.ada, berlin)))
        await grid.type(job, channel=berlin)
        card = await grid.card("Thinking", channel=berlin)
        await slack.click(user=grid.ada, channel=berlin, ts=card.ts, action_id="stop_following")
        await grid.card("no longer follows", channel=berlin)
        await grid.card("Thinking")

    rows = sqlite3.connect(grid.folder / "follows.sqlite3").execute("SELECT team, channel FROM watches")
    assert set(rows) == {(HOME_TEAM, grid.channel), (SECOND_TEAM, berlin)}


async def test_mentions_shortcuts_and_modals_find_their_workspace(grid: World) -> None:
    slack, berlin = grid.slack, grid.slack.workspace.channel("berlin").id
    grid.omni.script_for_submitted = QUICK
    job = grid.omni.add(QUICK, prompt="An older one")
    async with grid.bot(omni_model_id=MODEL):
        asked = await slack.mention("What sells?", user=grid.ada, channel=berlin)
        await slack.until(lambda: any("Widgets." in str(m.blocks) for m in slack.messages(berlin)))
        said = await slack.say(job, user=grid.grace, channel=berlin, thread=asked.ts)
        await slack.message_shortcut("follow_message", user=grid.ada, channel=berlin, ts=said.ts)
        await slack.until(lambda: any("older" in str(m.blocks) for m in slack.replies(berlin, asked.ts)))
        await slack.shortcut("ask_anywhere", user=grid.ada)
        await slack.until(lambda: "Shop" in str(slack.modal(grid.ada)))
        assert (await slack.submit_view({"question": "And here?"}, user=grid.ada)).closed
        await grid.card("Widgets.", channel=slack.dm(grid.ada))
        await slack.open_home(grid.ada)
        await slack.until(lambda: slack.home(grid.ada) is not None)


async def test_form_asks_in_the_workspace_where_it_was_opened(grid: World) -> None:
    slack, berlin = grid.slack, grid.slack.workspace.channel("berlin").id
    grid.omni.script_for_submitted = QUICK
    async with grid.bot(omni_model_id=MODEL):
        for channel in (berlin, grid.channel):
            acked = await slack.command("", user=grid.ada, channel=channel, command="/omni-ask")
            assert acked.acked
            await slack.until(lambda: "Shop" in str(slack.modal(grid.ada)))
            assert (await slack.submit_view({"question": "What sells?"}, user=grid.ada)).closed
            await grid.card("Widgets.", channel=channel)

    rows = sqlite3.connect(grid.folder / "follows.sqlite3").execute("SELECT team, channel FROM watches")
    assert set(rows) == {(HOME_TEAM, grid.channel), (SECOND_TEAM, berlin)}


async def test_question_of_a_modal_is_checked_in_its_workspace(grid: World) -> None:
    slack, berlin = grid.slack, grid.slack.workspace.channel("berlin").id
    async with grid.bot(omni_model_id=MODEL, allowed_channels=grid.channel):
        for channel, shown in ((berlin, "can't be used in this channel"), (grid.channel, "Shop")):
            await slack.command("", user=grid.ada, channel=channel, command="/omni-ask")
            await slack.until(partial(_shows, slack, grid.ada, shown))


def _shows(slack: SimulatedSlack, user: str, text: str) -> bool:
    return text in str(slack.modal(user))


async def test_check_names_the_organization(grid: World) -> None:
    findings = [str(finding) async for finding in check(grid.settings())]
    assert findings[0] == "ok    Slack bot token: organization Omni Grid, 2 workspaces"
    assert all(line.startswith("ok") for line in findings)
    grid.slack.workspace.teams = ()
    (first, *_) = [finding async for finding in check(grid.settings())]
    assert not first.good and "add the app to its workspaces" in first.remedy
