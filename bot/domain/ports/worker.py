"""What the core needs from the processes it runs in."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from bot.domain.cards import TeamId
from bot.domain.jobs import JobId


class MessageBus(Protocol):
    """Carries words between the processes of one database. Any word may be lost; none comes back to its sender."""

    def subscribe(self, topic: str, hear: Callable[[Mapping[str, str]], None]) -> None:
        """Let `hear` be called with the words that other processes tell on this topic."""
        ...

    def on_reconnect(self, look: Callable[[], None]) -> None:
        """Let `look` be called whenever words may have been missed."""
        ...

    def publish(self, topic: str, **words: str) -> Awaitable[None]:
        """Tell all other processes. Raises nothing; the future is done once the words are sent or given up."""
        ...


Follow = Callable[[JobId, asyncio.Event], Awaitable[None]]
"""Follows one job until nothing is left to do; the event says that its watches have changed. Raises ClaimLost."""

Find = Callable[[TeamId], Awaitable[object]]
"""Lets the team's workspace run here, and with it its runner, if the team is known. May raise StoreUnavailable."""


class Runner(Protocol):
    """Runs one coroutine per job of a workspace. No method raises anything that the world around can cause."""

    async def start(self, job: JobId) -> None:
        """See that the job is followed, and that who follows it looks at its watches again."""
        ...

    async def start_missing(self, jobs: Sequence[JobId]) -> None:
        """See that all these jobs are followed; leave alone who follows them."""
        ...

    async def stop(self) -> None:
        """Stop following, for good; every follow can be taken up again from the table of watches."""
        ...


class Runners(Protocol):
    """The runners of all workspaces in this process, and what they have in common."""

    def runner_for(self, team: TeamId, follow: Follow) -> Runner:
        """Make the team's runner, in the place of one that has stopped."""
        ...

    async def run(self, find: Find) -> None:
        """Do what has to be done beside the follows, until cancelled. Raises nothing that the world can cause."""
        ...

    async def is_any_process_alive(self) -> bool:
        """Whether some process, this one or another, takes up what is to be followed. Raises StoreUnavailable."""
        ...

    def drain(self) -> None:
        """Take up no follow any more, so that other processes do. For the end of the process; then each runner is
        stopped."""
        ...
