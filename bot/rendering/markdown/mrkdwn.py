"""Writes text as Slack's mrkdwn.

Source of the syntax: docs.slack.dev/messaging/formatting-message-text.
"""

import re
from datetime import UTC, datetime

from bot.domain import strip_control_chars

BREAK = "\u200b"
"""ZERO WIDTH SPACE, put between characters that Slack would otherwise interpret. Never in code or addresses."""

_MENTION = re.compile(
    r"(?<=<)(?=[@!#]\S)|(?<![\w.+-])@(?=here|channel|everyone)|\bslack(?=:\S)", re.IGNORECASE
)

_FORMATTING = re.compile(r"[*~`]|(?<![^\W_])_|_(?![^\W_])")

_BROKEN_ENTITY = re.compile(r"&[a-z]{0,3}$")

_LAST_WORD = re.compile(r"\s\S{0,40}$")

_MOST_READ_AHEAD = 8


def escape(text: str) -> str:
    """Escape text for mrkdwn: no mention, no link, no formatting.

    mrkdwn has no escape for `*`, `_`, `~` and the backtick, so each that could format gets a zero-width space after it.
    """
    return escape_words(strip_control_chars(text))


def escape_words(text: str) -> str:
    """As `escape`, for text that has no control characters."""
    return _FORMATTING.sub(rf"\g<0>{BREAK}", escape_code(without_mentions(text)))


def escape_code(text: str) -> str:
    """Escape code for mrkdwn, in which Slack interprets only its three control characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def without_mentions(text: str) -> str:
    """Break `<@…>`, `<!…>`, `<#…>` and `@here`. An `@` inside an email address stays."""
    # Each kind of mention has one of these, and few texts have any.
    may_mention = "<" in text or "@" in text or ":" in text
    return _MENTION.sub(lambda found: found.group() + BREAK, text) if may_mention else text


def shortened(text: str, limit: int) -> str:
    """Escape the text and cut it to `limit` characters, with `…` after a whole word."""
    near = text[: limit * _MOST_READ_AHEAD]
    return _cut(escape(near) + "…" * (len(near) < len(text)), limit)


def one_line(text: str, limit: int) -> str:
    """As `shortened`, with all white space as single spaces."""
    return shortened(" ".join(text[: limit * _MOST_READ_AHEAD].split()), limit)


def code(text: str, limit: int) -> str:
    """Format a short text as inline code, within `limit` characters and two backticks."""
    line = " ".join(strip_control_chars(text[: limit * _MOST_READ_AHEAD]).replace("`", "'").split())
    return f"`{_cut(escape_code(line), limit)}`" if line else ""


def fenced(text: str) -> str:
    """Format a text as a code block."""
    inside = escape_code(text).replace("```", f"`{BREAK}`{BREAK}`")
    return f"```\n{inside}\n```"


def excerpt(text: str, limit: int, lines: int) -> str:
    """Return the first `lines` non-blank lines, within `limit` characters. Not escaped for mrkdwn."""
    read = strip_control_chars(text[: limit * _MOST_READ_AHEAD])
    said = [line.strip() for line in read.split("\n") if line.strip()]
    left_out = len(said) > lines or limit * _MOST_READ_AHEAD < len(text)
    start = without_mentions("\n".join(said[:lines]))
    return _cut(start + "…" * left_out, limit)


def _cut(text: str, limit: int) -> str:
    """Cut the text to `limit` characters, with `…` after a whole word if one is near."""
    if len(text) <= limit:
        return text
    cut = _BROKEN_ENTITY.sub("", text[: limit - 1])
    return _LAST_WORD.sub("", cut).rstrip() + "…"


def moment(at: datetime) -> str:
    """Format a time that Slack shows in the reader's time zone.

    Source: docs.slack.dev/messaging/formatting-message-text, "Date formatting".
    """
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{spoken(at)}>"


def clock(at: datetime) -> str:
    """Format a time of day to the second, in the reader's time zone."""
    return f"<!date^{int(at.timestamp())}^{{time_secs}}|{at.astimezone(UTC):%H:%M:%S} UTC>"


def spoken(at: datetime) -> str:
    """Format a time in UTC, where Slack supports no date token."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """Format a duration: to the second below an hour, to the minute above."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min" if minutes_left else f"{hours} h"
    if minutes:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{rest} s" if rest else "less than a second"


def rounded(seconds: float) -> int:
    """Round a duration as people give it: to 5 s, above 2 min to minutes, above 2 h to hours. At least a second."""
    for unit in (3_600, 60):
        if seconds >= 2 * unit:
            return unit * round(seconds / unit)
    return max(1, round(seconds) if seconds < 10 else 5 * round(seconds / 5))


def duration_range(lower: int, upper: int) -> str:
    """Format two rounded durations: "40 to 90 s", "45 s to 3 min", "about 60 s"."""
    (shortest, unit), (longest, longest_unit) = _in_unit(lower), _in_unit(upper)
    if lower == upper:
        return f"about {longest} {longest_unit}"
    return f"{shortest}{'' if unit == longest_unit else f' {unit}'} to {longest} {longest_unit}"


def _in_unit(seconds: int) -> tuple[int, str]:
    for unit, name in ((3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return round(seconds / unit), name
    return seconds, "s"
