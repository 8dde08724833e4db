"""Processes of the bot between a simulated Slack and Omni, and the outcomes of users' commands."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from aiohttp import web

from bot.demo.omni.job_data import JobData
from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Cancelled, Complete, End, Failed, Script
from bot.demo.slack.simulator import HISTORY_SCOPES, SimulatedSlack
from bot.demo.slack.workspace import StoredMessage
from tests.crash.nursery import Nursery, Process
from tests.crash.table import Table
from tests.end_to_end.world import environment

REQUESTS_PER_MINUTE = 1_200
"""Omni's limit here: high enough to poll every two seconds, so that kill points are reached soon."""
STARTS_WITHIN_SECONDS = 60.0
STORED_WITHIN_SECONDS = 4.0
OLD_SECONDS = 50.0
"""How old a job is when it is followed: the bot asks about jobs of that age every two seconds."""
"""How long a person waits for a sign before typing the command again."""

HEADINGS: dict[type[End], str] = {
    Complete: "Answered",
    Failed: "The job failed",
    Cancelled: "The job was cancelled",
}
"""Beginning of a card's final content, for each way a job can end."""
UNCONFIRMED = "Slack did not confirm the card"
"""Beginning of the reply that the bot abandoned a card."""
INTERRUPTED = "I was interrupted before I could follow"
"""How the line begins that reports a command that was cut off."""


@dataclass(slots=True)
class Follow:
    """A user's command."""

    job: str
    end: End
    channel: str
    """Where it was typed; the card is there, or in the person's direct messages."""
    people: list[str]
    """Who typed it; the first one is the one who asked."""
    typed_again: int = 0
    """How often the command had to be repeated, because the process died before it had stored it."""
    lost_after_ack: int = 0
    """How often it had acknowledged the command before."""
    forgotten: int = 0
    """How often such a command left nothing that could notify its user."""
    given_up: int = 0
    """How often the user was notified of an abandoned card, as is allowed without history scopes."""
    kills_over_card: int = 0
    kills_over_reply: int = 0
    """How often a process died while it was unknown whether Slack had the card or reply."""


