"""A long run: one process of the bot for 24 simulated hours with 2,000 jobs.

Every hour brings the same jobs and commands, under new ids. What the bot remembers of a number of jobs or deliveries is
full from the first hour on, or in the third (`REMEMBERED_CHARTS`), so anything that grows later would grow forever. At
its end the invariants are checked, and what the simulated services remember is dropped, so that the memory that is left
is the bot's. Memory is what Python counts as allocated after a clean-up; the database is measured in pages.
"""

import asyncio
import gc
import sys
import tracemalloc
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from uuid import UUID

import structlog

from bot.demo.omni.timeline import Complete, Failed, Script
from bot.demo.slack.records import HOME_TEAM
from bot.domain.cards import TeamId
from bot.domain.jobs import JobId
from bot.handlers.background import MAX_SEEN_REQUESTS
from bot.storage.durations import KEPT, SqlJobDurationRepository
from bot.storage.transactions import Transactions
from tests.simulation.invariants import broken_invariants
from tests.simulation.loop import SimulatedLoop, current_process
from tests.simulation.scenario import MORE_PLACES, PEOPLE, Action, JobPlan, Scenario
from tests.simulation.trace import LogOfTheBot
from tests.simulation.world import World

HOURS = 24
HOUR_SECONDS = 3_600.0
JOBS_AN_HOUR = 84
MAY_GROW = 1.05
"""The last caches fill up in more than an hour; and a file of 46 pages is two larger or smaller by chance."""
RETENTION_DAYS = 0.02
"""About half an hour, so that the first hour forgets as much as the last."""


@dataclass(frozen=True, slots=True)
class Measured:
    """State after a number of hours."""

    hour: int
    jobs: int
    kib: float
    pages: int
    """Of the database's file."""
    used: int
    """Of those."""
    rows: int
    tasks: int


def main() -> int:
    """Run the day; 1 if memory or database have grown since the first hour, or an invariant was broken."""
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)
    world = World(_hour(0), loop)
    world.trace.is_kept = False
    log = LogOfTheBot(world.trace, lambda: getattr(current_process(), "name", "?"))
    structlog.configure(processors=[log])
    tracemalloc.start()
    with world.machine.seams():
        measured, problems = loop.run_until_complete(_day(world))
        loop.run_until_complete(world.end())
    problems += [*world.defects, *log.defects, *loop.failures]
    first, last = measured[0], measured[-1]
    _say(
        f"memory {last.kib / first.kib:.2f} and database {last.pages / first.pages:.2f} times the first hour's"
    )
    for problem in problems[:20]:
        _say(problem)
    has_grown = last.pages > first.pages * MAY_GROW or last.kib > first.kib * MAY_GROW
    return 1 if problems or has_grown else 0


async def _day(world: World) -> tuple[list[Measured], list[str]]:
    await _learn(world)
    world.machine.start()
    measured: list[Measured] = []
    problems: list[str] = []
    jobs = 0
    for hour in range(HOURS):
        world.scenario = _hour(hour)
        world.unfold()
        await asyncio.sleep((hour + 1) * HOUR_SECONDS - world.loop.time())
        jobs += len(world.omni.seen)
        problems += broken_invariants(world)
        world.forget()
        measured.append(_measure(world, hour + 1, jobs))
        _say(str(measured[-1]))
    return measured, problems


async def _learn(world: World) -> None:
    """Let the bot have known how long jobs take for a while: as many as it remembers, in a table often written to."""
    random = Random("before")
    database = await world.disk.open()
    durations = SqlJobDurationRepository(Transactions(database), TeamId(HOME_TEAM))
    for seconds_ago in reversed(range(20 * KEPT)):
        job = JobId(_uuid(random))
        await durations.add({job: random.uniform(30, 300)}, world.bot_now() - timedelta(seconds=seconds_ago))
    await database.close()


def _measure(world: World, hour: int, jobs: int) -> Measured:
    gc.collect()
    kib = tracemalloc.get_traced_memory()[0] / 1024
    (pages,) = world.disk.rows.execute("PRAGMA page_count").fetchone()
    (free,) = world.disk.rows.execute("PRAGMA freelist_count").fetchone()
    (rows,) = world.disk.rows.execute("SELECT count(*) FROM watches").fetchone()
    tasks = sum(len(world.machine.tasks_of(running.process)) for running in world.machine.running)
    return Measured(hour, jobs, round(kib), pages, pages - free, rows, tasks)


def _hour(hour: int) -> Scenario:
    """The jobs of an hour, each followed by one or two people."""
    random = Random("hour")
    beginning = hour * HOUR_SECONDS
    jobs: list[JobPlan] = []
    actions: list[Action] = []
    for number in range(JOBS_AN_HOUR):
        begins = beginning + random.uniform(0.0, HOUR_SECONDS - 600.0)
        name = f"{hour * JOBS_AN_HOUR + number:08d}"
        identity = Random(name)
        token = f"answer-{name}"
        end = Failed(f"{token}: no") if random.random() < 0.2 else Complete(f"{token}: **{number}**")
        steps = tuple((random.uniform(2, 30), f"Step {n}", n) for n in range(random.randint(1, 5)))
        script = Script(1.0, steps, 1.0, end)
        jobs.append(
            JobPlan(
                id=_uuid(identity),
                conversation=_uuid(identity),
                begins=begins,
                script=script,
                token=token,
            )
        )
        for _ in range(random.choice((1, 1, 1, 2))):
            person, place = random.choice(PEOPLE), random.choice(MORE_PLACES)
            actions.append(Action(begins + random.uniform(0.5, 10), "follow", person, place, number))
    if hour == 0:
        # So that what is remembered up to a bound is full from the beginning.
        actions += [
            Action(random.uniform(0.0, HOUR_SECONDS - 600.0), "list", PEOPLE[0], MORE_PLACES[0])
            for _ in range(MAX_SEEN_REQUESTS)
        ]
    return Scenario(
        seed=0,
        history_scopes=True,
        requests_per_minute=60,
        notify_after_seconds=30.0,
        max_follow_hours=1.0,
        retention_days=RETENTION_DAYS,
        jobs=tuple(jobs),
        actions=tuple(actions),
        fronts=(),
        upsets=(),
        clock_steps=(),
    )


def _uuid(random: Random) -> str:
    return str(UUID(int=random.getrandbits(128), version=4))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
