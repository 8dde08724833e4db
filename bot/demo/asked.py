"""What comes of a question that a visitor of the demo asks: what comes of the sample that is most like it."""

import re

from bot.demo.jobdata import JobData
from bot.demo.omniworld import OmniWorld
from bot.demo.samples import SAMPLES, Sample, sample
from bot.demo.timeline import Complete, Script

_WORD = re.compile(r"\w{4,}")
_IN_EVERY_QUESTION = frozenset(
    "does from have many most much show that they this what when which with".split()
)
_ANSWERED = tuple(known for known in SAMPLES if known.key not in ("unknown", "hostile", "queued"))
"""What a visitor may come upon by asking; pings and scripts, and a long wait, come only to those who choose them."""
_SUGGESTED = ("quick", "slow", "failing", "chart", "endless")


def furnish(omni: OmniWorld) -> None:
    """Make the simulated Omni one that is worth asking: two models to choose from, and answers to questions."""
    omni.organization.add_model("Support", "tickets", "agents")
    omni.course = course


def course(prompt: str) -> tuple[Script, JobData]:
    """What happens to a job with that prompt, and what it will have found."""
    likest = max(_ANSWERED, key=lambda candidate: _likeness(candidate, prompt))
    if likest.script is None or _likeness(likest, prompt) == 0.0:
        return Script(1.0, ((2.5, "Searching for fields", 1),), 0.5, Complete(_suggestions())), JobData()
    return likest.script, likest.data or JobData()


def _likeness(candidate: Sample, prompt: str) -> float:
    """Which part of the sample's longer words the prompt has; 0 where it has none."""
    words = _words(candidate.prompt)
    return len(words & _words(prompt)) / len(words) if words else 0.0


def _words(text: str) -> set[str]:
    """The longer words, where one product and many are the same word."""
    return {
        word.removesuffix("s") for word in _WORD.findall(text.casefold()) if word not in _IN_EVERY_QUESTION
    }


def _suggestions() -> str:
    asked = "\n".join(f"- {sample(key).prompt}" for key in _SUGGESTED)
    return f"This is the demo's Omni, and it knows only a few questions. Try one of these:\n\n{asked}"
