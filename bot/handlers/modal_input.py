"""What was entered in the modals of `modals`, read from what Slack hands back. Pure."""

import json
from dataclasses import dataclass, field
from typing import Any

from bot.domain import (
    CardId,
    ChannelId,
    ChannelRef,
    InvalidInput,
    MessageTs,
    ModelId,
    NotAJobReference,
    TeamId,
    parse_reference,
)
from bot.rendering import CHOOSE_MODEL, JOB, MODEL, PRIVATELY, QUESTION, TOPIC, WHERE, View


@dataclass(frozen=True, slots=True)
class QuestionInput:
    """What was entered to be asked."""

    prompt: str = field(repr=False)
    model: ModelId | None
    topic: str | None
    private: bool
    place: ChannelRef | None
    """Where the modal was opened; None where that was in no conversation."""


@dataclass(frozen=True, slots=True)
class FollowUpInput:
    """What was entered to go on from a card."""

    prompt: str = field(repr=False)
    watch: CardId
    place: ChannelRef
    card: MessageTs
    thread: MessageTs
    """Where the person is told what came of it."""


def question(view: View) -> QuestionInput:
    """What was entered in `modals.ask`. Raises NotEntered."""
    return QuestionInput(
        prompt=_prompt(view),
        model=chosen_model(view),
        topic=_option(view, TOPIC, TOPIC),
        private=_option(view, WHERE, WHERE) == PRIVATELY,
        place=_place(_kept(view)),
    )


def follow_up(view: View) -> FollowUpInput:
    """What was entered in `modals.follow_up`. Raises NotEntered."""
    kept = _kept(view)
    place = _place(kept)
    if place is None:
        raise InvalidInput(
            question="This was opened too long ago. Please close it and press the button again."
        )
    card = MessageTs(kept.get("card", ""))
    thread = MessageTs(kept.get("thread") or card)
    return FollowUpInput(_prompt(view), CardId(kept.get("watch", "")), place, card, thread)


def job(view: View) -> str:
    """What was entered in `modals.follow_job`. Raises NotEntered."""
    if not (typed := _typed(view, JOB)):
        raise InvalidInput(job="Please enter the id of a job, or the address of a chat.")
    try:
        parse_reference(typed)
    except NotAJobReference as wrong:
        # An error of a modal is plain text.
        raise InvalidInput(job=str(wrong).replace("`", "")) from None
    return typed


def chosen_model(view: View) -> ModelId | None:
    """Which model is chosen in a modal that is open."""
    chosen = _option(view, MODEL, CHOOSE_MODEL)
    return ModelId(chosen) if chosen else None


def place_of(view: View) -> ChannelRef | None:
    """Where a modal was opened."""
    return _place(_kept(view))


def _place(kept: dict[str, str]) -> ChannelRef | None:
    team, channel = kept.get("team"), kept.get("channel")
    return ChannelRef(TeamId(team), ChannelId(channel)) if team and channel else None


def _kept(view: View) -> dict[str, str]:
    """What the modal was opened with. Slack hands it back as it was; anything else counts as nothing."""
    try:
        kept = json.loads(view.get("private_metadata") or "{}")
    except ValueError:
        return {}
    pairs = kept.items() if isinstance(kept, dict) else ()
    return {name: value for name, value in pairs if isinstance(value, str)}


def _values(view: View, block: str) -> dict[str, Any]:
    """What was entered in the blocks of that name; a topic's has its model's id after it."""
    values = (view.get("state") or {}).get("values") or {}
    found: dict[str, Any] = {}
    for name, entered in values.items():
        if name.split(" ", 1)[0] == block:
            found |= entered
    return found


def _typed(view: View, block: str) -> str:
    return str((_values(view, block).get(block) or {}).get("value") or "").strip()


def _option(view: View, block: str, action: str) -> str | None:
    chosen = (_values(view, block).get(action) or {}).get("selected_option") or {}
    value = chosen.get("value")
    return value if isinstance(value, str) and value else None


def _prompt(view: View) -> str:
    if not (prompt := _typed(view, QUESTION)):
        raise InvalidInput(question="Please enter a question.")
    return prompt
