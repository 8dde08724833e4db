"""When to ask Omni about a job again. A pure function of what is known; no clock, no chance."""

FASTEST_SECONDS = 2.0
"""Omni advises a poll every 2 to 5 seconds. Source: its OpenAPI document, `GET /api/v1/ai/jobs/{jobId}`."""
SLOWEST_SECONDS = 60.0
"""No job waits longer for the next question, unless the budget leaves no other way."""
YOUNG_SECONDS = 120.0
"""Three quarters of measured jobs ended within 92 s, so younger jobs than this are asked as often as allowed."""
POLL_SHARE = 0.9
"""How much of the budget polls may plan with; the rest is for people who wait for a first answer."""


def pause_seconds(*, age_seconds: float, jobs: int, failures: int, requests_per_minute: int) -> float:
    """How long to wait before a running job is asked again.

    Args:
        age_seconds: since the job was first followed.
        jobs: how many jobs are followed with the same key, this one included.
        failures: how many questions about this job in a row got no answer.
        requests_per_minute: what the key allows.

    Returns:
        Seconds: the largest of three. The share of the budget that falls to one of `jobs`; a pause that
        grows with age (a job that has run for an hour can be learnt of half a minute later); and, after
        failures, a doubling back-off.
    """
    share = jobs * 60.0 / (requests_per_minute * POLL_SHARE)
    by_age = FASTEST_SECONDS if age_seconds <= YOUNG_SECONDS else age_seconds / 60.0
    back_off = FASTEST_SECONDS * 2.0 ** min(failures, 10) if failures else 0.0
    return max(FASTEST_SECONDS, share, min(SLOWEST_SECONDS, max(by_age, back_off)))
