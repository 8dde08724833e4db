"""The shape and size of single Block Kit blocks, judged as Slack's API judges them.

Pure. Only blocks and elements that the bot may use in a message are known; everything else is an
unsupported type, also what Slack would take elsewhere (`alert` and `input` belong in modals).

Numbers without another source: docs.slack.dev/reference/block-kit and the limits that slack_sdk 3.47
keeps in `slack_sdk/models/blocks`. Lengths are counted in code points; what Slack counts is not documented.
"""

import re
from collections.abc import Callable, Iterator, Mapping

Check = Callable[[object, str], Iterator[str]]
"""Takes a value and the JSON pointer to it; yields what is wrong, worded as Slack words it."""

_FILE_ID = re.compile(r"F[A-Z0-9]{8,}")
_HTTP_URL = re.compile(r"https?://[^\s/?#]+\S*", re.IGNORECASE)


def string(most: int) -> Check:
    """A string of 1 to `most` characters. An empty one is refused (getnao/nao#579)."""

    def check(value: object, at: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield f"must be a string [json-pointer:{at}]"
        elif not value:
            yield f"must be more than 0 characters [json-pointer:{at}]"
        elif len(value) > most:
            yield f"must be less than {most + 1} characters [json-pointer:{at}]"

    return check


def url(most: int) -> Check:
    """An http or https address of at most `most` characters."""
    length = string(most)

    def check(value: object, at: str) -> Iterator[str]:
        yield from length(value, at)
        if isinstance(value, str) and value and not _HTTP_URL.fullmatch(value):
            yield f"invalid url [json-pointer:{at}]"

    return check


def _link_url(value: object, at: str) -> Iterator[str]:
    """The address of a link in rich text: web or mail, as Slack's own editor makes them."""
    is_mail = isinstance(value, str) and value.startswith("mailto:")
    yield from (string(3000) if is_mail else url(3000))(value, at)


def _file_id(value: object, at: str) -> Iterator[str]:
    """The id of a file. Source of the words: slackapi/python-slack-sdk#1521."""
    yield from string(255)(value, at)
    if isinstance(value, str) and value and not _FILE_ID.fullmatch(value):
        yield f"input must match regex pattern: ^[F][A-Z0-9]{{8,}}$ [json-pointer:{at}]"


def boolean(value: object, at: str) -> Iterator[str]:
    """True or false."""
    if not isinstance(value, bool):
        yield f"must be a boolean [json-pointer:{at}]"


def integer(value: object, at: str) -> Iterator[str]:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        yield f"must be an integer [json-pointer:{at}]"


def anything(value: object, at: str) -> Iterator[str]:
    """Checks that Slack does not document."""
    yield from ()


def _up_to(most: int) -> Check:
    """A whole number from 0."""

    def check(value: object, at: str) -> Iterator[str]:
        yield from integer(value, at)
        if isinstance(value, int) and not 0 <= value <= most:
            yield f"must be between 0 and {most} [json-pointer:{at}]"

    return check


def one_of(*words: str) -> Check:
    """One of a few fixed strings."""

    def check(value: object, at: str) -> Iterator[str]:
        if value not in words:
            yield f"must be a valid enum value [json-pointer:{at}]"

    return check


def array(item: Check, most: int, least: int = 1) -> Check:
    """A list of `least` to `most` items."""

    def check(value: object, at: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"must provide an array [json-pointer:{at}]"
            return
        if len(value) < least:
            yield f"no fewer than {least} items allowed [json-pointer:{at}]"
        if len(value) > most:
            yield f"no more than {most} items allowed [json-pointer:{at}]"
        for index, each in enumerate(value):
            yield from item(each, f"{at}/{index}")

    return check


def obj(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with exactly these keys, besides `type`. Others are refused (slackapi/bolt-js#1891)."""
    known = {**required, **(optional or {})}

    def check(value: object, at: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"must provide an object [json-pointer:{at}]"
            return
        for key in value:
            if key != "type" and key not in known:
                yield f"invalid additional property: {key} [json-pointer:{at}]"
        for key in required:
            if key not in value:
                yield f"missing required field: {key} [json-pointer:{at}]"
        for key, inner in known.items():
            if key in value:
                yield from inner(value[key], f"{at}/{key}")

    return check


def typed(kinds: Mapping[str, Check]) -> Check:
    """An object whose `type` says which of the kinds it is."""

    def check(value: object, at: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"must provide an object [json-pointer:{at}]"
            return
        kind = value.get("type")
        if kind is None:
            yield f"missing required field: type [json-pointer:{at}]"
        elif not isinstance(kind, str) or kind not in kinds:
            yield f"unsupported type: {kind} [json-pointer:{at}/type]"
        else:
            yield from kinds[kind](value, at)

    return check


def _all_or_schema(inner: Check) -> Check:
    """Slack precedes what is wrong inside a text object by one line about the object itself."""

    def check(value: object, at: str) -> Iterator[str]:
        problems = list(inner(value, at))
        if problems:
            yield f"failed to match all allowed schemas [json-pointer:{at}]"
            yield from problems

    return check


def plain_text(most: int) -> Check:
    """A `plain_text` object."""
    return _all_or_schema(typed({"plain_text": obj({"text": string(most)}, {"emoji": boolean})}))


def any_text(most: int) -> Check:
    """A `plain_text` or `mrkdwn` object."""
    plain = obj({"text": string(most)}, {"emoji": boolean})
    mrkdwn = obj({"text": string(most)}, {"verbatim": boolean})
    return _all_or_schema(typed({"plain_text": plain, "mrkdwn": mrkdwn}))


_BLOCK_ID = {"block_id": string(255)}
_IMAGE = {"alt_text": string(2000)}
_IMAGE_SOURCE = {"image_url": url(3000)}
_SLACK_FILE = obj({}, {"id": _file_id, "url": url(3000)})

CONFIRM = obj(
    {
        "title": plain_text(100),
        "text": any_text(300),
        "confirm": plain_text(30),
        "deny": plain_text(30),
    },
    {"style": one_of("primary", "danger")},
)

BUTTON = obj(
    {"text": plain_text(75)},
    {
        "action_id": string(255),
        "url": url(3000),
        "value": string(2000),
        "style": one_of("primary", "danger"),
        "confirm": CONFIRM,
        "accessibility_label": string(75),
    },
)
_MENU_OPTION = obj({"text": plain_text(75), "value": string(150)}, {"url": url(3000)})
OVERFLOW = obj({"options": array(_MENU_OPTION, 5, least=2)}, {"action_id": string(255), "confirm": CONFIRM})
"""Source: docs.slack.dev/reference/block-kit/block-elements/overflow-menu-element, 2 to 5 options."""
_FEEDBACK = obj({"text": plain_text(75), "value": string(2000)}, {"accessibility_label": string(75)})
_FEEDBACK_BUTTONS = obj(
    {"positive_button": _FEEDBACK, "negative_button": _FEEDBACK}, {"action_id": string(255)}
)
"""Source: docs.slack.dev/reference/block-kit/block-elements/feedback-buttons-element."""
_ICON_BUTTON = obj(
    {"icon": one_of("trash"), "text": plain_text(75)},
    {"action_id": string(255), "value": string(2000), "confirm": CONFIRM, "accessibility_label": string(75)},
)
CONTEXT_ACTIONS = obj(
    {"elements": array(typed({"feedback_buttons": _FEEDBACK_BUTTONS, "icon_button": _ICON_BUTTON}), 5)},
    {"block_id": string(255)},
)
"""For messages only. Source: docs.slack.dev/reference/block-kit/blocks/context-actions-block."""
IMAGE_ELEMENT = obj({**_IMAGE, **_IMAGE_SOURCE})

_STYLE = obj({}, dict.fromkeys(("bold", "italic", "strike", "code", "underline"), boolean))
_INLINE = typed(
    {
        "text": obj({"text": string(12_000)}, {"style": _STYLE}),
        "link": obj({"url": _link_url}, {"text": string(12_000), "unsafe": boolean, "style": _STYLE}),
        "emoji": obj({"name": string(255)}, {"unicode": string(255), "style": _STYLE}),
        "user": obj({"user_id": string(255)}, {"style": _STYLE}),
        "channel": obj({"channel_id": string(255)}, {"style": _STYLE}),
        "usergroup": obj({"usergroup_id": string(255)}, {"style": _STYLE}),
        "broadcast": obj({"range": one_of("here", "channel", "everyone")}, {"style": _STYLE}),
        "date": obj(
            {"timestamp": integer, "format": string(255)},
            {"url": url(3000), "fallback": string(255), "style": _STYLE},
        ),
        "color": obj({"value": string(7)}),
    }
)
_MANY = 10_000
_SECTION_OF_RICH_TEXT = obj({"elements": array(_INLINE, _MANY)})
_RICH_TEXT = obj(
    {
        "elements": array(
            typed(
                {
                    "rich_text_section": _SECTION_OF_RICH_TEXT,
                    "rich_text_quote": obj({"elements": array(_INLINE, _MANY)}, {"border": integer}),
                    "rich_text_preformatted": obj(
                        {"elements": array(_INLINE, _MANY)}, {"border": integer, "language": string(255)}
                    ),
                    "rich_text_list": obj(
                        {
                            "elements": array(typed({"rich_text_section": _SECTION_OF_RICH_TEXT}), _MANY),
                            "style": one_of("bullet", "ordered"),
                        },
                        {"indent": _up_to(8), "offset": _up_to(1_000_000_000), "border": _up_to(1)},
                    ),
                }
            ),
            _MANY,
        )
    },
    {"block_id": string(255)},
)

# docs.slack.dev/reference/block-kit/blocks/table-block: 100 rows, 20 cells, no empty cell.
TABLE_ROWS = 100
TABLE_COLUMNS = 20
_CELL = typed({"raw_text": obj({"text": string(10_000)}), "rich_text": _RICH_TEXT})
_TABLE = obj(
    {"rows": array(array(_CELL, TABLE_COLUMNS), TABLE_ROWS)},
    {
        "block_id": string(255),
        "column_settings": array(
            obj({}, {"align": one_of("left", "center", "right"), "is_wrapped": boolean}), TABLE_COLUMNS
        ),
    },
)


def _image(value: object, at: str) -> Iterator[str]:
    """An image block. Its source is an address or one of Slack's files, by id or address and not by both
    (docs.slack.dev/reference/block-kit/composition-objects/slack-file-object)."""
    known = {**_IMAGE_SOURCE, "slack_file": _SLACK_FILE, "title": plain_text(2000), **_BLOCK_ID}
    yield from obj(_IMAGE, known)(value, at)
    if not isinstance(value, dict):
        return
    if len(value.keys() & {"image_url", "slack_file"}) != 1:
        yield f"must define either `image_url` or `slack_file` [json-pointer:{at}]"
    file = value.get("slack_file")
    if isinstance(file, dict) and len(file.keys() & {"id", "url"}) != 1:
        yield f"must define either `id` or `url` [json-pointer:{at}/slack_file]"


def _section(value: object, at: str) -> Iterator[str]:
    yield from obj(
        {},
        {
            "block_id": string(255),
            "text": any_text(3000),
            "fields": array(any_text(2000), 10),
            "accessory": typed({"button": BUTTON, "overflow": OVERFLOW, "image": IMAGE_ELEMENT}),
            "expand": boolean,
        },
    )(value, at)
    if isinstance(value, dict) and "text" not in value and "fields" not in value:
        yield f"must define either `text` or `fields` [json-pointer:{at}/type]"


HEADER_CHARACTERS = 150
_BLOCK_ID = {"block_id": string(255)}

block: Check = typed(
    {
        "section": _section,
        "divider": obj({}, _BLOCK_ID),
        "header": obj({"text": plain_text(HEADER_CHARACTERS)}, _BLOCK_ID),
        "context": obj(
            {
                "elements": array(
                    typed(
                        {
                            "plain_text": obj({"text": string(3000)}, {"emoji": boolean}),
                            "mrkdwn": obj({"text": string(3000)}, {"verbatim": boolean}),
                            "image": IMAGE_ELEMENT,
                        }
                    ),
                    10,
                )
            },
            _BLOCK_ID,
        ),
        "actions": obj({"elements": array(typed({"button": BUTTON, "overflow": OVERFLOW}), 25)}, _BLOCK_ID),
        "image": _image,
        # The total over all markdown blocks is judged for the message, not here.
        "markdown": obj({"text": string(1_000_000)}, _BLOCK_ID),
        "rich_text": _RICH_TEXT,
        "table": _TABLE,
    }
)
"""One block of a message."""
