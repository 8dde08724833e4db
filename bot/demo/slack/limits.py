"""Slack's rate limits over the last minute, with an injected clock. No I/O.

Refused requests don't count towards a limit; all others do, also failed ones.
"""

import math
from collections import defaultdict, deque

TIER_2 = 20
TIER_3 = 50
TIER_4 = 100
"""Requests a minute per method, app and workspace. Source: docs.slack.dev/apis/web-api/rate-limits."""
POSTS_PER_MINUTE = 300
"""chat.postMessage over a whole workspace: "several hundred messages per minute".
Source: docs.slack.dev/apis/web-api/rate-limits."""
POST_BURST = 5
"""Posts to one channel that may come at once; after them one a second. Slack says one a second and that
"bursts over that limit for short periods" pass, without a number: 5 is an assumption."""

_WINDOW_SECONDS = 60.0
_HISTORY_METHODS = ("conversations.history", "conversations.replies")


class PerMinute:
    """So many requests in any 60 seconds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: deque[float] = deque()

    def wait_seconds(self, at: float) -> float:
        """How long until one more may come; 0 if it may come now."""
        while self._taken and self._taken[0] <= at - _WINDOW_SECONDS:
            self._taken.popleft()
        if len(self._taken) < self._most:
            return 0.0
        return self._taken[0] + _WINDOW_SECONDS - at

    def take(self, at: float) -> None:
        """Count one request."""
        self._taken.append(at)


class Bucket:
    """One a second, with a burst."""

    def __init__(self, burst: int) -> None:
        self._burst = burst
        self._free_at = 0.0
        """When the bucket would be full again."""

    def wait_seconds(self, at: float) -> float:
        """How long until one more may come; 0 if it may come now."""
        return max(0.0, self._free_at - at - (self._burst - 1))

    def take(self, at: float) -> None:
        """Count one request."""
        self._free_at = max(self._free_at, at) + 1.0


class Limits:
    """The limits of one app in one workspace."""

    def __init__(self, *, distributed: bool = False) -> None:
        """`distributed`: those of an app that is distributed commercially outside the Marketplace.
        Source: docs.slack.dev/changelog, 2025-05-29."""
        self._distributed = distributed
        self._methods: dict[str, PerMinute] = {}
        self._channels: defaultdict[str, Bucket] = defaultdict(lambda: Bucket(POST_BURST))

    def admit(self, method: str, per_minute: int, at: float) -> int:
        """Count a request. Returns 0, or the whole seconds to wait (`Retry-After`)."""
        if self._distributed and method in _HISTORY_METHODS:
            per_minute = 1
        counter = self._methods.setdefault(method, PerMinute(per_minute))
        return _admit(counter, at)

    @property
    def history_page(self) -> int:
        """Most messages on a page of history."""
        return 15 if self._distributed else 1_000

    def admit_post(self, channel: str, at: float) -> int:
        """The same for a post to a channel, on top of the method's own limit."""
        return _admit(self._channels[channel], at)


def _admit(counter: PerMinute | Bucket, at: float) -> int:
    wait_seconds = counter.wait_seconds(at)
    if wait_seconds > 0:
        return max(1, math.ceil(wait_seconds))
    counter.take(at)
    return 0
