"""How Slack reaches the bot: over a connection of ours (`socketmode`), or at an address of ours (`httpmode`)."""

from typing import Protocol


class Delivery(Protocol):
    """Takes what Slack delivers, and hands it to `dispatch.Dispatch`."""

    async def run(self) -> None:
        """Take it until cancelled; after that nothing more is taken."""
        ...

    async def is_connected(self) -> bool:
        """Whether Slack can reach us right now, as far as that can be seen from here."""
        ...
