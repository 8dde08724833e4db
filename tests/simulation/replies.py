"""Invariants of completion replies: who is mentioned, and how often."""

from collections.abc import Iterator

from tests.simulation.judged import Seen
from tests.simulation.looks import FINAL, look_of
from tests.simulation.people import Asked
from tests.simulation.scenario import FOLLOWING, JobPlan
from tests.simulation.slackside import Posted

CLOCK_SECONDS = 2.0
"""By how much a time that is compared may be off."""

LOST = "know this job"
"""Text of a reply about a job that Omni does not know."""


def the_end_is_reported_once(seen: Seen) -> Iterator[str]:
    """A failure, a cancellation and a lost job are reported exactly once in the card's thread, an answer at most
    once and if it took longer than the setting; twice only where the bot died over the first and can't look."""
    for (job, channel), cards in seen.cards.items():
        for card in cards:
            plan = seen.plans.get(job)
            if plan is None:
                continue
            yield from _too_many_replies(seen, card)
            if not seen.is_out_of_reach(card) and channel not in seen.world.people.ever_closed:
                yield from _missing_reply(seen, plan, card)


def _too_many_replies(seen: Seen, card: Posted) -> Iterator[str]:
    replies = seen.notices(card)
    died_over = sum(map(seen.was_died_over, replies))
    # A lost job is reported again when it is requested again, and so is its end if Omni knows it after all.
    lost = sum(LOST in reply.looks[0].text for reply in replies)
    # Also those that were never acknowledged: they may have been stored before their process died.
    asked = [
        asked
        for asked in seen.world.people.asked
        if asked.action.kind in (*FOLLOWING, "resume") and card.channel in seen.places_of(asked)
    ]
    deliveries = sum(len(one.action.deliveries) for one in asked) or len(replies)
    if len(replies) - lost > 1 + died_over or lost > deliveries + died_over:
        yield f"{len(replies)} replies to {card.ts} in {card.channel}, {died_over} of them died over"


def _missing_reply(seen: Seen, plan: JobPlan, card: Posted) -> Iterator[str]:
    replies = seen.notices(card)
    last = look_of(card.looks[-1])
    shown = seen.seconds(next(look.at for look in card.looks if look_of(look) == last))
    staying = [
        asked
        for asked in seen.staying
        if seen.job_of(asked).id == plan.id and card.channel in seen.places_of(asked)
    ]
    if last == "cancelled" and any(_asked_for_it(seen, asked, plan) for asked in seen.world.people.asked):
        # The user who pressed Cancel needs no notification, nor do later followers of a card that says so.
        staying = [
            asked
            for asked in staying
            if asked.action.delivered_by < shown and not _asked_for_it(seen, asked, plan)
        ]
    if not staying or last not in FINAL:
        return
    if not replies:
        if seen.has_unanswered_reply(card, notice=True):
            return
        if last in ("failed", "cancelled", "missing") or _took_long(seen, plan, staying, card):
            yield f"nobody is notified under {card.ts} in {card.channel} that the job {last}"
        return
    if last == "answered" and _was_quick(seen, plan, card):
        yield f"a quick answer is notified under {card.ts} in {card.channel}"
    ended = seen.ends_at(plan)
    if any(look_of(look) == "missing" for look in card.looks) and last != "missing":
        return  # already reported, for a job that did not exist yet
    for asked in staying:
        # Whoever came when the card said already that Omni does not know the job is told by it, and led there.
        in_time = ended is not None and asked.action.delivered_by < min(ended - 5.0, shown)
        was_notified_here = seen.reply_to(asked) is None or asked.place == card.channel
        if in_time and was_notified_here and not _is_named(seen, asked, plan):
            yield f"{asked.person} is not named under {card.ts} in {card.channel}"


def _asked_for_it(seen: Seen, asked: Asked, plan: JobPlan) -> bool:
    """Whether the person has pressed Cancel."""
    return any(
        other.action.kind == "cancel" and other.person == asked.person and seen.job_of(other).id == plan.id
        for other in seen.world.people.asked
    )


def _is_named(seen: Seen, asked: Asked, plan: JobPlan) -> bool:
    """Whether some reply about the job, where the person can read it, names the person."""
    return any(
        f"<@{asked.person}>" in reply.looks[0].text
        for place in seen.places_of(asked)
        for card in seen.cards[plan.id, place]
        for reply in seen.notices(card)
    )


def _took_long(seen: Seen, plan: JobPlan, staying: list[Asked], card: Posted) -> bool:
    ended = seen.ends_at(plan)
    if ended is None or seen.world.scenario.clock_steps or look_of(card.looks[-1]) != "answered":
        return False
    latest = max(asked.action.delivered_by for asked in _all_of(seen, plan, card))
    return ended - latest > seen.world.scenario.notify_after_seconds + CLOCK_SECONDS


def _was_quick(seen: Seen, plan: JobPlan, card: Posted) -> bool:
    shown = next(look.at for look in card.looks if look_of(look) == "answered")
    first = min(asked.action.at for asked in _first_of(seen, plan, card))
    quick = seen.world.scenario.notify_after_seconds - CLOCK_SECONDS
    replied = min(reply.exchange.at for reply in seen.notices(card))
    return not seen.world.scenario.clock_steps and max(seen.seconds(shown), replied) - first < quick


def _first_of(seen: Seen, plan: JobPlan, card: Posted) -> list[Asked]:
    """With those who asked where the card would have been, had it not been moved to direct messages: the card is as old
    as their wish."""
    here = _all_of(seen, plan, card)
    places = {asked.place for asked in here}
    return [
        asked
        for asked in seen.world.people.asked
        if asked in here
        or (asked.action.kind in FOLLOWING and seen.job_of(asked).id == plan.id and asked.place in places)
    ]


def _all_of(seen: Seen, plan: JobPlan, card: Posted) -> list[Asked]:
    """Also those that were never acknowledged: they may have been stored before their process died or stood still."""
    return [
        asked
        for asked in seen.world.people.asked
        if asked.action.kind in FOLLOWING
        and seen.job_of(asked).id == plan.id
        and card.channel in seen.places_of(asked)
    ]
