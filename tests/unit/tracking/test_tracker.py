"""One job, its cards and its people, in virtual time: what Omni is asked and what Slack holds."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from bot.delivery.outcomes import CardPlacement
from bot.domain.cards import CardFailure, ChannelId, ChannelRef, TeamId, UserId
from bot.domain.errors import (
    JobNotFound,
    KeyRefused,
    MessageGone,
    OmniBusy,
    OmniError,
    OmniUnreachable,
    OutcomeUnknown,
    ScopeMissing,
    StoreUnavailable,
)
from bot.domain.jobs import Job, JobState, Progress
from bot.domain.results import JobResult
from bot.tracking.tracked_job import PATIENCE_SECONDS
from bot.user_limit import acting_user
from tests.support.fakes import ADA, GRACE, HERE, JOB, START, a_card, a_job, now
from tests.support.tracking import FOREIGN, Stage

pytestmark = pytest.mark.looptime


async def test_job_is_polled_until_it_ends() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(20)
        stage.says(JobState.COMPLETE, answer="The answer.")
        await asyncio.sleep(10)
        asked = len(stage.omni.asked)
        await asyncio.sleep(600)
    assert len(stage.omni.asked) == asked
    assert stage.all_closed()
    assert "The answer." in stage.shown()[0]


async def test_answer_missing_in_status_is_read_from_result() -> None:
    stage = Stage(a_job(JobState.COMPLETE), a_card())
    stage.omni.found.append(JobResult(message="### The real answer"))
    stage.omni.found[0] = OmniUnreachable("500")
    async with stage.bot():
        await asyncio.sleep(30)
    assert len(stage.omni.looked) == 2
    assert "The real answer" in stage.shown()[0]


@pytest.mark.parametrize("error", [JobNotFound("404"), KeyRefused("403"), OmniUnreachable("500")])
async def test_job_without_any_result_still_ends(error: OmniError) -> None:
    stage = Stage(a_job(JobState.COMPLETE), a_card())
    stage.omni.found[0] = error
    async with stage.bot():
        await asyncio.sleep(120)
    assert stage.all_closed()
    assert "without a written answer" in stage.shown()[0]
    assert len(stage.omni.looked) == (4 if isinstance(error, OmniUnreachable) else 1)


async def test_polls_are_two_seconds_apart() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(60)
    times = [time for time, _ in stage.omni.asked]
    assert all(later - sooner >= 2.0 for sooner, later in pairwise(times))
    assert len(times) > 15


async def test_first_poll_is_interactive_unless_restarted() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
    async with stage.bot():
        await asyncio.sleep(1)
    urgent = [urgent for _, urgent in stage.omni.asked]
    assert urgent[0]
    assert not any(urgent[1:])


async def test_cards_of_one_job_share_polls() -> None:
    places = [ChannelRef(TeamId("T0"), ChannelId(f"C{number}")) for number in range(50)]
    stage = Stage(a_job(), *(a_card(f"watch{number}", place) for number, place in enumerate(places)))
    async with stage.bot():
        await asyncio.sleep(30)
    assert len(stage.omni.asked) <= 16
    assert all(len(stage.fake_slack.top_level(place)) == 1 for place in places)


async def test_unchanged_job_costs_no_edit_or_write() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        writes = list(stage.card_repository.writes)
        await asyncio.sleep(600)
    assert stage.fake_slack.times("update") == []
    assert stage.card_repository.writes == writes == ["claim", "mark_post_started", "mark_posted"]


async def test_slow_omni_delays_card_only_briefly() -> None:
    stage = Stage(a_job(), a_card())
    stage.omni.delay_seconds = 8
    async with stage.bot():
        await asyncio.sleep(PATIENCE_SECONDS + 0.5)
        assert stage.shown() == ["Looking up the job in Omni."]
        await asyncio.sleep(10)
    assert "Omni is working on it" in stage.shown()[0]


async def test_unknown_job_is_reported_without_card() -> None:
    stage = Stage(JobNotFound("404"), a_card())
    waiting = stage.expects(a_card().id)
    async with stage.bot():
        assert (await waiting).result is CardFailure.NO_SUCH_JOB
    assert stage.fake_slack.posted == {}
    assert stage.all_closed()


async def test_refused_key_is_reported_without_card() -> None:
    stage = Stage(KeyRefused("401"), a_card())
    waiting = stage.expects(a_card().id)
    async with stage.bot():
        assert (await waiting).result is CardFailure.KEY_REFUSED
    assert stage.fake_slack.posted == {}


@pytest.mark.parametrize("trouble", [OmniBusy("429"), OmniUnreachable("500"), KeyRefused("401")])
async def test_lasting_trouble_is_shown_and_ends_nothing(trouble: OmniError) -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        stage.omni.answer = trouble
        await asyncio.sleep(45)
        assert stage.fake_slack.times("update") == []
        await asyncio.sleep(180)
        assert "⚠️" in stage.shown()[0]
        stage.says(JobState.COMPLETE, answer="The answer.")
        await asyncio.sleep(70)
    assert "The answer." in stage.shown()[0]
    assert stage.all_closed()


async def test_failures_are_asked_about_less_and_less_often() -> None:
    stage = Stage(OmniUnreachable("500"), a_card())
    async with stage.bot():
        await asyncio.sleep(600)
    assert len(stage.omni.asked) < 20


async def test_one_404_of_seen_job_ends_nothing() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        stage.omni.answer = JobNotFound("404")
        await asyncio.sleep(10)
        stage.says(JobState.EXECUTING)
        await asyncio.sleep(30)
        assert not stage.all_closed()
        stage.omni.answer = JobNotFound("404")
        await asyncio.sleep(290)
        assert not stage.all_closed()
        await asyncio.sleep(150)
    assert stage.all_closed()
    assert "no longer knows this job" in stage.shown()[0]
    assert len(stage.told()) == 1


async def test_failure_notifies_once_despite_restarts() -> None:
    stage = Stage(a_job(JobState.FAILED), a_card())
    for _ in range(5):
        async with stage.bot() as runner:
            await runner.start(JOB)
            await asyncio.sleep(30)
    assert len(stage.told()) == 1
    assert stage.told()[0].startswith(f"<@{ADA}>:")


@pytest.mark.parametrize("stop_after_seconds", [0.0, 0.001, 1.0, 2.0, 5.0, 11.0, 13.0])
async def test_restart_during_unanswered_reply_leaves_one(
    stop_after_seconds: float,
) -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        stage.fake_slack.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
        stage.says(JobState.FAILED)
        while not stage.told():
            await asyncio.sleep(0.1)
        await asyncio.sleep(stop_after_seconds)
    async with stage.bot():
        await asyncio.sleep(60)
    assert len(stage.told()) == 1
    assert stage.all_closed()


async def test_unsearchable_reply_is_repeated_at_most_once() -> None:
    stage = Stage(a_job(JobState.FAILED), a_card())
    stage.fake_slack.plan("find", *[ScopeMissing("missing_scope")] * 10)
    async with stage.bot():
        await asyncio.sleep(5)
    (card,) = stage.card_repository.rows.values()
    stage.card_repository.rows[card.id] = replace(card, completion_reply_ts=None, closed_at=None)
    async with stage.bot():
        await asyncio.sleep(60)
    assert len(stage.told()) == 2
    assert stage.all_closed()


async def test_only_slow_answers_notify_followers() -> None:
    for seconds, replies in ((20, 0), (40, 1)):
        stage = Stage(a_job(), replace(a_card(), requested_at=now(), followers=(ADA, GRACE)))
        async with stage.bot():
            await asyncio.sleep(seconds)
            stage.says(JobState.COMPLETE, answer="The answer.")
            await asyncio.sleep(20)
        assert len(stage.told()) == replies
        assert all(f"<@{ADA}> <@{GRACE}>" in text for text in stage.told())


async def test_late_follower_is_notified() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        stage.says(JobState.FAILED)
        stage.fake_slack.on_update = lambda: stage.card_repository.let_follow(a_card().id, ADA, GRACE)
        await asyncio.sleep(20)
    assert f"<@{GRACE}>" in stage.told()[0]


async def test_card_added_while_finishing_is_finished() -> None:
    stage = Stage(a_job(JobState.FAILED), a_card())
    async with stage.bot() as runner:
        while not stage.fake_slack.posted:
            await asyncio.sleep(0)
        await stage.card_repository.add(a_card("other", FOREIGN, GRACE))
        await runner.start(JOB)
        await asyncio.sleep(30)
    assert len(stage.fake_slack.top_level(FOREIGN)) == 1
    assert stage.all_closed()
    assert len(stage.omni.asked) == 1


async def test_card_added_at_any_step_is_finished() -> None:
    for steps in range(60):
        stage = Stage(a_job(JobState.COMPLETE, answer="The answer."), a_card())
        async with stage.bot() as runner:
            for _ in range(steps):
                await asyncio.sleep(0)
            await stage.card_repository.add(a_card("other", FOREIGN, GRACE))
            await runner.start(JOB)
            await asyncio.sleep(30)
        assert stage.all_closed(), f"lost when it came after {steps} steps"
        assert len(stage.fake_slack.top_level(FOREIGN)) == 1


async def test_deleted_card_is_posted_anew_at_end() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        stage.fake_slack.posted.clear()
        stage.says(JobState.EXECUTING, progress=Progress("Thinking", 2))
        await asyncio.sleep(10)
        assert stage.fake_slack.posted == {}
        stage.says(JobState.FAILED)
        await asyncio.sleep(20)
    assert len(stage.shown()) == 1
    assert len(stage.told()) == 1
    assert stage.all_closed()


async def test_closed_channel_moves_cards_to_direct_messages() -> None:
    stage = Stage(a_job(JobState.FAILED), replace(a_card("watch", FOREIGN), followers=(ADA, GRACE)))
    stage.fake_slack.closed.add(FOREIGN)
    waiting = stage.expects(a_card().id)
    async with stage.bot():
        assert (await waiting).result is CardPlacement.MOVED
        await asyncio.sleep(20)
    for person in (ADA, GRACE):
        direct = ChannelRef(FOREIGN.team, ChannelId(f"D{person}"))
        assert len(stage.fake_slack.top_level(direct)) == 1
    assert sorted(text.split(">")[0] for text in stage.told()) == [f"<@{ADA}", f"<@{GRACE}"]
    assert stage.all_closed()


async def test_unreachable_user_fails_and_card_is_removed() -> None:
    direct = ChannelRef(HERE.team, ChannelId(f"D{ADA}"))
    stage = Stage(a_job(), a_card("watch", direct))
    stage.fake_slack.closed.add(direct)
    waiting = stage.expects(a_card().id)
    async with stage.bot():
        assert (await waiting).result is CardFailure.NOWHERE
    assert stage.all_closed()


async def test_gone_thread_posts_end_as_new_card() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        stage.fake_slack.plan("post", MessageGone("thread_not_found"))
        stage.says(JobState.FAILED)
        await asyncio.sleep(30)
    assert len(stage.told()) == 1
    assert stage.all_closed()


async def test_database_outage_loses_nothing() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        stage.card_repository.error = StoreUnavailable("away")
        stage.says(JobState.FAILED)
        await asyncio.sleep(60)
        stage.card_repository.error = None
        await asyncio.sleep(30)
    assert len(stage.shown()) == 1
    assert len(stage.told()) == 1
    assert stage.all_closed()


async def test_restart_keeps_card_until_first_poll() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
    stage.omni.answer = OmniUnreachable("500")
    async with stage.bot():
        await asyncio.sleep(30)
        assert stage.fake_slack.times("update") == []
        stage.says(JobState.COMPLETE, answer="The answer.")
        await asyncio.sleep(60)
    assert "The answer." in stage.shown()[0]


async def test_defect_affects_one_card_only(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(a_job(JobState.FAILED), a_card(), a_card("other", FOREIGN, GRACE))
    stage.fake_slack.plan("post", ZeroDivisionError())  # type: ignore[arg-type]
    async with stage.bot():
        await asyncio.sleep(60)
    assert stage.all_closed()
    assert len(stage.told()) == 2


@pytest.mark.parametrize(
    "job, seconds",
    [
        (a_job(created_at=START), 2.0),
        (a_job(created_at=START - timedelta(minutes=2)), 3.0),
        (a_job(created_at=START - timedelta(hours=2)), 5.0),
        (a_job(created_at=START - timedelta(hours=2), execution_started_at=START), 2.0),
        (a_job(JobState.QUEUED, created_at=START - timedelta(hours=2)), 5.0),
        (a_job(created_at=None), 2.0),
    ],
    ids=["new", "minutes old", "hours old", "just begun", "queued for hours", "of unknown age"],
)
async def test_poll_interval_follows_the_age(job: Job, seconds: float) -> None:
    stage = Stage(job, a_card())
    stage.omni.delay_seconds = 0.5
    async with stage.bot():
        await asyncio.sleep(30)
    times = [time for time, _ in stage.omni.asked]
    assert [later - sooner for sooner, later in pairwise(times)] == pytest.approx(
        [seconds] * (len(times) - 1)
    )
    assert len(times) == 30 // seconds + 1


async def test_delivering_is_not_shown_right_before_the_end() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        stage.says(JobState.DELIVERING)
        await asyncio.sleep(4)
        stage.says(JobState.COMPLETE, answer="The answer.")
        await asyncio.sleep(10)
    assert len(stage.fake_slack.times("update")) == 1
    assert "The answer." in stage.shown()[0]


async def test_delivering_that_lasts_is_shown() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        stage.says(JobState.DELIVERING)
        await asyncio.sleep(8)
        assert len(stage.fake_slack.times("update")) == 1


async def test_duration_of_ended_job_is_learned() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        stage.says(
            JobState.COMPLETE,
            answer="An answer.",
            created_at=START,
            completed_at=START + timedelta(seconds=7),
        )
        await asyncio.sleep(120)
    assert stage.durations.rows == {JOB: 7.0}


async def test_new_card_of_tracked_job_appears_at_once() -> None:
    stage = Stage(a_job(created_at=START - timedelta(hours=2)), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(11)
        asked = len(stage.omni.asked)
        await stage.card_repository.add(a_card("other", FOREIGN, GRACE))
        await runner.start(JOB)
        await asyncio.sleep(1)
        assert len(stage.fake_slack.top_level(FOREIGN)) == 1
    assert len(stage.omni.asked) == asked


async def test_reported_failure_is_not_reported_again() -> None:
    stage = Stage(a_job(JobState.FAILED), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(10)
        await stage.card_repository.add(a_card("later", HERE, GRACE))
        await runner.start(JOB)
        await asyncio.sleep(10)
    assert len(stage.shown()) == len(stage.told()) == 1
    assert stage.fake_slack.times("find") == []
    assert stage.all_closed()


async def test_unfollowed_card_ends_polling() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(10)
        stage.card_repository.let_follow(a_card().id)
        await runner.start(JOB)
        await asyncio.sleep(10)
        asked = len(stage.omni.asked)
        await asyncio.sleep(100)
    assert "no longer follows" in stage.shown()[0]
    assert stage.all_closed()
    assert len(stage.omni.asked) == asked


async def test_new_follower_keeps_closing_card_open() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(10)
        stage.card_repository.let_follow(a_card().id)
        stage.fake_slack.on_update = lambda: stage.card_repository.let_follow(a_card().id, GRACE)
        await runner.start(JOB)
        await asyncio.sleep(20)
        assert "Omni is working on it" in stage.shown()[0]
    assert not stage.all_closed()


async def test_delay_of_end_is_measured_once() -> None:
    stage = Stage(a_job(), a_card(), a_card("other", FOREIGN))
    async with stage.bot():
        await asyncio.sleep(20)
        ended_at = now()
        stage.says(JobState.COMPLETE, answer="The answer.", completed_at=ended_at)
        await asyncio.sleep(60)
    assert stage.all_closed()
    first, second = stage.meter.ends
    shown = [
        (posted.edits[-1][0]) for posted in stage.fake_slack.top_level() + stage.fake_slack.top_level(FOREIGN)
    ]
    assert sorted([first, second]) == pytest.approx(sorted(at - 20 for at in shown), abs=0.01)

    async with stage.bot():
        await asyncio.sleep(60)
    assert len(stage.meter.ends) == 2


@pytest.mark.parametrize(
    "state, when", [(JobState.FAILED, "completed_at"), (JobState.CANCELLED, "cancelled_at")]
)
async def test_however_a_job_ends_the_delay_is_counted(state: JobState, when: str) -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(20)
        stage.says(state, **{when: now()})
        await asyncio.sleep(60)
    assert len(stage.meter.ends) == 1


async def test_end_before_command_is_not_measured() -> None:
    long_ago = START - timedelta(days=1)
    stage = Stage(a_job(JobState.COMPLETE, answer="The answer.", completed_at=long_ago), a_card())
    async with stage.bot():
        await asyncio.sleep(60)
    assert stage.all_closed() and stage.meter.ends == []


async def test_end_before_a_later_follow_is_not_counted() -> None:
    asked_at = START - timedelta(days=1)
    again = replace(a_card(), requested_at=asked_at, resumed_at=START)
    ended_at = START - timedelta(hours=1)
    stage = Stage(a_job(JobState.COMPLETE, answer="The answer.", completed_at=ended_at), again)
    async with stage.bot():
        await asyncio.sleep(60)
    assert stage.all_closed() and stage.meter.ends == []


async def test_end_on_first_card_is_measured() -> None:
    stage = Stage(a_job(), a_card())
    stage.says(JobState.COMPLETE, answer="The answer.", completed_at=START)
    async with stage.bot():
        await asyncio.sleep(60)
    assert len(stage.meter.ends) == 1


async def test_measured_delay_is_never_negative() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(20)
        stage.says(JobState.COMPLETE, answer="The answer.", completed_at=now() + timedelta(hours=1))
        await asyncio.sleep(60)
    assert stage.meter.ends == [0.0]


async def test_tracker_returns_states_of_its_jobs() -> None:
    stage = Stage(OmniUnreachable("no"), a_card())
    async with stage.bot():
        await asyncio.sleep(1)
        assert stage.states() == [None]
        stage.says(JobState.EXECUTING)
        await asyncio.sleep(30)
        assert stage.states() == [JobState.EXECUTING]
        stage.says(JobState.COMPLETE, answer="The answer.")
        await asyncio.sleep(60)
        assert stage.states() == []


async def test_first_look_counts_as_the_requesters() -> None:
    stage = Stage(a_job(), a_card(user=GRACE))
    whose: list[UserId | None] = []
    stage.omni.on_asked = lambda: whose.append(acting_user.get())
    acting_user.set(ADA)
    async with stage.bot():
        await asyncio.sleep(20)
    assert whose[0] == GRACE and len(whose) > 2 and set(whose[1:]) == {None}


@pytest.mark.parametrize("chat_url", [None, "http://acme.omniapp.co/chat/1", "/other/1"])
async def test_chat_without_link_is_logged(chat_url: str | None) -> None:
    stage = Stage(a_job(JobState.COMPLETE, chat_url=chat_url), a_card())
    with capture_logs() as logged:
        async with stage.bot():
            await asyncio.sleep(10)
    (line,) = [line for line in logged if line["event"] == "chat not linked"]
    assert (line["log_level"], line["job"]) == ("warning", JOB)


async def test_chat_on_another_host_is_linked_without_a_warning() -> None:
    stage = Stage(a_job(JobState.COMPLETE, chat_url="https://acme.eu.omni.co/chat/1"), a_card())
    with capture_logs() as logged:
        async with stage.bot():
            await asyncio.sleep(10)
    assert not [line for line in logged if line["event"] == "chat not linked"]
    (card,) = stage.fake_slack.top_level()
    assert "https://acme.eu.omni.co/chat/1" in str(card.message.blocks)
