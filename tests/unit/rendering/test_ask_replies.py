"""Texts of ephemeral replies about questions, retries and cancellations."""

import pytest

from bot.demo.slack.block_kit.messages import judge
from bot.domain.cards import UserId
from bot.domain.errors import (
    AskRefused,
    CancelForbidden,
    ConversationBusy,
    JobNotFound,
    KeyRefused,
    NotCancellable,
    OmniBusy,
    OmniUnreachable,
)
from bot.domain.jobs import JobId
from bot.rendering import ask_replies

ERRORS = [JobNotFound("404"), KeyRefused("401"), OmniBusy("429"), OmniUnreachable("down")]
TEXTS = [
    ask_replies.help_text(),
    ask_replies.usage(),
    ask_replies.no_model(),
    *[
        ask_replies.rejected(error)
        for error in (
            AskRefused(404, "secret detail"),
            AskRefused(400, "secret detail"),
            AskRefused(403, "secret detail"),
            AskRefused(409, "secret detail"),
            AskRefused(403, "secret: AI credit limit exceeded"),
            AskRefused(403, "secret: Feature not enabled"),
            AskRefused(403, "secret: User-scoped API keys cannot act on behalf of other users"),
            ConversationBusy(),
            *ERRORS,
        )
    ],
    ask_replies.retry_maybe_submitted(),
    ask_replies.interrupted(),
    ask_replies.job_not_stored(JobId("550e8400-e29b-41d4-a716-446655440000")),
    ask_replies.no_conversation(),
    ask_replies.queued(),
    ask_replies.still_busy(),
    ask_replies.already_retried(None),
    ask_replies.already_retried(UserId("U0ADA")),
    ask_replies.not_retriable(),
    ask_replies.cancelled(),
    ask_replies.stops_after_current_step(),
    ask_replies.already_ended(),
    ask_replies.cancel_unconfirmed(),
    *[ask_replies.not_cancelled(error) for error in (NotCancellable(), CancelForbidden(), *ERRORS)],
]


def test_each_status_of_a_refusal_has_its_line() -> None:
    lines = [ask_replies.rejected(AskRefused(status)) for status in (400, 402, 403, 404, 409)]
    assert len(set(lines)) == len(lines)
    assert "HTTP 409" in lines[-1]
    assert {ask_replies.rejected(AskRefused(status)) for status in (413, 422)} == {lines[0]}


def test_texts_are_valid_and_leak_nothing() -> None:
    wrong = [
        text
        for text in TEXTS
        if judge(text, None) is not None or not text.endswith((".", "`")) or "secret" in text or "404" in text
    ]
    assert wrong == []


def test_texts_for_different_outcomes_differ() -> None:
    assert len(set(TEXTS)) == len(TEXTS) - len(
        ERRORS
    )  # ERRORS read the same for a question and a cancellation


@pytest.mark.parametrize("question", ["<!channel> & <@U0ADA> `*`", "x" * 2_000, "é" * 2_000])
def test_try_again_button_holds_the_question(question: str) -> None:
    message = ask_replies.maybe_submitted(question)
    assert judge(message.text, list(message.blocks), markdown_allowed=False) is None
    assert message.blocks[1]["elements"][0]["value"] == question
    assert question not in message.text
