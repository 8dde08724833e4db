"""The card in every state, the completion reply and the unfollowed card.

The files in `tests/data/cards/` hold the expected messages; `tests.support.golden` writes them.
"""

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from markdown_it.token import Token

from bot.demo.slack.block_kit.messages import judge
from bot.domain.cards import API_CLIENT, ChannelId
from bot.domain.errors import JobNotFound, KeyRefused, OmniBusy, OmniError, OmniUnreachable
from bot.domain.jobs import MOST_REPORTS, JobHistory, JobState, JobStatus, Progress
from bot.domain.messages import Message
from bot.domain.results import JobResult, Step
from bot.rendering.blocks import section
from bot.rendering.card import (
    render_card,
    render_completion_reply,
    render_paused,
    render_unfollowed,
    with_chart,
)
from bot.rendering.data_messages import steps_message
from bot.rendering.markdown import parse
from tests.support import outside
from tests.support.golden import (
    ASKED,
    CARD,
    CHART,
    COMPLETE,
    EXECUTING,
    FOLDER,
    GRACE,
    LINUS,
    MESSAGES,
    NOW,
    RENEW,
    STATUSES,
    TENANT,
    as_json,
)
from tests.support.tables import for_each


def shown(message: Message) -> str:
    return json.dumps(message.blocks, ensure_ascii=False)


def buttons(message: Message) -> list[dict[str, Any]]:
    return [button for block in message.blocks if block["type"] == "actions" for button in block["elements"]]


def running(**changes: Any) -> Message:
    return render_card(CARD, JobStatus(replace(EXECUTING, **changes), NOW), NOW, TENANT)[0]


@for_each("name", MESSAGES)
def test_messages_match_golden_files(name: str) -> None:
    golden = FOLDER / f"{name}.json"
    assert golden.exists(), RENEW
    assert golden.read_text(encoding="utf-8") == as_json(MESSAGES[name]), RENEW


def test_every_golden_file_has_a_message() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == set(MESSAGES), RENEW


@for_each("name", MESSAGES)
def test_slack_accepts_every_variant(name: str) -> None:
    for message in MESSAGES[name]:
        assert judge(message.text, list(message.blocks)) is None


@for_each("name", MESSAGES)
def test_independent_libraries_accept_every_variant(name: str) -> None:
    for message in MESSAGES[name]:
        outside.judge(message)


@for_each(
    "name, words",
    [
        ("looking_up", "Looking up the job in Omni."),
        ("queued", "Queued in Omni: “What"),
        ("executing", "Omni is working on it: “What"),
        ("delivering", "Omni is delivering the answer"),
        ("unknown_state", "Still running (REHEARSING)"),
        ("complete", "Answered in 1 min 12 s"),
        ("failed", "The job failed"),
        ("cancelled", "The job was cancelled"),
        ("missing", "Omni no longer knows this job: “What"),
        ("never_known", "Omni does not know this job."),
    ],
)
def test_every_variant_says_the_state(name: str, words: str) -> None:
    for form in render_card(CARD, STATUSES[name], NOW, TENANT):
        assert form.text.startswith(words)


@for_each("name", STATUSES)
def test_unchanged_job_renders_equal_later(name: str) -> None:
    later = render_card(CARD, STATUSES[name], NOW + timedelta(hours=5), TENANT)
    assert [form.fingerprint for form in later] == [form.fingerprint for form in MESSAGES[name]]


def test_variants_of_a_card_differ() -> None:
    for forms in MESSAGES.values():
        assert len({form.fingerprint for form in forms}) == len(forms)


def test_error_is_shown_after_a_minute() -> None:
    status = JobStatus(EXECUTING, ASKED, OmniUnreachable(), ASKED)
    after_a_minute = ASKED + timedelta(seconds=60)
    quiet = render_card(CARD, JobStatus(EXECUTING, ASKED), after_a_minute, TENANT)
    assert render_card(CARD, status, after_a_minute, TENANT) == quiet
    told = render_card(CARD, status, after_a_minute + timedelta(seconds=1), TENANT)
    assert "has not answered since <!date^1777903350^" in told[0].text + shown(told[0])