@dataclass
class World:
    """Both services, the bot's processes as often as a test starts them, and everything that was followed."""

    nursery: Nursery
    slack: SimulatedSlack
    omni: SimulatedOmni
    folder: Path
    database_url: str
    """As in DATABASE_URL. The test looks there, too."""
    settings: dict[str, str] = field(default_factory=dict)
    """More of the bot's environment."""
    processes: list[Process] = field(default_factory=list)
    follows: list[Follow] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    """Actions so far, for the report of a failure."""

    def __post_init__(self) -> None:
        self.table = Table(self.database_url)
        self.ada = self.slack.workspace.user("ada").id
        self.grace = self.slack.workspace.user("grace").id
        self.channel = self.slack.workspace.channel("data-team").id
        self._numbers = itertools.count(1)

    # Processes

    @property
    def living(self) -> list[Process]:
        return [process for process in self.processes if process.lives]

    async def start(self) -> Process:
        """One more process of the bot; does not wait for it to be connected."""
        log = self.folder / f"bot-{next(self._numbers)}.log"
        values = environment(self.slack, self.omni, self.database_url) | self.settings
        process = await self.nursery.start(values, self.folder, log)
        self.processes.append(process)
        self.tell(f"{process.pid} started")
        return process

    async def kill(self, process: Process, at: str) -> None:
        """SIGKILL, and note over which follows it died."""
        await process.kill()
        self.tell(f"{process.pid} killed at {at}")
        over_card = self.table.jobs_between_card_and_ts()
        over_reply = self.table.jobs_between_reply_and_ts()
        for follow in self.follows:
            follow.kills_over_card += follow.job in over_card
            follow.kills_over_reply += follow.job in over_reply

    async def connected(self) -> None:
        """Wait until a process holds a connection to Slack."""
        await self.slack.connected(timeout=STARTS_WITHIN_SECONDS)

    def process_behind(self, request: web.Request) -> Process | None:
        """The process that made a request, if it still lives."""
        if request.transport is None:
            return None
        _, port = request.transport.get_extra_info("peername")
        _, to = request.transport.get_extra_info("sockname")
        return next((process for process in self.living if process.owns(port, to)), None)

    async def close(self) -> None:
        self.table.close()
        for process in self.processes:
            await process.kill()

    def tell(self, event: str) -> None:
        """Add to the story."""
        self.story.append(f"{time.time():.3f} {event}")

    # People

    async def follow(
        self,
        end: End,
        *,
        seconds: float,
        channel: str | None = None,
        user: str | None = None,
        picture: bytes | None = None,
    ) -> Follow:
        """A job begins and a person types the command until it is in the database. `picture`: its chart."""
        await self.connected()
        steps = (
            (OLD_SECONDS, "Starting", 0),
            (seconds / 2, "Thinking", 1),
            (seconds / 2, "Running query", 2),
        )
        question = f"Question {len(self.omni.jobs)}?"
        job = self.omni.add(
            Script(0.0, steps, 0.0, end),
            prompt=question,
            age_seconds=OLD_SECONDS,
            data=JobData(picture=picture),
        )
        follow = Follow(job, end, channel or self.channel, [user or self.ada])
        self.follows.append(follow)
        await self.join(follow, follow.people[0])
        return follow

    async def join(self, follow: Follow, user: str) -> None:
        """A person types the command for a job until it is in the database that they follow."""
        while True:
            await self.connected()
            heard = len(self.slack.private(user))
            acked = (await self.slack.command(follow.job, user=user, channel=follow.channel)).acked
            if acked:
                with suppress(TimeoutError):
                    await self.until(
                        lambda: (follow.job, user) in self.table.followed(), timeout=STORED_WITHIN_SECONDS
                    )
                    break
            follow.typed_again += 1
            follow.lost_after_ack += acked
            is_kept = (follow.job, user) in self.table.intents() | self.table.followed()
            follow.forgotten += acked and not is_kept and len(self.slack.private(user)) == heard
        self.tell(f"{follow.job} followed by {user}")
        if user not in follow.people:
            follow.people.append(user)

    async def until(self, condition: Callable[[], bool], timeout: float) -> None:
        """Wait for what the database or a process shows."""
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.05)

    async def type_again_where_told(self) -> None:
        """Users follow the bot's advice: they repeat the command if their card was not confirmed."""
        for follow in self.follows:
            told = sum(follow.job in line.text for line in self._posted() if _is_unconfirmed(line))
            if told > follow.given_up and follow.job not in {job for job, _ in self.table.followed()}:
                follow.given_up = told
                await self.join(follow, follow.people[0])

    # Outcome

    def cards(self, follow: Follow) -> list[StoredMessage]:
        """Every card of a follow, wherever it is."""
        return [
            message
            for message in self._posted()
            if follow.job in f"{message.text} {message.blocks}"
            and not message.text.startswith((UNCONFIRMED, INTERRUPTED))
        ]

    def _posted(self) -> list[StoredMessage]:
        """The bot's messages outside of threads."""
        return [
            message
            for channel in self.slack.workspace.channels.values()
            for message in channel.messages.values()
            if message.thread_ts is None and message.user == self.slack.bot_user
        ]

    def complaint(self, follow: Follow) -> str | None:
        """Violation at the end; None if there is none."""
        heading = HEADINGS[type(follow.end)]
        cards = self.cards(follow)
        right = [card for card in cards if heading in f"{card.text} {card.blocks}"]
        # Without history scopes users are asked to repeat the command, and the old card may be there.
        most_cards = 1 + (follow.given_up and follow.kills_over_card)
        if not right or len(cards) > most_cards:
            return f"{follow.job}: {[card.text for card in cards]} instead of {heading!r}"
        thread = [reply for card in right for reply in self.slack.replies(card.channel, card.ts)]
        files = [file.name for reply in thread for file in reply.files]
        on_cards = sum(block["type"] == "image" for card in right for block in card.blocks)
        if on_cards + files.count("chart.png") > 1:
            return f"{follow.job}: the chart is on {on_cards} cards and in the thread: {files}"
        replies = [reply.text for reply in thread if not reply.files]
        most_replies = 1 if self.can_look else 1 + follow.kills_over_reply
        if not 1 <= len(replies) <= most_replies or f"<@{follow.people[0]}>" not in replies[0]:
            return f"{follow.job}: replies {replies}"
        if follow.job in self.table.open_jobs():
            return f"{follow.job}: still open"
        if follow.forgotten:
            return f"{follow.job}: {follow.forgotten} commands forgotten"
        if self.database_url.startswith("sqlite") and follow.job in self.table.unreported():
            return f"{follow.job}: a command that was cut off is not reported"
        return None

    @property
    def can_look(self) -> bool:
        """Whether the bot was granted what it needs to look for a message that was not confirmed."""
        return self.slack.granted_scopes >= HISTORY_SCOPES

    def complaints(self) -> list[str]:
        """The complaints about all follows."""
        return [complaint for follow in self.follows if (complaint := self.complaint(follow))]

    def steps_back(self) -> list[str]:
        """The cards that showed a running job after they had shown its end."""
        ended: set[str] = set()
        back = []
        for request in self.slack.calls("chat.update"):
            ts, shown = str(request.args["ts"]), str(request.args)
            if request.ok and any(heading in shown for heading in HEADINGS.values()):
                ended.add(ts)
            elif request.ok and ts in ended:
                back.append(f"{ts}: {request.args['text'][:60]}")
        return back

    async def all_told(self, *, timeout: float) -> None:
        """Wait until every follow has ended as it has to. Fails with what is wrong, and what was done to it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.complaints():
                    await self.type_again_where_told()
                    await asyncio.sleep(0.5)
        wrong = [*self.complaints(), *self.steps_back()]
        assert not wrong, "\n".join([*wrong, *self.story, *(p.last_words for p in self.processes[-2:])])


def _is_unconfirmed(message: StoredMessage) -> bool:
    return message.text.startswith(UNCONFIRMED)


@asynccontextmanager
async def a_world(
    nursery: Nursery, database_url: str, folder: Path, *, history: bool = True
) -> AsyncIterator[World]:
    """An empty world; its processes die with it. `history`: whether the bot was granted the history scopes."""
    async with (
        SimulatedSlack(history_scopes=history) as slack,
        SimulatedOmni(requests_per_minute=REQUESTS_PER_MINUTE) as omni,
    ):
        world = World(nursery, slack, omni, folder, database_url, {"NOTIFY_AFTER_SECONDS": "0"})
        try:
            yield world
        finally:
            await world.close()


def some_end(random: Random, number: int) -> End:
    """Any way a job can end that is reported once in the thread."""
    ends: list[End] = [
        Complete(f"Answer {number}."),
        Failed(f"Failure {number}", "QUERY_EXECUTION_ERROR"),
        Cancelled("990e8400-e29b-41d4-a716-446655440004"),
    ]
    return random.choice(ends)
