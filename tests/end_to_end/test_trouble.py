"""Every kind of failure of Omni and Slack still ends with one correct card."""

import asyncio
import json

import pytest

from bot.demo.faults import HTML_500, NO_ROUTE, RESET_AFTER, RESET_BEFORE, Fault
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.simulator import SimulatedSlack, too_many_requests
from tests.end_to_end.world import World

STATUS = "GET /api/v1/ai/jobs/*"
RUNNING = Script(0.0, ((60.0, "Running query", 1),))
ANSWERED = {"state": "COMPLETE", "resultSummary": "The answer."}
DONE = Script(end=Complete("The answer."))
FAILED = {"state": "FAILED", "error": {"message": "No such column"}}
LONG = Script(0.0, ((60.0, "Thinking", 1),))
TOO_MANY = Fault("status", 429, '{"detail": "Too Many Requests", "status": 429}')


def refusal(code: str) -> Fault:
    """Slack's way of saying no: HTTP 200 and a code."""
    return Fault("status", 200, json.dumps({"ok": False, "error": code}))


def refused(slack: SimulatedSlack) -> list[str]:
    """Errors that Slack returned, except planned ones."""
    return [f"{request.method}: {request.error}" for request in slack.requests if not request.ok]


@pytest.mark.parametrize(
    "fault",
    [
        TOO_MANY,
        HTML_500,
        NO_ROUTE,
        RESET_BEFORE,
        RESET_AFTER,
        Fault("status", 200, "<html>log in</html>", "text/html"),
    ],
    ids=["429", "500", "no route", "reset before", "reset after", "html"],
)
async def test_omni_errors_do_not_end_tracking(world: World, fault: Fault) -> None:
    job = world.omni.add(RUNNING)
    world.omni.faults.plan(fault, on=STATUS, skip=1, times=1)
    async with world.bot():
        await world.type(job)
        await world.slack.until(lambda: len(world.omni.requests) >= 3, timeout=15)
        world.omni.set(job, **ANSWERED)
        await world.card("The answer.")

    assert len(world.slack.calls("chat.postMessage")) == 1


async def test_card_reports_silent_omni_until_answer(
    world: World,
) -> None:
    job = world.omni.add(DONE)
    world.omni.faults.plan(HTML_500, on=STATUS, times=1)
    async with world.bot():
        await world.type(job)
        looking = await world.card("Looking up the job in Omni")
        card = await world.card("The answer.", timeout=25)

    assert card.ts == looking.ts


async def test_gateway_error_is_not_not_found(world: World) -> None:
    job = world.omni.add(DONE)
    world.omni.faults.plan(NO_ROUTE, times=1)
    async with world.bot():
        await world.type(job)
        looking = await world.card("Looking up the job in Omni")
        card = await world.card("The answer.", timeout=25)

    assert card.ts == looking.ts


async def test_unknown_state_counts_as_running(world: World) -> None:
    job = world.omni.add(LONG)
    world.omni.set(job, state="REVIEWING")
    async with world.bot():
        await world.type(job)
        await world.card("Still running (REVIEWING)")
        world.omni.set(job, state="COMPLETE", resultSummary="The answer.")
        await world.card("The answer.")


async def test_body_with_only_a_state_suffices(world: World) -> None:
    job = world.omni.add(LONG)
    world.omni.raw(job, {"state": "EXECUTING", "progress": None, "prompt": None, "omniChatUrl": None})
    async with world.bot():
        await world.type(job)
        await world.card("Omni is working on it")
        world.omni.raw(job, {"state": "FAILED"})
        await world.card("The job failed")


async def test_huge_prompt_and_answer_are_delivered(world: World) -> None:
    row = "| EMEA | $1,200,000 | 41% |\n"
    answer = "# Report\n\n" + "| Region | Revenue | Share |\n|---|---:|---:|\n" + row * 500 + "word " * 3_000
    async with world.bot():
        job = world.omni.add(Script(0.0, (), 0.0, Complete(answer)), prompt="why? " * 10_000)
        await world.type(job)
        await world.card("Answered")

    assert refused(world.slack) == []


