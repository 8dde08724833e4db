"""Cancelling, and who may do what where: the user gets the refusal and nothing else happens."""

import asyncio
from dataclasses import replace

import pytest

from bot.demo.faults import HTML_500, RESET_BEFORE, Fault
from bot.demo.omni.organization import ADA, GRACE, MODEL
from bot.demo.omni.server import CANCEL, CONCURRENT_CHANGE
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.simulator import too_many_requests
from bot.demo.slack.workspace import StoredMessage
from bot.rendering.ask_replies import COMMAND
from tests.end_to_end.world import World

LONG = Script(0.0, ((60.0, "Thinking", 1),), 0.0, Complete("The secret answer."))
QUEUED = Script(60.0)
STUBBORN = replace(LONG, steps=((3.9, "Thinking", 1),), finishes_despite_cancel=True)
DELIVERING = Script(0.0, (), 60.0)
DONE = Script(0.0, (), 0.0, Complete("The secret answer."))
NOT_YOURS = "Omni has no such job"


async def cancel(
    world: World, card: StoredMessage, *, user: str | None = None, value: str | None = None
) -> None:
    """Somebody presses the button and confirms."""
    acked = await world.slack.click(
        user=user or world.ada, channel=card.channel, ts=card.ts, action_id="cancel_job", value=value
    )
    assert acked.acked


def cancels(world: World) -> int:
    return sum(request.path.endswith("/cancel") for request in world.omni.requests)


async def test_cancelled_card_names_the_canceller(world: World) -> None:
    job = world.omni.add(QUEUED)
    async with world.bot():
        await world.type(job)
        card = await world.card("Queued in Omni")
        await world.slack.click(
            user=world.ada, channel=card.channel, ts=card.ts, action_id="cancel_job", confirmed=False
        )
        await cancel(world, card)
        card = await world.card("The job was cancelled")
        await world.reply_to(world.ada, "The job was cancelled.")

    assert f"<@{world.ada}>" in str(card.blocks) and cancels(world) == 1


async def test_executing_job_stops_after_step_or_completes(world: World) -> None:
    async with world.bot():
        job = world.omni.add(STUBBORN)
        await world.type(job)
        card = await world.card("Omni is working on it")
        await cancel(world, card)
        await world.reply_to(world.ada, "Omni will stop after its current step")
        await world.card("Answered")


@pytest.mark.parametrize(
    "fault, line, asked",
    [
        (Fault("status", 403, '{"detail": "no", "status": 403}'), "doesn't let me cancel", 1),
        (Fault("status", 400, '{"detail": "no", "status": 400}'), "too late to cancel", 1),
        (CONCURRENT_CHANGE, "The job was cancelled", 2),
    ],
    ids=["not this key's", "too late", "asked once more"],
)
async def test_cancel_failures_have_distinct_replies(
    world: World, fault: Fault, line: str, asked: int
) -> None:
    job = world.omni.add(QUEUED)
    world.omni.faults.plan(fault, on=CANCEL)
    async with world.bot():
        await world.type(job)
        await cancel(world, await world.card("Queued in Omni"))
        await world.reply_to(world.ada, line)

    assert cancels(world) == asked


async def test_strangers_and_forged_values_cancel_nothing(world: World) -> None:
    job, other = world.omni.add(LONG), world.omni.add(LONG)
    elsewhere = world.slack.workspace.channel("sales").id
    async with world.bot():
        await world.type(job)
        card = await world.card("Omni is working on it")
        await world.type(other, user=world.grace, channel=elsewhere)
        hers = await world.card("Omni is working on it", channel=elsewhere)
        await cancel(world, card, user=world.grace)
        await world.reply_to(world.grace, "Only the person who started this job")
        (value,) = [
            option["value"]
            for block in hers.blocks
            for element in block.get("elements", ())
            for option in element.get("options", ())
            if option["value"].startswith("cancel_job ")
        ]
        await cancel(world, card, value=value)
        await world.slack.until(lambda: bool(world.slack.private(world.ada)))

    assert cancels(world) == 0


