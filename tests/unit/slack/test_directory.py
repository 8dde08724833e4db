"""Who people are and what a place is, as the simulated Slack tells it over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from bot.demo.slack.records import ORGANIZATION
from bot.demo.slack.simulator import SimulatedSlack
from bot.domain.access import ConversationInfo, SlackUser
from bot.domain.cards import ChannelId, ChannelRef, TeamId, UserId
from bot.domain.errors import NotAllowedHere, ScopeMissing, SlackError
from bot.domain.ports.slack import SlackDirectory
from bot.slack import directory
from bot.slack.directory import WebApiDirectory, _conversation, _user
from bot.slack.messages import slack_client, slack_session
from tests.support.fakes import ADA, GRACE, HERE, FakeDirectory

HOME = TeamId("T0OMNIDEMO")


class World:
    """A simulated Slack and our directory on it."""

    def __init__(self, slack: SimulatedSlack, directory: SlackDirectory) -> None:
        self.slack = slack
        self.directory = directory

    async def person(self, name: str) -> SlackUser:
        return await self.directory.user(UserId(self.slack.workspace.user(name).id))

    async def venue(self, channel: str) -> ConversationInfo:
        place = ChannelRef(TeamId(self.slack.team), ChannelId(self.slack.workspace.channel(channel).id))
        return await self.directory.conversation(place)


@asynccontextmanager
async def directory_of(slack: SimulatedSlack) -> AsyncIterator[SlackDirectory]:
    async with slack_session() as session:
        yield WebApiDirectory(slack_client(slack.bot_token, slack.api_url, session), TeamId(slack.team))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with SimulatedSlack() as slack, directory_of(slack) as directory:
        slack.granted_scopes.add(
            "im:read"
        )  # which the bot does without: it looks at no direct message of its own
        yield World(slack, directory)


# People


async def test_member_is_neither_guest_nor_stranger(world: World) -> None:
    ada = UserId(world.slack.workspace.user("ada").id)
    assert await world.person("ada") == SlackUser(ada, frozenset({HOME}), email="ada@example.com")


@pytest.mark.parametrize("guest", ["restricted", "ultra_restricted"])
async def test_both_kinds_of_guests_are_guests(world: World, guest: Any) -> None:
    users = world.slack.workspace.users
    marie = world.slack.workspace.user("marie")
    users[marie.id] = replace(marie, guest=guest)
    person = await world.person("marie")
    assert (person.is_guest, person.is_stranger) == (True, False)


@pytest.mark.parametrize("is_met", [True, False], ids=["in a shared channel", "nowhere"])
async def test_user_of_another_workspace_is_stranger(world: World, is_met: bool) -> None:
    if not is_met:
        await world.slack.remove_bot("partners")
    person = await world.person("edsger")
    assert (person.is_stranger, person.teams, person.email) == (True, frozenset({"T0PARTNERS"}), None)


async def test_a_deactivated_person_is_one(world: World) -> None:
    ada = world.slack.workspace.user("ada")
    world.slack.workspace.users[ada.id] = replace(ada, deactivated=True)
    assert (await world.person("ada")).is_deactivated
    assert not (await world.person("grace")).is_deactivated


async def test_a_bot_is_told_as_one(world: World) -> None:
    assert (await world.person("omni-job-bot")).is_bot
    assert not (await world.person("ada")).is_bot


async def test_email_needs_its_scope(world: World) -> None:
    world.slack.granted_scopes.discard("users:read.email")
    assert (await world.person("ada")).email is None


async def test_missing_user_is_not_allowed(world: World) -> None:
    with pytest.raises(NotAllowedHere):
        await world.directory.user(UserId("U0NOBODY"))


async def test_repr_hides_email(world: World) -> None:
    assert "example.com" not in repr(await world.person("ada"))


@pytest.mark.parametrize(
    "told", [{}, {"team_id": None}, {"team_id": "T0OTHER"}, {"is_stranger": True, "team_id": HOME}]
)
def test_user_without_team_is_stranger(told: dict[str, Any]) -> None:
    assert _user(ADA, told, HOME).is_stranger


@pytest.mark.parametrize("team", ["", "T0BERLIN", ORGANIZATION], ids=["no team", "another", "organization"])
@pytest.mark.parametrize("teams, is_stranger", [((HOME, "T0BERLIN"), False), (("T0BERLIN",), True)])
async def test_grid_member_belongs_to_named_workspaces(
    world: World, team: str, teams: tuple[str, ...], is_stranger: bool
) -> None:
    users = world.slack.workspace.users
    ada = world.slack.workspace.user("ada")
    users[ada.id] = replace(ada, team=team, grid_teams=teams)
    person = await world.person("ada")
    assert person.is_stranger is is_stranger
    assert person.teams == {*teams, ORGANIZATION, *([team] if team else [])}
    assert person.email == (None if is_stranger else "ada@example.com")


@pytest.mark.parametrize(
    "told",
    [
        {"teams": [HOME]},
        {"team_id": ORGANIZATION, "teams": [HOME]},
        {"is_stranger": True, "enterprise_user": {"teams": [HOME]}},
        {"enterprise_user": None, "team_id": HOME},
    ],
)
def test_teams_of_a_grid_member_may_stand_elsewhere(told: dict[str, Any]) -> None:
    assert not _user(UserId("W0ADA"), told, HOME).is_stranger


async def test_grid_guest_is_a_guest(world: World) -> None:
    marie = world.slack.workspace.user("marie")
    world.slack.workspace.users[marie.id] = replace(marie, team="", grid_teams=(HOME,))
    assert (await world.person("marie")).is_guest


# Conversations


async def test_each_conversation_says_what_it_is(world: World) -> None:
    world.slack.dm("ada")
    await world.slack.invite_bot("leadership")
    assert await world.venue("bot-ada") == ConversationInfo(is_direct=True)
    assert await world.venue("data-team") == await world.venue("leadership") == ConversationInfo()
    assert await world.venue("partners") == ConversationInfo(is_shared=True)


async def test_pending_invitation_makes_channel_shared(world: World) -> None:
    await world.slack.share_channel("data-team", pending=True)
    assert (await world.venue("data-team")).is_shared


async def test_public_channel_needs_no_membership(world: World) -> None:
    assert await world.venue("random") == ConversationInfo(has_bot=False)


async def test_archived_channel_is_called_so(world: World) -> None:
    assert await world.venue("old-project") == ConversationInfo(is_archived=True)


@pytest.mark.parametrize("channel", ["leadership", "ada-grace"])
async def test_invisible_channel_is_not_allowed(world: World, channel: str) -> None:
    with pytest.raises(NotAllowedHere):
        await world.venue(channel)


@pytest.mark.parametrize(
    "told, is_shared",
    [
        ({}, False),
        ({"is_im": False, "is_ext_shared": None}, False),
        ({"is_ext_shared": True}, True),
        ({"is_pending_ext_shared": True}, True),
        ({"is_im": True, "is_ext_shared": True}, True),
    ],
)
def test_only_channel_that_slack_calls_shared_is(told: dict[str, Any], is_shared: bool) -> None:
    assert _conversation(told).is_shared is is_shared


@pytest.mark.parametrize(
    "scope, channel", [("channels:read", "data-team"), ("im:read", "bot-ada"), ("groups:read", "leadership")]
)
async def test_channel_lookup_needs_its_scope(world: World, scope: str, channel: str) -> None:
    world.slack.dm("ada")
    await world.slack.invite_bot("leadership")
    world.slack.granted_scopes.discard(scope)
    with pytest.raises(ScopeMissing):
        await world.venue(channel)


async def test_user_lookup_needs_its_scope(world: World) -> None:
    world.slack.granted_scopes.discard("users:read")
    with pytest.raises(ScopeMissing):
        await world.person("ada")


# By email address


async def test_email_finds_the_same_user(world: World) -> None:
    assert await world.directory.user_by_email("Ada@example.com") == await world.person("ada")


@pytest.mark.parametrize("email", ["nobody@example.com", "edsger@partner.example", ""])
async def test_unknown_email_is_not_allowed(world: World, email: str) -> None:
    with pytest.raises(NotAllowedHere):
        await world.directory.user_by_email(email)


async def test_deactivated_user_has_no_email(world: World) -> None:
    ada = world.slack.workspace.user("ada")
    world.slack.workspace.users[ada.id] = replace(ada, deactivated=True)
    with pytest.raises(NotAllowedHere):
        await world.directory.user_by_email("ada@example.com")


async def test_email_lookup_needs_its_scope(world: World) -> None:
    world.slack.granted_scopes.discard("users:read.email")
    with pytest.raises(ScopeMissing):
        await world.directory.user_by_email("ada@example.com")


# The stand-in


async def test_fake_directory_matches_web_api() -> None:
    fake = FakeDirectory()
    directory: SlackDirectory = fake
    assert await directory.user(ADA) == SlackUser(ADA, frozenset({HERE.team}), email="u0ada@example.com")
    assert await directory.conversation(HERE) == ConversationInfo()
    fake.people[ADA] = ScopeMissing("missing_scope")
    fake.venues[HERE] = NotAllowedHere("channel_not_found")
    with pytest.raises(ScopeMissing):
        await directory.user(ADA)
    with pytest.raises(NotAllowedHere):
        await directory.conversation(HERE)
    assert fake.asked == [ADA, HERE, ADA, HERE]
    with pytest.raises(NotAllowedHere):
        await directory.user_by_email("grace@example.com")
    fake.emails["grace@example.com"] = GRACE
    assert await directory.user_by_email("grace@example.com") == await directory.user(GRACE)


async def test_members_are_found_on_any_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MEMBERS_PER_PAGE", 1)
    team = world.slack.workspace.channel("data-team")
    place = ChannelRef(HOME, ChannelId(team.id))
    everyone = frozenset(map(UserId, team.members))
    wanted = everyone | {UserId(world.slack.workspace.user("edsger").id)}
    assert await world.directory.members_among(place, wanted) == everyone
    last = frozenset({max(everyone)})
    assert await world.directory.members_among(place, last) == last


async def test_members_of_a_huge_channel_are_unknown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MEMBERS_PER_PAGE", 1)
    monkeypatch.setattr(directory, "MOST_PAGES", 2)
    place = ChannelRef(HOME, ChannelId(world.slack.workspace.channel("data-team").id))
    with pytest.raises(ScopeMissing):
        await world.directory.members_among(place, frozenset({UserId("U0NOBODY")}))


@pytest.mark.parametrize("channel, error", [("leadership", NotAllowedHere), ("data-team", ScopeMissing)])
async def test_members_need_the_bot_and_scopes(world: World, channel: str, error: type[SlackError]) -> None:
    world.slack.granted_scopes.discard("channels:read")
    place = ChannelRef(HOME, ChannelId(world.slack.workspace.channel(channel).id))
    with pytest.raises(error):
        await world.directory.members_among(place, frozenset({ADA}))
