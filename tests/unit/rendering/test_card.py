"""The card in every state, the thread reply, and the card that nobody follows any more.

The files in `tests/data/cards/` hold what Slack is sent; `tests.support.golden` writes them.
"""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from markdown_it.token import Token

from bot.demo.slack.block_kit.messages import judge
from bot.domain.errors import JobNotFound, KeyRefused, OmniBusy, OmniError, OmniUnreachable
from bot.domain.jobs import JobStatus, Progress
from bot.domain.messages import Message
from bot.domain.results import JobResult, Step
from bot.rendering.card import render_card, render_completion_reply, render_paused, render_unfollowed
from bot.rendering.data_messages import steps_message
from bot.rendering.markdown import mrkdwn
from tests.support import outside
from tests.support.golden import (
    ASKED,
    COMPLETE,
    EXECUTING,
    FOLDER,
    GRACE,
    LINUS,
    MESSAGES,
    NOW,
    RENEW,
    SIGHTS,
    TENANT,
    WATCH,
    as_json,
)


def shown(message: Message) -> str:
    return json.dumps(message.blocks, ensure_ascii=False)


def buttons(message: Message) -> list[dict[str, Any]]:
    return [button for block in message.blocks if block["type"] == "actions" for button in block["elements"]]


def running(**changes: Any) -> Message:
    return render_card(WATCH, JobStatus(replace(EXECUTING, **changes), NOW), NOW, TENANT)[0]


@pytest.mark.parametrize("name", MESSAGES)
def test_the_messages_are_those_that_were_looked_at(name: str) -> None:
    golden = FOLDER / f"{name}.json"
    assert golden.exists(), RENEW
    assert golden.read_text(encoding="utf-8") == as_json(MESSAGES[name]), RENEW


def test_every_golden_file_belongs_to_a_message() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == set(MESSAGES), RENEW


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
        ("looking_up", "Looking up the job in Omni."),
        ("queued", "Queued in Omni · asked"),
        ("executing", "Omni is working on it · started"),
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
    for form in render_card(WATCH, SIGHTS[name], NOW, TENANT):
        assert form.text.startswith(words)


@pytest.mark.parametrize("name", SIGHTS)
def test_an_unchanged_job_looks_the_same_at_any_time(name: str) -> None:
    later = render_card(WATCH, SIGHTS[name], NOW + timedelta(hours=5), TENANT)
    assert [form.fingerprint for form in later] == [form.fingerprint for form in MESSAGES[name]]


def test_every_form_of_a_card_is_different() -> None:
    for forms in MESSAGES.values():
        assert len({form.fingerprint for form in forms}) == len(forms)


def test_trouble_is_told_only_once_it_has_lasted_a_minute() -> None:
    status = JobStatus(EXECUTING, ASKED, OmniUnreachable(), ASKED)
    after_a_minute = ASKED + timedelta(seconds=60)
    quiet = render_card(WATCH, JobStatus(EXECUTING, ASKED), after_a_minute, TENANT)
    assert render_card(WATCH, status, after_a_minute, TENANT) == quiet
    told = render_card(WATCH, status, after_a_minute + timedelta(seconds=1), TENANT)
    assert "has not answered since <!date^1777903350^" in told[0].text + shown(told[0])


@pytest.mark.parametrize(
    "trouble, words",
    [
        (OmniUnreachable(), "has not answered"),
        (OmniBusy(), "limiting the bot's requests"),
        (KeyRefused(), "operator has to fix this"),
        (JobNotFound(), "has not found this job"),
    ],
)
def test_each_trouble_is_told_apart(trouble: OmniError, words: str) -> None:
    told = render_card(WATCH, JobStatus(EXECUTING, ASKED, trouble, ASKED), NOW, TENANT)[0]
    assert words in told.text and words in shown(told)


def test_an_ended_job_shows_no_trouble() -> None:
    troubled = replace(SIGHTS["complete"], error=OmniBusy(), failing_since=ASKED)
    assert render_card(WATCH, troubled, NOW + timedelta(hours=1), TENANT) == MESSAGES["complete"]


@pytest.mark.parametrize("name", SIGHTS)
def test_following_can_be_stopped_only_while_the_job_runs(name: str) -> None:
    stops = [b for b in buttons(MESSAGES[name][0]) if b["action_id"] == "stop_following"]
    assert [b["value"] for b in stops] == ([] if SIGHTS[name].is_final else [WATCH.id])


@pytest.mark.parametrize("name", SIGHTS)
def test_a_job_can_be_cancelled_until_its_answer_is_being_delivered(name: str) -> None:
    job = SIGHTS[name].job
    is_cancellable = job is not None and job.raw_state in ("QUEUED", "EXECUTING", "REHEARSING")
    is_cancellable = is_cancellable and not SIGHTS[name].is_missing
    cancels = [b for b in buttons(MESSAGES[name][0]) if b["action_id"] == "cancel_job"]
    assert [b["value"] for b in cancels] == ([WATCH.id] if is_cancellable else [])


