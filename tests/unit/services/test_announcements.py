"""Announcements between fakes: who is mentioned, where, and what the program is told, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from bot.delivery.outcomes import CardOutcomes, CardPlacement
from bot.domain.access import AccessPolicy, ConversationInfo, SlackUser
from bot.domain.announcements import Announced, Announcement, AnnouncementProblem, AnnouncementRefused
from bot.domain.cards import API_CLIENT, CardFailure, CardId, ChannelId, UserId
from bot.domain.errors import (
    JobNotFound,
    KeyRefused,
    NotAllowedHere,
    OutcomeUnknown,
    ScopeMissing,
    StoreUnavailable,
)
from bot.domain.jobs import JobId, JobState
from bot.services.announcements import POSTED_WITHIN_SECONDS, AnnouncementService
from bot.services.lookups import Lookups
from tests.support.fakes import (
    ADA,
    GRACE,
    HERE,
    JOB,
    FakeCards,
    FakeDirectory,
    FakeFailedCards,
    a_card,
    a_job,
    now,
)
from tests.support.tracking import Stage

pytestmark = pytest.mark.looptime

HOME = frozenset({HERE.team})
Problem = AnnouncementProblem


class Announcing:
    """The service over a table, with a tracker that the test plays."""

    def __init__(self, policy: AccessPolicy | None = None, card_repository: FakeCards | None = None) -> None:
        self.directory = FakeDirectory()
        self.card_repository = card_repository or FakeCards()
        self.failed_cards = FakeFailedCards(self.card_repository)
        self.outcomes = CardOutcomes()
        self.started: list[JobId] = []
        self.post: Callable[[CardId], Awaitable[None]] = self.succeed
        self.service = AnnouncementService(
            policy=policy or AccessPolicy(),
            directory=self.directory,
            people=Lookups(self.directory.user),
            cards=self.card_repository,
            failed_cards=self.failed_cards,
            outcomes=self.outcomes,
            start=self._start,
            now=now,
        )

    async def announce(self, *mentions: str) -> Announced:
        return await self.service.announce(Announcement(JOB, HERE, mentions=mentions))

    async def refusal(self, *mentions: str) -> tuple[AnnouncementProblem, str]:
        with pytest.raises(AnnouncementRefused) as refused:
            await self.announce(*mentions)
        return refused.value.problem, str(refused.value)

    async def _start(self, job: JobId) -> None:
        self.started.append(job)
        for card in list(self.card_repository.rows):
            await self.post(card)

    async def succeed(self, card: CardId) -> None:
        self.outcomes.resolve(card, CardPlacement.POSTED)

    async def be_late(self, card: CardId) -> None:
        """Nothing comes of it in time."""


@asynccontextmanager
async def tracked(stage: Stage) -> AsyncIterator[AnnouncementService]:
    """The service over a stage whose trackers run."""
    async with stage.bot() as runner:
        yield AnnouncementService(
            policy=AccessPolicy(),
            directory=stage.directory,
            people=Lookups(stage.directory.user),
            cards=stage.card_repository,
            failed_cards=stage.failed_cards,
            outcomes=stage.arrivals,
            start=runner.start,
            now=now,
        )


async def test_each_mentioned_user_follows_once() -> None:
    stage = Announcing()
    stage.directory.emails["grace@example.com"] = GRACE
    announced = await stage.announce(ADA, "Grace@Example.com", GRACE, ADA)
    (card,) = stage.card_repository.rows.values()
    assert announced == Announced(card.id, is_new=True)
    assert (card.requester, card.followers, card.people) == (
        API_CLIENT,
        (API_CLIENT, ADA, GRACE),
        (ADA, GRACE),
    )
    assert stage.started == [JOB]


async def test_users_card_keeps_its_requester() -> None:
    stage = Announcing(card_repository=FakeCards(a_card()))
    announced = await stage.announce(GRACE)
    (card,) = stage.card_repository.rows.values()
    assert announced == Announced(CardId("watch"), is_new=False)
    assert (card.requester, card.followers) == (ADA, (ADA, API_CLIENT, GRACE))


@pytest.mark.parametrize(
    "info, problem",
    [
        (ConversationInfo(is_archived=True, has_bot=False), Problem.CHANNEL_ARCHIVED),
        (ConversationInfo(has_bot=False), Problem.BOT_NOT_IN_CHANNEL),
        (ConversationInfo(is_shared=True), Problem.CHANNEL_SHARED),
        (ScopeMissing("missing_scope"), Problem.CHANNEL_SHARED),
        (NotAllowedHere("channel_not_found"), Problem.UNKNOWN_CHANNEL),
    ],
)
async def test_closed_channel_stores_nothing(
    info: ConversationInfo | NotAllowedHere, problem: AnnouncementProblem
) -> None:
    stage = Announcing()
    stage.directory.venues[HERE] = info
    with capture_logs() as logs:
        assert (await stage.refusal())[0] is problem
    assert stage.card_repository.writes == []
    assert [(line["user"], line["outcome"]) for line in logs if line["event"] == "audit"] == [
        ("API", f"refused: {problem.value}")
    ]


@pytest.mark.parametrize("info", [ConversationInfo(is_shared=True), ScopeMissing("missing_scope")])
async def test_shared_channel_is_open_where_allowed(info: ConversationInfo | ScopeMissing) -> None:
    stage = Announcing(AccessPolicy(allow_shared_channels=True))
    stage.directory.venues[HERE] = info
    assert (await stage.announce()).is_new


async def test_every_channel_is_open_as_to_admins() -> None:
    stage = Announcing(AccessPolicy(channels=frozenset({ChannelId("C0OTHER")})))
    assert (await stage.announce()).is_new


async def test_users_not_mentioned_are_named_with_reasons() -> None:
    stage = Announcing(AccessPolicy(users=frozenset({ADA})))
    stage.directory.people[UserId("U0GONE")] = NotAllowedHere("user_not_found")
    stage.directory.people[UserId("U0GUEST")] = SlackUser(UserId("U0GUEST"), HOME, is_guest=True)
    stage.directory.emails["a@example.com"] = ScopeMissing("missing_scope")
    announced = await stage.announce("U0GONE", ADA, "U0GUEST", "a@example.com", GRACE)
    assert announced.not_mentioned == (
        "U0GONE: no such user",
        "U0GUEST: may not use the bot",
        "a@example.com: the Slack app has no scope users:read.email",
        "U0GRACE: may not use the bot",
    )
    (card,) = stage.card_repository.rows.values()
    assert card.people == (ADA,)


async def test_announcement_outlives_all_it_mentions() -> None:
    stage = Announcing()
    stage.directory.people[UserId("U0GONE")] = NotAllowedHere("user_not_found")
    assert (await stage.announce("U0GONE")).is_new
    (card,) = stage.card_repository.rows.values()
    assert card.people == () and card.followers == (API_CLIENT,)


async def test_silent_slack_is_unavailable() -> None:
    stage = Announcing()
    stage.directory.error = OutcomeUnknown("internal_error")
    assert (await stage.refusal())[0] is Problem.UNAVAILABLE
    assert stage.card_repository.writes == []


async def test_database_down_is_unavailable() -> None:
    stage = Announcing()
    stage.card_repository.error = StoreUnavailable("gone")
    assert (await stage.refusal())[0] is Problem.UNAVAILABLE


async def test_late_card_is_accepted() -> None:
    stage = Announcing()
    stage.post = stage.be_late
    started = asyncio.get_running_loop().time()
    announced = await stage.announce()
    assert asyncio.get_running_loop().time() - started == pytest.approx(POSTED_WITHIN_SECONDS)
    assert announced.card in stage.card_repository.rows


@pytest.mark.parametrize(
    "error, problem",
    [(JobNotFound("404"), Problem.UNKNOWN_JOB), (KeyRefused("401"), Problem.UNAVAILABLE)],
)
async def test_unknown_job_leaves_nothing(
    error: JobNotFound | KeyRefused, problem: AnnouncementProblem
) -> None:
    stage = Stage(error)
    async with tracked(stage) as service:
        with pytest.raises(AnnouncementRefused) as refused:
            await service.announce(Announcement(JOB, HERE, mentions=(ADA,)))
        await stage.report_failures()
    assert refused.value.problem is problem
    assert stage.card_repository.rows == {} and stage.fake_slack.posted == {}, "the program was told, not Ada"


async def test_another_users_follow_of_unknown_job_is_still_reported() -> None:
    stage = Stage(JobNotFound("404"), a_card())
    async with tracked(stage) as service:
        with pytest.raises(AnnouncementRefused):
            await service.announce(Announcement(JOB, HERE))
        await stage.report_failures()
    (posted,) = stage.fake_slack.posted.values()
    assert posted.place.id == f"D{ADA}"


@pytest.mark.parametrize(
    "code, problem",
    [
        ("not_in_channel", Problem.BOT_NOT_IN_CHANNEL),
        ("is_archived", Problem.CHANNEL_ARCHIVED),
        ("restricted_action", Problem.POST_REFUSED),
        ("team_access_not_granted", Problem.POST_REFUSED),
    ],
)
async def test_channel_closed_to_posts_is_refused(code: str, problem: Problem) -> None:
    stage = Stage(a_job())
    stage.fake_slack.plan("post", NotAllowedHere(code))
    async with tracked(stage) as service:
        with pytest.raises(AnnouncementRefused) as refused:
            await service.announce(Announcement(JOB, HERE))
    assert refused.value.problem is problem
    assert (code in str(refused.value)) is (problem is Problem.POST_REFUSED)
    assert stage.card_repository.rows == {}


async def test_mentioned_users_get_the_card_of_a_closed_channel() -> None:
    stage = Stage(a_job())
    stage.fake_slack.closed.add(HERE)
    async with tracked(stage) as service:
        await service.announce(Announcement(JOB, HERE, mentions=(ADA, GRACE)))
        await asyncio.sleep(5)
        assert {posted.place.id for posted in stage.fake_slack.posted.values()} == {f"D{ADA}", f"D{GRACE}"}
        stage.says(JobState.FAILED)
        await asyncio.sleep(30)
    assert stage.all_closed()


async def test_card_lost_later_is_logged() -> None:
    stage = Stage(JobNotFound("404"))
    stage.card_repository.rows[CardId("late")] = replace(
        a_card("late", user=API_CLIENT), closed_at=now(), failure=CardFailure.NO_SUCH_JOB
    )
    with capture_logs() as logs:
        await stage.report_failures()
    assert [(line["card"], line["why"]) for line in logs if line["log_level"] == "warning"] == [
        ("late", "NO_SUCH_JOB")
    ]
    assert stage.card_repository.rows == {} and stage.fake_slack.posted == {}


async def test_last_person_leaving_keeps_the_card() -> None:
    stage = Stage(a_job())
    async with tracked(stage) as service:
        announced = await service.announce(Announcement(JOB, HERE, mentions=(ADA,)))
        await asyncio.sleep(5)
        await stage.card_repository.unfollow(announced.card, ADA)
        await asyncio.sleep(5)
        stage.says(JobState.COMPLETE, answer="The answer.")
        await asyncio.sleep(60)
    assert "The answer." in stage.shown()[0] and stage.told() == [] and stage.all_closed()
