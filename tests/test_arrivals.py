"""Who waits for a card hears what became of it."""

import asyncio

from bot.arrivals import Arrival, Arrivals
from bot.watch import WatchId

WATCH = WatchId("watch")
OTHER = WatchId("other")


async def test_everybody_who_waits_for_a_watch_hears_the_same() -> None:
    arrivals = Arrivals()
    waiting = [arrivals.expect(WATCH) for _ in range(3)]
    arrivals.came(WATCH, Arrival.POSTED)
    assert await asyncio.gather(*waiting) == [Arrival.POSTED] * 3


async def test_other_watches_are_not_told() -> None:
    arrivals = Arrivals()
    mine, other = arrivals.expect(WATCH), arrivals.expect(OTHER)
    arrivals.came(WATCH, Arrival.MOVED)
    assert mine.result() is Arrival.MOVED
    assert not other.done()


async def test_a_watch_is_awaited_until_it_came() -> None:
    arrivals = Arrivals()
    assert not arrivals.is_awaited(WATCH)
    arrivals.expect(WATCH)
    assert arrivals.is_awaited(WATCH)
    arrivals.came(WATCH, Arrival.NOWHERE)
    assert not arrivals.is_awaited(WATCH)


async def test_a_watch_is_awaited_until_it_is_forgotten() -> None:
    arrivals = Arrivals()
    waiting = arrivals.expect(WATCH)
    arrivals.forget(WATCH)
    assert not arrivals.is_awaited(WATCH)
    arrivals.came(WATCH, Arrival.POSTED)
    assert not waiting.done()


async def test_whoever_asks_after_it_came_waits_for_the_next_time() -> None:
    arrivals = Arrivals()
    first = arrivals.expect(WATCH)
    arrivals.came(WATCH, Arrival.POSTED)
    second = arrivals.expect(WATCH)
    assert first.done() and not second.done()


async def test_an_arrival_that_nobody_waits_for_is_no_trouble() -> None:
    arrivals = Arrivals()
    arrivals.came(WATCH, Arrival.POSTED)
    arrivals.forget(WATCH)
    assert not arrivals.is_awaited(WATCH)


async def test_whoever_stopped_waiting_does_not_disturb_the_arrival() -> None:
    arrivals = Arrivals()
    arrivals.expect(WATCH).cancel()
    arrivals.came(WATCH, Arrival.POSTED)
    assert not arrivals.is_awaited(WATCH)


async def test_whoever_gives_up_behind_a_shield_takes_nothing_from_the_others() -> None:
    arrivals = Arrivals()
    impatient = asyncio.ensure_future(asyncio.shield(arrivals.expect(WATCH)))
    patient = arrivals.expect(WATCH)
    impatient.cancel()
    arrivals.came(WATCH, Arrival.POSTED)
    assert await patient is Arrival.POSTED
