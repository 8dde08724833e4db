"""Questions, follow-ups and retries in virtual time: submitted at most once, and never lost silently."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs

from bot.delivery.direct_messages import SETTLED_AFTER_SECONDS, InterruptedRequest, Reply
from bot.domain.cards import CardId, ChannelRef, MessageTs, UserId
from bot.domain.errors import (
    AskRefused,
    ConversationBusy,
    JobNotFound,
    KeyRefused,
    NotAllowedHere,
    OmniBusy,
    OmniError,
    OmniUnreachable,
    OutcomeUnknown,
    Refused,
    ScopeMissing,
    SlackUnreachable,
    StoreUnavailable,
    SubmitOutcomeUnknown,
)
from bot.domain.jobs import EventKind, JobEvent, JobId, JobState
from bot.domain.messages import Message
from bot.domain.questions import (
    ChannelDefault,
    ModelId,
    OmniUserId,
    PendingQuestion,
    Question,
    QuestionId,
    Submitted,
    Webhook,
)
from bot.rendering import ask_replies, replies
from bot.rendering.blocks import TRY_AGAIN, TRY_AGAIN_PRIVATELY
from bot.services.ask import AskRequest
from bot.services.intents import SavedRequest
from bot.services.submission import CONVERSATION_POLL_SECONDS, LONGEST_WAIT_SECONDS, UNKNOWN_JOB_SECONDS
from bot.tracking.events import JobEventBus
from bot.tracking.recovery import ORPHANED_AFTER
from tests.support.ask_world import (
    CARD,
    CHAT,
    DEFAULT,
    OLD,
    OLD_JOB,
    OLD_MODEL,
    AskWorld,
    Services,
    direct,
    old_card,
    said,
)
from tests.support.fakes import ADA, GRACE, HERE, JOB, START, Posted, a_card, now
from tests.support.fakes import CHAT as NEW_CHAT
from tests.support.tracking import outcome_of

pytestmark = pytest.mark.looptime

QUESTION = "Top products?"
CERTAIN = [AskRefused(404), KeyRefused("401"), OmniBusy("429"), OmniUnreachable("no connection")]
Doing = Callable[[Services], Awaitable[Message | None]]


async def ask(
    services: Services, *, user: UserId = ADA, channel: ChannelRef = HERE, **more: object
) -> Message | None:
    return await services.ask.ask(AskRequest(QUESTION, **more), channel, user)  # type: ignore[arg-type]


async def follow_up(services: Services) -> Message | None:
    return await services.ask.follow_up(AskRequest(QUESTION), OLD, HERE, CARD, ADA)


async def retry(services: Services) -> Message | None:
    return await services.ask.retry(OLD, HERE, CARD, ADA)


# Asking


async def test_question_is_submitted_once_and_answered() -> None:
    stage = AskWorld()
    async with stage.bot() as services:
        saved = await services.ask_service.ask(AskRequest(f" {QUESTION} "), HERE, ADA)
        assert isinstance(saved, SavedRequest) and len(stage.questions.rows) == 1
        line = await saved.outcome()
        stage.omni.says(JOB, JobState.COMPLETE, answer="42")
        await asyncio.sleep(60)
    assert line is None
    assert stage.asking.submitted == [Question(QUESTION, DEFAULT)]
    (card,) = stage.fake_slack.top_level()
    assert "42" in card.message.text
    (stored,) = stage.card_repository.rows.values()
    assert (stored.requester, stored.asked_by_bot, stored.ended) == (ADA, True, True)
    (row,) = stage.questions.rows.values()
    assert row.job == JOB


@pytest.mark.parametrize("doing", [ask, follow_up, retry], ids=["ask", "follow up", "retry"])
async def test_question_is_stored_before_any_lookup(doing: Doing) -> None:
    stage = old_card(JobState.FAILED)
    stage.access.looks_up_for_seconds = 60.0
    async with stage.bot() as services:
        asking = asyncio.ensure_future(doing(services))
        await asyncio.sleep(1)
        assert [(row.user, row.channel) for row in stage.questions.rows.values()] == [(ADA, HERE)]
        assert said(await asking) == replies.omni_busy()
    assert stage.questions.rows == {} and stage.asking.submitted == []


@pytest.mark.parametrize("is_told", [True, False])
async def test_interrupted_lookup_is_reported_once(
    is_told: bool,
) -> None:
    """By the stopping process, or else by recovery, but not by both."""
    stage = AskWorld()
    stage.access.looks_up_for_seconds = 60.0
    async with stage.bot() as services:
        asking = asyncio.create_task(ask(services))
        await asyncio.sleep(1)
        asking.cancel()
        with pytest.raises(InterruptedRequest) as interrupted:
            await asking
        if is_told:
            await interrupted.value.on_delivered()
    assert len(stage.questions.rows) == (0 if is_told else 1)
    await asyncio.sleep(ORPHANED_AFTER.total_seconds())
    await stage.report_interrupted()
    assert stage.told() == ([] if is_told else [ask_replies.interrupted()])


async def test_card_with_webhook_needs_no_poll() -> None:
    stage = AskWorld()
    stage.events = JobEventBus(lambda ask: Webhook(f"https://jobs.example.com/{ask}", "secret"))
    async with stage.bot() as services:
        await ask(services)
        await asyncio.sleep(1)
        (card,) = stage.fake_slack.top_level()
        assert "Queued in Omni" in card.message.text and stage.omni.polled == []
        stage.omni.says(JOB, JobState.COMPLETE, answer="42")
        stage.events.publish(JOB, JobEvent(EventKind.ENDED, 0.0))
        await asyncio.sleep(5)
        assert "42" in card.message.text
    ((question, row),) = zip(stage.asking.submitted, stage.questions.rows, strict=True)
    assert question.webhook == Webhook(f"https://jobs.example.com/{row}", "secret")
    assert len(stage.omni.polled) == 1


async def test_question_is_stored_before_submission() -> None:
    stage = AskWorld()
    held: list[int] = []
    stage.asking.on_submit = lambda: held.append(len(stage.questions.rows))
    async with stage.bot() as services:
        await ask(services)
    assert held == [1]


async def test_prompt_is_never_stored() -> None:
    stage = AskWorld()
    async with stage.bot() as services:
        await ask(services)
    assert QUESTION not in repr(stage.questions.rows)


@pytest.mark.parametrize(
    "chosen, last, default, asked",
    [
        ("chosen", "last", DEFAULT, "chosen"),
        (None, "last", DEFAULT, "last"),
        (None, None, DEFAULT, DEFAULT),
        (None, None, None, None),
    ],
)
async def test_model_is_chosen_or_last_or_default(
    chosen: str | None, last: str | None, default: ModelId | None, asked: str | None
) -> None:
    stage = AskWorld()
    stage.default_model = default
    if last:
        earlier = PendingQuestion(
            QuestionId("earlier"), HERE, ADA, START, START, model=ModelId(last), job=JobId("x")
        )
        stage.questions.rows[earlier.id] = earlier
    async with stage.bot() as services:
        line = await ask(services, model=ModelId(chosen) if chosen else None, topic="orders")
    assert [question.model for question in stage.asking.submitted] == ([asked] if asked else [])
    assert [question.topic for question in stage.asking.submitted] == (["orders"] if asked else [])
    assert said(line) == ("" if asked else ask_replies.no_model())


@pytest.mark.parametrize(
    "chosen, topic, asked",
    [
        (None, None, ("channel's", "tickets")),
        (None, "orders", ("channel's", "orders")),
        ("chosen", None, ("chosen", None)),
    ],
)
async def test_channels_model_precedes_the_last_one(
    chosen: str | None, topic: str | None, asked: tuple[str, str | None]
) -> None:
    stage = AskWorld()
    stage.channel_defaults.rows[HERE.id] = ChannelDefault(ModelId("channel's"), "tickets")
    earlier = PendingQuestion(
        QuestionId("earlier"), HERE, ADA, START, START, model=ModelId("last"), job=JobId("x")
    )
    stage.questions.rows[earlier.id] = earlier
    async with stage.bot() as services:
        await ask(services, model=ModelId(chosen) if chosen else None, topic=topic)
    assert [(question.model, question.topic) for question in stage.asking.submitted] == [asked]


@pytest.mark.parametrize(
    "user, model, where, is_set",
    [
        (ADA, "chosen", HERE, True),
        (GRACE, "chosen", HERE, False),
        (ADA, None, HERE, False),
        (ADA, "chosen", direct(ADA), False),
    ],
    ids=["admin", "another user", "no model", "direct messages"],
)
async def test_admins_alone_set_a_channels_model(
    user: UserId, model: str | None, where: ChannelRef, is_set: bool
) -> None:
    stage = AskWorld()
    stage.access.admins = {ADA}
    chosen = ModelId(model) if model else None
    request = AskRequest(QUESTION, chosen, "tickets", for_channel=True)
    async with stage.bot() as desks:
        with capture_logs() as logs:
            reply = await desks.ask.ask(request, where, user)
    audited = [line["outcome"] for line in logs if line.get("act") == "set channel default"]
    assert audited == ["set" if is_set else "refused"]
    assert said(reply) == ("" if is_set else ask_replies.no_channel_default())
    assert stage.channel_defaults.rows == (
        {HERE.id: ChannelDefault(ModelId("chosen"), "tickets")} if is_set else {}
    )
    assert len(stage.asking.submitted) == is_set


async def test_question_is_not_asked_where_the_default_is_unknown() -> None:
    stage = AskWorld()
    stage.channel_defaults.error = StoreUnavailable("away")
    async with stage.bot() as desks:
        reply = await ask(desks)
    assert said(reply) == replies.storage_down() and stage.asking.submitted == []


async def test_question_runs_as_the_users_omni_user() -> None:
    stage = AskWorld()
    stage.access.omni_user = OmniUserId("ada in omni")
    async with stage.bot() as services:
        await ask(services)
    assert stage.asking.submitted[0].as_user == "ada in omni"


@pytest.mark.parametrize("why", ["wished", "shared"])
async def test_private_or_shared_card_goes_to_dm(why: str) -> None:
    stage = AskWorld()
    stage.access.shared = {HERE} if why == "shared" else set()
    async with stage.bot() as services:
        line = await ask(services, private=why == "wished")
    assert stage.threads() == [(direct(ADA).id, None)]
    assert "to your DMs" in said(line)


async def test_job_not_found_at_first_gets_a_card() -> None:
    stage = AskWorld()
    stage.omni.jobs[JOB] = JobNotFound("404")
    async with stage.bot() as services:
        assert await ask(services) is None
        stage.omni.says(JOB, JobState.COMPLETE, answer="42")
        await asyncio.sleep(60)
    assert "42" in stage.fake_slack.top_level()[0].message.text


# Refusals


@pytest.mark.parametrize("doing", [ask, follow_up, retry], ids=["ask", "follow up", "retry"])
@pytest.mark.parametrize("why", ["refused", "limited"])
async def test_denied_user_causes_no_request(doing: Doing, why: str) -> None:
    stage = old_card(JobState.FAILED)
    getattr(stage.access, why)[ADA] = "No."
    async with stage.bot() as services:
        assert said(await doing(services)) == "No."
    assert stage.asking.submitted == [] and stage.questions.rows == {} and stage.omni.polled == []


@pytest.mark.parametrize(
    "error, line",
    [
        (Refused("No user."), "No user."),
        (Refused(replies.identity_unavailable()), replies.identity_unavailable()),
        (OmniUnreachable("down"), replies.omni_down()),
    ],
    ids=["no user", "unknown", "down"],
)
@pytest.mark.parametrize("doing", [ask, follow_up, retry], ids=["ask", "follow up", "retry"])
async def test_unknown_omni_user_submits_nothing(doing: Doing, error: Exception, line: str) -> None:
    stage = old_card(JobState.FAILED)
    stage.access.omni_user = error
    async with stage.bot() as services:
        assert said(await doing(services)) == line
    assert stage.asking.submitted == [] and stage.questions.rows == {}
    assert stage.card_repository.rows[OLD].retried_by is None


@pytest.mark.parametrize("doing", [follow_up, retry], ids=["follow up", "retry"])
async def test_hidden_job_cannot_be_continued(doing: Doing) -> None:
    stage = old_card(JobState.FAILED)
    stage.access.hidden = {ADA}
    async with stage.bot() as services:
        assert said(await doing(services)) == replies.no_such_job()
    assert stage.asking.submitted == []


async def test_empty_question_is_not_submitted() -> None:
    stage = old_card()
    async with stage.bot() as services:
        for line in (
            await services.ask.ask(AskRequest("  \n"), HERE, ADA),
            await services.ask.follow_up(AskRequest(" "), OLD, HERE, CARD, ADA),
            await services.ask.follow_up_in_thread(AskRequest(""), HERE, CARD, ADA),
        ):
            assert said(line) == ask_replies.usage()
    assert stage.asking.submitted == []


@pytest.mark.parametrize("doing", ["follow_up", "retry"])
@pytest.mark.parametrize(
    "card_id, channel, message_ts",
    [
        (CardId("forged"), HERE, CARD),
        (OLD, direct(GRACE), CARD),
        (OLD, HERE, MessageTs("7.0")),
        (CardId(""), HERE, MessageTs("")),
    ],
)
async def test_forged_button_does_nothing(
    doing: str, card_id: CardId, channel: ChannelRef, message_ts: MessageTs
) -> None:
    stage = old_card(JobState.FAILED)
    async with stage.bot() as services:
        if doing == "retry":
            line = await services.ask.retry(card_id, channel, message_ts, ADA)
        else:
            line = await services.ask.follow_up(AskRequest(QUESTION), card_id, channel, message_ts, ADA)
    assert said(line) == replies.nothing_to_show_here()
    assert stage.asking.submitted == [] and stage.omni.polled == []


# Outcomes of the submission


@pytest.mark.parametrize("error", CERTAIN, ids=lambda error: type(error).__name__)
async def test_rejected_question_is_reported_and_deleted(error: OmniError) -> None:
    stage = AskWorld()
    stage.asking.answers[0] = error
    async with stage.bot() as services:
        assert said(await ask(services)) == ask_replies.rejected(error)
    assert stage.questions.rows == {} and stage.card_repository.rows == {} and stage.fake_slack.posted == {}
    assert len(stage.asking.submitted) == 1


async def test_rate_limit_storage_down_submits_nothing() -> None:
    stage = AskWorld()

    async def submit(question: Question) -> Submitted:
        raise StoreUnavailable("away")

    stage.asking.submit = submit  # type: ignore[method-assign]
    async with stage.bot() as services:
        assert said(await ask(services)) == replies.storage_down()
    assert stage.questions.rows == {}


async def test_unknown_outcome_is_never_resubmitted() -> None:
    stage = AskWorld()
    stage.asking.answers[0] = SubmitOutcomeUnknown("timeout")
    async with stage.bot() as services:
        line = await ask(services)
        await asyncio.sleep(600)
        await stage.report_interrupted()
    assert line is not None and "whether it accepted" in line.text
    (button,) = line.blocks[1]["elements"]
    assert (button["action_id"], button["value"]) == (TRY_AGAIN, QUESTION)
    assert len(stage.asking.submitted) == 1
    assert stage.told() == []  # once is enough
    assert await stage.questions.count(HERE.team, ADA, START) == 1


async def test_long_question_has_no_try_again_button() -> None:
    stage = AskWorld()
    stage.asking.answers[0] = SubmitOutcomeUnknown("timeout")
    async with stage.bot() as services:
        at_most = await services.ask.ask(AskRequest("x" * 2_000), HERE, ADA)
        too_long = await services.ask.ask(AskRequest("x" * 2_001), HERE, ADA)
    assert at_most is not None and too_long is not None
    assert (len(at_most.blocks), too_long.blocks) == (2, ())


@pytest.mark.parametrize("way", ["asked", "followed up", "mentioned"])
async def test_two_deliveries_are_one_question(way: str) -> None:
    stage = old_card()
    request = AskRequest(QUESTION, request_id="5.5")

    async def answered(services: Services) -> Message | None:
        if way == "asked":
            return await services.ask.ask(request, HERE, ADA)
        if way == "followed up":
            return await services.ask.follow_up(request, OLD, HERE, CARD, ADA)
        return await services.ask.follow_up_in_thread(request, HERE, CARD, ADA)

    async with stage.bot() as one, stage.bot() as other:
        replies_shown = await asyncio.gather(answered(one), answered(other))
        await asyncio.sleep(5)
        await ask(one, request_id="6.6")
        await ask(one)
        await ask(one)
    assert list(replies_shown) == [None, None] and len(stage.asking.submitted) == 4


async def test_rollback_spares_the_other_process() -> None:
    stage = AskWorld()
    request = AskRequest(QUESTION, request_id="5.5")
    stage.asking.delay_seconds = 20.0
    async with stage.bot() as one, stage.bot() as other:
        asking = asyncio.create_task(one.ask.ask(request, HERE, ADA))
        await asyncio.sleep(5)
        (row,) = stage.questions.rows.values()
        stage.questions.rows[row.id] = replace(row, touched_at=row.touched_at + timedelta(microseconds=1))
        begin, stage.questions.error = stage.questions.begin, None

        async def unanswered(question: PendingQuestion) -> bool:
            raise StoreUnavailable("away")

        stage.questions.begin = unanswered  # type: ignore[method-assign]
        await other.ask.ask(request, HERE, ADA)
        stage.questions.begin = begin  # type: ignore[method-assign]
        await asking
        await asyncio.sleep(5)
    assert len(stage.card_repository.rows) == 1 and len(stage.fake_slack.top_level()) == 1


async def test_private_question_is_retried_privately() -> None:
    stage = AskWorld()
    stage.asking.answers.extendleft([SubmitOutcomeUnknown("timeout")])
    async with stage.bot() as services:
        line = await ask(services, private=True)
        assert line is not None
        assert line.blocks[-1]["elements"][0]["action_id"] == TRY_AGAIN_PRIVATELY
        await ask(services, private=True)
        await asyncio.sleep(5)
    assert [posted.place for posted in stage.fake_slack.posted.values()] == [direct(ADA)]


async def test_unstored_question_is_not_submitted() -> None:
    stage = AskWorld()
    begin = stage.questions.begin

    async def stored_without_saying_so(question: PendingQuestion) -> bool:
        await begin(question)
        raise StoreUnavailable("connection lost")

    stage.questions.begin = stored_without_saying_so  # type: ignore[method-assign]
    async with stage.bot() as services:
        assert said(await ask(services)) == replies.storage_down()
        await asyncio.sleep(600)
        await stage.report_interrupted()
    assert stage.asking.submitted == [] and stage.told() == []


async def test_binding_is_repeated_until_stored() -> None:
    stage = AskWorld()
    stage.asking.on_submit = lambda: setattr(stage.questions, "error", StoreUnavailable("away"))
    async with stage.bot() as services:
        asking = asyncio.create_task(ask(services))
        await asyncio.sleep(90)
        stage.questions.error = None
        assert await asking is None
    assert len(stage.fake_slack.top_level()) == 1 and len(stage.asking.submitted) == 1


async def test_job_never_stored_is_reported_with_id() -> None:
    stage = AskWorld()
    stage.asking.on_submit = lambda: setattr(stage.questions, "error", StoreUnavailable("away"))
    async with stage.bot() as services:
        assert JOB in said(await ask(services))


async def test_closed_channel_moves_card_to_dm() -> None:
    stage = AskWorld()
    stage.fake_slack.closed.add(HERE)
    async with stage.bot() as services:
        line = await ask(services)
        await asyncio.sleep(20)
    assert "I'm not in this channel, so I sent the card to your DMs." in said(line)
    assert stage.threads() == [(direct(ADA).id, None)]


# Crashes


async def crash_while_submitting(stage: AskWorld) -> None:
    """A process that dies with the question on its way: nobody hears what Omni says."""
    dying = Services(stage)
    stage.asking.delay_seconds = 1_000.0
    asking = asyncio.create_task(ask(dying))
    await asyncio.sleep(5)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def test_crashed_question_is_reported_once() -> None:
    stage = AskWorld()
    await crash_while_submitting(stage)
    await stage.report_interrupted()
    assert stage.told() == []  # its process may still be there
    await asyncio.sleep(ORPHANED_AFTER.total_seconds())
    await asyncio.gather(*(stage.report_interrupted() for _ in range(3)))
    await stage.report_interrupted()
    assert stage.told() == [ask_replies.interrupted()]
    assert len(stage.asking.submitted) == 1


async def test_undelivered_rejection_is_left_to_recovery() -> None:
    stage = AskWorld()
    async with stage.bot() as dying:
        for asked in (AskRequest(" "), AskRequest(QUESTION)):
            stage.asking.answers[0] = AskRefused(404)
            assert isinstance(await outcome_of(dying.ask_service.ask(asked, HERE, ADA)), Reply)
    await asyncio.sleep(ORPHANED_AFTER.total_seconds() + 1)
    await stage.report_interrupted()
    assert stage.told() == 2 * [ask_replies.interrupted()]


async def test_failed_crash_report_is_repeated() -> None:
    stage = AskWorld()
    await crash_while_submitting(stage)
    stage.fake_slack.plan("post", SlackUnreachable("down"))
    for _ in range(3):
        await asyncio.sleep(ORPHANED_AFTER.total_seconds() + 1)
        await stage.report_interrupted()
    assert stage.told() == [ask_replies.interrupted()]


@pytest.mark.parametrize("arrives", [True, False], ids=["arrived", "lost"])
async def test_unconfirmed_crash_report_arrives_once(arrives: bool) -> None:
    stage = AskWorld()
    await crash_while_submitting(stage)
    stage.fake_slack.plan("post", OutcomeUnknown("internal_error"), after_effect=arrives)
    await asyncio.sleep(ORPHANED_AFTER.total_seconds() + 1)
    with capture_logs() as logged:
        await stage.report_interrupted()
    assert "interruption reported" not in [entry["event"] for entry in logged]
    for _ in range(3):
        await asyncio.sleep(ORPHANED_AFTER.total_seconds() + 1)
        await stage.report_interrupted()
    assert stage.told() == [ask_replies.interrupted()]
    assert len(stage.fake_slack.times("direct")) == 2


async def test_crash_report_survives_a_kill_once() -> None:
    stage = AskWorld()
    await crash_while_submitting(stage)
    await asyncio.sleep(ORPHANED_AFTER.total_seconds() + 1)
    with (
        patch.object(stage.questions, "mark_reported", side_effect=StoreUnavailable("away")),
        suppress(StoreUnavailable),
    ):
        await stage.report_interrupted()
    await asyncio.sleep(ORPHANED_AFTER.total_seconds() + 1)
    await stage.report_interrupted()
    assert stage.told() == [ask_replies.interrupted()]
    assert await stage.questions.interrupted(now() + ORPHANED_AFTER) == []


async def test_crash_report_without_history_is_tried_twice() -> None:
    stage = AskWorld()
    await crash_while_submitting(stage)
    stage.fake_slack.plan("find", ScopeMissing("missing_scope"))
    stage.fake_slack.plan("post", *[OutcomeUnknown("internal_error")] * 9)
    for _ in range(3):
        await asyncio.sleep(ORPHANED_AFTER.total_seconds() + 1)
        await stage.report_interrupted()
    assert len(stage.fake_slack.times("post")) == 2


async def test_closed_dms_end_the_crash_report() -> None:
    stage = AskWorld()
    await crash_while_submitting(stage)
    stage.fake_slack.plan("direct", NotAllowedHere("user_disabled"))
    for _ in range(3):
        await asyncio.sleep(ORPHANED_AFTER.total_seconds() + 1)
        await stage.report_interrupted()
    assert len(stage.fake_slack.times("direct")) == 1


async def test_slow_submission_is_not_interrupted() -> None:
    stage = AskWorld()
    stage.asking.delay_seconds = 900.0
    async with stage.bot() as services:
        asking = asyncio.create_task(ask(services))
        for _ in range(14):
            await asyncio.sleep(60)
            await stage.report_interrupted()
        await asking
    assert stage.told() == [] and len(stage.fake_slack.top_level()) == 1


async def test_stop_during_submission_keeps_the_card() -> None:
    stage = AskWorld()
    stage.asking.delay_seconds = 1.0
    async with stage.bot() as services:
        asking = asyncio.create_task(ask(services))
        await asyncio.sleep(0.5)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    async with stage.bot():
        await asyncio.sleep(10)
    assert len(stage.fake_slack.top_level()) == 1 and len(stage.asking.submitted) == 1


# Going on


@pytest.mark.parametrize("thread", [None, MessageTs("50.0")], ids=["own thread", "in a thread"])
async def test_follow_up_keeps_conversation_model_and_thread(
    thread: MessageTs | None,
) -> None:
    stage = old_card(thread=thread)
    async with stage.bot() as services:
        assert await follow_up(services) is None
    assert stage.asking.submitted == [Question(QUESTION, ModelId(OLD_MODEL), conversation=CHAT)]
    assert stage.threads() == [(HERE.id, thread or CARD)]


async def test_mention_continues_the_newest_card() -> None:
    stage = old_card()
    newest = replace(
        a_card("newest"),
        job=JobId("newest"),
        thread=CARD,
        message_ts=MessageTs("101.0"),
        requested_at=START + timedelta(1),
    )
    stage.card_repository.rows[newest.id] = newest
    stage.omni.says(newest.job, JobState.COMPLETE, conversation="newest chat", model=OLD_MODEL)
    async with stage.bot() as services:
        assert await services.ask.follow_up_in_thread(AskRequest(QUESTION), HERE, CARD, GRACE) is None
    assert [question.conversation for question in stage.asking.submitted] == ["newest chat"]
    assert stage.threads()[-1] == (HERE.id, CARD)


@pytest.mark.parametrize("prompt, private", [(QUESTION, False), (f"{QUESTION} private", True)])
async def test_mention_in_thread_without_a_card_is_asked_there(prompt: str, private: bool) -> None:
    stage, thread = old_card(), MessageTs("7.0")
    async with stage.bot() as services:
        reply = await services.ask.follow_up_in_thread(AskRequest(prompt), HERE, thread, ADA)
    (asked,) = stage.asking.submitted
    assert (asked.prompt, asked.conversation) == (QUESTION, None)
    assert stage.threads()[-1] == ((direct(ADA).id, None) if private else (HERE.id, thread))
    assert bool(reply) is private


async def test_question_in_thread_of_shared_channel_goes_to_dm() -> None:
    stage = AskWorld()
    stage.access.shared = {HERE}
    async with stage.bot() as services:
        await services.ask.follow_up_in_thread(AskRequest(QUESTION), HERE, MessageTs("7.0"), ADA)
    assert stage.threads() == [(direct(ADA).id, None)]


@pytest.mark.parametrize("doing", [follow_up, retry], ids=["follow up", "retry"])
async def test_branch_and_topic_of_the_job_are_kept(doing: Doing) -> None:
    state = JobState.FAILED if doing is retry else JobState.COMPLETE
    stage = old_card(state)
    stage.omni.says(OLD_JOB, state, conversation=CHAT, model=OLD_MODEL, branch="branch", topic="Orders")
    async with stage.bot() as services:
        await doing(services)
    (asked,) = stage.asking.submitted
    assert (asked.model, asked.branch, asked.topic) == (OLD_MODEL, "branch", "Orders")


async def test_follow_up_in_shared_channel_goes_to_dm() -> None:
    stage = old_card()
    stage.access.shared = {HERE}
    async with stage.bot() as services:
        await follow_up(services)
    assert stage.threads() == [(direct(ADA).id, None)]


async def test_follow_up_without_conversation_is_refused() -> None:
    stage = old_card()
    stage.omni.says(OLD_JOB, JobState.COMPLETE)
    async with stage.bot() as services:
        assert said(await follow_up(services)) == ask_replies.no_conversation()


async def test_unknown_follow_up_has_no_button() -> None:
    stage = old_card()
    stage.asking.answers[0] = SubmitOutcomeUnknown("502")
    async with stage.bot() as services:
        assert await follow_up(services) == ask_replies.maybe_submitted(None)


# Behind another job


def busy_then(*answers: Submitted | OmniError) -> AskWorld:
    """The card's own job still runs."""
    stage = old_card()
    stage.omni.says(OLD_JOB, JobState.EXECUTING, conversation=CHAT, model=OLD_MODEL)
    stage.asking.answers.clear()
    stage.asking.answers.extend([ConversationBusy("409"), *answers])
    return stage


