"""Times as Slack shows them in the reader's time zone, and durations in words."""

from datetime import UTC, datetime, timedelta, timezone

from bot.rendering.markdown.mrkdwn import duration, moment
from tests.support.tables import for_each


def test_moment_falls_back_to_utc() -> None:
    at = datetime(2026, 5, 4, 16, 2, tzinfo=timezone(timedelta(hours=2)))
    assert moment(at) == "<!date^1777903320^{date_short_pretty} {time}|2026-05-04 14:02 UTC>"
    assert moment(at) == moment(at.astimezone(UTC))


@for_each(
    "seconds, words",
    [
        (0.2, "less than a second"),
        (1, "1 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (72, "1 min 12 s"),
        (3_600, "1 h"),
        (3_672, "1 h 1 min"),
    ],
)
def test_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
