"""Starts the bot's processes and watches them until they are dead."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.end_to_end.world import ROOT

LOG_LINES_SHOWN = 15


class Process:
    """The bot as a process of its own; what it says goes to a file."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.exit_code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ended_by_us = False
        self._log = log

    @property
    def lives(self) -> bool:
        return not self.exit_code.done()

    @property
    def ended_by_itself(self) -> bool:
        return not self.lives and not self.ended_by_us

    @property
    def last_words(self) -> str:
        lines = self._log.read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-LOG_LINES_SHOWN:])

    async def kill(self) -> None:
        """SIGKILL; returns when it is dead."""
        if self.lives:
            self.ended_by_us = True
            os.kill(self.pid, signal.SIGKILL)
            assert await self.exit_code == -signal.SIGKILL, self.last_words

    def owns(self, port: int, to: int) -> bool:
        """Whether a connection from this port to that one, both on loopback, is its own. Linux tells in /proc."""
        inode = _inode(port, to)
        with suppress(OSError):
            for entry in Path(f"/proc/{self.pid}/fd").iterdir():
                with suppress(OSError):
                    if str(entry.readlink()) == f"socket:[{inode}]":
                        return True
        return False


def _inode(port: int, to: int) -> str | None:
    for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[2].endswith(f":{to:04X}"):
            return fields[9]
    return None


class Nursery:
    """Starts processes of the bot, by one that has imported it and forks."""

    def __init__(self, forking: asyncio.subprocess.Process) -> None:
        self._forking = forking
        self._one_at_a_time = asyncio.Lock()
        self._started: asyncio.Queue[int] = asyncio.Queue()
        self._processes: dict[int, Process] = {}

    async def start(self, environment: Mapping[str, str], folder: Path, log: Path) -> Process:
        """A process of the bot, at its very beginning."""
        order = {"environment": dict(environment), "folder": str(folder), "log": str(log)}
        assert self._forking.stdin is not None
        async with self._one_at_a_time:
            log.touch()
            self._forking.stdin.write(json.dumps(order).encode() + b"\n")
            pid = await self._started.get()
            process = self._processes[pid] = Process(pid, log)
        return process

    async def listen(self) -> None:
        """Hear what becomes of them, until no more can come."""
        assert self._forking.stdout is not None
        async for line in self._forking.stdout:
            match line.decode().split():
                case ["started", pid]:
                    self._started.put_nowait(int(pid))
                case ["ended", pid, code]:
                    self._processes.pop(int(pid)).exit_code.set_result(int(code))


@asynccontextmanager
async def a_nursery() -> AsyncIterator[Nursery]:
    """A nursery; what it started dies with it."""
    forking = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "tests.crash.spawning"],
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    nursery = Nursery(forking)
    listening = asyncio.create_task(nursery.listen())
    try:
        yield nursery
    finally:
        assert forking.stdin is not None
        forking.stdin.close()
        await forking.wait()
        await listening
