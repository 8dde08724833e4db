"""Where a card goes, who follows it, and which replies are ephemeral."""

import pytest

from bot.demo.faults import Fault
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.workspace import User
from bot.tracking import tracked_job
from tests.end_to_end.world import World

DATABASES = ("SQLite", "PostgreSQL")

LONG = Script(0.0, ((60.0, "Thinking", 1),), 0.0, Complete("Done."))


async def test_second_user_joins_existing_card(world: World) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        await world.type(job)
        card = await world.card("Omni is working on it")
        await world.type(job, user=world.grace)
        line = await world.reply_to(world.grace, "already has")
        await world.card(f"Followed by <@{world.ada}>, also followed by <@{world.grace}>")

    assert card.permalink in line
    assert len(world.slack.messages(world.channel)) == 1


async def test_simultaneous_users_share_one_card(world: World) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        await world.type(job)
        await world.type(job, user=world.grace)
        await world.reply_to(world.grace, "already has")

    assert len(world.slack.messages(world.channel)) == 1


@pytest.mark.both_modes
async def test_repeated_delivery_creates_one_card(world: World) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        await world.slack.command(job, user=world.ada, channel=world.channel, deliveries=2)
        await world.card("Omni is working on it")

    assert len(world.slack.messages(world.channel)) == 1
    assert world.slack.private(world.ada) == []


@pytest.mark.parametrize(
    "place, why",
    [
        (
            "random",
            "I'm not in this channel, so I sent the card to your DMs. To have it here, type `/invite`",
        ),
        ("leadership", "I'm not in this channel"),
        ("ada-grace", "I can't post in DMs between other people, so I sent the card to your DMs."),
    ],
)
async def test_card_goes_to_dm_without_membership(world: World, place: str, why: str) -> None:
    job = world.omni.add(LONG)
    channel = world.slack.workspace.channel(place).id
    async with world.bot():
        await world.type(job, channel=channel)
        await world.reply_to(world.ada, why)
        await world.card("Omni is working on it", channel=world.slack.dm(world.ada))

    assert world.slack.messages(channel) == []
    assert len(world.slack.messages(world.slack.dm(world.ada))) == 1


@pytest.mark.parametrize("refusals", [1, None], ids=["in the channel", "everywhere"])
async def test_refused_card_is_explained(world: World, refusals: int | None) -> None:
    job = world.omni.add(LONG)
    refused = Fault("status", 200, '{"ok": false, "error": "restricted_action"}')
    world.slack.faults.plan(refused, on="chat.postMessage", times=refusals)
    async with world.bot():
        await world.type(job)
        line = await world.reply_to(world.ada, "An admin restricts who can post here")

    assert ("I sent the card to your DMs" in line) is bool(refusals)
    assert len(world.slack.messages(world.slack.dm(world.ada))) == (refusals or 0)
    assert world.slack.messages(world.channel) == [] and len(world.slack.private(world.ada)) == 1


async def test_each_user_gets_own_dm_card(world: World) -> None:
    channel = world.slack.workspace.channel("leadership").id
    async with world.bot():
        job = world.omni.add(LONG)
        await world.type(job, channel=channel)
        await world.type(job, channel=channel, user=world.grace)
        for user in (world.ada, world.grace):
            await world.card("Omni is working on it", channel=world.slack.dm(user))
        world.omni.set(job, state="FAILED", error={"message": "No such column"})
        hers = await world.card("The job failed", channel=world.slack.dm(world.ada))
        other = await world.card("The job failed", channel=world.slack.dm(world.grace))
        await world.slack.until(lambda: bool(world.replies(hers) and world.replies(other)))

    assert world.replies(hers)[0].text.startswith(f"<@{world.ada}>:")
    assert world.replies(other)[0].text.startswith(f"<@{world.grace}>:")