def test_cancelling_asks_first_and_says_that_it_is_not_the_same_as_to_stop_following() -> None:
    (cancel,) = [b for b in buttons(MESSAGES["executing"][0]) if b["action_id"] == "cancel_job"]
    assert "for everyone" in cancel["confirm"]["text"]["text"]
    assert "press Stop following" in cancel["confirm"]["text"]["text"]


def test_a_cancellation_that_is_on_its_way_is_told_with_who_asked_for_it_and_not_asked_for_twice() -> None:
    for form in MESSAGES["executing_to_be_cancelled"]:
        assert f"<@{GRACE}> asked to cancel. Omni stops after this step" in form.text
    assert "cancel_job" not in shown(MESSAGES["executing_to_be_cancelled"][0])


def test_a_queued_job_that_is_to_be_cancelled_waits_for_no_step() -> None:
    for form in render_card(replace(WATCH, cancelled_by=GRACE), SIGHTS["queued"], NOW, TENANT):
        assert f"<@{GRACE}> asked to cancel." in form.text and "step" not in form.text


def test_a_card_that_nobody_follows_does_not_say_that_a_job_goes_on_that_is_to_be_cancelled() -> None:
    message = render_unfollowed(replace(WATCH, followers=(), cancelled_by=GRACE), SIGHTS["executing"], TENANT)
    assert "Omni was asked to cancel the job." in message.text and "keeps running" not in message.text


def test_a_job_cancelled_from_slack_names_who_did_it_and_not_the_keys_own_user() -> None:
    message = MESSAGES["cancelled_from_slack"][0]
    assert f"Cancelled by <@{GRACE}>." in message.text and "Omni user" not in message.text


def test_who_cancelled_is_not_rung_for_and_all_others_are() -> None:
    (told,) = MESSAGES["notice_cancelled_from_slack"]
    assert f"<@{GRACE}>" not in told.text and f"<@{LINUS}>" in told.text
    alone = replace(WATCH, cancelled_by=WATCH.requester)
    assert render_completion_reply(alone, SIGHTS["cancelled"], TENANT) is None
    assert render_completion_reply(alone, SIGHTS["failed"], TENANT) is not None


@pytest.mark.parametrize("name", SIGHTS)
def test_only_what_came_to_nothing_can_be_retried_and_only_an_answer_gone_on_from(name: str) -> None:
    actions = [b["action_id"] for b in buttons(MESSAGES[name][0])]
    came_to_nothing = name.startswith(("failed", "cancelled"))
    assert ("retry_job" in actions) == came_to_nothing
    assert ("ask_follow_up" in actions) == name.startswith("complete")


def test_a_card_that_was_retried_says_by_whom_and_offers_it_no_more() -> None:
    first = MESSAGES["failed_and_retried"][0]
    assert "retry_job" not in shown(first) and f"retried by <@{GRACE}>" in shown(first)
    assert f"retried by <@{GRACE}>" in MESSAGES["failed_and_retried"][-1].text


def test_a_chat_address_of_somebody_else_is_no_button() -> None:
    assert [b["action_id"] for b in buttons(running(chat_url="https://evil.example/chat/1"))] == [
        "cancel_job",
        "stop_following",
    ]


def test_progress_is_shown_without_its_markup() -> None:
    assert "Step 3: Running query: Top products by revenue" in shown(running())


def test_a_step_without_a_message_is_shown_alone() -> None:
    assert '"title": "Step 2"' in shown(running(progress=Progress("", 2)))


def test_only_the_beginning_of_a_step_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    parse = mrkdwn._parser.parse

    def remember(text: str) -> list[Token]:
        read.append(len(text))
        return parse(text)

    monkeypatch.setattr(mrkdwn._parser, "parse", remember)
    running(progress=Progress("![" * 100_000, 1))
    steps_message(JobResult(steps=(Step("inspect_model", "![" * 100_000),)))
    assert len(read) == 2 and max(read) <= 1_200


def test_progress_is_a_task_of_slacks_where_that_is_taken_and_the_same_line_of_text_where_not() -> None:
    task_card, plain, words = MESSAGES["executing"]
    tasks = [block for block in task_card.blocks if block["type"] == "task_card"]
    assert [(task["status"], task["title"]) for task in tasks] == [
        ("in_progress", "Step 3: Running query: Top products by revenue")
    ]
    assert "Step 3: Running query: Top products by revenue" in shown(plain)
    assert [block for block in task_card.blocks if block not in tasks] == [
        block for block in plain.blocks if block["type"] != "section" or "Step 3" not in block["text"]["text"]
    ]
    assert words.blocks == ()
    assert all("Step 3: Running query" in form.text for form in MESSAGES["executing"])


