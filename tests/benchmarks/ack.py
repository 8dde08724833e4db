"""Measure how soon a command is acknowledged while many jobs are tracked.

    uv run python -m tests.benchmarks.ack [--follows 500] [--commands 300]

The real bot runs as a process of its own between the simulated Slack and Omni of `bot/demo`, on real sockets.
Measured is what Slack measures: from sending the envelope to receiving its acknowledgement. For comparison the
same commands are measured with no follow at all, in the same run.
"""

import argparse
import asyncio
import resource
import statistics
import tempfile
from pathlib import Path

from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Script
from bot.demo.slack.simulator import SimulatedSlack
from bot.demo.slack.workspace import Channel
from tests.end_to_end.world import World

PER_CHANNEL = 10
"""A channel takes one card a second, so the follows are spread for the start not to take long."""
HOUR = Script(0.0, tuple((1.0, f"Step {number}", number) for number in range(3_600)))


def a_channel(slack: SimulatedSlack, number: int) -> str:
    """A new public channel with all users in it."""
    channel = Channel(f"C0BENCH{number:03}", f"bench-{number}", "public", set(slack.workspace.users))
    slack.workspace.channels[channel.id] = channel
    return channel.id


async def measure(follows: int, commands: int) -> list[float]:
    """Milliseconds from command to acknowledgement, sorted, with so many jobs followed."""
    async with SimulatedSlack(limits=False) as slack, SimulatedOmni() as omni:
        with tempfile.TemporaryDirectory() as folder:
            world = World(slack, omni, Path(folder))
            await world.bot_process()
            channels = [a_channel(slack, number) for number in range(follows // PER_CHANNEL)]
            for number in range(follows):
                await world.type(omni.add(HOUR), channel=channels[number % len(channels)])
            await slack.until(lambda: sum(len(slack.messages(c)) for c in channels) == follows, timeout=300)
            milliseconds = []
            for number in range(commands):
                text = ("help", "list", "", omni.add(HOUR))[number % 4]
                acked = await slack.command(text, user=world.grace, channel=world.channel)
                milliseconds.append(acked.seconds * 1000 if acked.acked else float("inf"))
                await asyncio.sleep(0.02)
            await world.close()
    return sorted(milliseconds)


async def main() -> None:
    """Print a line per load."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--follows", type=int, default=500)
    parser.add_argument("--commands", type=int, default=300)
    options = parser.parse_args()
    print("follows  commands  median ms  p95 ms  worst ms")
    for follows in (0, options.follows):
        times = await measure(follows, options.commands)
        p95 = times[int(len(times) * 0.95)]
        print(
            f"{follows:7}  {len(times):8}  {statistics.median(times):9.1f}  {p95:6.1f}  {times[-1]:8.1f}",
            flush=True,
        )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory of the bot: {peak:.0f} MiB")


if __name__ == "__main__":
    asyncio.run(main())