DONE = Submitted(JOB, NEW_CHAT)


async def test_follow_up_waits_for_the_earlier_job() -> None:
    stage = busy_then(DONE)
    async with stage.bot() as services:
        assert said(await follow_up(services)) == ask_replies.queued()
        await asyncio.sleep(400)
        assert len(stage.asking.submitted) == 1
        await stage.report_interrupted()
        stage.omni.says(OLD_JOB, JobState.COMPLETE, conversation=CHAT)
        await asyncio.sleep(10)
    assert len(stage.asking.submitted) == 2 and stage.threads() == [(HERE.id, CARD)]
    assert stage.told() == []


async def test_follow_up_waits_little_for_a_job_that_just_ended() -> None:
    stage = busy_then(DONE)
    # After Omni has refused, and before the bot looks whether the job still runs.
    stage.asking.on_submit = lambda: stage.omni.says(OLD_JOB, JobState.COMPLETE, conversation=CHAT)
    async with stage.bot() as services:
        await follow_up(services)
        await asyncio.sleep(CONVERSATION_POLL_SECONDS + 1)
    assert len(stage.asking.submitted) == 2
    assert stage.told() == []


async def test_follow_up_gives_up_when_busy_again() -> None:
    stage = busy_then(ConversationBusy("409"))
    async with stage.bot() as services:
        await follow_up(services)
        await asyncio.sleep(1)
        stage.omni.says(OLD_JOB, JobState.FAILED, conversation=CHAT)
        await asyncio.sleep(600)
    assert len(stage.asking.submitted) == 2
    assert stage.told() == [ask_replies.still_busy()]
    assert stage.questions.rows == {}


