"""The whole demo without a browser: the bot as a child process, the page's server, the shutdown."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.demo.omni.timeline import Complete, Script
from bot.demo.run import Stage, raised
from bot.demo.scene import COMMAND, Refused, Scene
from tests.support.paths import ROOT

IDLE = (sys.executable, "-c", "import time; time.sleep(600)")
"""A program in the bot's place that does nothing."""


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A stage where the bot does nothing."""
    async with raised(port=0, command=IDLE) as built:
        yield built


def ada(scene: Scene, channel: str = "data-team") -> tuple[str, str]:
    return scene.slack.workspace.user("ada").id, scene.slack.workspace.channel(channel).id


async def told(scene: Scene, state: str) -> None:
    """Wait until the bot's process is in a state."""
    async with asyncio.timeout(20):
        with scene.events() as events:
            while scene.bot.state != state:
                await events.get()


class TestTheWholeDemo:
    async def test_opens_and_stops_cleanly_on_ctrl_c(self) -> None:
        command = [sys.executable, "-m", "bot", "demo", "--no-browser", "--port", "0"]
        async with _program(command) as demo:
            assert demo.stdout is not None
            lines: list[str] = []
            async with asyncio.timeout(40):
                while not (lines and "posts" in lines[-1]):
                    line = (await demo.stdout.readline()).decode()
                    assert line, (lines, await demo.communicate())
                    lines.append(line)
            demo.send_signal(signal.SIGINT)
            async with asyncio.timeout(15):
                _, complaints = await demo.communicate()
        assert (demo.returncode, complaints) == (0, b"")
        story = " ".join("".join(lines).split())
        assert re.search(r"http://127\.0\.0\.1:\d+", story)
        assert f"Ada Byron types {COMMAND} " in story
        assert not _lives(int(re.findall(r"connected, process (\d+)", story)[0]))

    async def test_restarted_bot_finishes_same_card(self) -> None:
        async with raised(port=0) as real:
            scene = real.scene
            await scene.start_bot()
            script = Script(0.5, ((5.0, "Counting", 1),), end=Complete("Counted."))
            await scene.type(*ada(scene), f"{COMMAND} {scene.omni.add(script)}")
            await scene.slack.until(lambda: len(scene.slack.messages("data-team")) == 1)
            await scene.kill_bot()
            assert scene.bot.pid is None
            await scene.start_bot()
            await scene.slack.until(lambda: "Counted." in scene.slack.messages("data-team")[0].text, 20)
            assert len(scene.slack.messages("data-team")) == 1

    async def test_ci_job_announces_itself(self) -> None:
        async with raised(port=0) as real:
            scene = real.scene
            await scene.start_bot()
            person, channel = ada(scene)
            await scene.try_sample("announced", person, channel)
            await scene.slack.until(
                lambda: "Announced by the API" in str(scene.slack.messages(channel)[0].blocks)
            )
            with pytest.raises(Refused, match="403: The bot is not in this channel"):
                await scene.try_sample("announced", *ada(scene, "random"))
            await scene.kill_bot()
            with pytest.raises(Refused, match="could not reach"):
                await scene.try_sample("announced", person, channel)


