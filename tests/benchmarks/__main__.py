"""Run all measurements: `python -m tests.benchmarks`, or some of them: `… delay sockets load`.

`… delay --cells short 12` runs some cells of the delay only. All takes some hours on two cores. Needs Linux, and a
machine that does nothing else.
"""

import argparse
import asyncio
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tests.benchmarks import delay, load, sockets, spender, structure, takes, webhooks
from tests.benchmarks.contestants import CONTESTANTS
from tests.benchmarks.delay import LISTINGS, Cell, Measured
from tests.benchmarks.plot import plot
from tests.benchmarks.rendering import CHARACTERS, rendering_times, slowest_hostile_text

SPENDER_SEEDS = 4
PICTURE = Path(__file__).parents[2] / ".github" / "pictures" / "delay.svg"
HEADING = (
    f"{'cell':<7} {'bot':<12} {'list':<6} {'delivered':>11} {'mean s':>7} {'p95 s':>7} {'max s':>7} "
    f"{'requests/job':>12} {'429s':>5} {'edits/job':>9} {'outdated %':>10} {'unused':>7}"
)
"""`outdated`: how much of the time cards showed a step that was over. `unused`: requests that were left unused while a
job was due."""


def _as_measured(jobs: int, per_minute: int, seed: int, how: str) -> Cell:
    return Cell(jobs, per_minute, takes.as_measured, seed, listing=how)


STEP = (5.0, 5.0)
CELLS: dict[str, tuple[int, Callable[[int, str], Cell]]] = {
    "short": (2, lambda seed, how: Cell(40, 60, takes.five_to_fifteen, seed, 0.0, listing=how)),
    "steps1": (8, lambda seed, how: Cell(1, 60, takes.as_measured, seed, step_seconds=STEP, listing=how)),
    "steps2": (8, lambda seed, how: Cell(2, 60, takes.as_measured, seed, step_seconds=STEP, listing=how)),
    "steps3": (8, lambda seed, how: Cell(3, 60, takes.as_measured, seed, step_seconds=STEP, listing=how)),
    "12": (6, lambda seed, how: Cell(12, 60, takes.thirty_five_to_seventy_five, seed, 2.0, listing=how)),
    "60": (2, lambda seed, how: Cell(60, 60, takes.minutes, seed, listing=how)),
    **{
        str(jobs): (runs, partial(_as_measured, jobs, per_minute))
        for jobs, per_minute, runs in (
            (1, 60, 40),
            (3, 60, 20),
            (10, 60, 10),
            (25, 60, 4),
            (50, 60, 2),
            (100, 60, 1),
            (500, 60, 1),
            (1_000, 500, 1),
        )
    },
}
"""By name: how often each is done, since in a mean of few jobs there is much chance; and the cell by its seed and how
Omni lists conversations. "short": jobs of 5 to 15 s one after the other. "steps": jobs with a step every 5 s. "12": at
once, of 35 to 75 s. "60": of 4 to 15 minutes. The others: of the measured durations."""
LONG_CELLS = ("500", "1000")
"""Too long to compare how Omni may list, and with the optimum."""


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", choices=["delay", *MEASUREMENTS, []], help="all if not given")
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS), help="for delay")
    given = parser.parse_args()
    for name in given.what or ["delay", *MEASUREMENTS]:
        if name == "delay":
            delays(given.cells)
        else:
            MEASUREMENTS[name]()
    return 0


def delays(names: Sequence[str]) -> None:
    """Virtual time, on all cores: how late users learn of an end, for each cell, bot and list of conversations."""
    _say("\nDelay from a job's end to its answer in Slack; virtual time\n" + HEADING)
    lines: dict[str, list[tuple[int, float]]] = {contestant.name: [] for contestant in CONTESTANTS}
    with ProcessPoolExecutor() as pool:
        rows = [
            (
                name,
                number,
                how,
                [pool.submit(_run, name, seed, how, number) for seed in range(CELLS[name][0])],
            )
            for name in names
            for number, how in _compared(name)
        ]
        for name, number, how, runs in rows:
            measured = _together([run.result() for run in runs])
            _say_row(name, CONTESTANTS[number].name, how, measured)
            cell = CELLS[name][1](0, how)
            if (
                cell.requests_per_minute == 60
                and name == str(cell.jobs)
                and cell.takes is takes.as_measured
                and how in ("end", "off")
            ):
                lines[CONTESTANTS[number].name].append((cell.jobs, measured.mean))
    if set(CELLS) <= set(names):
        PICTURE.write_text(plot(lines), encoding="utf-8")


def _compared(name: str) -> list[tuple[int, str]]:
    """The contestants by their numbers, ours with each way in which Omni may list conversations."""
    others = [number for number, contestant in enumerate(CONTESTANTS) if contestant.name != "ours"]
    if name in LONG_CELLS:
        return [(0, "end"), *((number, "off") for number in others if CONTESTANTS[number].name != "optimum")]
    return [*((0, how) for how in LISTINGS), *((number, "off") for number in others)]


def _run(name: str, seed: int, how: str, contestant: int) -> Measured:
    """One run, in a process of the pool: the arguments are what can be sent there."""
    return delay.measure(CELLS[name][1](seed, how), CONTESTANTS[contestant])


def over_sockets() -> None:
    """Real time and real sockets."""
    _say("\nThe same in real time over real sockets\n" + HEADING)
    for jobs in (10, 25):
        for name in sockets.MODULES:
            measured = asyncio.run(sockets.measure(jobs, takes.as_measured, name))
            _say_row(str(jobs), name, "end", measured)


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


def renderings() -> None:
    """How long the card and replies of a long answer take to render, with and without the machine's other work."""
    _say(f"\nRendering an answer of {CHARACTERS:,} characters: shortest time, and that of the process alone")
    for name, seconds, own_seconds in rendering_times():
        _say(f"{name:<40} {seconds * 1_000:>6.1f} ms {own_seconds * 1_000:>6.1f} ms")
    unit, whole, quarter = slowest_hostile_text()
    _say(f"slowest hostile text {unit!r}: {whole:.2f} s, a quarter of it {quarter:.2f} s")


MEASUREMENTS: dict[str, Callable[[], None]] = {
    "sockets": over_sockets,
    "load": loads,
    "webhooks": told,
    "spender": spenders,
    "structure": structure.show,
    "rendering": renderings,
}


def _together(runs: Sequence[Measured]) -> Measured:
    return Measured(
        sum(run.jobs for run in runs),
        tuple(sorted(seconds for run in runs for seconds in run.delays)),
        sum(run.requests for run in runs),
        sum(run.refused for run in runs),
        sum(run.edits for run in runs),
        max(run.most_requests for run in runs),
        sum(run.outdated_seconds for run in runs),
        sum(run.shown_seconds for run in runs),
        sum(run.unused for run in runs),
    )


def _say_row(cell: str, name: str, how: str, measured: Measured) -> None:
    numbers = " ".join(
        f"{'–' if math.isnan(seconds) else f'{seconds:.2f}':>7}"
        for seconds in (measured.mean, measured.p95, measured.worst)
    )
    _say(
        f"{cell:<7} {name:<12} {how:<6} {f'{len(measured.delays)}/{measured.jobs}':>11} {numbers} "
        f"{measured.requests / measured.jobs:12.1f} {measured.refused:5} {measured.edits / measured.jobs:9.1f} "
        f"{100.0 * measured.outdated:10.0f} {measured.unused:7.1f}"
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