async def test_follow_up_waits_for_unknown_job() -> None:
    stage = busy_then(ConversationBusy("409"), DONE)
    stage.omni.says(OLD_JOB, JobState.COMPLETE, conversation=CHAT)
    async with stage.bot() as services:
        await follow_up(services)
        await asyncio.sleep(UNKNOWN_JOB_SECONDS - 1)
        assert len(stage.asking.submitted) == 2
        await asyncio.sleep(10)
    assert len(stage.asking.submitted) == 3
    assert stage.told() == []


async def test_follow_up_finds_jobs_of_thread_and_chat() -> None:
    for told_by in ("thread", "chat"):
        stage = busy_then(DONE)
        stage.omni.says(OLD_JOB, JobState.COMPLETE, conversation=CHAT)
        running = JobId("running")
        stage.omni.says(running, JobState.EXECUTING)
        if told_by == "chat":
            stage.omni.newest = running
        else:
            stage.omni.newest = OmniUnreachable("down")
            stage.card_repository.rows[CardId("x")] = replace(
                a_card("x"), job=running, thread=CARD, closed_at=START
            )
        async with stage.bot() as services:
            await follow_up(services)
            await asyncio.sleep(200)
            assert len(stage.asking.submitted) == 1, told_by
            stage.omni.says(running, JobState.COMPLETE)
            await asyncio.sleep(10)
        assert len(stage.asking.submitted) == 2, told_by


