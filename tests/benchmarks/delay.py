"""Measure the delay from a job's end to its answer for several bots, in virtual time.

Each cell is a world of `tests/simulation`: the whole bot between the simulated Slack and Omni with all their limits,
in which a network takes 5 to 150 ms each way and nothing goes wrong. Each job is followed by a command in one of many
channels from its beginning on. The delay goes from the job's end to the moment in which Slack shows it. All bots meet
the same jobs.
"""

import asyncio
import json
import math
import re
import statistics
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from random import Random

import structlog

from bot.demo.omni.conversations import Listing
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.workspace import Channel
from bot.ratelimit import omni_rate
from bot.tracking.tracked_job import poll_interval_seconds
from tests.benchmarks.contestants import Contestant
from tests.benchmarks.takes import Takes
from tests.simulation.looks import FINAL, job_of, look_of
from tests.simulation.loop import SimulatedLoop, current_process
from tests.simulation.scenario import PEOPLE, Action, JobPlan, Scenario
from tests.simulation.slackside import Look
from tests.simulation.trace import LogOfTheBot
from tests.simulation.world import BEGINNING, World

ONE_BY_ONE_SECONDS = 25.0
"""From the beginning of one job to that of the next, where there is one at a time."""
ANY_STEP = (5.0, 15.0)
LISTINGS = {
    "end": Listing("end"),
    "known": Listing("end"),
    "step": Listing("step"),
    "never": Listing("question"),
    "off": None,
}
"""When a conversation's `updatedAt` moves. "known": at the end, and one short job has ended before the others begin, so
that the bot knows. "off": the bot doesn't list conversations."""
KNOWN_AFTER_SECONDS = 40.0
"""When the others begin, in a cell of "known"."""
GRACE_SECONDS = 0.5
"""A request that is sent so soon after it could be does not count as late: networks and databases take time."""
BEGIN_WITHIN_SECONDS = 60.0
PER_CHANNEL = 10
"""A channel takes one message a second; what is measured is not its limit."""
JITTER_REQUESTS = 2
"""How many requests more than in a minute of a steady stream can arrive in a minute of a network that jitters."""
LOOK_EVERY_SECONDS = 10.0
GIVES_UP_AFTER_SECONDS = 60.0
"""How long after the last end one waits for a bot that may leave jobs undelivered."""
LONGEST_SECONDS = 6 * 3_600.0
FIRST_TO_END = 99_999_999
"""The number of the job that ends before the others begin. It is not measured."""


@dataclass(frozen=True, slots=True)
class Cell:
    """So many jobs under a limit."""

    jobs: int
    requests_per_minute: int
    takes: Takes
    seed: int = 1
    begin_within_seconds: float = BEGIN_WITHIN_SECONDS
    """In which all jobs begin; 0: one after the other."""
    step_seconds: tuple[float, float] = ANY_STEP
    """How long a step takes, at least and at most."""
    listing: str = "off"
    """How Omni's list of conversations behaves, of `LISTINGS`."""


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
    outdated_seconds: float = math.nan
    """For how long cards showed a step that was over while their jobs ran."""
    shown_seconds: float = math.nan
    """For how long cards were there while their jobs ran."""
    unused: float = math.nan
    """How many requests were left unused while a job was due."""

    @property
    def mean(self) -> float:
        """Seconds."""
        return statistics.fmean(self.delays) if self.delays else float("nan")

    @property
    def outdated(self) -> float:
        """The part of the time in which cards showed an outdated step."""
        return self.outdated_seconds / self.shown_seconds if self.shown_seconds else float("nan")

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
    listing = {"omni_list_conversations": LISTINGS[cell.listing] is not None}
    world.machine.settings = world.machine.settings.model_copy(update=listing)
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
    begins = sorted(5.0 + random.uniform(0.0, cell.begin_within_seconds) for _ in range(cell.jobs))
    if not cell.begin_within_seconds:
        begins = [5.0 + ONE_BY_ONE_SECONDS * number for number in range(cell.jobs)]
    jobs = [
        _job(number, at, cell.takes(random), cell.step_seconds, random) for number, at in enumerate(begins)
    ]
    if cell.listing == "known":
        jobs = [replace(job, begins=job.begins + KNOWN_AFTER_SECONDS) for job in jobs]
        jobs.append(_job(FIRST_TO_END, 5.0, 10.0, ANY_STEP, random))
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
        jobs=tuple(jobs),
        actions=actions,
        fronts=(),
        upsets=(),
        clock_steps=(),
        listing=LISTINGS[cell.listing] or Listing(),
    )


