"""Who waits for a card hears what became of it."""

from bot.arrivals import Arrival, Arrivals
from bot.watch import WatchId

WATCH = WatchId("watch")
OTHER = WatchId("other")


async def test_everybody_who_waits_for_a_watch_hears_the_same() -> None:
    arrivals = Arrivals()
    with arrivals.waiting(WATCH) as one, arrivals.waiting(WATCH) as other:
        arrivals.came(WATCH, Arrival.POSTED)
        assert (await one, await other) == (Arrival.POSTED, Arrival.POSTED)


async def test_other_watches_are_not_told() -> None:
    arrivals = Arrivals()
    with arrivals.waiting(WATCH) as mine, arrivals.waiting(OTHER) as other:
        arrivals.came(WATCH, Arrival.MOVED)
        assert mine.result() is Arrival.MOVED
        assert not other.done()


async def test_a_watch_is_awaited_until_it_came() -> None:
    arrivals = Arrivals()
    assert not arrivals.is_awaited(WATCH)
    with arrivals.waiting(WATCH):
        assert arrivals.is_awaited(WATCH)
        arrivals.came(WATCH, Arrival.NOWHERE)
        assert not arrivals.is_awaited(WATCH)


async def test_whoever_gives_up_takes_nothing_from_the_others() -> None:
    arrivals = Arrivals()
    with arrivals.waiting(WATCH) as patient:
        with arrivals.waiting(WATCH):
            pass
        assert arrivals.is_awaited(WATCH)
        arrivals.came(WATCH, Arrival.POSTED)
        assert await patient is Arrival.POSTED


async def test_after_the_last_one_has_left_nothing_is_kept() -> None:
    arrivals = Arrivals()
    try:
        with arrivals.waiting(WATCH):
            raise LookupError
    except LookupError:
        assert not arrivals.is_awaited(WATCH)


async def test_whoever_asks_after_it_came_waits_for_the_next_time() -> None:
    arrivals = Arrivals()
    with arrivals.waiting(WATCH) as first:
        arrivals.came(WATCH, Arrival.POSTED)
        with arrivals.waiting(WATCH) as second:
            assert first.done()
            assert not second.done()


async def test_an_arrival_that_nobody_waits_for_is_no_trouble() -> None:
    arrivals = Arrivals()
    arrivals.came(WATCH, Arrival.POSTED)
    assert not arrivals.is_awaited(WATCH)
