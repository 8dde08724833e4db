"""Many commands at once, while Slack limits what it says of people and channels. In virtual time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from slack_bolt.async_app import AsyncAck

from bot.delivery.outcomes import CardOutcomes
from bot.demo.slack.limits import TIER_3, TIER_4, Limits
from bot.domain.access import AccessPolicy, ConversationInfo, SlackUser
from bot.domain.cards import ChannelId, ChannelRef, UserId
from bot.domain.errors import SlackBusy
from bot.domain.messages import Message
from bot.domain.ports.omni import IdentityMapper, OmniQuestions
from bot.handlers.commands import CommandHandlers
from bot.ratelimit import Rate, RateLimiter
from bot.rendering import replies
from bot.services.lookups import Lookups
from bot.user_limit import UserLimit
from bot.worker.runner import TaskRunner
from bot.workspaces.wiring import Ports, build_components
from tests.support.fakes import (
    HERE,
    JOB,
    FakeCards,
    FakeChannelDefaults,
    FakeDirectory,
    FakeDurations,
    FakeFailedCards,
    FakeOmni,
    FakePreferences,
    FakeQuestions,
    FakeRatings,
    FakeRemovals,
    FakeSlackMessages,
    FakeViews,
    FreeLedger,
    a_job,
    now,
)
from tests.support.tracking import RULES

pytestmark = pytest.mark.looptime

PLACES = [ChannelRef(HERE.team, ChannelId(f"C{number}")) for number in range(200)]
PEOPLE = [UserId(f"U{number}") for number in range(40)]
TYPED_WITHIN_SECONDS = 15.0


class LimitedDirectory(FakeDirectory):
    """Slack's people and channels behind the limits of the simulated Slack."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: Counter[str] = Counter()
        self._limits = Limits()

    async def person(self, user: UserId) -> SlackUser:
        await self._admit("users.info", TIER_4)
        return await super().user(user)

    async def venue(self, channel: ChannelRef) -> ConversationInfo:
        await self._admit("conversations.info", TIER_3)
        return await super().conversation(channel)

    async def _admit(self, method: str, per_minute: int) -> None:
        await asyncio.sleep(0.1)
        if seconds := self._limits.admit(method, per_minute, asyncio.get_running_loop().time()):
            self.refused[method] += 1
            raise SlackBusy("ratelimited", seconds)


class Bot:
    """The bot's side of the command, between fakes."""

    def __init__(self, directory: FakeDirectory) -> None:
        self.fake_slack = FakeSlackMessages()
        self.card_repository = FakeCards()
        self.told: list[str] = []
        self.acknowledged: list[float] = []
        self._directory = directory
        self._handlers: CommandHandlers

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        omni = FakeOmni(a_job())
        omni.delay_seconds = 3_600.0  # so that nothing is drawn while cards are posted
        world = Ports(
            omni=omni,
            questions=cast(OmniQuestions, None),
            identities=cast(IdentityMapper, None),
            messages=self.fake_slack,
            directory=self._directory,
            people=Lookups(self._directory.user),
            views=FakeViews(),
            cards=self.card_repository,
            failed_cards=FakeFailedCards(self.card_repository),
            job_durations=FakeDurations(),
            pending_questions=FakeQuestions(self.card_repository),
            preferences=FakePreferences(),
            channel_defaults=FakeChannelDefaults(),
            ratings=FakeRatings(),
            removals=FakeRemovals(self.card_repository),
            reply_to_response_url=self._whisper,
            now=now,
            team=HERE.team,
            bot_user=UserId("U0BOT"),
            user_limit=UserLimit(1_000),
        )
        rules = replace(RULES, access=AccessPolicy())
        parts = build_components(
            world, rules, RateLimiter(FreeLedger(), "edits", Rate(0.01, 0.0)), CardOutcomes(), TaskRunner
        )
        self._handlers = next(part for part in parts.listeners if isinstance(part, CommandHandlers))
        drawing = asyncio.create_task(parts.updater.run())
        try:
            yield
            await parts.interactions.drain()
        finally:
            await parts.runner.stop()
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)

    async def type(self, channel: ChannelRef, user: UserId) -> None:
        began = asyncio.get_running_loop().time()

        async def ack(*_: object, **__: object) -> None:
            self.acknowledged.append(asyncio.get_running_loop().time() - began)

        command: dict[str, Any] = {"text": JOB, "user_id": user, "channel_id": channel.id}
        await self._handlers.on_command(cast(AsyncAck, ack), command | {"response_url": "https://slack"})

    async def _whisper(self, _response_url: str, message: Message) -> None:
        self.told.append(message.text)


async def test_200_channels_get_their_cards() -> None:
    directory = LimitedDirectory()
    bot = Bot(directory)
    async with bot.running():
        for number, place in enumerate(PLACES):
            await bot.type(place, PEOPLE[number % len(PEOPLE)])
            await asyncio.sleep(TYPED_WITHIN_SECONDS / len(PLACES))
        await asyncio.sleep(300.0)

    assert Counter(posted.place for posted in bot.fake_slack.posted.values()) == Counter(PLACES)
    assert set(bot.told) <= {replies.card_is_late()}
    assert len(bot.acknowledged) == len(PLACES) and max(bot.acknowledged) < 3.0
    assert directory.refused["users.info"] == 0, "each is looked up once"
    assert directory.refused["conversations.info"] < 100
