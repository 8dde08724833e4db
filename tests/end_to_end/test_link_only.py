"""Links only: no request to Slack carries a question, an answer, data or a reason."""

import asyncio

import pytest

from bot.demo.faults import HTML_500, RESET_AFTER, Fault
from bot.demo.omni.job_data import JobData, Query, bars
from bot.demo.omni.organization import MODEL
from bot.demo.omni.server import SUBMIT
from bot.demo.omni.timeline import Complete, Failed, Script
from bot.demo.slack.workspace import StoredMessage
from tests.end_to_end.steps import ask
from tests.end_to_end.world import World

DATABASES = ("SQLite", "PostgreSQL")

MARK = "MARKED"
STEPS = ((2.0, f"{MARK} progress", 1),)
LONG_ANSWER = "\n\n".join(f"{MARK} paragraph {number} " + "of many words " * 40 for number in range(40))
ANSWERED = Script(0.0, STEPS, 0.0, Complete(LONG_ANSWER))
FAILED = Script(0.0, STEPS, end=Failed(f"{MARK} message", f"{MARK}_CODE", f"{MARK} detail"))
LONG = Script(0.0, ((60.0, f"{MARK} progress", 1),), 0.0, Complete(f"{MARK} answer"))
DATA = JobData(
    (Query(f"{MARK} query", f"Product,Revenue\n{MARK},5\n", message=f"{MARK} step"),),
    picture=bars((1.0, 2.0)),
    steps=(("search_model", f"{MARK} step"),),
)


def sent(world: World) -> list[str]:
    """Everything that the bot has sent to Slack: messages, edits, private lines, views, files and their names."""
    return [f"{request.method} {request.args}" for request in world.slack.requests]


def assert_no_mark(world: World) -> None:
    assert sent(world), "the bot has sent something"
    assert [request for request in sent(world) if MARK in request] == []
    shown = [m for c in world.slack.workspace.channels.values() for m in c.messages.values() if m.by_bot]
    assert [m for m in [*shown, *world.slack.workspace.private] if MARK in f"{m.text} {m.blocks}"] == []
    assert world.slack.calls("files.getUploadURLExternal") == [], "neither a chart nor a file"


async def press(world: World, card: StoredMessage, action: str) -> None:
    value = next(
        element["value"]
        for block in card.blocks
        for element in block.get("elements", ())
        if element.get("type") == "button" and "value" in element
    )
    acked = await world.slack.click(
        user=world.ada, channel=card.channel, ts=card.ts, action_id=action, value=value
    )
    assert acked.acked


async def see_all(world: World, channel: str) -> None:
    """Follow, ask, fail, retry, press every button, list and open the Home tab."""
    job = world.omni.add(ANSWERED, prompt=f"{MARK} question", data=DATA)
    await world.type(job, channel=channel)
    await world.slack.until(lambda: "Answered in" in str(world.slack.messages(channel)), timeout=20)
    (card,) = world.slack.messages(channel)
    await world.slack.until(lambda: bool(world.replies(card)))
    for action in ("show_data", "show_steps"):
        lines = len(world.slack.private(world.ada))
        await press(world, card, action)
        if not channel.startswith("D"):
            await world.slack.until(lambda: len(world.slack.private(world.ada)) > lines)
    world.omni.script_for_submitted = FAILED
    await press(world, card, "ask_follow_up")
    await world.slack.until(lambda: world.slack.modal(world.ada) is not None)
    await world.slack.submit_view({"question": f"{MARK} follow-up"}, user=world.ada)
    await world.slack.until(lambda: "The job failed" in str(world.replies(card)), timeout=20)
    failed = next(reply for reply in world.replies(card) if "The job failed" in str(reply.blocks))
    world.omni.script_for_submitted = LONG
    await press(world, failed, "retry_job")
    await world.slack.until(lambda: "Omni is working on it" in str(world.replies(card)), timeout=20)
    await world.type("list", channel=channel)
    await world.slack.open_home(world.ada)
    await world.slack.until(lambda: "Failed" in str(world.slack.home(world.ada)), timeout=20)


@pytest.mark.both_modes
async def test_link_everywhere_sends_no_content(world: World) -> None:
    settings = {"answers": "link", "omni_model_id": MODEL, "notify_after_seconds": 0}
    async with world.bot(**settings):
        await see_all(world, world.channel)
        world.omni.script_for_submitted = ANSWERED
        await ask(world, f"{MARK} private question private")
        direct = world.slack.dm(world.ada)
        await world.slack.until(lambda: "Answered in" in str(world.slack.messages(direct)), timeout=20)
        await world.slack.open_home(world.ada)
        await world.slack.until(lambda: "Answered" in str(world.slack.home(world.ada)), timeout=20)

    assert_no_mark(world)
    assert "The answer is in Omni." in str(world.slack.messages(direct))


def answers(world: World) -> int:
    return sum("Answered in" in message.text for message in world.slack.messages(world.channel))


async def test_link_only_channel_beside_a_full_one(world: World) -> None:
    other = world.slack.workspace.channel("sales").id
    settings = {"link_only_channels": world.channel, "omni_model_id": MODEL, "notify_after_seconds": 0}
    async with world.bot(**settings):
        await see_all(world, world.channel)
        assert_no_mark(world)
        job = world.omni.add(ANSWERED, prompt=f"{MARK} question")
        await world.type(job)
        await world.type(job, channel=other)
        await world.card(f"{MARK} paragraph 1", channel=other)
        await world.slack.until(lambda: answers(world) == 2)

    here = [m for m in world.slack.workspace.channels[world.channel].messages.values() if m.by_bot]
    assert [m for m in here if MARK in f"{m.text} {m.blocks}"] == []


@pytest.mark.parametrize("fault", [RESET_AFTER, HTML_500], ids=["no answer", "error"])
async def test_unconfirmed_question_is_not_sent_back(world: World, fault: Fault) -> None:
    async with world.bot(answers="link", omni_model_id=MODEL):
        world.omni.faults.plan(fault, on=SUBMIT)
        await ask(world, f"{MARK} question")
        await world.reply_to(world.ada, "I don't know whether it accepted your question")

    assert_no_mark(world)


async def test_kill_in_the_middle_sends_no_content(world: World) -> None:
    job = world.omni.add(LONG, prompt=f"{MARK} question", data=DATA)
    bot = await world.forked_bot(ANSWERS="link")
    await world.type(job)
    card = await world.card("Omni is working on it")
    bot.kill()
    await bot.wait()
    world.omni.set(job, state="COMPLETE", resultSummary=LONG_ANSWER)
    async with world.bot(answers="link", notify_after_seconds=0):
        await world.card("Answered")
        await world.slack.until(lambda: bool(world.replies(card)))
        await world.follows_nothing(world.ada)

    assert_no_mark(world)
    assert len(world.replies(card)) == 1


async def test_change_to_links_covers_running_cards(world: World) -> None:
    job = world.omni.add(LONG, prompt=f"{MARK} question")
    async with world.bot():
        await world.type(job)
        card = await world.card(f"{MARK} progress")
    async with world.bot(answers="link"):
        async with asyncio.timeout(15):
            while MARK in f"{card.text} {card.blocks}":
                await asyncio.sleep(0.1)
