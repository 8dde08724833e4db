"""How long an answer takes to render: all parts, in every variant, as before its card is drawn."""

import time
from collections.abc import Iterator

from bot.demo.sample_answers import QUARTERLY_REVIEW, SOURCES, report
from bot.domain.jobs import Job, JobId, JobState
from bot.rendering import answer
from bot.rendering.markdown.parse import parse
from bot.rendering.markdown.split import split
from tests.support.hostile_text import HOSTILE_UNITS

CHARACTERS = 30_000
TIMES = 20
PROSE = "Revenue **grew 15%** to $6.2M in `emea`. It came from [EMEA](https://acme.omniapp.co/w/1) and from customers. "
ANSWERS = {
    "a report with many tables": report(90),
    "reviews with tables, lists and SQL": f"{QUARTERLY_REVIEW}\n\n" * 20,
    "citations, tables in lists, formulas": f"{SOURCES}\n\n" * 30,
    "paragraphs": f"{PROSE * 6}\n\n" * 60,
    "one paragraph": PROSE * 300,
}


def rendering_times() -> Iterator[tuple[str, float, float]]:
    """Yield the name of an answer, and the shortest of several times: by the clock, and of the process alone."""
    for name, text in ANSWERS.items():
        job = Job(JobId("1"), JobState.COMPLETE, "COMPLETE", answer=text[:CHARACTERS])
        seconds = own_seconds = float("inf")
        for _ in range(TIMES):
            answer._rendered.cache_clear()
            started, own_started = time.perf_counter(), time.process_time()
            answer.prepare(job, "https://acme.omniapp.co")
            seconds = min(seconds, time.perf_counter() - started)
            own_seconds = min(own_seconds, time.process_time() - own_started)
        yield name, seconds, own_seconds


def slowest_hostile_text() -> tuple[str, float, float]:
    """Return the unit that takes the longest to split when it is repeated as far as an answer is read, the seconds, and
    those of a quarter of the length. Four times as long is linear, sixteen times a square."""
    return max(
        (
            (
                unit,
                _splitting_seconds(unit, answer.MOST_READ),
                _splitting_seconds(unit, answer.MOST_READ // 4),
            )
            for unit in HOSTILE_UNITS
        ),
        key=lambda found: found[1],
    )


def _splitting_seconds(unit: str, size: int) -> float:
    text = unit * (size // len(unit))
    started = time.process_time()
    list(split(parse(text), answer.LONGEST_PART))
    return time.process_time() - started
