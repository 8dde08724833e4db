"""A pooler in transaction mode in front of PostgreSQL, as PgBouncer's with a pool of one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy.engine import make_url

Message = tuple[bytes, bytes]
"""The type of a message, and its body. Source: postgresql.org/docs/current/protocol-message-formats.html."""


class Pooler:
    """Clients take turns on the server's only connection, each for one transaction."""

    def __init__(self, url: str) -> None:
        self._server = make_url(url)
        self._turn = asyncio.Lock()
        self._greeting: list[Message] = []
        self._far: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.url = url

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            startup = await _startup(reader, writer)
            async with self._turn:
                far_in, far_out = await self._connected(startup)
            for message in self._greeting:
                _send(writer, message)
            while True:
                message = await _receive(reader)
                async with self._turn:
                    await self._transaction(message, reader, writer, far_in, far_out)
        writer.close()

    async def _connected(self, startup: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._far is None:
            self._far = await asyncio.open_connection(self._server.host, self._server.port)
            self._far[1].write(startup)
            while not self._greeting or self._greeting[-1][0] != b"Z":
                self._greeting.append(await _receive(self._far[0]))
        return self._far

    async def _transaction(
        self,
        message: Message,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_in: asyncio.StreamReader,
        far_out: asyncio.StreamWriter,
    ) -> None:
        while True:
            if message[0] == b"X":
                raise ConnectionError("the client has left")
            _send(far_out, message)
            if message[0] in (b"Q", b"S"):  # a query, or the end of a batch
                answer: Message = (b"", b"")
                while answer[0] != b"Z":
                    answer = await _receive(far_in)
                    _send(writer, answer)
                if answer[1] == b"I":  # no transaction is open
                    return
            message = await _receive(reader)

    def close(self) -> None:
        if self._far is not None:
            self._far[1].close()


async def _startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Read the first message, and decline encryption."""
    while True:
        head = await reader.readexactly(8)
        rest = await reader.readexactly(int.from_bytes(head[:4], "big") - 8)
        if int.from_bytes(head[4:], "big") not in (80877103, 80877104):
            return head + rest
        writer.write(b"N")


async def _receive(reader: asyncio.StreamReader) -> Message:
    head = await reader.readexactly(5)
    return head[:1], await reader.readexactly(int.from_bytes(head[1:], "big") - 4)


def _send(writer: asyncio.StreamWriter, message: Message) -> None:
    kind, body = message
    writer.write(kind + (len(body) + 4).to_bytes(4, "big") + body)


@asynccontextmanager
async def pooler(url: str) -> AsyncIterator[str]:
    """Run a pooler in front of the database at `url`. Yields the pooler's address."""
    pooled = Pooler(url)
    server = await asyncio.start_server(pooled.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield make_url(url).set(port=port).render_as_string(hide_password=False)
    pooled.close()
