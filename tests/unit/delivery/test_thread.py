"""What follows an answered card in its thread, in virtual time: the rest of the answer and its file."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.delivery.posts import UPLOADED_WITHIN_SECONDS
from bot.delivery.thread import FILE, IN_OMNI
from bot.domain.cards import ChannelId, ChannelRef, MessageTs, Notify, ReplyKind, ThreadReply
from bot.domain.errors import (
    JobNotFound,
    MessageGone,
    NotAllowedHere,
    OmniError,
    OmniUnreachable,
    OutcomeUnknown,
    PayloadRefused,
    ScopeMissing,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    StoreUnavailable,
    TokenRefused,
)
from bot.domain.jobs import Job, JobError, JobState
from bot.domain.messages import FileId, Message, Upload
from bot.rendering import answer as answer_module
from tests.support.fakes import ADA, GRACE, HERE, JOB, START, a_card, a_job, now
from tests.support.tracking import (
    CARD_ID,
    CHAT,
    PIECES,
    PNG,
    TALL,
    TALLEST,
    OddSlack,
    Processes,
    Stage,
    a_stage,
    an_answer,
    charts,
    delivered,
    direct,
    is_whole,
    paragraphs,
    tall,
)

pytestmark = pytest.mark.looptime


async def test_long_answer_continues_in_thread() -> None:
    stage, fake_slack = an_answer()
    await delivered(stage)
    assert is_whole(stage)
    assert [reply.thread for reply in fake_slack.replies()] == [MessageTs("1.0")] * PIECES
    assert fake_slack.times("find") == []
    assert fake_slack.uploaded == []
    assert stage.all_closed()


async def test_short_answer_posts_no_replies() -> None:
    stage, fake_slack = an_answer("Short.")
    await delivered(stage)
    assert fake_slack.replies() == [] and fake_slack.uploaded == []
    assert set(stage.card_repository.writes) == {"claim", "mark_post_started", "mark_posted", "close"}


async def test_completion_reply_precedes_rest_of_answer() -> None:
    stage, _ = a_stage(a_card())
    async with stage.bot():
        await asyncio.sleep(40)
        stage.says(JobState.COMPLETE, answer=TALL)
        await asyncio.sleep(60)
    notice, *rest = stage.told()
    assert notice.startswith(f"<@{ADA}>")
    assert len(rest) == PIECES and is_whole(stage)


async def test_quick_answer_gets_no_late_completion_reply() -> None:
    stage, _ = an_answer("Short.")
    stage.omni.chart_seconds = 60.0
    async with stage.bot() as runner:
        await asyncio.sleep(20)
        await stage.card_repository.add(replace(a_card("again", user=GRACE), requested_at=now()))
        await runner.start(JOB)
        await asyncio.sleep(25)
    await delivered(stage, 90)
    assert stage.told() == []
    assert stage.all_closed()


END: dict[str, Job | OmniError] = {
    "answered": a_job(JobState.COMPLETE, answer="Done."),
    "failed": a_job(JobState.FAILED, error=JobError("No such column")),
    "cancelled": a_job(JobState.CANCELLED),
    "lost": JobNotFound(),
}


@pytest.mark.parametrize("end", END)
@pytest.mark.parametrize("choice", Notify)
async def test_each_follower_is_mentioned_as_they_chose(choice: Notify, end: str) -> None:
    stage, _ = a_stage(replace(a_card(), followers=(ADA, GRACE)))
    stage.preferences.rows[GRACE] = choice
    async with stage.bot():
        await asyncio.sleep(40)
        stage.omni.answer = END[end]
        await asyncio.sleep(900)
    (reply,) = stage.told()
    assert reply.startswith(f"<@{ADA}>")
    is_wanted = choice is Notify.ALWAYS or (choice is Notify.FAILURES and end != "answered")
    assert (f"<@{GRACE}>" in reply) == is_wanted


async def test_no_reply_where_nobody_wants_one() -> None:
    stage, _ = an_answer("Done.")
    stage.card_repository.rows[CARD_ID] = replace(
        stage.card_repository.rows[CARD_ID], requested_at=START - timedelta(hours=1)
    )
    stage.preferences.rows[ADA] = Notify.FAILURES
    await delivered(stage)
    assert stage.fake_slack.replies() == [] and stage.card_repository.rows[CARD_ID].closed_at is not None


async def test_unreadable_choices_delay_the_reply() -> None:
    stage, _ = an_answer("Done.")
    stage.card_repository.rows[CARD_ID] = replace(
        stage.card_repository.rows[CARD_ID], requested_at=START - timedelta(hours=1)
    )
    stage.preferences.error = StoreUnavailable("away")
    async with stage.bot():
        await asyncio.sleep(20)
        assert stage.fake_slack.replies() == []
        stage.preferences.error = None
        await asyncio.sleep(20)
    (reply,) = stage.fake_slack.replies()
    assert f"<@{ADA}>" in reply.message.text


async def test_slow_answer_notifies_after_crash() -> None:
    stage, fake_slack = a_stage(a_card())
    async with stage.bot():
        await asyncio.sleep(40)
        fake_slack.plan("post", *[SlackUnreachable("down")] * 10)
        stage.says(JobState.COMPLETE, answer="Short.", completed_at=now())
        await asyncio.sleep(10)
    assert "Short." in stage.shown()[0]
    fake_slack.forget_plans()
    await delivered(stage)
    (notice,) = stage.told()
    assert notice.startswith(f"<@{ADA}>")


async def test_posts_keep_one_second_per_channel() -> None:
    stage, fake_slack = an_answer(TALLEST)
    await delivered(stage)
    times = fake_slack.times("post")
    assert len(times) == 1 + 5
    assert times[-1] - times[0] >= 4.0


@pytest.mark.parametrize("unanswered", range(PIECES))
@pytest.mark.parametrize("takes_effect", [True, False], ids=["arrived", "lost"])
async def test_unanswered_reply_is_posted_once_in_order(unanswered: int, takes_effect: bool) -> None:
    stage, fake_slack = an_answer()
    post, calls = fake_slack.post, 0

    async def post_unanswered(
        channel: ChannelRef, message: Message, *, mark: str, thread: MessageTs | None = None
    ) -> MessageTs:
        nonlocal calls
        calls += thread is not None
        if thread is not None and calls == unanswered + 1:
            fake_slack.plan("post", OutcomeUnknown("TimeoutError"), after_effect=takes_effect)
        return await post(channel, message, mark=mark, thread=thread)

    fake_slack.post = post_unanswered  # type: ignore[method-assign]
    await delivered(stage, 120)
    assert is_whole(stage)
    assert stage.all_closed()


@pytest.mark.parametrize("after_steps", [*range(0, 60, 4), *range(60, 400, 20)])
async def test_restart_at_any_step_repeats_no_reply(after_steps: int) -> None:
    stage, fake_slack = an_answer(TALLEST)
    stage.omni.image = PNG
    async with stage.bot():
        for _ in range(after_steps):
            await asyncio.sleep(0)
    await delivered(stage, 120)
    assert paragraphs(*[posted.message for posted in fake_slack.posted.values()]) == sorted(
        set(paragraphs(*[posted.message for posted in fake_slack.posted.values()]))
    )
    assert len(fake_slack.replies()) == 5
    assert [posted.upload.name for posted in fake_slack.uploaded if posted.upload.name == "answer.md"] == [
        "answer.md"
    ]
    assert len(charts(fake_slack)) == 1
    assert stage.all_closed()


@pytest.mark.parametrize("after_seconds", [0.5, 1.5, 2.5, 3.0, 3.5, 4.5, 6.0])
async def test_restart_at_any_second_repeats_no_reply(
    after_seconds: float,
) -> None:
    stage, fake_slack = an_answer(TALLEST)
    await delivered(stage, after_seconds)
    before = list(fake_slack.posted)
    await delivered(stage, 60)
    assert list(fake_slack.posted)[: len(before)] == before
    assert len(fake_slack.replies()) == 5 and len(fake_slack.uploaded) == 1


@pytest.mark.parametrize("after_steps", range(0, 80, 4))
async def test_second_process_repeats_no_reply(after_steps: int) -> None:
    stage, fake_slack = an_answer(TALLEST)
    stage.omni.image = PNG
    async with stage.bot():
        for _ in range(after_steps):
            await asyncio.sleep(0)
        await delivered(stage, 120)
    assert len(fake_slack.top_level()) == 1 and len(fake_slack.replies()) == 5
    assert [posted.upload.name for posted in fake_slack.uploaded if posted.upload.name == "answer.md"] == [
        "answer.md"
    ]
    assert len(charts(fake_slack)) == 1


@pytest.mark.parametrize("paused_after_seconds", [0.5, 1.5, 2.5, 3.5, 5.5])
async def test_process_resumed_after_end_posts_nothing(paused_after_seconds: float) -> None:
    stage = Processes(a_job(JobState.COMPLETE, answer=TALLEST), a_card())
    stage.omni.image = PNG
    async with stage.one_that_can_be_paused() as paused:
        await asyncio.sleep(paused_after_seconds)
        paused.awake.clear()
        await delivered(stage, 120)
        paused.awake.set()
        await asyncio.sleep(60)
    assert len(stage.fake_slack.top_level()) == 1 and len(stage.fake_slack.replies()) == 5
    assert len(stage.fake_slack.uploaded) <= 2
    assert stage.all_closed()


async def test_restart_adds_only_missing_replies() -> None:
    stage, fake_slack = an_answer(tall(2))
    async with stage.bot():
        while len(fake_slack.replies()) < 2:
            await asyncio.sleep(0.01)
    stage.card_repository.rows[CARD_ID] = replace(stage.card_repository.rows[CARD_ID], closed_at=None)
    for replies, there in ((4, 4), (1, 4)):
        stage.says(JobState.COMPLETE, answer=tall(replies), completed_at=START)
        await delivered(stage)
        assert len(fake_slack.replies()) == there
        assert fake_slack.times("find") == [], "what is known to be there is not looked for"
        assert stage.all_closed()
        stage.card_repository.rows[CARD_ID] = replace(stage.card_repository.rows[CARD_ID], closed_at=None)


async def test_refused_reply_falls_back_at_once() -> None:
    stage, fake_slack = an_answer()
    post = fake_slack.post

    async def refuse_blocks(
        channel: ChannelRef, message: Message, *, mark: str, thread: MessageTs | None = None
    ) -> MessageTs:
        if thread is not None and message.blocks:
            fake_slack.plan("post", PayloadRefused("invalid_blocks"))
        return await post(channel, message, mark=mark, thread=thread)

    fake_slack.post = refuse_blocks  # type: ignore[method-assign]
    await delivered(stage)
    replies = fake_slack.replies()
    assert len(replies) == PIECES
    assert all(reply.message.blocks == () for reply in replies)
    times = fake_slack.times("post")
    assert times[-1] - times[0] <= len(times), "no wait but a place's second between two messages"


async def test_unsearchable_reply_is_repeated_at_most_once() -> None:
    stage, fake_slack = an_answer()
    fake_slack.shows_history = False
    await delivered(stage)
    forget_whether_it_arrived(stage, PIECES)
    await delivered(stage)
    assert len(fake_slack.replies()) == PIECES + 1
    assert stage.all_closed()


async def test_unsearchable_skipped_reply_is_not_repeated() -> None:
    stage, fake_slack = an_answer()
    fake_slack.shows_history = False
    await delivered(stage)
    forget_whether_it_arrived(stage, 1)
    await delivered(stage)
    assert len(fake_slack.replies()) == PIECES
    assert stage.all_closed()


def forget_whether_it_arrived(stage: Stage, number: int) -> None:
    """As a process leaves that part of an answer behind that dies over it, the card still open."""
    thread, slot = stage.card_repository.threads[CARD_ID], ReplyKind(str(number))
    assert thread[slot].ts
    thread[slot] = ThreadReply(thread[slot].started_at)
    stage.card_repository.rows[CARD_ID] = replace(stage.card_repository.rows[CARD_ID], closed_at=None)


async def test_unsearchable_unanswered_reply_delays_no_other() -> None:
    stage, fake_slack = an_answer()
    fake_slack.shows_history = False
    async with stage.bot():
        while not stage.fake_slack.posted:
            await asyncio.sleep(0)
        fake_slack.plan("post", OutcomeUnknown("TimeoutError"))
        await asyncio.sleep(60)
    assert len(fake_slack.replies()) == PIECES - 1
    assert stage.all_closed()


async def test_unsearchable_reply_stays_unrepeated_on_retry() -> None:
    stage, fake_slack = an_answer()
    fake_slack.shows_history = False
    async with stage.bot() as runner:
        while not stage.fake_slack.posted:
            await asyncio.sleep(0)
        fake_slack.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
        await asyncio.sleep(60)
        assert len(fake_slack.replies()) == PIECES
        stage.card_repository.rows[CARD_ID] = replace(stage.card_repository.rows[CARD_ID], closed_at=None)
        await runner.start(JOB)
        await asyncio.sleep(60)
    assert len(fake_slack.replies()) == PIECES
    assert stage.all_closed()


async def test_unsearchable_reply_stays_unrepeated_after_outage() -> None:
    stage, fake_slack = an_answer()
    fake_slack.shows_history = False
    post = fake_slack.post
    replies = 0

    async def take_it_and_say_nothing(
        channel: ChannelRef, message: Message, *, mark: str, thread: MessageTs | None = None
    ) -> MessageTs:
        nonlocal replies
        ts = await post(channel, message, mark=mark, thread=thread)
        replies += thread is not None
        if replies == 1:
            replies += 1
            stage.card_repository.error = StoreUnavailable("away")
            raise OutcomeUnknown("TimeoutError")
        return ts

    fake_slack.post = take_it_and_say_nothing  # type: ignore[method-assign]
    async with stage.bot():
        await asyncio.sleep(30)
        stage.card_repository.error = None
        await asyncio.sleep(60)
    assert len(fake_slack.replies()) == PIECES
    assert stage.all_closed()


async def test_card_deleted_meanwhile_is_posted_anew() -> None:
    stage, fake_slack = an_answer()
    post = fake_slack.post

    async def post_to_a_thread_just_deleted(
        channel: ChannelRef, message: Message, *, mark: str, thread: MessageTs | None = None
    ) -> MessageTs:
        if thread == "1.0" and len(fake_slack.replies()) == 1:
            fake_slack.posted.clear()
            raise MessageGone("thread_not_found")
        return await post(channel, message, mark=mark, thread=thread)

    fake_slack.post = post_to_a_thread_just_deleted  # type: ignore[method-assign]
    await delivered(stage)
    assert is_whole(stage)
    assert stage.all_closed()


async def test_card_posted_anew_gets_own_thread() -> None:
    """The deleted card's thread may take replies still; the chore of the old card must not fill the new one's."""
    stage, fake_slack = an_answer(tall(5))
    async with stage.bot() as runner:
        while len(fake_slack.replies()) < 2:
            await asyncio.sleep(0.1)
        old = fake_slack.posted.pop(MessageTs("1.0"))
        await stage.card_repository.forget_message(CARD_ID, MessageTs("1.0"))
        await runner.start(JOB)
        await asyncio.sleep(60)
    assert old.thread is None
    (card,) = fake_slack.top_level()
    anew = [posted for posted in fake_slack.replies() if posted.thread != "1.0"]
    assert len(anew) == 5
    assert paragraphs(card.message, *[posted.message for posted in anew])[-1] == tall(5).count("paragraph")
    assert stage.all_closed()


async def test_closed_thread_moves_answer_to_direct_messages() -> None:
    stage, fake_slack = an_answer()
    fake_slack.plan("permalink", NotAllowedHere("not_in_channel"))
    async with stage.bot():
        while len(fake_slack.replies()) < 2:
            await asyncio.sleep(0.1)
        fake_slack.closed.add(HERE)
        await asyncio.sleep(60)
    assert is_whole(stage, direct(ADA))
    assert stage.all_closed()


async def test_database_outage_loses_no_reply() -> None:
    stage, fake_slack = an_answer()
    async with stage.bot():
        while len(fake_slack.replies()) < 2:
            await asyncio.sleep(0.1)
        stage.card_repository.error = StoreUnavailable("away")
        await asyncio.sleep(60)
        stage.card_repository.error = None
        await asyncio.sleep(60)
    assert is_whole(stage)
    assert stage.all_closed()


async def test_thread_is_completed_without_followers() -> None:
    stage, fake_slack = an_answer()
    stage.omni.image = PNG
    await delivered(stage, 1.5)
    assert len(fake_slack.replies()) < PIECES
    stage.card_repository.let_follow(CARD_ID)
    await delivered(stage)
    assert is_whole(stage)
    assert "no longer follows" not in stage.shown()[0]
    assert charts(fake_slack) == []
    assert stage.all_closed()


async def test_job_lost_meanwhile_leaves_thread_as_it_is() -> None:
    stage, fake_slack = an_answer()
    await delivered(stage, 1.5)
    there = len(fake_slack.replies())
    stage.omni.answer = OmniUnreachable("500")
    await delivered(stage, 30)
    assert len(fake_slack.replies()) == there < PIECES
    assert not stage.all_closed()


async def test_answer_beyond_five_replies_is_uploaded() -> None:
    stage, fake_slack = an_answer(TALLEST)
    await delivered(stage)
    assert len(fake_slack.replies()) == 5
    (file,) = fake_slack.uploaded
    assert (file.place, file.thread, file.upload.name) == (HERE, "1.0", "answer.md")
    assert file.upload.content.decode().count("paragraph") == TALLEST.count("paragraph")
    assert file.at >= fake_slack.times("post")[-1]
    assert stage.card_repository.threads[CARD_ID][FILE].ts == MessageTs(stage.fake_slack.uploaded[0].id)
    assert stage.all_closed()


def is_led_to_omni(stage: Stage) -> bool:
    """Whether the thread ends with one line that leads to Omni."""
    *replies, last = stage.told()
    return "The rest of the answer is in Omni" in last and CHAT in last and len(replies) == 5


@pytest.mark.parametrize(
    "refusal",
    [
        NotAllowedHere("not_in_channel"),
        NotAllowedHere("file_uploads_disabled"),
        ScopeMissing("missing_scope"),
        PayloadRefused("file_type_not_allowed"),
        OutcomeUnknown("TimeoutError"),
    ],
    ids=lambda refusal: refusal.code,
)
async def test_missing_file_is_replaced_by_link(
    refusal: SlackError,
) -> None:
    stage, fake_slack = an_answer(TALLEST)
    fake_slack.plan("upload", refusal)
    await delivered(stage)
    assert is_led_to_omni(stage)
    assert len(fake_slack.times("upload")) == 1
    assert stage.all_closed()
    stage.card_repository.rows[CARD_ID] = replace(stage.card_repository.rows[CARD_ID], closed_at=None)
    await delivered(stage)
    assert is_led_to_omni(stage)
    assert len(fake_slack.times("upload")) == 1, "nor is it tried again after a restart"


async def test_an_unanswered_upload_that_arrived_is_not_repeated() -> None:
    stage, fake_slack = an_answer(TALLEST)
    fake_slack.plan("upload", OutcomeUnknown("TimeoutError"), after_effect=True)
    await delivered(stage)
    assert len(fake_slack.uploaded) == 1
    assert is_led_to_omni(stage)


@pytest.mark.parametrize(
    "trouble",
    [SlackUnreachable("no_connection"), SlackBusy("ratelimited", 30.0), TokenRefused("token_revoked")],
    ids=lambda trouble: trouble.code,
)
async def test_failed_upload_is_repeated(trouble: SlackError) -> None:
    stage, fake_slack = an_answer(TALLEST)
    fake_slack.plan("upload", trouble)
    await delivered(stage, 90)
    assert len(fake_slack.uploaded) == 1
    assert len(stage.told()) == 5
    assert stage.all_closed()


async def test_restart_between_uploads_keeps_file() -> None:
    stage, fake_slack = an_answer(TALLEST)
    fake_slack.plan("upload", *[SlackUnreachable("no_connection")] * 5)
    async with stage.bot():
        while len(fake_slack.times("upload")) < 5:
            await asyncio.sleep(0.1)
    await delivered(stage)
    assert len(fake_slack.uploaded) == 1
    assert len(stage.told()) == 5


async def test_file_refused_for_minutes_becomes_link() -> None:
    stage, fake_slack = an_answer(TALLEST)
    fake_slack.plan("upload", *[SlackUnreachable("no_connection")] * 100)
    await delivered(stage, UPLOADED_WITHIN_SECONDS + 120)
    assert is_led_to_omni(stage)
    assert fake_slack.uploaded == []
    assert stage.all_closed()


async def test_upload_deadline_is_shared_by_processes() -> None:
    stage, fake_slack = an_answer(TALLEST)
    fake_slack.plan("upload", *[SlackUnreachable("no_connection")] * 1_000)
    for _ in range(6):
        await delivered(stage, UPLOADED_WITHIN_SECONDS / 2)
    assert is_led_to_omni(stage)
    assert stage.all_closed()


async def a_process_died_over_the_file(stage: Stage) -> None:
    await delivered(stage)
    stage.fake_slack.uploaded.clear()
    stage.card_repository.threads[CARD_ID][FILE] = ThreadReply(now())
    stage.card_repository.rows[CARD_ID] = replace(stage.card_repository.rows[CARD_ID], closed_at=None)


async def test_file_of_dead_process_becomes_link() -> None:
    stage, fake_slack = an_answer(TALLEST)
    await a_process_died_over_the_file(stage)
    for _ in range(3):
        await delivered(stage)
    assert fake_slack.uploaded == []
    assert is_led_to_omni(stage)
    assert stage.all_closed()


async def test_upload_of_other_process_is_awaited() -> None:
    stage, _ = an_answer(TALLEST)
    await a_process_died_over_the_file(stage)
    async with stage.bot():
        await asyncio.sleep(8)
        tried_at = stage.card_repository.threads[CARD_ID][FILE].started_at
        assert await stage.card_repository.mark_reply_posted(
            CARD_ID, FILE, tried_at, MessageTs("F0FILE"), None
        )
        await asyncio.sleep(60)
    assert len(stage.told()) == 5
    assert IN_OMNI not in stage.card_repository.threads[CARD_ID]
    assert stage.all_closed()


class SlowUploads(OddSlack):
    """Slack takes its time over files."""

    async def upload(self, channel: ChannelRef, upload: Upload, *, thread: MessageTs | None = None) -> FileId:
        await asyncio.sleep(2.0)
        return await super().upload(channel, upload, thread=thread)


async def test_shutdown_lets_upload_finish() -> None:
    stage, _ = an_answer(TALLEST)
    stage.fake_slack = fake_slack = SlowUploads()
    async with stage.bot():
        while FILE not in stage.card_repository.threads.get(CARD_ID, {}):
            await asyncio.sleep(0.1)
    assert stage.card_repository.threads[CARD_ID][FILE].ts == MessageTs(stage.fake_slack.uploaded[0].id)
    await delivered(stage)
    assert len(fake_slack.uploaded) == 1 and len(stage.told()) == 5
    assert stage.all_closed()


@pytest.mark.parametrize("stopped_after_seconds", [60.0, *(5.0 + n / 4 for n in range(8))])
async def test_cut_answer_is_led_to_omni_once(stopped_after_seconds: float) -> None:
    stage, fake_slack = an_answer(TALLEST, answer_is_cut=True)
    await delivered(stage, stopped_after_seconds)
    await delivered(stage)
    assert [file.upload.name for file in fake_slack.uploaded] == ["answer.md"]
    assert is_led_to_omni(stage)
    assert stage.all_closed()


async def test_answer_is_rendered_once_for_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    aside: list[str] = []

    async def to_thread(work: Callable[..., object], *args: object) -> object:
        aside.append(work.__name__)
        return work(*args)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    answer_module._rendered.cache_clear()
    stage = Stage(
        a_job(JobState.COMPLETE, answer=TALLEST),
        *(a_card(f"watch{number}", ChannelRef(HERE.team, ChannelId(f"C{number}"))) for number in range(5)),
    )
    await delivered(stage)
    assert aside == ["prepare"]
    assert answer_module._rendered.cache_info().misses == 1
    assert len(stage.fake_slack.replies()) == 25
    assert stage.all_closed()
