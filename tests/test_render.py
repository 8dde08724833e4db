"""The card in every state, the thread reply, and the card that nobody follows any more.

The golden files in `tests/data/cards/` hold what Slack is sent. To write them anew after a deliberate
change, and then to read the difference: `REWRITE_CARDS=1 uv run pytest tests/test_render.py`.
"""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.demo.payload import judge
from bot.job import Job, JobError, JobId, JobState, Progress
from bot.ports import JobNotFound, KeyRefused, Message, OmniBusy, OmniError, OmniUnreachable
from bot.render import card, notice, rested, unfollowed
from bot.sight import Sight
from bot.watch import ChannelId, Place, TeamId, UserId, Watch, WatchId
from tests import outside

GOLDEN = Path(__file__).parent / "data" / "cards"
TENANT = "https://acme.omniapp.co"
ASKED = datetime(2026, 5, 4, 14, 2, 30, tzinfo=UTC)
NOW = ASKED + timedelta(seconds=90)
ADA, GRACE, LINUS, EDSGER, BARBARA, ALAN = (
    UserId(f"U0{name}") for name in ("ADA", "GRACE", "LINUS", "EDSGER", "BARBARA", "ALAN")
)
WATCH = Watch(
    id=WatchId("7d0f3c1e-8a51-4f2b-9a6e-0d7b0a9c5e11"),
    job=JobId("550e8400-e29b-41d4-a716-446655440000"),
    place=Place(TeamId("T0ACME"), ChannelId("C0DATA")),
    requester=ADA,
    followers=(ADA,),
    asked_at=ASKED,
)
QUEUED = Job(
    id=WATCH.job,
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
CANCELLED = replace(
    QUEUED,
    state=JobState.CANCELLED,
    raw_state="CANCELLED",
    cancelled_at=ASKED + timedelta(seconds=20),
    cancelled_by="a1b2c3d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d",
)
SIGHTS = {
    "looking_up": Sight(),
    "queued": Sight(QUEUED, NOW),
    "executing": Sight(EXECUTING, NOW),
    "executing_without_progress": Sight(replace(EXECUTING, progress=None), NOW),
    "delivering": Sight(replace(QUEUED, state=JobState.DELIVERING, raw_state="DELIVERING"), NOW),
    "unknown_state": Sight(replace(QUEUED, state=JobState.UNKNOWN, raw_state="REHEARSING"), NOW),
    "unreachable": Sight(EXECUTING, ASKED, OmniUnreachable(), ASKED),
    "limited": Sight(EXECUTING, ASKED, OmniBusy(), ASKED),
    "key_refused": Sight(None, None, KeyRefused(), ASKED),
    "complete": Sight(COMPLETE, NOW),
    "complete_without_answer": Sight(replace(COMPLETE, answer=None, topic=None), NOW),
    "failed": Sight(FAILED, NOW),
    "failed_without_reason": Sight(replace(FAILED, error=None), NOW),
    "cancelled": Sight(CANCELLED, NOW),
    "missing": Sight(EXECUTING, NOW, missing=True),
    "never_known": Sight(missing=True),
}


def all_messages() -> dict[str, tuple[Message, ...]]:
    crowd = replace(WATCH, followers=(ADA, GRACE, LINUS, EDSGER, BARBARA, ALAN))
    ended = {
        name: notice(WATCH, SIGHTS[name], TENANT) for name in ("complete", "failed", "cancelled", "missing")
    }
    return {
        **{name: card(WATCH, sight, NOW, TENANT) for name, sight in SIGHTS.items()},
        **{f"notice_{name}": (message,) for name, message in ended.items() if message is not None},
        "followed_by_many": card(crowd, SIGHTS["queued"], NOW, TENANT),
        "unfollowed": (unfollowed(replace(WATCH, followers=()), SIGHTS["executing"], TENANT),),
        "rested": (rested(WATCH, SIGHTS["executing"], TENANT),),
    }


MESSAGES = all_messages()


def as_json(messages: tuple[Message, ...]) -> str:
    forms = [{"text": message.text, "blocks": message.blocks} for message in messages]
    return json.dumps(forms, indent=2, ensure_ascii=False) + "\n"


def shown(message: Message) -> str:
    return json.dumps(message.blocks, ensure_ascii=False)


def buttons(message: Message) -> list[dict[str, Any]]:
    return [button for block in message.blocks if block["type"] == "actions" for button in block["elements"]]


def running(**changes: Any) -> Message:
    return card(WATCH, Sight(replace(EXECUTING, **changes), NOW), NOW, TENANT)[0]


@pytest.mark.parametrize("name", MESSAGES)
def test_the_messages_are_those_that_were_looked_at(name: str) -> None:
    golden = GOLDEN / f"{name}.json"
    if os.environ.get("REWRITE_CARDS"):
        golden.write_text(as_json(MESSAGES[name]), encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == as_json(MESSAGES[name])


def test_every_golden_file_belongs_to_a_message() -> None:
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(MESSAGES)


@pytest.mark.parametrize("name", MESSAGES)
def test_slack_takes_every_form(name: str) -> None:
    for message in MESSAGES[name]:
        assert judge(message.text, list(message.blocks)) is None


@pytest.mark.parametrize("name", MESSAGES)
def test_libraries_that_are_not_ours_have_every_form(name: str) -> None:
    for message in MESSAGES[name]:
        outside.judge(message)


@pytest.mark.parametrize(
    "name, words",
    [
        ("looking_up", "Looking the job up in Omni."),
        ("queued", "Queued in Omni since"),
        ("executing", "Omni is working on it since"),
        ("delivering", "Omni is delivering the answer"),
        ("unknown_state", "Still running (REHEARSING)"),
        ("complete", "Answered in 1 min 12 s"),
        ("failed", "The job failed"),
        ("cancelled", "The job was cancelled"),
        ("missing", "Omni no longer knows this job."),
        ("never_known", "Omni does not know this job."),
    ],
)
def test_the_state_is_told_in_words_in_every_form_and_to_those_who_hear_it(name: str, words: str) -> None:
    for form in card(WATCH, SIGHTS[name], NOW, TENANT):
        assert form.text.startswith(words)


@pytest.mark.parametrize("name", SIGHTS)
def test_an_unchanged_job_looks_the_same_at_any_time(name: str) -> None:
    later = card(WATCH, SIGHTS[name], NOW + timedelta(hours=5), TENANT)
    assert [form.fingerprint for form in later] == [form.fingerprint for form in MESSAGES[name]]


def test_every_form_of_a_card_is_different() -> None:
    for forms in MESSAGES.values():
        assert len({form.fingerprint for form in forms}) == len(forms)


def test_trouble_is_told_only_once_it_has_lasted_a_minute() -> None:
    sight = Sight(EXECUTING, ASKED, OmniUnreachable(), ASKED)
    after_a_minute = ASKED + timedelta(seconds=60)
    quiet = card(WATCH, Sight(EXECUTING, ASKED), after_a_minute, TENANT)
    assert card(WATCH, sight, after_a_minute, TENANT) == quiet
    told = card(WATCH, sight, after_a_minute + timedelta(seconds=1), TENANT)
    assert "has not answered since <!date^1777903350^" in told[0].text + shown(told[0])


@pytest.mark.parametrize(
    "trouble, words",
    [
        (OmniUnreachable(), "has not answered"),
        (OmniBusy(), "limiting the bot's requests"),
        (KeyRefused(), "operator has to act"),
        (JobNotFound(), "has not found this job"),
    ],
)
def test_each_trouble_is_told_apart(trouble: OmniError, words: str) -> None:
    told = card(WATCH, Sight(EXECUTING, ASKED, trouble, ASKED), NOW, TENANT)[0]
    assert words in told.text and words in shown(told)


def test_an_ended_job_shows_no_trouble() -> None:
    troubled = replace(SIGHTS["complete"], trouble=OmniBusy(), trouble_since=ASKED)
    assert card(WATCH, troubled, NOW + timedelta(hours=1), TENANT) == MESSAGES["complete"]


@pytest.mark.parametrize("name", SIGHTS)
def test_following_can_be_stopped_only_while_the_job_runs(name: str) -> None:
    stops = [b for b in buttons(MESSAGES[name][0]) if b["action_id"] == "stop_following"]
    assert [b["value"] for b in stops] == ([] if SIGHTS[name].is_final else [WATCH.id])


def test_a_chat_address_of_somebody_else_is_no_button() -> None:
    assert [b["action_id"] for b in buttons(running(chat_url="https://evil.example/chat/1"))] == [
        "stop_following"
    ]


def test_progress_is_shown_without_its_markup() -> None:
    assert "Step 3: Running query: Top products by revenue" in shown(running())


def test_a_step_without_a_message_is_shown_alone() -> None:
    assert '"text": "Step 2"' in shown(running(progress=Progress("", 2)))


def test_an_endless_prompt_is_shown_by_its_beginning() -> None:
    message = running(prompt="Tell me everything. " * 2_500)
    (said,) = [block for block in message.blocks if block["type"] == "rich_text"]
    text = said["elements"][0]["elements"][0]["text"]
    assert text.startswith("Tell me everything.") and text.endswith("…") and len(text) <= 300
    assert len(message.text) < 1_000


def test_a_prompt_of_many_lines_is_shown_by_three() -> None:
    message = running(prompt="one\n\ntwo\nthree\nfour")
    assert '"text": "one\\ntwo\\nthree…"' in shown(message)


def test_a_prompt_is_shown_as_it_was_typed() -> None:
    assert '"text": "*why* is `a_b` ~ <c> & d?"' in shown(running(prompt="*why* is `a_b` ~ <c> & d?"))


@pytest.mark.parametrize("answer", [None, "", " \n ", "\u200b"])
def test_an_absent_answer_is_told_as_such(answer: str | None) -> None:
    for form in card(WATCH, Sight(replace(COMPLETE, answer=answer), NOW), NOW, TENANT):
        assert "Omni finished without a written answer." in form.text


def test_the_plainer_answer_has_neither_a_markdown_block_nor_a_raw_table() -> None:
    plainer = MESSAGES["complete"][1]
    assert {block["type"] for block in plainer.blocks} <= {"section", "context", "actions", "rich_text"}
    assert "EMEA   | 41" in shown(plainer) and "*Sunglasses* - $678,994" in shown(plainer)


def test_the_notice_mentions_everybody_who_follows_and_nobody_else() -> None:
    message = notice(replace(WATCH, followers=(GRACE, LINUS)), SIGHTS["failed"], TENANT)
    assert message is not None
    assert message.text.startswith("<@U0GRACE> <@U0LINUS>: The job failed")
    assert "QUERY_TIMEOUT" in message.text and "Open in Omni" in message.text
    assert "U0ADA" not in message.text


def test_there_is_no_notice_of_a_running_job_or_for_nobody() -> None:
    assert notice(WATCH, SIGHTS["executing"], TENANT) is None
    assert notice(replace(WATCH, followers=()), SIGHTS["failed"], TENANT) is None


def test_whoever_asked_is_still_named_after_they_stopped_following() -> None:
    message = card(replace(WATCH, followers=(GRACE,)), SIGHTS["queued"], NOW, TENANT)[0]
    assert "Asked by <@U0ADA>, also followed by <@U0GRACE>" in shown(message)


def test_the_card_that_rests_says_since_when_and_how_to_go_on() -> None:
    (message,) = MESSAGES["rested"]
    for told in (message.text, shown(message)):
        assert "The bot stopped looking" in told and "Press *Resume*" in told
        assert "has not ended since <!date^1777903350^" in told
    assert "Question: What are the top 5 products" in message.text
    (link, resume) = buttons(message)
    assert link["action_id"] == "open_chat"
    assert (resume["action_id"], resume["value"]) == ("resume_following", WATCH.id)


def test_a_card_that_rests_again_counts_from_when_it_was_resumed() -> None:
    resumed = replace(WATCH, resumed_at=ASKED + timedelta(days=2))
    assert f"<!date^{1777903350 + 2 * 86_400}^" in rested(resumed, Sight(), TENANT).text


def test_a_card_that_rests_before_anything_was_known_still_says_how_to_go_on() -> None:
    message = rested(WATCH, Sight(), TENANT)
    assert [b["action_id"] for b in buttons(message)] == ["resume_following"]
    assert "Question" not in message.text


def test_the_card_that_nobody_follows_says_that_the_job_goes_on_and_how_to_follow_again() -> None:
    (message,) = MESSAGES["unfollowed"]
    assert "The job goes on in Omni." in message.text and f"/omni-job {WATCH.job}" in message.text
    assert [b["action_id"] for b in buttons(message)] == ["open_chat"]
