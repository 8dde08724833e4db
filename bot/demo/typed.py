"""What Slack makes of a line that a person types, and the links that it finds there. Pure.

Source: docs.slack.dev/messaging/formatting-message-text.
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from bot.demo.stored import User

_REFERENCE = re.compile(r"(<(?:@[A-Z0-9]+|https?://[^<>\s]+)>)")
_ADDRESS = re.compile(r"https?://[^\s<>|`]*[^\s<>|`.,;:!?)\]'\"]", re.IGNORECASE)
_HANDLE = re.compile(r"(?<![\w@])@([a-z][\w-]*)")
_LINK = re.compile(r"<(https?://[^<>|\s]+)(?:\|[^<>]*)?>", re.IGNORECASE)


def as_stored(text: str, users: Iterable[User]) -> str:
    """The text as Slack stores it: mentions by id, addresses between angle brackets, the rest escaped.

    References that have their form already (`<@U…>`, `<https://…>`) stay; nobody can type those into Slack, but it is
    how a client sends what is chosen from its menus.
    """
    ids = {user.name: user.id for user in users}
    parts = _REFERENCE.split(text)
    return "".join(part if index % 2 else _plain(part, ids) for index, part in enumerate(parts))


def _plain(text: str, ids: dict[str, str]) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    linked = _ADDRESS.sub(lambda found: f"<{found[0]}>", escaped)
    return _HANDLE.sub(lambda found: f"<@{ids[found[1]]}>" if found[1] in ids else found[0], linked)


def mentions(text: str, user: str) -> bool:
    """Whether a stored text mentions a person."""
    return f"<@{user}>" in text or f"<@{user}|" in text


def links(text: str, domains: Iterable[str]) -> list[tuple[str, str]]:
    """The links in a stored text to one of the domains or a part of it, once each: domain and address."""
    found: dict[str, str] = {}
    for url in _LINK.findall(text):
        address = url.replace("&amp;", "&")
        host = (urlsplit(address).hostname or "").lower()
        for domain in domains:
            if host == domain or host.endswith(f".{domain}"):
                found[address] = domain
    return [(domain, address) for address, domain in found.items()]
