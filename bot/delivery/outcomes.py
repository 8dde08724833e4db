"""How a command turned out, handed from the coroutine that follows the job to the one that answers the person."""

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
"""How long a person hears nothing before being told that the card is late."""

LAST_WORD_WITHIN_SECONDS = 2.0
"""How long it may take to hear why a watch that was waited for goes."""

WAITED_FOR_SECONDS = ARRIVES_WITHIN_SECONDS + LAST_WORD_WITHIN_SECONDS + 8.0
"""By when whoever waited with a command, though the word between two processes be lost, has been told in answer to it:
Slack has 8 s to take the line, and where it does not somebody may be told twice."""

ANSWERS_WITHIN_SECONDS = 1.0
"""How long another process may take to say that somebody waits there. A word between two takes milliseconds."""

CAME = "came"

IS_AWAITED = "is awaited?"

AWAITED = "awaited"
"""What the processes tell and ask each other about a watch."""


class CardPlacement(Enum):
    """Where the card of a new watch is."""

    POSTED = auto()
    """In its place."""
    MOVED = auto()
    """The bot can't post there; the card goes to the direct messages of those who follow."""
    KEPT = auto()
    """The same, because people of another organisation would read along in its place."""


CardOutcome = CardPlacement | CardFailure
"""What became of a new watch."""

_BY_NAME: Mapping[str, CardOutcome] = {**CardPlacement.__members__, **CardFailure.__members__}


@dataclass(slots=True)
class _Expected:
    arrival: asyncio.Future[CardOutcome]
    waiting: int = 0
    is_counted_on: bool = False
    """Somebody has asked whether anybody waits, and is about to tell what became of the watch."""


class CardOutcomes:
    """The people who wait to hear what became of a watch. Several may wait for the same one.

    Given a relay, they may wait in one process while another one follows the job.
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
        """What to wait for, as long as the context lasts; shared with everybody who waits for the watch."""
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
        """Whether anybody waits to be told, and will go on waiting. Other processes are given a second to say so."""
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
        """Whether those who wait must not give up now: they will be told in a moment, and in no other way."""
        return card_id in self._expected and self._expected[card_id].is_counted_on

    def resolve(self, card_id: CardId, arrival: CardOutcome) -> None:
        """Tell everybody who waits."""
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
            # From a newer version of the bot. Who waits reads the table in the end.
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
