"""Which address of a chat may become a link: only one on the Omni that the bot was set up for."""

import re
from urllib.parse import SplitResult, urlsplit

LONGEST_LINK = 3_000
"""Characters of a button's url. Source: docs.slack.dev/reference/block-kit/block-elements/button-element."""

_LONGEST_WRITTEN = 300
_SAME_TENANT_DOMAINS = (".omniapp.co", ".omni.co")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PATH = re.compile(r"/[A-Za-z0-9/._~%!$'()*+,;=:@&-]*")
_BARE_PATH = re.compile(r"/chat/[0-9A-Za-z-]{1,64}/?")
_STANDARD_PORTS = {"https": 443, "http": 80}


def chat_link(chat_url: str | None, tenant: str) -> str | None:
    """The address to link to, without query and fragment; None where it must not become a link.

    Omni shows the same tenant under two domains, so its first label counts across them; otherwise the
    origin must be the tenant's own. A bare `/chat/<id>` is taken as the tenant's. On loopback, where the
    demo runs, http on the same host will do.

    Args:
        chat_url: `omniChatUrl` as Omni sent it.
        tenant: Omni's address as configured, without `/api`.
    """
    home = _split(tenant)
    if chat_url is None or home is None:
        return None
    if _BARE_PATH.fullmatch(chat_url):
        return f"{home.scheme}://{home.netloc}{chat_url}"
    chat = _split(chat_url)
    if chat is None or not _PATH.fullmatch(chat.path) or not _is_home(chat, home):
        return None
    link = f"{chat.scheme}://{chat.netloc.lower()}{chat.path}"
    return link if len(link) <= LONGEST_LINK else None


def written(link: str | None) -> list[str]:
    """The link as a line of mrkdwn, for messages without a button; none where it is too long for a text."""
    if link is None or len(link) > _LONGEST_WRITTEN:
        return []
    return [f"<{link.replace('&', '&amp;')}|Open in Omni>"]


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        known = parts.scheme in _STANDARD_PORTS and parts.hostname and parts.port != 0
    except ValueError:
        return None
    plain = address.isascii() and address.isprintable() and not set(address) & set(' <>|"\\')
    return parts if known and plain and "@" not in parts.netloc else None


def _is_home(chat: SplitResult, home: SplitResult) -> bool:
    if home.hostname in _LOOPBACK:
        return chat.hostname == home.hostname
    if chat.scheme != "https":
        return False
    if (chat.hostname, _port(chat)) == (home.hostname, _port(home)):
        return home.scheme == "https"
    label = _label(chat)
    return label is not None and label == _label(home) and _port(chat) == 443


def _port(parts: SplitResult) -> int:
    return parts.port or _STANDARD_PORTS[parts.scheme]


def _label(parts: SplitResult) -> str | None:
    """The tenant's own name in a host of Omni's."""
    for domain in _SAME_TENANT_DOMAINS:
        label = (parts.hostname or "").removesuffix(domain)
        if label != parts.hostname and label and "." not in label:
            return label
    return None
