"""Questions, follow-ups and retries from every entry point, also when Omni refuses or does not answer."""

import pytest

from bot.demo.faults import Fault
from bot.demo.omni.organization import ADA, GRACE, MODEL
from bot.demo.omni.server import SUBMIT, TAKEN_YET_504
from bot.demo.omni.timeline import Complete, Failed, Script
from bot.demo.slack.workspace import StoredMessage
from tests.end_to_end.steps import QUESTION, ask
from tests.end_to_end.world import World

QUICK = Script(0.0, ((0.5, "Thinking", 1),), 0.0, Complete("Sunglasses."))

LONG = Script(0.0, ((60.0, "Thinking", 1),), 0.0, Complete("Done."))


async def reply(world: World, card: StoredMessage, saying: str) -> StoredMessage:
    """Wait for a reply in a card's thread to say something."""

    def found() -> list[StoredMessage]:
        return [each for each in world.replies(card) if saying in f"{each.text} {each.blocks}"]

    await world.slack.until(lambda: bool(found()), timeout=15)
    return found()[0]


def submits(world: World) -> int:
    return sum(
        request.method == "POST" and request.path == "/api/v1/ai/jobs" for request in world.omni.requests
    )


@pytest.mark.both_modes
async def test_question_is_answered_on_its_card(world: World) -> None:
    world.omni.script_for_submitted = QUICK
    async with world.bot(omni_model_id=MODEL):
        await ask(world, QUESTION)
        card = await world.card("Sunglasses.")

    (job,) = world.omni.jobs.values()
    assert (job.prompt, job.user_id, job.model_id) == (QUESTION, ADA, MODEL)
    assert f"Asked by <@{world.ada}>" in str(card.blocks)
    assert submits(world) == 1


async def test_modal_offers_and_remembers_models(world: World) -> None:
    world.omni.script_for_submitted = QUICK
    other = world.omni.organization.add_model("Warehouse", "stock", "returns")
    async with world.bot():
        await ask(world, "")
        await world.slack.until(lambda: "Warehouse" in str(world.slack.modal(world.ada)))
        await world.slack.enter({"choose_model": other}, user=world.ada)
        await world.slack.until(lambda: "returns" in str(world.slack.modal(world.ada)))
        done = await world.slack.submit_view(
            {"question": QUESTION, "topic": "returns", "where": "private"}, user=world.ada
        )
        assert done.closed
        await world.card("Sunglasses.", channel=world.slack.dm(world.ada))
        await ask(world, "And last year?")
        await world.card("Sunglasses.")

    first, second = world.omni.jobs.values()
    assert (first.model_id, first.topic, second.model_id) == (other, "returns", other)
    assert [each for each in world.slack.private(world.ada) if "As requested" in each.text]


async def test_private_question_is_answered_in_dm(world: World) -> None:
    world.omni.script_for_submitted = QUICK
    async with world.bot(omni_model_id=MODEL):
        await ask(world, f"{QUESTION} private")
        await world.card("Sunglasses.", channel=world.slack.dm(world.ada))
        await world.reply_to(world.ada, "As requested")

    assert world.slack.messages(world.channel) == []


async def test_follow_up_continues_thread_and_chat(world: World) -> None:
    world.omni.script_for_submitted = QUICK
    async with world.bot(omni_model_id=MODEL):
        await ask(world, QUESTION)
        card = await world.card("Sunglasses.")
        await world.slack.mention("And by region?", user=world.grace, channel=world.channel, thread=card.ts)
        answered = await reply(world, card, "Sunglasses.")
        assert f"Asked by <@{world.grace}>" in str(answered.blocks)
        await world.slack.click(user=world.ada, channel=world.channel, ts=card.ts, action_id="ask_follow_up")
        await world.slack.until(lambda: world.slack.modal(world.ada) is not None)
        assert not (await world.slack.submit_view(user=world.ada)).sent, "Slack wants an input filled in"
        assert (await world.slack.submit_view({"question": "And by month?"}, user=world.ada)).closed
        await reply(world, card, "And by month?")

    first, second, third = world.omni.jobs.values()
    assert first.conversation_id == second.conversation_id == third.conversation_id
    assert [each.user_id for each in (first, second, third)] == [ADA, GRACE, ADA]
    assert len(world.slack.messages(world.channel)) == 1


async def test_follow_up_waits_for_busy_chat(world: World) -> None:
    world.omni.script_for_submitted = Script(0.0, ((3.0, "Thinking", 1),), 0.0, Complete("Sunglasses."))
    async with world.bot(omni_model_id=MODEL):
        await ask(world, QUESTION)
        card = await world.card("Omni is working on it")
        await world.slack.mention("And by region?", user=world.ada, channel=world.channel, thread=card.ts)
        await world.reply_to(world.ada, "I'll ask yours right after it")
        assert len(world.omni.jobs) == 1
        await reply(world, card, "Asked by")

    assert len(world.omni.jobs) == 2


async def test_unanswered_submit_is_repeated_only_by_user(world: World) -> None:
    world.omni.script_for_submitted = QUICK
    world.omni.faults.plan(TAKEN_YET_504, on=SUBMIT)
    async with world.bot(omni_model_id=MODEL):
        await ask(world, QUESTION)
        await world.reply_to(world.ada, "whether it accepted your question")
        assert submits(world) == 1 and world.slack.messages(world.channel) == []
        (line,) = [each for each in world.slack.private(world.ada) if "whether it accepted" in each.text]
        await world.slack.click(user=world.ada, channel=world.channel, ts=line.ts, action_id="try_again")
        await world.card("Sunglasses.")

    assert submits(world) == 2


