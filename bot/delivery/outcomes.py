"""Lets a command await the outcome of posting its card, also in another process."""

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

LAST_WORD_WITHIN_SECONDS = 2.0
"""How long the reason may take after a card was removed."""

WAITED_FOR_SECONDS = ARRIVES_WITHIN_SECONDS + LAST_WORD_WITHIN_SECONDS + 8.0
"""When a waiting command has had its reply even if a message between processes was lost. It allows Slack 8 s to
take the reply; if Slack takes longer, a user may be notified twice."""

ANSWERS_WITHIN_SECONDS = 1.0
"""How long another process may take to answer that a command waits there. Usually milliseconds."""

CAME = "came"

IS_AWAITED = "is awaited?"

AWAITED = "awaited"
"""Messages between processes about a card."""


class CardPlacement(Enum):
    """Where a new card was posted."""

    POSTED = auto()
    """In its channel."""
    MOVED = auto()
    """In the followers' direct messages, because the bot can't post in the channel."""
    KEPT = auto()
    """In the followers' direct messages, because the channel is shared."""


CardOutcome = CardPlacement | CardFailure
"""Where a new card is, or why there is none."""

_BY_NAME: Mapping[str, CardOutcome] = {**CardPlacement.__members__, **CardFailure.__members__}


@dataclass(slots=True)
class _Expected:
    arrival: asyncio.Future[CardOutcome]
    waiting: int = 0
    is_counted_on: bool = False
    """The tracker has asked whether a command waits, and is about to resolve the outcome."""


class CardOutcomes:
    """Futures for the outcomes of new cards. Several commands may wait for one card.

    With a message bus, a command may wait in one process while another tracks the job.
    """

    def __init__(self, bus: MessageBus | None = None) -> None:
        self._expected: dict[CardId, _Expected] = {}
        self._asked: defaultdict[CardId, set[asyncio.Future[None]]] = defaultdict(set)
        self._bus = bus
        if bus is not None:
            bus.subscribe(CAME, self._hear_came)
            bus.subscribe(IS_AWAITED, self._hear_question)
            bus.subscribe(AWAITED, self._hear_answer)

    @contextmanager
    def subscribe(self, card_id: CardId) -> Iterator[asyncio.Future[CardOutcome]]:
        """Return the future of the outcome, for the duration of the context. All subscribers share it."""
        expected = self._expected.get(card_id)
        if expected is None:
            expected = self._expected[card_id] = _Expected(asyncio.get_running_loop().create_future())
        expected.waiting += 1
        try:
            yield expected.arrival
        finally:
            expected.waiting -= 1
            if expected.waiting == 0 and self._expected.get(card_id) is expected:
                del self._expected[card_id]

    async def has_waiter(self, card_id: CardId) -> bool:
        """Return whether a command waits, and make it keep waiting. Other processes have a second to answer."""
        if card_id in self._expected:
            self._expected[card_id].is_counted_on = True
            return True
        if self._bus is None:
            return False
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked[card_id].add(answer)
        self._bus.publish(IS_AWAITED, watch=card_id)
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_SECONDS):
                await answer
        except TimeoutError:
            return False
        finally:
            self._asked[card_id].discard(answer)
            if not self._asked[card_id]:
                del self._asked[card_id]
        return True

    def is_promised(self, card_id: CardId) -> bool:
        """Return whether the waiting commands must keep waiting: the outcome comes soon, and in no other way."""
        return card_id in self._expected and self._expected[card_id].is_counted_on

    def resolve(self, card_id: CardId, arrival: CardOutcome) -> None:
        """Set the outcome for all waiting commands."""
        self._settle(card_id, arrival)
        if self._bus is not None:
            self._bus.publish(CAME, watch=card_id, arrival=arrival.name)

    def _settle(self, card_id: CardId, arrival: CardOutcome) -> None:
        expected = self._expected.pop(card_id, None)
        if expected is not None and not expected.arrival.done():
            expected.arrival.set_result(arrival)

    def _hear_came(self, words: Mapping[str, str]) -> None:
        name = words.get("arrival", "")
        if name in _BY_NAME:
            self._settle(CardId(words.get("watch", "")), _BY_NAME[name])
        else:
            # From a newer version of the bot. The waiting command reads the table in the end.
            log.warning("arrival not understood", arrival=name)

    def _hear_question(self, words: Mapping[str, str]) -> None:
        card = CardId(words.get("watch", ""))
        if self._bus is not None and card in self._expected:
            self._expected[card].is_counted_on = True
            self._bus.publish(AWAITED, watch=card)

    def _hear_answer(self, words: Mapping[str, str]) -> None:
        for answer in self._asked.get(CardId(words.get("watch", "")), ()):
            if not answer.done():
                answer.set_result(None)
