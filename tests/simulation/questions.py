"""Invariants of questions: each is submitted once, and the user gets a card or the reason why not."""

from collections import Counter
from collections.abc import Iterator

from tests.simulation.judged import IN_FLIGHT_SECONDS, Seen
from tests.simulation.people import Asked
from tests.simulation.scenario import ASKING


def questions_are_asked_once(seen: Seen) -> Iterator[str]:
    """Omni has no idempotency key: a question that is submitted again is worked on again. Each card may be retried
    once: the card of a retry too (seed 275), and each of a job's cards in several channels (seed 900273).
    A person whose press was interrupted is notified of that, and may press again (seed 902553)."""
    wanted = {
        (
            asked.action.kind,
            asked.card,
            number if seen.died_over(asked) else None,
            seen.job_of(asked).question,
        )
        for number, asked in enumerate(seen.world.people.asked)
        if asked.action.kind in ASKING
    }
    allowed = Counter(question for *_, question in wanted)
    for question, times in Counter(seen.world.omni.submitted).items():
        if times > allowed[question]:
            yield f"{question!r} was asked {times} times"


def whoever_asks_hears(seen: Seen) -> Iterator[str]:
    """Each question that was acknowledged led to a private line, a card, or a word in direct messages."""
    for asked in seen.world.people.asked:
        if asked.action.kind not in ASKING or not seen.is_acked(asked):
            continue
        job = seen.job_of(asked).id
        has_card = any(seen.cards[job, place] for place in seen.places_of(asked))
        if seen.reply_to(asked) is None and not has_card and not _is_excused(seen, asked):
            yield f"{asked.person} heard nothing of {asked.action}"


def _is_excused(seen: Seen, asked: Asked) -> bool:
    """Whether it was tried to tell the person, of the question or of its card, or the process died before the database
    had taken that they asked."""
    return (
        seen.heard_of_question(asked)
        or (seen.may_be_unconfirmed(asked) and seen.was_notified_unconfirmed(asked))
        or (seen.died_over(asked) and _was_slow_to_store(seen, asked))
    )


def _was_slow_to_store(seen: Seen, asked: Asked) -> bool:
    return any(
        front.service == "disk" and front.begins - IN_FLIGHT_SECONDS <= delivery.at < front.ends
        for front in seen.world.scenario.fronts
        for delivery in asked.deliveries
    )
