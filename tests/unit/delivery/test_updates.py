"""Edits: only what changed, the newest look wins, last looks first, inside the budget."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest

from bot.delivery.fallback import BlockSupport
from bot.delivery.updates import BETWEEN_EDITS_SECONDS, MessageUpdater
from bot.domain.cards import NEEDS_REDRAW, Card, FencingToken, MessageTs
from bot.domain.errors import (
    MessageGone,
    NotAllowedHere,
    OutcomeUnknown,
    OwnershipLost,
    PayloadRefused,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    StoreUnavailable,
)
from bot.domain.jobs import JobState
from bot.domain.messages import Message
from bot.ratelimit import Rate, RateLimiter
from tests.support.fakes import HERE, JOB, START, FakeCards, FakeMeter, FakeSlackMessages, FreeLedger, a_card

pytestmark = pytest.mark.looptime


def look(text: str) -> tuple[Message, ...]:
    return (Message(text),)


class Easel:
    """A drawing over a fake Slack, with as many cards as asked for."""

    def __init__(self, cards: int = 1, edits_per_minute: int | None = None) -> None:
        self.fake_slack = FakeSlackMessages()
        self.card_repository = FakeCards()
        self.ledger = FreeLedger() if edits_per_minute is None else SlowLedger(60 / edits_per_minute)
        self.block_support = BlockSupport()
        self.meter = FakeMeter()
        self.drawing = MessageUpdater(
            self.fake_slack,
            self.card_repository,
            RateLimiter(self.ledger, "edits", Rate(1.0, 0.0)),
            self.block_support,
            self.meter,
        )
        self.cards: list[tuple[Card, MessageTs]] = []
        self.number = cards

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Easel"]:
        for number in range(self.number):
            card = a_card(f"watch{number}")
            ts = await self.fake_slack.post(HERE, Message("first"), mark=card.id)
            card = replace(card, message_ts=ts, shown_fingerprint=Message("first").fingerprint)
            self.card_repository.rows[card.id] = card
            self.cards.append((card, ts))
        task = asyncio.create_task(self.drawing.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def taken_over(self, **facts: object) -> None:
        """Another process follows the job of the first card by now, and has left its row so."""
        row = self.card_repository.rows[self.cards[0][0].id]
        self.card_repository.rows[row.id] = replace(row, token=FencingToken("another"), **facts)  # type: ignore[arg-type]

    def show(self, text: str, card: int = 0) -> None:
        self.drawing.schedule_update(*self.cards[card], look(text))

    async def finish(self, text: str, card: int = 0) -> bool:
        return await self.drawing.show_final(*self.cards[card], look(text))

    def edits(self, card: int = 0) -> list[str]:
        return [message.text for _, message in self.fake_slack.posted[self.cards[card][1]].edits]

    def edited_at(self, card: int = 0) -> list[float]:
        return [time for time, _ in self.fake_slack.posted[self.cards[card][1]].edits]


class SlowLedger(FreeLedger):
    """One request every so many seconds."""

    def __init__(self, interval_seconds: float) -> None:
        super().__init__()
        self._interval_seconds = interval_seconds

    async def take(self, budget: str, rate: Rate, *, urgent: bool = True) -> float:
        time = asyncio.get_running_loop().time()
        due = self.taken[-1] + self._interval_seconds if self.taken else time
        return due - time if due > time else await super().take(budget, rate, urgent=urgent)


async def test_unchanged_content_costs_no_edit() -> None:
    async with Easel().running() as easel:
        easel.show("first")
        await asyncio.sleep(60)
        assert await easel.finish("first")
    assert easel.edits() == []


async def test_the_newest_look_wins_and_an_overtaken_one_is_never_sent() -> None:
    async with Easel().running() as easel:
        for number in range(100):
            easel.show(f"step {number}")
        await asyncio.sleep(60)
    assert easel.edits() == ["step 99"]


async def test_a_card_is_edited_at_most_every_three_seconds() -> None:
    async with Easel().running() as easel:
        for number in range(40):
            easel.show(f"step {number}")
            await asyncio.sleep(0.5)
        await asyncio.sleep(5)
    times = easel.edited_at()
    assert all(later - sooner >= BETWEEN_EDITS_SECONDS for sooner, later in pairwise(times))
    assert easel.edits()[-1] == "step 39"


async def test_final_update_follows_progress_at_once() -> None:
    async with Easel().running() as easel:
        easel.show("progress")
        await asyncio.sleep(1.0)
        easel.show("more progress")
        await asyncio.sleep(0.5)
        assert await easel.finish("the end")
    assert easel.edits() == ["progress", "the end"]
    assert easel.edited_at()[1] == pytest.approx(1.5)


async def test_going_back_to_what_is_shown_withdraws_the_wish() -> None:
    async with Easel().running() as easel:
        easel.show("second")
        easel.show("first")
        await asyncio.sleep(10)
    assert easel.edits() == []


async def test_going_back_while_the_edit_is_under_way_draws_it_back() -> None:
    async with Easel().running() as easel:
        easel.fake_slack.on_update = lambda: easel.show("first")
        easel.show("second")
        await asyncio.sleep(10)
    assert easel.edits() == ["second", "first"]


async def test_last_looks_go_before_all_others() -> None:
    async with Easel(cards=20, edits_per_minute=60).running() as easel:
        for card in range(19):
            easel.show("running", card)
        await asyncio.sleep(2.5)
        started = asyncio.get_running_loop().time()
        assert await easel.finish("done", card=19)
        assert asyncio.get_running_loop().time() - started <= 2.0


async def test_the_queue_grows_with_the_cards_and_not_with_time() -> None:
    async with Easel(cards=10, edits_per_minute=10).running() as easel:
        for number in range(600):
            for card in range(10):
                easel.show(f"step {number}", card)
            await asyncio.sleep(1)
        started = asyncio.get_running_loop().time()
        await asyncio.gather(*(easel.finish("done", card) for card in range(10)))
        assert asyncio.get_running_loop().time() - started <= 10 * 6 + 6
    assert all(easel.edits(card)[-1] == "done" for card in range(10))


async def test_slacks_429_pauses_every_edit_and_loses_none() -> None:
    async with Easel(cards=2).running() as easel:
        easel.fake_slack.plan("update", SlackBusy("ratelimited", 20.0))
        easel.show("second", 0)
        await asyncio.sleep(1)
        easel.show("second", 1)
        await asyncio.sleep(40)
    assert [round(time) for card in (0, 1) for time in easel.edited_at(card)] == [20, 20]


@pytest.mark.parametrize("error", [SlackUnreachable("no_connection"), OutcomeUnknown("fatal_error")])
async def test_the_last_look_is_tried_until_slack_has_taken_it(error: SlackError) -> None:
    async with Easel().running() as easel:
        easel.fake_slack.plan("update", *([error] * 30))
        assert await easel.finish("done")
    assert easel.edits() == ["done"]


async def test_an_edit_that_was_not_answered_is_repeated_even_if_it_was_taken() -> None:
    async with Easel().running() as easel:
        easel.fake_slack.plan("update", OutcomeUnknown("TimeoutError"), after_effect=True)
        assert await easel.finish("done")
    assert easel.edits() == ["done", "done"]


async def test_refused_forms_are_left_for_plainer_ones_at_once_and_not_tried_again() -> None:
    async with Easel().running() as easel:
        easel.fake_slack.plan("update", PayloadRefused("invalid_blocks"), PayloadRefused("msg_too_long"))
        forms = (Message("rich"), Message("plain"), Message("words"))
        card, ts = easel.cards[0]
        assert await easel.drawing.show_final(card, ts, forms)
        easel.drawing.schedule_update(
            replace(card, shown_fingerprint=Message("words").fingerprint), ts, forms
        )
        await asyncio.sleep(30)
    assert easel.edits() == ["words"]
    assert easel.fake_slack.times("update")[-1] < 1.0


async def test_a_block_that_slack_refused_while_it_took_the_rest_is_learned() -> None:
    async with Easel().running() as easel:
        card, ts = easel.cards[0]
        task = Message("step 1", ({"type": "task_card"}, {"type": "section"}))
        plain = Message("step 1, plain", ({"type": "section"},))
        easel.fake_slack.plan("update", PayloadRefused("invalid_blocks"))
        assert await easel.drawing.show_final(card, ts, (task, plain))
    assert easel.edits() == ["step 1, plain"]
    assert easel.block_support.supported((task, plain)) == (plain,)


async def test_workspace_without_tables_is_learned() -> None:
    async with Easel(cards=4).running() as easel:
        plain = Message("as text", ({"type": "section"},))
        table = Message("as table", ({"type": "table"}, {"type": "section"}))
        for card, ts in easel.cards:
            variants = easel.block_support.supported((table, plain))
            easel.fake_slack.plan("update", *[PayloadRefused("invalid_blocks")] * (len(variants) - 1))
            assert await easel.drawing.show_final(card, ts, variants)
    assert [easel.edits(number) for number in range(4)] == [["as text"]] * 4
    assert len(easel.fake_slack.times("update")) == 3 * 2 + 1


async def test_accepted_variant_teaches_nothing() -> None:
    async with Easel().running() as easel:
        card, ts = easel.cards[0]
        forms = (Message("step 1", ({"type": "task_card"},)), Message("step 1, plain"))
        assert await easel.drawing.show_final(card, ts, forms)
    assert easel.block_support.supported(forms) == forms


@pytest.mark.parametrize("error", [MessageGone("message_not_found"), NotAllowedHere("is_inactive")])
async def test_gone_card_is_remembered(error: SlackError) -> None:
    async with Easel().running() as easel:
        easel.fake_slack.plan("update", error)
        assert not await easel.finish("done")
    assert easel.card_repository.rows[easel.cards[0][0].id].is_message_gone


async def test_update_waits_for_database() -> None:
    async with Easel().running() as easel:
        easel.card_repository.error = StoreUnavailable("locked")
        finishing = asyncio.create_task(easel.finish("done"))
        await asyncio.sleep(30)
        assert easel.edits() == []
        easel.card_repository.error = None
        assert await finishing
    assert easel.edits() == ["done"]


async def test_unstored_edit_invalidates_fingerprint() -> None:
    async with Easel().running() as easel:

        def database_goes_down() -> None:
            easel.card_repository.error = StoreUnavailable("locked")

        easel.fake_slack.on_update = database_goes_down
        assert await easel.finish("nobody follows this")
        easel.fake_slack.on_update = lambda: None
        easel.card_repository.error = None
        card, ts = easel.cards[0]
        assert await easel.drawing.show_final(easel.card_repository.rows[card.id], ts, look("first"))
    assert easel.edits() == ["nobody follows this", "first"]


async def test_edit_in_flight_has_no_fingerprint() -> None:
    async with Easel().running() as easel:
        card, _ = easel.cards[0]
        claimed: list[str | None] = []
        easel.fake_slack.on_update = lambda: claimed.append(
            easel.card_repository.rows[card.id].shown_fingerprint
        )
        assert await easel.finish("done")
    assert claimed == [None]


async def test_shown_fingerprint_survives_restart() -> None:
    async with Easel().running() as easel:
        assert await easel.finish("done")
    assert easel.card_repository.rows[easel.cards[0][0].id].shown_fingerprint == Message("done").fingerprint


async def test_unanswered_edit_invalidates_earlier_content() -> None:
    async with Easel().running() as easel:
        easel.fake_slack.plan("update", OutcomeUnknown("TimeoutError"), after_effect=True)
        easel.show("second")
        await asyncio.sleep(1)
        easel.show("first")
        await asyncio.sleep(10)
    assert easel.edits() == ["second", "first"]


async def test_refusal_of_replaced_update_keeps_newer_rich() -> None:
    async with Easel().running() as easel:
        card, ts = easel.cards[0]
        newer = (Message("rich"), Message("plain"))
        easel.fake_slack.plan("update", PayloadRefused("invalid_blocks"))
        begin = easel.fake_slack._begin

        def overtaken(method: str) -> SlackError | None:
            easel.drawing.schedule_update(card, ts, newer)
            return begin(method)

        easel.fake_slack._begin = overtaken  # type: ignore[method-assign]
        easel.drawing.schedule_update(card, ts, (Message("old rich"), Message("old plain")))
        await asyncio.sleep(10)
    assert easel.edits() == ["rich"]


async def test_no_update_follows_a_final_one() -> None:
    async with Easel().running() as easel:
        easel.fake_slack.plan("update", SlackUnreachable("no_connection"))
        finishing = asyncio.create_task(easel.finish("done"))
        await asyncio.sleep(1)
        easel.show("running")
        assert await finishing
        await asyncio.sleep(10)
    assert easel.edits() == ["done"]


async def test_defect_affects_one_card_only() -> None:
    async with Easel(cards=2).running() as easel:
        easel.fake_slack.plan("update", ZeroDivisionError())  # type: ignore[arg-type]
        assert all(await asyncio.gather(easel.finish("done", 0), easel.finish("done", 1)))


async def test_card_owned_elsewhere_is_not_edited() -> None:
    async with Easel().running() as easel:
        easel.show("second")
        await easel.card_repository.claim(JOB)
        await asyncio.sleep(30)
    assert easel.edits() == []
    assert easel.fake_slack.times("update") == []


async def test_final_update_raises_ownership_lost() -> None:
    async with Easel().running() as easel:
        await easel.card_repository.claim(JOB)
        with pytest.raises(OwnershipLost):
            await easel.finish("done")
        await asyncio.sleep(30)
    assert easel.edits() == []


async def test_ownership_lost_during_edit_marks_stale() -> None:
    async with Easel().running() as easel:
        card, _ = easel.cards[0]
        easel.fake_slack.on_update = easel.taken_over
        with pytest.raises(OwnershipLost):
            await easel.finish("done")
        easel.fake_slack.on_update = lambda: None
        await asyncio.sleep(30)
    assert easel.edits() == ["done"]
    assert easel.card_repository.rows[card.id].shown_fingerprint == NEEDS_REDRAW, (
        "the other process must not rely on it"
    )


async def test_regained_card_is_updated_again() -> None:
    async with Easel().running() as easel:
        claim, _ = await easel.card_repository.claim(JOB)
        with pytest.raises(OwnershipLost):
            await easel.finish("done")
        (card,) = await easel.card_repository.open_cards(JOB, claim)
        assert await easel.drawing.show_final(card, easel.cards[0][1], look("done"))
    assert easel.edits() == ["done"]


async def test_final_updates_run_in_order() -> None:
    """Retry can be pressed before Slack has answered the edit that showed the button."""
    easel = Easel()
    async with easel.running():
        (card, ts) = easel.cards[0]
        easel.fake_slack.plan("update", OutcomeUnknown("TimeoutError"), after_effect=True)
        first = asyncio.create_task(
            easel.drawing.show_final(card, ts, look("failed"), outcome=JobState.FAILED)
        )
        await asyncio.sleep(0.5)
        second = asyncio.create_task(
            easel.drawing.show_final(card, ts, look("failed, asked again"), outcome=JobState.FAILED)
        )
        async with asyncio.timeout(60):
            assert await first and await second
    assert easel.edits()[-1] == "failed, asked again"


@pytest.mark.parametrize("is_closed", [True, False])
async def test_late_edit_after_successor_is_mended(is_closed: bool) -> None:
    """Its process was paused between the look at the claim and the request; the job's end was shown meanwhile."""
    easel = Easel()
    async with easel.running():
        (card, ts) = easel.cards[0]

        closed_at = START if is_closed else None
        shown = Message("the answer").fingerprint
        easel.fake_slack.on_update = lambda: easel.taken_over(
            shown_fingerprint=shown, ended=True, closed_at=closed_at
        )
        easel.drawing.schedule_update(card, ts, look("running"))
        await asyncio.sleep(5)
        row = easel.card_repository.rows[card.id]
        assert (row.shown_fingerprint, row.closed_at, row.ended) == (NEEDS_REDRAW, None, True)
        assert await easel.card_repository.open_jobs() == [JOB]
        with pytest.raises(OwnershipLost):
            await easel.card_repository.close(replace(row, token=FencingToken("another")), START)