async def test_stop_following_removes_followers_until_none(world: World) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        await world.type(job)
        card = await world.card("Omni is working on it")
        await world.type(job, user=world.grace)
        await world.reply_to(world.grace, "already has")

        await world.slack.click(user=world.ada, channel=world.channel, ts=card.ts, action_id="stop_following")
        assert "One other person still follows it" in await world.reply_to(world.ada, "no longer follow")
        await world.slack.click(
            user=world.grace, channel=world.channel, ts=card.ts, action_id="stop_following"
        )
        await world.reply_to(world.grace, "no longer follow")
        await world.card("The bot no longer follows this job")
        await world.follows_nothing(world.ada)
        asked = len(world.omni.requests)
        await world.follows_nothing(world.grace)

    assert len(world.omni.requests) == asked
    assert world.replies(card) == []


async def test_strangers_and_forged_buttons_stop_nothing(world: World) -> None:
    job = world.omni.add(LONG)
    elsewhere = world.slack.workspace.channel("sales").id
    async with world.bot():
        await world.type(job)
        card = await world.card("Omni is working on it")
        await world.type(job, channel=elsewhere, user=world.grace)
        other = await world.card("Omni is working on it", channel=elsewhere)
        await world.slack.click(
            user=world.grace, channel=world.channel, ts=card.ts, action_id="stop_following"
        )
        await world.reply_to(world.grace, "You don't follow this job")
        (hers,) = [
            option["value"]
            for b in other.blocks
            if b["type"] == "actions"
            for e in b["elements"]
            for option in e.get("options", ())
            if option["value"].startswith("stop_following ")
        ]
        await world.slack.click(
            user=world.grace, channel=world.channel, ts=card.ts, action_id="stop_following", value=hers
        )
        await world.slack.until(lambda: len(world.slack.private(world.grace)) == 2)
        await world.type("list", user=world.grace)
        listed = await world.reply_to(world.grace, "You follow these running jobs")

    assert other.permalink in listed


async def test_unfollowed_job_can_be_followed_again(world: World) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        await world.type(job)
        card = await world.card("Omni is working on it")
        await world.slack.click(user=world.ada, channel=world.channel, ts=card.ts, action_id="stop_following")
        await world.card("The bot no longer follows this job")
        await world.type(job, user=world.grace)
        again = await world.card("Omni is working on it")

    assert again.ts == card.ts
    assert f"Followed by <@{world.ada}>" in str(again.blocks), "the first requester stays"


@pytest.mark.both_modes
async def test_help_and_list_are_ephemeral(world: World) -> None:
    job = world.omni.add(LONG)
    async with world.bot():
        await world.type("help")
        await world.reply_to(world.ada, "I follow an Omni AI job in one message")
        await world.type(job)
        card = await world.card("Omni is working on it")
        await world.type("", user=world.grace)
        assert "You aren't following any running jobs" in await world.reply_to(
            world.grace, "I follow an Omni AI job"
        )
        await world.type("list")
        listed = await world.reply_to(world.ada, "You follow these running jobs")

    assert card.permalink in listed
    assert job in listed
    assert len(world.slack.messages(world.channel)) == 1


async def test_many_followers_cost_one_followers_requests(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracked_job, "FASTEST_SECONDS", 2.0)  # as in earnest, below the rate limit
    job = world.omni.add(LONG)
    people = [User(f"U0PERSON{number:02}", f"person{number}", f"Person {number}") for number in range(50)]
    for person in people:
        world.slack.workspace.users[person.id] = person
        world.slack.workspace.channel("data-team").members.add(person.id)
    async with world.bot():
        for person in people:
            await world.type(job, user=person.id)
        await world.card("and 46 more")
        world.omni.set(job, state="COMPLETE", resultSummary="Done.")
        await world.card("Answered")

    asked_at = [request.at for request in world.omni.requests]
    assert len(asked_at) <= 2 + (asked_at[-1] - asked_at[0]) / 2.0  # one stream, a question every 2 s at most
    assert len(world.slack.messages(world.channel)) == 1
