"""Which links are safe to show, and the link to a job's chat."""

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from bot.rendering.blocks import LABELS
from bot.rendering.markdown.document import Break, Inline, Inlines, Link, Styled, Text, words
from bot.rendering.markdown.mrkdwn import escape_code, escape_words

LONGEST_ADDRESS = 2_000
"""Most characters of a link in an answer, escaped. A longer one could not be sent in one piece with its words."""
_LONGEST_WORDS = 500
_SHOWN_SCHEMES = ("http", "https", "mailto")
_NAMED_HOST = re.compile(
    r"[a-z][a-z0-9+.-]*://([^\s/?#]+)|([\w.%+-]+@)?(?<![\w-])((?:[\w-]+\.)+[^\W\d_]{2,}|\d{1,3}(?:\.\d{1,3}){3})(?![\w-])",
    re.IGNORECASE,
)


def safe_link(address: str, content: Inlines, tenant: str) -> Inlines:
    """Return a link, or only its words if its address must not become one.

    Words that name another host than the address leads to, or one of the bot's buttons, are followed by the true host.
    A link without words shows its address. A path leads to the tenant.
    """
    if address.startswith("/") and not address.startswith("//") and tenant:
        address = f"{tenant}{address}"
    content = tuple(_flat(content))
    said = words(content).strip()
    is_short = len(escape_code(address)) <= LONGEST_ADDRESS and len(escape_words(said)) <= _LONGEST_WORDS
    if (host := _host(address)) is None or not is_short:
        return content or (Text(address),)
    if not said:
        content, said = (Text(address),), address
    if host != _host(tenant) and _pretends(said, host):
        content = (*content, Text(f" ({host})"))
    return (Link(address, content),)


def _flat(content: Inlines) -> Iterator[Inline]:
    """Yield the words of a link on one line, without links in them."""
    for inline in content:
        match inline:
            case Break():
                yield Text(" ")
            case Link(_, inside):
                yield from _flat(inside)
            case Styled(style, inside):
                yield Styled(style, tuple(_flat(inside)))
            case _:
                yield inline


def _host(address: str) -> str | None:
    """Where a link leads: a host, or an email address; None if it must not be a link."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in _SHOWN_SCHEMES or re.search(r"[\s<>|\"\\]", address):
        return None
    return (parts.path.lower() or None) if parts.scheme == "mailto" else host


def _pretends(said: str, host: str) -> bool:
    """Whether the words of a link look like another address, or like one of the bot's buttons."""
    said = unicodedata.normalize("NFKC", said).lower()
    if " ".join(re.findall(r"\w+(?:-\w+)*", said)) in _BUTTONS:
        return True
    if (named := _NAMED_HOST.search(said)) is None:
        return False
    name = named[1] or f"{named[2] or ''}{named[3]}"
    return name.partition(":")[0].removeprefix("www.") != host.removeprefix("www.")


_BUTTONS = frozenset(label.lower() for label in LABELS.values())


LONGEST_LINK = 3_000
"""Most characters of a button's url. Source: docs.slack.dev/reference/block-kit/block-elements/button-element."""

_LONGEST_WRITTEN = 300

_LOOPBACK = ("127.0.0.1", "localhost", "::1")

_PATH = re.compile(r"/[A-Za-z0-9/._~%!$'()*+,;=:@&-]*")

_BARE_PATH = re.compile(r"/chat/[0-9A-Za-z-]{1,64}/?")


def chat_link(chat_url: str | None, tenant: str) -> str | None:
    """Return a chat's address without query and fragment; None if it is not well-formed https.

    Any host is linked: an organization may use Omni under several. A bare `/chat/<id>` is completed. Where Omni is on
    loopback, as in the demo, http on any port of it is enough.

    Args:
        chat_url: `omniChatUrl` as Omni sent it.
        tenant: Omni's URL as configured, without `/api`.
    """
    home, chat = _split(tenant), _split(chat_url or "")
    if chat_url and home and _BARE_PATH.fullmatch(chat_url):
        return f"{home.scheme}://{home.netloc}{chat_url}"
    if chat is None or not _PATH.fullmatch(chat.path):
        return None
    is_demo = home is not None and home.hostname in _LOOPBACK and chat.hostname == home.hostname
    link = f"{chat.scheme}://{chat.netloc.lower()}{chat.path}"
    return link if len(link) <= LONGEST_LINK and (chat.scheme == "https" or is_demo) else None


def written(link: str | None) -> list[str]:
    """Write the link as a line of mrkdwn, for messages without a button. Empty if it is too long."""
    if link is None or len(link) > _LONGEST_WRITTEN:
        return []
    return [f"<{link.replace('&', '&amp;')}|Open in Omni>"]


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    plain = address.isascii() and address.isprintable() and not set(address) & set(' <>|"\\')
    return parts if known and plain and "@" not in parts.netloc else None
