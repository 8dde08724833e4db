"""What is told privately about questions, cancellations and retries: kind, and with what to do next."""

import pytest

from bot import asklines
from bot.ask import AskRefused, ConversationBusy, NotOurs, TooLate
from bot.demo.payload import judge
from bot.errors import JobNotFound, KeyRefused, OmniBusy, OmniUnreachable
from bot.job import JobId
from bot.watch import UserId

ERRORS = [JobNotFound("404"), KeyRefused("401"), OmniBusy("429"), OmniUnreachable("down")]
LINES = [
    asklines.help_text(),
    asklines.usage(),
    asklines.no_model(),
    *[asklines.refused(error) for error in (AskRefused("404", "secret detail"), ConversationBusy(), *ERRORS)],
    asklines.retry_maybe_taken(),
    asklines.orphaned(),
    asklines.taken_but_not_stored(JobId("550e8400-e29b-41d4-a716-446655440000")),
    asklines.no_card_here(),
    asklines.no_conversation(),
    asklines.queued(),
    asklines.busy_again(),
    asklines.already_retried(None),
    asklines.already_retried(UserId("U0ADA")),
    asklines.not_retriable(),
    asklines.cancelled(),
    asklines.stops_after_this_step(),
    asklines.had_ended(),
    asklines.cancel_unanswered(),
    *[asklines.not_cancelled(error) for error in (TooLate(), NotOurs(), *ERRORS)],
]


@pytest.mark.parametrize("line", LINES)
def test_slack_takes_every_line_and_none_tells_what_an_api_said(line: str) -> None:
    assert judge(line, None) is None
    assert line.endswith((".", "`")) and "secret" not in line and "404" not in line


def test_lines_for_different_outcomes_differ() -> None:
    assert len(set(LINES)) == len(LINES) - len(ERRORS)  # what Omni's errors mean reads the same for both


@pytest.mark.parametrize("question", ["<!channel> & <@U0ADA> `*`", "x" * 2_000, "é" * 2_000])
def test_slack_takes_what_may_have_been_taken_with_its_button(question: str) -> None:
    message = asklines.maybe_taken(question)
    assert judge(message.text, list(message.blocks), markdown_allowed=False) is None
    assert message.blocks[1]["elements"][0]["value"] == question
    assert question not in message.text
