"""Measure the delay from a job's end to its answer for several bots, in virtual time.

Each cell is a world of `tests/simulation`: the whole bot between the simulated Slack and Omni with all their limits,
in which a network takes 5 to 150 ms each way and nothing goes wrong. So many jobs begin within a minute, each in turn
watched by a command in one of many channels from its beginning on. The delay goes from the job's end to the moment in
which Slack shows it. All bots meet the same jobs.
"""

import asyncio
import statistics
from collections import Counter
from dataclasses import dataclass
from random import Random

import structlog

from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.workspace import Channel
from tests.benchmarks.contestants import Contestant
from tests.benchmarks.takes import Takes
from tests.simulation.looks import FINAL, job_of, look_of
from tests.simulation.loop import SimulatedLoop, current_process
from tests.simulation.scenario import PEOPLE, Action, JobPlan, Scenario
from tests.simulation.trace import LogOfTheBot
from tests.simulation.world import BEGINNING, World

BEGIN_WITHIN_SECONDS = 60.0
PER_CHANNEL = 10
"""A channel takes one message a second; what is measured is not its limit."""
JITTER_REQUESTS = 2
"""How many requests more than in a minute of a steady stream can arrive in a minute of a network that jitters."""
LOOK_EVERY_SECONDS = 10.0
GIVES_UP_AFTER_SECONDS = 60.0
"""How long after the last end one waits for a bot that may leave jobs undelivered."""
LONGEST_SECONDS = 6 * 3_600.0


@dataclass(frozen=True, slots=True)
class Cell:
    """So many jobs under a limit."""

    jobs: int
    requests_per_minute: int
    takes: Takes
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """Result of a cell."""

    jobs: int
    delays: tuple[float, ...]
    """Seconds, of the jobs that were delivered, in order."""
    requests: int
    refused: int
    """How many of them Omni answered with 429."""
    edits: int
    most_requests: int
    """Of one job."""

    @property
    def mean(self) -> float:
        """Seconds."""
        return statistics.fmean(self.delays) if self.delays else float("nan")

    @property
    def p95(self) -> float:
        """Seconds."""
        return self.delays[int(0.95 * len(self.delays))] if self.delays else float("nan")

    @property
    def worst(self) -> float:
        """Seconds."""
        return self.delays[-1] if self.delays else float("nan")


def measure(cell: Cell, contestant: Contestant) -> Measured:
    """Run a cell with one bot."""
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)
    world = World(_scenario(cell), loop)
    world.trace.is_kept = False
    structlog.configure(
        processors=[LogOfTheBot(world.trace, lambda: getattr(current_process(), "name", "?"))]
    )
    if contestant.spends_all:
        world.omni.requests_per_minute += JITTER_REQUESTS
    for action in world.scenario.actions:
        channels = world.slack.workspace.channels
        if action.place not in channels:
            channels[action.place] = Channel(
                action.place, action.place.lower(), "public", set(world.slack.workspace.users)
            )
    try:
        with contestant.patched(), world.machine.seams():
            loop.run_until_complete(_run(world, contestant))
            measured = _measured(world)
            loop.run_until_complete(world.end())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return measured


async def _run(world: World, contestant: Contestant) -> None:
    world.unfold()
    world.machine.start()
    last_end = max(job.begins + _seconds(job) for job in world.scenario.jobs)
    patience = GIVES_UP_AFTER_SECONDS if contestant.gives_up else LONGEST_SECONDS
    while world.loop.time() < last_end + patience and _delivered(world) < len(world.scenario.jobs):
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def _scenario(cell: Cell) -> Scenario:
    random = Random(f"{cell.seed} {cell.jobs}")
    begins = sorted(5.0 + random.uniform(0.0, BEGIN_WITHIN_SECONDS) for _ in range(cell.jobs))
    jobs = tuple(_job(number, at, cell.takes(random), random) for number, at in enumerate(begins))
    channels = 1 + cell.jobs // PER_CHANNEL
    actions = tuple(
        Action(job.begins, "follow", random.choice(PEOPLE), f"C0BENCH{number % channels:04d}", number)
        for number, job in enumerate(jobs)
    )
    return Scenario(
        seed=cell.seed,
        history_scopes=True,
        requests_per_minute=cell.requests_per_minute,
        notify_after_seconds=86_400.0,
        max_follow_hours=24.0,
        retention_days=30.0,
        jobs=jobs,
        actions=actions,
        fronts=(),
        upsets=(),
        clock_steps=(),
    )


def _job(number: int, begins: float, seconds: float, random: Random) -> JobPlan:
    """A job with a word of progress every 5 to 15 s."""
    steps: list[tuple[float, str | None, int]] = []
    left = seconds
    while left > 0.0:
        step = min(left, random.uniform(5.0, 15.0))
        steps.append((step, f"Step {len(steps) + 1}", len(steps) + 1))
        left -= step
    return JobPlan(
        id=f"{number:08d}-0000-4000-8000-000000000000",
        conversation=f"{number:08d}-1111-4000-8000-000000000000",
        begins=begins,
        script=Script(0.0, tuple(steps), 0.0, Complete(f"The answer is **{number}**.")),
        token=f"answer-{number}",
    )


def _seconds(job: JobPlan) -> float:
    return sum(step[0] for step in job.script.steps)


def _delivered(world: World) -> int:
    """How many cards show that their job has ended."""
    cards = (posted for posted in world.slack.posted.values() if posted.thread is None)
    return sum(look_of(card.looks[-1]) in FINAL for card in cards)


def _measured(world: World) -> Measured:
    shown: dict[str, float] = {}
    for card in world.slack.posted.values():
        final = next((look for look in card.looks if look_of(look) in FINAL), None)
        if card.thread is None and final is not None:
            shown[job_of(final)] = final.at - BEGINNING
    asked = Counter(exchange.name for exchange in world.wire.log if exchange.service == "omni")
    refused = sum(exchange.status == 429 for exchange in world.wire.log if exchange.service == "omni")
    edits = sum(exchange.name == "chat.update" and exchange.done for exchange in world.wire.log)
    ends = {job.id: job.begins + _seconds(job) for job in world.scenario.jobs}
    delays = tuple(sorted(shown[job] - end for job, end in ends.items() if job in shown))
    return Measured(len(ends), delays, asked.total(), refused, edits, max(asked.values()))
