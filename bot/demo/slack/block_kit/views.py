"""The shape and size of views, and of the inputs that only they hold, judged as Slack's API judges them. Pure.

Only what the bot may use is known; anything else is an unsupported type. Sources, where nothing else is said:
docs.slack.dev/reference/views/modal-views and home-tab-views, the pages of the elements under
docs.slack.dev/reference/block-kit/block-and the limits that slack_sdk 3.47 keeps in `slack_sdk/models`.
"""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain

from bot.demo.slack.block_kit.blocks import (
    BUTTON,
    CONFIRM,
    IMAGE_ELEMENT,
    Check,
    any_text,
    array,
    boolean,
    integer,
    obj,
    one_of,
    plain_text,
    string,
    typed,
)
from bot.demo.slack.block_kit.blocks import block as message_block
from bot.demo.slack.block_kit.messages import Malformed, Refusal, decode, values_of
from bot.demo.slack.block_kit.view_state import TEXT_MOST, options

BLOCKS_MOST = 100
"""Blocks in a view."""
BYTES_MOST = 250_000
"""The whole view as JSON. Source: docs.slack.dev/reference/methods/views.publish, "250kb"."""
OPTIONS_MOST = 100
"""Options of a select menu, also of one that the app is asked for."""
_CHOICES_MOST = 10


def _text(most: int) -> Check:
    """A string of at most `most` characters, which may be empty."""
    length = string(most)

    def check(value: object, at: str) -> Iterator[str]:
        if value != "":
            yield from length(value, at)

    return check


def _between(least: int, most: int) -> Check:
    def check(value: object, at: str) -> Iterator[str]:
        problems = list(integer(value, at))
        yield from problems
        if not problems and isinstance(value, int) and not least <= value <= most:
            yield f"must be between {least} and {most} [json-pointer:{at}]"

    return check


_OPTION = obj({"text": plain_text(75), "value": string(150)}, {"description": plain_text(75)})
_CHOICE = obj({"text": any_text(75), "value": string(150)}, {"description": any_text(75)})
_GROUP = obj({"label": plain_text(75), "options": array(_OPTION, OPTIONS_MOST)})
_COMMON = {"action_id": string(255), "focus_on_load": boolean}
_MENU = {**_COMMON, "placeholder": plain_text(150), "confirm": CONFIRM}


def _one_source(value: object, at: str) -> Iterator[str]:
    if isinstance(value, dict) and len(value.keys() & {"options", "option_groups"}) != 1:
        yield f"must define either `options` or `option_groups` [json-pointer:{at}]"


def _offered(value: object, at: str) -> Iterator[str]:
    """Initial choices are among the options, and option values are unique (Slack may be less strict)."""
    if not isinstance(value, dict):
        return
    on_offer = options({name: each for name, each in value.items() if not name.startswith("initial")})
    first = value.get("initial_options") or [value.get("initial_option")]
    if any(option is not None and option not in on_offer for option in first):
        yield f"the initial option is not among the options [json-pointer:{at}]"
    for given, times in Counter(option["value"] for option in on_offer).items():
        if times > 1:
            yield f"option value `{given}` already exists [json-pointer:{at}]"


def _well_formed_first(shape: Check, *more: Check) -> Check:
    """Look closer only at what has the right shape."""

    def check(value: object, at: str) -> Iterator[str]:
        problems = list(shape(value, at))
        yield from problems
        if not problems:
            for other in more:
                yield from other(value, at)

    return check


_KINDS_OF_CONVERSATIONS = array(one_of("im", "mpim", "private", "public"), 4)


def _not_empty(value: object, at: str) -> Iterator[str]:
    if value == {}:
        yield f"must have at least one field [json-pointer:{at}]"


_FILTER = _well_formed_first(
    obj(
        {},
        {
            "include": _KINDS_OF_CONVERSATIONS,
            "exclude_external_shared_channels": boolean,
            "exclude_bot_users": boolean,
        },
    ),
    _not_empty,
)
"""Source: docs.slack.dev/reference/block-kit/composition-objects/conversation-filter-object."""

_SELECTS: dict[str, Check] = {
    "static_select": _well_formed_first(
        obj(
            {},
            {
                **_MENU,
                "options": array(_OPTION, OPTIONS_MOST),
                "option_groups": array(_GROUP, OPTIONS_MOST),
                "initial_option": _OPTION,
            },
        ),
        _one_source,
        _offered,
    ),
    "conversations_select": obj(
        {},
        {
            **_MENU,
            "initial_conversation": string(255),
            "default_to_current_conversation": boolean,
            "response_url_enabled": boolean,
            "filter": _FILTER,
        },
    ),
    "external_select": obj({}, {**_MENU, "min_query_length": _between(0, 3000), "initial_option": _OPTION}),
    "radio_buttons": _well_formed_first(
        obj(
            {"options": array(_CHOICE, _CHOICES_MOST)},
            {**_COMMON, "confirm": CONFIRM, "initial_option": _CHOICE},
        ),
        _offered,
    ),
    "checkboxes": _well_formed_first(
        obj(
            {"options": array(_CHOICE, _CHOICES_MOST)},
            {**_COMMON, "confirm": CONFIRM, "initial_options": array(_CHOICE, _CHOICES_MOST)},
        ),
        _offered,
    ),
}


