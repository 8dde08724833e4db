"""A person in Slack is the one active Omni user with their address, or nobody; and is not looked up each time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from bot.demo.omni.organization import ADA as ADA_IN_OMNI
from bot.demo.omni.server import SimulatedOmni
from bot.domain.cards import TeamId, UserId
from bot.domain.errors import KeyRefused, OmniUnreachable, ScopeMissing, SlackError, SlackUnreachable
from bot.domain.people import SlackUser
from bot.domain.questions import OmniUserId
from bot.services import omni_users as members_module
from bot.services.omni_users import KNOWN_FOR, UNKNOWN_FOR, OmniUserMapper
from tests.support.fakes import ADA, GRACE, START, FakeMembers
from tests.support.omni_http import RecordingLedger, client_to

ONE = OmniUserId("990e8400-e29b-41d4-a716-446655440004")
OTHER = OmniUserId("990e8400-e29b-41d4-a716-446655440005")
PERSON = SlackUser(ADA, TeamId("T0"), email="Ada@example.com")


class People:
    """`SlackDirectory` of two people. Set `error` to make it fail."""

    def __init__(self) -> None:
        self.people = {ADA: PERSON, GRACE: replace(PERSON, id=GRACE, email="grace@example.com")}
        self.asked: list[UserId] = []
        self.error: SlackError | None = None

    async def user(self, user: UserId) -> SlackUser:
        self.asked.append(user)
        if self.error is not None:
            raise self.error
        return self.people[user]


class World:
    def __init__(self) -> None:
        self.people = People()
        self.members = FakeMembers()
        self.members.users = {"ada@example.com": (ONE,), "grace@example.com": (OTHER,)}
        self.time = START
        self.users = OmniUserMapper(self.members, self.people.user, self.now)

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def world() -> World:
    return World()


async def test_the_one_active_user_with_the_address_is_the_person(world: World) -> None:
    assert await world.users.omni_user(ADA) == ONE
    assert await world.users.omni_user(GRACE) == OTHER


@pytest.mark.parametrize(
    "user",
    [
        replace(PERSON, email=None),
        replace(PERSON, is_stranger=True),
        replace(PERSON, is_bot=True),
        replace(PERSON, is_deactivated=True),
        replace(PERSON, email="ada@elsewhere.com"),
    ],
    ids=["no address", "of another organisation", "a bot", "deactivated", "not in Omni"],
)
async def test_whoever_is_not_certainly_one_user_is_nobody(world: World, user: SlackUser) -> None:
    world.people.people[ADA] = user
    assert await world.users.omni_user(ADA) is None


async def test_a_stranger_is_not_even_looked_up(world: World) -> None:
    world.people.people[ADA] = replace(PERSON, is_stranger=True)
    await world.users.omni_user(ADA)
    assert world.members.asked == []


async def test_an_ambiguous_address_is_nobodys(world: World) -> None:
    world.members.users["ada@example.com"] = (ONE, OTHER)
    assert await world.users.omni_user(ADA) is None


async def test_the_same_user_on_two_pages_is_one(world: World) -> None:
    world.members.users["ada@example.com"] = (ONE, ONE)
    assert await world.users.omni_user(ADA) == ONE


async def test_a_guest_is_whom_their_address_says(world: World) -> None:
    world.people.people[ADA] = replace(PERSON, is_guest=True)
    assert await world.users.omni_user(ADA) == ONE


async def test_who_somebody_is_is_remembered_for_a_while(world: World) -> None:
    await world.users.omni_user(ADA)
    world.members.users.clear()
    world.time += KNOWN_FOR - timedelta(seconds=1)
    assert await world.users.omni_user(ADA) == ONE
    assert (len(world.people.asked), len(world.members.asked)) == (1, 1)
    world.time += timedelta(seconds=1)
    assert await world.users.omni_user(ADA) is None


async def test_that_somebody_is_nobody_is_soon_asked_again(world: World) -> None:
    found = world.members.users.pop("ada@example.com")
    assert await world.users.omni_user(ADA) is None
    world.members.users["ada@example.com"] = found
    world.time += UNKNOWN_FOR - timedelta(seconds=1)
    assert await world.users.omni_user(ADA) is None
    world.time += timedelta(seconds=1)
    assert await world.users.omni_user(ADA) == ONE


async def test_oldest_known_users_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members_module, "MOST_KNOWN", 1)
    world = World()
    for user in (ADA, GRACE, GRACE, ADA):
        await world.users.omni_user(user)
    assert world.people.asked == [ADA, GRACE, ADA]


@pytest.mark.looptime
async def test_many_who_ask_at_once_ask_once(world: World) -> None:
    world.members.delay_seconds = 1.0
    assert await asyncio.gather(*(world.users.omni_user(ADA) for _ in range(5))) == [ONE] * 5
    assert len(world.members.asked) == 1


@pytest.mark.looptime
async def test_whoever_stops_waiting_does_not_stop_the_others(world: World) -> None:
    world.members.delay_seconds = 1.0
    first = asyncio.create_task(world.users.omni_user(ADA))
    await asyncio.sleep(0.5)
    second = asyncio.create_task(world.users.omni_user(ADA))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == ONE


@pytest.mark.parametrize("error", [OmniUnreachable("HTTP 500"), KeyRefused("403")])
async def test_what_omni_does_not_say_is_an_error_and_not_remembered(
    world: World, error: OmniUnreachable | KeyRefused
) -> None:
    world.members.error = error
    with pytest.raises(type(error)):
        await world.users.omni_user(ADA)
    world.members.error = None
    assert await world.users.omni_user(ADA) == ONE


@pytest.mark.parametrize("error", [ScopeMissing("missing_scope"), SlackUnreachable("ClientError")])
async def test_what_slack_does_not_say_is_an_error_and_not_remembered(
    world: World, error: SlackError
) -> None:
    world.people.error = error
    with pytest.raises(type(error)):
        await world.users.omni_user(ADA)
    world.people.error = None
    assert await world.users.omni_user(ADA) == ONE


async def test_the_log_says_why_somebody_is_nobody_but_no_address(world: World) -> None:
    world.members.users.clear()
    with capture_logs() as logged:
        await world.users.omni_user(ADA)
    (line,) = logged
    assert (line["event"], line["user"]) == ("no omni user", ADA)
    assert line["why"] == "0 active users with that address"
    assert "example.com" not in str(logged)


@pytest.fixture
async def omni() -> AsyncIterator[SimulatedOmni]:
    async with SimulatedOmni() as simulated:
        yield simulated


async def test_against_an_omni_that_ignores_the_filter(omni: SimulatedOmni) -> None:
    omni.ignores_user_filter = True
    omni.users_per_page = 2
    world = World()
    async with client_to(omni.base_url, omni.api_key, RecordingLedger()) as api:
        users = OmniUserMapper(api, world.people.user, world.now)
        assert await users.omni_user(ADA) == ADA_IN_OMNI
        omni.organization.add_member("ADA@EXAMPLE.COM")
        world.time += KNOWN_FOR
        assert await users.omni_user(ADA) is None