@pytest.mark.parametrize("is_answered", [True, False])
async def test_late_end_does_not_doubt_an_end_already_shown(is_answered: bool) -> None:
    easel = Easel()
    async with easel.running():
        (card, ts) = easel.cards[0]
        easel.fake_slack.on_update = lambda: easel.taken_over(
            shown_fingerprint="end", ended=True, closed_at=START
        )
        if not is_answered:
            easel.fake_slack.plan("update", OutcomeUnknown("TimeoutError"), after_effect=True)
        with pytest.raises(OwnershipLost):
            await easel.drawing.show_final(card, ts, look("failed"), outcome=JobState.FAILED)
        await asyncio.sleep(5)
        row = easel.card_repository.rows[card.id]
        assert (row.shown_fingerprint, row.closed_at, row.ended) == ("end", START, True)


async def test_late_running_look_doubts_an_end_drawn_after_it() -> None:
    easel = Easel()
    async with easel.running():
        (card, ts) = easel.cards[0]
        easel.fake_slack.plan("update", OutcomeUnknown("TimeoutError"), after_effect=True)
        easel.drawing.schedule_update(card, ts, look("running"))
        await asyncio.sleep(0.5)
        easel.taken_over(shown_fingerprint="end", ended=True, closed_at=START)
        with pytest.raises(OwnershipLost):
            await easel.drawing.show_final(card, ts, look("failed"), outcome=JobState.FAILED)
        await asyncio.sleep(5)
        assert easel.card_repository.rows[card.id].shown_fingerprint == NEEDS_REDRAW