@for_each(
    "trouble, words",
    [
        (OmniUnreachable(), "has not answered"),
        (OmniBusy(), "limiting the bot's requests"),
        (KeyRefused(), "operator has to fix this"),
        (JobNotFound(), "has not found this job"),
    ],
)
def test_each_error_has_its_text(trouble: OmniError, words: str) -> None:
    told = render_card(CARD, JobStatus(EXECUTING, ASKED, trouble, ASKED), NOW, TENANT)[0]
    assert words in told.text and words in shown(told)


def test_ended_job_shows_no_error() -> None:
    troubled = replace(STATUSES["complete"], error=OmniBusy(), failing_since=ASKED)
    assert render_card(CARD, troubled, NOW + timedelta(hours=1), TENANT) == MESSAGES["complete"]


def offered(message: Message) -> dict[str, str]:
    """The card's id by the action of each button and each option of a menu."""
    options = [option["value"] for b in buttons(message) for option in b.get("options", ())]
    pairs = [value.split(" ") for value in options] + [
        (b["action_id"], b["value"]) for b in buttons(message) if b["type"] == "button" and "value" in b
    ]
    return dict(pairs)


@for_each("name", MESSAGES)
def test_card_has_at_most_four_controls(name: str) -> None:
    assert len(buttons(MESSAGES[name][0])) <= 4


@for_each("name", STATUSES)
def test_running_card_offers_follow_and_stop(name: str) -> None:
    shown = offered(MESSAGES[name][0])
    expected = None if STATUSES[name].is_final else CARD.id
    assert shown.get("follow") == shown.get("stop_following") == expected


def test_card_in_direct_messages_offers_no_follow() -> None:
    direct = replace(CARD, channel=replace(CARD.channel, id=ChannelId("D0ADA")))
    (message, *_) = render_card(direct, STATUSES["executing"], NOW, TENANT)
    assert [b["action_id"] for b in buttons(message)] == ["open_chat", "cancel_job", "stop_following"]


def test_menu_holds_what_few_need() -> None:
    (menu,) = [b for b in buttons(MESSAGES["executing"][0]) if b["type"] == "overflow"]
    assert [option["text"]["text"] for option in menu["options"]] == ["Stop following", "Cancel job"]
    assert "for everyone" in menu["confirm"]["text"]["text"], "its confirmation is that of every option"


def test_single_choice_is_a_button() -> None:
    actions = [b["action_id"] for b in buttons(MESSAGES["delivering"][0])]
    assert actions == ["open_chat", "follow", "stop_following"], "Slack refuses a menu of one option"


@for_each("name", STATUSES)
def test_cancel_button_until_delivering(name: str) -> None:
    job = STATUSES[name].job
    is_cancellable = job is not None and job.raw_state in ("QUEUED", "EXECUTING", "REHEARSING")
    is_cancellable = is_cancellable and not STATUSES[name].is_missing
    assert offered(MESSAGES[name][0]).get("cancel_job") == (CARD.id if is_cancellable else None)


def test_cancel_button_asks_for_confirmation() -> None:
    direct = replace(CARD, channel=replace(CARD.channel, id=ChannelId("D0ADA")))
    (message, *_) = render_card(direct, STATUSES["executing"], NOW, TENANT)
    (cancel,) = [b for b in buttons(message) if b["action_id"] == "cancel_job"]
    assert "for everyone" in cancel["confirm"]["text"]["text"]
    assert "press Stop following" in cancel["confirm"]["text"]["text"]


def test_pending_cancellation_names_the_user() -> None:
    for form in MESSAGES["executing_to_be_cancelled"]:
        assert f"<@{GRACE}> asked to cancel. Omni stops after this step" in form.text
    assert "cancel_job" not in shown(MESSAGES["executing_to_be_cancelled"][0])


def test_cancelling_queued_job_mentions_no_step() -> None:
    for form in render_card(replace(CARD, cancelled_by=GRACE), STATUSES["queued"], NOW, TENANT):
        assert f"<@{GRACE}> asked to cancel." in form.text and "step" not in form.text


def test_unfollowed_card_mentions_pending_cancellation() -> None:
    message = render_unfollowed(
        replace(CARD, followers=(), cancelled_by=GRACE), STATUSES["executing"], TENANT
    )
    assert "Omni was asked to cancel the job." in message.text and "keeps running" not in message.text