async def test_follow_up_wait_is_bounded() -> None:
    stage = busy_then(DONE)
    async with stage.bot() as services:
        await follow_up(services)
        await asyncio.sleep(LONGEST_WAIT_SECONDS + 10)
    assert len(stage.asking.submitted) == 1 and stage.told() == [ask_replies.still_busy()]


async def test_waiting_follow_up_is_reported_after_stop() -> None:
    stage = busy_then(DONE)
    async with stage.bot() as services:
        await follow_up(services)
        await asyncio.sleep(100)
    async with stage.bot():
        stage.omni.says(OLD_JOB, JobState.COMPLETE, conversation=CHAT)
        await asyncio.sleep(ORPHANED_AFTER.total_seconds() + 1)
        await stage.report_interrupted()
    assert stage.told() == [ask_replies.interrupted()] and len(stage.asking.submitted) == 1


@pytest.mark.parametrize("answer", [ConversationBusy("409"), AskRefused(404), SubmitOutcomeUnknown("502")])
@pytest.mark.parametrize("until", ["the end of the process", "it is given up"])
async def test_undelivered_follow_up_outcome_is_repeated(answer: OmniError, until: str) -> None:
    stage = busy_then(answer)
    async with stage.bot() as services:
        await follow_up(services)
        await asyncio.sleep(1)
        stage.fake_slack.plan("direct", *(SlackUnreachable("down"),) * 9)
        stage.omni.says(OLD_JOB, JobState.COMPLETE, conversation=CHAT)
        await asyncio.sleep(12 if until == "the end of the process" else 90)
    assert len(stage.asking.submitted) == 2 and stage.told() == []
    stage.fake_slack.forget_plans()
    async with stage.bot():
        await asyncio.sleep(ORPHANED_AFTER.total_seconds() + 1)
        await stage.report_interrupted()
        await stage.report_interrupted()
    assert stage.told() == [ask_replies.interrupted()]


