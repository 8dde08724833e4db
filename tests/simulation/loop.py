"""A simulated event loop: no sockets, no threads, and a clock that jumps to the next event.

Several processes run in it. Which one a callback belongs to is told by its context, which tasks inherit from
whoever created them; so a process can be killed between any two of its callbacks, and not one more of them runs:
no `finally`, no `except`.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

MOST_CALLBACKS_AT_ONE_TIME = 100_000
"""More callbacks than this without a step in time mean an endless loop."""


class Stuck(Exception):
    """Nothing is left that could ever happen, or something happens again and again at the same time."""


class Process:
    """One run of a program, from its start to its end, its stop or its death."""

    def __init__(self, name: str, died: Callable[["Process"], None]) -> None:
        """`died` is called when it dies at `dies_at`."""
        self.name = name
        self.is_alive = True
        self.callbacks = 0
        """How many of its callbacks have run."""
        self.dies_at: int | None = None
        """The number of the callback in whose place it is killed."""
        self.context = copy_context()
        self.context.run(_runs_in.set, self)
        self._died = died
        self.is_paused = False
        self._held: list[asyncio.Handle] = []

    def pause(self) -> None:
        """SIGSTOP: nothing runs in it until it is woken."""
        self.is_paused = True

    def wake(self) -> None:
        """SIGCONT: what would have run meanwhile runs now."""
        self.is_paused = False
        held, self._held = self._held, []
        for handle in held:
            handle._loop._ready.append(handle)  # type: ignore[attr-defined]

    def may_run(self, handle: asyncio.Handle) -> bool:
        """Whether a callback of its runs now."""
        if not self.is_alive:
            return False
        if self.is_paused:
            self._held.append(handle)
            return False
        self.callbacks += 1
        if self.dies_at is not None and self.callbacks >= self.dies_at:
            self.is_alive = False
            self._died(self)
            return False
        return True


_runs_in: ContextVar[Process | None] = ContextVar("process", default=None)


def current_process() -> Process | None:
    """The process whose code runs; None for the world around."""
    return _runs_in.get()


class _Handle(asyncio.Handle):
    __slots__ = ("process",)
    process: Process | None

    def _run(self) -> None:
        if self.process is None or self.process.may_run(self):
            super()._run()


class _TimerHandle(asyncio.TimerHandle):
    __slots__ = ("process",)
    process: Process | None

    def _run(self) -> None:
        if self.process is None or self.process.may_run(self):
            super()._run()


class SimulatedTask(asyncio.Task[Any]):
    """A task that knows its process, and whose place in a set does not depend on where it lies in memory."""

    number: int
    process: Process | None

    def __hash__(self) -> int:
        return self.number


class _Selector:
    def __init__(self, loop: "SimulatedLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.let_pass(timeout)
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    """Virtual time, in seconds from 0."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._at_once = 0
        self._tasks = 0
        self._world = Context()
        self._selector = _Selector(self)
        self._clock_resolution = 1e-9
        self.failures: list[str] = []
        """Uncaught exceptions."""
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._note_failure)

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._seconds

    def let_pass(self, seconds: float | None) -> None:
        """Jump ahead. Raises Stuck."""
        if seconds is None:
            raise Stuck("nothing is left that could ever happen")
        if seconds > 0:
            self._seconds += seconds
            self._at_once = 0

    def in_world(self, seconds: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """Call back later, on behalf of no process."""
        return self.at_in_world(self._seconds + seconds, callback)

    def at_in_world(self, when: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """Call back at a time, seconds since the beginning, on behalf of no process."""
        return self.call_at(when, callback, context=self._world)

    def world_task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something on behalf of no process."""
        return self.create_task(work, name=name, context=self._world.copy())

    def _call_soon(self, callback: Any, args: Any, context: Context | None) -> _Handle:
        self._at_once += 1
        if self._at_once > MOST_CALLBACKS_AT_ONE_TIME:
            raise Stuck(f"time stands still: {callback}")
        context = copy_context() if context is None else context
        handle = _Handle(callback, args, self, context)
        handle.process = context.get(_runs_in)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See `asyncio.loop.call_at`."""
        context = copy_context() if context is None else context
        timer = _TimerHandle(when, callback, args, self, context)
        timer.process = context.get(_runs_in)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def run_in_executor(  # type: ignore[override]
        self, _executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Do it at once: a thread would be done at a time that is not the loop's to say."""
        done = self.create_future()
        done.set_result(func(*args))
        return done

    def _make_task(self, loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> SimulatedTask:
        # The number comes first: a task puts itself into a set while it is made.
        self._tasks += 1
        task = SimulatedTask.__new__(SimulatedTask)
        task.number = self._tasks
        task.process = more["context"].get(_runs_in) if more.get("context") is not None else _runs_in.get()
        task.__init__(work, loop=loop, **more)  # type: ignore[misc]
        return task

    def _note_failure(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _process_events(self, _events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass
