"""The bot as a process of its own, forked from one that has imported it: a start costs a tenth of `python -m bot`.

For tests of what a process does. Those of the start itself run `python -m bot`.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from bot.__main__ import main

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__, "bot.app", "bot.cli.check", "bot.cli.workspaces"])


class ForkedBot:
    """`python -m bot` with arguments. It is controlled like an `asyncio.subprocess.Process`.

    Args:
        environment: all of its environment.
        folder: where it runs.
        stdin: a file that it reads; nothing if not given.
        stdout, stderr: files that it writes; those of the tests if not given.
    """

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        folder: Path,
        stdin: Path | None = None,
        stdout: Path | None = None,
        stderr: Path | None = None,
    ) -> None:
        files = (stdin or Path(os.devnull), stdout, stderr)
        self._process = _FORKS.Process(
            target=_run, args=(arguments, dict(environment), folder, files), daemon=True
        )
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal that ended it; None while it lives."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> int:
        """Wait for its end. Returns the exit code."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode


def _run(
    arguments: tuple[str, ...], environment: dict[str, str], folder: Path, files: tuple[Path | None, ...]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, file in enumerate(files):
        if file is not None:
            opened = os.open(file, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(opened, number)
            os.close(opened)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.exit(main(arguments))