async def test_omni_text_mentions_no_user(world: World) -> None:
    ping = "<!channel> <!here> <@U0GRACEHOP> @everyone &lt;!channel&gt; <!subteam^S123>"
    async with world.bot():
        job = world.omni.add(Script(0.0, ((60.0, ping, 1),)), prompt=ping, topic=ping)
        await world.type(job)
        await world.card("Omni is working on it")
        world.omni.set(job, state="FAILED", error={"message": ping, "code": ping, "detail": f"{ping} more"})
        card = await world.card("The job failed")
        await world.slack.until(lambda: bool(world.replies(card)))

    everything = json.dumps([request.args for request in world.slack.requests], ensure_ascii=False)
    # `&lt;` is how mrkdwn shows a `<`, and rich text mentions only by elements of their own.
    for live in ("<!channel", "<!here", "<@U0GRACEHOP", "<!subteam", '"type": "broadcast"', '"type": "user'):
        assert live not in everything.replace("\\u200b", "\u200b")


@pytest.mark.parametrize("fault", [too_many_requests(2), RESET_AFTER], ids=["429", "reset after"])
async def test_final_update_is_repeated_until_accepted(world: World, fault: Fault) -> None:
    async with world.bot():
        job = world.omni.add(RUNNING)
        await world.type(job)
        await world.card("Omni is working on it")
        world.slack.faults.plan(fault, on="chat.update")
        world.omni.set(job, **ANSWERED)
        await world.slack.until(lambda: len(world.slack.calls("chat.update")) >= 2, timeout=20)
        await world.card("The answer.")

    assert len(world.slack.calls("chat.postMessage")) == 1


@pytest.mark.parametrize("fault", [too_many_requests(1), RESET_AFTER], ids=["429", "reset after"])
async def test_unanswered_card_is_not_posted_twice(world: World, fault: Fault) -> None:
    job = world.omni.add(LONG)
    world.slack.faults.plan(fault, on="chat.postMessage")
    async with world.bot():
        await world.type(job)
        await world.card("Omni is working on it", timeout=20)
        await world.type("list")
        await world.reply_to(world.ada, job)


async def test_unanswered_reply_is_not_posted_twice(world: World) -> None:
    async with world.bot():
        job = world.omni.add(RUNNING)
        await world.type(job)
        await world.card("Omni is working on it")
        world.slack.faults.plan(RESET_AFTER, on="chat.postMessage")
        world.omni.set(job, **FAILED)
        card = await world.card("The job failed")
        await world.slack.until(lambda: bool(world.slack.calls("conversations.replies")))
        await world.follows_nothing(world.ada)

    assert len(world.replies(card)) == 1


async def test_unconfirmed_card_is_abandoned_without_history(world: World) -> None:
    world.slack.granted_scopes.difference_update(
        {"channels:history", "groups:history", "im:history", "mpim:history"}
    )
    job = world.omni.add(LONG)
    world.slack.faults.plan(RESET_AFTER, on="chat.postMessage")
    async with world.bot():
        await world.type(job)
        await world.reply_to(world.ada, "Slack did not confirm")
        await world.follows_nothing(world.ada)


async def test_deleted_card_returns_with_outcome(world: World) -> None:
    async with world.bot():
        job = world.omni.add(RUNNING)
        await world.type(job)
        card = await world.card("Omni is working on it")
        await world.slack.delete_message(world.channel, card.ts)
        world.omni.set(job, **ANSWERED)
        again = await world.card("The answer.")
        await world.follows_nothing(world.ada)

    assert again.ts != card.ts
    assert len(world.slack.calls("chat.postMessage")) == 2


async def test_outcome_moves_to_dm_when_channel_closed(
    world: World,
) -> None:
    async with world.bot():
        job = world.omni.add(RUNNING)
        await world.type(job)
        await world.card("Omni is working on it")
        await world.slack.archive(world.channel)
        world.omni.set(job, **FAILED)
        card = await world.card("The job failed", channel=world.slack.dm(world.ada))
        await world.slack.until(lambda: bool(world.replies(card)))

    assert world.replies(card)[0].text.startswith(f"<@{world.ada}>:")


@pytest.mark.socket_mode
async def test_commands_arrive_after_reconnect(world: World) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        await world.slack.disconnect("refresh_requested")
        await world.slack.connected()
        await world.type(job)
        await world.card("Omni is working on it")


async def test_unchanged_job_costs_no_edit(world: World) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        await world.type(job)
        await world.card("Omni is working on it")
        async with asyncio.timeout(15):
            while len(world.omni.requests) < 4:
                await asyncio.sleep(0.1)

    assert world.slack.calls("chat.update") == []
