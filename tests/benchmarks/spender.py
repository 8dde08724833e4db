"""How much later people see an answer while one person asks for all they can, in virtual time.

Each run is a world of `tests/simulation`, as in `delay`: five jobs of other people begin within half a minute, each
followed by a command. One more person, the spender, follows jobs and then types an unknown id a second, or the address
of an unknown chat, or clicks *Show data* under one answer after the other, or a hundred times at once on *Cancel job*.
All runs meet the same jobs, so the delay of each answer can be compared with its delay while the spender only follows.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from unittest.mock import patch

import structlog

from bot import ratelimit
from bot.demo.omni.timeline import Complete, Script
from bot.domain import UserId
from bot.domain.credentials import Credentials
from bot.ratelimit import RateLimiter, RateLimitStore, omni_rate
from bot.services.cancel import CancelService
from bot.user_limit import UserLimit
from bot.workspaces import workspace
from tests.benchmarks.takes import as_measured
from tests.simulation.looks import FINAL, job_of, look_of
from tests.simulation.loop import SimulatedLoop, current_process
from tests.simulation.scenario import PEOPLE, Action, JobPlan, Scenario
from tests.simulation.trace import LogOfTheBot
from tests.simulation.world import BEGINNING, World

OTHERS = 5
"""Jobs of other people, which are measured."""
OTHERS_BEGIN_AT = 70.0
SPENDER = PEOPLE[4]
SPENDERS_PLACE = "C0PLACE001"
SPENDS_FROM_SECONDS = 60.0
SPENDS_SECONDS = 300
PATIENCE_SECONDS = 300.0
"""How long every answer is waited for once the spender has stopped."""
ANSWERED = 20
ENDLESS = 3
"""Jobs of the spender's to click on: with an answer, and without an end."""
CLICKS = 100
CLICKS_EVERY_SECONDS = 20.0
"""On *Cancel job*, at one moment for each endless job: its first answer takes the button away."""
FOREVER_SECONDS = 3_600.0
LIMITS = {"max_open_follows_per_person": 25, "max_lookups_per_minute": 20}
"""The defaults, which the simulation does without."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What the other people met, each by the job's id."""

    delays: dict[str, float]
    """Seconds from the job's end until Slack showed it."""
    cards: dict[str, float]
    """Seconds from the command until its card was there."""
    polls: int
    """Requests about those jobs while the spender was at it."""
    requests: int
    """All requests meanwhile."""
    refused: int
    """Requests that Omni answered with 429."""


@contextmanager
def ours() -> Iterator[None]:
    """The bot as it is."""
    yield


@contextmanager
def unbounded() -> Iterator[None]:
    """The bot without what protects others: what people ask for always goes first, and costs what it costs."""

    class Free(UserLimit):
        def is_exceeded(self, user: UserId) -> bool:
            return False

        @asynccontextmanager
        async def turn(self) -> AsyncIterator[None]:
            yield

    def requests(store: RateLimitStore, credentials: Credentials) -> RateLimiter:
        return RateLimiter(store, credentials.omni_budget, omni_rate(credentials.requests_per_minute))

    def begin(service: Any, card: Any, user: UserId) -> asyncio.Task[str]:
        return asyncio.create_task(service._call_omni(card, user))

    with (
        patch.object(workspace, "UserLimit", Free),
        patch.object(ratelimit, "omni_limiter", requests),
        patch.object(CancelService, "_begin", begin),
    ):
        yield


BOTS: dict[str, Callable[[], AbstractContextManager[None]]] = {"without bounds": unbounded, "ours": ours}


KINDS = {"unknown ids": "follow", "unknown chats": "chat", "cancels": "cancel", "data": "data"}
"""What the spender does, and the kind of the `Action`."""


def measure(seed: int, kinds: Sequence[str], bot: str) -> Spent:
    """Run one world with one bot. `kinds`: what the spender does each second, of `KINDS`."""
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)
    world = World(_scenario(seed, kinds), loop)
    world.trace.is_kept = False
    world.machine.settings = world.machine.settings.model_copy(update=LIMITS)
    structlog.configure(
        processors=[LogOfTheBot(world.trace, lambda: getattr(current_process(), "name", "?"))]
    )
    try:
        with BOTS[bot](), world.machine.seams():
            loop.run_until_complete(_run(world))
            spent = _spent(world)
            loop.run_until_complete(world.end())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return spent


