"""The watches that were given up without a card: why, and who is still to be told. They are forgotten after that."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from bot.watch import NoCard, UserId, Watch, WatchId


class GivenUps(Protocol):
    """What the table of watches holds of them. Every call may raise StoreUnavailable."""

    async def give_up(self, watch: Watch, why: NoCard, at: datetime) -> None:
        """Close a watch that gets no card; one that nobody follows any more is forgotten. Raises ClaimLost."""
        ...

    async def left(self, before: datetime) -> Sequence[Watch]:
        """What was given up before then, and nobody has begun to tell since, oldest first."""
        ...

    async def telling(self, watch: Watch, at: datetime) -> Watch | None:
        """Its followers are about to be told. Returns it as it now stands; None if another process was first, or it has
        been followed again since."""
        ...

    async def told(self, watch: WatchId, follower: UserId) -> None:
        """One follower knows; after the last of them the watch is forgotten. Changes nothing if it was not given up, or
        is followed again."""
        ...