async def test_unanswered_edit_of_replaced_process_marks_stale() -> None:
    easel = Easel()
    async with easel.running():
        (card, ts) = easel.cards[0]
        easel.fake_slack.on_update = lambda: easel.taken_over(
            shown_fingerprint="end", ended=True, closed_at=START
        )
        easel.fake_slack.plan("update", OutcomeUnknown("TimeoutError"), after_effect=True)
        easel.drawing.schedule_update(card, ts, look("running"))
        await asyncio.sleep(10)
        row = easel.card_repository.rows[card.id]
        assert (row.shown_fingerprint, row.closed_at, row.ended) == (NEEDS_REDRAW, None, True)


async def test_final_update_is_repeated_if_marked_stale() -> None:
    easel = Easel()
    async with easel.running():
        (card, ts) = easel.cards[0]

        def doubted_by_another_process() -> None:
            easel.fake_slack.on_update = lambda: None
            easel.card_repository.rows[card.id] = replace(
                easel.card_repository.rows[card.id], shown_fingerprint=NEEDS_REDRAW
            )

        easel.fake_slack.on_update = doubted_by_another_process
        assert await easel.drawing.show_final(card, ts, look("failed"), outcome=JobState.FAILED)
    assert easel.edits() == ["failed", "failed"]
    row = easel.card_repository.rows[card.id]
    assert (row.shown_fingerprint, row.ended) == (Message("failed").fingerprint, True)


