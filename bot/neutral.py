"""Text from elsewhere made harmless: it can't ping, can't hide anything, and links only to web and mail.

Everything that Slack might take for live is broken by one zero-width space, so it looks as it was written.
Whether Slack's `markdown` block honours `<!channel>` or its entity forms is documented nowhere; all of
them are treated as live. Syntax: docs.slack.dev/messaging/formatting-message-text.
"""

import html
import re

from markdown_it import MarkdownIt

BREAK = "\u200b"
"""ZERO WIDTH SPACE: put inside what must not come alive. `clean` takes it out, so nothing piles up."""

_LINE_ENDS = re.compile("\r\n|[\r\u2028\u2029]")
_BLANK_CONTROLS = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # controls
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0"  # soft hyphen, fillers
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"  # zero width, marks, bidi overrides and isolates
    "\ufeff\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e00ff"  # byte order mark, tags
)
_INVISIBLE_ONES = re.compile(f"[{_INVISIBLE}]")
_JOINER_RUN = re.compile("[\u200c\u200d\ufe00-\ufe0f]+")
_JOINERS = re.compile("[\u200c\u200d]")


def clean(text: str) -> str:
    """The text without control characters, bidi controls and zero-width characters; line ends become `\\n`.

    Joiners stay where writing needs them: inside emoji and inside scripts other than ASCII.
    """
    text = _LINE_ENDS.sub("\n", text)
    text = _BLANK_CONTROLS.sub(" ", text)
    text = _SURROGATES.sub("\ufffd", text)
    text = _INVISIBLE_ONES.sub("", text)
    return _JOINER_RUN.sub(_needed_joiners, text)


def _needed_joiners(match: re.Match[str]) -> str:
    run, text = match.group(), match.string
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    if before.isascii():
        is_keycap = run == "\ufe0f" and after == "\u20e3" and before != ""
        return run if is_keycap else ""
    return _JOINERS.sub("", run) if after.isascii() else run


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
_EVERYBODY = ("here", "channel", "everyone")
_WEB_ADDRESS = re.compile(r"https?://[^\s<>]+", re.IGNORECASE)
_AT_EVERYBODY = re.compile(r"@(?=here|channel|everyone)", re.IGNORECASE)


def without_pings(text: str) -> str:
    """The text with every form of a mention broken: `<@…>`, `<!…>`, `<#…>`, `@here` and their entities."""
    text = _WEB_ADDRESS.sub(lambda address: _AT_EVERYBODY.sub("%40", address.group()), text)
    text = _MENTION.sub(rf"\1{BREAK}", text)
    return _AT_WORD.sub(_broken_at_word, text)


def _broken_at_word(match: re.Match[str]) -> str:
    word = html.unescape(match.group(2)).replace("\\", "").lower()
    return match.group(1) + BREAK if word.startswith(_EVERYBODY) else match.group(1)


_SAFE = r"(?:https?://|mailto:)"
_UNSAFE_LINK = re.compile(
    rf"\](?=[(:](?!\s*<?{_SAFE}))"  # [words](address) and [name]: address
    rf"|{_LESS_THAN}(?=(?!{_SAFE})[a-z][a-z0-9+.\-]{{1,31}}:)"  # <address>
    rf"|{_LESS_THAN}(?={_SAFE}[^<>|\n]{{0,2000}}\|)"  # Slack's own <address|words>
    r"|\b(?:slack|javascript|vbscript)(?=:\S)",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_HIDDEN = re.compile(f"[{_INVISIBLE}\x0b\x0c\x1c-\x1f\x85\u200c\u200d\u2028\u2029]")
_FENCE = re.compile(r"```|~~~")

block_parser = MarkdownIt("commonmark", {"html": False}).enable("table")
"""Finds Markdown's blocks only: what is inside a line costs it nothing, however hostile."""
block_parser.core.ruler.enableOnly(["normalize", "block"])


def neutral(text: str) -> str:
    """Markdown that Slack's `markdown` block may have: its words as they were, and nothing that comes alive.

    Mentions are broken everywhere, in code too. Links stay links for http, https and mailto; any other
    becomes text, except inside fenced code, where nothing is a link and people copy what they see.
    Doing it twice changes nothing more.
    """
    text = _ENTITY.sub(_shown_if_hidden, clean(text))
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
    """Where fenced code stands that every reader of Markdown takes for the same lines."""
    if not _FENCE.search(text):
        return []
    return [
        (token.map[0], token.map[1])
        for token in block_parser.parse(text)
        if token.type == "fence" and token.level == 0 and token.map and not _FENCE.search(token.content)
    ]
