"""The bots to compare: this one, this one with other poll schedules, and naive ones. All run as `app.serve` does."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from unittest.mock import patch

from bot import app, ratelimit
from bot.domain.cards import TeamId
from bot.domain.credentials import Credentials
from bot.domain.ports import QueuePosition
from bot.ratelimit import EDITS_PER_MINUTE, Rate, RateLimiter, RateLimitStore
from bot.settings import Settings
from bot.slack.messages import slack_client
from bot.tasks import loop_time
from bot.tracking import tracked_job
from bot.tracking.tracked_job import TrackedJob
from bot.workspaces import workspace
from bot.workspaces.sources import SingleWorkspace
from tests.benchmarks.naive import NaiveBot
from tests.benchmarks.takes import unnoticed_seconds


@contextmanager
def ours() -> Iterator[None]:
    """The bot as it is."""
    yield


@contextmanager
def round_robin() -> Iterator[None]:
    """The bot, polling all jobs in turn."""
    with patch.object(tracked_job, "poll_interval_seconds", lambda *_: 2.0):
        yield


class _KnownPosition(QueuePosition):
    """Position of a poll about a job of known age."""

    started: float

    def worth(self, now: float) -> float:
        """For how long the job has been over unnoticed, on average."""
        return unnoticed_seconds(self.since - self.started, now - self.started)


@contextmanager
def optimum() -> Iterator[None]:
    """The bot with the true distribution of durations: of the jobs, it polls that which has most likely been over for
    longest. It spends every request that the limits allow, and keeps none for the jitter of the network or for
    users."""

    def whole(limit: int) -> Rate:
        return Rate(60.0 / limit, 0.0)

    def requests(store: RateLimitStore, credentials: Credentials) -> RateLimiter:
        return RateLimiter(store, "omni", whole(credentials.requests_per_minute))

    def edits(store: RateLimitStore, _team: TeamId) -> RateLimiter:
        return RateLimiter(store, "chat.update", whole(EDITS_PER_MINUTE))

    def next_position(tracked: TrackedJob) -> QueuePosition:
        position = _KnownPosition(tracked.polled_at)
        position.started = tracked.started
        return position

    def first_background(limiter: RateLimiter) -> Any:
        now = loop_time()
        waiting = [request for request in limiter._background if request.is_waiting]
        polls = [request for request in waiting if isinstance(request.position, _KnownPosition)]
        if polls:
            return max(polls, key=lambda request: cast(_KnownPosition, request.position).worth(now))
        return min(waiting, key=lambda request: request.position.since)

    with (
        patch.object(TrackedJob, "next_position", next_position),
        patch.object(RateLimiter, "_first_background", first_background),
        patch.object(tracked_job, "poll_interval_seconds", lambda *_: 2.0),
        patch.object(ratelimit, "omni_limiter", requests),
        patch.object(workspace, "edit_limiter", edits),
    ):
        yield


def naive(every_seconds: float) -> Callable[[], Any]:
    """A loop per command of this pace."""

    @contextmanager
    def patched() -> Iterator[None]:
        with patch.object(app, "serve", _serve_naive(every_seconds)):
            yield

    return patched


def _serve_naive(every_seconds: float) -> Callable[[Settings, asyncio.Event], Coroutine[Any, Any, None]]:
    async def serve(settings: Settings, stop: asyncio.Event) -> None:
        # By these names, under which they may be simulated.
        connect_omni, connect_slack = vars(workspace)["omni_client"], vars(app)["SocketMode"]
        async with vars(app)["slack_session"]() as session:
            app_token = settings.app_token
            slack = slack_client(app_token, settings.slack_api_url, session)
            (known,) = await SingleWorkspace(settings, session, slack).list()
            omni = connect_omni(known.omni_base_url, known.omni_api_token)
            bolt = workspace.bolt_app(known, settings.slack_api_url)
            bot = slack_client(known.bot_token, settings.slack_api_url, session)
            NaiveBot(bot, omni, every_seconds).register(bolt)
            socket = connect_slack(bolt, app_token, slack)
            running = asyncio.create_task(socket.run())
            await stop.wait()
            running.cancel()

    return serve


@dataclass(frozen=True, slots=True)
class Contestant:
    """One of those that are compared."""

    name: str
    patched: Callable[[], Any]
    gives_up: bool = False
    """Whether it may leave jobs undelivered, so that the benchmark does not wait for them."""
    spends_all: bool = False
    """Whether it keeps nothing back for the jitter of the network, so that the services must overlook that."""


CONTESTANTS = (
    Contestant("ours", ours),
    Contestant("optimum", optimum, spends_all=True),
    Contestant("round-robin", round_robin),
    Contestant("naive 2 s", naive(2.0), gives_up=True),
    Contestant("naive 5 s", naive(5.0), gives_up=True),
)


if __name__ == "__main__":
    # Other settings come from the environment, as for the bot.
    asyncio.run(_serve_naive(float(sys.argv[1]))(Settings.model_validate({}), asyncio.Event()))
