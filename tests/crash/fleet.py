"""Several processes on one PostgreSQL: which one tracks which job, and how fast others take over."""

import asyncio
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psycopg

from bot.demo.omni.timeline import Script
from bot.demo.slack.simulator import SimulatedSlack
from bot.demo.slack.workspace import Channel, StoredMessage, User
from tests.crash.askedomni import AskedOmni
from tests.end_to_end.world import environment

RUNS_ON = Script(0.0, ((3_600.0, "Thinking", 1),))
JOBS_PER_CHANNEL = 5
"""How many cards a channel gets, of which Slack takes one a second."""
TYPED_AT_ONCE = 10
STARTS_WITHIN_SECONDS = 60.0
STORED_WITHIN_SECONDS = 4.0
"""How long is waited for a command to have an effect before it is typed again."""
DEFECT = re.compile(r"Traceback|event=\S* ?broke|level=critical|never retrieved|never awaited|was destroyed")

# Slack's 50 edits a minute would make the end of 200 jobs take four minutes, without showing anything else.
LAUNCH = """
import sys
import bot.ratelimit
from bot.__main__ import main
bot.ratelimit.EDITS_PER_MINUTE = 3_000
sys.exit(main())
"""


class Process:
    """One process of the bot. Times are Unix seconds."""

    def __init__(self, name: str, running: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.running = running
        self._log = log

    @property
    def log(self) -> str:
        """Its output so far."""
        return self._log.read_text("utf-8")

    @property
    def lives(self) -> bool:
        return self.running.returncode is None

    async def kill(self) -> float:
        """End it as kill -9 does. Returns when that was."""
        assert self.lives
        at = time.time()
        self.running.kill()
        await self.running.wait()
        return at

    def terminate(self) -> float:
        """Ask it to end. Returns when that was."""
        self.running.terminate()
        return time.time()

    def pause(self) -> float:
        """Let it stand still. Returns when that was."""
        self.running.send_signal(signal.SIGSTOP)
        return time.time()

    def wake(self) -> float:
        """Let it go on. Returns when that was."""
        self.running.send_signal(signal.SIGCONT)
        return time.time()


class Fleet:
    """The processes on one database, the services around them, and what people asked for."""

    def __init__(self, slack: SimulatedSlack, omni: AskedOmni, folder: Path, url: str, cable: str) -> None:
        """`url`: of the database, for the test; `cable`: the same for the bot."""
        self.slack = slack
        self.omni = omni
        self.processes: list[Process] = []
        """All processes that were started."""
        self.jobs: list[str] = []
        """Commands in order."""
        self._folder = folder
        self._url = url
        self._cable = cable
        self._place_of: dict[str, str] = {}

    # Processes

    @property
    def living(self) -> list[Process]:
        return [process for process in self.processes if process.lives]

    async def start(self) -> Process:
        """One more process; returns when it takes commands."""
        name = f"p{len(self.processes) + 1}"
        log = self._folder / f"{name}.log"
        own = {"OMNI_API_TOKEN": self.omni.key_of(name), "NOTIFY_AFTER_SECONDS": "0"}
        settings = environment(self.slack, self.omni, self._cable) | own
        with log.open("wb") as sink:
            running = await asyncio.create_subprocess_exec(
                *[sys.executable, "-c", LAUNCH], cwd=self._folder, env=settings, stdout=sink, stderr=sink
            )
        process = Process(name, running, log)
        self.processes.append(process)
        await until(lambda: "socket connected" in process.log, STARTS_WITHIN_SECONDS)
        return process

    async def close(self) -> None:
        """Leave no process behind."""
        for process in self.living:
            process.running.kill()
            await process.running.wait()

    def defects(self) -> list[str]:
        """Log lines that only a defect causes, and processes that exited unexpectedly."""
        words = [f"{one.name}: {line}" for one in self.processes for line in one.log.splitlines()]
        ended = {one.name: one.running.returncode for one in self.processes}
        broken = [f"{name} ended with {code}" for name, code in ended.items() if code not in (None, 0, -9)]
        return [line for line in words if DEFECT.search(line)] + broken

    # People

    async def follow(self, jobs: int, *, within_seconds: float = 60.0) -> None:
        """People ask for so many new jobs, and each gets its card."""
        new = [self.omni.add(RUNS_ON) for _ in range(jobs)]
        for job in new:
            self._place_of[job] = self.channel(len(self.jobs) // JOBS_PER_CHANNEL)
            self.jobs.append(job)
        unknown = new
        while unknown:
            for first in range(0, len(unknown), TYPED_AT_ONCE):
                await asyncio.gather(*(self._type(job) for job in unknown[first : first + TYPED_AT_ONCE]))
            unknown = await self._come_to_nothing(unknown)
        await until(lambda: all(self.cards(job) for job in new), within_seconds)

    async def _type(self, job: str) -> None:
        await self.slack.command(job, user="ada", channel=self._place_of[job])

    async def _come_to_nothing(self, jobs: list[str]) -> list[str]:
        """Whose commands no process has acknowledged, or one has died over. A person sees that no card comes;
        here the table tells sooner."""
        began = time.time()
        while jobs and time.time() < began + STORED_WITHIN_SECONDS:
            stored = await self.claims()
            jobs = [job for job in jobs if job not in stored]
            await asyncio.sleep(0.1)
        return jobs

    def channel(self, number: int) -> str:
        """A channel with all users in it; the same for the same number."""
        everybody = set(self.slack.workspace.users)
        channel = Channel(f"C0FLEET{number:03d}", f"fleet-{number}", "public", everybody)
        return self.slack.workspace.channels.setdefault(channel.id, channel).id

    def stranger(self, number: int) -> str:
        """A user without any message yet."""
        person = User(f"U0STRANG{number:02d}", f"stranger-{number}", f"Stranger {number}")
        self.slack.workspace.users[person.id] = person
        for channel in self.slack.workspace.channels.values():
            channel.members.add(person.id)
        return person.id

    # Messages in Slack

    def cards(self, job: str, channel: str | None = None) -> list[StoredMessage]:
        """The cards of a job."""
        place = channel or self._place_of[job]
        return [card for card in self.slack.messages(place) if job in f"{card.text}{card.blocks}"]

    def end(self, job: str) -> None:
        """Let a job end in Omni, each fourth of them badly."""
        if self._ends_badly(job):
            self.omni.set(job, state="FAILED", error={"message": f"No column for {job}"})
        else:
            self.omni.set(job, state="COMPLETE", resultSummary=f"The answer of {job}")

    def _ends_badly(self, job: str) -> bool:
        return self.jobs.index(job) % 4 == 0

    async def end_all(self, *, within_seconds: float) -> None:
        """Let every job end. Fails unless each then has one card with the right end, and one reply."""
        for job in self.jobs:
            self.end(job)
        with suppress(TimeoutError):
            await until(lambda: not self.wrong(), within_seconds)
        assert self.wrong() == []

    def wrong(self) -> list[str]:
        """Violations at the end."""
        return [wrong for job in self.jobs if (wrong := self._what_is_wrong_with(job))]

    def _what_is_wrong_with(self, job: str) -> str | None:
        cards = self.cards(job)
        if len(cards) != 1:
            return f"{job} has {len(cards)} cards"
        (card,) = cards
        end = f"No column for {job}" if self._ends_badly(job) else f"The answer of {job}"
        if end not in f"{card.text}{card.blocks}":
            return f"{job} shows {card.text!r}"
        replies = len(self.slack.replies(card.channel, card.ts))
        return f"{job} has {replies} replies" if replies != 1 else None

    # Who follows what

    def followed_by(self, process: Process, *, at: float) -> set[str]:
        """The jobs about which this process was the last one to ask, at that time."""
        last = {question.job: question.by for question in self.omni.questions if question.at <= at}
        return {job for job, by in last.items() if by == process.name}

    def busiest(self) -> Process:
        """The living process that follows most."""
        return max(self.living, key=lambda process: len(self.followed_by(process, at=time.time())))

    async def asked_by_others(
        self, process: Process, *, since: float, within_seconds: float
    ) -> dict[str, float]:
        """Wait until others have asked about each job that a process followed. Returns the seconds, by job.

        Raises TimeoutError if that takes longer.
        """
        jobs = self.followed_by(process, at=since)

        def seconds() -> dict[str, float]:
            first: dict[str, float] = {}
            for question in self.omni.questions:
                if question.at > since and question.by != process.name and question.job in jobs:
                    first.setdefault(question.job, question.at - since)
            return first

        await until(lambda: len(seconds()) == len(jobs), since + within_seconds - time.time())
        return seconds()

    async def claims(self) -> dict[str, str]:
        """The claim on each open job; each follow that begins makes one of its own."""
        return await _claims(self._url)

    async def claimed_anew(
        self, jobs: Collection[str], before: dict[str, str], *, since: float, within_seconds: float
    ) -> dict[str, float]:
        """Wait until each job has another claim than before. Returns the seconds, by job.

        Raises TimeoutError if that takes longer.
        """
        seconds: dict[str, float] = {}
        async with asyncio.timeout(since + within_seconds - time.time()):
            while len(seconds) < len(jobs):
                now = await self.claims()
                for job in jobs:
                    if now.get(job) not in (None, before.get(job)):
                        seconds.setdefault(job, time.time() - since)
                await asyncio.sleep(0.05)
        return seconds


async def _claims(url: str) -> dict[str, str]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        found = await connection.execute("SELECT job, claim FROM watches WHERE closed_at IS NULL")
        return {str(job): str(claim) for job, claim in await found.fetchall()}


@asynccontextmanager
async def fleet(
    folder: Path, url: str, *, cable: str | None = None, requests_per_minute: int
) -> AsyncIterator[Fleet]:
    """A fleet without any process yet. `cable`: by which address the processes reach the database, if another."""
    async with SimulatedSlack(limits=False) as slack, AskedOmni(requests_per_minute) as omni:
        ships = Fleet(slack, omni, folder, url, cable or url)
        try:
            yield ships
        finally:
            await ships.close()


async def until(condition: Callable[[], bool], within_seconds: float) -> float:
    """Wait until a condition holds. Returns how many seconds that took; raises TimeoutError if too many."""
    began = time.time()
    async with asyncio.timeout(within_seconds):
        while not condition():
            await asyncio.sleep(0.05)
    return time.time() - began
