"""The operator's rules about who may use the bot, where, and for which jobs."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.access import AccessPolicy, SlackUser
from bot.domain.cards import ChannelId, ChannelRef, TeamId, UserId
from tests.support.fakes import ADA, GRACE, HERE, a_card
from tests.support.tables import for_each

OWN, PARTNER = TeamId("T0"), TeamId("T0PARTNER")
COLLEAGUE = SlackUser(ADA, frozenset({OWN}))
GUEST = replace(COLLEAGUE, is_guest=True)
STRANGER = SlackUser(GRACE, frozenset({PARTNER}), is_stranger=True)
BOT = replace(COLLEAGUE, is_bot=True)


@for_each(
    "policy, user, may",
    [
        (AccessPolicy(), COLLEAGUE, True),
        (AccessPolicy(), GUEST, False),
        (AccessPolicy(), STRANGER, False),
        (AccessPolicy(), BOT, False),
        (AccessPolicy(allow_guests=True), GUEST, True),
        (AccessPolicy(allow_guests=True), STRANGER, False),
        (AccessPolicy(allow_guests=True), replace(STRANGER, is_guest=True), False),
        (AccessPolicy(users=frozenset({ADA})), COLLEAGUE, True),
        (AccessPolicy(users=frozenset({GRACE})), COLLEAGUE, False),
        (AccessPolicy(users=frozenset({ADA})), GUEST, False),
        (AccessPolicy(users=frozenset({GRACE})), STRANGER, False),
        (AccessPolicy(teams=frozenset({OWN, PARTNER})), STRANGER, True),
        (AccessPolicy(teams=frozenset({OWN, PARTNER})), COLLEAGUE, True),
        (AccessPolicy(teams=frozenset({PARTNER})), COLLEAGUE, False),
        (AccessPolicy(teams=frozenset({PARTNER}), users=frozenset({ADA})), STRANGER, False),
        (AccessPolicy(admins=frozenset({ADA}), users=frozenset({GRACE})), COLLEAGUE, True),
        (AccessPolicy(admins=frozenset({ADA}), teams=frozenset({PARTNER})), GUEST, True),
        (AccessPolicy(admins=frozenset({ADA})), BOT, False),
        (AccessPolicy(admins=frozenset({ADA})), replace(COLLEAGUE, is_deactivated=True), False),
    ],
)
def test_who_may_use_the_bot(policy: AccessPolicy, user: SlackUser, may: bool) -> None:
    assert policy.is_open_to(user) is may


@given(
    st.builds(
        SlackUser,
        st.sampled_from([ADA, GRACE]),
        st.frozensets(st.sampled_from([OWN, PARTNER])),
        st.booleans(),
        st.booleans(),
    ),
    st.frozensets(st.sampled_from([ADA, GRACE])),
    st.frozensets(st.sampled_from([OWN, PARTNER])),
)
def test_stricter_policy_never_admits_more(
    user: SlackUser, users: frozenset[UserId], teams: frozenset[TeamId]
) -> None:
    named = AccessPolicy(users=users | {user.id}, teams=teams)
    if named.is_open_to(user):
        assert AccessPolicy(teams=teams).is_open_to(user), "no names means all users"
    assert not AccessPolicy(users=users - {user.id} | {UserId("U0OTHER")}, teams=teams).is_open_to(user)


def test_allowed_channels_always_include_direct_messages() -> None:
    rules = AccessPolicy(channels=frozenset({HERE.id}))
    assert rules.is_open_in(HERE, ADA)
    assert not rules.is_open_in(replace(HERE, id=ChannelId("C0ELSEWHERE")), ADA)
    assert not rules.is_open_in(replace(HERE, id=ChannelId("G0GROUP")), ADA)
    assert rules.is_open_in(ChannelRef(HERE.team, ChannelId("D0ADA")), ADA)
    assert AccessPolicy().is_open_in(replace(HERE, id=ChannelId("C0ELSEWHERE")), ADA)


def test_every_channel_is_open_to_admins() -> None:
    rules = AccessPolicy(channels=frozenset({HERE.id}), admins=frozenset({GRACE}))
    elsewhere = replace(HERE, id=ChannelId("C0ELSEWHERE"))
    assert rules.is_open_in(elsewhere, GRACE) and not rules.is_open_in(elsewhere, ADA)


def test_only_requester_and_admins_can_manage() -> None:
    card = replace(a_card(user=ADA), followers=(ADA, GRACE))
    assert AccessPolicy().can_manage(ADA, card)
    assert not AccessPolicy().can_manage(GRACE, card), "following is not enough"
    assert AccessPolicy(admins=frozenset({GRACE})).can_manage(GRACE, card)
