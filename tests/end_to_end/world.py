"""The whole bot, in this process, between a simulated Slack and a simulated Omni: real sockets everywhere."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bot import app
from bot.demo.omni.server import SimulatedOmni
from bot.demo.slack.simulator import SimulatedSlack
from bot.demo.slack.workspace import StoredMessage
from bot.settings import Settings
from tests.support.forked_bot import ForkedBot

ROOT = Path(__file__).parents[2]


def a_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def delivery(slack: SimulatedSlack) -> dict[str, str]:
    """Settings for the transport that the simulated Slack uses."""
    if not slack.request_url.url:
        return {"slack_app_token": slack.app_token}
    port = urlsplit(slack.request_url.url).port
    return {"slack_signing_secret": slack.request_url.signing_secret, "port": str(port)}


def environment(slack: SimulatedSlack, omni: SimulatedOmni, database_url: str) -> dict[str, str]:
    """All of the environment that the bot as a process of its own needs."""
    return {name.upper(): value for name, value in delivery(slack).items()} | {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_API_URL": slack.api_url,
        "OMNI_BASE_URL": omni.base_url,
        "OMNI_API_TOKEN": omni.api_key,
        "OMNI_REQUESTS_PER_MINUTE": str(omni.requests_per_minute),
        "MAX_OPEN_FOLLOWS_PER_PERSON": "10000",
        "MAX_LOOKUPS_PER_MINUTE": "10000",
        "DATABASE_URL": database_url,
    }


class World:
    """Both services, and the bot as often as a test starts it."""

    def __init__(
        self, slack: SimulatedSlack, omni: SimulatedOmni, folder: Path, database_url: str | None = None
    ) -> None:
        """`database_url`: a SQLite file in the folder if not given."""
        self.slack = slack
        self.omni = omni
        self.folder = folder
        self.database_url = database_url or f"sqlite:///{folder / 'follows.sqlite3'}"
        self.processes: list[asyncio.subprocess.Process | ForkedBot] = []
        self.ada = slack.workspace.user("ada").id
        self.grace = slack.workspace.user("grace").id
        self.channel = slack.workspace.channel("data-team").id

    def settings(self, **more: Any) -> Settings:
        values: dict[str, Any] = {
            "slack_bot_token": self.slack.bot_token,
            "slack_api_url": self.slack.api_url,
            "omni_base_url": self.omni.base_url,
            "omni_api_token": self.omni.api_key,
            "omni_requests_per_minute": self.omni.requests_per_minute,
            "database_url": self.database_url,
            "max_lookups_per_minute": 10_000,
        }
        return Settings.model_validate(values | delivery(self.slack) | more)

    @asynccontextmanager
    async def bot(self, **more: Any) -> AsyncIterator[None]:
        """The running bot; on leaving it is stopped as SIGTERM would."""
        stop = asyncio.Event()
        running = asyncio.create_task(app.serve(self.settings(**more), stop))
        connected = asyncio.create_task(self.slack.connected())
        await asyncio.wait({running, connected}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            connected.cancel()
            running.result()
        try:
            yield
        finally:
            stop.set()
            await running

    async def type(self, text: str, *, user: str | None = None, channel: str | None = None) -> None:
        """Somebody types `/omni-job …`; fails if the bot does not acknowledge in time."""
        acked = await self.slack.command(text, user=user or self.ada, channel=channel or self.channel)
        assert acked.acked

    async def card(self, saying: str, *, channel: str | None = None, timeout: float = 15) -> StoredMessage:
        """Wait for the one card of a channel to say something."""
        place = channel or self.channel
        await self.slack.until(
            lambda: any(
                saying in f"{message.text} {message.blocks}" for message in self.slack.messages(place)
            ),
            timeout=timeout,
        )
        (card,) = self.slack.messages(place)
        return card

    async def reply_to(self, user: str, saying: str) -> str:
        """Wait for a private line to a person."""
        await self.slack.until(lambda: any(saying in line.text for line in self.slack.private(user)))
        return next(line.text for line in self.slack.private(user) if saying in line.text)

    def replies(self, card: StoredMessage) -> list[StoredMessage]:
        return self.slack.replies(card.channel, card.ts)

    async def follows_nothing(self, user: str) -> None:
        """Wait until `list` says that nothing is left open for a person."""
        async with asyncio.timeout(15):
            while True:
                seen = len(self.slack.private(user))
                await self.type("list", user=user)
                await self.slack.until(lambda: len(self.slack.private(user)) > seen)
                if "You aren't following any running jobs" in self.slack.private(user)[-1].text:
                    return
                await asyncio.sleep(0.2)

    async def forked_bot(self, **more: str) -> ForkedBot:
        """The bot as a process of its own, connected; for tests that kill it. Dies with the test.

        `more`: further environment variables.
        """
        process = ForkedBot(
            environment=environment(self.slack, self.omni, self.database_url) | more, folder=self.folder
        )
        self.processes.append(process)
        await self.slack.connected(timeout=20)
        return process

    async def bot_process(self, *module: str) -> asyncio.subprocess.Process:
        """As `forked_bot`, but started by the command line, for measurements.

        `module`: another bot's module and its arguments.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *(module or ("bot",)),
            cwd=self.folder,
            env=environment(self.slack, self.omni, self.database_url),
        )
        self.processes.append(process)
        await self.slack.connected(timeout=20)
        return process

    async def close(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
