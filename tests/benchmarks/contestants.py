"""Who is compared: the bot, the bot with its cadence exchanged, and naive ones. All run as `app.serve` does."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from bot import app, follower, workspace
from bot.budget import Gate, Ledger, Rate
from bot.learning import Learning
from bot.meter import UNMETERED
from bot.parts import EDITS_PER_MINUTE, Rules
from bot.settings import Settings
from tests.benchmarks.naive import NaiveBot
from tests.benchmarks.takes import KnownSurvival


@contextmanager
def ours() -> Iterator[None]:
    """The bot as it is, new: it knows the start values, and learns."""
    yield


@contextmanager
def round_robin() -> Iterator[None]:
    """The bot, asking all jobs in turn."""
    with (
        patch.object(follower, "pause_seconds", lambda _look, _failures, _survival: 2.0),
        patch.object(follower, "worth", lambda _look, seconds, _survival: seconds),
    ):
        yield


@contextmanager
def optimum() -> Iterator[None]:
    """The bot, knowing what nobody can: how long the jobs take in truth. It spends every request that the limits
    allow, and keeps none for the jitter of the network or for people."""

    def whole(limit: int) -> Rate:
        return Rate(60.0 / limit, 0.0)

    def requests(ledger: Ledger, rules: Rules) -> Gate:
        return Gate(ledger, "omni", whole(rules.requests_per_minute))

    def edits(ledger: Ledger) -> Gate:
        return Gate(ledger, "chat.update", whole(EDITS_PER_MINUTE))

    known = KnownSurvival()
    with (
        patch.object(Learning, "survival", property(lambda _: known, lambda *_: None), create=True),
        patch.object(follower, "pause_seconds", lambda _look, _failures, _survival: 2.0),
        patch.object(app, "omni_gate", requests),
        patch.object(app, "edit_gate", edits),
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
        async with app._slack(settings, UNMETERED) as slack:
            connect_omni, connect_slack = (
                vars(app)["omni_client"],
                vars(app)["SocketMode"],
            )  # perhaps simulated
            omni = connect_omni(settings.omni_base_url, settings.omni_api_token.get_secret_value())
            identity = await app._introduce(slack)
            bolt = workspace.bolt_app(identity, slack.bot, settings.slack_api_url)
            NaiveBot(slack.bot, omni, every_seconds).register(bolt)
            socket = connect_slack(bolt, settings.slack_app_token.get_secret_value(), slack.app)
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
    """Whether it may leave jobs undelivered, so that nobody waits for them."""
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
    # What is not given comes from the environment, as for the bot.
    asyncio.run(_serve_naive(float(sys.argv[1]))(Settings.model_validate({}), asyncio.Event()))
