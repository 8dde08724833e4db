"""Modals, Home tabs and lines for one person, as the simulated Slack takes them over real sockets."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bot.demo.faults import RESET_AFTER
from bot.demo.slack.simulator import SimulatedSlack, too_many_requests
from bot.domain.cards import ChannelId, ChannelRef, MessageTs, TeamId, UserId
from bot.domain.errors import (
    NotAllowedHere,
    OutcomeUnknown,
    PayloadRefused,
    ScopeMissing,
    SlackBusy,
    TokenRefused,
    ViewGone,
)
from bot.domain.messages import Message
from bot.domain.ports.slack import SlackViews
from bot.slack.messages import slack_client, slack_session
from bot.slack.views import WebApiViews
from tests.support.clock import Clock
from tests.support.fakes import ADA, HERE, FakeViews
from tests.support.views import home, modal, section

LINE = Message("Only you see this.", (section("Only you see this."),))


class World:
    """A simulated Slack and our views on it."""

    def __init__(self, slack: SimulatedSlack, views: SlackViews) -> None:
        self.slack = slack
        self.views = views
        self.ada = UserId(slack.workspace.user("ada").id)

    @property
    def trigger(self) -> str:
        return self.slack.workspace.trigger(self.ada)

    def place(self, channel: str) -> ChannelRef:
        return ChannelRef(TeamId(self.slack.team), ChannelId(self.slack.workspace.channel(channel).id))


@asynccontextmanager
async def views_of(slack: SimulatedSlack) -> AsyncIterator[SlackViews]:
    async with slack_session() as session:
        yield WebApiViews(slack_client(slack.bot_token, slack.api_url, session))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with SimulatedSlack() as slack, views_of(slack) as views:
        yield World(slack, views)


# Modals


async def test_modal_is_updated_by_id(world: World) -> None:
    view_id = await world.views.open(world.trigger, modal(section("One moment…")))
    view = world.slack.modal("ada")
    assert view is not None and view.id == view_id
    await world.views.update(view_id, modal())
    assert view.content["blocks"][0]["type"] == "input"


async def test_invalid_trigger_opens_nothing(world: World) -> None:
    trigger = world.trigger
    await world.views.open(trigger, modal())
    for refused in (trigger, "1.2.forged"):
        with pytest.raises(ViewGone):
            await world.views.open(refused, modal())


async def test_trigger_expires_after_three_seconds() -> None:
    clock = Clock()
    async with SimulatedSlack(now=clock) as slack, views_of(slack) as views:
        trigger = World(slack, views).trigger
        clock.time += 3.1
        with pytest.raises(ViewGone):
            await views.open(trigger, modal())


async def test_closed_modal_is_gone(world: World) -> None:
    view_id = await world.views.open(world.trigger, modal())
    await world.slack.close_view(user="ada")
    with pytest.raises(ViewGone):
        await world.views.update(view_id, modal())


async def test_invalid_view_is_refused(world: World) -> None:
    with pytest.raises(PayloadRefused):
        await world.views.open(world.trigger, modal(title={"type": "plain_text", "text": "x" * 25}))
    with pytest.raises(PayloadRefused):
        await world.views.publish(world.ada, home(*(section("x" * 3_000) for _ in range(99))))


async def test_a_lost_answer_opens_no_second_modal(world: World) -> None:
    world.slack.faults.plan(RESET_AFTER, on="views.open")
    with pytest.raises(OutcomeUnknown):
        await world.views.open(world.trigger, modal())
    assert len(world.slack.calls("views.open")) == 1


# Home tabs


async def test_home_tab_belongs_to_one_user(world: World) -> None:
    for words in ("One", "Two"):
        await world.views.publish(world.ada, home(section(words)))
    view = world.slack.home("ada")
    assert view is not None and view.content["blocks"][0]["text"]["text"] == "Two"
    assert world.slack.home("grace") is None


async def test_publish_needs_a_home_tab(world: World) -> None:
    world.slack.workspace.surfaces.home_enabled = False
    with pytest.raises(NotAllowedHere):
        await world.views.publish(world.ada, home())


# Lines for one person


async def test_ephemeral_message_is_seen_by_one_user(world: World) -> None:
    parent = await world.slack.say("hello", user="grace", channel="data-team")
    await world.views.post_ephemeral(world.place("data-team"), world.ada, LINE, thread=MessageTs(parent.ts))
    (line,) = world.slack.private("ada")
    assert (line.text, line.blocks, line.thread_ts) == (LINE.text, list(LINE.blocks), parent.ts)
    assert world.slack.replies("data-team", parent.ts) == [] == world.slack.private("grace")


async def test_ephemeral_message_needs_both_as_members(world: World) -> None:
    for channel, user in (("random", "ada"), ("leadership", "ada"), ("sales", "marie")):
        person = UserId(world.slack.workspace.user(user).id)
        with pytest.raises(NotAllowedHere):
            await world.views.post_ephemeral(world.place(channel), person, LINE)


# Every call


CALLS: dict[str, Callable[[World], Coroutine[Any, Any, object]]] = {
    "views.open": lambda world: world.views.open(world.trigger, modal()),
    "views.update": lambda world: world.views.update("V0", modal()),
    "views.publish": lambda world: world.views.publish(world.ada, home()),
    "chat.postEphemeral": lambda world: world.views.post_ephemeral(world.place("data-team"), world.ada, LINE),
}


@pytest.mark.parametrize("method", CALLS)
async def test_rate_limits_and_refused_tokens_are_raised(world: World, method: str) -> None:
    world.slack.faults.plan(too_many_requests(7), on=method)
    with pytest.raises(SlackBusy) as busy:
        await CALLS[method](world)
    assert busy.value.retry_after_seconds == 7
    world.slack.revoke_token()
    with pytest.raises(TokenRefused):
        await CALLS[method](world)


async def test_a_call_without_its_scope_says_so(world: World) -> None:
    world.slack.granted_scopes.discard("chat:write")
    with pytest.raises(ScopeMissing):
        await CALLS["chat.postEphemeral"](world)


# The stand-in


async def test_the_stand_in_refuses_as_slack_does() -> None:
    fake = FakeViews()
    views: SlackViews = fake
    view_id = await views.open("trigger", modal())
    with pytest.raises(ViewGone):
        await views.open("trigger", modal())
    await views.update(view_id, home())
    assert fake.opened == {view_id: home()}
    fake.close(view_id)
    with pytest.raises(ViewGone):
        await views.update(view_id, home())
    await views.publish(ADA, home())
    fake.plan("whisper", NotAllowedHere("not_in_channel"))
    with pytest.raises(NotAllowedHere):
        await views.post_ephemeral(HERE, ADA, LINE)
    await views.post_ephemeral(HERE, ADA, LINE, thread=MessageTs("1.0"))
    assert fake.homes == {ADA: home()}
    assert [(line.user, line.thread) for line in fake.whispered] == [(ADA, "1.0")]
