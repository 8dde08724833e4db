"""Who is let in: what is known of people, and what happens where it can't be found out."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import datetime
from typing import cast

import pytest
from structlog.testing import capture_logs

from bot.domain.access import AccessPolicy, ConversationInfo, SlackUser
from bot.domain.cards import ChannelId, ChannelRef, TeamId, UserId
from bot.domain.errors import (
    JobNotFound,
    NotAllowedHere,
    OmniBusy,
    OmniError,
    OutcomeUnknown,
    Refused,
    ScopeMissing,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    StoreUnavailable,
    TokenRefused,
)
from bot.domain.jobs import JobId
from bot.domain.ports.storage import QuestionRepository
from bot.domain.questions import OmniUserId
from bot.rendering import replies
from bot.services.authorization import OMNI_ANSWERS_WITHIN_SECONDS, PolicyAuthorization
from bot.services.lookups import Lookups
from bot.services.targets import SHARED_KNOWN_FOR_SECONDS, SHARED_WITHIN_SECONDS, SharedChannels
from bot.user_limit import UserLimit, acting_user
from tests.support.fakes import (
    ADA,
    GRACE,
    HERE,
    JOB,
    FakeCards,
    FakeDirectory,
    FakeOmni,
    a_card,
    a_job,
    now,
)

pytestmark = pytest.mark.looptime

ADA_IN_OMNI = OmniUserId("9a1f3c1e-8a51-4f2b-9a6e-0d7b0a9c5e11")


class FakeOmniUsers:
    """Whom people are in Omni."""

    def __init__(self) -> None:
        self.users: dict[UserId, OmniUserId] = {ADA: ADA_IN_OMNI}
        self.other_ids: dict[OmniUserId, OmniUserId] = {}
        self.error: Exception | None = None

    async def ids_of(self, user: OmniUserId) -> frozenset[OmniUserId]:
        if self.error is not None:
            raise self.error
        return frozenset({user, self.other_ids.get(user, user)})

    async def omni_user(self, user: UserId) -> OmniUserId | None:
        if self.error is not None:
            raise self.error
        return self.users.get(user)


class FakeQuestions:
    """When people asked."""

    def __init__(self) -> None:
        self.asked_at: dict[UserId, list[datetime]] = {}

    async def count(self, _team: TeamId, user: UserId, since: datetime) -> int:
        return sum(at >= since for at in self.asked_at.get(user, []))


class Door:
    """An authorization and what it reads."""

    def __init__(self, **rules: object) -> None:
        self.directory = FakeDirectory()
        self.omni = FakeOmni(a_job())
        self.omni_users = FakeOmniUsers()
        self.card_repository = FakeCards()
        self.questions = FakeQuestions()
        self.venues = SharedChannels(self.directory, allow_shared=bool(rules.get("allow_shared_channels")))
        self.user_limit = UserLimit(2)
        self.keeper = PolicyAuthorization(
            AccessPolicy(**rules),  # type: ignore[arg-type]
            omni=self.omni,
            people=Lookups(self.directory.user),
            identities=self.omni_users,
            cards=self.card_repository,
            questions=cast(QuestionRepository, self.questions),
            now=now,
            user_limit=self.user_limit,
        )


async def refusal(check: Awaitable[object]) -> str | None:
    """The reply of a check; None: allowed."""
    try:
        await check
    except Refused as refused:
        return refused.reply
    return None


async def test_a_colleague_is_let_in_and_a_guest_and_a_stranger_are_not() -> None:
    door = Door()
    assert await refusal(door.keeper.check(ADA, HERE)) is None
    for changed in ({"is_guest": True}, {"is_stranger": True, "teams": frozenset({TeamId("T0PARTNER")})}):
        door.directory.people[GRACE] = replace(SlackUser(GRACE, frozenset({HERE.team})), **changed)
        door.keeper._people._known.clear()
        assert await refusal(door.keeper.check(GRACE, HERE)) == replies.not_for_you()


async def test_a_channel_that_is_not_named_is_refused() -> None:
    door = Door(channels=frozenset({ChannelId("C0ELSEWHERE")}))
    assert await refusal(door.keeper.check(ADA, HERE)) == replies.not_here()


@pytest.mark.parametrize(
    "error, line",
    [
        (ScopeMissing("missing_scope"), replies.identity_scope_missing()),
        (SlackBusy("ratelimited", 3.0), replies.identity_timeout()),
        (SlackUnreachable("no_connection"), replies.identity_timeout()),
        (OutcomeUnknown("http_503"), replies.identity_timeout()),
        (SlackError("user_not_found"), replies.identity_unavailable()),
    ],
)
async def test_whoever_is_not_known_may_do_nothing(error: SlackError, line: str) -> None:
    door = Door()
    door.directory.error = error
    assert await refusal(door.keeper.check(ADA, HERE)) == line
    door.directory.error = None
    assert await refusal(door.keeper.check(ADA, HERE)) is None, "that Slack was down is not remembered"


async def test_slack_is_asked_once_about_a_person_and_again_after_a_while() -> None:
    door = Door()
    for _ in range(3):
        await refusal(door.keeper.check(ADA, HERE))
    assert door.directory.asked == [ADA]
    await asyncio.sleep(301)
    door.directory.people[ADA] = replace(SlackUser(ADA, frozenset({HERE.team})), is_guest=True)
    assert await refusal(door.keeper.check(ADA, HERE)) == replies.not_for_you()


@pytest.mark.parametrize(
    "error", [SlackBusy("ratelimited", 1.0), SlackUnreachable("no_connection"), OutcomeUnknown("http_503")]
)
async def test_one_answer_that_is_none_refuses_nobody(error: SlackError) -> None:
    door = Door()
    door.directory.errors = [error]
    assert await refusal(door.keeper.check(ADA, HERE)) is None
    door.directory.errors = [error]
    assert not await door.venues.is_shared(HERE)


async def test_with_access_for_all_every_job_may_be_seen_and_nobody_is_looked_up() -> None:
    door = Door()
    door.omni_users.error = OmniBusy()
    assert await refusal(door.keeper.check_visible(GRACE, a_job())) is None
    assert await refusal(door.keeper.check_visible(GRACE, JOB)) is None
    assert await refusal(door.keeper.check_visible(GRACE, None)) is None
    assert door.omni.asked == []


@pytest.mark.parametrize(
    "user, owner, may",
    [
        (ADA, ADA_IN_OMNI, True),
        (ADA, "somebody else", False),
        (ADA, None, False),
        (GRACE, ADA_IN_OMNI, False),
        (GRACE, None, False),
    ],
    ids=["theirs", "another's", "nobody's", "no Omni user", "neither known"],
)
async def test_with_access_for_owners_only_ones_own_job_may_be_seen(
    user: UserId, owner: str | None, may: bool
) -> None:
    door = Door(only_owners=True)
    door.omni.answer = job = a_job(user=owner)
    reply = None if may else replies.no_such_job()
    assert await refusal(door.keeper.check_visible(user, job)) == reply
    assert door.omni.asked == []
    assert await refusal(door.keeper.check_visible(user, JOB)) == reply


@pytest.mark.parametrize("job", [None, JOB])
async def test_missing_job_reads_like_another_users(job: JobId | None) -> None:
    door = Door(only_owners=True)
    door.omni.answer = JobNotFound("404")
    assert await refusal(door.keeper.check_visible(ADA, job)) == replies.no_such_job()


@pytest.mark.parametrize("by_bot, user, may", [(True, ADA, True), (True, GRACE, False), (False, ADA, False)])
async def test_whoever_asked_through_the_bot_owns_the_job(by_bot: bool, user: UserId, may: bool) -> None:
    door = Door(only_owners=True)
    await door.card_repository.add(replace(a_card(), asked_by_bot=by_bot))
    membership = a_job(user="a0a0a0a0-5e6f-4a7b-8c9d-0e1f2a3b4c5d")
    door.omni.answer = membership
    with capture_logs() as logged:
        for job in (membership, JOB):
            assert await refusal(door.keeper.check_visible(user, job)) == (
                None if may else replies.no_such_job()
            )
    mismatches = [line for line in logged if line["event"] == "job of another omni user"]
    assert [line["owner"] for line in mismatches] == ([] if may else [membership.user]), "logged once"


async def test_owner_is_known_under_both_ids() -> None:
    door = Door(only_owners=True)
    membership = OmniUserId("a0a0a0a0-5e6f-4a7b-8c9d-0e1f2a3b4c5d")
    door.omni_users.other_ids[ADA_IN_OMNI] = membership
    with capture_logs() as logged:
        for job in (a_job(user=membership), a_job(user=membership)):
            assert await refusal(door.keeper.check_visible(ADA, job)) is None
        assert await refusal(door.keeper.check_visible(GRACE, job)) == replies.no_such_job()
    lines = [line for line in logged if line["event"] == "omni user has two ids"]
    assert [(line["found"], line["owner"]) for line in lines] == [(ADA_IN_OMNI, membership)]
    assert all(ADA not in str(line) for line in lines)


async def test_an_admin_may_see_every_job() -> None:
    keeper = Door(only_owners=True, admins=frozenset({GRACE})).keeper
    assert await refusal(keeper.check_visible(GRACE, a_job())) is None


@pytest.mark.parametrize(
    "error, reply",
    [
        (OmniBusy(), replies.omni_busy()),
        (SlackBusy("ratelimited", 1.0), replies.identity_unavailable()),
        (ScopeMissing("missing_scope"), replies.identity_unavailable()),
    ],
)
async def test_nothing_is_shown_while_the_owner_is_unknown(error: Exception, reply: str) -> None:
    door = Door(only_owners=True)
    door.omni_users.error = error
    assert await refusal(door.keeper.check_visible(ADA, a_job(user=ADA_IN_OMNI))) == reply
    with pytest.raises((OmniError, Refused)):
        await door.keeper.omni_user_for(ADA)


async def test_user_waits_only_so_long_for_the_owner() -> None:
    door = Door(only_owners=True)
    door.omni.delay_seconds = OMNI_ANSWERS_WITHIN_SECONDS + 1.0
    assert await refusal(door.keeper.check_visible(ADA, JOB)) == replies.omni_busy()
    assert asyncio.get_running_loop().time() == pytest.approx(OMNI_ANSWERS_WITHIN_SECONDS)


async def test_people_ask_in_their_own_name_unless_the_operator_says_otherwise() -> None:
    assert await Door().keeper.omni_user_for(ADA) == ADA_IN_OMNI
    assert await refusal(Door().keeper.omni_user_for(GRACE)) == replies.no_omni_user()
    assert await Door(ask_as_key=True).keeper.omni_user_for(GRACE) is None


async def test_one_person_follows_and_asks_only_so_much() -> None:
    door = Door(most_open_follows=2, most_asks_per_hour=3)
    other = ChannelRef(HERE.team, ChannelId("C0OTHER"))
    await door.card_repository.add(a_card("one"))
    assert await refusal(door.keeper.check(ADA, HERE, new="follow")) is None
    await door.card_repository.add(a_card("two", other))
    assert await refusal(door.keeper.check(ADA, HERE, new="follow")) == replies.too_many_follows(2)
    assert await refusal(door.keeper.check(GRACE, HERE, new="question")) is None
    door.questions.asked_at[GRACE] = [now()] * 3
    assert await refusal(door.keeper.check(GRACE, HERE, new="question")) is None, (
        "the one at hand is among them"
    )
    door.questions.asked_at[GRACE] = [now()] * 4
    assert await refusal(door.keeper.check(GRACE, HERE, new="question")) == replies.too_many_questions(3)
    assert await refusal(door.keeper.check(GRACE, HERE, new="follow")) is None, "following is no asking"
    await asyncio.sleep(3_601)
    assert await refusal(door.keeper.check(GRACE, HERE, new="question")) is None


async def test_limits_that_can_not_be_read_are_an_error() -> None:
    door = Door()
    door.card_repository.error = StoreUnavailable("down")
    with pytest.raises(StoreUnavailable):
        await refusal(door.keeper.check(ADA, HERE, new="follow"))


async def test_a_channel_is_shared_where_slack_says_so() -> None:
    door = Door()
    assert not await door.venues.is_shared(HERE)
    door.directory.venues[HERE] = ConversationInfo(is_shared=True)
    await asyncio.sleep(SHARED_KNOWN_FOR_SECONDS)
    assert await door.venues.is_shared(HERE)
    door = Door(allow_shared_channels=True)
    door.directory.venues[HERE] = ConversationInfo(is_shared=True)
    assert not await door.venues.is_shared(HERE) and door.directory.asked == []


async def test_channel_without_the_bot_is_not_called_shared() -> None:
    door = Door()
    door.directory.error = NotAllowedHere("channel_not_found")
    assert not await door.venues.is_shared(HERE, fresh=True), (
        "the post is refused, and the reply says how to invite"
    )


async def test_a_channel_of_which_slack_does_not_say_it_counts_as_shared() -> None:
    door = Door()
    door.directory.error = ScopeMissing("missing_scope")
    assert await door.venues.is_shared(HERE)
    assert not await door.venues.is_shared(ChannelRef(HERE.team, ChannelId("D0ADA"))), (
        "nobody else reads there"
    )
    door.directory.error = None
    assert not await door.venues.is_shared(HERE), "that Slack did not say is not remembered"


@pytest.mark.parametrize("error", [SlackBusy("ratelimited", 30.0), SlackUnreachable("no_connection")])
async def test_a_slow_slack_makes_no_channel_shared(error: SlackError) -> None:
    door = Door()
    door.directory.error = error
    assert not await door.venues.is_shared(HERE)
    assert asyncio.get_running_loop().time() == pytest.approx(SHARED_WITHIN_SECONDS)
    door.directory.error = None
    door.directory.venues[HERE] = ConversationInfo(is_shared=True)
    assert await door.venues.is_shared(HERE, fresh=True), "who posts there asks again"


async def test_slack_is_asked_once_for_all_who_want_to_know_and_anew_at_the_end() -> None:
    directory = FakeDirectory()
    venues = SharedChannels(directory, allow_shared=False)
    await asyncio.gather(*(venues.is_shared(HERE) for _ in range(50)))
    assert directory.asked == [HERE]
    directory.venues[HERE] = ConversationInfo(is_shared=True)
    await asyncio.sleep(30)
    assert not await venues.is_shared(HERE), "known for a minute"
    assert await asyncio.gather(*(venues.is_shared(HERE, fresh=True) for _ in range(50))) == [True] * 50
    assert directory.asked == [HERE] * 2
    assert await venues.is_shared(HERE)


async def test_a_cards_last_look_waits_until_slack_says_who_reads_it() -> None:
    directory = FakeDirectory()
    venues = SharedChannels(directory, allow_shared=False)
    directory.errors = [
        SlackUnreachable("no_connection"),
        TokenRefused("token_revoked"),
        OutcomeUnknown("TimeoutError"),
        SlackBusy("ratelimited", 600.0),
    ]
    assert not await venues.is_shared(HERE, fresh=True)
    assert asyncio.get_running_loop().time() > 600
    await asyncio.sleep(10)
    directory.errors = [ScopeMissing("missing_scope")]
    assert await venues.is_shared(HERE, fresh=True)
    directory.venues[HERE] = ConversationInfo(is_shared=True)
    assert await venues.is_shared(HERE, fresh=True)
    assert not await SharedChannels(directory, allow_shared=True).is_shared(HERE, fresh=True)


async def test_every_refusal_leaves_a_line_in_the_audit_trail() -> None:
    door = Door(only_owners=True, most_open_follows=1, users=frozenset({ADA}))
    await door.card_repository.add(a_card("one"))
    with capture_logs() as logs:
        await refusal(door.keeper.check(GRACE, HERE))
        await refusal(door.keeper.check_visible(GRACE, a_job(user=ADA_IN_OMNI)))
        await refusal(door.keeper.check(ADA, HERE, new="follow"))
        await refusal(door.keeper.omni_user_for(GRACE))
    lines = [(line["act"], line["user"], line["outcome"]) for line in logs if line["event"] == "audit"]
    assert lines == [
        ("use", GRACE, "refused: not for them"),
        ("follow", GRACE, "refused: not theirs"),
        ("follow", ADA, "refused: too many open follows"),
        ("ask", GRACE, "refused: no single Omni user"),
    ]
    assert all("Top products" not in str(line) for line in logs)


async def test_user_who_asks_too_much_is_told_to_wait() -> None:
    door = Door()
    acting_user.set(ADA)
    async with door.user_limit.turn():
        pass
    with capture_logs() as logged:
        line = await refusal(door.keeper.check(ADA, HERE))
    assert line == replies.too_many_requests()
    assert [entry["outcome"] for entry in logged] == ["refused: too many requests"]
    assert await refusal(door.keeper.check(GRACE, HERE)) is None
    await asyncio.sleep(31)
    assert await refusal(door.keeper.check(ADA, HERE)) is None


async def test_who_asks_nothing_of_omni_is_not_limited() -> None:
    door = Door()
    acting_user.set(ADA)
    async with door.user_limit.turn():
        pass
    assert await refusal(door.keeper.check(ADA, HERE, asks_omni=False)) is None


async def test_task_of_who_is_let_in_acts_for_them() -> None:
    door = Door(users=frozenset({ADA}))
    assert await refusal(door.keeper.check(GRACE, HERE)) is not None and acting_user.get() is None
    assert await refusal(door.keeper.check(ADA, HERE, asks_omni=False)) is None and acting_user.get() is None
    assert await refusal(door.keeper.check(ADA, HERE)) is None and acting_user.get() == ADA
