"""`python -m bot workspace`: which workspace has which Omni, without a key on the command line or on the screen."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.cli.workspaces import Refused, account, team_id
from bot.demo.omni.server import SimulatedOmni
from bot.storage.database import Database
from bot.storage.transactions import Transactions
from tests.support.forked_bot import ForkedBot
from tests.support.installed import ACME, CLIENT_ID, NEW_KEY, OLD_KEY, installation, installations, store
from tests.support.paths import ROOT


class Terminal:
    """Where the operator types."""

    def __init__(self, omni: SimulatedOmni, folder: Path) -> None:
        self.omni = omni
        self.folder = folder
        self.database_url = f"sqlite+aiosqlite:///{folder / 'bot.sqlite3'}"

    async def type(self, *arguments: str, stdin: str = "", **changed: str | None) -> tuple[int, str]:
        settings = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "SLACK_APP_TOKEN": "xapp-1",
            "SLACK_CLIENT_ID": CLIENT_ID,
            "SLACK_CLIENT_SECRET": "0" * 32,
            "ENCRYPTION_KEY": NEW_KEY,
            "PUBLIC_URL": "https://jobs.example.com",
            "PORT": "8080",
            "DATABASE_URL": self.database_url,
            **changed,
        }
        typed, shown = self.folder / "stdin", self.folder / "output"
        typed.write_text(stdin, "utf-8")
        shown.unlink(missing_ok=True)
        process = ForkedBot(
            *("workspace", *arguments),
            environment={name: value for name, value in settings.items() if value is not None},
            folder=self.folder,
            stdin=typed,
            stdout=shown,
            stderr=shown,
        )
        async with asyncio.timeout(30.0):
            code = await process.wait()
        said = shown.read_text("utf-8")
        assert "Traceback" not in said and self.omni.api_key not in said, said
        return code, said


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Terminal]:
    async with SimulatedOmni() as omni:
        yield Terminal(omni, tmp_path)


async def test_from_adding_to_removing(terminal: Terminal) -> None:
    omni = terminal.omni
    add = ("add", ACME, "--omni", f"{omni.base_url}/api", "--requests-per-minute", "120")
    code, said = await terminal.type(*add, stdin=f"{omni.api_key}\n")
    assert (code, "accepts the key" in said, "not installed there yet" in said) == (0, True, True)
    assert await terminal.type("list") == (0, f"{ACME}  not installed; {omni.base_url}, 120 a minute\n")

    database = await Database.open(terminal.database_url)
    await store(Transactions(database), NEW_KEY).async_save(installation())
    (found,) = await installations(Transactions(database), NEW_KEY).list()
    code, said = await terminal.type("list")
    assert (code, "stop the bot first" in said) == (4, True)
    await database.close()
    assert (found.omni_api_token, found.omni_base_url, found.requests_per_minute) == (
        omni.api_key,
        omni.base_url,
        120,
    )

    code, said = await terminal.type("encrypt", ENCRYPTION_KEY=f"{OLD_KEY},{NEW_KEY}")
    assert (code, "remove the other keys" in said) == (0, True)
    code, said = await terminal.type("remove", ACME, ENCRYPTION_KEY=OLD_KEY)
    assert (code, "no longer has an Omni of its own" in said) == (0, True)
    assert await terminal.type("list", ENCRYPTION_KEY=OLD_KEY) == (
        0,
        f"{ACME}  installed as 'Acme'; no Omni, so it does not run\n",
    )


async def test_refused_key_is_not_stored(terminal: Terminal) -> None:
    code, said = await terminal.type("add", ACME, "--omni", terminal.omni.base_url, stdin="omni_osk_wrong\n")
    assert (code, "Omni refuses the key" in said, "omni_osk_wrong" in said) == (1, True, False)
    code, said = await terminal.type("list")
    assert (code, said.startswith("No workspace yet")) == (0, True)


async def test_single_workspace_has_no_commands(terminal: Terminal) -> None:
    code, said = await terminal.type(
        "list",
        SLACK_CLIENT_ID=None,
        SLACK_CLIENT_SECRET=None,
        SLACK_BOT_TOKEN="xoxb-1",
        OMNI_BASE_URL=terminal.omni.base_url,
        OMNI_API_TOKEN="key",
    )
    assert (code, "Several workspaces need SLACK_CLIENT_ID" in said) == (1, True)


@pytest.mark.parametrize("typed", ["", "acme", "acme.slack.com", "W0ACME", "t0acme", "T0ACME;"])
def test_invalid_team_id_is_refused(typed: str) -> None:
    with pytest.raises(Refused, match="the workspace's id"):
        team_id(typed)


@pytest.mark.parametrize(
    "address, key, per_minute, model, why",
    [
        ("http://acme.omniapp.co", "omni_osk_secret", 60, None, "not https"),
        ("acme", "omni_osk_secret", 60, None, "not a web address"),
        ("https://acme.omniapp.co", "", 60, None, "The key is missing"),
        ("https://acme.omniapp.co", "omni osk secret", 60, None, "no key has"),
        ("https://acme.omniapp.co", "omni_osk_secret", 0, None, "from 1 to 10000"),
        ("https://acme.omniapp.co", "omni_osk_secret", 60, "sales", "a UUID"),
    ],
)
def test_invalid_omni_error_hides_key(
    address: str, key: str, per_minute: int, model: str | None, why: str
) -> None:
    with pytest.raises(Refused, match=why) as refused:
        account(address, key, per_minute, model)
    assert "secret" not in str(refused.value)
