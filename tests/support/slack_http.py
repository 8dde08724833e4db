"""A plain HTTP client for the tests of the simulated Slack: no SDK that could hide or retry anything."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from bot.demo.slack.simulator import SimulatedSlack


@dataclass(frozen=True)
class Answer:
    """One answer of the Web API."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def ok(self) -> bool:
        return bool(self.body["ok"])

    @property
    def error(self) -> str:
        return str(self.body.get("error"))

    @property
    def messages(self) -> list[str]:
        messages: list[str] = self.body["response_metadata"]["messages"]
        return messages


class Api:
    """Calls methods with the bot's token, unless another is given."""

    def __init__(self, slack: SimulatedSlack, session: aiohttp.ClientSession) -> None:
        self.slack = slack
        self.session = session

    def channel(self, name: str) -> str:
        return self.slack.workspace.channel(name).id

    def user(self, name: str) -> str:
        return self.slack.workspace.user(name).id

    async def __call__(self, method: str, token: str | None = None, **args: Any) -> Answer:
        headers = {"Authorization": f"Bearer {token or self.slack.bot_token}"}
        return await self.send(method, json=args, headers=headers)

    async def send(self, method: str, verb: str = "POST", **request: Any) -> Answer:
        async with self.session.request(verb, self.slack.api_url + method, **request) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, await response.json(), headers)

    async def post(self, channel: str = "data-team", text: str = "hello", **more: Any) -> str:
        """Post a message that must pass; returns its ts."""
        answer = await self("chat.postMessage", channel=self.channel(channel), text=text, **more)
        assert answer.ok, answer.body
        return str(answer.body["ts"])


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Api]:
    """A simulated Slack and a client for it."""
    async with SimulatedSlack(**options) as slack, aiohttp.ClientSession() as session:
        yield Api(slack, session)
