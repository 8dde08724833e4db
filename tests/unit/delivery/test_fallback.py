"""What is learned of the blocks that Slack takes, and what is drawn with from then on."""

from bot.delivery.fallback import BlockSupport
from bot.domain.messages import Message
from tests.support.golden import MESSAGES


def of(*kinds: str) -> Message:
    return Message(" ".join(kinds), tuple({"type": kind} for kind in kinds))


TASK, PLAIN, WORDS = of("section", "task_card"), of("section"), of()


def test_every_variant_is_supported_at_first() -> None:
    assert BlockSupport().supported((TASK, PLAIN, WORDS)) == (TASK, PLAIN, WORDS)


def test_refused_block_is_not_used_again() -> None:
    palette = BlockSupport()
    palette.record_refusal(refused=TASK, taken=PLAIN)
    assert palette.supported((TASK, PLAIN, WORDS)) == (PLAIN, WORDS)
    assert palette.supported((of("task_card"), WORDS)) == (WORDS,)


def test_explained_refusal_teaches_nothing() -> None:
    palette = BlockSupport()
    palette.record_refusal(refused=PLAIN, taken=WORDS)
    palette.record_refusal(refused=TASK, taken=of("task_card"))
    assert palette.supported((TASK, PLAIN, WORDS)) == (TASK, PLAIN, WORDS)


def test_refused_markdown_is_tried_again() -> None:
    palette = BlockSupport()
    richest, plainer = MESSAGES["complete"][:2]
    palette.record_refusal(refused=richest, taken=plainer)
    assert palette.supported(MESSAGES["complete"]) == MESSAGES["complete"]


def test_last_variant_is_always_kept() -> None:
    palette = BlockSupport()
    palette.record_refusal(refused=TASK, taken=PLAIN)
    assert palette.supported((TASK,)) == (TASK,)


def test_running_card_works_without_plan_and_tasks() -> None:
    palette = BlockSupport()
    running = MESSAGES["executing_after_steps"]
    palette.record_refusal(*running[:2])
    assert palette.supported(running) == running[1:]
    palette.record_refusal(*running[1:3])
    assert palette.supported(running) == running[2:]
    assert palette.supported(MESSAGES["complete"]) == MESSAGES["complete"]


TABLE, TABLES = of("section", "table"), of("section", "table", "table")


def test_refused_tables_are_learned_after_three_messages() -> None:
    palette = BlockSupport()
    for _ in range(3):
        assert palette.supported((TABLES, TABLE, PLAIN, WORDS)) == (TABLES, TABLE, PLAIN, WORDS)
        palette.record_refusal(refused=TABLE, taken=PLAIN)
    assert palette.supported((TABLES, TABLE, PLAIN, WORDS)) == (PLAIN, WORDS)


def test_accepted_table_forgets_earlier_refusals() -> None:
    palette = BlockSupport()
    for _ in range(5):
        palette.record_refusal(refused=TABLE, taken=PLAIN)
        palette.record_refusal(refused=TABLE, taken=PLAIN)
        palette.record_acceptance(TABLE)
    assert palette.supported((TABLE, WORDS)) == (TABLE, WORDS)


def test_several_tables_are_learned_apart_from_one() -> None:
    palette = BlockSupport()
    palette.record_refusal(refused=TABLES, taken=TABLE)
    palette.record_acceptance(TABLE)
    assert palette.supported((TABLES, TABLE, WORDS)) == (TABLE, WORDS)