def test_cancelled_card_names_the_slack_user() -> None:
    message = MESSAGES["cancelled_from_slack"][0]
    assert f"Cancelled by <@{GRACE}>." in message.text and "Omni user" not in message.text


def test_canceller_is_not_mentioned() -> None:
    (told,) = MESSAGES["notice_cancelled_from_slack"]
    assert f"<@{GRACE}>" not in told.text and f"<@{LINUS}>" in told.text
    alone = replace(CARD, cancelled_by=CARD.requester)
    assert render_completion_reply(alone, STATUSES["cancelled"], TENANT) is None
    assert render_completion_reply(alone, STATUSES["failed"], TENANT) is not None


@for_each("name", STATUSES)
def test_retry_and_follow_up_buttons(name: str) -> None:
    actions = [b["action_id"] for b in buttons(MESSAGES[name][0])]
    came_to_nothing = name.startswith(("failed", "cancelled"))
    assert ("retry_job" in actions) == came_to_nothing
    assert ("ask_follow_up" in actions) == name.startswith("complete")


def test_retried_card_names_the_user() -> None:
    first = MESSAGES["failed_and_retried"][0]
    assert "retry_job" not in shown(first) and f"retried by <@{GRACE}>" in shown(first)
    assert f"retried by <@{GRACE}>" in MESSAGES["failed_and_retried"][-1].text


def test_foreign_chat_url_is_no_button() -> None:
    assert [b["action_id"] for b in buttons(running(chat_url="http://acme.omniapp.co/chat/1"))] == [
        "follow",
        "card_menu",
    ]


def test_progress_is_shown_without_markup() -> None:
    assert "Step 3: Running query: Top products by revenue" in shown(running())


def test_step_without_message_shows_number() -> None:
    assert '"title": "Step 2"' in shown(running(progress=Progress("", 2)))


def test_only_beginning_of_step_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    parser = parse._parser.parse

    def remember(text: str) -> list[Token]:
        read.append(len(text))
        return parser(text)

    monkeypatch.setattr(parse._parser, "parse", remember)
    running(progress=Progress("![" * 100_000, 1))
    steps_message(JobResult(steps=(Step("inspect_model", "![" * 100_000),)))
    assert len(read) == 2 and max(read) <= 1_200


def test_steps_are_plan_or_tasks_or_text() -> None:
    with_plan, with_tasks, plain, words = MESSAGES["executing_after_steps"]
    (plan,) = [block for block in with_plan.blocks if block["type"] == "plan"]
    expected = [
        ("complete", "Step 1: Searching for revenue fields"),
        ("complete", "Step 2: Query returned 42 rows"),
        ("in_progress", "Step 3: Running query: Top products by revenue"),
    ]
    assert [(task["status"], task["title"]) for task in plan["tasks"]] == expected
    assert [block for block in with_tasks.blocks if block["type"] == "task_card"] == plan["tasks"]
    lines = (
        "✓ Step 1: Searching for revenue fields\n✓ Step 2: Query returned 42 rows\nStep 3: Running query: "
    )
    assert any(lines in block["text"]["text"] for block in plain.blocks if block["type"] == "section")
    assert words.blocks == ()
    assert all(lines in form.text for form in MESSAGES["executing_after_steps"])


def test_first_step_is_one_task() -> None:
    with_task, plain, _ = MESSAGES["executing"]
    assert [
        block["type"] for block in with_task.blocks
    ] == "section rich_text task_card actions context".split()
    assert [block["type"] for block in plain.blocks] == "section rich_text section actions context".split()


def test_folded_plan_shows_current_step() -> None:
    """Slack folds a plan up after each edit."""
    (plan,) = [block for block in MESSAGES["executing_after_steps"][0].blocks if block["type"] == "plan"]
    assert plan["title"] == "Step 3: Running query: Top products by revenue"
    (plan,) = [block for block in MESSAGES["delivering_after_steps"][0].blocks if block["type"] == "plan"]
    assert plan["title"] == "2 steps done" and {task["status"] for task in plan["tasks"]} == {"complete"}


