"""Proxies that lead every name to one server of this machine, and certificates for names that don't exist."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Shake = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str | None]]
"""Reads a proxy's request. Returns the host and port that it names, or None if it is refused."""


class Proxy:
    """A proxy, and what was asked of it."""

    def __init__(self, scheme: str, shake: Shake) -> None:
        self.scheme = scheme
        self.asked: list[str] = []
        self.leads_to = 0
        """The port of 127.0.0.1 where every name leads."""
        self.url = ""
        self._shake = shake
        self._copying: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await self._shake(reader, writer)
        if asked is None:
            writer.close()
            return
        self.asked.append(asked)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.leads_to)
        for source, target in ((reader, server_writer), (server_reader, writer)):
            task = asyncio.create_task(_copy(source, target))
            self._copying.add(task)
            task.add_done_callback(self._copying.discard)

    async def close(self) -> None:
        for task in list(self._copying):
            task.cancel()
        await asyncio.gather(*self._copying, return_exceptions=True)


@asynccontextmanager
async def running(scheme: str, shake: Shake, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    proxy = Proxy(scheme, shake)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        proxy.url = f"{scheme}://proxy.test:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
        await proxy.close()


async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
    """CONNECT of an HTTP proxy, whose user has a password."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    method, target, _ = head.split(" ", 2)
    if method != "CONNECT" or "proxy-authorization: basic" not in head.lower():
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        return None
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    return target


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
    """A proxy that lets nobody through."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    return None


async def answer_in_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
    """An HTTP proxy to which the greeting of SOCKS is a bad request."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    return None


async def socks5(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
    """CONNECT of a SOCKS proxy to a name. Source: RFC 1928 and 1929."""
    _, methods = await reader.readexactly(2)
    assert 2 in await reader.readexactly(methods)
    writer.write(b"\x05\x02")
    for _ in await reader.readexactly(1), b"password":
        await reader.readexactly((await reader.readexactly(1))[0])
    writer.write(b"\x01\x00")
    assert await reader.readexactly(4) == b"\x05\x01\x00\x03", "a name, which the proxy resolves"
    name = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
    port = int.from_bytes(await reader.readexactly(2), "big")
    writer.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
    return f"{name}:{port}"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()


def certificate(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """Create a certificate for the names and 127.0.0.1. Returns the file to trust, and a server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    alternatives = [*(x509.DNSName(name) for name in names), x509.IPAddress(ip_address("127.0.0.1"))]
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file, private = folder / "trusted.pem", folder / "private.pem"
    file.write_bytes(built.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, private)
    return file, context
