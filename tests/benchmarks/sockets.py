"""The same delays in real time: processes between the simulated Slack and Omni of `bot/demo`, over real sockets."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.simulator import SimulatedSlack
from tests.benchmarks.ack import a_channel
from tests.benchmarks.delay import BEGIN_WITHIN_SECONDS, PER_CHANNEL, Measured
from tests.benchmarks.takes import Takes
from tests.end_to_end.world import World

MODULES = {
    "ours": ("bot",),
    "naive 2 s": ("tests.benchmarks.contestants", "2"),
    "naive 5 s": ("tests.benchmarks.contestants", "5"),
}
"""Entry point of the process."""
GIVES_UP_AFTER_SECONDS = 60.0


async def measure(jobs: int, takes: Takes, name: str) -> Measured:
    """So many jobs, 60 requests a minute, and the bot of that name."""
    async with SimulatedSlack() as slack, SimulatedOmni() as omni:
        with tempfile.TemporaryDirectory() as folder:
            world = World(slack, omni, Path(folder))
            await world.bot_process(*MODULES[name])
            shown: dict[str, float] = {}
            slack.workspace.listeners.append(watching(shown))
            ends = await asyncio.gather(*_commands(world, jobs, takes))
            last = max(end for _, end in ends)
            while len(shown) < jobs and time.time() < last + GIVES_UP_AFTER_SECONDS:
                await asyncio.sleep(0.2)
            await world.close()
            asked = [sum(job in request.path for request in omni.requests) for job, _ in ends]
            delays = sorted(shown[job] - end for job, end in ends if job in shown)
            edits = len(slack.calls("chat.update"))
            return Measured(jobs, tuple(delays), len(omni.requests), omni.answered_429, edits, max(asked))


def _commands(world: World, jobs: int, takes: Takes) -> list[asyncio.Task[tuple[str, float]]]:
    random = Random(jobs)
    channels = [a_channel(world.slack, number) for number in range(1 + jobs // PER_CHANNEL)]

    async def command(number: int, at: float, seconds: float) -> tuple[str, float]:
        await asyncio.sleep(at)
        job = world.omni.add(
            Script(0.0, ((seconds, "Step 1", 1),), 0.0, Complete(f"The answer is **{number}**."))
        )
        ends_at = time.time() + seconds
        await world.type(job, channel=channels[number % len(channels)])
        return job, ends_at

    return [
        asyncio.create_task(command(number, random.uniform(0.0, BEGIN_WITHIN_SECONDS), takes(random)))
        for number in range(jobs)
    ]


def watching(shown: dict[str, float]) -> Callable[[object], None]:
    """Notes when Slack first shows that a job has ended."""

    def note(change: object) -> None:
        message = getattr(change, "message", {})
        text = f"{message.get('text')} {message.get('blocks')}"
        if "Answered" in text and message.get("thread_ts") in (None, message.get("ts")):
            job = text.split("job `", 1)[-1][:36]
            shown.setdefault(job, time.time())

    return note
