"""Makes foreign text harmless: no mentions, nothing hidden, and only links to web and mail.

A zero-width space breaks anything that Slack might interpret, so the text looks unchanged. Slack does not document
whether its `markdown` block interprets `<!channel>` or its entity forms, so all forms are broken.
Syntax: docs.slack.dev/messaging/formatting-message-text.
"""

import html
import re
from urllib.parse import SplitResult, urlsplit

from markdown_it import MarkdownIt

from bot.domain import INVISIBLE, strip_control_chars

BREAK = "\u200b"
"""ZERO WIDTH SPACE, inserted to break syntax. `strip_control_chars` removes it, so repeated calls add no more."""

# A character may be written as itself or as an entity, and the entity's own ampersand as an entity again.
_AMPERSAND = r"&(?:amp;|AMP;|#0{0,9}38;|#[xX]0{0,9}26;)*"


def _written(character: str, *names: str) -> str:
    code = ord(character)
    hexadecimal = "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in f"{code:x}")
    entities = "|".join([*names, f"#0{{0,9}}{code}", f"#[xX]0{{0,9}}{hexadecimal}"])
    return f"(?:{re.escape(character)}|{_AMPERSAND}(?:{entities});?)"


_LESS_THAN = _written("<", "lt", "LT")

_AT = _written("@", "commat")

_MARK = f"(?:{_AT}|{_written('!', 'excl')}|{_written('#', 'num')})"

_MENTION = re.compile(rf"({_LESS_THAN})(?=\\*{_MARK}\S)")

_AT_WORD = re.compile(rf"({_AT})(?=([hceHCE&\\]\S{{0,95}}))")

_GROUPS = ("here", "channel", "everyone")

_WEB_ADDRESS = re.compile(r"https?://[^\s<>]+", re.IGNORECASE)

_AT_GROUP = re.compile(r"@(?=here|channel|everyone)", re.IGNORECASE)


def without_pings(text: str) -> str:
    """Break every form of a mention: `<@…>`, `<!…>`, `<#…>`, `@here` and their entities."""
    text = _WEB_ADDRESS.sub(lambda address: _AT_GROUP.sub("%40", address.group()), text)
    text = _MENTION.sub(rf"\1{BREAK}", text)
    return _AT_WORD.sub(_broken_at_word, text)


def _broken_at_word(match: re.Match[str]) -> str:
    word = html.unescape(match.group(2)).replace("\\", "").lower()
    return match.group(1) + BREAK if word.startswith(_GROUPS) else match.group(1)


_SAFE = r"(?:https?://|mailto:)"

_UNSAFE_LINK = re.compile(
    rf"\](?=[(:](?!\s*<?{_SAFE}))"  # [words](address) and [name]: address
    rf"|{_LESS_THAN}(?=(?!{_SAFE})[a-z][a-z0-9+.\-]{{1,31}}:)"  # <address>
    rf"|{_LESS_THAN}(?={_SAFE}[^<>|\n]{{0,2000}}\|)"  # Slack's own <address|words>
    r"|\b(?:slack|javascript|vbscript)(?=:\S)",
    re.IGNORECASE,
)

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")

_HIDDEN = re.compile(f"[{INVISIBLE}\x0b\x0c\x1c-\x1f\x85\u200c\u200d\u2028\u2029]")

_FENCE = re.compile(r"```|~~~")

block_parser = MarkdownIt("commonmark", {"html": False}).enable("table")
"""Parses Markdown blocks only, so hostile inline markup costs no time."""

block_parser.core.ruler.enableOnly(["normalize", "block"])


def sanitize(text: str) -> str:
    """Sanitize Markdown for Slack's `markdown` block. Idempotent.

    Mentions are broken everywhere, also in code. Links other than http, https and mailto become text, except in fenced
    code, where nothing is a link and users copy the text.
    """
    text = _ENTITY.sub(_shown_if_hidden, strip_control_chars(text))
    return _without_unsafe_links(without_pings(text))


def _shown_if_hidden(match: re.Match[str]) -> str:
    return "\ufffd" if _HIDDEN.search(html.unescape(match.group())) else match.group()


def _without_unsafe_links(text: str) -> str:
    lines = text.splitlines(keepends=True)
    spans: list[str] = []
    done = 0
    for first, end in _fenced_lines(text):
        spans += [_links_broken("".join(lines[done:first])), "".join(lines[first:end])]
        done = end
    return "".join([*spans, _links_broken("".join(lines[done:]))])


def _links_broken(text: str) -> str:
    return _UNSAFE_LINK.sub(rf"\g<0>{BREAK}", text)


def _fenced_lines(text: str) -> list[tuple[int, int]]:
    """Line ranges of fenced code that every Markdown parser delimits equally."""
    if not _FENCE.search(text):
        return []
    return [
        (token.map[0], token.map[1])
        for token in block_parser.parse(text)
        if token.type == "fence" and token.level == 0 and token.map and not _FENCE.search(token.content)
    ]


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