def test_without_progress_there_is_no_task() -> None:
    assert len(MESSAGES["executing_without_progress"]) == 2
    assert not any("task_card" in shown(form) for form in MESSAGES["executing_without_progress"])


@pytest.mark.parametrize("message", ["work " * 500, "&*_~`<" * 500, "字" * 2_000])
def test_an_endless_step_is_shown_by_its_beginning(message: str) -> None:
    for form in render_card(
        WATCH, JobStatus(replace(EXECUTING, progress=Progress(message, 1)), NOW), NOW, TENANT
    ):
        assert judge(form.text, list(form.blocks)) is None
        assert "Step 1: " in form.text and "…" in form.text


@pytest.mark.parametrize("name", ["complete", "failed", "cancelled"])
def test_an_ended_job_tells_how_long_it_took_and_when_it_ended_in_the_readers_own_time(name: str) -> None:
    ended_at = ASKED + timedelta(seconds=20 if name == "cancelled" else 68)
    heading = MESSAGES[name][0].blocks[0]["text"]["text"]
    assert ("24 s" if name == "cancelled" else "1 min 12 s") in heading
    assert f"<!date^{int(ended_at.timestamp())}^" in heading


@pytest.mark.parametrize("name", [name for name in MESSAGES if not name.startswith("notice")])
def test_every_card_is_built_alike(name: str) -> None:
    """What is the case, the question, the rest of it, what can be done, and the small print."""
    (heading, *between, last) = [block["type"] for block in MESSAGES[name][0].blocks]
    assert (heading, last) == ("section", "context")
    assert "rich_text" not in between[1:] and "actions" not in between[:-1]


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
    for form in render_card(WATCH, JobStatus(replace(COMPLETE, answer=answer), NOW), NOW, TENANT):
        assert "Omni finished without a written answer." in form.text


def test_the_plainer_answer_has_neither_a_markdown_block_nor_a_raw_table() -> None:
    plainer = MESSAGES["complete"][1]
    assert {block["type"] for block in plainer.blocks} <= {"section", "context", "actions", "rich_text"}
    assert "EMEA   | 41" in shown(plainer) and "*Sunglasses* - $678,994" in shown(plainer)


def test_the_notice_mentions_everybody_who_follows_and_nobody_else() -> None:
    message = render_completion_reply(replace(WATCH, followers=(GRACE, LINUS)), SIGHTS["failed"], TENANT)
    assert message is not None
    assert message.text.startswith("<@U0GRACE> <@U0LINUS>: The job failed")
    assert "QUERY_TIMEOUT" in message.text and "Open in Omni" in message.text
    assert "U0ADA" not in message.text


def test_there_is_no_notice_of_a_running_job_or_for_nobody() -> None:
    assert render_completion_reply(WATCH, SIGHTS["executing"], TENANT) is None
    assert render_completion_reply(replace(WATCH, followers=()), SIGHTS["failed"], TENANT) is None


def test_whoever_asked_is_still_named_after_they_stopped_following() -> None:
    message = render_card(replace(WATCH, followers=(GRACE,)), SIGHTS["queued"], NOW, TENANT)[0]
    assert "Asked by <@U0ADA>, also followed by <@U0GRACE>" in shown(message)


def test_the_card_that_rests_says_since_when_and_how_to_go_on() -> None:
    (message,) = MESSAGES["rested"]
    for told in (message.text, shown(message)):
        assert "The bot stopped watching" in told and "press *Resume*" in told
        assert "has not ended since <!date^1777903350^" in told
    assert "Question: What are the top 5 products" in message.text
    (link, resume) = buttons(message)
    assert link["action_id"] == "open_chat"
    assert (resume["action_id"], resume["value"]) == ("resume_following", WATCH.id)


def test_a_card_that_rests_again_counts_from_when_it_was_resumed() -> None:
    resumed = replace(WATCH, resumed_at=ASKED + timedelta(days=2))
    assert f"<!date^{1777903350 + 2 * 86_400}^" in render_paused(resumed, JobStatus(), TENANT).text


def test_a_card_that_rests_before_anything_was_known_still_says_how_to_go_on() -> None:
    message = render_paused(WATCH, JobStatus(), TENANT)
    assert [b["action_id"] for b in buttons(message)] == ["resume_following"]
    assert "Question" not in message.text


def test_the_card_that_nobody_follows_says_that_the_job_goes_on_and_how_to_follow_again() -> None:
    (message,) = MESSAGES["unfollowed"]
    assert "The job keeps running in Omni." in message.text and f"/omni-job {WATCH.job}" in message.text
    assert [b["action_id"] for b in buttons(message)] == ["open_chat"]
