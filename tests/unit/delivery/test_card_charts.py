"""The chart of an answer is shown once, in virtual time: on the card soon after the answer, or else in the thread."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from bot.delivery.card_charts import (
    EDITED_AGAIN_AFTER_SECONDS,
    ON_CARD,
    ON_CARD_WITHIN_SECONDS,
    WAITED_FOR_SECONDS,
    YIELDS_SECONDS,
)
from bot.delivery.thread import CHART
from bot.domain.access import ConversationInfo
from bot.domain.cards import ChannelId, ChannelRef, MessageTs, ThreadReply
from bot.domain.errors import (
    MessageGone,
    NotAllowedHere,
    OmniBusy,
    OmniError,
    OmniUnreachable,
    OutcomeUnknown,
    PayloadRefused,
    ScopeMissing,
    SlackBusy,
    SlackError,
    SlackUnreachable,
)
from bot.domain.jobs import JobState
from bot.domain.messages import Message
from bot.settings import Settings
from tests.support.fakes import GRACE, HERE, JOB, a_card, a_job, now
from tests.support.tracking import (
    CARD_ID,
    PNG,
    TALL,
    OddSlack,
    Processes,
    Stage,
    a_stage,
    an_answer,
    charts,
    delivered,
    is_whole,
)

pytestmark = pytest.mark.looptime

CARD = MessageTs("1.0")
NOT_READY = PayloadRefused("invalid_blocks")


def a_charted_answer(answer: str = "Short.", **more: object) -> tuple[Stage, OddSlack]:
    stage, fake_slack = an_answer(answer, **more)
    stage.omni.image = PNG
    return stage, fake_slack


def ids_of(message: Message) -> list[str]:
    return [block["type"] for block in message.blocks]


def reopen(stage: Stage) -> None:
    """As a process leaves the card behind that dies before it closes it."""
    stage.card_repository.rows[CARD_ID] = replace(stage.card_repository.rows[CARD_ID], closed_at=None)


# On the card


async def test_card_shows_chart_above_its_buttons() -> None:
    stage, fake_slack = a_charted_answer(topic="Orders <!here>", prompt="Top products?\u202e <!channel>")
    await delivered(stage)
    assert charts(fake_slack) == ["card"]
    (card,) = fake_slack.top_level()
    picture = card.message.blocks[ids_of(card.message).index("actions") - 1]
    assert picture["slack_file"] == {"id": next(iter(fake_slack.private))}
    alt = picture["alt_text"]
    assert "Topic: Orders" in alt and "Question: Top products?" in alt
    assert not re.search("\u202e|<!(?:here|channel)", alt)
    assert stage.all_closed()


async def test_answer_does_not_wait_for_chart() -> None:
    stage, fake_slack = a_stage(a_card())
    stage.omni.image, stage.omni.chart_seconds = PNG, 6.0
    async with stage.bot():
        await asyncio.sleep(5)
        stage.says(JobState.COMPLETE, answer="Short.")
        await asyncio.sleep(60)
    (answered_at, answer), (charted_at, charted) = fake_slack.posted[CARD].edits[-2:]
    assert "Short." in answer.text == charted.text
    assert "image" not in ids_of(answer) and "image" in ids_of(charted)
    assert 6.0 <= charted_at - answered_at <= ON_CARD_WITHIN_SECONDS


async def test_chart_follows_long_answer_on_its_card() -> None:
    stage, fake_slack = a_charted_answer(TALL)
    await delivered(stage)
    assert is_whole(stage) and charts(fake_slack) == ["card"]


async def test_late_chart_goes_to_thread() -> None:
    stage, fake_slack = a_charted_answer()
    stage.omni.chart_seconds = ON_CARD_WITHIN_SECONDS + 1.0
    await delivered(stage)
    assert charts(fake_slack) == ["thread"]
    assert fake_slack.posted[CARD].edits == [] and fake_slack.private == {}
    (chart,) = fake_slack.uploaded
    assert (chart.place, chart.thread, chart.upload.content) == (HERE, CARD, PNG)
    assert stage.all_closed()


async def test_operator_can_keep_charts_in_threads() -> None:
    stage, fake_slack = a_charted_answer()
    stage.rules = replace(stage.rules, settings=Settings.model_construct(chart_on_card=False))
    await delivered(stage)
    assert charts(fake_slack) == ["thread"] and fake_slack.private == {}


# Refused by Slack


async def test_file_in_processing_is_tried_again() -> None:
    stage, fake_slack = a_charted_answer()
    fake_slack.plan("update", NOT_READY, NOT_READY)
    await delivered(stage)
    assert charts(fake_slack) == ["card"] and len(fake_slack.private) == 1
    first, *_, last = fake_slack.times("update")
    assert last - first == pytest.approx(sum(EDITED_AGAIN_AFTER_SECONDS[:2]), abs=0.5)
    assert stage.all_closed()


async def test_refused_chart_goes_to_thread() -> None:
    stage, fake_slack = a_charted_answer()
    fake_slack.plan("update", *[NOT_READY] * 20)
    await delivered(stage)
    assert charts(fake_slack) == ["thread"]
    assert len(fake_slack.times("update")) == 1 + len(EDITED_AGAIN_AFTER_SECONDS), (
        "the card needs no other edit"
    )
    assert stage.all_closed()


@pytest.mark.parametrize(
    "refusal",
    [ScopeMissing("missing_scope"), NotAllowedHere("file_uploads_disabled"), OutcomeUnknown("TimeoutError")],
    ids=lambda refusal: refusal.code,
)
async def test_refused_private_upload_leaves_thread(refusal: SlackError) -> None:
    stage, fake_slack = a_charted_answer()
    fake_slack.plan("upload_private", refusal)
    await delivered(stage)
    assert charts(fake_slack) == ["thread"] and fake_slack.times("update") == []
    assert stage.all_closed()


@pytest.mark.parametrize("arrives", [True, False])
async def test_unanswered_chart_edit_is_repeated(arrives: bool) -> None:
    stage, fake_slack = a_charted_answer()
    fake_slack.plan("update", OutcomeUnknown("TimeoutError"), after_effect=arrives)
    await delivered(stage)
    assert charts(fake_slack) == ["card"]
    assert stage.all_closed()


@pytest.mark.parametrize("refusals", [[NOT_READY] * 5, [OutcomeUnknown("TimeoutError")] * 3])
async def test_uncertain_chart_is_taken_off_card(refusals: list[SlackError]) -> None:
    stage, fake_slack = a_charted_answer()
    fake_slack.plan("update", OutcomeUnknown("TimeoutError"), after_effect=True)
    fake_slack.plan("update", *refusals)
    await delivered(stage)
    assert charts(fake_slack) == ["thread"]
    assert stage.all_closed()


@pytest.mark.parametrize("trouble", [SlackUnreachable("no_connection"), SlackBusy("ratelimited", 12.0)])
async def test_chart_edit_beyond_deadline_is_dropped(trouble: SlackError) -> None:
    stage, fake_slack = a_charted_answer()
    fake_slack.plan("update", *[trouble] * 5)
    await delivered(stage, 120)
    assert charts(fake_slack) == ["thread"]
    assert all("image" not in ids_of(message) for _, message in fake_slack.posted[CARD].edits)
    assert stage.all_closed()


class SlowEdits(OddSlack):
    """Slack answers edits so late that a chart shows after its time."""

    async def update(self, channel: ChannelRef, ts: MessageTs, message: Message) -> None:
        await asyncio.sleep(ON_CARD_WITHIN_SECONDS - 1.0)
        await super().update(channel, ts, message)


async def test_edit_that_crosses_deadline_is_undone() -> None:
    stage, _ = an_answer("Short.")
    stage.omni.image, stage.omni.chart_seconds = PNG, 3.0
    stage.fake_slack = fake_slack = SlowEdits()
    await delivered(stage)
    assert charts(fake_slack) == ["thread"]
    assert stage.all_closed()


async def test_deleted_card_gets_no_chart() -> None:
    stage, fake_slack = a_charted_answer()
    fake_slack.plan("update", MessageGone("message_not_found"))
    await delivered(stage, 60)
    assert charts(fake_slack) == []
    assert stage.all_closed()


async def test_card_without_blocks_leaves_chart_to_thread() -> None:
    stage, fake_slack = a_stage(a_card())
    stage.omni.image = PNG
    async with stage.bot():
        await asyncio.sleep(5)
        fake_slack.plan("update", *[NOT_READY] * 3)
        stage.says(JobState.COMPLETE, answer="Short.")
        await asyncio.sleep(30)
    assert fake_slack.posted[CARD].message.blocks == ()
    assert charts(fake_slack) == ["thread"]


# Over crashes


@pytest.mark.parametrize("after_steps", [*range(0, 80, 2), *range(80, 400, 20)])
async def test_restart_at_any_step_shows_one_chart(after_steps: int) -> None:
    stage, fake_slack = a_charted_answer()
    async with stage.bot():
        for _ in range(after_steps):
            await asyncio.sleep(0)
    await delivered(stage, 120)
    assert len(charts(fake_slack)) == 1
    assert stage.all_closed()


@pytest.mark.parametrize("stopped_after_seconds", [n / 4 for n in range(24)])
async def test_restart_between_tries_shows_one_chart(stopped_after_seconds: float) -> None:
    stage, fake_slack = a_charted_answer()
    fake_slack.plan("update", NOT_READY)
    fake_slack.plan("update", OutcomeUnknown("TimeoutError"), after_effect=True)
    await delivered(stage, stopped_after_seconds)
    fake_slack.forget_plans()
    await delivered(stage, 120)
    assert len(charts(fake_slack)) == 1
    assert stage.all_closed()


@pytest.mark.parametrize("after_steps", range(0, 80, 4))
async def test_second_process_shows_no_second_chart(after_steps: int) -> None:
    stage, fake_slack = a_charted_answer()
    async with stage.bot():
        for _ in range(after_steps):
            await asyncio.sleep(0)
        await delivered(stage, 120)
        await asyncio.sleep(120)
    assert len(charts(fake_slack)) == 1
    assert stage.all_closed()


@pytest.mark.parametrize("paused_after_seconds", [n / 8 for n in range(24)])
async def test_paused_process_shows_no_second_chart(paused_after_seconds: float) -> None:
    stage = Processes(a_job(), a_card())
    stage.omni.image, stage.omni.chart_seconds = PNG, 0.5
    async with stage.one_that_can_be_paused() as paused:
        await asyncio.sleep(6)
        stage.says(JobState.COMPLETE, answer="Short.")
        await asyncio.sleep(paused_after_seconds)
        paused.awake.clear()
        await delivered(stage, 120)
        paused.awake.set()
        await asyncio.sleep(120)
        await delivered(stage, 120)
    assert len(charts(stage.fake_slack)) == 1
    assert stage.all_closed()


async def test_card_drawn_again_keeps_its_chart() -> None:
    stage, fake_slack = a_charted_answer()
    await delivered(stage)
    await fake_slack.update(HERE, CARD, Message("A late edit."))
    await stage.card_repository.mark_stale(CARD_ID, CARD)
    await delivered(stage)
    assert charts(fake_slack) == ["card"]
    assert "Short." in fake_slack.posted[CARD].message.text
    assert len(stage.omni.charts_asked) == 1
    assert stage.all_closed()


async def test_chart_refused_at_redraw_goes_to_thread() -> None:
    stage, fake_slack = a_charted_answer()
    await delivered(stage)
    await fake_slack.update(HERE, CARD, Message("A late edit."))
    await stage.card_repository.mark_stale(CARD_ID, CARD)
    # Each variant with the chart.
    fake_slack.plan("update", *[NOT_READY] * 3)
    await delivered(stage)
    assert charts(fake_slack) == ["thread"]
    assert "Short." in fake_slack.posted[CARD].message.text
    assert stage.all_closed()


async def test_chart_of_dead_process_goes_to_thread() -> None:
    stage, fake_slack = a_charted_answer()
    await delivered(stage)
    stage.card_repository.threads[CARD_ID][ON_CARD] = ThreadReply(now())
    reopen(stage)
    await delivered(stage)
    assert charts(fake_slack) == ["thread"]
    assert stage.all_closed()


async def test_withheld_answer_shows_no_chart() -> None:
    stage, fake_slack = a_stage(a_card())
    stage.omni.image = PNG
    async with stage.bot():
        await asyncio.sleep(5)
        stage.directory.venues[HERE] = ConversationInfo(is_shared=True)
        stage.says(JobState.COMPLETE, answer="Short.")
        await asyncio.sleep(60)
    places = [posted.place for posted in fake_slack.posted.values() if "image" in ids_of(posted.message)]
    assert len(places) == 1 and HERE not in places


async def test_card_with_links_only_shows_no_chart() -> None:
    stage, fake_slack = a_charted_answer()
    stage.rules = replace(stage.rules, settings=Settings.model_construct(answers="link"))
    await delivered(stage)
    assert charts(fake_slack) == [] and stage.omni.charts_asked == []
    assert stage.all_closed()


# Fetched from Omni


@pytest.mark.parametrize("is_on_card", [True, False])
async def test_chart_is_fetched_once_for_all_cards(is_on_card: bool) -> None:
    places = [ChannelRef(HERE.team, ChannelId(f"C{number}")) for number in range(5)]
    stage = Stage(
        a_job(JobState.COMPLETE, answer="Short."),
        *(a_card(f"watch{number}", place) for number, place in enumerate(places)),
    )
    stage.rules = replace(stage.rules, settings=Settings.model_construct(chart_on_card=is_on_card))
    stage.omni.image = PNG
    await delivered(stage)
    assert len(stage.omni.charts_asked) == 1
    assert charts(stage.fake_slack) == ["card" if is_on_card else "thread"] * 5
    assert stage.all_closed()


async def test_chart_is_fetched_with_answer_below_polls() -> None:
    stage, fake_slack = a_stage(a_card())
    async with stage.bot():
        await asyncio.sleep(5)
        stage.says(JobState.COMPLETE, answer=TALL)
        await asyncio.sleep(30)
    ((asked_at, position),) = stage.omni.charts_asked
    assert asked_at == pytest.approx(fake_slack.times("update")[-1], abs=0.1)
    assert position is not None and position.since == asked_at + YIELDS_SECONDS


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
async def test_job_without_answer_has_no_chart(state: JobState) -> None:
    stage, _ = a_stage(a_card())
    stage.omni.image = PNG
    stage.says(state)
    await delivered(stage)
    assert stage.omni.charts_asked == []


async def test_tried_chart_is_not_fetched_again() -> None:
    stage, fake_slack = a_charted_answer()
    fake_slack.plan("upload_private", ScopeMissing("missing_scope"))
    fake_slack.plan("upload", OutcomeUnknown("TimeoutError"))
    await delivered(stage)
    assert stage.card_repository.threads[CARD_ID][CHART].ts is None
    reopen(stage)
    await delivered(stage)
    assert len(stage.omni.charts_asked) == 1
    assert len(fake_slack.times("upload")) == 1
    assert stage.all_closed()


@pytest.mark.parametrize(
    "refusal",
    [NotAllowedHere("not_in_channel"), ScopeMissing("missing_scope"), MessageGone("x"), OutcomeUnknown("x")],
    ids=lambda refusal: type(refusal).__name__,
)
async def test_chart_refused_by_slack_is_left_out(refusal: SlackError) -> None:
    stage, fake_slack = a_charted_answer()
    fake_slack.plan("upload_private", refusal)
    fake_slack.plan("upload", refusal)
    await delivered(stage)
    assert fake_slack.uploaded == [] and fake_slack.replies() == []
    assert stage.all_closed()


async def test_no_chart_is_no_trouble() -> None:
    stage, fake_slack = an_answer("Short.")
    await delivered(stage)
    assert len(stage.omni.charts_asked) == 1
    assert fake_slack.times("upload") == []
    assert stage.all_closed()


@pytest.mark.parametrize("trouble", [OmniBusy("429"), OmniUnreachable("502")])
async def test_failed_chart_fetch_is_repeated(trouble: OmniError) -> None:
    stage, fake_slack = an_answer("Short.")
    stage.omni.image = trouble
    async with stage.bot():
        await asyncio.sleep(3)
        stage.omni.image = PNG
        await asyncio.sleep(30)
    assert len(charts(fake_slack)) == 1
    assert stage.all_closed()


async def test_unavailable_chart_is_left_out() -> None:
    stage, _ = an_answer(TALL)
    stage.omni.image = OmniUnreachable("502")
    await delivered(stage)
    assert len(stage.omni.charts_asked) == 3
    assert is_whole(stage)
    assert stage.all_closed()


async def test_waiting_chart_does_not_keep_card_open() -> None:
    stage, _ = an_answer(TALL)
    stage.omni.image = PNG
    stage.omni.chart_seconds = 10_000.0
    async with stage.bot():
        await asyncio.sleep(30)
        assert is_whole(stage) and not stage.all_closed()
        await asyncio.sleep(WAITED_FOR_SECONDS)
        assert stage.all_closed()


async def test_card_added_meanwhile_gets_chart() -> None:
    stage, fake_slack = an_answer("Short.")
    stage.omni.image = PNG
    stage.omni.chart_seconds = 20.0
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        await stage.card_repository.add(a_card("other", ChannelRef(HERE.team, ChannelId("C0OTHER")), GRACE))
        await stage.card_repository.add(
            replace(a_card("again"), followers=(GRACE,), requester=GRACE, requested_at=now())
        )
        await runner.start(JOB)
        await asyncio.sleep(60)
    assert len(stage.omni.charts_asked) == 1
    assert sorted(uploaded.place.id for uploaded in fake_slack.uploaded) == ["C0HERE", "C0OTHER"]
    assert stage.all_closed()


def still_running(name: str) -> Callable[[], list[str]]:
    return lambda: [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(name)]


async def test_shutdown_cancels_chart_fetch() -> None:
    stage, _ = an_answer("Short.")
    stage.omni.chart_seconds = 10_000.0
    charts = still_running("chart")
    async with stage.bot():
        await asyncio.sleep(5)
        assert len(charts()) == 1
    await asyncio.sleep(0)
    assert charts() == []
