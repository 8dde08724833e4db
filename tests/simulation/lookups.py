"""Invariant: the bot waits for a delayed lookup of a user or channel instead of refusing."""

from collections.abc import Iterator

from bot.rendering import replies
from tests.simulation.judged import IN_FLIGHT_SECONDS, Seen
from tests.simulation.people import Asked
from tests.simulation.wire import Exchange

WAITED_SECONDS = 5.0
"""For how long in all Slack may put off what a person waits for."""
KNOWN_SECONDS = 60.0
"""For how long what Slack says of a place counts."""
_KEPT = "People of another organization may be able to read this channel, so"
"""Reply to a user whose card goes to direct messages because the channel may be shared."""


def a_busy_slack_is_waited_for(seen: Seen) -> Iterator[str]:
    """A 429 for a moment refuses no person, and sends no card to direct messages."""
    for asked in seen.world.people.asked:
        reply = seen.reply_to(asked) or ""
        if reply in (replies.identity_unavailable(), replies.identity_timeout()) and _was_only_busy(
            _look_ups(seen, asked, "user", asked.person)
        ):
            yield f"{asked.person} is refused {asked.action} over a 429"
        if _KEPT in reply and _was_only_busy(_look_ups(seen, asked, "channel", asked.place)):
            yield f"the card of {asked.action} is kept from {asked.place} over a 429"


def _look_ups(seen: Seen, asked: Asked, what: str, value: str) -> list[Exchange]:
    """Lookups of a user or channel around the time of their command."""
    name = {"user": "users.info", "channel": "conversations.info"}[what]
    begins, ends = asked.action.at - KNOWN_SECONDS, asked.action.delivered_by + IN_FLIGHT_SECONDS
    return [
        exchange
        for exchange in seen.world.wire.log
        if exchange.name == name and exchange.args.get(what) == value and begins <= exchange.at < ends
    ]


def _was_only_busy(look_ups: list[Exchange]) -> bool:
    busy = [exchange for exchange in look_ups if exchange.fate.kind == "busy"]
    others = [exchange for exchange in look_ups if exchange not in busy]
    is_brief = sum(exchange.fate.seconds for exchange in busy) <= WAITED_SECONDS
    return is_brief and bool(busy) and all(e.answered_at is not None and e.outcome == "ok" for e in others)