def _text_lengths(value: object, at: str) -> Iterator[str]:
    if isinstance(value, dict) and value.get("min_length", 0) > value.get("max_length", TEXT_MOST):
        yield f"min_length must not be greater than max_length [json-pointer:{at}]"


_TEXT_INPUT = _well_formed_first(
    obj(
        {},
        {
            **_COMMON,
            "placeholder": plain_text(150),
            "initial_value": _text(TEXT_MOST),
            "multiline": boolean,
            "min_length": _between(0, TEXT_MOST),
            "max_length": _between(1, TEXT_MOST),
            "dispatch_action_config": obj(
                {"trigger_actions_on": array(one_of("on_enter_pressed", "on_character_entered"), 2)}
            ),
        },
    ),
    _text_lengths,
)

_INPUT = obj(
    {"label": plain_text(2000), "element": typed({**_SELECTS, "plain_text_input": _TEXT_INPUT})},
    {"block_id": string(255), "hint": plain_text(2000), "optional": boolean, "dispatch_action": boolean},
)


def _section(value: object, at: str) -> Iterator[str]:
    """A section as in messages, whose accessory may also be a select."""
    accessory = value.get("accessory") if isinstance(value, dict) else None
    if not isinstance(value, dict) or accessory is None:
        yield from message_block(value, at)
        return
    yield from message_block({name: each for name, each in value.items() if name != "accessory"}, at)
    yield from typed({**_SELECTS, "button": BUTTON, "image": IMAGE_ELEMENT})(accessory, f"{at}/accessory")


_BLOCK = typed(
    {
        "section": _section,
        "actions": obj(
            {"elements": array(typed({**_SELECTS, "button": BUTTON}), 25)}, {"block_id": string(255)}
        ),
        "input": _INPUT,
        **dict.fromkeys(("divider", "header", "context", "image", "rich_text"), message_block),
    }
)

_BLOCKS = {"blocks": array(_BLOCK, BLOCKS_MOST)}
_ANY_VIEW = {"private_metadata": _text(3000), "callback_id": _text(255), "external_id": _text(255)}
_SHAPE = typed(
    {
        "modal": obj(
            {**_BLOCKS, "title": plain_text(24)},
            {
                **_ANY_VIEW,
                "submit": plain_text(24),
                "close": plain_text(24),
                "clear_on_close": boolean,
                "notify_on_close": boolean,
            },
        ),
        "home": obj(_BLOCKS, _ANY_VIEW),
    }
)


def judge(view: object, *, kind: str) -> Refusal | None:
    """Judge a view of a kind, "modal" or "home"; None if Slack would take it."""
    try:
        decoded = decode(view)
    except Malformed:
        decoded = None
    if not isinstance(decoded, dict):
        return Refusal("invalid_arguments", ("must provide an object [json-pointer:/view]",))
    if len(json.dumps(decoded, ensure_ascii=False).encode("utf-8", "surrogatepass")) > BYTES_MOST:
        return Refusal("view_too_large")
    problems = list(_well_formed_first(_SHAPE, _whole)(decoded, "/view"))
    if decoded.get("type") != kind:
        problems.append(f"must be a view of type {kind} [json-pointer:/view/type]")
    return Refusal("invalid_arguments", tuple(problems)) if problems else None


def _whole(view: object, at: str) -> Iterator[str]:
    """Check the view as a whole."""
    assert isinstance(view, dict)
    yield from _repeated(view["blocks"], "block_id", f"{at}/blocks")
    for index, block in enumerate(view["blocks"]):
        yield from _repeated(block, "action_id", f"{at}/blocks/{index}")
    has_input = any(block["type"] == "input" for block in view["blocks"])
    if view["type"] == "modal" and has_input and "submit" not in view:
        yield f"missing required field: submit [json-pointer:{at}]"
    inside = [[block.get("element"), block.get("accessory")] for block in view["blocks"]]
    if sum(1 for each in chain.from_iterable(inside) if each and each.get("focus_on_load")) > 1:
        yield f"only one element may have `focus_on_load` [json-pointer:{at}/blocks]"


def _repeated(node: object, key: str, at: str) -> Iterator[str]:
    """A block_id is there once in a view, an action_id once in a block."""
    for value, times in Counter(values_of(node, key)).items():
        if times > 1:
            yield f"{key} `{value}` already exists [json-pointer:{at}]"


def judge_options(answer: object) -> Refusal | None:
    """Judge what an app answers to a `block_suggestion`: options or groups of them."""
    shape = _well_formed_first(
        obj(
            {},
            {"options": _none_or(array(_OPTION, OPTIONS_MOST)), "option_groups": array(_GROUP, OPTIONS_MOST)},
        ),
        _one_source,
    )
    problems = tuple(shape(answer, ""))
    return Refusal("invalid_arguments", problems) if problems else None


def _none_or(check: Check) -> Check:
    """An empty list says that nothing matches."""

    def checked(value: object, at: str) -> Iterator[str]:
        if value != []:
            yield from check(value, at)

    return checked
