"""`POST /api/follows`: a job announces itself, once, to the channel and to those it mentions."""

import asyncio
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from bot.demo.faults import Serve, drop
from bot.demo.omni.timeline import Complete, Failed, Script
from bot.server.follows_api import CALLS_PER_MINUTE, LARGEST_BODY_BYTES, PATH
from tests.end_to_end.world import World
from tests.support.network import a_free_port
from tests.support.paths import ROOT

pytestmark = pytest.mark.socket_mode  # the tests choose the port

DOCUMENTED = (ROOT / "docs" / "using.md").read_text("utf-8")
TOKEN = "0123456789abcdef0123456789abcdef"
LONG = Script(0.0, ((60.0, "Thinking", 1),), 0.0, Complete("The answer."))
FAILS = Script(0.0, ((3.0, "Thinking", 1),), 0.0, Failed("No such column"))
UNKNOWN_JOB = "550e8400-e29b-41d4-a716-446655440000"


@dataclass
class Program:
    """A CI job or a script that calls the bot."""

    port: int = field(default_factory=a_free_port)
    token: str = TOKEN

    @property
    def settings(self) -> dict[str, Any]:
        return {"port": self.port, "api_token": TOKEN}

    async def announce(self, body: Mapping[str, object]) -> tuple[int, dict[str, Any]]:
        status, answer, _ = await self.post(json=body)
        return status, answer

    async def post(self, **request: Any) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with (
            aiohttp.ClientSession(headers=headers) as client,
            client.post(f"http://127.0.0.1:{self.port}{PATH}", **request) as answer,
        ):
            return answer.status, await answer.json(), answer.headers


@pytest.fixture
def program() -> Program:
    return Program()


async def test_failure_notifies_those_mentioned(world: World, program: Program) -> None:
    job = world.omni.add(FAILS)
    async with world.bot(**program.settings):
        status, answer = await program.announce(
            {"job_id": job, "channel": world.channel, "mention": [world.ada, "Grace@example.com"]}
        )
        card = await world.card("Thinking")
        text = str(card.blocks)
        await world.card("The job failed")
        await world.slack.until(lambda: bool(world.replies(card)))

    assert status == 202 and len(answer["card_id"]) == 36
    assert f"Announced by the API, followed by <@{world.ada}> and <@{world.grace}>" in text
    (reply,) = world.replies(card)
    assert reply.text.startswith(f"<@{world.ada}> <@{world.grace}>: The job failed")


async def test_job_without_mentions_is_followed_to_its_end(world: World, program: Program) -> None:
    job = world.omni.add(FAILS)
    async with world.bot(**program.settings):
        await program.announce({"job_id": job.upper(), "channel": world.channel})
        card = await world.card("The job failed")

    assert "Announced by the API ·" in str(card.blocks)
    assert world.replies(card) == [], "there is no one to mention"


async def test_repeated_announcement_adds_followers(world: World, program: Program) -> None:
    job = world.omni.add(LONG)
    async with world.bot(**program.settings):
        first = await program.announce({"job_id": job, "channel": world.channel})
        await world.card("Thinking")
        again = await program.announce({"job_id": job, "channel": world.channel, "mention": [world.ada]})
        await world.card(f"followed by <@{world.ada}>")

    assert (first[0], again[0]) == (202, 200) and first[1] == again[1]


async def test_simultaneous_announcements_share_one_card(world: World, program: Program) -> None:
    job = world.omni.add(LONG)
    async with world.bot(**program.settings):
        asked = {"job_id": job, "channel": world.channel}
        answers = await asyncio.gather(*(program.announce(asked) for _ in range(10)))
        await world.card("Thinking")
        await world.type(job)
        await world.reply_to(world.ada, "This job already has")

    assert sorted(status for status, _ in answers) == [200] * 9 + [202]
    assert len({answer["card_id"] for _, answer in answers}) == 1
    assert len(world.slack.messages(world.channel)) == 1


async def test_card_is_a_reply_in_the_named_thread(world: World, program: Program) -> None:
    job, late = world.omni.add(LONG), world.omni.add(LONG)
    async with world.bot(**program.settings):
        said = await world.slack.say("Deploying", user=world.ada, channel=world.channel)
        here = {"channel": world.channel, "thread_ts": said.ts}
        await program.announce({"job_id": job, **here})
        await world.slack.until(lambda: bool(world.slack.replies(world.channel, said.ts)))
        await world.slack.delete_message(world.channel, world.slack.replies(world.channel, said.ts)[0].ts)
        await world.slack.delete_message(world.channel, said.ts)
        status, _ = await program.announce({"job_id": late, **here})
        card = await world.card(late)

    assert status == 202 and card.thread_ts is None, "without the thread, the card goes to the channel"


