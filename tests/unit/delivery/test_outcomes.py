"""Outcomes of new cards reach the commands that wait for them, also between processes."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from bot.delivery.outcomes import CardOutcome, CardOutcomes, CardPlacement
from bot.domain.cards import CardFailure, CardId

pytestmark = pytest.mark.looptime

CARD = CardId("card")
POSTED = CardOutcome(CardPlacement.POSTED)
OTHER = CardId("other")


class Wire:
    """Connects the processes: delivers each message after a moment, and remembers it."""

    def __init__(self) -> None:
        self.relays: list[FakeRelay] = []
        self.sent: list[tuple[str, dict[str, str]]] = []

    def relay(self) -> "FakeRelay":
        self.relays.append(FakeRelay(self))
        return self.relays[-1]

    def carry(self, sender: "FakeRelay", topic: str, words: dict[str, str]) -> None:
        self.sent.append((topic, words))
        for relay in self.relays:
            if relay is not sender:
                asyncio.get_running_loop().call_later(0.01, relay.hearers[topic], words)


class FakeRelay:
    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.hearers: dict[str, Callable[[Mapping[str, str]], None]] = {}

    def subscribe(self, topic: str, hear: Callable[[Mapping[str, str]], None]) -> None:
        self.hearers[topic] = hear

    def on_reconnect(self, look: Callable[[], None]) -> None:
        raise AssertionError("nothing is looked up after a gap")

    def publish(self, topic: str, **words: str) -> asyncio.Future[None]:
        self.wire.carry(self, topic, words)
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent


async def test_all_waiting_commands_get_the_outcome() -> None:
    outcomes = CardOutcomes()
    with outcomes.subscribe(CARD) as one, outcomes.subscribe(CARD) as other:
        outcomes.resolve(CARD, CardPlacement.POSTED)
        assert (await one, await other) == (POSTED, POSTED)


async def test_outcome_is_for_its_card_only() -> None:
    outcomes = CardOutcomes()
    with outcomes.subscribe(CARD) as mine, outcomes.subscribe(OTHER) as other:
        outcomes.resolve(CARD, CardPlacement.MOVED)
        assert mine.result() == CardOutcome(CardPlacement.MOVED)
        assert not other.done()


async def test_command_that_stops_waiting_leaves_the_others() -> None:
    outcomes = CardOutcomes()
    with outcomes.subscribe(CARD) as patient:
        with outcomes.subscribe(CARD) as impatient:
            impatient.cancel()
        with outcomes.subscribe(CARD) as cancelled:
            cancelled.cancel()
            outcomes.resolve(CARD, CardPlacement.POSTED)
        assert await patient == POSTED


async def test_nothing_is_kept_after_the_last_command() -> None:
    outcomes = CardOutcomes()
    with pytest.raises(LookupError), outcomes.subscribe(CARD), outcomes.subscribe(CARD):
        raise LookupError
    outcomes.resolve(CARD, CardPlacement.POSTED)
    assert outcomes._waiting == {}


async def test_command_after_an_outcome_waits_for_the_next() -> None:
    outcomes = CardOutcomes()
    with outcomes.subscribe(CARD) as first:
        outcomes.resolve(CARD, CardPlacement.POSTED)
        with outcomes.subscribe(CARD) as second:
            assert first.done()
            assert not second.done()
            outcomes.resolve(CARD, CardFailure.NOWHERE)
            assert (first.result(), second.result()) == (POSTED, CardOutcome(CardFailure.NOWHERE))


async def test_outcome_reaches_commands_in_all_processes() -> None:
    wire = Wire()
    here, there, elsewhere = (CardOutcomes(wire.relay()) for _ in range(3))
    with here.subscribe(CARD) as one, there.subscribe(CARD) as two, there.subscribe(OTHER) as other:
        elsewhere.resolve(CARD, CardPlacement.MOVED, "is_archived")
        archived = CardOutcome(CardPlacement.MOVED, "is_archived")
        assert (await one, await two) == (archived, archived)
        assert not other.done()


async def test_received_outcome_is_not_sent_again() -> None:
    wire = Wire()
    here, there = CardOutcomes(wire.relay()), CardOutcomes(wire.relay())
    with here.subscribe(CARD) as waiting:
        there.resolve(CARD, CardPlacement.POSTED)
        await waiting
    assert wire.sent == [("came", {"watch": CARD, "arrival": "POSTED", "code": ""})]


async def test_unknown_outcome_of_a_newer_version_is_ignored() -> None:
    wire = Wire()
    here, newer = CardOutcomes(wire.relay()), wire.relay()
    with here.subscribe(CARD) as waiting:
        newer.publish("came", watch=CARD, arrival="TELEPORTED")
        newer.publish("came")
        await asyncio.sleep(1.0)
        assert not waiting.done()
        newer.publish("came", watch=CARD, arrival="POSTED")
        assert await waiting == POSTED
