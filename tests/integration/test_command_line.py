"""The command line as its users meet it: what is said, and the exit code."""

import asyncio
import gc
import os
import signal
import socket
import sys
import time
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn, cast

import pytest

from bot import __main__ as main_module
from bot import __version__, app
from bot.demo.faults import HTML_500, Fault
from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Script
from bot.demo.slack.simulator import SimulatedSlack
from bot.domain.errors import SettingsError
from bot.settings import HINTS, Settings
from bot.storage.database import Database
from bot.workspaces import workspace
from bot.workspaces.agreement import ANOTHER_OMNI
from tests.support.forked_bot import ForkedBot
from tests.support.paths import ROOT

NEEDED = ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "OMNI_BASE_URL", "OMNI_API_TOKEN"]


class Ended:
    """A process that has ended: its exit code, and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err
        assert "Traceback" not in out + err, out + err


class World:
    """Both services, and the bot as a process between them."""

    def __init__(self, slack: SimulatedSlack, omni: SimulatedOmni, folder: Path) -> None:
        self.slack = slack
        self.omni = omni
        self.folder = folder
        self.database_url = f"sqlite+aiosqlite:///{folder / 'bot.sqlite3'}"
        self.processes: list[ForkedBot] = []

    def environment(self, **changed: str | None) -> dict[str, str]:
        settings = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "SLACK_BOT_TOKEN": self.slack.bot_token,
            "SLACK_APP_TOKEN": self.slack.app_token,
            "SLACK_API_URL": self.slack.api_url,
            "OMNI_BASE_URL": self.omni.base_url,
            "OMNI_API_TOKEN": self.omni.api_key,
            "DATABASE_URL": self.database_url,
            **changed,
        }
        return {name: value for name, value in settings.items() if value is not None}

    def start(self, *arguments: str, **changed: str | None) -> ForkedBot:
        out, err = self._files(len(self.processes))
        environment = self.environment(**changed)
        process = ForkedBot(*arguments, environment=environment, folder=self.folder, stdout=out, stderr=err)
        self.processes.append(process)
        return process

    async def end(self, process: ForkedBot) -> Ended:
        async with asyncio.timeout(30.0):
            code = await process.wait()
        out, err = self._files(self.processes.index(process))
        return Ended(code, out.read_text("utf-8"), err.read_text("utf-8"))

    async def run(self, *arguments: str, **changed: str | None) -> Ended:
        return await self.end(self.start(*arguments, **changed))

    async def type(self, *arguments: str, **changed: str | None) -> Ended:
        """Run `python -m bot` itself."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", *arguments),
            cwd=self.folder,
            env=self.environment(**changed),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30.0):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    def _files(self, number: int) -> tuple[Path, Path]:
        """What a process writes to stdout and stderr."""
        return self.folder / f"{number}.out", self.folder / f"{number}.err"

    async def close(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with SimulatedSlack() as slack, SimulatedOmni() as omni:
        world = World(slack, omni, tmp_path)
        yield world
        await world.close()


# Code 2 is for settings


@pytest.mark.parametrize("command", [[], ["check"]], ids=["run", "check"])
async def test_missing_settings_exit_with_2(world: World, command: list[str]) -> None:
    ended = await world.type(*command, **dict.fromkeys(NEEDED))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines() == [f"{name} is not set: set it to {HINTS[name]}" for name in NEEDED]


async def test_malformed_settings_hide_values(world: World) -> None:
    ended = await world.run(SLACK_BOT_TOKEN="secret", PORT="secret", OMNI_BASE_URL="http://secret.example")
    assert ended.code == 2
    assert [line.split()[0] for line in ended.err.splitlines()] == [
        "SLACK_BOT_TOKEN",
        "OMNI_BASE_URL",
        "PORT",
    ]
    assert "secret" not in ended.err


async def test_binary_env_file_exits_with_2(world: World) -> None:
    (world.folder / ".env").write_bytes(b"\xff\xfe")
    ended = await world.run()
    assert (ended.code, ended.err) == (2, ".env is not UTF-8 text\n")


@pytest.mark.parametrize("command", [[], ["check"]], ids=["run", "check"])
@pytest.mark.parametrize(
    "name, value", [("SSL_CERT_FILE", "/no/such.pem"), ("HTTPS_PROXY", "ftp://user:secret@proxy")]
)
async def test_unusable_network_exits_with_2(world: World, command: list[str], name: str, value: str) -> None:
    ended = await world.run(*command, **{name: value})
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert line.startswith(name) and "secret" not in line


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["check", "more"], ["demo", "--port", "many"]]
)
async def test_unknown_command_exits_with_2(world: World, arguments: list[str]) -> None:
    ended = await world.run(*arguments)
    assert ended.code == 2 and ended.err.startswith("usage: python -m bot")


