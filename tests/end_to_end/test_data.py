"""The buttons on an answer, from the click to the messages in the card's thread."""

from collections.abc import Callable

import pytest

from bot.demo.omni.job_data import JobData, Query
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.workspace import StoredMessage
from bot.services import job_results
from tests.end_to_end.world import World

ANSWER = Script(end=Complete("Sunglasses lead."))
ROWS = 'Product,Revenue\nSunglasses,"678,994.41"\n=cmd(),-12.5\n<!channel>,3\n'
DATA = JobData((Query("Top products", ROWS),), steps=(("search_model", "Looking for **revenue**"),))


async def answered(world: World, data: JobData = DATA) -> StoredMessage:
    """The card of an answered job."""
    await world.type(world.omni.add(ANSWER, data=data))
    return await world.card("Answered in")


async def press(world: World, card: StoredMessage, button: str, value: str | None = None) -> None:
    acked = await world.slack.click(
        user=world.grace, channel=card.channel, ts=card.ts, action_id=button, value=value
    )
    assert acked.acked


async def replies(
    world: World, card: StoredMessage, are_enough: Callable[[list[StoredMessage]], bool]
) -> list[StoredMessage]:
    await world.slack.until(lambda: are_enough(world.replies(card)))
    return world.replies(card)


def asked_for_results(world: World) -> int:
    return sum(request.path.endswith("/result") for request in world.omni.requests)


@pytest.mark.both_modes
async def test_show_data_posts_table_chart_and_file_once(world: World) -> None:
    async with world.bot():
        card = await answered(world)
        for _ in range(3):
            await press(world, card, "show_data")
        table, file = await replies(world, card, lambda found: len(found) == 2)
        told = await world.reply_to(world.grace, "already shown")

    (rows,) = [block["rows"] for block in table.blocks if block["type"] == "data_table"]
    assert rows[1] == [
        {"type": "raw_text", "text": "Sunglasses"},
        {"type": "raw_number", "value": 678994.41, "text": "678,994.41"},
    ]
    assert "data_visualization" in str(table.blocks) and "<!channel>" not in str(table.blocks)
    (stored,) = file.files
    assert (stored.name, stored.title) == ("Top products.csv", "Top products")
    assert stored.content is not None
    assert stored.content.decode("utf-8-sig").splitlines()[1:3] == [
        '"Sunglasses","678,994.41"',
        '"\'=cmd()","-12.5"',
    ]
    assert table.permalink in told
    assert asked_for_results(world) == 1
    assert len(world.replies(card)) == 2


async def test_show_steps_lists_the_steps(world: World) -> None:
    async with world.bot():
        card = await answered(world)
        await press(world, card, "show_steps")
        (steps,) = await replies(world, card, bool)
    assert "1. *Searched the model*" in str(steps.blocks) and "Looking for revenue" in str(steps.blocks)
    assert "2. *Ran a query* “Top products”" in str(steps.blocks)


async def test_a_forged_click_shows_nothing(world: World) -> None:
    async with world.bot():
        card = await answered(world)
        for value in ("", "7d0f3c1e-8a51-4f2b-9a6e-0d7b0a9c5e11"):
            await press(world, card, "show_data", value=value)
        await world.slack.until(lambda: len(world.slack.private(world.grace)) == 2)
    assert all("no longer know this card" in line.text for line in world.slack.private(world.grace))
    assert world.replies(card) == [] and asked_for_results(world) == 0


async def test_removed_bot_replies_with_omni_link(world: World) -> None:
    async with world.bot():
        card = await answered(world)
        await world.slack.remove_bot(card.channel)
        await press(world, card, "show_data")
        told = await world.reply_to(world.grace, "I'm not in this channel, so I can't show it in this thread")
    assert world.omni.base_url in told and "/invite" in told
    assert world.replies(card) == [] and world.slack.calls("files.getUploadURLExternal") == []


async def test_missing_file_scope_shows_only_table(world: World) -> None:
    world.slack.granted_scopes.discard("files:write")
    async with world.bot():
        card = await answered(world)
        await press(world, card, "show_data")
        told = await world.reply_to(world.grace, "add a CSV file here")
    assert world.omni.base_url in told
    (table,) = world.replies(card)
    assert table.files == [] and len(world.slack.private(world.grace)) == 1


async def test_late_result_is_awaited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_results, "RETRY_SECONDS", (0.4, 0.8, 1.6))
    late = JobData(DATA.queries, ready_after_seconds=1.0, pending_seconds=1.5)
    async with world.bot():
        card = await answered(world, late)
        await press(world, card, "show_data")
        found = await replies(world, card, lambda found: len(found) == 2)
    assert "Top products" in found[0].text
    assert world.slack.private(world.grace) == []


async def test_missing_result_is_reported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_results, "RETRY_SECONDS", (0.1, 0.1))
    async with world.bot():
        card = await answered(world, JobData(DATA.queries, ready_after_seconds=600.0))
        await press(world, card, "show_data")
        await world.reply_to(world.grace, "Omni has nothing more to show")
    assert world.replies(card) == []
