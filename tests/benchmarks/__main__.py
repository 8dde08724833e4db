"""Run all measurements: `python -m tests.benchmarks`, or some of them: `… delay sockets load`.

Takes about an hour on two cores. Needs Linux, and a machine that does nothing else.
"""

import argparse
import asyncio
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.benchmarks import delay, load, sockets, spender, structure, takes, webhooks
from tests.benchmarks.contestants import CONTESTANTS
from tests.benchmarks.delay import Cell, Measured
from tests.benchmarks.plot import plot

CELLS = (
    (1, 60, 120),
    (2, 60, 50),
    (3, 60, 20),
    (10, 60, 10),
    (25, 60, 5),
    (100, 60, 2),
    (500, 60, 1),
    (1_000, 500, 1),
    (5_000, 500, 1),
)
"""Jobs, requests a minute, and how often it is done with other jobs: the fewer jobs, the more chance is in a mean."""
SPENDER_SEEDS = 4
PICTURE = Path(__file__).parents[2] / ".github" / "pictures" / "delay.svg"
HEADING = (
    f"{'jobs':>5} {'a minute':>8}  {'bot':<12} {'delivered':>11} {'mean s':>7} {'p95 s':>7} {'max s':>7} "
    f"{'requests/job':>12} {'429s':>5} {'edits/job':>9}"
)


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*MEASUREMENTS, []], help="all if not given")
    for name in parser.parse_args().what or MEASUREMENTS:
        MEASUREMENTS[name]()
    return 0