async def test_help_lists_commands_and_exit_codes(world: World) -> None:
    ended = await world.run("--help", **dict.fromkeys(NEEDED))
    assert ended.code == 0
    assert all(word in ended.out for word in ("check", "demo", "exit codes:"))
    assert all(f"\n  {code}  " in ended.out for code in range(5))


async def test_version_is_that_of_the_project(world: World) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ended = await world.type("--version", **dict.fromkeys(NEEDED))
    assert (ended.code, ended.out) == (0, f"{project['name']} {project['version']}\n")


async def test_taken_port_exits_with_2(world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = await world.run(PORT=str(port))
    assert ended.code == 2
    (line,) = ended.err.splitlines()
    assert line.startswith(f"PORT can't be listened on: 127.0.0.1:{port}: ")


async def test_another_omni_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(_: object) -> None:
        raise SettingsError([ANOTHER_OMNI])

    monkeypatch.setattr(app, "run", run)
    try:
        assert await main_module._run(cast(Settings, None)) == 2
    finally:
        gc.unfreeze()
    assert capsys.readouterr().err == f"{ANOTHER_OMNI}\n"


# Code 3 is for tokens


@pytest.mark.parametrize(
    "name, token", [("SLACK_BOT_TOKEN", "xoxb-wrong"), ("SLACK_APP_TOKEN", "xapp-wrong")]
)
async def test_refused_token_exits_with_3(world: World, name: str, token: str) -> None:
    ended = await world.run(**{name: token})
    assert ended.code == 3
    assert ended.err == "Slack refuses a token (invalid_auth). To see which one, run `python -m bot check`.\n"
    assert token not in ended.out


async def test_migrating_workspace_is_awaited(world: World) -> None:
    body = '{"ok": false, "error": "org_login_required"}'
    world.slack.faults.plan(Fault("status", 200, body), on="auth.test")
    process = world.start()
    await world.slack.connected(timeout=20)
    process.terminate()
    assert (await world.end(process)).code == 0


# Code 4 is for the database


async def test_database_in_use_exits_with_4(world: World) -> None:
    database = await Database.open(world.database_url)
    ended = await world.run()
    await database.close()
    assert ended.code == 4
    path = world.folder / "bot.sqlite3"
    assert ended.err == f"DATABASE_URL can't be opened: another process of the bot uses {path}\n"
    assert world.slack.requests == []


async def test_backup_and_restore_report_what_they_did(world: World) -> None:
    await (await Database.open(world.database_url)).close()
    path = world.folder / "bot.sqlite3"
    ended = await world.run("backup", "copy.sqlite3")
    assert (ended.code, ended.out, ended.err) == (0, f"{path} copied to copy.sqlite3\n", "")
    ended = await world.run("restore", "copy.sqlite3")
    assert (ended.code, ended.out, ended.err) == (0, f"{path} restored from copy.sqlite3\n", "")


async def test_restore_under_running_bot_exits_with_4(world: World) -> None:
    database = await Database.open(world.database_url)
    assert (await world.run("backup", "copy.sqlite3")).code == 0
    ended = await world.run("restore", "copy.sqlite3")
    await database.close()
    path = world.folder / "bot.sqlite3"
    assert (ended.code, ended.err) == (4, f"Nothing was changed: another process of the bot uses {path}\n")


@pytest.mark.parametrize("command", ["backup", "restore"])
async def test_postgresql_is_not_backed_up(world: World, command: str) -> None:
    ended = await world.run(command, "copy", DATABASE_URL="postgres://bot@127.0.0.1:1/bot")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"{command} is for SQLite. For PostgreSQL, see docs/operating.md#backups\n"


async def test_missing_folder_exits_with_4(world: World) -> None:
    ended = await world.run(DATABASE_URL=f"sqlite:///{world.folder}/missing/bot.sqlite3")
    assert ended.code == 4
    assert ended.err == f"DATABASE_URL can't be opened: No such file or directory: {world.folder}/missing\n"


async def test_unwritable_folder_exits_with_4(world: World) -> None:
    (world.folder / "file").touch()
    ended = await world.run(DATABASE_URL=f"sqlite:///{world.folder}/file/bot.sqlite3")
    assert ended.code == 4
    assert ended.err == f"DATABASE_URL can't be opened: Not a directory: {world.folder}/file\n"


async def test_invalid_database_exits_with_4(world: World) -> None:
    (world.folder / "bot.sqlite3").write_bytes(b"This is a letter and no database. " * 100)
    ended = await world.run()
    assert (ended.code, ended.err) == (4, "DATABASE_URL can't be opened: file is not a database\n")


async def test_unreachable_postgresql_exits_with_4(
    world: World,
) -> None:
    ended = await world.run(DATABASE_URL="postgres://bot:s3cret@127.0.0.1:1/bot")
    assert ended.code == 4
    (line,) = ended.err.splitlines()
    assert line.startswith("DATABASE_URL can't be opened: ") and "127.0.0.1" in line
    assert "s3cret" not in ended.out + ended.err


# Code 1 is for the unexpected


async def test_unopened_workspace_exits_with_1(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(workspace, "omni_client", fail)
    settings = Settings.model_validate(
        {
            "slack_bot_token": world.slack.bot_token,
            "slack_app_token": world.slack.app_token,
            "slack_api_url": world.slack.api_url,
            "omni_base_url": world.omni.base_url,
            "omni_api_token": world.omni.api_key,
            "database_url": world.database_url,
        }
    )
    try:
        assert await main_module._run(settings) == 1
    finally:
        gc.unfreeze()
    said = capsys.readouterr()
    assert said.err == "The workspace can't be opened; the log says why.\n"
    assert "workspace failed" in said.out
    assert world.slack.socket_mode.connections == 0


# Code 0 is for a stop as asked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_signal_stops_a_busy_bot(world: World, number: signal.Signals) -> None:
    process = world.start(LOG_LEVEL="debug")
    await world.slack.connected(timeout=20)
    job = world.omni.add(Script(steps=((600.0, "Thinking", 1),)))
    await world.slack.command(job, user="ada", channel="data-team")
    await world.slack.until(lambda: "Thinking" in str(world.slack.messages("data-team")))
    began = time.monotonic()
    process.send_signal(number)
    ended = await world.end(process)
    assert time.monotonic() - began < 10.0
    assert (ended.code, ended.err) == (0, "")
    assert "event=stopped" in ended.out.splitlines()[-1]
    database = f'database="sqlite {world.folder}/bot.sqlite3"'
    first = f"event=starting version={__version__} mode=socket workspaces=one {database} port=none"
    assert first in ended.out.splitlines()[0]
    secrets = (world.slack.bot_token, world.slack.app_token, world.omni.api_key)
    assert not [secret for secret in secrets if secret in ended.out]
    assert "products" not in ended.out and "Thinking" not in ended.out


async def test_signal_stops_a_starting_bot(world: World) -> None:
    world.slack.faults.plan(HTML_500, on="auth.test", times=None)
    process = world.start()
    await world.slack.until(lambda: bool(world.slack.calls("auth.test")), timeout=20)
    process.terminate()
    ended = await world.end(process)
    assert (ended.code, ended.err) == (0, "")


async def test_signal_stops_bot_with_silent_slack(world: World) -> None:
    world.slack.faults.plan(Fault("delay", delay_seconds=60.0), on="auth.test", times=None)
    process = world.start()
    await world.slack.until(lambda: bool(world.slack.calls("auth.test")), timeout=20)
    began = time.monotonic()
    process.terminate()
    ended = await world.end(process)
    assert time.monotonic() - began < 10.0
    assert (ended.code, ended.err) == (0, "")


async def test_stopped_bot_releases_port_and_database(world: World) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for _ in range(2):
        process = world.start(PORT=port)
        await world.slack.connected(timeout=20)
        process.terminate()
        assert (await world.end(process)).code == 0
        await world.slack.until(lambda: world.slack.socket_mode.connections == 0)


# The check ends with 0 or 1


async def test_passed_check_exits_with_0(world: World) -> None:
    ended = await world.type("check")
    assert (ended.code, ended.err) == (0, "")
    assert [line[:4] for line in ended.out.splitlines()] == ["ok  "] * 10


@pytest.mark.parametrize(
    "environment",
    [
        {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
        {"NO_PROXY": "localhost,::1/128"},
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
    ],
    ids=["HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"],
)
async def test_proxy_settings_leave_loopback_alone(world: World, environment: dict[str, str]) -> None:
    ended = await world.run("check", **environment)
    assert (ended.code, ended.err) == (0, "")


async def test_failed_check_exits_with_1(world: World) -> None:
    ended = await world.run("check", SLACK_BOT_TOKEN="xoxb-wrong")
    assert (ended.code, ended.err) == (1, "")
    lines = ended.out.splitlines()
    assert lines[0] == "FAIL  Slack refuses SLACK_BOT_TOKEN (invalid_auth)"
    assert lines[1] == f"      Set SLACK_BOT_TOKEN to {HINTS['SLACK_BOT_TOKEN']}."
    assert lines[-1] == "ok    Database: opens"
