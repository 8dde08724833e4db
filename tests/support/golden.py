"""Every card and thread reply in every state, and the golden files that hold the expected messages.

After a deliberate change, run `uv run python -m tests.support.golden` to rewrite the files in `tests/data/cards/`.
Then read the difference, and look at the cards: `uv run python -m tests.browser.gallery OUT_DIR`.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bot.domain.cards import Card, CardId, ChannelId, ChannelRef, TeamId, UserId
from bot.domain.errors import JobNotFound, KeyRefused, OmniBusy, OmniUnreachable
from bot.domain.jobs import Job, JobError, JobHistory, JobId, JobState, JobStatus, Progress
from bot.domain.messages import FileId, Message
from bot.domain.results import Rating
from bot.rendering.card import (
    rating_report,
    render_card,
    render_completion_reply,
    render_paused,
    render_unfollowed,
    render_withheld,
    with_chart,
)
from tests.support.paths import DATA

FOLDER = DATA / "cards"
RENEW = "To rewrite the files after a deliberate change: uv run python -m tests.support.golden"
TENANT = "https://acme.omniapp.co"
ASKED = datetime(2026, 5, 4, 14, 2, 30, tzinfo=UTC)
NOW = ASKED + timedelta(seconds=90)
ADA, GRACE, LINUS, EDSGER, BARBARA, ALAN = (
    UserId(f"U0{name}") for name in ("ADA", "GRACE", "LINUS", "EDSGER", "BARBARA", "ALAN")
)
CARD = Card(
    id=CardId("7d0f3c1e-8a51-4f2b-9a6e-0d7b0a9c5e11"),
    job=JobId("550e8400-e29b-41d4-a716-446655440000"),
    channel=ChannelRef(TeamId("T0ACME"), ChannelId("C0DATA")),
    requester=ADA,
    followers=(ADA,),
    requested_at=ASKED,
)
QUEUED = Job(
    id=CARD.job,
    state=JobState.QUEUED,
    raw_state="QUEUED",
    prompt="What are the top 5 products by revenue?",
    chat_url="https://acme.omni.co/chat/0b9d3f3e-6c1f-4b53-9f6f-2f1f1f6a0c11",
    created_at=ASKED - timedelta(seconds=4),
)
EXECUTING = replace(
    QUEUED,
    state=JobState.EXECUTING,
    raw_state="EXECUTING",
    execution_started_at=ASKED,
    progress=Progress("Running query: **Top products** by revenue", 3),
)
USUAL = (41.2, 88.0)
PAST = JobHistory(
    (Progress("Searching for **revenue** fields", 1), Progress("Query returned 42 rows", 2)), 0, USUAL
)
LONG_PAST = JobHistory(
    tuple(Progress(f"Comparing region {number}", number) for number in range(6, 12)), 5, USUAL
)
COMPLETE = replace(
    QUEUED,
    state=JobState.COMPLETE,
    raw_state="COMPLETE",
    topic="order_items",
    completed_at=ASKED + timedelta(seconds=68),
    answer="### Top products\n\n1. **Sunglasses** - $678,994\n2. **Jeans** - $475,072\n\n"
    "| Region | Sales |\n| --- | ---: |\n| EMEA | 41 |\n| APAC |  |\n\nSee [the chat](https://acme.omni.co/chat).",
)
FAILED = replace(
    QUEUED,
    state=JobState.FAILED,
    raw_state="FAILED",
    completed_at=ASKED + timedelta(seconds=68),
    error=JobError("The query took too long.", "QUERY_TIMEOUT", "query timed out after 300 seconds"),
)
LONG_ANSWER = "\n\n".join(
    f"## Finding {number}\n\nThe share of returning customers rose in the week after the change, and fell "
    f"again in the one that followed. **Region {number}** differs: there it stayed where it was."
    for number in range(1, 25)
)
LONG_PROMPT = """Compare last quarter's revenue with the one before:
by region and by category,
without returned orders,
and with the marketplace's orders apart.
Then say what to look at first."""
CANCELLED = replace(
    QUEUED,
    state=JobState.CANCELLED,
    raw_state="CANCELLED",
    cancelled_at=ASKED + timedelta(seconds=20),
)
CHART = FileId("F0PICTURE")
STATUSES = {
    "looking_up": JobStatus(),
    "queued": JobStatus(QUEUED, NOW),
    "queued_usually": JobStatus(QUEUED, ASKED, past=JobHistory(usual_seconds=USUAL)),
    "executing": JobStatus(EXECUTING, NOW),
    "executing_after_steps": JobStatus(EXECUTING, ASKED, past=PAST),
    "executing_after_many_steps": JobStatus(
        replace(EXECUTING, progress=Progress("Writing the summary", 12)), NOW, past=LONG_PAST
    ),
    "executing_with_a_long_question": JobStatus(replace(EXECUTING, prompt=LONG_PROMPT), NOW),
    "executing_without_progress": JobStatus(replace(EXECUTING, progress=None), NOW),
    "delivering": JobStatus(replace(QUEUED, state=JobState.DELIVERING, raw_state="DELIVERING"), NOW),
    "delivering_after_steps": JobStatus(
        replace(QUEUED, state=JobState.DELIVERING, raw_state="DELIVERING"), NOW, past=PAST
    ),
    "unknown_state": JobStatus(replace(QUEUED, state=JobState.UNKNOWN, raw_state="REHEARSING"), NOW),
    "unreachable": JobStatus(EXECUTING, ASKED, OmniUnreachable(), ASKED),
    "limited": JobStatus(EXECUTING, ASKED, OmniBusy(), ASKED),
    "not_found": JobStatus(EXECUTING, ASKED, JobNotFound(), ASKED),
    "key_refused": JobStatus(None, None, KeyRefused(), ASKED),
    "complete": JobStatus(COMPLETE, NOW),
    "complete_long": JobStatus(replace(COMPLETE, answer=LONG_ANSWER), NOW),
    "complete_without_answer": JobStatus(replace(COMPLETE, answer=None, topic=None), NOW),
    "failed": JobStatus(FAILED, NOW),
    "failed_without_detail": JobStatus(replace(FAILED, error=JobError("The query took too long.")), NOW),
    "failed_without_reason": JobStatus(replace(FAILED, error=None), NOW),
    "cancelled": JobStatus(CANCELLED, NOW),
    "missing": JobStatus(EXECUTING, NOW, is_missing=True),
    "never_known": JobStatus(is_missing=True),
}


def all_messages() -> dict[str, tuple[Message, ...]]:
    crowd = replace(CARD, followers=(ADA, GRACE, LINUS, EDSGER, BARBARA, ALAN))
    ended = {
        name: render_completion_reply(CARD, STATUSES[name], TENANT)
        for name in ("complete", "failed", "cancelled", "missing")
    }
    return {
        **{name: render_card(CARD, status, NOW, TENANT) for name, status in STATUSES.items()},
        **{f"notice_{name}": (message,) for name, message in ended.items() if message is not None},
        "complete_in_direct_messages": render_card(
            replace(CARD, channel=ChannelRef(CARD.channel.team, ChannelId("D0ADA"))),
            STATUSES["complete_without_answer"],
            NOW,
            TENANT,
        ),
        "complete_and_shared": render_card(
            replace(CARD, shared_by=GRACE), STATUSES["complete_without_answer"], NOW, TENANT
        ),
        "removed": render_card(replace(CARD, removed_by=GRACE), STATUSES["complete"], NOW, TENANT),
        "removed_without_status": render_card(
            replace(CARD, removed_by=GRACE), STATUSES["looking_up"], NOW, TENANT
        ),
        "asked_in_slack": render_card(replace(CARD, asked_by_bot=True), STATUSES["executing"], NOW, TENANT),
        "followed_by_many": render_card(crowd, STATUSES["queued"], NOW, TENANT),
        "executing_to_be_cancelled": render_card(
            replace(CARD, cancelled_by=GRACE), STATUSES["executing"], NOW, TENANT
        ),
        "cancelled_from_slack": render_card(
            replace(CARD, cancelled_by=GRACE), STATUSES["cancelled"], NOW, TENANT
        ),
        "failed_and_retried": render_card(replace(CARD, retried_by=GRACE), STATUSES["failed"], NOW, TENANT),
        "notice_cancelled_from_slack": tuple(
            filter(
                None,
                [render_completion_reply(replace(crowd, cancelled_by=GRACE), STATUSES["cancelled"], TENANT)],
            )
        ),
        "unfollowed": (render_unfollowed(replace(CARD, followers=()), STATUSES["executing"], TENANT),),
        **{
            f"link_only_{name}": render_card(CARD, STATUSES[name].redacted(), NOW, TENANT)
            for name in ("executing", "complete", "failed")
        },
        "complete_with_chart": tuple(
            filter(
                None,
                (
                    with_chart(message, COMPLETE, CHART)
                    for message in render_card(CARD, STATUSES["complete"], NOW, TENANT)
                ),
            )
        ),
        "complete_with_feedback": render_card(CARD, STATUSES["complete"], NOW, TENANT, asks_feedback=True),
        "rating_helpful": (rating_report(CARD.job, ADA, Rating.HELPFUL, "", COMPLETE.chat_url),),
        "rating_unhelpful": (
            rating_report(CARD.job, ADA, Rating.UNHELPFUL, "Returns <!channel> are *missing*.", None),
        ),
        "withheld": (render_withheld(CARD, STATUSES["complete"], TENANT),),
        "rested": (render_paused(CARD, STATUSES["executing"], TENANT),),
    }


MESSAGES = all_messages()


def as_json(messages: tuple[Message, ...]) -> str:
    forms = [{"text": message.text, "blocks": message.blocks} for message in messages]
    return json.dumps(forms, indent=2, ensure_ascii=False) + "\n"


def write() -> None:
    """Write a file for every message, and delete the other files."""
    for file in FOLDER.glob("*.json"):
        file.unlink()
    for name, forms in MESSAGES.items():
        (FOLDER / f"{name}.json").write_text(as_json(forms), encoding="utf-8")


if __name__ == "__main__":
    write()