def test_older_steps_are_folded_into_a_count() -> None:
    (plan,) = [b for b in MESSAGES["executing_after_many_steps"][0].blocks if b["type"] == "plan"]
    first, *others = plan["tasks"]
    assert (first["title"], len(others)) == ("6 earlier steps", MOST_REPORTS)
    ids = [task["task_id"] for task in plan["tasks"]]
    assert len(set(ids)) == len(ids) and ids[-1].endswith(":12"), "a step keeps its id over the edits"


def test_without_progress_there_is_no_task() -> None:
    assert len(MESSAGES["executing_without_progress"]) == 2
    assert not any("task_card" in shown(form) for form in MESSAGES["executing_without_progress"])


@for_each(
    "usual, said",
    [((41.2, 99.0), "usually 40 to 100 s"), ((12.0, 61.0), "takes longer than usual (10 to 60 s)")],
)
def test_card_says_how_long_jobs_usually_take(usual: tuple[float, float], said: str) -> None:
    status = JobStatus(EXECUTING, NOW, past=JobHistory(usual_seconds=usual))
    for form in render_card(CARD, status, NOW, TENANT):
        assert said in form.text
        assert not form.blocks or said in form.blocks[0]["text"]["text"]


def test_unknown_usual_duration_is_not_mentioned() -> None:
    assert "usual" not in MESSAGES["executing"][0].text


@for_each("state", [state for state in JobState if not state.is_final])
def test_running_job_shows_one_time_in_every_state(state: JobState) -> None:
    times = {
        re.search(r"asked <!date\^(\d+)\^", shown(running(state=state, execution_started_at=started)))[1]  # type: ignore[index]
        for started in (None, ASKED, NOW)
    }
    assert times == {str(int((ASKED - timedelta(seconds=4)).timestamp()))}


@for_each("message", ["work " * 500, "&*_~`<" * 500, "字" * 2_000])
def test_long_step_is_shortened(message: str) -> None:
    for form in render_card(
        CARD, JobStatus(replace(EXECUTING, progress=Progress(message, 1)), NOW), NOW, TENANT
    ):
        assert judge(form.text, list(form.blocks)) is None
        assert "Step 1: " in form.text and "…" in form.text


@for_each("name", ["complete", "failed", "cancelled"])
def test_ended_job_shows_duration_and_time(name: str) -> None:
    ended_at = ASKED + timedelta(seconds=20 if name == "cancelled" else 68)
    heading = MESSAGES[name][0].blocks[0]["text"]["text"]
    assert ("24 s" if name == "cancelled" else "1 min 12 s") in heading
    assert f"<!date^{int(ended_at.timestamp())}^" in heading


@for_each("name", [name for name in MESSAGES if not name.startswith(("notice", "rating"))])
def test_every_card_is_built_alike(name: str) -> None:
    """What is the case, the question, the rest of it, what can be done, and the small print."""
    (heading, *between, last) = [block["type"] for block in MESSAGES[name][0].blocks]
    assert (heading, last) == ("section", "context")
    done = [kind for kind in between if kind != "context_actions"]
    assert "actions" not in done[:-1]
    if not name.startswith("complete"):
        assert "rich_text" not in between[1:]


def test_long_prompt_is_shortened() -> None:
    message = running(prompt="Tell me everything. " * 2_500)
    (said,) = [block for block in message.blocks if block["type"] == "rich_text"]
    text = said["elements"][0]["elements"][0]["text"]
    assert text.startswith("Tell me everything.") and text.endswith("…") and len(text) <= 300
    assert len(message.text) < 1_000


def test_prompt_shows_three_lines() -> None:
    message = running(prompt="one\n\ntwo\nthree\nfour")
    assert '"text": "one\\ntwo\\nthree…"' in shown(message)


def test_prompt_is_shown_unformatted() -> None:
    assert '"text": "*why* is `a_b` ~ <c> & d?"' in shown(running(prompt="*why* is `a_b` ~ <c> & d?"))


@for_each("answer", [None, "", " \n ", "\u200b"])
def test_an_absent_answer_is_told_as_such(answer: str | None) -> None:
    for form in render_card(CARD, JobStatus(replace(COMPLETE, answer=answer), NOW), NOW, TENANT):
        assert "Omni finished without a written answer." in form.text


def test_plainer_variant_has_only_sections() -> None:
    plainer = MESSAGES["complete"][2]
    assert {block["type"] for block in plainer.blocks} <= {"section", "context", "actions", "rich_text"}
    assert "EMEA   |    41" in shown(plainer) and "*Sunglasses* - $678,994" in shown(plainer)


