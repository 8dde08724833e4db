"""The whole bot, in this process, between a simulated Slack and a simulated Omni: real sockets everywhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot import app
from bot.demo.omni import SimulatedOmni
from bot.demo.slack import SimulatedSlack
from bot.demo.workspace import StoredMessage
from bot.settings import Settings


class World:
    """Both services, and the bot as often as a test starts it."""

    def __init__(self, slack: SimulatedSlack, omni: SimulatedOmni, folder: Path) -> None:
        self.slack = slack
        self.omni = omni
        self.folder = folder
        self.ada = slack.workspace.user("ada").id
        self.grace = slack.workspace.user("grace").id
        self.channel = slack.workspace.channel("data-team").id

    def settings(self, **more: Any) -> Settings:
        values: dict[str, Any] = {
            "slack_bot_token": self.slack.bot_token,
            "slack_app_token": self.slack.app_token,
            "slack_api_url": self.slack.api_url,
            "omni_base_url": self.omni.base_url,
            "omni_api_token": self.omni.api_key,
            "omni_requests_per_minute": self.omni.requests_per_minute,
            "database_url": f"sqlite+aiosqlite:///{self.folder / 'follows.sqlite3'}",
        }
        return Settings.model_validate(values | more)

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
            lambda: any(saying in f"{message.text} {message.blocks}" for message in self.slack.messages(place)), timeout=timeout
        )
        (card,) = self.slack.messages(place)
        return card

    async def told(self, user: str, saying: str) -> str:
        """Wait for a private line to a person."""
        await self.slack.until(lambda: any(saying in line.text for line in self.slack.private(user)))
        return next(line.text for line in self.slack.private(user) if saying in line.text)

    def replies(self, card: StoredMessage) -> list[StoredMessage]:
        return self.slack.replies(card.channel, card.ts)
