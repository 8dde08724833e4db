"""Lets a command await the outcome of posting its card, also if another process posts it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

import structlog

from bot.domain import CardFailure, CardId
from bot.domain.ports import MessageBus

log = structlog.get_logger()


ARRIVES_WITHIN_SECONDS = 20.0
"""How long a user waits before the reply that the card is late."""

CAME = "came"
"""Topic of the outcomes on the message bus."""


class CardPlacement(Enum):
    """Where a new card was posted."""

    POSTED = auto()
    """In its channel."""
    MOVED = auto()
    """In the followers' direct messages, because the bot can't post in the channel."""
    KEPT = auto()
    """In the followers' direct messages, because the channel is shared."""


CardResult = CardPlacement | CardFailure


@dataclass(frozen=True, slots=True)
class CardOutcome:
    """Where a new card is, or why there is none."""

    result: CardResult
    code: str = ""
    """Slack's error code, if Slack refused the card in its channel and the code is known."""


_BY_NAME: Mapping[str, CardResult] = {**CardPlacement.__members__, **CardFailure.__members__}


class CardOutcomes:
    """Futures for the outcomes of new cards. Several commands may wait for one card.

    With a message bus, a command may wait in one process while another tracks the job. A message may be lost, so
    a command that waits in vain reads the database, which has each outcome as well.
    """

    def __init__(self, bus: MessageBus | None = None) -> None:
        self._waiting: defaultdict[CardId, set[asyncio.Future[CardOutcome]]] = defaultdict(set)
        self._bus = bus
        if bus is not None:
            bus.subscribe(CAME, self._on_message)

    @contextmanager
    def subscribe(self, card_id: CardId) -> Iterator[asyncio.Future[CardOutcome]]:
        """Return a future of the outcome, for the duration of the context."""
        outcome: asyncio.Future[CardOutcome] = asyncio.get_running_loop().create_future()
        self._waiting[card_id].add(outcome)
        try:
            yield outcome
        finally:
            self._waiting[card_id].discard(outcome)
            if not self._waiting[card_id]:
                del self._waiting[card_id]

    def resolve(self, card_id: CardId, result: CardResult, code: str = "") -> None:
        """Set the outcome for all waiting commands, in all processes. `code`: as of `CardOutcome`."""
        self._resolve_here(card_id, CardOutcome(result, code))
        if self._bus is not None:
            self._bus.publish(CAME, watch=card_id, arrival=result.name, code=code)

    def _resolve_here(self, card_id: CardId, outcome: CardOutcome) -> None:
        for waiting in self._waiting.get(card_id, ()):
            if not waiting.done():
                waiting.set_result(outcome)

    def _on_message(self, words: Mapping[str, str]) -> None:
        name = words.get("arrival", "")
        if name in _BY_NAME:
            outcome = CardOutcome(_BY_NAME[name], words.get("code", ""))
            self._resolve_here(CardId(words.get("watch", "")), outcome)
        else:
            log.warning("card outcome not understood", outcome=name)  # from a newer version of the bot
