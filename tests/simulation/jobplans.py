"""Draws the jobs of a scenario: their durations, outcomes and oddities."""

import math
from dataclasses import replace
from functools import cache
from itertools import count
from random import Random

from bot.demo.omni.timeline import Cancelled, Complete, End, Failed, Script
from bot.domain.jobs import Job, JobId, JobState
from bot.rendering import answer as answer_module
from tests.simulation.scenario import JobPlan


def a_job(random: Random, seed: int, number: int) -> JobPlan:
    """A job of any kind."""
    begins = random.choice((0.0, 0.0, random.uniform(0, 60)))
    token = f"answer-{number}-{seed}"
    is_endless = random.random() < 0.08
    steps = []
    for step in range(random.choice((0, 1, 2, 4, 8))):
        message = random.choice((None, f"Looking at table {step}", "Running a query <!channel> & more"))
        steps.append((random.choice((0.5, 3.0, 10.0, 30.0)), message, step + 1))
    end: End = random.choice(
        (
            Complete(f"{token}: revenue was **12** in May."),
            Complete(_tall(token, random.randint(2, 7))),
            Complete(_tall(token, random.randint(2, 7))),
            Complete(None),
            Failed(f"{token}: the query failed", "QUERY_ERROR", "timeout"),
            Failed(f"{token}: no such table"),
            Failed(f"{token}: again", "X"),
            Cancelled("someone"),
        )
    )
    delivering = 0.0 if isinstance(end, Cancelled) else random.choice((0.0, 2.0))
    script = Script(
        queued_seconds=math.inf if is_endless else random.choice((0.0, 1.0, 5.0)),
        steps=tuple(steps),
        delivering_seconds=delivering,
        end=end,
    )
    odd = random.uniform(0, 40)
    return JobPlan(
        id=f"{number:08d}-0000-4000-8000-{seed:012d}",
        conversation=f"{number:08d}-1111-4000-8000-{seed:012d}",
        begins=begins,
        script=script,
        token=token,
        vanishes_at=begins + random.uniform(1, 120) if random.random() < 0.1 else None,
        cancelled_at=begins + random.uniform(1, 90) if random.random() < 0.1 else None,
        odd_state=(odd, odd + random.uniform(3, 60)) if random.random() < 0.1 else None,
        exists=random.random() > 0.06,
        chart=random.random() < 0.7,
    )


def waiting(job: JobPlan) -> JobPlan:
    """A job that has long to wait in the queue."""
    script = Script(queued_seconds=300.0)
    return replace(
        job, begins=0.0, script=script, exists=True, vanishes_at=None, cancelled_at=None, odd_state=None
    )


def long_and_failing(random: Random, job: JobPlan) -> JobPlan:
    """So that each process has looked for open follows more than once before the job ends."""
    steps = tuple(
        (random.uniform(5, 20), f"Step {number}", number) for number in range(random.randint(6, 12))
    )
    script = Script(steps=steps, end=Failed(f"{job.token}: the query failed"))
    return replace(job, begins=0.0, script=script, exists=True, vanishes_at=None, cancelled_at=None)


def forgotten_soon(random: Random, job: JobPlan) -> JobPlan:
    """Now and then Omni forgets the job soon after its end, while a process may be paused over showing that."""
    if random.random() > 0.4:
        return job
    return replace(job, vanishes_at=job.begins + script_seconds(job.script) + random.uniform(3, 30))


def tall_and_quick(random: Random, job: JobPlan) -> JobPlan:
    """So that its thread fills while the bot is killed over one reply or another."""
    end = Complete(_tall(job.token, random.randint(4, 7)))
    script = Script(steps=((random.uniform(2, 10), "Step", 1),), end=end)
    return replace(job, begins=0.0, script=script, exists=True, vanishes_at=None, cancelled_at=None)


def script_seconds(script: Script) -> float:
    """How long a job takes."""
    return script.queued_seconds + sum(seconds for seconds, *_ in script.steps) + script.delivering_seconds


def quick_steps(script: Script) -> Script:
    """So that an edit is due every few seconds, the last one soon after the last but one."""
    if script.queued_seconds == math.inf or isinstance(script.end, Cancelled):
        return script
    steps = tuple((3.0, f"Step {number}", number) for number in range(6))
    return replace(script, steps=steps, delivering_seconds=2.5)


def _tall(token: str, pieces: int) -> str:
    """An answer of so many pieces, of numbered paragraphs and a table; seven are one more than messages hold."""
    heading = f"{token}\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
    return heading + "".join(map(_paragraph, range(1, _paragraphs(pieces) + 1)))


def _paragraph(number: int) -> str:
    return f"Paragraph {number} of many. {'Long words here. ' * 25}\n\n"


@cache
def _paragraphs(pieces: int) -> int:
    """How many paragraphs such an answer needs, as the bot cuts it."""
    job = Job(JobId(""), JobState.COMPLETE, "COMPLETE")
    numbers, answer = count(1), ""
    while True:
        answer += _paragraph(number := next(numbers))
        rest = answer_module.continuation(replace(job, answer=answer), "https://acme.omniapp.co")
        if len(rest.replies) + (rest.file is not None) >= pieces - 1:
            return number + 1  # in the middle of a piece, with room for the heading