async def test_admins_use_the_bot_in_every_channel(world: World) -> None:
    job = world.omni.add(LONG)
    elsewhere = world.slack.workspace.channel("sales").id
    async with world.bot(allowed_channels=elsewhere, admin_users=world.grace):
        await world.type(job)
        await world.reply_to(world.ada, "can't be used in this channel")
        assert world.slack.messages(world.channel) == []
        await world.type(job, user=world.grace)
        await world.card("Omni is working on it")


async def test_guests_and_strangers_are_refused(world: World) -> None:
    job = world.omni.add(LONG)
    partners = world.slack.workspace.channel("partners").id
    async with world.bot():
        for user, channel in (("marie", world.channel), ("edsger", partners)):
            await world.type(job, user=user, channel=channel)
            await world.reply_to(world.slack.workspace.user(user).id, "You can't use this bot")
    assert world.slack.messages(world.channel) == [] and world.omni.requests == []
    async with world.bot(allow_guests=True):
        await world.type(job, user="marie")
        await world.card("Omni is working on it")


async def test_allow_lists_restrict_users_and_channels(world: World) -> None:
    job = world.omni.add(LONG)
    sales = world.slack.workspace.channel("sales").id
    async with world.bot(allowed_users=world.grace, allowed_channels=sales):
        await world.type(job)
        await world.reply_to(world.ada, "You can't use this bot")
        await world.type(job, user=world.grace)
        await world.reply_to(world.grace, "can't be used in this channel")
        await world.type(job, user=world.grace, channel=sales)
        await world.card("Omni is working on it", channel=sales)

    assert world.slack.messages(world.channel) == []


@pytest.mark.parametrize("is_membership", [False, True], ids=["user id", "membership id"])
async def test_owner_access_accepts_either_id_of_a_user(world: World, is_membership: bool) -> None:
    organization = world.omni.organization
    organization.scim_id_is_membership_id = world.omni.shows_user_attributes = is_membership
    hers = world.omni.add(DONE, user_id=organization.members[ADA].membership_id)
    his = world.omni.add(DONE, user_id=organization.members[GRACE].membership_id)
    async with world.bot(access="owner"):
        await world.type(his)
        await world.reply_to(world.ada, NOT_YOURS)
        await world.type(hers)
        await world.card("The secret answer.")


async def test_owner_access_hides_other_users_jobs(world: World) -> None:
    hers, his = world.omni.add(DONE, user_id=ADA), world.omni.add(DONE, user_id=GRACE)
    async with world.bot(access="owner", admin_users="U0LINUSPAU"):
        for unknown in (his, "00000000-0000-0000-0000-000000000000"):
            await world.type(unknown)
        await world.slack.until(
            lambda: sum(NOT_YOURS in line.text for line in world.slack.private(world.ada)) == 2
        )
        await world.type(hers)
        await world.card("The secret answer.")
        await world.type(his, user="linus", channel="sales")
        await world.card("The secret answer.", channel=world.slack.workspace.channel("sales").id)

    first, second, *_ = world.slack.private(world.ada)
    assert first.text == second.text


async def test_ambiguous_email_sees_and_asks_nothing(world: World) -> None:
    world.omni.organization.add_member("ADA@example.com")
    job = world.omni.add(DONE, user_id=ADA)
    async with world.bot(access="owner", omni_model_id=MODEL):
        await world.type(job)
        await world.reply_to(world.ada, NOT_YOURS)
        await world.slack.command("Why?", user=world.ada, channel=world.channel, command=COMMAND)
        await world.reply_to(world.ada, "match your Slack email to one active Omni user")

    assert world.slack.messages(world.channel) == [] and len(world.omni.jobs) == 1


