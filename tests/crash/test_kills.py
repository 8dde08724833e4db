"""Kills at every point around calls to Slack and Omni: nothing is lost or reported twice."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from bot.demo.omni.job_data import bars
from bot.demo.omni.timeline import Complete
from tests.crash.kills import POINTS, Call, Kill, Moment, Point
from tests.crash.nursery import Nursery, a_nursery
from tests.crash.world import World, a_world, some_end
from tests.support import postgres

pytestmark = [pytest.mark.crash, pytest.mark.timeout(400)]

SEED = int(os.environ.get("CRASH_SEED", "20261123"))
WORLDS = 8
BLIND_WORLDS = 2
"""In how many of the worlds the bot was not granted the history scopes."""
PROCESSES = {"sqlite": 1, "postgresql": 2}
MIN_KILLS = 100
RANDOM_KILLS = 24
REACHED_WITHIN_SECONDS = 14.0
TRIES = 4
AT_START = (Call.HELLO, Call.SOCKET)
LED_TO_BY = {Call.HISTORY: Call.CARD, Call.REPLIES: Call.REPLY}
"""The bot looks for a message only if it died over its post."""
TOLD_WITHIN_SECONDS = 90.0


@dataclass
class Tally:
    """Actions in the worlds of one test."""

    at_points: Counter[Point] = field(default_factory=Counter)
    at_random: int = 0
    not_reached: list[Point] = field(default_factory=list)
    typed_again: int = 0
    lost_after_ack: int = 0
    given_up: int = 0
    follows: int = 0

    @property
    def kills(self) -> int:
        return self.at_points.total() + self.at_random

    def report(self) -> str:
        """Summary after the test."""
        lines = [
            f"seed {SEED}: {self.kills} kills, {self.at_random} of them at any moment",
            f"{self.follows} follows, {self.given_up} cards given up",
            f"{self.typed_again} commands typed again, {self.lost_after_ack} of them acknowledged before",
            *(f"{times:3} {point}" for point, times in sorted(self.at_points.items(), key=str)),
            *(f"not reached: {point}" for point in self.not_reached),
        ]
        return "\n".join(lines) + "\n"


class Life:
    """One world, in which the bot dies as often as its deck has points."""

    def __init__(self, world: World, processes: int, random: Random, tally: Tally) -> None:
        self.world = world
        self.processes = processes
        self.random = random
        self.tally = tally
        self._people: list[asyncio.Task[None]] = []

    async def die_at(self, point: Point | None) -> None:
        """Start what is missing, let people do what leads to the point, and kill there; None is at any moment."""
        if point is not None and point.call in AT_START and len(self.world.living) == self.processes:
            await self._kill_anybody()
        kill = None if point is None else Kill(self.world, point, self.random)
        if kill is not None:
            for service in (self.world.slack, self.world.omni):
                service.faults.plan(kill, times=None)
        while len(self.world.living) < self.processes:
            await self.world.start()
        if kill is None:
            self._let_come(None)
            await self.world.connected()
            await asyncio.sleep(self.random.uniform(0.0, 3.0))
            await self._kill_anybody()
        else:
            await self._lead_to(kill)
        assert not [process.last_words for process in self.world.processes if process.ended_by_itself]

    async def _kill_anybody(self) -> None:
        await self.world.kill(self.random.choice(self.world.living), "any moment")
        self.tally.at_random += 1

    async def _lead_to(self, kill: Kill) -> None:
        """Let people come until the process has died at the point."""
        async with AsyncExitStack() as over:
            for service in (self.world.slack, self.world.omni):
                over.callback(service.faults.lift)
            for _ in range(TRIES):
                people = self._let_come(kill.point.call)
                done = asyncio.create_task(kill.done.wait())
                await asyncio.wait({people, done}, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait({done}, timeout=REACHED_WITHIN_SECONDS)
                done.cancel()
                if kill.done.is_set():
                    self.tally.at_points[kill.point] += 1
                    return
            self.tally.not_reached.append(kill.point)

    def _let_come(self, call: Call | None) -> asyncio.Task[None]:
        people = asyncio.create_task(self._follow(call))
        self._people.append(people)
        return people

    async def _follow(self, call: Call | None) -> None:
        """A new follow, such that the bot comes to make the call."""
        end = some_end(self.random, len(self.world.omni.jobs))
        channel = self.world.slack.workspace.channel("random" if call is Call.DIRECT else "data-team").id
        picture = None
        if call in (Call.CHART_EDIT, Call.UPLOAD):
            end, picture = Complete("Answer with a chart."), bars((1.0, 2.0))
        is_long = call in (Call.EDIT, Call.LAST_EDIT, Call.PERMALINK, Call.LINE)
        seconds = 7.0 if is_long else self.random.uniform(1.0, 4.0)
        follow = await self.world.follow(end, seconds=seconds, channel=channel, picture=picture)
        if call in (Call.PERMALINK, Call.LINE):
            with suppress(TimeoutError):
                await self.world.until(lambda: bool(self.world.cards(follow)), REACHED_WITHIN_SECONDS)
                await self.world.join(follow, self.world.grace)

    async def end(self) -> None:
        """Wait until everything is reported."""
        while len(self.world.living) < self.processes:
            await self.world.start()
        await asyncio.gather(*self._people)
        await self.world.all_told(timeout=TOLD_WITHIN_SECONDS)
        self.tally.follows += len(self.world.follows)
        self.tally.typed_again += sum(follow.typed_again for follow in self.world.follows)
        self.tally.lost_after_ack += sum(follow.lost_after_ack for follow in self.world.follows)
        self.tally.given_up += sum(follow.given_up for follow in self.world.follows)


def decks(random: Random) -> list[list[Point | None]]:
    """Every point twice and some kills at random, dealt to the worlds."""
    cards: list[list[Point | None]] = [[None] for _ in range(RANDOM_KILLS)]
    looks: list[list[Point | None]] = []
    for point in POINTS * 2:
        if point.call in LED_TO_BY:
            looks.append([Point(LED_TO_BY[point.call], Moment.AFTER), point])
        else:
            cards.append([point])
    random.shuffle(cards)
    random.shuffle(looks)
    dealt: list[list[Point | None]] = [[] for _ in range(WORLDS)]
    for hand in looks:
        min(dealt[BLIND_WORLDS:], key=len).extend(hand)
    for hand in cards:
        min(dealt, key=len).extend(hand)
    return dealt


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_killed_bot_recovers_at_every_point(kind: str, tmp_path: Path) -> None:
    random = Random(SEED)
    tally = Tally()

    async def live(number: int, deck: Sequence[Point | None], nursery: Nursery) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        with ExitStack() as closing:
            url = f"sqlite:///{folder / 'follows.sqlite3'}"
            if kind == "postgresql":
                url = closing.enter_context(postgres.database())
            async with a_world(nursery, url, folder, history=number >= BLIND_WORLDS) as world:
                life = Life(world, PROCESSES[kind], Random(f"{SEED} {number}"), tally)
                for point in deck:
                    await life.die_at(point)
                await life.end()

    async with a_nursery() as nursery, asyncio.TaskGroup() as worlds:
        for number, deck in enumerate(decks(random)):
            worlds.create_task(live(number, deck, nursery))

    sys.stdout.write(tally.report())
    assert set(tally.at_points) == set(POINTS)
    assert tally.kills >= MIN_KILLS
