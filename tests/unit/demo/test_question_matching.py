"""A question in the demo gets the answer of the most similar sample."""

import pytest

from bot.demo.omni.state import OmniWorld
from bot.demo.omni.timeline import Complete, Failed
from bot.demo.samples import SAMPLES, course, furnish, sample


@pytest.mark.parametrize(
    "prompt, key",
    [
        ("What are the top 5 products by revenue?", "quick"),
        ("top PRODUCTS, please", "quick"),
        ("How much did we spend on ads?", "failing"),
        ("the reason for everything", "endless"),
        ("revenue by channel", "chart"),
        ("Which product sells best?", "quick"),
    ],
)
def test_question_gets_most_similar_sample(prompt: str, key: str) -> None:
    script, data = course(prompt)
    assert script is sample(key).script
    assert data == (sample(key).data or data)


def test_no_question_gets_a_long_wait() -> None:
    prompts = [known.prompt for known in SAMPLES] + ["And by region?"]
    assert all(course(prompt)[0].queued_seconds < 10 for prompt in prompts)


def test_sample_prompt_gets_its_sample() -> None:
    for known in SAMPLES:
        if known.script is not None and known.key not in ("finished", "hostile", "queued"):
            assert course(known.prompt)[0] is known.script, known.key


@pytest.mark.parametrize("prompt", ["", "hi", "Wie wird das Wetter?", "What is this?", "<!here> hello"])
def test_unmatched_question_gets_suggestions(prompt: str) -> None:
    script, _ = course(prompt)
    assert isinstance(script.end, Complete) and script.end.markdown is not None
    assert "Try one of these" in script.end.markdown
    suggested = [line[2:] for line in script.end.markdown.splitlines() if line.startswith("- ")]
    ends = [course(question)[0].end for question in suggested]
    assert len(suggested) == 5
    assert sum(isinstance(end, Failed) for end in ends) == 1


def test_several_models_are_offered() -> None:
    omni = OmniWorld("key")
    furnish(omni)
    assert [model.name for model in omni.organization.models.values()] == ["Shop", "Support"]
    assert omni.course("Top products by revenue?")[0] is sample("quick").script
