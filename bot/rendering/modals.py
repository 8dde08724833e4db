"""The modals for asking a question, asking a follow-up, following a job, and sharing or removing an answer.

`handlers.modal_input` reads their input.

Limits and shapes: docs.slack.dev/reference/block-kit and docs.slack.dev/surfaces/modals. When a modal is updated, an
input keeps its value as long as its block id and action id stay the same.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.domain import Block, CardId, ChannelRef, MessageTs, Model, ModelId, is_direct
from bot.rendering.markdown.mrkdwn import excerpt

View = dict[str, Any]
"""A view in Slack's JSON."""

ASK = "ask"
FOLLOW_UP = "follow_up"
FOLLOW_JOB = "follow_job"
EXPLAIN_RATING = "explain_rating"
SHARE = "share"
REMOVE = "remove"
"""The callback ids of the modals."""
CHOOSE_MODEL = "choose_model"
"""The action id of the model menu. Each model has its own topics."""
QUESTION, MODEL, TOPIC, WHERE, JOB, CHANNEL = "question", "model", "topic", "where", "job", "channel"
REASON, FOR_CHANNEL = "reason", "for_channel"
"""The block ids of the inputs."""

LONGEST_QUESTION = 3_000
"""Characters. Source: docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element, `max_length`."""
LONGEST_REASON = 1_000
"""Characters of a reason for a rating: a few sentences."""
MOST_OPTIONS = 100
"""Options in a menu. Source: docs.slack.dev/reference/block-kit/block-elements/select-menu-element."""
_LONGEST_OPTION = 75
_LONGEST_VALUE = 150
"""Characters of an option. Source: docs.slack.dev/reference/block-kit/composition-objects/option-object."""
HERE, PRIVATELY = "here", "private"
"""The options for where the answer goes."""


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """The models and topics a user can choose from."""

    models: Sequence[Model] = ()
    model: ModelId | None = None
    """The preselected model."""
    topics: Sequence[str] = ()
    """The topics of the preselected model."""
    topic: str | None = None
    """The preselected topic."""
    is_loading: bool = False
    """The models are still being loaded."""
    trouble: str = ""
    """Why there is nothing to choose from, as mrkdwn."""


def ask(
    channel: ChannelRef | None, choices: ModelOptions, *, prompt: str = "", is_admin: bool = False
) -> View:
    """Render the modal for asking a question.

    Args:
        channel: where the card can go; None: only to the user's direct messages.
        choices: the models, and the topics of the preselected one.
        prompt: the initial question.
        is_admin: the user may choose the model for everyone in the channel.
    """
    is_in_channel = channel is not None and not is_direct(channel)
    blocks = [_question("What do you want to know?", prompt)]
    if choices.trouble:
        blocks.append(_context(choices.trouble))
    elif choices.is_loading:
        blocks.append(_context("Loading the models…"))
    elif choices.models:
        blocks.append(_models(choices))
        if len(choices.models) > MOST_OPTIONS:
            blocks.append(_context(f"Showing the first {MOST_OPTIONS} of {len(choices.models)} models."))
        blocks += _topics(choices)
        if is_admin and is_in_channel:
            blocks.append(_for_channel())
    if is_in_channel:
        blocks.append(_where())
    return _view(ASK, "Ask Omni", "Ask", blocks, _channel_metadata(channel))


def refused(line: str, title: str = "Ask Omni") -> View:
    """Render the modal for a user who may not use it. `line` is mrkdwn."""
    return _view(ASK, title, None, [_context(line)], {})


def follow_up(card_id: CardId, channel: ChannelRef, message_ts: MessageTs, thread: MessageTs) -> View:
    """Render the modal for a follow-up. `thread`: where the ephemeral reply goes."""
    blocks = [_question("What else do you want to know?", "")]
    metadata = _card_metadata(card_id, channel, message_ts)
    metadata |= {"thread": thread} if thread != message_ts else {}
    return _view(FOLLOW_UP, "Ask a follow-up", "Ask", blocks, metadata)


def share(card_id: CardId, channel: ChannelRef, message_ts: MessageTs) -> View:
    """Render the modal that asks to which channel an answer is shared. `channel`: where its card is.

    Slack offers all channels that the user can see. Whether user and bot are members is checked afterwards. Source:
    docs.slack.dev/reference/block-kit/composition-objects/conversation-filter-object.
    """
    element = {
        "type": "conversations_select",
        "action_id": CHANNEL,
        "placeholder": _plain("Choose a channel"),
        "filter": {"include": ["public", "private"], "exclude_external_shared_channels": True},
    }
    blocks = [
        _input(CHANNEL, "Channel", element),
        _context(
            "I post the question and its answer there once, as shared by you. You and I must both be members."
        ),
    ]
    return _view(SHARE, "Share to channel", "Share", blocks, _card_metadata(card_id, channel, message_ts))


def follow_job() -> View:
    """Render the modal for following a job in direct messages."""
    element = {
        "type": "plain_text_input",
        "action_id": JOB,
        "placeholder": _plain("550e8400-e29b-41d4-a716-446655440000"),
    }
    blocks = [
        _input(JOB, "Omni job ID or chat link", element),
        _context("I'll post the card in your direct messages."),
    ]
    return _view(FOLLOW_JOB, "Follow an Omni job", "Follow", blocks, {})


