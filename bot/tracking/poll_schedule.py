"""How often a job is polled, if the budget allows. Pure functions.

Omni advises a poll every 2 to 5 seconds. Source: its OpenAPI document, `GET /api/v1/ai/jobs/{jobId}`.

Where the budget does not allow this, the rate limiter decides: the job polled longest ago goes first.
"""

from bot.tasks import backoff_seconds

FASTEST_SECONDS = 2.0
"""In a job's first minute, and while its users wait for it to end."""
LONGEST_BACKOFF_SECONDS = 60.0
"""The longest pause after failed polls."""
MAX_SILENCE_SECONDS = 30.0
"""How long after the last webhook a job is polled. Progress events come every few seconds, so polls are rare; during a
single query of minutes there are two per minute. It is also how much later an end is noticed whose webhook was lost."""


def poll_interval_seconds(age_seconds: float, failures: int = 0) -> float:
    """Seconds from one poll of a job to the next.

    Args:
        age_seconds: for how long the job has been executing, or queued if it has not begun.
        failures: number of consecutive failed polls; each doubles the pause.
    """
    if failures:
        return backoff_seconds(failures, first=FASTEST_SECONDS, longest=LONGEST_BACKOFF_SECONDS)
    if age_seconds < 60.0:
        return FASTEST_SECONDS
    return 3.0 if age_seconds < 600.0 else 5.0
