"""The bot as a child process that can be killed and started again like on a real machine."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

ProcessState = Literal["starting", "running", "killed", "died", "stopped"]
_LINES_KEPT = 30
_OUTPUT_SECONDS = 2.0


class BotProcess:
    """One program that is started, watched, killed and started again.

    States: `died` without a signal from here; `killed` and `stopped` by one.

    Args:
        command: the program and its arguments.
        environment: all of its environment.
        folder: where it runs.
        on_change: called after every change of `state`.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.state: ProcessState = "stopped"
        self.exit_code: int | None = None
        self.last_lines: deque[str] = deque(maxlen=_LINES_KEPT)
        """The newest lines that it wrote to stdout or stderr."""
        self.on_change = on_change
        self._command = list(command)
        self._environment = dict(environment)
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The process id while it lives."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it, unless it lives. One that is being ended is waited for."""
        async with self._one_at_a_time:
            await self._start()

    async def _start(self) -> None:
        if self.pid is not None:
            return
        self.last_lines.clear()
        self.exit_code = None
        self._become("starting")
        # Its own session: a Ctrl-C in the terminal reaches only the stage, which then ends the bot in order.
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._watcher = asyncio.create_task(self._watch(self._process))

    async def run_beside(self, *arguments: str) -> int:
        """Run another command of the program while it lives, with the same environment. Returns its exit code."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            env=self._environment,
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()

    def is_up(self) -> None:
        """Note that it is at work: it has connected."""
        if self.state == "starting":
            self._become("running")

    async def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        async with self._one_at_a_time:
            await self._end("killed", grace_seconds=0.0)

    async def stop(self, *, grace_seconds: float) -> None:
        """SIGTERM, then SIGKILL if it is still there after `grace_seconds`."""
        async with self._one_at_a_time:
            await self._end("stopped", grace_seconds=grace_seconds)

    async def _end(self, state: ProcessState, *, grace_seconds: float) -> None:
        if self._process is None or self._watcher is None or self.pid is None:
            return
        self._become(state)
        if grace_seconds > 0:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), grace_seconds)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        # Bounded: a child of its own could still hold its output open.
        await asyncio.wait({self._watcher}, timeout=_OUTPUT_SECONDS)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        unfinished = ""
        while chunk := await process.stdout.read(65_536):
            *lines, unfinished = (unfinished + chunk.decode("utf-8", "replace")).split("\n")
            self.last_lines.extend(lines)
        self.exit_code = await process.wait()
        if self.state in ("starting", "running"):
            self._become("died")
        else:
            self.on_change()

    def _become(self, state: ProcessState) -> None:
        self.state = state
        self.on_change()
