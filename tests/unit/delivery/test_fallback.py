"""What is learned of the blocks that Slack takes, and what is drawn with from then on."""

from bot.delivery.fallback import BlockSupport
from bot.domain.messages import Message
from tests.support.golden import MESSAGES


def of(*kinds: str) -> Message:
    return Message(" ".join(kinds), tuple({"type": kind} for kind in kinds))


TASK, PLAIN, WORDS = of("section", "task_card"), of("section"), of()


def test_every_form_is_usable_at_first() -> None:
    assert BlockSupport().supported((TASK, PLAIN, WORDS)) == (TASK, PLAIN, WORDS)


def test_a_block_without_which_slack_takes_a_message_is_not_used_again() -> None:
    palette = BlockSupport()
    palette.record_refusal(refused=TASK, taken=PLAIN)
    assert palette.supported((TASK, PLAIN, WORDS)) == (PLAIN, WORDS)
    assert palette.supported((of("task_card"), WORDS)) == (WORDS,)


def test_a_refusal_that_something_else_explains_teaches_nothing() -> None:
    palette = BlockSupport()
    palette.record_refusal(refused=PLAIN, taken=WORDS)
    palette.record_refusal(refused=TASK, taken=of("task_card"))
    assert palette.supported((TASK, PLAIN, WORDS)) == (TASK, PLAIN, WORDS)


def test_an_answer_that_slack_refuses_as_markdown_does_not_cost_the_next_one_its_markdown() -> None:
    palette = BlockSupport()
    richest, plainer = MESSAGES["complete"][:2]
    palette.record_refusal(refused=richest, taken=plainer)
    assert palette.supported(MESSAGES["complete"]) == MESSAGES["complete"]


def test_the_last_form_is_always_left() -> None:
    palette = BlockSupport()
    palette.record_refusal(refused=TASK, taken=PLAIN)
    assert palette.supported((TASK,)) == (TASK,)


def test_a_running_card_without_its_task_still_says_everything() -> None:
    palette = BlockSupport()
    palette.record_refusal(*MESSAGES["executing"][:2])
    assert palette.supported(MESSAGES["executing"]) == MESSAGES["executing"][1:]
    assert palette.supported(MESSAGES["complete"]) == MESSAGES["complete"]