@pytest.mark.parametrize("arrives", [True, False], ids=["arrived", "lost"])
async def test_unconfirmed_follow_up_outcome_arrives_once(arrives: bool) -> None:
    stage = busy_then(ConversationBusy("409"))
    async with stage.bot() as services:
        await follow_up(services)
        stage.fake_slack.plan("post", OutcomeUnknown("internal_error"), after_effect=arrives)
        stage.omni.says(OLD_JOB, JobState.FAILED, conversation=CHAT)
        await asyncio.sleep(600)
    assert stage.told() == [ask_replies.still_busy()]
    assert stage.questions.rows == {}
    if not arrives:
        first, second = stage.fake_slack.times("post")
        assert second - first >= SETTLED_AFTER_SECONDS


async def test_reported_follow_up_is_not_submitted() -> None:
    stage = busy_then(DONE)
    async with stage.bot() as services:
        await follow_up(services)
        (row,) = stage.questions.rows
        await stage.questions.mark_reported(row)
        stage.omni.says(OLD_JOB, JobState.COMPLETE, conversation=CHAT)
        await asyncio.sleep(60)
    assert len(stage.asking.submitted) == 1


@pytest.mark.parametrize(
    "error", [*CERTAIN, SubmitOutcomeUnknown("502")], ids=lambda error: type(error).__name__
)
async def test_waiting_follow_up_outcome_is_sent_by_dm(error: OmniError) -> None:
    stage = busy_then(error)
    async with stage.bot() as services:
        await follow_up(services)
        await asyncio.sleep(10)
        stage.fake_slack.plan("post", SlackUnreachable("down"))
        stage.omni.says(OLD_JOB, JobState.COMPLETE, conversation=CHAT)
        await asyncio.sleep(30)
    is_unknown = isinstance(error, SubmitOutcomeUnknown)
    assert stage.told() == [
        ask_replies.maybe_submitted(None).text if is_unknown else ask_replies.rejected(error)
    ]


