"""Points in time and durations as people read them in Slack."""

from datetime import UTC, datetime


def moment(at: datetime) -> str:
    """A time that Slack shows in the reader's own zone and words, without any later edit.

    Source: docs.slack.dev/messaging/formatting-message-text, "Date formatting".
    """
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{spoken(at)}>"


def clock(at: datetime) -> str:
    """A time of day to the second, in the reader's own zone."""
    return f"<!date^{int(at.timestamp())}^{{time_secs}}|{at.astimezone(UTC):%H:%M:%S} UTC>"


def spoken(at: datetime) -> str:
    """A time where no date token works: in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """A duration in words, to the second below an hour and to the minute above."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min" if minutes_left else f"{hours} h"
    if minutes:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{rest} s" if rest else "less than a second"
