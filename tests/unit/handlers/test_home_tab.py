"""Home tabs: drawn when they are opened, again when they would look different, and not too often. In virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import cast

import pytest
from slack_bolt.async_app import AsyncAck

from bot.domain.cards import CardId, ChannelId, ChannelRef, MessageTs, Notify, UserId
from bot.domain.errors import Refused, SlackBusy, SlackError, StoreUnavailable
from bot.domain.jobs import JobId, JobState
from bot.handlers.background import InteractionRunner
from bot.handlers.home_tab import KEPT_SECONDS, MOST_KEPT, HomeTabs
from bot.rendering import replies
from bot.rendering.modals import View
from tests.support.fakes import (
    ADA,
    GRACE,
    HERE,
    JOB,
    FakeAccess,
    FakeCards,
    FakePreferences,
    FakeSlackMessages,
    a_card,
    now,
)
from tests.support.slack_payloads import RememberingViews, click
from tests.support.tracking import tell_nobody

pytestmark = pytest.mark.looptime


class House:
    """Home tabs over a table."""

    def __init__(self) -> None:
        self.card_repository = FakeCards(a_card())
        self.views = RememberingViews()
        self.fake_slack = FakeSlackMessages()
        self.access = FakeAccess()
        self.preferences = FakePreferences()
        self.interactions = InteractionRunner(tell_nobody, self.views, self.fake_slack)
        self.acknowledged = 0
        self.states: dict[JobId, JobState] = {}
        self.questions: dict[JobId, str] = {}
        self.tabs = HomeTabs(
            cards=self.card_repository,
            preferences=self.preferences,
            interactions=self.interactions,
            now=now,
            notify_after_seconds=30.0,
            messages=self.fake_slack,
            views=self.views,
            authorization=self.access,
            state_of=self.states.get,
            question_of=lambda card: self.questions.get(card.job, ""),
            team=HERE.team,
        )

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.tabs.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def open(self, user: UserId = ADA, tab: str = "home") -> None:
        await self.tabs.on_opened({"team_id": HERE.team, "event": {"user": user, "tab": tab}})

    async def choose(self, value: str | None, user: UserId = ADA) -> None:
        async def ack() -> None:
            self.acknowledged += 1

        option = None if value is None else {"value": value}
        body = click(user={"id": user}, container=None, actions=[{"selected_option": option}])
        await self.tabs.on_notify_chosen(cast(AsyncAck, ack), body)
        await self.interactions.drain()

    def times(self) -> list[float]:
        return [time for time, _, _ in self.views.published]

    def shown(self) -> str:
        return str(self.views.published[-1][2])


async def test_a_tab_that_is_opened_is_drawn_at_once_and_only_anew_if_it_changes() -> None:
    house = House()
    async with house.kept():
        await asyncio.sleep(5)
        assert house.times() == [], "nobody has opened theirs"
        await house.open()
        await asyncio.sleep(60)
    assert house.times() == [5.0]
    assert JOB in house.shown() and house.views.published[0][1] == ADA


async def test_it_follows_what_happens_at_most_every_3_seconds() -> None:
    house = House()
    async with house.kept():
        await house.open()
        for state in (*JobState, *JobState):
            house.states[JOB] = state
            await asyncio.sleep(0.5)
        await asyncio.sleep(10)
    times = house.times()
    assert len(times) > 2
    assert all(later - sooner >= 3.0 for sooner, later in pairwise(times))


async def test_what_ends_moves_from_one_list_to_the_other() -> None:
    house = House()
    async with house.kept():
        await house.open()
        await asyncio.sleep(1)
        assert "Running" in house.shown() and "Answered" not in house.shown()
        row = house.card_repository.rows[CardId("watch")]
        house.card_repository.rows[row.id] = replace(
            row, closed_at=now(), outcome=JobState.COMPLETE, ended=True
        )
        await asyncio.sleep(5)
    assert "Answered" in house.shown() and "You aren't following any running jobs" in house.shown()


async def test_each_card_is_linked_and_its_address_looked_up_once() -> None:
    house = House()
    row = house.card_repository.rows[CardId("watch")]
    ts = MessageTs("1.0")
    house.card_repository.rows[row.id] = replace(row, message_ts=ts)
    async with house.kept():
        await house.open()
        await asyncio.sleep(1)
        assert "example.slack.com" not in house.shown(), "the card is gone"
        house.fake_slack.posted[ts] = None  # type: ignore[assignment]
        await asyncio.sleep(30)
    assert "example.slack.com/1.0" in house.shown()
    assert len(house.fake_slack.times("permalink")) == 2


async def test_whoever_may_not_use_the_bot_sees_why_and_no_job() -> None:
    house = House()
    house.access.refused[ADA] = replies.not_for_you()
    async with house.kept():
        await house.open()
        await asyncio.sleep(1)
    assert replies.not_for_you() in house.shown() and JOB not in house.shown()


async def test_whoever_may_not_use_the_bot_is_asked_about_once_each_time_they_open_theirs() -> None:
    asked: list[UserId] = []

    class Refusing(FakeAccess):
        async def check(
            self, user: UserId, _channel: ChannelRef, *, new: str | None = None, asks_omni: bool = True
        ) -> None:
            asked.append(user)
            raise Refused(replies.not_for_you())

    house = House()
    house.tabs._authorization = Refusing()
    async with house.kept():
        for _ in range(2):
            await house.open()
            await asyncio.sleep(600)
    assert asked == [ADA, ADA] and len(house.times()) == 2


async def test_home_tab_is_open_to_who_asks_omni_too_much() -> None:
    class Limiting(FakeAccess):
        async def check(
            self, _user: UserId, _channel: ChannelRef, *, new: str | None = None, asks_omni: bool = True
        ) -> None:
            if asks_omni:
                raise Refused(replies.too_many_requests())

    house = House()
    house.tabs._authorization = Limiting()
    async with house.kept():
        await house.open()
        await asyncio.sleep(1)
    assert replies.too_many_requests() not in house.shown() and house.shown()


async def test_people_see_their_own_follows_only() -> None:
    house = House()
    async with house.kept():
        await house.open(GRACE)
        await asyncio.sleep(1)
    assert JOB not in house.shown()


async def test_the_messages_tab_is_none_of_ours() -> None:
    house = House()
    async with house.kept():
        await house.open(tab="messages")
        await asyncio.sleep(60)
    assert house.times() == []


async def test_a_tab_opened_long_ago_is_left_alone() -> None:
    house = House()
    async with house.kept():
        await house.open()
        await asyncio.sleep(KEPT_SECONDS + 60)
        house.states[JOB] = JobState.DELIVERING
        await asyncio.sleep(600)
        assert len(house.times()) == 1
        await house.open()
        await asyncio.sleep(5)
    assert len(house.times()) == 2


async def test_so_many_tabs_are_kept_and_no_more() -> None:
    house = House()
    for number in range(MOST_KEPT + 5):
        await house.open(UserId(f"U{number}"))
    async with house.kept():
        await asyncio.sleep(1)
    assert len(house.times()) == MOST_KEPT


async def test_a_tab_that_makes_room_for_others_while_they_are_drawn_disturbs_nobody() -> None:
    class Slow(RememberingViews):
        async def publish(self, user: UserId, view: View) -> None:
            await super().publish(user, view)
            await asyncio.sleep(1)

    house = House()
    house.views = house.tabs._views = Slow()
    for number in range(MOST_KEPT):
        await house.open(UserId(f"U{number}"))
    async with house.kept():
        await asyncio.sleep(0.5)
        for number in range(5):
            await house.open(UserId(f"UNEW{number}"))
        await asyncio.sleep(MOST_KEPT + 20)
    drawn = {person for _, person, _ in house.views.published}
    assert {UserId(f"UNEW{number}") for number in range(5)} <= drawn


async def test_slack_is_obeyed_when_it_asks_for_time() -> None:
    house = House()
    house.views.error = SlackBusy("ratelimited", 30.0)
    async with house.kept():
        await house.open()
        await asyncio.sleep(1)
        house.views.error = None
        await asyncio.sleep(60)
    assert house.times() == [30.0]


@pytest.mark.parametrize("what", ["slack", "database", "defect"])
async def test_trouble_with_one_tab_ends_no_others(what: str) -> None:
    house = House()
    match what:
        case "slack":
            house.views.error = SlackError("not_enabled")
        case "database":
            house.card_repository.error = StoreUnavailable("down")
        case "defect":
            house.card_repository.error = ZeroDivisionError("a defect")
    async with house.kept():
        await house.open()
        await asyncio.sleep(1)
        house.views.error = house.card_repository.error = None
        await house.open(GRACE)
        await asyncio.sleep(5)
    assert GRACE in [person for _, person, _ in house.views.published]


async def test_a_place_that_is_not_named_closes_no_home_tab() -> None:
    asked: list[ChannelRef] = []

    class Watching(FakeAccess):
        async def check(
            self, _user: UserId, channel: ChannelRef, *, new: str | None = None, asks_omni: bool = True
        ) -> None:
            asked.append(channel)

    house = House()
    house.tabs._authorization = Watching()
    async with house.kept():
        await house.open()
        await asyncio.sleep(1)
    assert all(channel.id.startswith(ChannelId("D")) for channel in asked) and asked


async def test_choice_is_stored_and_shown_at_once() -> None:
    house = House()
    async with house.kept():
        await house.open()
        await asyncio.sleep(1)
        before = house.times()
        await house.choose("failures")
        await asyncio.sleep(0.1)
    assert house.preferences.rows == {ADA: Notify.FAILURES} and house.acknowledged == 1
    assert len(house.times()) == len(before) + 1
    (menu,) = [block["accessory"] for block in house.views.published[-1][2]["blocks"] if "accessory" in block]
    assert menu["initial_option"]["text"]["text"] == "Failures only"
    assert house.fake_slack.posted == {}, "no reply"


@pytest.mark.parametrize("value", ["", "sometimes", "ALWAYS", None])
async def test_forged_choice_changes_nothing(value: str | None) -> None:
    house = House()
    house.preferences.rows[ADA] = Notify.NEVER
    await house.choose(value)
    assert house.preferences.rows == {ADA: Notify.NEVER}


@pytest.mark.parametrize("why", ["refused", "not stored"])
async def test_failed_choice_is_reported_privately(why: str) -> None:
    house = House()
    if why == "refused":
        house.access.refused[ADA] = replies.not_for_you()
    else:
        house.preferences.error = StoreUnavailable("away")
    await house.choose("never")
    (told,) = house.fake_slack.posted.values()
    assert told.message.text == (replies.not_for_you() if why == "refused" else replies.storage_down())
    assert house.preferences.rows == {} and house.acknowledged == 1


async def test_question_comes_first_and_harmless() -> None:
    house = House()
    house.questions[JOB] = "Why did\n*sales* drop, <!channel>? " * 20
    async with house.kept():
        await house.open()
        await asyncio.sleep(1)
    text = house.views.published[-1][2]["blocks"][1]["text"]["text"]
    question, state, place = text.split("\n")
    assert (
        question.startswith("Why did *\u200bsales*\u200b drop, &lt;\u200b!channel&gt;?")
        and len(question) <= 150
    )
    assert "Running" in state and JOB in place
