"""Invalid input gets a clear ephemeral reply, and nothing is posted."""

import pytest

from bot.demo.omni.timeline import Complete, Failed, Script
from tests.end_to_end.world import World

UNKNOWN = "550e8400-e29b-41d4-a716-446655440000"
LONG = Script(0.0, ((60.0, "Thinking", 1),))


async def nothing_posted(world: World) -> bool:
    return world.slack.calls("chat.postMessage") == []


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("top products by revenue", "not an Omni job id"),
        ("12345", "not an Omni job id"),
        ("https://acme.omniapp.co/dashboards/17", "not an Omni chat"),
        ("x" * 3_000, "too long"),
        ("550e8400-e29b-41d4-a716-44665544000g", "not an Omni job id"),
        ("<!channel>", "not an Omni job id"),
    ],
)
async def test_invalid_id_gets_usage_without_request(world: World, typed: str, told: str) -> None:
    async with world.bot():
        await world.type(typed)
        line = await world.reply_to(world.ada, told)

    assert "/omni-job 550e8400" in line
    assert world.omni.requests == []
    assert await nothing_posted(world)


async def test_unknown_job_gets_only_ephemeral_reply(world: World) -> None:
    async with world.bot():
        await world.type(UNKNOWN)
        await world.reply_to(world.ada, "Omni has no such job")
        await world.type("list")
        await world.reply_to(world.ada, "You aren't following any running jobs")

    assert await nothing_posted(world)
    assert len(world.omni.requests) == 1


@pytest.mark.parametrize("wrapped", ["`{}`", "<{}>", "{}.", " {} ", "*{}*"])
async def test_wrapped_id_is_accepted(world: World, wrapped: str) -> None:
    job = world.omni.add(Script(0.0, (), 0.0, Complete("Done.")), age_seconds=60)
    async with world.bot():
        await world.type(wrapped.format(job.upper()))
        await world.card("Answered")


async def test_chat_url_follows_newest_job(world: World) -> None:
    chat = "660e8400-e29b-41d4-a716-446655440001"
    world.omni.add(Script(0.0, (), 0.0, Failed("older")), conversation_id=chat, age_seconds=600)
    world.omni.add(Script(0.0, (), 0.0, Complete("newer")), conversation_id=chat, age_seconds=60)
    async with world.bot():
        await world.type(f"<https://acme.omniapp.co/chat/{chat}?utm=1|the chat>")
        await world.card("newer")


async def test_chat_without_job_gets_reply(world: World) -> None:
    chat = "660e8400-e29b-41d4-a716-446655440001"
    world.omni.add(LONG, conversation_id=chat)
    async with world.bot():
        await world.type(f"https://acme.omniapp.co/chat/{chat}")
        await world.reply_to(world.ada, "no AI job in that Omni chat")

    assert await nothing_posted(world)


async def test_refused_key_is_reported_to_user(world: World) -> None:
    job = world.omni.add(LONG)
    async with world.bot(omni_api_token="omni_osk_wrong"):
        await world.type(job)
        line = await world.reply_to(world.ada, "contact the bot's operator")

    assert "omni_osk" not in line
    assert await nothing_posted(world)
