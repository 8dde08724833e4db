"""Who waits for a card hears what became of it, in whatever process the job is followed."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from bot.delivery.outcomes import ANSWERS_WITHIN_SECONDS, CardOutcomes, CardPlacement
from bot.domain.cards import CardFailure, CardId

pytestmark = pytest.mark.looptime

WATCH = CardId("watch")
OTHER = CardId("other")


class Wire:
    """What joins the processes: carries every word after a moment, as long as it is whole, and remembers it."""

    def __init__(self) -> None:
        self.relays: list[FakeRelay] = []
        self.told: list[tuple[str, dict[str, str]]] = []
        self.is_whole = True

    def relay(self) -> "FakeRelay":
        self.relays.append(FakeRelay(self))
        return self.relays[-1]

    def carry(self, sender: "FakeRelay", topic: str, words: dict[str, str]) -> None:
        self.told.append((topic, words))
        for relay in self.relays:
            if self.is_whole and relay is not sender:
                asyncio.get_running_loop().call_later(0.01, relay.hearers[topic], words)


class FakeRelay:
    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.hearers: dict[str, Callable[[Mapping[str, str]], None]] = {}

    def subscribe(self, topic: str, hear: Callable[[Mapping[str, str]], None]) -> None:
        self.hearers[topic] = hear

    def on_reconnect(self, look: Callable[[], None]) -> None:
        raise AssertionError("nothing is to be looked up after a gap")

    def publish(self, topic: str, **words: str) -> asyncio.Future[None]:
        self.wire.carry(self, topic, words)
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent


async def test_everybody_who_waits_for_a_watch_hears_the_same() -> None:
    arrivals = CardOutcomes()
    with arrivals.subscribe(WATCH) as one, arrivals.subscribe(WATCH) as other:
        arrivals.resolve(WATCH, CardPlacement.POSTED)
        assert (await one, await other) == (CardPlacement.POSTED, CardPlacement.POSTED)


async def test_other_watches_are_not_told() -> None:
    arrivals = CardOutcomes()
    with arrivals.subscribe(WATCH) as mine, arrivals.subscribe(OTHER) as other:
        arrivals.resolve(WATCH, CardPlacement.MOVED)
        assert mine.result() is CardPlacement.MOVED
        assert not other.done()


async def test_a_watch_is_awaited_until_it_came() -> None:
    arrivals = CardOutcomes()
    assert not await arrivals.has_waiter(WATCH)
    with arrivals.subscribe(WATCH):
        assert await arrivals.has_waiter(WATCH)
        arrivals.resolve(WATCH, CardFailure.NOWHERE)
        assert not await arrivals.has_waiter(WATCH)


async def test_whoever_gives_up_takes_nothing_from_the_others() -> None:
    arrivals = CardOutcomes()
    with arrivals.subscribe(WATCH) as patient:
        with arrivals.subscribe(WATCH):
            pass
        assert await arrivals.has_waiter(WATCH)
        arrivals.resolve(WATCH, CardPlacement.POSTED)
        assert await patient is CardPlacement.POSTED


async def test_after_the_last_one_has_left_nothing_is_kept() -> None:
    arrivals = CardOutcomes()
    try:
        with arrivals.subscribe(WATCH):
            raise LookupError
    except LookupError:
        assert not await arrivals.has_waiter(WATCH)


async def test_whoever_asks_after_it_came_waits_for_the_next_time() -> None:
    arrivals = CardOutcomes()
    with arrivals.subscribe(WATCH) as first:
        arrivals.resolve(WATCH, CardPlacement.POSTED)
        with arrivals.subscribe(WATCH) as second:
            assert first.done()
            assert not second.done()


async def test_an_arrival_that_nobody_waits_for_is_no_trouble() -> None:
    arrivals = CardOutcomes()
    arrivals.resolve(WATCH, CardPlacement.POSTED)
    assert not await arrivals.has_waiter(WATCH)


async def test_alone_nobody_is_given_time_to_answer() -> None:
    began = asyncio.get_running_loop().time()
    assert not await CardOutcomes().has_waiter(WATCH)
    assert asyncio.get_running_loop().time() == began


async def test_people_who_wait_in_several_processes_all_hear_what_became_of_their_watch() -> None:
    wire = Wire()
    here, there, elsewhere = (CardOutcomes(wire.relay()) for _ in range(3))
    with here.subscribe(WATCH) as one, there.subscribe(WATCH) as two, there.subscribe(OTHER) as other:
        elsewhere.resolve(WATCH, CardPlacement.MOVED)
        assert (await one, await two) == (CardPlacement.MOVED, CardPlacement.MOVED)
        assert not other.done()


async def test_what_is_heard_is_not_told_again() -> None:
    wire = Wire()
    here, there = CardOutcomes(wire.relay()), CardOutcomes(wire.relay())
    with here.subscribe(WATCH) as waiting:
        there.resolve(WATCH, CardPlacement.POSTED)
        await waiting
    assert wire.told == [("came", {"watch": WATCH, "arrival": "POSTED"})]


async def test_who_waits_in_another_process_is_known_as_soon_as_that_one_says_so() -> None:
    wire = Wire()
    here, there = CardOutcomes(wire.relay()), CardOutcomes(wire.relay())
    began = asyncio.get_running_loop().time()
    with there.subscribe(WATCH):
        assert await asyncio.gather(*(here.has_waiter(WATCH) for _ in range(3))) == [True] * 3
    assert asyncio.get_running_loop().time() - began < 0.1
    assert here._asked == {}


async def test_no_answer_means_that_nobody_waits() -> None:
    wire = Wire()
    here, there = CardOutcomes(wire.relay()), CardOutcomes(wire.relay())
    began = asyncio.get_running_loop().time()
    with there.subscribe(OTHER):
        assert not await here.has_waiter(WATCH)
    wire.is_whole = False
    with there.subscribe(WATCH):
        assert not await here.has_waiter(WATCH)
    assert asyncio.get_running_loop().time() - began == pytest.approx(2 * ANSWERS_WITHIN_SECONDS)
    assert here._asked == {}


async def test_one_who_waits_in_the_own_process_is_known_without_asking() -> None:
    wire = Wire()
    here = CardOutcomes(wire.relay())
    with here.subscribe(WATCH):
        assert await here.has_waiter(WATCH)
    assert wire.told == []


async def test_an_answer_that_comes_too_late_is_no_trouble() -> None:
    wire = Wire()
    here, there = CardOutcomes(wire.relay()), wire.relay()
    there.subscribe("is awaited?", lambda _: None)
    assert not await here.has_waiter(WATCH)
    there.publish("awaited", watch=WATCH)
    await asyncio.sleep(1.0)
    assert here._asked == {}


async def test_an_arrival_that_only_a_newer_version_knows_ends_no_wait() -> None:
    wire = Wire()
    here, newer = CardOutcomes(wire.relay()), wire.relay()
    with here.subscribe(WATCH) as waiting:
        newer.publish("came", watch=WATCH, arrival="TELEPORTED")
        newer.publish("came")
        await asyncio.sleep(1.0)
        assert not waiting.done()
        newer.publish("came", watch=WATCH, arrival="POSTED")
        assert await waiting is CardPlacement.POSTED