# Retrying


async def test_following_elsewhere_does_not_allow_retrying() -> None:
    stage = old_card(JobState.FAILED)
    theirs = replace(
        stage.card_repository.rows[OLD], id=CardId("theirs"), channel=direct(GRACE), requester=GRACE
    )
    stage.card_repository.rows[theirs.id] = replace(theirs, requested_at=START + timedelta(seconds=1))
    stage.access.only_requesters = True
    async with stage.bot() as services:
        line = await services.ask.retry(theirs.id, theirs.channel, CARD, GRACE)
    assert said(line) == replies.not_yours() and stage.asking.submitted == []


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
@pytest.mark.parametrize("thread", [None, MessageTs("50.0")], ids=["by itself", "in a thread"])
async def test_retry_repeats_question_and_marks_card(state: JobState, thread: MessageTs | None) -> None:
    stage = old_card(state, thread=thread)
    stage.fake_slack.posted[CARD] = await a_posted_card(stage, thread)
    async with stage.bot() as services:
        assert await retry(services) is None
        await asyncio.sleep(5)
    assert stage.asking.submitted == [Question("Top products?", ModelId(OLD_MODEL), conversation=CHAT)]
    old, new = stage.fake_slack.posted[CARD], list(stage.fake_slack.posted.values())[-1]
    assert f"retried by <@{ADA}>" in str(old.message.blocks) and "retry_job" not in str(old.message.blocks)
    assert (new.place, new.thread) == (HERE, thread)
    assert stage.card_repository.rows[OLD].retried_by == ADA


