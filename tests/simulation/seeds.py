"""Runs the world of a seed and reports violations."""

import asyncio
import gc
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import structlog

from tests.simulation.generator import plan
from tests.simulation.invariants import broken_invariants
from tests.simulation.loop import SimulatedLoop, Stuck, current_process
from tests.simulation.scenario import Scenario
from tests.simulation.trace import LogOfTheBot
from tests.simulation.world import World

COLLECTED_AT_MOST = 4
"""Finalizers leave new garbage."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a seed."""

    seed: int
    problems: tuple[str, ...]
    """The broken invariants, each with what broke it."""
    trace: tuple[str, ...]
    fingerprint: str
    """Equal for equal traces."""
    seconds: float
    """How much virtual time passed."""


def run(seed: int) -> Outcome:
    """Run a seed from its beginning to its end."""
    return run_scenario(plan(seed))


def run_scenario(scenario: Scenario) -> Outcome:
    """Run a scenario from its beginning to its end."""
    _freeze_once()
    debris: list[Any] = []
    before = structlog.get_config()
    try:
        return _run(scenario, debris)
    finally:
        with _unheard():
            if debris:
                _bury(debris)
        structlog.configure(**before)


@cache
def _freeze_once() -> None:
    """Imported modules stay, so they need no garbage collection after every seed."""
    gc.freeze()


def _run(scenario: Scenario, debris: list[Any]) -> Outcome:
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)
    world = World(scenario, loop)
    log = LogOfTheBot(world.trace, lambda: getattr(current_process(), "name", "?"))
    structlog.configure(processors=[log], cache_logger_on_first_use=False)
    problems: list[str] = []
    try:
        with world.machine.seams():
            loop.run_until_complete(world.run())
            problems += broken_invariants(world)
            loop.run_until_complete(world.end())
    except Stuck as stuck:
        problems.append(f"the bot is stuck: {stuck}")
    finally:
        debris += [loop, *world.machine.dead, *asyncio.all_tasks(loop)]
    problems += [f"nothing breaks: {what}" for what in (*log.defects, *world.defects, *loop.failures)]
    trace = world.trace
    return Outcome(scenario.seed, tuple(problems), tuple(trace.lines), trace.fingerprint, loop.time())


def _bury(debris: list[Any]) -> None:
    """Close what killed processes have left behind."""
    loop, *tasks = debris
    debris.clear()
    asyncio.set_event_loop(loop)
    tasks.sort(key=hash)
    while tasks:
        task = tasks.pop()
        task._log_destroy_pending = False
        _close(task.get_coro())
        del task
    asyncio.set_event_loop(None)
    loop.close()
    del loop
    for _ in range(COLLECTED_AT_MOST):
        if not gc.collect():
            break


def _close(coroutine: Any) -> None:
    """Close a coroutine that may wait again in its clean-up, once or several times."""
    for _ in range(50):
        try:
            coroutine.close()
        except RuntimeError:
            continue
        except BaseException:  # noqa: BLE001 - clean-up may raise anything
            pass
        return


@contextmanager
def _unheard() -> Iterator[None]:
    """Python cleans up after killed processes; its warnings are noise."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    logging.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = hook
        logging.disable(logging.NOTSET)
