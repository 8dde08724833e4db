"""From the command to Slack's final messages, for every way a job can end."""

import re

from bot.demo.omni.job_data import JobData
from bot.demo.omni.timeline import Cancelled, Complete, Failed, Script
from tests.end_to_end.world import World

DATABASES = ("SQLite", "PostgreSQL")

ANSWER = "### Top 5 products\n\n1. **Sunglasses** - $678,994\n2. **Jeans** - $475,072"
RUNNING = ((1.9, "Running query: Top products", 2),)


async def test_quick_answer_mentions_no_user(world: World) -> None:
    async with world.bot():
        job = world.omni.add(Script(0.0, RUNNING, 0.0, Complete(ANSWER)), topic="order_items")
        await world.type(job)
        running = await world.card("Step 2: Running query: Top products")
        card = await world.card("Answered in 2 s")

    assert card.ts == running.ts
    assert "topic order_items" in card.text
    (_, _, title, products, *_) = card.blocks
    assert title["text"]["text"] == "Top 5 products"
    assert [item["elements"][0]["text"] for item in products["elements"][0]["elements"]] == [
        "Sunglasses",
        "Jeans",
    ]
    buttons = [e for block in card.blocks if block["type"] == "actions" for e in block["elements"]]
    assert [b["action_id"] for b in buttons] == ["open_chat", "show_data", "ask_follow_up", "answer_menu"]
    assert buttons[0]["url"] == world.omni.jobs[job].chat_url
    assert world.replies(card) == []
    assert world.slack.private(world.ada) == []


async def test_slow_answer_mentions_all_followers_once(world: World) -> None:
    async with world.bot(notify_after_seconds=0.5):
        job = world.omni.add(Script(0.0, RUNNING, 0.0, Complete(ANSWER)))
        await world.type(job)
        await world.card("Omni is working on it")
        await world.type(job, user=world.grace)
        card = await world.card("Answered")
        await world.slack.until(lambda: bool(world.replies(card)))

    (reply,) = world.replies(card)
    assert reply.text.startswith(f"<@{world.ada}> <@{world.grace}>: Answered in 2 s")


async def test_failure_shows_reason_and_one_reply(world: World) -> None:
    failed = Failed("Column 'revenue' not found", "QUERY_EXECUTION_ERROR", "timed out after 300 seconds")
    async with world.bot():
        job = world.omni.add(Script(0.0, RUNNING, 0.0, failed))
        await world.type(job)
        card = await world.card("The job failed")
        await world.slack.until(lambda: bool(world.replies(card)))

    shown = str(card.blocks)
    assert "Column &#39;revenue&#39; not found" in shown or "Column 'revenue' not found" in shown
    assert "QUERY_EXECUTION_ERROR" in shown
    assert "timed out after 300 seconds" in shown
    (reply,) = world.replies(card)
    assert reply.text.startswith(f"<@{world.ada}>:")
    assert "Column" in reply.text
    assert world.omni.jobs[job].chat_url in reply.text


async def test_cancelled_job_shows_when_and_no_foreign_id(world: World) -> None:
    someone = "990e8400-e29b-41d4-a716-446655440004"
    async with world.bot():
        job = world.omni.add(Script(0.0, RUNNING, 0.0, Cancelled(someone)))
        await world.type(job)
        card = await world.card("The job was cancelled")
        await world.slack.until(lambda: bool(world.replies(card)))

    assert "<!date^" in card.text
    assert someone not in f"{card.text} {card.blocks}"
    (reply,) = world.replies(card)
    assert reply.text.startswith(f"<@{world.ada}>:")


async def test_ended_job_is_posted_in_final_form(world: World) -> None:
    job = world.omni.add(Script(0.0, RUNNING, 0.0, Complete(ANSWER)), age_seconds=3600)
    async with world.bot():
        await world.type(job)
        card = await world.card("Answered")

    assert card.edits == 0
    assert [request.path for request in world.omni.requests if not request.path.endswith("/vis")] == [
        f"/api/v1/ai/jobs/{job}"
    ]
    assert world.replies(card) == []


async def test_long_answer_continues_in_thread_completely(world: World) -> None:
    paragraphs = [f"Paragraph {number} of many. {'Words in it. ' * 30}" for number in range(1, 31)]
    job = world.omni.add(Script(0.0, RUNNING, 0.0, Complete("\n\n".join(paragraphs))), age_seconds=60)
    async with world.bot():
        await world.type(job)
        card = await world.card("Paragraph 1 of many")
        await world.slack.until(
            lambda: any("Paragraph 30 of" in str(reply.blocks) for reply in world.replies(card))
        )
        await world.follows_nothing(world.ada)

    shown = str([message.blocks for message in (card, *world.replies(card))])
    assert re.findall(r"Paragraph (\d+) of many", shown) == [str(number) for number in range(1, 31)]
    assert len({reply.ts for reply in world.replies(card)}) == len(world.replies(card)) <= 5


async def test_empty_answer_is_not_a_failure(world: World) -> None:
    job = world.omni.add(Script(0.0, (), 0.0, Complete(None)), age_seconds=60)
    async with world.bot():
        await world.type(job)
        card = await world.card("Omni finished without a written answer")

    assert world.replies(card) == []


async def test_answer_that_only_the_result_has_is_shown(world: World) -> None:
    data = JobData(changed=(("message", "### The real answer"),))
    job = world.omni.add(Script(0.0, (), 0.0, Complete(None)), age_seconds=60, data=data)
    async with world.bot():
        await world.type(job)
        await world.card("The real answer")