async def test_unanswered_final_edit_marks_stale_after_cancel() -> None:
    easel = Easel()
    async with easel.running():
        (card, _) = easel.cards[0]

        def cut_off() -> None:
            easel.card_repository.error = StoreUnavailable("away")

        easel.fake_slack.on_update = cut_off
        easel.fake_slack.plan("update", OutcomeUnknown("TimeoutError"), after_effect=True)
        finishing = asyncio.create_task(easel.finish("rests"))
        await asyncio.sleep(1)
        easel.card_repository.error = None
        easel.taken_over(shown_fingerprint="end", closed_at=START)
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)
        await asyncio.sleep(300)
    row = easel.card_repository.rows[card.id]
    assert (row.shown_fingerprint, row.closed_at) == (NEEDS_REDRAW, None)


async def test_late_edit_marks_stale_after_outage() -> None:
    easel = Easel()
    async with easel.running():
        (card, ts) = easel.cards[0]

        def taken_over_and_cut_off() -> None:
            easel.taken_over(closed_at=START)
            easel.card_repository.error = StoreUnavailable("away")

        easel.fake_slack.on_update = taken_over_and_cut_off
        easel.drawing.schedule_update(card, ts, look("running"))
        await asyncio.sleep(30)
        assert easel.card_repository.rows[card.id].closed_at == START
        easel.card_repository.error = None
        await asyncio.sleep(10)
        assert easel.card_repository.rows[card.id].closed_at is None


