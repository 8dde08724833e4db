"""Runs seeds: `python -m tests.simulation` runs 10,000, `--seed N` replays one with its trace."""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation import planted
from tests.simulation.seeds import Outcome, run

SEEDS = 10_000
PROGRESS_SECONDS = 10.0
CATCHES = 3
"""How many seeds that catch a planted fault are looked for."""


def main() -> int:
    """Do what the command line says; 1 if an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay one seed and print its trace")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--count", type=int, default=SEEDS, help="how many seeds")
    parser.add_argument("--planted", action="store_true", help="say which seeds catch each planted fault")
    parser.add_argument("--fault", choices=sorted(planted.FAULTS), help="plant a fault")
    parser.add_argument("--day", action="store_true", help="24 hours with 2,000 jobs: memory and database")
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.count)
    if asked.day:
        from tests.simulation import day  # noqa: PLC0415 - it needs what the others do not

        return day.main()
    if asked.planted:
        return _say_who_catches(seeds if asked.count != SEEDS else range(300))
    if asked.fault:
        planted.FAULTS[asked.fault].plant()
    return _replay(asked.seed) if asked.seed is not None else _run_all(seeds)


def described(outcome: Outcome) -> str:
    """Report violations, the trace, and the command to replay it."""
    broken = "\n".join(f"  {problem}" for problem in outcome.problems)
    again = f"uv run python -m tests.simulation --seed {outcome.seed}"
    return "\n".join([*outcome.trace, f"SEED {outcome.seed} breaks", broken, f"Replay: {again}"])


def _replay(seed: int) -> int:
    outcome = run(seed)
    if outcome.problems:
        _say(described(outcome))
    else:
        _say("\n".join(outcome.trace))
        _say(f"seed {seed} is clean: trace {outcome.fingerprint}, {outcome.seconds:.0f} virtual seconds")
    return 1 if outcome.problems else 0


def _run_all(seeds: range) -> int:
    began = time.monotonic()
    broken: list[Outcome] = []
    virtual = 0.0
    said = 0.0
    for done, outcome in enumerate(_outcomes(seeds), start=1):
        virtual += outcome.seconds
        if outcome.problems:
            broken.append(outcome)
            _say(f"SEED {outcome.seed}: {outcome.problems[0]}")
        seconds = time.monotonic() - began
        if seconds - said > PROGRESS_SECONDS:
            said = seconds
            _say(f"{done} of {len(seeds)} seeds, {len(broken)} broken, {seconds:.0f} s")
    seconds = time.monotonic() - began
    _say(
        f"{len(seeds)} seeds from {seeds.start} in {seconds:.0f} s ({virtual / 3600:.0f} virtual hours): "
        f"{len(seeds) - len(broken)} clean, {len(broken)} broken"
    )
    if broken:
        _say(described(broken[0]))
        _say(f"broken: {' '.join(str(outcome.seed) for outcome in broken)}")
    return 1 if broken else 0


def _outcomes(seeds: Iterable[int]) -> Iterator[Outcome]:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(_brief, seeds, chunksize=10)


def _brief(seed: int) -> Outcome:
    """A seed's outcome; the trace only where it is wanted."""
    outcome = run(seed)
    return outcome if outcome.problems else Outcome(seed, (), (), outcome.fingerprint, outcome.seconds)


def _say_who_catches(seeds: range) -> int:
    """For each planted fault the first seeds that break with it and hold without it."""
    missed = []
    for name, fault in planted.FAULTS.items():
        caught = _catches(name, seeds)
        invariants = sorted({problem.split(":")[0] for outcome in caught for problem in outcome.problems})
        _say(f"{name}: {fault.sentence}")
        _say(f"  seeds {' '.join(str(o.seed) for o in caught)}, by: {'; '.join(invariants)}")
        missed += [name] * (not caught)
    _say(f"not caught: {' '.join(missed)}" if missed else "all are caught")
    return 1 if missed else 0


def _catches(name: str, seeds: range) -> list[Outcome]:
    caught: list[Outcome] = []
    with ProcessPoolExecutor(os.cpu_count(), initializer=planted.plant, initargs=(name,)) as pool:
        for outcome in pool.map(_brief, seeds):
            if outcome.problems and not run(outcome.seed).problems:
                caught.append(outcome)
            if len(caught) == CATCHES:
                pool.shutdown(wait=False, cancel_futures=True)
                break
    return caught


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