class TestTheBotsProcess:
    async def test_exited_bot_is_reported_and_restartable(self) -> None:
        broken = (sys.executable, "-c", "import sys; print('first'); print('no such table'); sys.exit(3)")
        async with raised(port=0, command=broken) as stage:
            for _ in range(2):
                starting = asyncio.create_task(stage.scene.start_bot())
                await told(stage.scene, "starting")
                await told(stage.scene, "died")
                starting.cancel()
                pulse = stage.scene.pulse()
                assert (pulse["bot"], pulse["exit_code"], pulse["last_line"]) == ("died", 3, "no such table")

    async def test_one_that_ignores_sigterm_is_killed(self) -> None:
        deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
        async with raised(port=0, command=(sys.executable, "-c", deaf)) as stage:
            bot = stage.scene.bot
            await bot.start()
            async with asyncio.timeout(10):
                while not bot.last_lines:
                    await asyncio.sleep(0.01)
            await bot.stop(grace_seconds=0.2)
            assert (bot.state, bot.exit_code, bot.pid) == ("stopped", -signal.SIGKILL, None)

    async def test_a_start_during_a_kill_waits_for_it(self, stage: Stage) -> None:
        bot = stage.scene.bot
        await bot.start()
        first = bot.pid
        await asyncio.gather(bot.kill(), bot.start())
        assert bot.pid not in (None, first)

    async def test_bot_ignores_the_users_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SLACK_SIGNING_SECRET", "the owner's")
        monkeypatch.setenv("PORT", "1")
        tell = "import os, json; print(json.dumps([dict(os.environ), os.getcwd(), os.listdir()]))"
        async with raised(port=0, command=(sys.executable, "-c", tell)) as stage:
            await stage.scene.bot.start()
            await told(stage.scene, "died")
            environment, folder, files = json.loads(stage.scene.bot.last_lines[-1])
        assert "SLACK_SIGNING_SECRET" not in environment and environment["PORT"] != "1"
        assert environment["OMNI_API_TOKEN"] == stage.scene.omni.api_key
        assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)
        assert files == []
        assert not Path(folder).exists()


class TestTheVisitor:
    async def test_unknown_sample_is_refused(self, stage: Stage) -> None:
        with pytest.raises(Refused):
            await stage.scene.try_sample("nothing", *ada(stage.scene))

    @pytest.mark.parametrize(("who", "text"), [("ada", "/other"), ("ada", "  "), ("nobody", "Hello")])
    async def test_invalid_input_is_refused(self, who: str, text: str, stage: Stage) -> None:
        _, channel = ada(stage.scene)
        person = ada(stage.scene)[0] if who == "ada" else "U0NOBODY"
        with pytest.raises(Refused):
            await stage.scene.type(person, channel, text)

    async def test_direct_messages_are_private(self, stage: Stage) -> None:
        person, _ = ada(stage.scene)
        with pytest.raises(Refused):
            await stage.scene.type(person, stage.scene.slack.dm("grace"), "Hello")

    async def test_an_invited_bot_is_a_member(self, stage: Stage) -> None:
        person, channel = ada(stage.scene, "random")
        with stage.scene.events() as events:
            await stage.scene.type(person, channel, "/invite @omni-job-bot")
            changed = await events.get()
        assert next(c["has_bot"] for c in changed["channels"] if c["id"] == channel)

    async def test_plain_words_are_posted_as_text(self, stage: Stage) -> None:
        await stage.scene.type(*ada(stage.scene), "<!channel> & <b>")
        (posted,) = stage.scene.slack.messages("data-team")
        assert posted.text == "&lt;!channel&gt; &amp; &lt;b&gt;"

    @pytest.mark.parametrize(("trouble", "status"), [("busy", 429), ("down", 500)])
    async def test_trouble_at_omni_comes_and_goes(self, trouble: str, status: int, stage: Stage) -> None:
        omni = stage.scene.omni
        async with httpx.AsyncClient(base_url=omni.base_url, trust_env=False) as client:
            await stage.scene.trouble_omni(trouble)
            assert (await client.get("/api/v1/models")).status_code == status
            await stage.scene.trouble_omni("none")
            assert (await client.get("/api/v1/models")).status_code == 401

    async def test_trouble_at_slack_comes_and_goes(self, stage: Stage) -> None:
        slack = stage.scene.slack
        headers = {"Authorization": f"Bearer {slack.bot_token}"}
        async with httpx.AsyncClient(base_url=slack.api_url, headers=headers, trust_env=False) as client:
            await stage.scene.trouble_slack("busy")
            refused = await client.post("chat.update")
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "3")
            await stage.scene.trouble_slack("none")
            assert (await client.post("chat.update")).status_code == 200
        with pytest.raises(Refused):
            await stage.scene.trouble_slack("gone")


