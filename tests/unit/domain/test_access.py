"""Who may use the bot, where, and act on what, by the operator's rules."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.access import AccessRules
from bot.domain.cards import ChannelId, Place, TeamId, UserId
from bot.domain.people import Person
from tests.support.fakes import ADA, GRACE, HERE, a_watch

OWN, PARTNER = TeamId("T0"), TeamId("T0PARTNER")
COLLEAGUE = Person(ADA, OWN)
GUEST = replace(COLLEAGUE, is_guest=True)
STRANGER = Person(GRACE, PARTNER, is_stranger=True)
BOT = replace(COLLEAGUE, is_bot=True)


@pytest.mark.parametrize(
    "rules, person, may",
    [
        (AccessRules(), COLLEAGUE, True),
        (AccessRules(), GUEST, False),
        (AccessRules(), STRANGER, False),
        (AccessRules(), BOT, False),
        (AccessRules(allow_guests=True), GUEST, True),
        (AccessRules(allow_guests=True), STRANGER, False),
        (AccessRules(allow_guests=True), replace(STRANGER, is_guest=True), False),
        (AccessRules(users=frozenset({ADA})), COLLEAGUE, True),
        (AccessRules(users=frozenset({GRACE})), COLLEAGUE, False),
        (AccessRules(users=frozenset({ADA})), GUEST, False),
        (AccessRules(users=frozenset({GRACE})), STRANGER, False),
        (AccessRules(teams=frozenset({OWN, PARTNER})), STRANGER, True),
        (AccessRules(teams=frozenset({OWN, PARTNER})), COLLEAGUE, True),
        (AccessRules(teams=frozenset({PARTNER})), COLLEAGUE, False),
        (AccessRules(teams=frozenset({PARTNER}), users=frozenset({ADA})), STRANGER, False),
        (AccessRules(admins=frozenset({ADA}), users=frozenset({GRACE})), COLLEAGUE, True),
        (AccessRules(admins=frozenset({ADA}), teams=frozenset({PARTNER})), GUEST, True),
        (AccessRules(admins=frozenset({ADA})), BOT, False),
        (AccessRules(admins=frozenset({ADA})), replace(COLLEAGUE, is_deactivated=True), False),
    ],
)
def test_who_may_use_the_bot(rules: AccessRules, person: Person, may: bool) -> None:
    assert rules.is_open_to(person) is may


@given(
    st.builds(
        Person, st.sampled_from([ADA, GRACE]), st.sampled_from([OWN, PARTNER]), st.booleans(), st.booleans()
    ),
    st.frozensets(st.sampled_from([ADA, GRACE])),
    st.frozensets(st.sampled_from([OWN, PARTNER])),
)
def test_naming_fewer_people_never_lets_in_more(
    person: Person, users: frozenset[UserId], teams: frozenset[TeamId]
) -> None:
    named = AccessRules(users=users | {person.id}, teams=teams)
    if named.is_open_to(person):
        assert AccessRules(teams=teams).is_open_to(person), "naming nobody means everybody"
    assert not AccessRules(users=users - {person.id} | {UserId("U0OTHER")}, teams=teams).is_open_to(person)


def test_a_named_channel_closes_the_others_but_not_direct_messages() -> None:
    rules = AccessRules(channels=frozenset({HERE.channel}))
    assert rules.is_open_in(HERE)
    assert not rules.is_open_in(replace(HERE, channel=ChannelId("C0ELSEWHERE")))
    assert not rules.is_open_in(replace(HERE, channel=ChannelId("G0GROUP")))
    assert rules.is_open_in(Place(HERE.team, ChannelId("D0ADA")))
    assert AccessRules().is_open_in(replace(HERE, channel=ChannelId("C0ELSEWHERE")))


def test_only_the_one_who_asked_or_followed_first_and_admins_may_act() -> None:
    watch = replace(a_watch(person=ADA), followers=(ADA, GRACE))
    assert AccessRules().may_act(ADA, watch)
    assert not AccessRules().may_act(GRACE, watch), "following is not enough"
    assert AccessRules(admins=frozenset({GRACE})).may_act(GRACE, watch)
