"""Invariants of charts: of answers only, each shown once, on a card only soon after its answer."""

from collections.abc import Iterator
from typing import Any

from bot.delivery.card_charts import ON_CARD_WITHIN_SECONDS
from tests.simulation.judged import Seen
from tests.simulation.looks import look_of
from tests.simulation.scenario import JobPlan
from tests.simulation.slackside import Look, Posted

MOMENT_SECONDS = 0.5
"""How long a request may be on its way to Slack, or back."""


def charts_are_of_answers(seen: Seen) -> Iterator[str]:
    """Omni is asked for a chart only of a job that is COMPLETE by then. A card shows the chart of its own job, with its
    answer."""
    for exchange in seen.world.wire.log:
        if exchange.name.endswith("/vis") and exchange.done and exchange.outcome not in ("COMPLETE", ""):
            yield f"a chart is asked for by {exchange.name}, of a job that is {exchange.outcome}"
    for plan, card in _cards(seen):
        for look in card.looks:
            for block in _pictures(look):
                if look_of(look) != "answered" or plan.question not in block["alt_text"]:
                    yield f"card {card.ts} in {card.channel} shows another chart: {block['alt_text']!r}"


def charts_are_shown_once(seen: Seen) -> Iterator[str]:
    """A chart is on its card or in the thread that it begins, and not twice in either. A late edit of a process that
    died before it could say so may leave it on the card as well."""
    for _, card in _cards(seen):
        if card.thread is not None:
            continue  # its thread may have the files of other cards
        names = [file.name for file in seen.files(card)]
        if len(names) != len(set(names)):
            yield f"files under {card.ts} in {card.channel} come twice: {names}"
        on_card = len(_pictures(card.looks[-1]))
        if on_card + names.count("chart.png") > 1 and not seen.was_overtaken_for_good(card):
            yield f"the chart of {card.ts} in {card.channel} is shown on the card and in its thread"


def charts_come_soon(seen: Seen) -> Iterator[str]:
    """A card gets its chart within 10 s of its answer, as far as Slack has confirmed that: an answer is shown again as
    long as it has not. An edit under way at that time is undone."""
    for _, card in _cards(seen):
        answers = [look for look in card.looks if look_of(look) == "answered"]
        charted = [look for look in answers if _pictures(look)]
        if not charted or seen.was_overtaken_for_good(card):
            continue
        before = answers[: answers.index(charted[0])]
        late = charted[0].at - max((look.at for look in before), default=charted[0].at)
        if any(look.exchange is not None and seen.was_paused_over(look.exchange) for look in before):
            continue  # its process learned later that the answer is shown
        is_late = late > ON_CARD_WITHIN_SECONDS + MOMENT_SECONDS
        if is_late and _pictures(card.looks[-1]) and not any(look.is_doubtful for look in answers):
            yield f"card {card.ts} in {card.channel} gets its chart {late:.1f} s after its answer"


def _cards(seen: Seen) -> Iterator[tuple[JobPlan, Posted]]:
    for (job, _), cards in seen.cards.items():
        if (plan := seen.plans.get(job)) is not None:
            yield from ((plan, card) for card in cards)


def _pictures(look: Look) -> list[dict[str, Any]]:
    return [block for block in look.blocks if block["type"] == "image"]
