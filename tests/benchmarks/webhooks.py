"""Measure the requests per question: with Omni's webhooks, without them, and with all of them lost.

In real time, over real sockets, 60 requests a minute. A question is a submit, statuses, and one look for a chart. The
simulated Omni tells of each step and of the end, and the end again where it was not answered.
"""

import asyncio
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import structlog

from bot.demo.omni.job_data import JobData
from bot.demo.omni.organization import MODEL
from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.simulator import SimulatedSlack
from bot.rendering.ask_replies import COMMAND
from tests.benchmarks.ack import a_channel
from tests.benchmarks.delay import BEGIN_WITHIN_SECONDS, PER_CHANNEL
from tests.benchmarks.sockets import watching
from tests.benchmarks.takes import Takes
from tests.end_to_end.world import World
from tests.support.network import a_free_port

LONGEST_SECONDS = 1_200.0
KINDS = ("polled", "webhooks", "all lost")


@dataclass(frozen=True, slots=True)
class Asked:
    """Cost of a number of questions."""

    jobs: int
    submits: int
    statuses: int
    charts: int
    delays: tuple[float, ...]
    """Seconds from a job's end to its answer in Slack, of those that were delivered, in order."""


async def measure(jobs: int, takes: Takes, kind: str) -> Asked:
    """So many questions within a minute, and what they cost."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    async with SimulatedSlack() as slack, SimulatedOmni() as omni:
        with tempfile.TemporaryDirectory() as folder:
            world = World(slack, omni, Path(folder))
            omni.webhooks.is_lost = kind == "all lost"
            port = a_free_port()
            told = {} if kind == "polled" else {"public_url": f"http://127.0.0.1:{port}"}
            async with world.bot(port=port, omni_model_id=MODEL, max_asks_per_hour=10_000, **told):
                shown: dict[str, float] = {}
                slack.workspace.listeners.append(watching(shown))
                await _ask(world, jobs, takes)
                last = time.time() + LONGEST_SECONDS
                while len(shown) < jobs and time.time() < last:
                    await asyncio.sleep(0.5)
                await asyncio.sleep(5.0)
            return _asked(omni, shown)


def _asked(omni: SimulatedOmni, shown: dict[str, float]) -> Asked:
    ends = {
        job.id: job.created_at + job.moment(omni.now() + LONGEST_SECONDS).since_seconds
        for job in omni.jobs.values()
    }
    kinds = Counter(
        "submit" if each.method == "POST" else "chart" if each.path.endswith("/vis") else "status"
        for each in omni.requests
        if each.path.startswith("/api/v1/ai/jobs")
    )
    delays = tuple(sorted(at - ends[job] for job, at in shown.items()))
    return Asked(len(ends), kinds["submit"], kinds["status"], kinds["chart"], delays)


async def _ask(world: World, jobs: int, takes: Takes) -> None:
    random = Random(jobs)
    channels = [a_channel(world.slack, number) for number in range(1 + jobs // PER_CHANNEL)]
    scripts = {f"Question {number}?": _script(takes(random), random) for number in range(jobs)}
    world.omni.course = lambda prompt: (scripts[prompt], JobData())

    async def ask(number: int, prompt: str, at: float) -> None:
        await asyncio.sleep(at)
        channel = channels[number % len(channels)]
        acked = await world.slack.command(prompt, user=world.ada, channel=channel, command=COMMAND)
        assert acked.acked

    await asyncio.gather(
        *(
            ask(number, prompt, random.uniform(0.0, BEGIN_WITHIN_SECONDS))
            for number, prompt in enumerate(scripts)
        )
    )


def _script(seconds: float, random: Random) -> Script:
    """A job with a word of progress every 5 to 15 s, as in `delay`."""
    return Script(0.0, tuple(_steps(seconds, random)), 0.0, Complete("The answer."))


def _steps(seconds: float, random: Random) -> Iterator[tuple[float, str | None, int]]:
    number = 0
    while seconds > 0.0:
        number += 1
        step = min(seconds, random.uniform(5.0, 15.0))
        yield step, f"Step {number}", number
        seconds -= step