async def test_late_edit_keeps_new_owner() -> None:
    easel = Easel()
    async with easel.running():
        (card, ts) = easel.cards[0]
        easel.fake_slack.on_update = easel.taken_over
        easel.drawing.schedule_update(card, ts, look("running"))
        await asyncio.sleep(5)
    assert easel.card_repository.rows[card.id].token == FencingToken("another")


async def test_update_uses_newest_fencing_token() -> None:
    async with Easel().running() as easel:
        easel.fake_slack.plan("update", SlackUnreachable("no_connection"))
        easel.show("second")
        await asyncio.sleep(0.5)
        claim, _ = await easel.card_repository.claim(JOB)
        (card,) = await easel.card_repository.open_cards(JOB, claim)
        easel.drawing.schedule_update(card, easel.cards[0][1], look("second"))
        await asyncio.sleep(10)
    assert easel.edits() == ["second"]


async def test_lost_card_does_not_affect_others() -> None:
    async with Easel(cards=2).running() as easel:
        card, _ = easel.cards[0]
        easel.card_repository.rows[card.id] = replace(card, token=FencingToken("another"))
        easel.show("second", 0)
        assert await easel.finish("done", 1)
    assert (easel.edits(0), easel.edits(1)) == ([], ["done"])


# What is counted


async def test_replaced_updates_count_as_coalesced() -> None:
    async with Easel().running() as easel:
        for number in range(5):
            easel.show(f"look {number}")
        await asyncio.sleep(10)
        assert easel.edits() == ["look 4"]
        assert (easel.meter.sent, easel.meter.coalesced) == (1, 4)