async def test_failed_job_is_retried_once(world: World) -> None:
    world.omni.script_for_submitted = Script(0.0, (), 0.0, Failed("No such column"))
    async with world.bot(omni_model_id=MODEL):
        await ask(world, QUESTION)
        card = await world.card("The job failed")
        world.omni.script_for_submitted = QUICK
        await world.slack.click(user=world.grace, channel=world.channel, ts=card.ts, action_id="retry_job")
        await world.reply_to(world.grace, "Only the person who started this job")
        await world.slack.click(
            user=world.ada, channel=world.channel, ts=card.ts, action_id="retry_job", deliveries=2
        )
        await world.slack.until(
            lambda: any("Sunglasses." in str(each.blocks) for each in world.slack.messages(world.channel))
        )
        await world.slack.until(lambda: "retried by" in str(card.blocks))
        await world.slack.click(
            user=world.ada,
            channel=world.channel,
            ts=card.ts,
            action_id="retry_job",
            value=_watch_of(world, card),
        )
        await world.reply_to(world.ada, "This question was already retried")

    first, second = world.omni.jobs.values()
    assert (first.prompt, first.conversation_id) == (second.prompt, second.conversation_id)


async def test_retry_stays_on_its_branch(world: World) -> None:
    branch = world.omni.organization.add_branch()
    failed = Script(end=Failed("No rows."))
    job = world.omni.add(failed, branch_id=branch, topic="order_items", age_seconds=60.0)
    world.omni.script_for_submitted = QUICK
    async with world.bot():
        await world.type(job)
        card = await world.card("No rows.")
        assert f"branch `{branch[:8]}`" in str(card.blocks)
        await world.slack.click(user=world.ada, channel=world.channel, ts=card.ts, action_id="retry_job")
        await world.slack.until(lambda: len(world.omni.jobs) == 2)

    _, again = world.omni.jobs.values()
    assert (again.branch_id, again.topic) == (branch, "order_items")


@pytest.mark.both_modes
async def test_shortcuts_follow_named_and_entered_jobs(world: World) -> None:
    job = world.omni.add(QUICK, age_seconds=60.0)
    other = world.omni.add(QUICK)
    async with world.bot():
        question = await world.slack.say("Look", user=world.grace, channel=world.channel)
        said = await world.slack.say(
            f"here: {world.omni.jobs[job].chat_url.replace('http:', 'https:')}",
            user=world.grace,
            channel=world.channel,
            thread=question.ts,
        )
        await world.slack.message_shortcut(
            "follow_message", user=world.ada, channel=world.channel, ts=said.ts
        )
        await reply(world, question, "Sunglasses.")
        await world.slack.shortcut("follow_any", user=world.ada)
        await world.slack.until(lambda: world.slack.modal(world.ada) is not None)
        assert (await world.slack.submit_view({"job": other}, user=world.ada)).closed
        await world.card("Sunglasses.", channel=world.slack.dm(world.ada))


@pytest.mark.both_modes
async def test_mentions_in_a_thread_get_their_cards_there(world: World) -> None:
    world.omni.script_for_submitted = QUICK
    job = world.omni.add(QUICK, age_seconds=60.0, prompt="An older one")
    async with world.bot(omni_model_id=MODEL):
        topic = await world.slack.say("Look", user=world.grace, channel=world.channel)
        await world.slack.mention(f"{job}?", user=world.ada, channel=world.channel, thread=topic.ts)
        await reply(world, topic, "An older one")
        other = await world.slack.say("Sales fell", user=world.grace, channel=world.channel)
        await world.slack.mention("Why on acme.com?", user=world.ada, channel=world.channel, thread=other.ts)
        await reply(world, other, "Sunglasses.")

    assert {asked.prompt for asked in world.omni.jobs.values()} == {"An older one", "Why on acme.com?"}
    assert [each.ts for each in world.slack.messages(world.channel)] == [topic.ts, other.ts]


async def test_repeated_dm_asks_one_question(world: World) -> None:
    world.omni.script_for_submitted = QUICK
    direct = world.slack.dm(world.ada)
    async with world.bot(omni_model_id=MODEL):
        await world.slack.mention(QUESTION, user=world.ada, channel=direct, deliveries=2)
        await world.slack.until(
            lambda: any("Sunglasses." in str(each.blocks) for each in world.slack.messages(direct))
        )

    assert submits(world) == 1


async def test_home_tab_shows_running_and_ended_jobs(world: World) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        await world.type(job)
        card = await world.card("Omni is working on it")
        await world.slack.open_home(world.ada)
        await world.slack.until(lambda: "Working" in str(world.slack.home(world.ada)))
        assert card.permalink in str(world.slack.home(world.ada))
        world.omni.set(job, state="COMPLETE", resultSummary="Done.")
        await world.slack.until(lambda: "Answered" in str(world.slack.home(world.ada)), timeout=15)

    assert "You aren't following any running jobs" in str(world.slack.home(world.ada))


async def test_refused_question_leaves_no_card(world: World) -> None:
    async with world.bot(omni_model_id=MODEL):
        world.omni.faults.plan(Fault("status", 404, '{"detail": "gone", "status": 404}'), on=SUBMIT)
        await ask(world, QUESTION)
        await world.reply_to(world.ada, "Omni rejected the question")

    assert world.slack.messages(world.channel) == [] and world.omni.jobs == {}


def _watch_of(world: World, card: StoredMessage) -> str:
    """The card's id, as a replayed click would carry it: it was in the card's first look."""
    return str((card.metadata or {})["event_payload"]["mark"]).split("/", maxsplit=1)[0]