async def test_shared_channel_answer_goes_to_dm(world: World) -> None:
    job = world.omni.add(DONE)
    partners = world.slack.workspace.channel("partners").id
    async with world.bot():
        await world.type(job, channel=partners)
        await world.reply_to(world.ada, "People of another organization")
        await world.card("The secret answer.", channel=world.slack.dm(world.ada))
    assert world.slack.messages(partners) == []
    async with world.bot(allow_shared_channels=True):
        await world.type(job, channel=partners)
        await world.card("The secret answer.", channel=partners)


async def test_channel_shared_later_gets_no_answer(world: World) -> None:
    async with world.bot():
        job = world.omni.add(Script(0.0, ((6.0, "Thinking", 1),), 0.0, Complete("The secret answer.")))
        await world.type(job)
        card = await world.card("Omni is working on it")
        await world.slack.share_channel(world.channel)
        await world.card("The secret answer.", channel=world.slack.dm(world.ada), timeout=20)
        await world.card("its answer is not shown here")

    assert "secret" not in f"{card.text} {card.blocks} {world.replies(card)}"


async def test_missing_scope_disables_only_its_feature(world: World) -> None:
    job = world.omni.add(DONE)
    world.slack.granted_scopes.difference_update({"users:read.email", "channels:read", "app_mentions:read"})
    async with world.bot(omni_model_id=MODEL):
        await world.type(job)
        await world.reply_to(world.ada, "may be able to read this channel")
        await world.card("The secret answer.", channel=world.slack.dm(world.ada))
        await world.slack.command("Why?", user=world.ada, channel=world.channel, command=COMMAND)
        await world.reply_to(world.ada, "match your Slack email to one active Omni user")


async def test_open_follows_per_user_are_limited(world: World) -> None:
    async with world.bot(max_open_follows_per_person=1):
        await world.type(world.omni.add(LONG))
        await world.card("Omni is working on it")
        await world.type(world.omni.add(LONG))
        await world.reply_to(world.ada, "You follow 1 running jobs")

    assert len(world.slack.messages(world.channel)) == 1


@pytest.mark.parametrize(
    "fault", [too_many_requests(1), HTML_500, RESET_BEFORE], ids=["429", "500", "reset before"]
)
@pytest.mark.parametrize("lookup", ["users.info", "conversations.info"])
async def test_busy_slack_refuses_no_user(world: World, lookup: str, fault: Fault) -> None:
    job = world.omni.add(DONE)
    world.slack.faults.plan(fault, on=lookup)
    async with world.bot():
        await world.type(job)
        await world.card("The secret answer.")

    assert world.slack.messages(world.slack.dm(world.ada)) == []


async def test_deactivated_user_is_refused(world: World) -> None:
    job = world.omni.add(LONG)
    world.slack.workspace.users[world.ada] = replace(world.slack.workspace.user("ada"), deactivated=True)
    async with world.bot(admin_users=world.ada):
        await world.type(job)
        await world.reply_to(world.ada, "You can't use this bot")

    assert world.slack.messages(world.channel) == [] and world.omni.requests == []


async def test_lookups_per_user_are_limited(world: World) -> None:
    unknown = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(2)]
    async with world.bot(max_lookups_per_minute=3):
        await world.type(unknown[0])
        await world.reply_to(world.ada, "Omni has no such job")
        await world.type(unknown[1])
        await world.reply_to(world.ada, "limit of requests per person and minute")
        await world.type("list")
        await world.reply_to(world.ada, "You aren't following any running jobs")
        await world.type(unknown[1], user=world.grace)
        await world.reply_to(world.grace, "Omni has no such job")

    assert len(world.omni.requests) == 2


async def test_simultaneous_commands_stay_within_limit(world: World) -> None:
    jobs = [world.omni.add(LONG) for _ in range(8)]
    async with world.bot(max_open_follows_per_person=2):
        await asyncio.gather(*(world.type(job) for job in jobs))
        await world.slack.until(
            lambda: (
                sum("You follow 2 running jobs" in line.text for line in world.slack.private(world.ada)) == 6
            )
        )
        await world.slack.until(lambda: len(world.slack.messages(world.channel)) == 2)
