"""Values of a view's inputs, in Slack's format. Pure.

Source: docs.slack.dev/reference/interaction-payloads/view-interactions-payload (`view.state.values`).
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

View = dict[str, Any]
Values = dict[str, dict[str, dict[str, Any]]]
"""block_id → action_id → what is entered there."""

_INITIAL = {
    "plain_text_input": ("value", "initial_value"),
    "static_select": ("selected_option", "initial_option"),
    "external_select": ("selected_option", "initial_option"),
    "conversations_select": ("selected_conversation", "initial_conversation"),
    "radio_buttons": ("selected_option", "initial_option"),
    "checkboxes": ("selected_options", "initial_options"),
}
"""For each type of input: the key of its value in the state, and the field of its initial value."""
KINDS = frozenset(_INITIAL)
"""The types of elements that hold something entered."""
QUERY_LEAST = 3
"""Characters after which an external select asks for its options, where the app says nothing else.
Source: docs.slack.dev, select menu of external data source."""


def with_ids(content: View) -> View:
    """The view with the ids that Slack adds where the app gave none."""
    blocks = [{"block_id": secrets.token_urlsafe(4), **block} for block in content["blocks"]]
    return {**content, "blocks": [_with_action_ids(block) for block in blocks]}


def _with_action_ids(block: View) -> View:
    filled = dict(block)
    for name in ("element", "accessory"):
        if name in filled:
            filled[name] = _with_action_id(filled[name])
    if filled["type"] == "actions":
        filled["elements"] = [_with_action_id(element) for element in filled["elements"]]
    return filled


def _with_action_id(element: View) -> View:
    is_interactive = element.get("type") in (*_INITIAL, "button")
    return {"action_id": secrets.token_urlsafe(4), **element} if is_interactive else dict(element)


def elements(content: View) -> Iterator[tuple[View, View]]:
    """Every block with each of its interactive elements."""
    for block in content["blocks"]:
        inside = [block.get("element"), block.get("accessory"), *block.get("elements", ())]
        for element in inside:
            if isinstance(element, dict) and "action_id" in element:
                yield block, element


def inputs(content: View) -> Iterator[tuple[View, View]]:
    """Every block with each of its elements that hold something entered."""
    for block, element in elements(content):
        if element["type"] in _INITIAL:
            yield block, element


def initial(content: View) -> Values:
    """Initial values of a view's inputs."""
    values: Values = {}
    for block, element in inputs(content):
        entered, first = _INITIAL[element["type"]]
        nothing: Any = [] if element["type"] == "checkboxes" else None
        state = {"type": element["type"], entered: element.get(first, nothing)}
        values.setdefault(block["block_id"], {})[element["action_id"]] = state
    return values


def kept(before: View, values: Values, after: View) -> Values:
    """Values of an updated view's inputs. They are kept if block_id, action_id and type stay.

    Source: docs.slack.dev/reference/views/modal-views (preserving input entry).
    """
    held = initial(after)
    types = {(block["block_id"], element["action_id"]): element["type"] for block, element in inputs(before)}
    for block, element in inputs(after):
        where = (block["block_id"], element["action_id"])
        if types.get(where) == element["type"]:
            held[where[0]][where[1]] = values[where[0]][where[1]]
    return held


def entered(element: View, given: Any, suggested: Sequence[View] = ()) -> dict[str, Any]:
    """The state of an input into which a person enters something: a text, an option's value, a list of values.

    Raises:
        LookupError: no such option is offered.
    """
    kind = element["type"]
    name, _ = _INITIAL[kind]
    if given in (None, "", []):
        return {"type": kind, name: [] if kind == "checkboxes" else None}
    if kind == "checkboxes":
        return {"type": kind, name: [_option(element, each, suggested) for each in given]}
    if kind == "plain_text_input":
        return {"type": kind, name: given}
    if kind == "conversations_select":
        return {"type": kind, name: _option(element, given, suggested)["value"]}
    return {"type": kind, name: _option(element, given, suggested)}


def plainly(state: Mapping[str, Any]) -> str | list[str] | None:
    """Plain value of a state: a text, an option's value, or a list of values."""
    name, _ = _INITIAL[state["type"]]
    held = state[name]
    if isinstance(held, list):
        return [str(option["value"]) for option in held]
    return str(held["value"]) if isinstance(held, dict) else held


def _option(element: View, value: str, suggested: Sequence[View]) -> View:
    offered = [*options(element), *suggested]
    for option in offered:
        if option["value"] == value:
            return option
    raise LookupError(f"no option {value!r}; there are {[option['value'] for option in offered]}")


def options(element: View) -> list[View]:
    """Options of an element, without their groups."""
    groups = element.get("option_groups", ())
    first = element.get("initial_option")
    own = [*element.get("options", ()), *(option for group in groups for option in group["options"])]
    return own or ([first] if first else [])


def complaints(content: View, values: Values) -> dict[str, str]:
    """Errors that Slack's client finds before it submits, by block_id."""
    found = {}
    for block, element in inputs(content):
        if block["type"] != "input":
            continue
        state = values[block["block_id"]][element["action_id"]]
        given = state[_INITIAL[element["type"]][0]]
        if given in (None, "", []):
            if not block.get("optional"):
                found[block["block_id"]] = "Please complete this required field."
        elif element["type"] == "plain_text_input" and (complaint := _length(element, given)):
            found[block["block_id"]] = complaint
    return found


def _length(element: Mapping[str, Any], text: str) -> str | None:
    if len(text) < element.get("min_length", 0):
        return f"Please enter at least {element['min_length']} characters."
    if len(text) > element.get("max_length", TEXT_MOST):
        return f"Please enter at most {element.get('max_length', TEXT_MOST)} characters."
    return None


TEXT_MOST = 3000
"""Characters of a plain_text_input.
Source: docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element."""
