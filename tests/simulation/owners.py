"""Invariant: a job keeps its first requester, who alone may cancel and retry it."""

import re
from collections.abc import Iterator

from bot.domain.errors import CancelForbidden, NotCancellable
from bot.rendering import ask_replies, replies
from tests.simulation.judged import Seen
from tests.simulation.people import Asked

ANSWERED_WITHIN_SECONDS = 60.0
"""By when a click has been answered, in the bot's own time."""
_ASKED_BY = re.compile(r"(?:Asked|Followed) by <@(\w+)>")
_ACTED = {
    ask_replies.cancelled(),
    ask_replies.stops_after_current_step(),
    ask_replies.already_ended(),
    ask_replies.cancel_unconfirmed(),
    ask_replies.not_cancelled(NotCancellable("")),
    ask_replies.not_cancelled(CancelForbidden("")),
    ask_replies.not_retriable(),
    ask_replies.retry_maybe_submitted(),
}
"""Replies that only users get who may cancel or retry the job."""


def the_first_requester_stays(seen: Seen) -> Iterator[str]:
    """The requester of a card never changes, and the card shows it."""
    followed = seen.world.followed
    for row, later in followed.changed_hands:
        yield f"{row.job[:8]} in {row.channel} was {row.requester}'s and becomes {later}'s"
    for (job, channel), cards in seen.cards.items():
        for card in cards:
            shown = [said.group(1) for look in card.looks if (said := _ASKED_BY.search(str(look.blocks)))]
            if (
                shown
                and shown[-1] != shown[0]
                and shown[-1] not in followed.firsts(job, 0.0, seen.world.loop.time())
            ):
                yield f"card {card.ts} of {job[:8]} in {channel} was asked by {shown[0]}, then by {shown[-1]}"


def followers_stay(seen: Seen) -> Iterator[str]:
    """A follower is taken off a job only where they stopped following."""
    stopped = {
        (click.card_job, click.person)
        for click in seen.world.people.asked
        if click.action.kind == "stop" and click.deliveries
    }
    for job, channel, person in seen.world.followed.dropped:
        if (job, person) not in stopped:
            yield f"{person} follows {job[:8]} in {channel} no longer, and did not stop"


def only_the_requester_acts(seen: Seen) -> Iterator[str]:
    """Only the first requester of a job cancels or retries it, and is never refused that."""
    for click in seen.world.people.asked:
        if click.action.kind not in ("cancel", "retry"):
            continue
        job = (seen.job_of(click).again or seen.job_of(click)).id
        until = click.action.delivered_by + ANSWERED_WITHIN_SECONDS
        firsts = seen.world.followed.firsts(job, click.action.at, until)
        if len(firsts) > 1 or "" in firsts:
            continue
        if click.person not in firsts and _was_let(seen, click):
            yield f"{click.person} may {click.action.kind} {job[:8]} of {firsts}"
        if click.person in firsts and seen.reply_to(click) == replies.not_yours():
            yield f"{click.person} is refused to {click.action.kind} their own {job[:8]}"


def _was_let(seen: Seen, click: Asked) -> bool:
    reply = seen.reply_to(click) or ""
    requesters = seen.world.followed.requesters[seen.job_of(click).id]
    is_bound = click.action.kind == "retry" and click.person in requesters
    return is_bound or reply in _ACTED or "was already retried" in reply
