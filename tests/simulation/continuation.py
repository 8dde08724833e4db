"""Invariant: the rest of a long answer is in the card's thread, complete, in order and once."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from tests.simulation.judged import Seen
from tests.simulation.looks import look_of
from tests.simulation.scenario import JobPlan
from tests.simulation.slackside import Look, Posted

IN_OMNI = "The rest of the answer is in Omni"
_PARAGRAPH = re.compile(r"Paragraph (\d+) of many")


def the_answer_goes_on_once(seen: Seen) -> Iterator[str]:
    """What a card has no room for follows in its thread, in order, with nothing left out and nothing twice, and ends
    with one line that leads to Omni where the messages do not hold it all. As with a notice: a reply may come twice
    where the bot died over it and can't look, and be missing where it was not answered and the bot can't look."""
    for (job, channel), cards in seen.cards.items():
        plan = seen.plans.get(job)
        for card in cards if plan else ():
            yield from _too_much(seen, card)
            is_shut = seen.is_out_of_reach(card) or channel in seen.world.people.ever_closed
            if not is_shut and look_of(card.looks[-1]) == "answered":
                yield from _too_little(seen, plan, card)  # type: ignore[arg-type]


def _too_much(seen: Seen, card: Posted) -> Iterator[str]:
    replies = seen.continuation(card)
    died_over = Counter(_begins_with(reply) for reply in replies if seen.was_died_over(reply))
    for begins_with, times in Counter(map(_begins_with, replies)).items():
        if times > 1 + died_over[begins_with]:
            yield f"{times} replies to {card.ts} in {card.channel} begin with paragraph {begins_with}"
    starts = [
        start for reply in replies if (start := _begins_with(reply)) not in died_over and start is not None
    ]
    if any(later < sooner for sooner, later in pairwise(starts)):
        yield f"replies to {card.ts} in {card.channel} are out of order: {starts}"


def _too_little(seen: Seen, plan: JobPlan, card: Posted) -> Iterator[str]:
    whole = _paragraphs_of(str(getattr(plan.script.end, "markdown", None)))
    if not whole or seen.has_unanswered_reply(card, notice=False) or plan.id in seen.world.omni.removed:
        return
    replies = seen.continuation(card)
    shown = {number for posted in (card, *replies) for number in _paragraphs(posted.looks[-1])}
    for file in seen.files(card):
        if file.name == "answer.md":
            shown |= set(_paragraphs_of((file.content or b"").decode()))
    is_led_to_omni = any(IN_OMNI in reply.looks[0].text for reply in replies)
    if is_led_to_omni and shown == set(whole[: len(shown)]):
        return
    if shown != set(whole):
        lacks = sorted(set(whole) - shown)
        yield f"under {card.ts} in {card.channel} paragraphs {lacks[:5]} of {len(whole)} are missing"


def _begins_with(reply: Posted) -> int | None:
    """The first paragraph in a reply, by which it is known; None for the line that leads to Omni."""
    return next(iter(_paragraphs(reply.looks[0])), None)


def _paragraphs(look: Look) -> list[int]:
    return _paragraphs_of(str(look.blocks or look.text))


def _paragraphs_of(text: str) -> list[int]:
    return [int(number) for number in _PARAGRAPH.findall(text)]