async def _run(world: World) -> None:
    world.unfold()
    world.machine.start()
    await asyncio.sleep(SPENDS_FROM_SECONDS + SPENDS_SECONDS + PATIENCE_SECONDS)


def _scenario(seed: int, kinds: Sequence[str]) -> Scenario:
    random = Random(f"spender {seed}")
    begins = sorted(OTHERS_BEGIN_AT + random.uniform(0.0, 30.0) for _ in range(OTHERS))
    others = [_job(number, at, as_measured(random)) for number, at in enumerate(begins)]
    answered = [_job(number, 0.0, 5.0) for number in range(OTHERS, OTHERS + ANSWERED)]
    endless = [
        _job(OTHERS + ANSWERED + number, 0.0, FOREVER_SECONDS, step_seconds=FOREVER_SECONDS)
        for number in range(ENDLESS)
    ]
    own = [*answered, *endless]
    unknown = [
        replace(_job(OTHERS + len(own) + second, 0.0, 1.0), exists=False) for second in range(SPENDS_SECONDS)
    ]
    jobs = [*others, *own, *unknown]
    actions = [
        Action(job.begins, "follow", PEOPLE[number % 4], f"C0PLACE{number + 2:03d}", number)
        for number, job in enumerate(others)
    ]
    actions += [
        Action(2.0 * number, "follow", SPENDER, SPENDERS_PLACE, jobs.index(job))
        for number, job in enumerate(own, start=1)
    ]
    for kind in kinds:
        actions += [
            Action(SPENDS_FROM_SECONDS + at, KINDS[kind], SPENDER, SPENDERS_PLACE, jobs.index(job))
            for at, job in _clicked(kind, unknown, answered, endless)
        ]
    return Scenario(
        seed=seed,
        history_scopes=True,
        requests_per_minute=60,
        notify_after_seconds=86_400.0,
        max_follow_hours=24.0,
        retention_days=30.0,
        jobs=tuple(jobs),
        actions=tuple(actions),
        fronts=(),
        upsets=(),
        clock_steps=(),
    )


def _clicked(
    kind: str, unknown: Sequence[JobPlan], answered: Sequence[JobPlan], endless: Sequence[JobPlan]
) -> Iterator[tuple[float, JobPlan]]:
    """When the spender does that, and with which job."""
    if kind == "cancels":
        for number, job in enumerate(endless, start=1):
            yield from [(CLICKS_EVERY_SECONDS * number, job)] * CLICKS
    else:
        jobs = answered if kind == "data" else unknown
        for second in range(SPENDS_SECONDS):
            yield float(second), jobs[second % len(jobs)]


def _job(number: int, begins: float, seconds: float, step_seconds: float = 10.0) -> JobPlan:
    steps: list[tuple[float, str | None, int]] = []
    while (left := seconds - sum(step[0] for step in steps)) > 1e-9:
        steps.append((min(left, step_seconds), f"Step {len(steps) + 1}", len(steps) + 1))
    return JobPlan(
        id=f"{number:08d}-0000-4000-8000-000000000000",
        conversation=f"{number:08d}-1111-4000-8000-000000000000",
        begins=begins,
        script=Script(0.0, tuple(steps), 0.0, Complete(f"The answer is **{number}**.")),
        token=f"answer-{number}",
    )


def _spent(world: World) -> Spent:
    others = {job.id: job for job in world.scenario.jobs[:OTHERS]}
    delays: dict[str, float] = {}
    cards: dict[str, float] = {}
    for posted in world.slack.posted.values():
        job = others.get(job_of(posted.looks[-1]))
        if job is None or posted.thread is not None:
            continue
        cards[job.id] = posted.looks[0].at - BEGINNING - job.begins
        ended = job.begins + sum(step[0] for step in job.script.steps)
        shown = next((look.at for look in posted.looks if look_of(look) in FINAL), None)
        delays[job.id] = (world.now() if shown is None else shown) - BEGINNING - ended
    asked = [exchange for exchange in world.wire.log if exchange.service == "omni"]
    during = [e for e in asked if 0.0 <= e.at - SPENDS_FROM_SECONDS < SPENDS_SECONDS]
    polls = sum(any(job in exchange.name for job in others) for exchange in during)
    return Spent(delays, cards, polls, len(during), sum(exchange.status == 429 for exchange in asked))
