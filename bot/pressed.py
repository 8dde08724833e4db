"""The watch of a card whose button was pressed. The button names one, and is never believed."""

import asyncio

from bot.ports import Watches
from bot.watch import Place, Ts, Watch, WatchId

LOOKS_AGAIN_AFTER_SECONDS = (0.2, 0.4, 0.8)
"""When to look again for a card that can be pressed already and is not stored yet."""


async def pressed_card(watches: Watches, watch: WatchId, place: Place, card: Ts) -> Watch | None:
    """The watch, if it is that card's. Raises StoreUnavailable."""
    known = await watches.get(watch)
    for seconds in LOOKS_AGAIN_AFTER_SECONDS:
        if known is None or known.place != place or known.card is not None or known.card_tried_at is None:
            break
        await asyncio.sleep(seconds)
        known = await watches.get(watch)
    return known if known is not None and known.is_of(place, card) else None
