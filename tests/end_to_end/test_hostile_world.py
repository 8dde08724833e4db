"""Failures of Slack and Omni at the worst moments, over real sockets."""

import asyncio
from typing import Any

import pytest

from bot.demo.faults import HTML_500, RESET_AFTER, RESET_BEFORE, Fault
from bot.demo.omni.timeline import Script
from bot.demo.slack.interactions import command_payload
from bot.demo.slack.simulator import Acked, too_many_requests
from tests.end_to_end.world import World

LONG = Script(0.0, ((60.0, "Thinking", 1),))


async def deliver(world: World, typed: str, **changes: str | None) -> Acked:
    """Deliver a command whose payload has other values in some fields; None: as JSON's null."""
    workspace = world.slack.workspace
    ada, channel = workspace.user("ada"), workspace.channel("data-team")
    body: dict[str, Any] = command_payload(
        workspace,
        command="/omni-job",
        text=typed,
        user=ada,
        channel=channel,
        response_url=world.slack._response_url(channel, ada, None),
    )
    return await world.slack.delivery.deliver("slash_commands", body | changes, answerable=True)


@pytest.mark.both_modes
async def test_shutdown_notifies_waiting_user(world: World) -> None:
    job = world.omni.add(LONG)
    world.omni.faults.plan(Fault("delay", delay_seconds=4), on="GET /api/v1/ai/conversations/*", times=1)
    async with world.bot():
        await world.type(f"https://acme.omniapp.co/chat/{world.omni.jobs[job].conversation_id}")
        await asyncio.sleep(0.3)

    await world.reply_to(world.ada, "I'm restarting")
    assert world.slack.messages(world.channel) == []


@pytest.mark.parametrize(
    "fault", [too_many_requests(1), RESET_BEFORE, HTML_500], ids=["429", "reset before", "500"]
)
async def test_failed_dm_loses_no_card(world: World, fault: Fault) -> None:
    job = world.omni.add(LONG)
    world.slack.faults.plan(fault, on="conversations.open", times=1)
    async with world.bot():
        await world.type(job, channel=world.slack.workspace.channel("leadership").id)
        await world.card("Thinking", channel=world.slack.dm(world.ada))
        await world.reply_to(world.ada, "your DMs")


@pytest.mark.parametrize(
    "fault", [HTML_500, too_many_requests(1), RESET_AFTER], ids=["500", "429", "reset after"]
)
async def test_ephemeral_reply_is_repeated_only_if_refused(world: World, fault: Fault) -> None:
    world.slack.faults.plan(fault, on="response_url", times=1)
    async with world.bot():
        answer = await world.slack.command("nonsense", user=world.ada, channel=world.channel)
        # Where nobody can know that the refusal arrived, Slack reports the command as failed.
        assert answer.acked == (fault is not RESET_AFTER)
        await asyncio.sleep(2.5)
        await world.type("list", user=world.grace)
        await world.reply_to(world.grace, "You aren't following any running jobs")

    refusals = [line for line in world.slack.private(world.ada) if "not an Omni job id" in line.text]
    assert len(refusals) == 1


@pytest.mark.both_modes
async def test_repeated_click_is_answered_once(world: World) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        await world.type(job)
        card = await world.card("Thinking")
        await world.slack.click(
            user=world.ada, channel=world.channel, ts=card.ts, action_id="stop_following", deliveries=2
        )
        await world.card("The bot no longer follows this job")
        await world.type("list", user=world.grace)
        await world.reply_to(world.grace, "You aren't following any running jobs")

    (line,) = world.slack.private(world.ada)
    assert "You no longer follow this job" in line.text


@pytest.mark.both_modes
@pytest.mark.parametrize(
    "changes",
    [
        {"team_id": None},
        {"team_id": None, "is_enterprise_install": "true", "enterprise_id": "E1"},
        {"response_url": None},
        {"trigger_id": None},
    ],
    ids=str,
)
async def test_command_works_without_optional_fields(world: World, changes: dict[str, str | None]) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        assert (await deliver(world, job, **changes)).acked
        await world.card("Thinking")


@pytest.mark.both_modes
@pytest.mark.parametrize("field", ["user_id", "channel_id"])
async def test_command_without_user_or_channel_is_answered(world: World, field: str) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        acked = await deliver(world, job, **{field: None})

    assert "Something went wrong on my side" in str(acked.payload)
    assert world.omni.requests == []


@pytest.mark.both_modes
async def test_null_text_is_answered_like_empty(world: World) -> None:
    async with world.bot():
        await deliver(world, "", text=None)
        await world.reply_to(world.ada, "I follow an Omni AI job in one message")


@pytest.mark.parametrize(
    "body, kind",
    [("", "application/json"), ("", "text/plain"), ("[]", "application/json"), ("null", "application/json")],
)
async def test_edit_with_invalid_response_is_repeated(world: World, body: str, kind: str) -> None:
    job = world.omni.add(LONG)
    world.slack.faults.plan(Fault("status", 200, body, kind), on="chat.update", times=1)
    async with world.bot():
        await world.type(job)
        await world.card("Thinking")
        world.omni.set(job, state="COMPLETE", resultSummary="The answer.")
        await world.card("The answer.")

    assert len(world.slack.calls("chat.update")) == 2
