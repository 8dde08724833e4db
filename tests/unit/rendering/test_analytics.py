"""Realistic analytics answers are rendered as the golden files say, which were read by eye."""

import pytest

from bot.demo.slack.block_kit.messages import judge
from bot.rendering.markdown.parse import parse
from bot.rendering.markdown.to_blocks import to_blocks
from tests.support.golden_answers import ANSWERS, FOLDER, RENEW, TENANT, rendered
from tests.support.tables import for_each


@for_each("name", ANSWERS)
def test_answers_match_golden_files(name: str) -> None:
    assert rendered(ANSWERS[name]) == (FOLDER / f"{name}.txt").read_text(), RENEW


@for_each("name", ANSWERS)
def test_slack_accepts_every_answer(name: str) -> None:
    assert judge("text", list(to_blocks(parse(ANSWERS[name], TENANT), 1))) is None


def test_every_golden_file_has_an_answer() -> None:
    assert {file.stem for file in FOLDER.glob("*.txt")} == set(ANSWERS)
    assert len(ANSWERS) >= 40


@pytest.mark.parametrize("name", ["mentions", "json-and-python", "sql-in-line", "bare-addresses"])
def test_blocks_have_nothing_inserted(name: str) -> None:
    assert "⟦ZW⟧" not in rendered(ANSWERS[name]).partition("=== mrkdwn")[0]
