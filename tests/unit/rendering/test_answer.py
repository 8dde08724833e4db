"""The card that has become the answer, and the replies in which a long one goes on."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.cards import Card, CardId, ChannelId, ChannelRef, TeamId, UserId
from bot.domain.jobs import Job, JobId, JobState, JobStatus
from bot.domain.messages import Message
from bot.domain.text import strip_control_chars
from bot.rendering import answer as answer_module
from bot.rendering.answer import FILE_NAME, LONGEST_PART, MOST_READ, MOST_REPLIES, continuation
from bot.rendering.card import render_card
from bot.rendering.markdown.document import Blocks
from bot.rendering.markdown.parse import parse
from tests.support.tables import for_each

TENANT = "https://acme.omniapp.co"
CHAT = "https://acme.omniapp.co/chat/1"
NOW = datetime(2026, 5, 4, 14, 4, tzinfo=UTC)
A_CARD = Card(
    id=CardId("watch"),
    job=JobId("550e8400-e29b-41d4-a716-446655440000"),
    channel=ChannelRef(TeamId("T0"), ChannelId("C0")),
    requester=UserId("U0ADA"),
    followers=(UserId("U0ADA"),),
    requested_at=NOW - timedelta(minutes=2),
)
BLOCKS, SECTIONS, TEXT, LAST = 0, -3, -2, -1


def job(answer: str | None, chat: str | None = CHAT) -> Job:
    return Job(A_CARD.job, JobState.COMPLETE, "COMPLETE", "Top products?", chat_url=chat, answer=answer)


def card_of(answer: str | None, chat: str | None = CHAT) -> tuple[Message, ...]:
    return render_card(A_CARD, JobStatus(job(answer, chat), NOW), NOW, TENANT)


def shown(message: Message) -> str:
    return message.text + json.dumps(message.blocks, ensure_ascii=False)


def paragraphs(number: int) -> str:
    return "\n\n".join(f"Finding {n}. " + "It tells something of note. " * 30 for n in range(number))


def test_short_answer_has_no_replies() -> None:
    assert continuation(job("Sales **grew** by 4%."), TENANT) == answer_module.Continuation()
    for form in card_of("Sales **grew** by 4%."):
        assert "thread" not in shown(form)


def test_variants_get_plainer() -> None:
    table = "| a | b |\n|---|---|\n| 1 | 2 |"
    forms = card_of(f"Sales **grew**.\n\n{table}\n\nand\n\n{table}")
    kinds = [[block["type"] for block in form.blocks] for form in forms]
    assert [types.count("table") for types in kinds] == [2, 1, 0, 0, 0, 0]
    assert [types.count("rich_text") for types in kinds] == [3, 3, 2, 1, 0, 0]  # one is the question
    assert "```\na | b\n--+--\n1 | 2\n```" in forms[TEXT].text
    assert "Sales *grew*." in forms[TEXT].text


@for_each("answer, variants", [("text", 4), ("| a |\n|---|", 5), ("| a |\n|---|\n\nb\n\n| c |\n|---|", 6)])
def test_only_tables_have_variants_of_their_own(answer: str, variants: int) -> None:
    assert len(card_of(answer)) == variants


def test_last_variant_blames_slack_not_the_job() -> None:
    for forms in (card_of(paragraphs(9)), *continuation(job(paragraphs(9)), TENANT).replies):
        last = forms[LAST]
        assert last.blocks == () and len(last.text) < 700
        assert "could not be shown in Slack" in last.text
        assert f"<{CHAT}|Open in Omni>" in last.text
        assert "fail" not in last.text and "Finding" not in last.text


def test_last_variant_without_link_is_short() -> None:
    for forms in (card_of(paragraphs(9), None), *continuation(job(paragraphs(9), None), TENANT).replies):
        assert "could not be shown in Slack" in forms[LAST].text
        assert "http" not in forms[LAST].text


@for_each("form", [BLOCKS, SECTIONS, TEXT, LAST])
def test_longer_answer_continues_in_the_thread(form: int) -> None:
    card_form = card_of(paragraphs(9))[form]
    assert "The answer continues in the thread." in card_form.text
    assert form in (TEXT, LAST) or "The answer continues in the thread." in json.dumps(card_form.blocks)
    found = continuation(job(paragraphs(9)), TENANT)
    assert found.file is None
    assert [forms[form].text.split(":")[0].split("\n")[0].rstrip(".") for forms in found.replies] == [
        f"The answer continues, {n} of {len(found.replies)}" for n in range(1, len(found.replies) + 1)
    ]


def test_very_long_answer_is_also_a_file() -> None:
    answer = paragraphs(60)
    found = continuation(job(answer), TENANT)
    assert len(found.replies) == MOST_REPLIES
    assert found.file is not None
    assert found.file.name == FILE_NAME and found.file.content.decode() == answer.strip()
    for form in found.replies[-1][:TEXT]:
        assert "The full answer follows" in shown(form)
    for forms in found.replies[:-1]:
        assert "The full answer follows" not in shown(forms[BLOCKS])


@for_each("chat, ending", [(CHAT, f": {CHAT}"), (None, ".")])
def test_cut_answer_ends_with_omni_link(chat: str | None, ending: str) -> None:
    answer = paragraphs(60)
    found = continuation(replace(job(answer, chat), answer_is_cut=True), TENANT)
    assert found.goes_on_in_omni and found.file is not None
    assert (
        found.file.content.decode() == f"{answer.strip()}\n\n[…] The rest of the answer is in Omni{ending}\n"
    )
    assert "whole" not in found.file.title
    assert "More of the answer follows" in shown(found.replies[-1][BLOCKS])


def test_cut_blank_answer_continues_in_omni() -> None:
    blank = replace(job("\u200b" * 5_000 + "Short."), answer_is_cut=True)
    assert continuation(blank, TENANT).goes_on_in_omni
    assert "continues in the thread" in render_card(A_CARD, JobStatus(blank, NOW), NOW, TENANT)[BLOCKS].text


@for_each("answer", [paragraphs(2_000), "[" * 150_000, "start" + "\n" * 150_000 + "end"])
def test_only_the_beginning_is_parsed_once(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []

    def counted(markdown: str, tenant: str) -> Blocks:
        parsed.append(len(markdown))
        return parse(markdown, tenant)

    monkeypatch.setattr(answer_module, "parse", counted)
    answer_module._rendered.cache_clear()
    tall = job(answer)
    answer_module.prepare(tall, TENANT)
    for _ in range(5):
        render_card(A_CARD, JobStatus(tall, NOW), NOW, TENANT)
        continuation(replace(tall, topic="read anew"), TENANT)
    assert len(parsed) == 1 and parsed[0] <= MOST_READ


def test_file_has_no_invisible_characters() -> None:
    found = continuation(job("pay\u202epal\x00 \ud800" + paragraphs(60)), TENANT)
    assert found.file is not None
    assert found.file.content.decode().startswith("paypal \ufffdFinding 0.")


def test_end_after_long_gap_is_kept() -> None:
    found = continuation(job("start" + "\n" * 100_000 + "end"), TENANT)
    assert found.file is not None and found.file.content.endswith(b"end")
    assert "continues in the thread" in card_of("start" + "\n" * 100_000 + "end")[BLOCKS].text


@for_each("answer", [None, "", " \n ", "\u200b"])
def test_job_without_answer_has_no_replies(answer: str | None) -> None:
    assert continuation(job(answer), TENANT) == answer_module.Continuation()
    for form in card_of(answer):
        assert "Omni finished without a written answer." in form.text
        assert "AI-generated" not in shown(form) and "thread" not in shown(form)


@for_each("state", [state for state in JobState if state is not JobState.COMPLETE])
def test_only_complete_jobs_have_replies(state: JobState) -> None:
    assert continuation(replace(job(paragraphs(60)), state=state), TENANT) == answer_module.Continuation()


def test_spoken_text_has_the_whole_answer() -> None:
    answer = paragraphs(9)
    heard = [
        card_of(answer)[BLOCKS].text,
        *(forms[BLOCKS].text for forms in continuation(job(answer), TENANT).replies),
    ]
    assert [f"Finding {n}." for n in range(9) if any(f"Finding {n}." in text for text in heard)] == [
        f"Finding {n}." for n in range(9)
    ]
    assert sum(text.count("It tells something of note.") for text in heard) == 9 * 30


@for_each("answer", ["销售额增长。" * 2_000, "👩\u200d💻" * 3_000, "&" * 9_000])
def test_spoken_text_fits_in_bytes(answer: str) -> None:
    for forms in (card_of(answer), *continuation(job(answer), TENANT).replies):
        for form in forms[:TEXT]:
            assert len(form.text.encode()) < 4_000


@settings(deadline=None, max_examples=50)
@given(
    st.text(max_size=30),
    st.sampled_from(["&", "`", "| a |\n|---|\n| <b> |\n\n", "word ", "- x\n", "\n"]),
    st.sampled_from([0, 1, 40, 600, 3_000]),
)
def test_card_and_thread_agree_on_more(before: str, unit: str, times: int) -> None:
    answer = before + unit * times
    found = continuation(job(answer), TENANT)
    card = card_of(answer)
    says_so = ["continues in the thread" in form.text for form in card]
    assert set(says_so) == {bool(found.replies or found.file)}
    assert ("without a written answer" in card[0].text) == (not strip_control_chars(answer).strip())
    assert all(len(forms) in (4, 5, 6) for forms in found.replies)


@for_each(
    "answer",
    ["&" * 9_000, "*<>`" * 3_000, "| a | b |\n|---|---|\n" + f"| {'w' * 39} | x |\n| y | z |\n" * 60],
)
def test_part_fits_after_escaping(answer: str) -> None:
    for forms in (card_of(answer), *continuation(job(answer), TENANT).replies):
        assert len(forms[TEXT].text) <= LONGEST_PART + 700
