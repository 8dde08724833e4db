"""Ports to the processes the bot runs in: runners of trackers, and messages between processes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from bot.domain.cards import TeamId
from bot.domain.jobs import JobId


class MessageBus(Protocol):
    """Publish and subscribe between the processes of one database. Any message may be lost."""

    def subscribe(self, topic: str, hear: Callable[[Mapping[str, str]], None]) -> None:
        """Call `hear` with each message that another process publishes on the topic."""
        ...

    def on_reconnect(self, look: Callable[[], None]) -> None:
        """Call `look` whenever messages may have been missed."""
        ...

    def publish(self, topic: str, **words: str) -> Awaitable[None]:
        """Send a message to all other processes. Raises nothing; the future is done once it is sent or dropped."""
        ...


Follow = Callable[[JobId, asyncio.Event], Awaitable[None]]
"""Tracks one job until nothing is left to do; the event says that its cards have changed. Raises OwnershipLost."""

Find = Callable[[TeamId], Awaitable[object]]
"""Opens the team's workspace in this process, and with it its runner, if the team is known. May raise
StoreUnavailable."""


class Runner(Protocol):
    """Runs one tracker per job of a workspace. No method raises for a database or network that is down."""

    async def start(self, job: JobId) -> None:
        """Make sure that the job is tracked, and that its tracker reads its cards again."""
        ...

    async def start_missing(self, jobs: Sequence[JobId]) -> None:
        """Make sure that all these jobs are tracked; running trackers are not disturbed."""
        ...

    async def stop(self) -> None:
        """Stop all trackers for good. Another process can resume each of them from the database."""
        ...


class Runners(Protocol):
    """The runners of all workspaces in this process, and what they share."""

    def runner_for(self, team: TeamId, follow: Follow) -> Runner:
        """Make the team's runner. It replaces one that has stopped."""
        ...

    async def run(self, find: Find) -> None:
        """Run the shared background tasks until cancelled. Raises nothing for a database that is down."""
        ...

    async def is_any_process_alive(self) -> bool:
        """Whether a process, this one or another, starts trackers. Raises StoreUnavailable."""
        ...

    def drain(self) -> None:
        """Start no more trackers, so that other processes do. Before the runners are stopped."""
        ...