def explain_rating(card_id: CardId, channel: ChannelRef, message_ts: MessageTs) -> View:
    """Render the modal that asks why an answer is not helpful."""
    element = {
        "type": "plain_text_input",
        "action_id": REASON,
        "multiline": True,
        "max_length": LONGEST_REASON,
        "focus_on_load": True,
    }
    blocks = [
        _input(REASON, "What was missing or wrong?", element),
        _context("The people who run this bot read it. The answer itself is not sent to them."),
    ]
    metadata = _channel_metadata(channel) | {"watch": card_id, "card": message_ts}
    return _view(EXPLAIN_RATING, "Not helpful", "Send", blocks, metadata)


def _view(
    callback: str, title: str, submit: str | None, blocks: list[Block], metadata: dict[str, str]
) -> View:
    view: View = {
        "type": "modal",
        "callback_id": callback,
        "title": _plain(title),
        "close": _plain("Cancel" if submit else "Close"),
        "private_metadata": json.dumps(metadata, separators=(",", ":")),
        "blocks": blocks,
    }
    return view | ({"submit": _plain(submit)} if submit else {})


def _question(label: str, prompt: str) -> Block:
    element = {
        "type": "plain_text_input",
        "action_id": QUESTION,
        "multiline": True,
        "max_length": LONGEST_QUESTION,
        "focus_on_load": True,
    }
    if prompt:
        element["initial_value"] = prompt[:LONGEST_QUESTION]
    return _input(QUESTION, label, element)


def _models(choices: ModelOptions) -> Block:
    # The chosen model is always an option, also where it comes after the first MOST_OPTIONS.
    chosen = [model for model in choices.models if model.id == choices.model]
    shown = list(choices.models[:MOST_OPTIONS])
    if chosen and chosen[0] not in shown:
        shown[-1] = chosen[0]
    element = {
        "type": "static_select",
        "action_id": CHOOSE_MODEL,
        "placeholder": _plain("Choose a model"),
        "options": [_option(model.name, model.id) for model in shown],
    }
    if chosen:
        element["initial_option"] = _option(chosen[0].name, chosen[0].id)
    return {**_input(MODEL, "Model", element), "dispatch_action": True}


def _topics(choices: ModelOptions) -> list[Block]:
    # A name longer than an option's value can't be read back, so it is left out.
    fitting = [name for name in choices.topics if 0 < len(name) <= _LONGEST_VALUE]
    names = list(dict.fromkeys(fitting))[:MOST_OPTIONS]
    if not names:
        return []
    element = {
        "type": "static_select",
        "action_id": TOPIC,
        "placeholder": _plain("Let Omni choose"),
        "options": [_option(name, name) for name in names],
    }
    if choices.topic in names and choices.topic:
        element["initial_option"] = _option(choices.topic, choices.topic)
    # The block id changes with the model, so that Slack drops a chosen topic of another model.
    block = f"{TOPIC} {choices.model}" if choices.model else TOPIC
    return [{**_input(block, "Topic", element), "optional": True}]


def _for_channel() -> Block:
    everyone = _option("Use this model and topic for everyone's questions in this channel", FOR_CHANNEL)
    element = {"type": "checkboxes", "action_id": FOR_CHANNEL, "options": [everyone]}
    return {**_input(FOR_CHANNEL, "For this channel", element), "optional": True}


def _where() -> Block:
    here, private = _option("In this conversation", HERE), _option("In my direct messages", PRIVATELY)
    element = {
        "type": "radio_buttons",
        "action_id": WHERE,
        "options": [here, private],
        "initial_option": here,
    }
    return _input(WHERE, "Where the answer goes", element)


def _input(block: str, label: str, element: Block) -> Block:
    return {"type": "input", "block_id": block, "label": _plain(label), "element": element}


def _context(mrkdwn: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": mrkdwn, "verbatim": True}]}


def _option(name: str, value: str) -> Block:
    return {"text": _plain(excerpt(name, _LONGEST_OPTION, 1) or "(no name)"), "value": value}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}


def remove(card_id: CardId, channel: ChannelRef, message_ts: MessageTs) -> View:
    """Render the modal that confirms the removal of an answer. A menu has one confirmation for all of its options."""
    blocks = [
        _context(
            "The card then only says that you removed it. My replies and files in its thread are deleted: the rest "
            "of a long answer, charts, data and steps. What others wrote stays, and so does the answer in Omni. "
            "This can't be undone."
        )
    ]
    return _view(
        REMOVE, "Remove this answer?", "Remove", blocks, _card_metadata(card_id, channel, message_ts)
    )


def _card_metadata(card_id: CardId, channel: ChannelRef, message_ts: MessageTs) -> dict[str, str]:
    return _channel_metadata(channel) | {"watch": card_id, "card": message_ts}


def _channel_metadata(channel: ChannelRef | None) -> dict[str, str]:
    return {} if channel is None else {"team": channel.team, "channel": channel.id}