async def test_repeated_update_is_not_coalesced() -> None:
    async with Easel().running() as easel:
        for _ in range(5):
            easel.show("the same")
        await asyncio.sleep(10)
        assert (easel.meter.sent, easel.meter.coalesced) == (1, 0)


async def test_update_replaced_in_flight_counts_as_sent() -> None:
    async with Easel().running() as easel:
        easel.fake_slack.on_update = lambda: easel.show("newer") if len(easel.edits()) == 0 else None
        easel.show("sent")
        await asyncio.sleep(10)
        assert easel.edits() == ["sent", "newer"]
        assert (easel.meter.sent, easel.meter.coalesced) == (2, 0)


async def test_refused_edit_is_counted_when_accepted() -> None:
    async with Easel().running() as easel:
        easel.fake_slack.plan("update", SlackBusy("ratelimited", 5.0))
        easel.show("look")
        await asyncio.sleep(1)
        assert (easel.meter.sent, easel.drawing.waiting) == (0, 1)
        await asyncio.sleep(30)
        assert (easel.meter.sent, easel.drawing.waiting) == (1, 0)


async def test_optional_edit_goes_after_final_updates() -> None:
    async with Easel(cards=3, edits_per_minute=12).running() as easel:
        await easel.finish("the end")
        added = asyncio.create_task(
            easel.drawing.show_final(*easel.cards[0], (Message("with more"),), is_optional=True)
        )
        await asyncio.sleep(0)
        await asyncio.gather(*(easel.finish("the end", card) for card in (1, 2)))
        assert easel.edits() == ["the end"]
        assert await added
    assert easel.edits() == ["the end", "with more"]


async def test_refused_optional_edit_leaves_card_as_it_was() -> None:
    async with Easel().running() as easel:
        easel.fake_slack.plan("update", PayloadRefused("invalid_blocks"))
        assert not await easel.drawing.show_final(*easel.cards[0], (Message("with more"),), is_optional=True)
        row = easel.card_repository.rows[easel.cards[0][0].id]
        assert row.shown_fingerprint == Message("first").fingerprint
        assert not row.is_message_gone
        assert await easel.drawing.show_final(row, easel.cards[0][1], look("first"))
    assert easel.edits() == []


async def test_refusal_after_unanswered_edit_stays_unknown() -> None:
    async with Easel().running() as easel:
        easel.fake_slack.plan("update", OutcomeUnknown("TimeoutError"), after_effect=True)
        easel.fake_slack.plan("update", PayloadRefused("invalid_blocks"))
        assert not await easel.drawing.show_final(*easel.cards[0], (Message("with more"),), is_optional=True)
        row = easel.card_repository.rows[easel.cards[0][0].id]
        assert await easel.drawing.show_final(row, easel.cards[0][1], look("first"))
    assert easel.edits() == ["with more", "first"]


async def test_cancelled_optional_edit_is_not_sent() -> None:
    async with Easel(edits_per_minute=6).running() as easel:
        await easel.finish("the end")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5.0):
                await easel.drawing.show_final(*easel.cards[0], (Message("with more"),), is_optional=True)
        await asyncio.sleep(60)
    assert easel.edits() == ["the end"]


async def test_late_optional_edit_marks_stale() -> None:
    async with Easel().running() as easel:
        card, ts = easel.cards[0]
        easel.fake_slack.on_update = lambda: easel.taken_over(closed_at=START, ended=True)
        with pytest.raises(OwnershipLost):
            await easel.drawing.show_final(card, ts, (Message("with more"),), is_optional=True)
    row = easel.card_repository.rows[card.id]
    assert row.is_stale and row.closed_at is None, "the next tracker shows the end again"