async def test_admins_alone_may_cancel_an_announced_job(world: World, program: Program) -> None:
    job = world.omni.add(LONG)
    async with world.bot(**program.settings, admin_users=world.grace):
        await program.announce({"job_id": job, "channel": world.channel, "mention": [world.ada]})
        card = await world.card("Thinking")
        press = partial(world.slack.click, channel=card.channel, ts=card.ts, action_id="cancel_job")
        await press(user=world.ada)
        await world.reply_to(world.ada, "a bot admin")
        await press(user=world.grace)
        await world.reply_to(world.grace, "Omni will stop after")

    assert sum(request.path.endswith("/cancel") for request in world.omni.requests) == 1


def documented(world: World, program: Program, job: str, text: str) -> str:
    """An example of the docs, for this world."""
    for example, here in {
        "https://jobs.example.com": f"http://127.0.0.1:{program.port}",
        "550e8400-e29b-41d4-a716-446655440000": job,
        "C0123ABCD": world.channel,
    }.items():
        text = text.replace(example, here)
    return text


def curl_request(command: str, **environment: str) -> tuple[str, dict[str, str], str]:
    """The address, headers and body that a shell's curl command sends."""
    options = {"-H": list[str](), "-d": list[str](), "--retry": list[str]()}
    for name, value in environment.items():
        command = command.replace(f"${name}", value)
    curl, *words = shlex.split(command.replace("\\\n", " "))
    assert curl == "curl" and words.pop(0) == "--fail-with-body"
    while len(words) > 1:
        index = next(index for index, word in enumerate(words) if word in options)
        option, value = words.pop(index), words.pop(index)
        options[option].append(value)
    headers = dict(header.split(": ", 1) for header in options["-H"])
    return words[0], headers, options["-d"][0]


@pytest.mark.parametrize("block", ["sh", "yaml"])
async def test_documented_curl_announces_a_job(world: World, program: Program, block: str) -> None:
    (example,) = re.findall(rf"```{block}\n(.*?/api/follows.*?)```", DOCUMENTED, re.DOTALL)
    job = world.omni.add(LONG)
    command = yaml.safe_load(example)[0]["run"] if block == "yaml" else example
    command = documented(world, program, job, command)
    address, headers, sent = curl_request(command, API_TOKEN=TOKEN, JOB_ID=job)
    async with world.bot(**program.settings), aiohttp.ClientSession(headers=headers) as client:
        assert (await client.post(address, data=sent)).status == 202
        await world.card(f"Announced by the API, followed by <@{world.ada}>")


async def test_documented_python_announces_a_job(
    world: World, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENTED, re.DOTALL)
    job = world.omni.add(LONG)
    monkeypatch.setenv("API_TOKEN", TOKEN)
    names: dict[str, Any] = {}
    exec(documented(world, program, job, example), names)
    async with world.bot(**program.settings):
        card = await asyncio.to_thread(names["announce"], job, world.channel, "ada@example.com")
        await world.card(f"Announced by the API, followed by <@{world.ada}>")

    assert len(card) == 36


def body(**changed: object) -> dict[str, object]:
    return {"job_id": UNKNOWN_JOB, "channel": "C0DATATEAM"} | changed