def _job(
    number: int, begins: float, seconds: float, step_seconds: tuple[float, float], random: Random
) -> JobPlan:
    steps: list[tuple[float, str | None, int]] = []
    left = seconds
    while left > 0.0:
        step = min(left, random.uniform(*step_seconds))
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
    measured = [job for job in world.scenario.jobs if job.token != f"answer-{FIRST_TO_END}"]
    ends = {job.id: job.begins + _seconds(job) for job in measured}
    delays = tuple(sorted(shown[job] - end for job, end in ends.items() if job in shown))
    outdated, shown_seconds = _outdated(world, ends)
    polls = {name: number for name, number in asked.items() if name.startswith("GET /api/v1/ai/jobs/")}
    unused = _unused(world, ends)
    return Measured(
        len(ends), delays, asked.total(), refused, edits, max(polls.values()), outdated, shown_seconds, unused
    )


def _outdated(world: World, ends: dict[str, float]) -> tuple[float, float]:
    """For how long cards showed an outdated step, and for how long they were there, while their jobs ran."""
    jobs = {job.id: job for job in world.scenario.jobs if job.id in ends}
    outdated = total = 0.0
    for card in world.slack.posted.values():
        job = jobs.get(job_of(card.looks[0])) if card.thread is None else None
        if job is None:
            continue
        looks = [(look.at - BEGINNING, _step_shown(look)) for look in card.looks]
        steps = list(accumulate((step[0] for step in job.script.steps), initial=job.begins))
        changes = sorted({*(at for at, _ in looks), *steps})
        for since, until in pairwise(at for at in changes if looks[0][0] <= at <= ends[job.id]):
            shown = [step for at, step in looks if at <= since][-1]
            outdated += (until - since) * (shown != bisect_right(steps, since))
            total += until - since
    return outdated, total


def _step_shown(look: Look) -> int:
    """The number of the newest step that a card shows; 0: none."""
    return max(map(int, _STEP.findall(f"{look.text} {json.dumps(look.blocks)}")), default=0)


_STEP = re.compile(r"Step (\d+)")


def _unused(world: World, ends: dict[str, float]) -> float:
    """How many requests the rate would have allowed while a job was due by the bot's schedule."""
    rate = omni_rate(world.scenario.requests_per_minute)
    sent = [exchange for exchange in world.wire.log if exchange.service == "omni"]
    begins = {job.id: job.begins for job in world.scenario.jobs if job.id in ends}
    waits: list[tuple[float, float]] = []
    """From when until when a job was due."""
    for job, began in begins.items():
        polls = [exchange for exchange in sent if exchange.name == f"GET /api/v1/ai/jobs/{job}"]
        for one, other in pairwise(polls):
            interval = poll_interval_seconds(one.at - began)
            waits.append((max(one.answered_at or one.at, one.at + interval), other.at))
    waits.sort()
    idle, arrival = 0.0, 0.0
    for before, after in pairwise(exchange.at for exchange in sent):
        arrival = max(arrival, before) + rate.interval_seconds
        could = max(before, arrival - rate.background_tolerance_seconds)
        due = [since for since, until in waits if since < after <= until]
        late = after - max(could, min(due)) if due else 0.0
        idle += late / rate.interval_seconds if late > GRACE_SECONDS else 0.0
    return idle
