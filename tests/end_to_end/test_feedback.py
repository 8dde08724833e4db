"""👍 and 👎 under an answer: counted once for each user, and passed on without question and answer."""

import pytest
from structlog.testing import capture_logs

from bot.demo.omni.timeline import Complete, Failed, Script
from bot.demo.slack.workspace import StoredMessage
from tests.end_to_end.steps import Refusing
from tests.end_to_end.world import World

QUESTION, ANSWER = "Which region grew by PROMPT-MARK?", "EMEA grew by ANSWER-MARK."
SALES = "C0SALES000"
ANSWERED = Script(0.0, (), 0.0, Complete(ANSWER))


async def rate(
    world: World, card: StoredMessage, how: str, user: str | None = None, value: str | None = None
) -> None:
    acked = await world.slack.click(
        user=user or world.ada, channel=card.channel, ts=card.ts, action_id=how, value=value
    )
    assert acked.acked


async def answered(world: World) -> StoredMessage:
    await world.type(world.omni.add(ANSWERED, prompt=QUESTION))
    return await world.card("ANSWER-MARK")


@pytest.mark.both_modes
async def test_each_user_is_counted_once(world: World) -> None:
    with capture_logs() as logged:
        await rate_twice(world)
    assert [line["outcome"] for line in logged if line.get("act") == "rate"] == ["helpful", "unhelpful"]


async def rate_twice(world: World) -> None:
    async with world.bot():
        card = await answered(world)
        await rate(world, card, "helpful")
        await world.reply_to(world.ada, "Thanks for your feedback")
        await rate(world, card, "helpful")
        await world.reply_to(world.ada, "You have said that already")
        await rate(world, card, "unhelpful", world.grace)
        await world.reply_to(world.grace, "Thanks for your feedback")
    assert world.slack.modal(world.grace) is None, "no one would read a reason"


async def test_reason_is_passed_on_without_the_answer(world: World) -> None:
    service = SALES
    async with world.bot(feedback_channel=service):
        card = await answered(world)
        await rate(world, card, "unhelpful")
        await world.slack.until(lambda: len(world.slack.messages(service)) == 1)
        await world.slack.until(lambda: world.slack.modal(world.ada) is not None)
        done = await world.slack.submit_view({"reason": "Wrong <!channel> year"}, user=world.ada)
        assert done.closed
        await world.reply_to(world.ada, "I passed that on")

    counted, explained = world.slack.messages(service)
    assert "did not find an answer helpful" in counted.text and "Wrong" not in counted.text
    assert "says what was missing or wrong" in explained.text and "Wrong" in explained.text
    for report in (counted, explained):
        shown = f"{report.text} {report.blocks}"
        assert "/chat/" in shown
        assert "<!channel>" not in report.text
        assert "MARK" not in shown, "readers of the channel may not be allowed to see it"


@pytest.mark.parametrize("state", ["no such channel", "not a member"])
async def test_channel_that_takes_no_post_is_said(world: World, state: str) -> None:
    service = "C0NOWHERE1"
    if state == "not a member":
        service = SALES
        await world.slack.remove_bot(service)
    async with world.bot(feedback_channel=service):
        card = await answered(world)
        await rate(world, card, "unhelpful")
        await world.slack.until(lambda: world.slack.modal(world.ada) is not None)
        await world.slack.submit_view({"reason": "Wrong year"}, user=world.ada)
        await world.reply_to(world.ada, "could not pass on the reason")


async def test_feedback_is_refused_like_other_clicks(world: World) -> None:
    service = SALES
    async with world.bot(feedback_channel=service):
        card = await answered(world)
        await rate(world, card, "helpful", "marie")
        await world.reply_to(world.slack.workspace.user("marie").id, "You can't use this bot")
        await rate(world, card, "rate_answer", value="helpful 7d0f3c1e-8a51-4f2b-9a6e-0d7b0a9c5e11")
        await world.reply_to(world.ada, "no longer know this card")
        await rate(world, card, "rate_answer", value="splendid")
        await rate(world, card, "unhelpful", "marie")
        await world.slack.until(lambda: "You can't use this bot" in str(world.slack.modal("marie")))

    assert world.slack.messages(service) == []


async def test_feedback_can_be_turned_off(world: World) -> None:
    async with world.bot():
        card = await answered(world)
    assert "helpful" in str(card.blocks)
    async with world.bot(feedback="off"):
        await rate(world, card, "helpful")
        await world.reply_to(world.ada, "Feedback is turned off")
        await world.type(world.omni.add(ANSWERED, prompt=QUESTION), channel=SALES)
        other = await world.card("ANSWER-MARK", channel=SALES)
    assert "helpful" not in str(other.blocks)


async def test_rating_survives_a_kill(world: World) -> None:
    bot = await world.forked_bot()
    card = await answered(world)
    await rate(world, card, "helpful")
    await world.reply_to(world.ada, "Thanks for your feedback")
    bot.kill()
    await bot.wait()
    async with world.bot():
        await rate(world, card, "helpful")
        await world.reply_to(world.ada, "You have said that already")


async def test_refused_feedback_block_falls_back_to_buttons(world: World) -> None:
    slack = Refusing("invalid_blocks", "context_actions")
    world.slack.faults.plan(slack, on="chat.*", times=None)
    async with world.bot():
        card = await answered(world)
        await rate(world, card, "rate_answer_helpful")
        await world.reply_to(world.ada, "Thanks for your feedback")
        await world.type(world.omni.add(ANSWERED, prompt=QUESTION), channel=SALES)
        await world.card("ANSWER-MARK", channel=SALES)

    assert slack.refused == 1, "learned for this workspace"


async def test_only_answers_can_be_rated(world: World) -> None:
    async with world.bot():
        await world.type(world.omni.add(Script(0.0, (), 0.0, Failed("No such column"))))
        card = await world.card("The job failed")
    assert "helpful" not in str(card.blocks)