@asynccontextmanager
async def browser(stage: Stage, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who sends what the page itself would send, or something else."""
    sent = {"Origin": stage.page.url, "Content-Type": "application/json"} | headers
    async with httpx.AsyncClient(base_url=stage.page.url, headers=sent, trust_env=False) as client:
        yield client


class TestThePagesServer:
    async def test_files_have_strict_content_policy(self, stage: Stage) -> None:
        async with browser(stage) as client:
            page = await client.get("/")
            assert "Omni job bot — demo" in page.text
            for path in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
                file = await client.get(path)
                assert file.status_code == 200, path
                assert "default-src 'none'" in file.headers["Content-Security-Policy"]

    async def test_every_module_that_is_imported_is_served(self, stage: Stage) -> None:
        async with browser(stage) as client:
            for path in ("/page.js", "/channel.js", "/composer.js"):
                for imported in re.findall(r'from "(/[^"]+)"', (await client.get(path)).text):
                    assert (await client.get(imported)).status_code == 200, imported

    def test_no_file_comes_from_elsewhere(self) -> None:
        files = [
            f for f in (ROOT / "bot" / "demo" / "static").iterdir() if f.suffix in (".html", ".css", ".js")
        ]
        assert len(files) >= 7
        addresses = {a for f in files for a in re.findall(r"https?://[^\s\"')]+", f.read_text("utf-8"))}
        assert addresses == {"http://www.w3.org/2000/svg"}, "a namespace, which nothing is fetched from"

    @pytest.mark.parametrize("path", ["/../scene.py", "/page.py", "/%2e%2e/stage.py", "/nothing"])
    async def test_serves_nothing_else(self, path: str, stage: Stage) -> None:
        async with browser(stage) as client:
            assert (await client.get(path)).status_code == 404

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1.evil.example:8000"])
    @pytest.mark.parametrize("path", ["/", "/events"])
    async def test_answers_to_no_other_name(self, host: str, path: str, stage: Stage) -> None:
        async with browser(stage, Host=host) as client:
            assert (await client.get(path)).status_code == 403

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/x-www-form-urlencoded"},
        ],
    )
    async def test_takes_orders_only_from_itself(self, headers: dict[str, str], stage: Stage) -> None:
        async with browser(stage, **headers) as client:
            answer = await client.post("/do", content=b'{"do": "kill"}')
        assert answer.status_code == 403

    async def test_takes_no_order_without_an_origin(self, stage: Stage) -> None:
        async with httpx.AsyncClient(base_url=stage.page.url, trust_env=False) as client:
            assert (await client.post("/do", json={"do": "kill"})).status_code == 403

    @pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"do": "format"}', b'{"do": "type"}', b'"kill"'])
    async def test_refuses_what_it_does_not_know(self, body: bytes, stage: Stage) -> None:
        async with browser(stage) as client:
            answer = await client.post("/do", content=body)
        assert (answer.status_code, set(answer.json())) == (400, {"error"})

    async def test_gives_reason_for_failure(self, stage: Stage) -> None:
        user, channel = ada(stage.scene)
        async with browser(stage) as client:
            asked = {"do": "delete", "user": user, "channel": channel, "ts": "1.0"}
            answer = await client.post("/do", json=asked)
        assert (answer.status_code, answer.json()) == (409, {"error": "That message is gone already."})

    async def test_streams_snapshot_then_events(self, stage: Stage) -> None:
        user, channel = ada(stage.scene)
        async with browser(stage) as client, client.stream("GET", "/events") as stream:
            events = _events(stream)
            snapshot = await anext(events)
            assert (snapshot["kind"], len(snapshot["people"]), snapshot["messages"]) == ("snapshot", 5, [])
            async with browser(stage) as hand:
                await hand.post("/do", json={"do": "type", "user": user, "channel": channel, "text": "Hello"})
            posted = await anext(events)
            assert (posted["kind"], posted["message"]["blocks"][0]["text"]) == ("posted", ["Hello"])
            assert (await anext(events))["kind"] == "pulse"

    async def test_uses_next_free_port(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            async with raised(port=port, command=IDLE) as stage:
                assert port < int(stage.page.url.rpartition(":")[2]) <= port + 50


@asynccontextmanager
async def _program(command: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program of the project's, which is not left behind whatever the test finds."""
    program = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield program
    finally:
        if program.returncode is None:
            program.terminate()  # not killed: it has to end its bot
            await program.communicate()


async def _events(stream: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in stream.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
