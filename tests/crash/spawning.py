"""Starts processes of the bot by forking one that has imported everything, so that a start costs a tenth.

    python -m tests.crash.spawning

Reads an order per line, as JSON: the process's `environment`, its `folder`, and the file that it `log`s to. Says
`started <pid>` at once, and `ended <pid> <exit code>` when that process is gone. Ends all of them when it is told no
more. What is forked is a process like any other, and runs what `python -m bot` runs.
"""

import json
import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

import bot.app  # noqa: F401 - what the command line imports only when it runs, imported once for all
from bot.__main__ import main

LOOKS_EVERY_SECONDS = 0.01


def serve() -> None:
    """Fork as ordered until the orders end."""
    living: set[int] = set()
    try:
        while True:
            if select.select([sys.stdin], [], [], LOOKS_EVERY_SECONDS)[0]:
                order = sys.stdin.readline()
                if not order:
                    return
                living.add(pid := os.fork())
                if pid == 0:
                    be_the_bot(**json.loads(order))
                say("started", pid)
            if living and (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                living.remove(ended[0])
                say("ended", ended[0], os.waitstatus_to_exitcode(ended[1]))
    finally:
        for pid in living:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def say(*words: object) -> None:
    """Tell who orders."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def be_the_bot(environment: dict[str, str], folder: str, log: str) -> NoReturn:
    """Run the bot to its end in this process."""
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for fd, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(fd, target)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["bot"]
        code = main()
    except BaseException:  # noqa: BLE001  # nothing may lead back into the loop of who was forked
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
