"""Who waits for a card hears what became of it, in whatever process the job is followed."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from bot.delivery.outcomes import ANSWERS_WITHIN_SECONDS, Arrivals, Arrived
from bot.domain.cards import NoCard, WatchId

pytestmark = pytest.mark.looptime

WATCH = WatchId("watch")
OTHER = WatchId("other")


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

    def on(self, topic: str, hear: Callable[[Mapping[str, str]], None]) -> None:
        self.hearers[topic] = hear

    def on_gap(self, look: Callable[[], None]) -> None:
        raise AssertionError("nothing is to be looked up after a gap")

    def tell(self, topic: str, **words: str) -> asyncio.Future[None]:
        self.wire.carry(self, topic, words)
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent


async def test_everybody_who_waits_for_a_watch_hears_the_same() -> None:
    arrivals = Arrivals()
    with arrivals.waiting(WATCH) as one, arrivals.waiting(WATCH) as other:
        arrivals.came(WATCH, Arrived.POSTED)
        assert (await one, await other) == (Arrived.POSTED, Arrived.POSTED)


async def test_other_watches_are_not_told() -> None:
    arrivals = Arrivals()
    with arrivals.waiting(WATCH) as mine, arrivals.waiting(OTHER) as other:
        arrivals.came(WATCH, Arrived.MOVED)
        assert mine.result() is Arrived.MOVED
        assert not other.done()


async def test_a_watch_is_awaited_until_it_came() -> None:
    arrivals = Arrivals()
    assert not await arrivals.is_awaited(WATCH)
    with arrivals.waiting(WATCH):
        assert await arrivals.is_awaited(WATCH)
        arrivals.came(WATCH, NoCard.NOWHERE)
        assert not await arrivals.is_awaited(WATCH)


async def test_whoever_gives_up_takes_nothing_from_the_others() -> None:
    arrivals = Arrivals()
    with arrivals.waiting(WATCH) as patient:
        with arrivals.waiting(WATCH):
            pass
        assert await arrivals.is_awaited(WATCH)
        arrivals.came(WATCH, Arrived.POSTED)
        assert await patient is Arrived.POSTED


async def test_after_the_last_one_has_left_nothing_is_kept() -> None:
    arrivals = Arrivals()
    try:
        with arrivals.waiting(WATCH):
            raise LookupError
    except LookupError:
        assert not await arrivals.is_awaited(WATCH)


async def test_whoever_asks_after_it_came_waits_for_the_next_time() -> None:
    arrivals = Arrivals()
    with arrivals.waiting(WATCH) as first:
        arrivals.came(WATCH, Arrived.POSTED)
        with arrivals.waiting(WATCH) as second:
            assert first.done()
            assert not second.done()


async def test_an_arrival_that_nobody_waits_for_is_no_trouble() -> None:
    arrivals = Arrivals()
    arrivals.came(WATCH, Arrived.POSTED)
    assert not await arrivals.is_awaited(WATCH)


async def test_alone_nobody_is_given_time_to_answer() -> None:
    began = asyncio.get_running_loop().time()
    assert not await Arrivals().is_awaited(WATCH)
    assert asyncio.get_running_loop().time() == began


async def test_people_who_wait_in_several_processes_all_hear_what_became_of_their_watch() -> None:
    wire = Wire()
    here, there, elsewhere = (Arrivals(wire.relay()) for _ in range(3))
    with here.waiting(WATCH) as one, there.waiting(WATCH) as two, there.waiting(OTHER) as other:
        elsewhere.came(WATCH, Arrived.MOVED)
        assert (await one, await two) == (Arrived.MOVED, Arrived.MOVED)
        assert not other.done()


async def test_what_is_heard_is_not_told_again() -> None:
    wire = Wire()
    here, there = Arrivals(wire.relay()), Arrivals(wire.relay())
    with here.waiting(WATCH) as waiting:
        there.came(WATCH, Arrived.POSTED)
        await waiting
    assert wire.told == [("came", {"watch": WATCH, "arrival": "POSTED"})]


async def test_who_waits_in_another_process_is_known_as_soon_as_that_one_says_so() -> None:
    wire = Wire()
    here, there = Arrivals(wire.relay()), Arrivals(wire.relay())
    began = asyncio.get_running_loop().time()
    with there.waiting(WATCH):
        assert await asyncio.gather(*(here.is_awaited(WATCH) for _ in range(3))) == [True] * 3
    assert asyncio.get_running_loop().time() - began < 0.1
    assert here._asked == {}


async def test_no_answer_means_that_nobody_waits() -> None:
    wire = Wire()
    here, there = Arrivals(wire.relay()), Arrivals(wire.relay())
    began = asyncio.get_running_loop().time()
    with there.waiting(OTHER):
        assert not await here.is_awaited(WATCH)
    wire.is_whole = False
    with there.waiting(WATCH):
        assert not await here.is_awaited(WATCH)
    assert asyncio.get_running_loop().time() - began == pytest.approx(2 * ANSWERS_WITHIN_SECONDS)
    assert here._asked == {}


async def test_one_who_waits_in_the_own_process_is_known_without_asking() -> None:
    wire = Wire()
    here = Arrivals(wire.relay())
    with here.waiting(WATCH):
        assert await here.is_awaited(WATCH)
    assert wire.told == []


async def test_an_answer_that_comes_too_late_is_no_trouble() -> None:
    wire = Wire()
    here, there = Arrivals(wire.relay()), wire.relay()
    there.on("is awaited?", lambda _: None)
    assert not await here.is_awaited(WATCH)
    there.tell("awaited", watch=WATCH)
    await asyncio.sleep(1.0)
    assert here._asked == {}


async def test_an_arrival_that_only_a_newer_version_knows_ends_no_wait() -> None:
    wire = Wire()
    here, newer = Arrivals(wire.relay()), wire.relay()
    with here.waiting(WATCH) as waiting:
        newer.tell("came", watch=WATCH, arrival="TELEPORTED")
        newer.tell("came")
        await asyncio.sleep(1.0)
        assert not waiting.done()
        newer.tell("came", watch=WATCH, arrival="POSTED")
        assert await waiting is Arrived.POSTED
