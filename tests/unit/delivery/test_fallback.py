"""What is learned of the blocks that Slack takes, and what is drawn with from then on."""

from bot.delivery.fallback import Palette
from bot.domain.messages import Message
from tests.support.golden import MESSAGES


def of(*kinds: str) -> Message:
    return Message(" ".join(kinds), tuple({"type": kind} for kind in kinds))


TASK, PLAIN, WORDS = of("section", "task_card"), of("section"), of()


def test_every_form_is_usable_at_first() -> None:
    assert Palette().usable((TASK, PLAIN, WORDS)) == (TASK, PLAIN, WORDS)


def test_a_block_without_which_slack_takes_a_message_is_not_used_again() -> None:
    palette = Palette()
    palette.learn(refused=TASK, taken=PLAIN)
    assert palette.usable((TASK, PLAIN, WORDS)) == (PLAIN, WORDS)
    assert palette.usable((of("task_card"), WORDS)) == (WORDS,)


def test_a_refusal_that_something_else_explains_teaches_nothing() -> None:
    palette = Palette()
    palette.learn(refused=PLAIN, taken=WORDS)
    palette.learn(refused=TASK, taken=of("task_card"))
    assert palette.usable((TASK, PLAIN, WORDS)) == (TASK, PLAIN, WORDS)


def test_an_answer_that_slack_refuses_as_markdown_does_not_cost_the_next_one_its_markdown() -> None:
    palette = Palette()
    richest, plainer = MESSAGES["complete"][:2]
    palette.learn(refused=richest, taken=plainer)
    assert palette.usable(MESSAGES["complete"]) == MESSAGES["complete"]


def test_the_last_form_is_always_left() -> None:
    palette = Palette()
    palette.learn(refused=TASK, taken=PLAIN)
    assert palette.usable((TASK,)) == (TASK,)


def test_a_running_card_without_its_task_still_says_everything() -> None:
    palette = Palette()
    palette.learn(*MESSAGES["executing"][:2])
    assert palette.usable(MESSAGES["executing"]) == MESSAGES["executing"][1:]
    assert palette.usable(MESSAGES["complete"]) == MESSAGES["complete"]
