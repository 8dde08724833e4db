"""The modals in which people ask, ask on, and name a job to follow: how they look. What was entered: `entered`.

Limits and shapes: docs.slack.dev/reference/block-kit and docs.slack.dev/surfaces/modals. An input keeps what was
entered when its modal is drawn anew, as long as its block and its action keep their ids.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.domain import Block, CardId, ChannelRef, MessageTs, Model, ModelId, is_direct
from bot.rendering.markdown.mrkdwn import excerpt

View = dict[str, Any]
"""One view, as Slack's JSON."""

ASK = "ask"
FOLLOW_UP = "follow_up"
FOLLOW_JOB = "follow_job"
"""The callback ids of the modals."""
CHOOSE_MODEL = "choose_model"
"""The action id of the model's menu: another model has other topics."""
QUESTION, MODEL, TOPIC, WHERE, JOB = "question", "model", "topic", "where", "job"
"""The blocks of what is entered."""

LONGEST_QUESTION = 3_000
"""Characters. Source: docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element, `max_length`."""
MOST_OPTIONS = 100
"""In one menu. Source: docs.slack.dev/reference/block-kit/block-elements/select-menu-element."""
_LONGEST_OPTION = 75
_LONGEST_VALUE = 150
"""Of an option. Source: docs.slack.dev/reference/block-kit/composition-objects/option-object."""
HERE, PRIVATELY = "here", "private"
"""What can be chosen for where the answer goes."""


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What can be chosen for a question."""

    models: Sequence[Model] = ()
    model: ModelId | None = None
    """The one that is chosen until the person chooses another."""
    topics: Sequence[str] = ()
    """Of that model."""
    is_loading: bool = False
    """They are still being looked up."""
    trouble: str = ""
    """Why nothing can be chosen, in a sentence of ours."""


def ask(channel: ChannelRef | None, choices: ModelOptions, *, prompt: str = "") -> View:
    """The modal in which a question is asked.

    Args:
        channel: where the card can go; None: only to the person's direct messages.
        choices: the models and the chosen one's topics.
        prompt: what stands in it at first.
    """
    blocks = [_question("What do you want to know?", prompt)]
    if choices.trouble:
        blocks.append(_remark(choices.trouble))
    elif choices.is_loading:
        blocks.append(_remark("Looking up the models…"))
    elif choices.models:
        blocks.append(_models(choices))
        if len(choices.models) > MOST_OPTIONS:
            blocks.append(_remark(f"The first {MOST_OPTIONS} of {len(choices.models)} models."))
        blocks += _topics(choices)
    if channel is not None and not is_direct(channel):
        blocks.append(_where())
    return _view(ASK, "Ask Omni", "Ask", blocks, _placed(channel))


def refused(line: str) -> View:
    """The modal of somebody who may not ask. `line` is mrkdwn."""
    return _view(ASK, "Ask Omni", None, [_remark(line)], {})


def follow_up(card_id: CardId, channel: ChannelRef, message_ts: MessageTs, thread: MessageTs) -> View:
    """The modal in which one goes on from a card. `thread`: where the person is told what came of it."""
    blocks = [_question("What else do you want to know?", "")]
    kept = (
        _placed(channel)
        | {"watch": card_id, "card": message_ts}
        | ({"thread": thread} if thread != message_ts else {})
    )
    return _view(FOLLOW_UP, "Ask a follow-up", "Ask", blocks, kept)


def follow_job() -> View:
    """The modal in which one names a job to follow in direct messages."""
    element = {
        "type": "plain_text_input",
        "action_id": JOB,
        "placeholder": _plain("550e8400-e29b-41d4-a716-446655440000"),
    }
    blocks = [
        _input(JOB, "The id of an Omni job, or the address of an Omni chat", element),
        _remark("Its card goes to your direct messages with this app."),
    ]
    return _view(FOLLOW_JOB, "Follow an Omni job", "Follow", blocks, {})


def _view(callback: str, title: str, submit: str | None, blocks: list[Block], kept: dict[str, str]) -> View:
    view: View = {
        "type": "modal",
        "callback_id": callback,
        "title": _plain(title),
        "close": _plain("Cancel" if submit else "Close"),
        "private_metadata": json.dumps(kept, separators=(",", ":")),
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
    """The menu of models. The chosen one is in it also where it comes after what a menu holds."""
    chosen = [model for model in choices.models if model.id == choices.model]
    shown = list(choices.models[:MOST_OPTIONS])
    if chosen and chosen[0] not in shown:
        shown[-1] = chosen[0]
    element = {
        "type": "static_select",
        "action_id": CHOOSE_MODEL,
        "placeholder": _plain("Choose a model"),
        "options": [_choice(model.name, model.id) for model in shown],
    }
    if chosen:
        element["initial_option"] = _choice(chosen[0].name, chosen[0].id)
    return {**_input(MODEL, "Model", element), "dispatch_action": True}


def _topics(choices: ModelOptions) -> list[Block]:
    """The menu of topics, if the chosen model has any; a name that is too long to come back from it is left out."""
    fitting = [name for name in choices.topics if 0 < len(name) <= _LONGEST_VALUE]
    names = list(dict.fromkeys(fitting))[:MOST_OPTIONS]
    if not names:
        return []
    element = {
        "type": "static_select",
        "action_id": TOPIC,
        "placeholder": _plain("Omni picks one"),
        "options": [_choice(name, name) for name in names],
    }
    # Another model's topics are other choices: what was chosen before must not stay chosen.
    block = f"{TOPIC} {choices.model}" if choices.model else TOPIC
    return [{**_input(block, "Topic", element), "optional": True}]


def _where() -> Block:
    here, private = _choice("In this conversation", HERE), _choice("In my direct messages", PRIVATELY)
    element = {
        "type": "radio_buttons",
        "action_id": WHERE,
        "options": [here, private],
        "initial_option": here,
    }
    return _input(WHERE, "Where the answer goes", element)


def _input(block: str, label: str, element: Block) -> Block:
    return {"type": "input", "block_id": block, "label": _plain(label), "element": element}


def _remark(mrkdwn: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": mrkdwn, "verbatim": True}]}


def _choice(name: str, value: str) -> Block:
    return {"text": _plain(excerpt(name, _LONGEST_OPTION, 1) or "(no name)"), "value": value}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}


def _placed(channel: ChannelRef | None) -> dict[str, str]:
    return {} if channel is None else {"team": channel.team, "channel": channel.id}