async def a_posted_card(stage: AskWorld, thread: MessageTs | None) -> Posted:
    ts = await stage.fake_slack.post(HERE, Message("the old card"), mark="old/1", thread=thread)
    return stage.fake_slack.posted.pop(ts)


async def test_concurrent_retries_submit_once() -> None:
    stage = old_card(JobState.FAILED)
    async with stage.bot() as services:
        said_to = await asyncio.gather(
            retry(services), services.ask.retry(OLD, HERE, CARD, GRACE), return_exceptions=True
        )
        third = await retry(services)
    assert len(stage.asking.submitted) == 1
    assert [said(line) for line in said_to if line] == [ask_replies.already_retried(None)]  # type: ignore[arg-type]
    assert said(third) == ask_replies.already_retried(stage.card_repository.rows[OLD].retried_by)


@pytest.mark.parametrize(
    "error",
    [*CERTAIN, ConversationBusy("409"), SubmitOutcomeUnknown("502")],
    ids=lambda error: type(error).__name__,
)
async def test_failed_retry_can_be_repeated(error: OmniError) -> None:
    stage = old_card(JobState.FAILED)
    stage.asking.answers.clear()
    stage.asking.answers.extend([error, DONE])
    async with stage.bot() as services:
        line = await retry(services)
        is_unknown = isinstance(error, SubmitOutcomeUnknown)
        assert said(line) == (
            ask_replies.retry_maybe_submitted() if is_unknown else ask_replies.rejected(error)
        )
        assert stage.card_repository.rows[OLD].retried_by is None
        assert await retry(services) is None
    assert len(stage.asking.submitted) == 2


