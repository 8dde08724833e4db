"""A simulated world: Slack, Omni, users and the machine with the bot, driven by a scenario."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from random import Random

from bot.demo.slack.limits import Limits
from bot.demo.slack.records import ORGANIZATION
from bot.demo.slack.simulator import SCOPES
from bot.demo.slack.workspace import Channel, User, Workspace
from tests.simulation.followed import Followed
from tests.simulation.looks import FINAL, look_of
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.machine import Machine, Running, settings
from tests.simulation.omniside import OmniSide
from tests.simulation.people import People
from tests.simulation.scenario import MORE_PLACES, PEOPLE, JobPlan, Scenario, Upset
from tests.simulation.slackside import Look, SlackSide
from tests.simulation.sqlite import Disk
from tests.simulation.trace import Trace
from tests.simulation.weather import Weather
from tests.simulation.wire import Exchange, Wire

BEGINNING = 1_790_000_000.0
"""When the world begins, Unix seconds."""
LOOK_EVERY_SECONDS = 20.0
SETTLES_WITHIN_SECONDS = 1_500.0
"""How long after the last event everything has to be at its end."""
LISTENS_ON_SECONDS = 70.0
"""How long the settled world is watched for late events."""


class World:
    """Runs a scenario to its end and keeps the outcome."""

    def __init__(self, scenario: Scenario, loop: SimulatedLoop) -> None:
        self.scenario = scenario
        self.loop = loop
        self.trace = Trace(loop.time)
        self.random = Random(f"upsets {scenario.seed}")
        self.clock_offset = 0.0
        self.defects: list[str] = []
        self.weather = Weather(list(scenario.fronts), Random(f"weather {scenario.seed}"), loop.time)
        self.wire = Wire(loop, Random(f"wire {scenario.seed}"), self.trace, self.weather.fate)
        self.slack = self._slack()
        self.omni = OmniSide(self.wire, self.now, scenario.requests_per_minute, replace(scenario.listing))
        self.weather.may_be_gone = lambda name: name.rsplit("/", 1)[-1] in self.omni.seen
        self.disk = Disk(self.weather.of_disk)
        self.machine = Machine(
            loop=loop,
            trace=self.trace,
            disk=self.disk,
            wire=self.wire,
            slack=self.slack,
            omni=self.omni,
            random=Random(f"machine {scenario.seed}"),
            bot_now=self.bot_now,
            settings=settings(
                requests_per_minute=scenario.requests_per_minute,
                notify_after_seconds=scenario.notify_after_seconds,
                max_follow_hours=scenario.max_follow_hours,
                retention_days=scenario.retention_days,
            ),
            defects=self.defects,
        )
        self.people = People(
            loop, self.machine, self.slack, self.trace, Random(f"people {scenario.seed}"), self.defects
        )
        self.people.jobs = lambda: self.scenario.jobs
        self.people.delivered = lambda process: self._event("delivered", process)
        self.followed = Followed(self.disk, loop.time)
        self._upsets: list[Upset] = []
        self._back_after = 1.0
        self._processes = scenario.processes
        self.ended_at: dict[Process, float] = {}
        self.pauses: list[tuple[Process, float, float]] = []
        """Which process was paused, and from when to when if it lived so long."""
        self._is_over = False
        self.wire.happened = self._on_wire
        self.disk.committed = self._on_commit
        self.machine.ended = self._on_end

    def now(self) -> float:
        """The true time, Unix seconds."""
        return BEGINNING + self.loop.time()

    def bot_now(self) -> datetime:
        """Time on the clock of the bot's machine."""
        return datetime.fromtimestamp(self.now() + self.clock_offset, UTC)

    def _slack(self) -> SlackSide:
        workspace = Workspace(self.now)
        workspace.url = "https://omni-demo.slack.com/"
        for user in (
            User("U0MARYSOME", "mary", "Mary Somerville"),
            User("U0EMMYNOET", "emmy", "Emmy Noether"),
        ):
            workspace.users[user.id] = user
            for channel in workspace.channels.values():
                if channel.kind == "public":
                    channel.members.add(user.id)
        if self.scenario.is_grid:
            # Slack names any of these, or none.
            teams = Random(f"teams {self.scenario.seed}")
            for person in PEOPLE:
                team = teams.choice(("", workspace.team, "T0BERLIN", ORGANIZATION))
                of_grid = replace(workspace.users[person], team=team, grid_teams=("T0BERLIN", workspace.team))
                workspace.users[person] = of_grid
        everyone = set(workspace.users)
        for name in MORE_PLACES:
            workspace.channels[name] = Channel(name, name.lower(), "public", set(everyone))
        workspace.files.processing_seconds = self.scenario.processing_seconds
        slack = SlackSide(workspace, Limits(distributed=self.scenario.has_slow_history), self.wire)
        slack.files_arrive = self.scenario.files_arrive
        if not self.scenario.history_scopes:
            slack.scopes = set(SCOPES)
        slack.closed_to_bot = set(self.scenario.closed_direct_messages)
        return slack

    # The course of events.

    async def run(self) -> None:
        """Let it all happen."""
        self.unfold()
        for _ in range(self.scenario.processes):
            self.machine.start()
        await asyncio.sleep(self.scenario.acts_until + 1.0)
        self._upsets.clear()
        await self._leave_one_process()
        deadline = self.loop.time() + SETTLES_WITHIN_SECONDS + 2 * self.scenario.max_follow_seconds
        while self.loop.time() < deadline and not self.is_settled():
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        await asyncio.sleep(LISTENS_ON_SECONDS)
        self._is_over = True

    async def _leave_one_process(self) -> None:
        """Two processes on one SQLite file take each other's follows for ever: the rest is for one of them."""
        self._processes = 1
        for running in self.machine.running[1:]:
            await self.machine.stop(running)

    def unfold(self) -> None:
        """Plan when what happens, from now on."""
        scenario = self.scenario
        for job in scenario.jobs:
            if job.is_asked:
                self.omni.questions.setdefault(job.question, []).append(job)
            elif job.exists:
                self._unfold_job(job)
        for action in scenario.actions:
            self.loop.at_in_world(action.at, partial(self.people.act, action))
        for upset in scenario.upsets:
            self.loop.at_in_world(upset.at, partial(self._upset, upset))
        for at, seconds in scenario.clock_steps:
            self.loop.at_in_world(at, partial(self._set_clock, seconds))

    def _unfold_job(self, job: JobPlan) -> None:
        self.loop.at_in_world(job.begins, partial(self._begin_job, job))
        turns = [(job.vanishes_at, "vanishes"), (job.cancelled_at, "is cancelled")]
        if job.odd_state is not None:
            turns += [
                (job.begins + job.odd_state[0], "gets odd"),
                (job.begins + job.odd_state[1], "is normal"),
            ]
        for at, what in turns:
            if at is not None:
                self.loop.at_in_world(at, partial(self._omni_does, what, job.id))

    def is_settled(self) -> bool:
        """Whether nothing is left to be done."""
        (open_rows,) = self.disk.rows.execute(
            "SELECT count(*) FROM watches WHERE closed_at IS NULL"
        ).fetchone()
        (untold,) = self.disk.rows.execute(
            "SELECT count(*) FROM watches WHERE given_up IS NOT NULL AND closed_at IS NOT NULL"
        ).fetchone()
        (awaiting_later_look,) = self.disk.rows.execute(
            "SELECT count(*) FROM watches WHERE closed_at IS NOT NULL AND outcome = 'UNKNOWN'"
        ).fetchone()
        (asks_in_hand,) = self.disk.rows.execute(
            "SELECT count(*) FROM asks WHERE job IS NULL AND told = 0"
        ).fetchone()
        is_awake = not any(running.process.is_paused for running in self.machine.running)
        is_done = open_rows == untold == awaiting_later_look == asks_in_hand == 0
        return is_done and is_awake and self.machine.reachable() is not None

    def _begin_job(self, job: JobPlan) -> None:
        self.trace.note("omni", f"job {job.id[:8]} begins")
        self.omni.add(job.id, job.conversation, job.script, job.question, chart=job.chart)

    def _omni_does(self, what: str, job: str) -> None:
        known = self.omni.jobs.get(job)
        if known is None:
            return
        self.trace.note("omni", f"job {job[:8]} {what} ({known.moment(self.now()).state})")
        match what:
            case "vanishes":
                self.omni.remove(job)
            case "is cancelled" if known.moment(self.now()).state != "DELIVERING":
                known.cancel(self.now(), "someone")
            case "gets odd" if not known.is_final(self.now()):
                # An unknown state with the time of an end would be an end.
                known.changed = {"state": "PAUSED_FOR_REVIEW"} | dict.fromkeys(
                    ("completedAt", "cancelledAt", "error")
                )
            case "is normal":
                known.changed = {}

    def _set_clock(self, seconds: float) -> None:
        self.trace.note("clock", f"is set by {seconds:+g} s")
        self.clock_offset += seconds

    # Events of the process.

    def _upset(self, upset: Upset) -> None:
        if upset.on:
            self._upsets.append(upset)
            return
        if self.machine.running:
            self._do_upset(upset, self.random.choice(self.machine.running))

    def _on_commit(self, process: Process | None) -> None:
        self.followed.look()
        self._event("committed", process)

    def _on_wire(self, what: str, exchange: Exchange) -> None:
        is_end = exchange.name == "chat.update" and look_of(Look(0.0, exchange.args["text"], [])) in FINAL
        has_chart = is_end and any(block["type"] == "image" for block in exchange.args["blocks"])
        more = f"{' of the end' * is_end}{', with a chart' * has_chart}"
        self._event(f"{what} {exchange.name}{more}", exchange.process)

    def _event(self, what: str, process: Process | None) -> None:
        for upset in self._upsets:
            if upset.on in what:
                self._upsets.remove(upset)
                for running in list(self.machine.running):
                    if running.process is process:
                        self.trace.note(process.name, f"upset on {what}")
                        self._do_upset(upset, running)
                return

    def _do_upset(self, upset: Upset, running: Running) -> None:
        if running.ends_meant or not running.process.is_alive:
            return
        if upset.kind == "pause":
            self.trace.note(running.process.name, f"PAUSED for {upset.back_after:g} s")
            running.process.pause()
            self.wire.hold(running.process, upset.back_after)
            self.pauses.append((running.process, self.loop.time(), self.loop.time() + upset.back_after))
            self.loop.in_world(upset.back_after, partial(self._wake, running.process))
            return
        self._back_after = upset.back_after
        if upset.kind == "stop":
            self.loop.world_task(self.machine.stop(running), "stopping")
        else:
            # Not at once: what is just happening must not be cut in the middle of one callback.
            running.process.dies_at = running.process.callbacks + 1 + upset.callbacks

    def _wake(self, process: Process) -> None:
        process.wake()
        if process.is_alive:
            self.wire.release(process)

    def _on_end(self, running: Running) -> None:
        for asked in self.people.asked:
            for delivery in asked.deliveries:
                if delivery.process is running.process and delivery.ended_at is None:
                    delivery.ended_at = self.loop.time()
        self.ended_at[running.process] = self.loop.time()
        self._doubt(running.process)
        if not self._is_over:
            self.loop.in_world(self._back_after, self._start_again)

    def _start_again(self) -> None:
        if len(self.machine.running) < self._processes:
            self.machine.start()

    def _doubt(self, process: Process) -> None:
        """Note which posts and which looks died with their process before it had stored them."""
        stored = {ts for row in self.disk.rows.execute("SELECT card, notice FROM watches") for ts in row}
        stored |= {ts for (ts,) in self.disk.rows.execute("SELECT ts FROM replies")}
        for posted in self.slack.posted.values():
            is_recent = self.loop.time() - posted.exchange.at < 150.0
            if posted.exchange.process is process and is_recent and posted.ts not in stored:
                posted.is_doubtful = True
        ended = {ts for (ts,) in self.disk.rows.execute("SELECT card FROM watches WHERE ended = 1")}
        for posted in self.slack.posted.values():
            for look in posted.looks:
                is_its = look.exchange is not None and look.exchange.process is process
                look.is_doubtful |= is_its and posted.ts not in ended

    def forget(self) -> None:
        """Drop what the services remember: messages, requests, jobs, addresses."""
        self.people.asked.clear()
        self.followed.forget()
        self.wire.log.clear()
        self.slack.forget()
        self.omni.forget()

    async def end(self) -> None:
        """Stop the bot at the end of everything."""
        self._is_over = True
        for running in list(self.machine.running):
            await self.machine.stop(running)
