"""Payloads as Slack sends them to the bot, and what came of them."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

from slack_bolt.async_app import AsyncAck

from bot.domain.cards import ChannelId, ChannelRef, MessageTs, TeamId, UserId
from bot.domain.errors import SlackError
from bot.domain.messages import Message
from bot.handlers.background import InteractionRunner
from bot.handlers.commands import CommandHandlers
from bot.rendering.modals import View
from bot.services.ask import AskService
from bot.services.cancel import CancelService
from bot.services.follow import FollowService
from bot.services.job_data import JobDataService
from tests.support.fakes import FakeSlackMessages

TEAM = TeamId("T0ACME")

HERE = ChannelRef(TEAM, ChannelId("C0HERE"))

ADA = UserId("U0ADA")

URL = "https://hooks.slack.com/actions/1"


def click(**changed: Any) -> dict[str, Any]:
    """What Slack sends when somebody presses a button of a card."""
    body = {
        "team": {"id": HERE.team},
        "user": {"id": ADA},
        "container": {"channel_id": HERE.id, "message_ts": "1.1"},
        "actions": [{"value": "watch"}],
        "trigger_id": "trigger",
        "response_url": URL,
    }
    return {name: value for name, value in (body | changed).items() if value is not None}


class RememberingService:
    """Remembers what it was asked, and answers after a while what the test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.answer: str | Exception | None = "line"

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, str | None]]:
        async def ask(*args: object, **more: object) -> str | None:
            self.asked.append((name, *args, *more.values()))
            await asyncio.sleep(1.0)
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return ask


async def slow_outcome() -> None:
    """The outcome of a saved request that takes a minute."""
    await asyncio.sleep(60.0)


class RememberingViews:
    """Slack's modals and private lines. Set `error` to make every call fail."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, View]] = []
        self.updated: list[tuple[str, View]] = []
        self.published: list[tuple[float, UserId, View]] = []
        self.whispered: list[tuple[ChannelRef, UserId, str, MessageTs | None]] = []
        self.error: SlackError | None = None

    async def open(self, trigger: str, view: View) -> str:
        self._fail()
        self.opened.append((trigger, view))
        return "V1"

    async def update(self, view_id: str, view: View) -> None:
        self._fail()
        self.updated.append((view_id, view))

    async def publish(self, user: UserId, view: View) -> None:
        self._fail()
        self.published.append((asyncio.get_running_loop().time(), user, view))

    async def post_ephemeral(
        self, channel: ChannelRef, user: UserId, message: Message, *, thread: MessageTs | None = None
    ) -> None:
        self._fail()
        self.whispered.append((channel, user, message.text, thread))

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


class Counter:
    """Handlers between desks and a person, all of which remember."""

    def __init__(self) -> None:
        self.service = RememberingService()
        self.views = RememberingViews()
        self.fake_slack = FakeSlackMessages()
        self.told: list[tuple[str, str]] = []
        self.refusals: list[Exception] = []
        self.acknowledged_at: list[float] = []
        self.acknowledged: list[dict[str, Any]] = []
        self.interactions = InteractionRunner(self._whisper, self.views, self.fake_slack)
        self.handlers = CommandHandlers(
            follow_service=cast(FollowService, self.service),
            job_data_service=cast(JobDataService, self.service),
            ask_service=cast(AskService, self.service),
            cancel_service=cast(CancelService, self.service),
            interactions=self.interactions,
            team=TEAM,
        )

    async def _whisper(self, response_url: str, message: Message) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.told.append((response_url, message.text))

    async def press(
        self, listener: Callable[..., Awaitable[None]], body: dict[str, Any], *more: object
    ) -> None:
        await self.accept(listener, body, *more)
        assert self.acknowledged_at[-1] == asyncio.get_running_loop().time(), "nothing is waited for"

    async def accept(
        self, listener: Callable[..., Awaitable[None]], body: dict[str, Any], *more: object
    ) -> None:
        """The same of a listener that waits for a desk to store something."""

        async def ack(text: str = "", **answer: object) -> None:
            self.acknowledged_at.append(asyncio.get_running_loop().time())
            self.acknowledged.append(answer)

        await asyncio.wait_for(listener(cast(AsyncAck, ack), body, *more), 3.0)

    async def resume(self, **changed: Any) -> None:
        await self.press(self.handlers.on_resume, click(**changed))


def submitted(view: dict[str, Any], **entered: object) -> dict[str, Any]:
    """A view as Slack hands it back: what stands in it at first, and what was entered in its blocks."""
    values: dict[str, Any] = {}
    for block in view["blocks"]:
        if block["type"] == "input":
            element = block["element"]
            state: dict[str, Any] = {"type": element["type"], "value": element.get("initial_value")}
            if "options" in element:
                state["selected_option"] = element.get("initial_option")
            name = block["block_id"].split(" ")[0]
            if element["type"] == "conversations_select":
                state = {"type": element["type"], "selected_conversation": entered.get(name)}
            elif name in entered:
                key = "selected_option" if "options" in element else "value"
                state[key] = {"value": entered[name]} if "options" in element else entered[name]
            values[block["block_id"]] = {element["action_id"]: state}
    return view | {"state": {"values": values}}
