"""What is told privately about questions, cancellations and retries: kind, and with what to do next."""

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
LINES = [
    ask_replies.help_text(),
    ask_replies.usage(),
    ask_replies.no_model(),
    *[
        ask_replies.refused(error)
        for error in (AskRefused("404", "secret detail"), ConversationBusy(), *ERRORS)
    ],
    ask_replies.retry_maybe_taken(),
    ask_replies.orphaned(),
    ask_replies.taken_but_not_stored(JobId("550e8400-e29b-41d4-a716-446655440000")),
    ask_replies.no_card_here(),
    ask_replies.no_conversation(),
    ask_replies.queued(),
    ask_replies.busy_again(),
    ask_replies.already_retried(None),
    ask_replies.already_retried(UserId("U0ADA")),
    ask_replies.not_retriable(),
    ask_replies.cancelled(),
    ask_replies.stops_after_this_step(),
    ask_replies.had_ended(),
    ask_replies.cancel_unanswered(),
    *[ask_replies.not_cancelled(error) for error in (NotCancellable(), CancelForbidden(), *ERRORS)],
]


@pytest.mark.parametrize("line", LINES)
def test_slack_takes_every_line_and_none_tells_what_an_api_said(line: str) -> None:
    assert judge(line, None) is None
    assert line.endswith((".", "`")) and "secret" not in line and "404" not in line


def test_lines_for_different_outcomes_differ() -> None:
    assert len(set(LINES)) == len(LINES) - len(ERRORS)  # what Omni's errors mean reads the same for both


@pytest.mark.parametrize("question", ["<!channel> & <@U0ADA> `*`", "x" * 2_000, "é" * 2_000])
def test_slack_takes_what_may_have_been_taken_with_its_button(question: str) -> None:
    message = ask_replies.maybe_taken(question)
    assert judge(message.text, list(message.blocks), markdown_allowed=False) is None
    assert message.blocks[1]["elements"][0]["value"] == question
    assert question not in message.text
