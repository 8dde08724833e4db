"""HTTP mode only: unsigned requests, and events that Slack repeats."""

import aiohttp
import pytest

from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.http_mode import sign
from tests.end_to_end.world import World

pytestmark = pytest.mark.http_mode

QUICK = Script(0.0, ((0.5, "Thinking", 1),), 0.0, Complete("Sunglasses."))
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def test_mention_during_outage_is_answered_once(
    world: World,
) -> None:
    job = world.omni.add(QUICK)
    world.slack.request_url.retry_seconds = (0.0, 0.2, *[0.2] * 100)
    direct = world.slack.dm(world.ada)
    await world.slack.mention(job, user=world.ada, channel=direct)
    async with world.bot():
        await world.slack.until(
            lambda: any("Sunglasses." in str(m.blocks) for m in world.slack.messages(direct))
        )

    cards = [message for message in world.slack.messages(direct) if message.user == world.slack.bot_user]
    assert len(cards) == 1


async def test_event_with_lost_ack_is_answered_once(world: World) -> None:
    world.slack.request_url.retry_seconds = (0.0, 0.1, 0.1)
    direct = world.slack.dm(world.ada)
    async with world.bot():
        world.slack.request_url.to_lose = 3
        before = len(world.slack.request_url.replies)
        await world.slack.mention("help", user=world.ada, channel=direct)
        await world.slack.until(lambda: len(world.slack.request_url.replies) == before + 4)
        await world.type("list", user=world.grace)
        await world.reply_to(world.grace, "You aren't following any running jobs")

    answers = [message for message in world.slack.messages(direct) if message.user == world.slack.bot_user]
    assert len(answers) == 1


async def test_unsigned_requests_do_nothing(world: World) -> None:
    job = world.omni.add(QUICK)
    body = f"command=/omni-job&text={job}&team_id={world.slack.team}&user_id={world.ada}&channel_id={world.channel}"
    async with world.bot(), aiohttp.ClientSession() as session:
        for headers in (
            {},
            {"X-Slack-Request-Timestamp": "1", "X-Slack-Signature": sign("f" * 32, "1", body.encode())},
        ):
            async with session.post(
                world.slack.request_url.url, data=body, headers={**FORM, **headers}
            ) as answer:
                assert (answer.status, await answer.text()) == (401, "")

    assert world.omni.requests == []
    assert world.slack.messages(world.channel) == []
