"""Parses the input of submitted modals."""

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
from bot.rendering import (
    CHANNEL,
    CHOOSE_MODEL,
    FOR_CHANNEL,
    JOB,
    MODEL,
    PRIVATELY,
    QUESTION,
    REASON,
    TOPIC,
    WHERE,
    View,
)

_OPENED_LONG_AGO = "This was opened too long ago. Please close it and press the button again."


@dataclass(frozen=True, slots=True)
class QuestionInput:
    """Input of the modal for a question."""

    prompt: str = field(repr=False)
    model: ModelId | None
    topic: str | None
    private: bool
    channel: ChannelRef | None
    """The channel in which the modal was opened, if any."""
    for_channel: bool = False
    """Whether the model and topic become the channel's default."""


@dataclass(frozen=True, slots=True)
class FollowUpInput:
    """Input of the modal for a follow-up."""

    prompt: str = field(repr=False)
    card: CardId
    channel: ChannelRef
    message_ts: MessageTs
    """The card's message."""
    thread: MessageTs
    """The thread in which the user gets the reply."""


@dataclass(frozen=True, slots=True)
class ReasonInput:
    """Input of the modal that asks for the reason of a rating."""

    reason: str = field(repr=False)
    card: CardId
    channel: ChannelRef
    message_ts: MessageTs
    """The card's message."""


@dataclass(frozen=True, slots=True)
class ShareInput:
    """Input of the modal for sharing an answer."""

    card: CardId
    channel: ChannelRef
    """Where the card is."""
    message_ts: MessageTs
    """The card's message."""
    target: ChannelRef
    """The channel that the user picked."""


def question(view: View) -> QuestionInput:
    """Parse the input of `modals.ask`. Raises InvalidInput."""
    model = chosen_model(view)
    return QuestionInput(
        prompt=_prompt(view),
        model=model,
        topic=_topic(view, model),
        for_channel=bool((_values(view, FOR_CHANNEL).get(FOR_CHANNEL) or {}).get("selected_options")),
        private=_option(view, WHERE, WHERE) == PRIVATELY,
        channel=channel_of(view),
    )


def follow_up(view: View) -> FollowUpInput:
    """Parse the input of `modals.follow_up`. Raises InvalidInput."""
    kept, channel = _kept(view), channel_of(view)
    if channel is None:
        raise InvalidInput(question=_OPENED_LONG_AGO)
    message_ts = MessageTs(kept.get("card", ""))
    thread = MessageTs(kept.get("thread") or message_ts)
    return FollowUpInput(_prompt(view), CardId(kept.get("watch", "")), channel, message_ts, thread)


def clicked_card(view: View) -> tuple[CardId, ChannelRef, MessageTs] | None:
    """Return the card whose menu opened a modal: its id, channel and message; None if the metadata is malformed."""
    kept, channel = _kept(view), channel_of(view)
    if channel is None:
        return None
    return CardId(kept.get("watch", "")), channel, MessageTs(kept.get("card", ""))


def share(view: View) -> ShareInput:
    """Parse the input of `modals.share`. Raises InvalidInput."""
    if (clicked := clicked_card(view)) is None:
        raise InvalidInput(channel=_OPENED_LONG_AGO)
    card_id, channel, message_ts = clicked
    target = str((_values(view, CHANNEL).get(CHANNEL) or {}).get("selected_conversation") or "").strip()
    if not target:
        raise InvalidInput(channel="Please choose a channel.")
    return ShareInput(card_id, channel, message_ts, ChannelRef(channel.team, ChannelId(target)))


def job(view: View) -> str:
    """Parse the input of `modals.follow_job`. Raises InvalidInput."""
    if not (typed := _typed(view, JOB)):
        raise InvalidInput(job="Please enter the id of a job, or the address of a chat.")
    try:
        parse_reference(typed)
    except NotAJobReference as wrong:
        # An error of a modal is plain text.
        raise InvalidInput(job=str(wrong).replace("`", "")) from None
    return typed


def rating_reason(view: View) -> ReasonInput:
    """Parse the input of `modals.explain_rating`. Raises InvalidInput."""
    if (clicked := clicked_card(view)) is None:
        raise InvalidInput(reason=_OPENED_LONG_AGO)
    if not (reason := _typed(view, REASON)):
        raise InvalidInput(reason="Please say what was missing or wrong.")
    return ReasonInput(reason, *clicked)


def chosen_model(view: View) -> ModelId | None:
    """Return the model that is selected in a modal."""
    chosen = _option(view, MODEL, CHOOSE_MODEL)
    return ModelId(chosen) if chosen else None


def channel_of(view: View) -> ChannelRef | None:
    """Return the channel in which a modal was opened."""
    kept = _kept(view)
    team, channel = kept.get("team"), kept.get("channel")
    return ChannelRef(TeamId(team), ChannelId(channel)) if team and channel else None


def _kept(view: View) -> dict[str, str]:
    """Parse the metadata that the modal was opened with. Malformed metadata counts as none."""
    try:
        kept = json.loads(view.get("private_metadata") or "{}")
    except ValueError:
        return {}
    pairs = kept.items() if isinstance(kept, dict) else ()
    return {name: value for name, value in pairs if isinstance(value, str)}


def _values(view: View, block: str) -> dict[str, Any]:
    """Return the input of the blocks with this name. The id of a topic's block also has its model's id."""
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


def _topic(view: View, model: ModelId | None) -> str | None:
    """Return the chosen topic. One of another model may still be shown if the model was changed just before."""
    block = f"{TOPIC} {model}" if model else TOPIC
    values = (view.get("state") or {}).get("values") or {}
    return _option({"state": {"values": {TOPIC: values.get(block) or {}}}}, TOPIC, TOPIC)


def _prompt(view: View) -> str:
    if not (prompt := _typed(view, QUESTION)):
        raise InvalidInput(question="Please enter a question.")
    return prompt