@pytest.mark.parametrize(
    "sent, status, error, message",
    [
        ({"json": body()}, 404, "unknown_job", "Omni has no such job."),
        ({"json": body(channel="C0NOWHERE")}, 404, "unknown_channel", "There is no such channel"),
        ({"json": body(channel="G0LEADERSH")}, 404, "unknown_channel", "or it is private"),
        ({"json": body(channel="C0RANDOM00")}, 403, "bot_not_in_channel", "invite it"),
        ({"json": body(channel="C0OLDPROJE")}, 403, "channel_archived", "archived"),
        ({"json": body(channel="C0PARTNERS")}, 403, "channel_shared", "another organization"),
        ({"json": body(team_id="T0ELSEWHERE")}, 404, "unknown_team", "not installed"),
        ({"json": body(channel="#data-team")}, 422, "invalid", "channel: is not the id of a channel"),
        ({"json": body(job_id="12")}, 422, "invalid", "job_id: is not the UUID of a job"),
        ({"json": {}}, 422, "invalid", "job_id: Field required. channel: Field required."),
        ({"json": body(mentions=[])}, 422, "invalid", "mentions: Extra inputs are not permitted"),
        ({"json": []}, 422, "invalid", "The body:"),
        ({"data": "{", "headers": {"Content-Type": "application/json"}}, 400, "not_json", "not JSON"),
        ({"data": {"job_id": UNKNOWN_JOB}}, 415, "not_json", "application/json"),
        ({"json": body(job_id="x" * LARGEST_BODY_BYTES)}, 413, "body_refused", "too large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_refusal_says_why_and_stores_nothing(
    world: World, program: Program, sent: dict[str, Any], status: int, error: str, message: str
) -> None:
    async with world.bot(**program.settings):
        answered, answer, _ = await program.post(**sent)
        await world.follows_nothing(world.ada)

    assert (answered, answer["error"]) == (status, error)
    assert message in answer["message"]
    assert world.slack.calls("chat.postMessage") == []


async def test_email_needs_its_scope(world: World, program: Program) -> None:
    job = world.omni.add(LONG)
    world.slack.granted_scopes.discard("users:read.email")
    async with world.bot(**program.settings):
        status, answer = await program.announce(
            {"job_id": job, "channel": world.channel, "mention": ["ada@example.com"]}
        )

        await world.card("Announced by the API ·")

    assert status == 202
    assert answer["not_mentioned"] == ["ada@example.com: the Slack app has no scope users:read.email"]


async def test_unknown_users_are_named_and_left_out(world: World, program: Program) -> None:
    job = world.omni.add(LONG)
    mention = ["U0NOBODY", "x@y.z", world.ada, "U0MARIECUR", "U0OMNIBOT"]
    async with world.bot(**program.settings):
        status, answer = await program.announce({"job_id": job, "channel": world.channel, "mention": mention})
        await world.card(f"Announced by the API, followed by <@{world.ada}> ·")

    assert (status, answer["not_mentioned"]) == (
        202,
        [
            "U0NOBODY: no such user",
            "x@y.z: no such user",
            "U0MARIECUR: may not use the bot",
            "U0OMNIBOT: may not use the bot",
        ],
    )


async def test_allowed_channels_do_not_restrict_the_api(world: World, program: Program) -> None:
    job = world.omni.add(LONG)
    async with world.bot(**program.settings, allowed_channels="C0SALES000"):
        assert (await program.announce({"job_id": job, "channel": world.channel}))[0] == 202
        await world.card("Announced by the API ·")


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], f"{TOKEN}x"])
async def test_wrong_token_is_refused_unread(world: World, program: Program, token: str) -> None:
    program.token = token
    async with world.bot(**program.settings):
        status, answer, headers = await program.post(data=b"x" * 2 * LARGEST_BODY_BYTES)

    assert (status, answer["error"], headers["WWW-Authenticate"]) == (401, "unauthorized", "Bearer")


async def test_without_api_token_there_is_no_path(world: World, program: Program) -> None:
    async with world.bot(port=program.port):
        async with aiohttp.ClientSession() as client:
            addresses = [f"http://127.0.0.1:{program.port}{path}" for path in (PATH, "/api/nothing")]
            answers = [await client.post(address, json=body()) for address in addresses]
            texts = {(answer.status, await answer.text()) for answer in answers}

    assert len(texts) == 1 and texts.pop()[0] == 404


async def test_too_many_calls_are_refused_with_a_time(world: World, program: Program) -> None:
    async with world.bot(**program.settings):
        for _ in range(CALLS_PER_MINUTE // 2):
            assert (await program.announce({}))[0] == 422
        status, answer, headers = await program.post(json=body())

    assert (status, answer["error"], headers["Retry-After"]) == (429, "too_many_requests", "2")
    assert world.omni.requests == []


async def test_killed_announcement_is_posted_once(world: World, program: Program) -> None:
    """The process dies when Slack has taken the card, before it stores that, and before the program gets an answer."""
    job = world.omni.add(LONG)
    started = {name.upper(): str(value) for name, value in program.settings.items()}
    bot = await world.forked_bot(**started)

    async def kill(request: web.Request, serve: Serve) -> web.StreamResponse:
        await serve()
        bot.kill()
        await bot.wait()
        return drop(request)

    world.slack.faults.plan(kill, on="chat.postMessage")
    asked = {"job_id": job, "channel": world.channel, "mention": [world.ada]}
    with pytest.raises(aiohttp.ClientError):
        await program.announce(asked)
    await world.slack.until(lambda: world.slack.socket_mode.connections == 0)
    await world.forked_bot(**started)
    status, _ = await program.announce(asked)
    world.omni.set(job, state="FAILED", error={"message": "No such column"})
    card = await world.card("The job failed", timeout=30)
    await world.slack.until(lambda: bool(world.replies(card)), timeout=20)

    assert status == 200, "it was stored"
    assert len(world.replies(card)) == 1
