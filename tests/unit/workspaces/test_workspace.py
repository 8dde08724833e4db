"""One workspace runs until it is told to stop, ends in order and in bounded time, and leaves no follow behind."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bot.workspaces.workspace import POSTS_WITHIN_SECONDS, REQUESTS_WITHIN_SECONDS, Workspace

pytestmark = pytest.mark.looptime


class Parts:
    """What a workspace runs, and in which order it ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.takes_seconds: dict[str, float] = {}
        self.breaks = asyncio.Event()
        self.loses_cancellation = ""
        self.updater = SimpleNamespace(run=lambda: self.runs("drawing"))
        self.interactions = SimpleNamespace(drain=lambda: self.ends("requests"))
        self.submitter = SimpleNamespace(stop=lambda: self.ends("submitting"))
        self.runner = SimpleNamespace(stop=lambda: self.ends("follows"))
        self.poster = SimpleNamespace(tasks=SimpleNamespace(drain=lambda: self.ends("posts")))

    async def runs(self, what: str) -> None:
        try:
            if what == self.loses_cancellation:
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
            await asyncio.Event().wait()
        finally:
            self.ended.append(what)

    async def ends(self, what: str) -> None:
        await asyncio.sleep(self.takes_seconds.get(what, 0.01))
        if what not in self.ended:
            self.ended.append(what)

    async def break_down(self) -> None:
        await self.breaks.wait()
        raise ZeroDivisionError

    def workspace(self) -> Workspace:
        unused = cast(Any, None)
        upkeep = (lambda: self.runs("upkeep"), self.break_down)
        return Workspace(unused, unused, cast(Any, self), unused, unused, unused, unused, unused, upkeep)


async def test_shutdown_ends_requests_first() -> None:
    parts, stop = Parts(), asyncio.Event()
    running = asyncio.create_task(parts.workspace().run(stop))
    await asyncio.sleep(100.0)
    assert parts.ended == [] and not running.done()
    stop.set()
    await running
    assert parts.ended == ["requests", "submitting", "upkeep", "follows", "posts", "drawing"]


async def test_lost_cancellation_does_not_block_shutdown() -> None:
    parts, stop = Parts(), asyncio.Event()
    parts.loses_cancellation = "upkeep"
    stop.set()
    async with asyncio.timeout(3.0):
        await parts.workspace().run(stop)
    assert "upkeep" in parts.ended


async def test_slow_shutdown_is_left_unfinished(capsys: pytest.CaptureFixture[str]) -> None:
    parts, stop = Parts(), asyncio.Event()
    parts.takes_seconds = {"requests": 60.0, "posts": 60.0}
    stop.set()
    began = asyncio.get_running_loop().time()
    await parts.workspace().run(stop)
    took = asyncio.get_running_loop().time() - began
    assert took == pytest.approx(REQUESTS_WITHIN_SECONDS + POSTS_WITHIN_SECONDS, abs=0.1)
    assert capsys.readouterr().out.count("left unfinished") == 2


async def test_failure_stops_the_trackers() -> None:
    parts = Parts()
    running = asyncio.create_task(parts.workspace().run(asyncio.Event()))
    await asyncio.sleep(1.0)
    parts.breaks.set()
    with pytest.raises(ExceptionGroup):
        await running
    assert set(parts.ended) == {"drawing", "upkeep", "follows"}
