"""Slack's formatting of a typed line. Pure.

Source: docs.slack.dev/messaging/formatting-message-text.
"""

import re
from collections.abc import Iterable

from bot.demo.slack.records import User

_REFERENCE = re.compile(r"(<(?:@[A-Z0-9]+|https?://[^<>\s]+)>)")
_ADDRESS = re.compile(
    r"(?P<url>https?://[^\s<>|`]*[^\s<>|`.,;:!?)\]'\"])"
    r"|(?P<mail>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)"
    r"|(?<![\w@./-])(?P<bare>[\w-]+(?:\.[\w-]+)*\.(?:com|org|net)\b(?:/[\w/-]*)?)",
    re.IGNORECASE,
)
"""Addresses, mail addresses, and names of sites under a few of the domains that Slack knows."""
_HANDLE = re.compile(r"(?<![\w@])@([a-z][\w-]*)")


def as_stored(text: str, users: Iterable[User]) -> str:
    """The text as Slack stores it: mentions by id, addresses between angle brackets, the rest escaped.

    Formatted references (`<@U…>`, `<https://…>`) stay. Users can't type those, but clients send them for choices
    from their menus.
    """
    ids = {user.name: user.id for user in users}
    parts = _REFERENCE.split(text)
    return "".join(part if index % 2 else _plain(part, ids) for index, part in enumerate(parts))


def _plain(text: str, ids: dict[str, str]) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    linked = _ADDRESS.sub(_linked, escaped)
    return _HANDLE.sub(lambda found: f"<@{ids[found[1]]}>" if found[1] in ids else found[0], linked)


def _linked(found: re.Match[str]) -> str:
    if found["url"]:
        return f"<{found[0]}>"
    return f"<mailto:{found[0]}|{found[0]}>" if found["mail"] else f"<http://{found[0]}|{found[0]}>"


def mentions(text: str, user: str) -> bool:
    """Whether a stored text mentions a person."""
    return f"<@{user}>" in text or f"<@{user}|" in text