def delays() -> None:
    """Virtual time, on all cores: how late people learn of an end, for each bot and number of jobs."""
    _say(
        "\nDelay from a job's end to its answer in Slack; virtual time; jobs of 40/51/92 s (quartiles)\n"
        + HEADING
    )
    lines: dict[str, list[tuple[int, float]]] = {contestant.name: [] for contestant in CONTESTANTS}
    with ProcessPoolExecutor() as pool:
        rows = [
            (
                cell,
                contestant,
                [pool.submit(_run, *cell[:2], "as_measured", seed, number) for seed in range(cell[2])],
            )
            for cell in CELLS
            for number, contestant in enumerate(CONTESTANTS)
        ]
        others = [
            (what, [pool.submit(_run, jobs, 60, take, seed, 0) for seed in range(20)])
            for what, jobs, take in (("20 to 40 s", 10, "twenty_to_forty"), ("30 s", 1, "thirty"))
        ]
        for (jobs, per_minute, _), contestant, runs in rows:
            measured = _together([run.result() for run in runs])
            _say_row(jobs, per_minute, contestant.name, measured)
            if per_minute == 60:
                lines[contestant.name].append((jobs, measured.mean))
        for what, runs in others:
            _say(f"jobs of {what}:")
            measured = _together([run.result() for run in runs])
            _say_row(measured.jobs // len(runs), 60, CONTESTANTS[0].name, measured)
            _say(f"at most {measured.most_requests} requests for a job")
    PICTURE.write_text(plot(lines), encoding="utf-8")


def _run(jobs: int, per_minute: int, take: str, seed: int, contestant: int) -> Measured:
    """One run, in a process of the pool: the arguments are what can be sent there."""
    return delay.measure(Cell(jobs, per_minute, getattr(takes, take), seed), CONTESTANTS[contestant])


def over_sockets() -> None:
    """Real time and real sockets."""
    _say("\nThe same in real time over real sockets\n" + HEADING)
    for jobs in (10, 25):
        for name in sockets.MODULES:
            _say_row(jobs, 60, name, asyncio.run(sockets.measure(jobs, takes.as_measured, name)))


def loads() -> None:
    """CPU, memory, start and acknowledgements with many open follows."""
    _say("\nMany open follows in one process, SQLite, 60 requests a minute")
    _say("follows  connected s  answered s  followed s   CPU %  busy %  peak MiB  ack median ms   p99  worst")
    for follows in (1_000, 10_000):
        measured = asyncio.run(load.measure(follows))
        acks = measured.ack_milliseconds
        _say(
            f"{follows:7}  {measured.connected_seconds:11.1f}  {measured.answered_seconds:10.1f}  "
            f"{measured.followed_seconds:10.1f}  {measured.cpu_percent:6.1f}  {measured.busy_cpu_percent:6.1f}  "
            f"{measured.peak_mib:8.0f}  {statistics.median(acks):13.1f}  {measured.ack(0.99):4.1f}  {acks[-1]:5.1f}"
        )


def told() -> None:
    """Requests per asked job, with Omni's webhooks and without."""
    _say("\nRequests to Omni per question asked in Slack, 20 within a minute; real time, real sockets")
    _say("webhooks   delivered  submits/job  statuses/job  charts/job   mean s   max s")
    for kind in webhooks.KINDS:
        asked = asyncio.run(webhooks.measure(20, takes.as_measured, kind))
        _say(
            f"{kind:<9}  {f'{len(asked.delays)}/{asked.jobs}':>9}  {asked.submits / asked.jobs:11.2f}  "
            f"{asked.statuses / asked.jobs:12.2f}  {asked.charts / asked.jobs:10.2f}  "
            f"{statistics.fmean(asked.delays):7.2f}  {asked.delays[-1]:6.2f}"
        )


def spenders() -> None:
    """Virtual time, on all cores: how much later others see their answers while one person asks for all they can."""
    _say(
        "\nFive jobs of other people while one person asks for all they can; virtual time, 60 requests a minute\n"
        "the person does   bot             answers  delay mean s  worst s  later mean s  worst s  "
        "card after worst s  polls of them  all requests  429s"
    )
    works = [(), *((kind,) for kind in spender.KINDS), tuple(spender.KINDS)]
    with ProcessPoolExecutor() as pool:
        runs = {
            (kinds, bot): [pool.submit(spender.measure, seed, kinds, bot) for seed in range(SPENDER_SEEDS)]
            for kinds in works
            for bot in spender.BOTS
        }
        for (kinds, bot), pending in runs.items():
            spent = [run.result() for run in pending]
            alone = [run.result() for run in runs[(), bot]]
            delays = [seconds for one in spent for seconds in one.delays.values()]
            later = [
                seconds - calm.delays[job]
                for one, calm in zip(spent, alone, strict=True)
                for job, seconds in one.delays.items()
            ]
            name = "all of these" if len(kinds) > 1 else (kinds or ("nothing",))[0]
            _say(
                f"{name:<16}  {bot:<14}  {len(delays):7}  {statistics.fmean(delays):12.2f}  {max(delays):7.1f}  "
                f"{statistics.fmean(later):12.2f}  {max(later):7.1f}  "
                f"{max(seconds for one in spent for seconds in one.cards.values()):18.1f}  "
                f"{sum(one.polls for one in spent):13}  {sum(one.requests for one in spent):12}  "
                f"{sum(one.refused for one in spent):4}"
            )


MEASUREMENTS: dict[str, Callable[[], None]] = {
    "delay": delays,
    "sockets": over_sockets,
    "load": loads,
    "webhooks": told,
    "spender": spenders,
    "structure": structure.show,
}


def _together(runs: Sequence[Measured]) -> Measured:
    return Measured(
        sum(run.jobs for run in runs),
        tuple(sorted(seconds for run in runs for seconds in run.delays)),
        sum(run.requests for run in runs),
        sum(run.refused for run in runs),
        sum(run.edits for run in runs),
        max(run.most_requests for run in runs),
    )


def _say_row(jobs: int, per_minute: int, name: str, measured: Measured) -> None:
    numbers = " ".join(
        f"{'–' if math.isnan(seconds) else f'{seconds:.2f}':>7}"
        for seconds in (measured.mean, measured.p95, measured.worst)
    )
    _say(
        f"{jobs:5} {per_minute:8}  {name:<12} {f'{len(measured.delays)}/{measured.jobs}':>11} {numbers} "
        f"{measured.requests / measured.jobs:12.1f} {measured.refused:5} {measured.edits / measured.jobs:9.1f}"
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