async def test_only_requester_or_admin_retries() -> None:
    stage = old_card(JobState.FAILED)
    stage.access.idle = {GRACE}
    async with stage.bot() as services:
        assert said(await services.ask.retry(OLD, HERE, CARD, GRACE)) == replies.not_yours()
    assert stage.asking.submitted == []


@pytest.mark.parametrize("state", [JobState.COMPLETE, JobState.EXECUTING, JobState.UNKNOWN])
async def test_unfailed_job_is_not_retried(state: JobState) -> None:
    stage = old_card(state)
    async with stage.bot() as services:
        assert said(await retry(services)) == ask_replies.not_retriable()
    assert stage.asking.submitted == []


async def test_crashed_retry_can_be_repeated_once_reported() -> None:
    stage = old_card(JobState.FAILED)
    stage.questions.rows[QuestionId("x")] = PendingQuestion(
        QuestionId("x"), HERE, ADA, START, START, retry_of=OLD
    )
    stage.card_repository.rows[OLD] = replace(stage.card_repository.rows[OLD], retried_by=ADA)
    await asyncio.sleep(ORPHANED_AFTER.total_seconds() + 1)
    async with stage.bot() as services:
        assert said(await retry(services)) == ask_replies.already_retried(ADA)
        await stage.report_interrupted()
        assert await retry(services) is None
    assert stage.told() == [ask_replies.interrupted()]


@pytest.mark.parametrize("doing", [ask, follow_up, retry], ids=["ask", "follow up", "retry"])
async def test_database_down_submits_nothing(doing: Doing) -> None:
    stage = old_card(JobState.FAILED)
    stage.card_repository.error = stage.questions.error = StoreUnavailable("away")
    services = Services(stage)
    assert said(await doing(services)) == replies.storage_down()
    assert stage.asking.submitted == []


async def test_silent_omni_is_awaited_briefly() -> None:
    stage = old_card()
    stage.omni.delay_seconds = 500.0
    async with stage.bot() as services:
        assert said(await follow_up(services)) == replies.omni_busy()
    assert asyncio.get_running_loop().time() < 20


@pytest.mark.parametrize(
    "detail, says",
    [("Feature not enabled", "not turned on"), ("AI credit limit exceeded", "AI credits"), ("", "allow")],
)
async def test_refusal_of_omni_is_reported_as_what_it_is(detail: str, says: str) -> None:
    stage = AskWorld()
    stage.asking.answers[0] = AskRefused(403, f"{detail} for: {QUESTION}")
    with capture_logs() as logged:
        async with stage.bot() as services:
            assert says in said(await ask(services))
    assert [line["outcome"] for line in logged if line["event"] == "audit"] == ["failed: AskRefused 403"]
    (line,) = [line for line in logged if line["event"] == "question refused by omni"]
    assert (line["log_level"], line["status"], line["detail"]) == ("warning", 403, f"{detail} for: …")
