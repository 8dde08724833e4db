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
    block_support = BlockSupport()
    block_support.record_refusal(refused=TASK, taken=PLAIN)
    assert block_support.supported((TASK, PLAIN, WORDS)) == (PLAIN, WORDS)
    assert block_support.supported((of("task_card"), WORDS)) == (WORDS,)


def test_explained_refusal_teaches_nothing() -> None:
    block_support = BlockSupport()
    block_support.record_refusal(refused=PLAIN, taken=WORDS)
    block_support.record_refusal(refused=TASK, taken=of("task_card"))
    assert block_support.supported((TASK, PLAIN, WORDS)) == (TASK, PLAIN, WORDS)


def test_refused_markdown_is_tried_again() -> None:
    block_support = BlockSupport()
    richest, plainer = MESSAGES["complete"][:2]
    block_support.record_refusal(refused=richest, taken=plainer)
    assert block_support.supported(MESSAGES["complete"]) == MESSAGES["complete"]


def test_last_variant_is_always_kept() -> None:
    block_support = BlockSupport()
    block_support.record_refusal(refused=TASK, taken=PLAIN)
    assert block_support.supported((TASK,)) == (TASK,)


def test_running_card_works_without_plan_and_tasks() -> None:
    block_support = BlockSupport()
    running = MESSAGES["executing_after_steps"]
    block_support.record_refusal(*running[:2])
    assert block_support.supported(running) == running[1:]
    block_support.record_refusal(*running[1:3])
    assert block_support.supported(running) == running[2:]
    assert block_support.supported(MESSAGES["complete"]) == MESSAGES["complete"]


TABLE, TABLES = of("section", "table"), of("section", "table", "table")


def test_refused_tables_are_learned_after_three_messages() -> None:
    block_support = BlockSupport()
    for _ in range(3):
        assert block_support.supported((TABLES, TABLE, PLAIN, WORDS)) == (TABLES, TABLE, PLAIN, WORDS)
        block_support.record_refusal(refused=TABLE, taken=PLAIN)
    assert block_support.supported((TABLES, TABLE, PLAIN, WORDS)) == (PLAIN, WORDS)


def test_accepted_table_forgets_earlier_refusals() -> None:
    block_support = BlockSupport()
    for _ in range(5):
        block_support.record_refusal(refused=TABLE, taken=PLAIN)
        block_support.record_refusal(refused=TABLE, taken=PLAIN)
        block_support.record_acceptance(TABLE)
    assert block_support.supported((TABLE, WORDS)) == (TABLE, WORDS)


def test_several_tables_are_learned_apart_from_one() -> None:
    block_support = BlockSupport()
    block_support.record_refusal(refused=TABLES, taken=TABLE)
    block_support.record_acceptance(TABLE)
    assert block_support.supported((TABLES, TABLE, WORDS)) == (TABLE, WORDS)
