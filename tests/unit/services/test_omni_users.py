"""Slack users are mapped to the one active Omni user with their email address, and cached."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from bot.demo.omni.organization import ADA as ADA_IN_OMNI
from bot.demo.omni.server import SimulatedOmni
from bot.domain.access import SlackUser
from bot.domain.cards import TeamId, UserId
from bot.domain.errors import KeyRefused, OmniUnreachable, ScopeMissing, SlackError, SlackUnreachable
from bot.domain.questions import OmniUserId
from bot.services import omni_users as omni_users_module
from bot.services.omni_users import CACHED_FOR, MISSING_CACHED_FOR, OmniUserMapper
from tests.support.fakes import ADA, GRACE, START, FakeMembers
from tests.support.omni_http import RecordingLedger, client_to

ONE = OmniUserId("990e8400-e29b-41d4-a716-446655440004")
OTHER = OmniUserId("990e8400-e29b-41d4-a716-446655440005")
USER = SlackUser(ADA, frozenset({TeamId("T0")}), email="Ada@example.com")


class FakeDirectory:
    """`SlackDirectory` of two users. Set `error` to make it fail."""

    def __init__(self) -> None:
        self.users = {ADA: USER, GRACE: replace(USER, id=GRACE, email="grace@example.com")}
        self.asked: list[UserId] = []
        self.error: SlackError | None = None

    async def user(self, user: UserId) -> SlackUser:
        self.asked.append(user)
        if self.error is not None:
            raise self.error
        return self.users[user]


class World:
    def __init__(self) -> None:
        self.slack = FakeDirectory()
        self.members = FakeMembers()
        self.members.users = {"ada@example.com": (ONE,), "grace@example.com": (OTHER,)}
        self.time = START
        self.mapper = OmniUserMapper(self.members, self.slack.user, self.now)

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def world() -> World:
    return World()


async def test_email_address_finds_the_omni_user(world: World) -> None:
    assert await world.mapper.omni_user(ADA) == ONE
    assert await world.mapper.omni_user(GRACE) == OTHER


@pytest.mark.parametrize(
    "user",
    [
        replace(USER, email=None),
        replace(USER, is_stranger=True),
        replace(USER, is_bot=True),
        replace(USER, is_deactivated=True),
        replace(USER, email="ada@elsewhere.com"),
    ],
    ids=["no email", "other organization", "bot", "deactivated", "not in Omni"],
)
async def test_uncertain_user_has_no_omni_user(world: World, user: SlackUser) -> None:
    world.slack.users[ADA] = user
    assert await world.mapper.omni_user(ADA) is None


async def test_user_of_other_organization_is_not_looked_up(world: World) -> None:
    world.slack.users[ADA] = replace(USER, is_stranger=True)
    await world.mapper.omni_user(ADA)
    assert world.members.asked == []


async def test_ambiguous_email_finds_no_user(world: World) -> None:
    world.members.users["ada@example.com"] = (ONE, OTHER)
    assert await world.mapper.omni_user(ADA) is None


async def test_same_user_on_two_pages_is_one(world: World) -> None:
    world.members.users["ada@example.com"] = (ONE, ONE)
    assert await world.mapper.omni_user(ADA) == ONE


async def test_guest_is_looked_up_like_a_member(world: World) -> None:
    world.slack.users[ADA] = replace(USER, is_guest=True)
    assert await world.mapper.omni_user(ADA) == ONE


async def test_found_user_is_cached(world: World) -> None:
    await world.mapper.omni_user(ADA)
    world.members.users.clear()
    world.time += CACHED_FOR - timedelta(seconds=1)
    assert await world.mapper.omni_user(ADA) == ONE
    assert (len(world.slack.asked), len(world.members.asked)) == (1, 1)
    world.time += timedelta(seconds=1)
    assert await world.mapper.omni_user(ADA) is None


async def test_missing_user_is_cached_briefly(world: World) -> None:
    found = world.members.users.pop("ada@example.com")
    assert await world.mapper.omni_user(ADA) is None
    world.members.users["ada@example.com"] = found
    world.time += MISSING_CACHED_FOR - timedelta(seconds=1)
    assert await world.mapper.omni_user(ADA) is None
    world.time += timedelta(seconds=1)
    assert await world.mapper.omni_user(ADA) == ONE


async def test_oldest_cached_users_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(omni_users_module, "MOST_CACHED", 1)
    world = World()
    for user in (ADA, GRACE, GRACE, ADA):
        await world.mapper.omni_user(user)
    assert world.slack.asked == [ADA, GRACE, ADA]


async def test_both_ids_of_a_user_are_cached(world: World) -> None:
    world.members.other_ids[ONE] = OTHER
    assert await world.mapper.ids_of(ONE) == {ONE, OTHER}
    world.members.other_ids.clear()
    world.time += CACHED_FOR - timedelta(seconds=1)
    assert await world.mapper.ids_of(ONE) == {ONE, OTHER}
    assert world.members.asked == [ONE]
    world.time += timedelta(seconds=1)
    assert await world.mapper.ids_of(ONE) == {ONE}


async def test_ids_are_asked_for_again_after_an_error(world: World) -> None:
    world.members.error = OmniUnreachable("HTTP 500")
    with pytest.raises(OmniUnreachable):
        await world.mapper.ids_of(ONE)
    world.members.error = None
    world.members.other_ids[ONE] = OTHER
    assert await world.mapper.ids_of(ONE) == {ONE, OTHER}


@pytest.mark.looptime
async def test_concurrent_callers_share_one_lookup(world: World) -> None:
    world.members.delay_seconds = 1.0
    assert await asyncio.gather(*(world.mapper.omni_user(ADA) for _ in range(5))) == [ONE] * 5
    assert len(world.members.asked) == 1


@pytest.mark.looptime
async def test_cancelled_caller_leaves_the_lookup_running(world: World) -> None:
    world.members.delay_seconds = 1.0
    first = asyncio.create_task(world.mapper.omni_user(ADA))
    await asyncio.sleep(0.5)
    second = asyncio.create_task(world.mapper.omni_user(ADA))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == ONE


@pytest.mark.parametrize("error", [OmniUnreachable("HTTP 500"), KeyRefused("403")])
async def test_omni_error_is_raised_and_not_cached(world: World, error: OmniUnreachable | KeyRefused) -> None:
    world.members.error = error
    with pytest.raises(type(error)):
        await world.mapper.omni_user(ADA)
    world.members.error = None
    assert await world.mapper.omni_user(ADA) == ONE


@pytest.mark.parametrize("error", [ScopeMissing("missing_scope"), SlackUnreachable("ClientError")])
async def test_slack_error_is_raised_and_not_cached(world: World, error: SlackError) -> None:
    world.slack.error = error
    with pytest.raises(type(error)):
        await world.mapper.omni_user(ADA)
    world.slack.error = None
    assert await world.mapper.omni_user(ADA) == ONE


async def test_log_gives_the_reason_without_email(world: World) -> None:
    world.members.users.clear()
    with capture_logs() as logged:
        await world.mapper.omni_user(ADA)
    (line,) = logged
    assert (line["event"], line["user"]) == ("no omni user", ADA)
    assert line["reason"] == "0 active Omni users with the email address"
    assert "example.com" not in str(logged)


@pytest.fixture
async def omni() -> AsyncIterator[SimulatedOmni]:
    async with SimulatedOmni() as simulated:
        yield simulated


async def test_omni_that_ignores_the_filter(omni: SimulatedOmni) -> None:
    omni.ignores_user_filter = True
    omni.users_per_page = 2
    world = World()
    async with client_to(omni.base_url, omni.api_key, RecordingLedger()) as api:
        mapper = OmniUserMapper(api, world.slack.user, world.now)
        assert await mapper.omni_user(ADA) == ADA_IN_OMNI
        omni.organization.add_member("ADA@EXAMPLE.COM")
        world.time += CACHED_FOR
        assert await mapper.omni_user(ADA) is None