def test_chart_is_above_the_buttons() -> None:
    blocks = MESSAGES["complete_with_chart"][0].blocks
    assert [block["type"] for block in blocks[-3:]] == ["image", "actions", "context"]
    assert blocks[-3]["alt_text"] == (
        "Chart drawn by Omni. Topic: order_items. Question: What are the top 5 products by revenue?"
    )


def test_card_without_room_gets_no_chart() -> None:
    text, full = Message("Answered."), Message("Answered.", (section("x"),) * 50)
    assert with_chart(text, COMPLETE, CHART) is None and with_chart(full, COMPLETE, CHART) is None


def test_completion_reply_mentions_only_followers() -> None:
    message = render_completion_reply(replace(CARD, followers=(GRACE, LINUS)), STATUSES["failed"], TENANT)
    assert message is not None
    assert message.text.startswith("<@U0GRACE> <@U0LINUS>: The job failed")
    assert "QUERY_TIMEOUT" in message.text and "Open in Omni" in message.text
    assert "U0ADA" not in message.text


def test_no_completion_reply_without_news_or_followers() -> None:
    assert render_completion_reply(CARD, STATUSES["executing"], TENANT) is None
    assert render_completion_reply(replace(CARD, followers=()), STATUSES["failed"], TENANT) is None


def test_requester_is_named_after_unfollowing() -> None:
    message = render_card(replace(CARD, followers=(GRACE,)), STATUSES["queued"], NOW, TENANT)[0]
    assert "Followed by <@U0ADA>, also followed by <@U0GRACE>" in shown(message)


def test_announced_card_names_only_people() -> None:
    announced = replace(CARD, requester=API_CLIENT, followers=(API_CLIENT,))
    joined = replace(announced, followers=(API_CLIENT, GRACE))
    also = replace(CARD, followers=(CARD.requester, API_CLIENT, GRACE))
    texts = [
        shown(render_card(card, STATUSES["queued"], NOW, TENANT)[0]) for card in (announced, joined, also)
    ]
    assert "Announced by the API · job" in texts[0]
    assert "Announced by the API, followed by <@U0GRACE> · job" in texts[1]
    assert "Followed by <@U0ADA>, also followed by <@U0GRACE> · job" in texts[2]
    assert not any("<@API>" in text for text in texts)


def test_completion_reply_of_announced_job_mentions_people() -> None:
    announced = replace(CARD, requester=API_CLIENT, followers=(API_CLIENT, GRACE))
    message = render_completion_reply(announced, STATUSES["failed"], TENANT)
    assert message is not None and message.text.startswith("<@U0GRACE>: The job failed")
    alone = replace(announced, followers=(API_CLIENT,))
    assert render_completion_reply(alone, STATUSES["failed"], TENANT) is None


def test_paused_card_says_how_to_resume() -> None:
    (message,) = MESSAGES["rested"]
    for told in (message.text, shown(message)):
        assert "The bot stopped watching" in told and "press *Resume*" in told
        assert "has not ended since <!date^1777903350^" in told
    assert message.text.startswith("The bot stopped watching this job: “What are the top 5 products")
    (link, resume) = buttons(message)
    assert link["action_id"] == "open_chat"
    assert (resume["action_id"], resume["value"]) == ("resume_following", CARD.id)


def test_paused_card_counts_from_resume() -> None:
    resumed = replace(CARD, resumed_at=ASKED + timedelta(days=2))
    assert f"<!date^{1777903350 + 2 * 86_400}^" in render_paused(resumed, JobStatus(), TENANT).text


def test_card_paused_before_first_poll() -> None:
    message = render_paused(CARD, JobStatus(), TENANT)
    assert [b["action_id"] for b in buttons(message)] == ["resume_following"]
    assert message.text.startswith("The bot stopped watching this job.\n")


def test_unfollowed_card_says_how_to_follow() -> None:
    (message,) = MESSAGES["unfollowed"]
    assert "The job keeps running in Omni." in message.text and f"/omni-job {CARD.job}" in message.text
    assert [b["action_id"] for b in buttons(message)] == ["open_chat"]
