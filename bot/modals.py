"""The modals in which people ask, ask on, and name a job to follow: how they look, and what was entered.

Limits and shapes: docs.slack.dev/reference/block-kit and docs.slack.dev/surfaces/modals. An input keeps what was
entered when its modal is drawn anew, as long as its block and its action keep their ids.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.access import is_direct
from bot.ask import Model, ModelId
from bot.mrkdwn import excerpt
from bot.ports import Block
from bot.watch import ChannelId, Place, TeamId, Ts, WatchId

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
_HERE, _PRIVATE = "here", "private"


class NotEntered(ValueError):
    """Something is missing in a modal. `errors` holds a sentence for each block that it concerns."""

    def __init__(self, **errors: str) -> None:
        super().__init__(", ".join(errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Choices:
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


@dataclass(frozen=True, slots=True)
class Asked:
    """What was entered to be asked."""

    prompt: str = field(repr=False)
    model: ModelId | None
    topic: str | None
    private: bool
    place: Place | None
    """Where the modal was opened; None where that was in no conversation."""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What was entered to go on from a card."""

    prompt: str = field(repr=False)
    watch: WatchId
    place: Place
    card: Ts


def ask(place: Place | None, choices: Choices, *, prompt: str = "") -> View:
    """The modal in which a question is asked.

    Args:
        place: where the card can go; None: only to the person's direct messages.
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
    if place is not None and not is_direct(place):
        blocks.append(_where())
    return _view(ASK, "Ask Omni", "Ask", blocks, _placed(place))


def refused(line: str) -> View:
    """The modal of somebody who may not ask. `line` is mrkdwn."""
    return _view(ASK, "Ask Omni", None, [_remark(line)], {})


def follow_up(watch: WatchId, place: Place, card: Ts) -> View:
    """The modal in which one goes on from a card."""
    blocks = [_question("What else do you want to know?", "")]
    kept = _placed(place) | {"watch": watch, "card": card}
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


def entered_question(view: View) -> Asked:
    """What was entered in `ask`. Raises NotEntered."""
    return Asked(
        prompt=_prompt(view),
        model=_chosen_model(view),
        topic=_option(view, TOPIC, TOPIC),
        private=_option(view, WHERE, WHERE) == _PRIVATE,
        place=_place(_kept(view)),
    )


def entered_follow_up(view: View) -> FollowUp:
    """What was entered in `follow_up`. Raises NotEntered."""
    kept = _kept(view)
    place = _place(kept)
    if place is None:
        raise NotEntered(question="This was opened too long ago. Please close it and press the button again.")
    return FollowUp(_prompt(view), WatchId(kept.get("watch", "")), place, Ts(kept.get("card", "")))


def entered_job(view: View) -> str:
    """What was entered in `follow_job`. Raises NotEntered."""
    if not (typed := _typed(view, JOB)):
        raise NotEntered(job="Please enter the id of a job, or the address of a chat.")
    return typed


def chosen_model(view: View) -> ModelId | None:
    """Which model is chosen in a modal that is open."""
    return _chosen_model(view)


def place_of(view: View) -> Place | None:
    """Where a modal was opened."""
    return _place(_kept(view))


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


def _models(choices: Choices) -> Block:
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


def _topics(choices: Choices) -> list[Block]:
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
    here, private = _choice("In this conversation", _HERE), _choice("In my direct messages", _PRIVATE)
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


def _placed(place: Place | None) -> dict[str, str]:
    return {} if place is None else {"team": place.team, "channel": place.channel}


def _place(kept: dict[str, str]) -> Place | None:
    team, channel = kept.get("team"), kept.get("channel")
    return Place(TeamId(team), ChannelId(channel)) if team and channel else None


def _kept(view: View) -> dict[str, str]:
    """What the modal was opened with. Slack hands it back as it was; anything else counts as nothing."""
    try:
        kept = json.loads(view.get("private_metadata") or "{}")
    except ValueError:
        return {}
    return (
        {name: value for name, value in kept.items() if isinstance(value, str)}
        if isinstance(kept, dict)
        else {}
    )


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
        raise NotEntered(question="Please enter a question.")
    return prompt


def _chosen_model(view: View) -> ModelId | None:
    chosen = _option(view, MODEL, CHOOSE_MODEL)
    return ModelId(chosen) if chosen else None
