"""How every outgoing connection is made: through which proxy, and with which certificates.

Slack's API, its socket, response_urls and uploads, and Omni all follow the same rules, which come from the environment
as for curl: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.
"""

import ipaddress
import os
import ssl
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import aiohttp
import httpx
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError
from socksio.exceptions import SOCKSError

from bot.domain import SettingsError

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
"""By scheme. Both HTTP libraries support proxies of these schemes."""


def proxy_for(url: str) -> str | None:
    """Return the proxy for a URL, with scheme and port; None: connect directly.

    Loopback addresses never use a proxy, because no proxy could reach this machine's own. SOCKS proxies resolve names.

    Raises:
        SettingsError: the variable holds no address of a proxy.
    """
    parts = urlsplit(url)
    scheme = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
    proxies = getproxies_environment()
    name = next((name for name in (scheme, "all") if name in proxies), None)
    port = parts.port or _DEFAULT_PORTS.get(scheme, 0)
    if name is None or _is_direct(parts.hostname or "", port, proxies.get("no", "")):
        return None
    return _proxy(f"{name.upper()}_PROXY", proxies[name])


def _proxy(variable: str, value: str) -> str:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        default_port = _DEFAULT_PORTS[parts.scheme]
        port = parts.port or default_port
    except (ValueError, KeyError):
        parts, port = urlsplit(""), 0
    if not parts.hostname:
        # The value may hold a password.
        raise SettingsError(
            [f"{variable} is not the address of a proxy: set it to http://, https:// or socks5://host:port"]
        )
    login, _, _ = parts.netloc.rpartition("@")
    if login and ":" not in login:
        login += ":"  # without it, aiohttp_socks leaves out a user who has no password
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme.replace('5h', '5')}://{login}{'@' if login else ''}{host}:{port}"


def _is_direct(host: str, port: int, no_proxy: str) -> bool:
    """Return whether a host needs no proxy: loopback, or named by NO_PROXY, also by a range of addresses."""
    entries = no_proxy.lower().replace(",", " ").split()
    for entry in entries:
        name, _, only_port = entry.lstrip("*.").partition(":")
        if name and (host == name or host.endswith(f".{name}")) and only_port in ("", str(port)):
            return True
    if host == "localhost" or "*" in entries:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    ranges = (_range(entry, port) for entry in entries)
    return address.is_loopback or any(address in range_ for range_ in ranges if range_)


def _range(entry: str, port: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return the addresses that an entry names for this port; None: it names none."""
    try:
        return ipaddress.ip_network(entry.removesuffix(f"]:{port}").strip("[]"), strict=False)
    except ValueError:
        return None


def tls() -> ssl.SSLContext:
    """Return the machine's trusted certificates. Raises SettingsError if a variable names none."""
    return _tls(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _tls(file: str | None, folders: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()  # reads both variables, and ignores what is missing
    if file:
        try:
            context.load_verify_locations(cafile=file)
        except OSError as error:
            reason = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
            raise SettingsError([f"SSL_CERT_FILE can't be read ({reason}): {file}"]) from error
    if folders and not any(Path(folder).is_dir() for folder in folders.split(os.pathsep)):
        raise SettingsError([f"SSL_CERT_DIR is not a folder: {folders}"])
    return context


def verify_environment() -> None:
    """Raise SettingsError if a variable of proxies or certificates is unusable."""
    for scheme in ("https", "wss"):
        proxy_for(f"{scheme}://host.invalid/")
    tls()


class Connector(aiohttp.TCPConnector):
    """Connections of aiohttp: direct, or through the proxy for their URL."""

    def __init__(self) -> None:
        """Raises SettingsError."""
        super().__init__(ssl=tls())

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Any:
        """See the base class. Any failure of a proxy is raised as one to connect: nothing was sent."""
        proxy = proxy_for(str(req.url))
        if proxy is None:
            return await super()._create_connection(req, traces, timeout)
        tunnel = _tunnel(proxy)
        try:
            return await tunnel._create_connection(req, traces, timeout)  # noqa: SLF001
        except (OSError, ProxyError, ProxyConnectionError, ProxyTimeoutError) as error:
            reason = OSError(None, f"through the proxy {_shown(proxy)}: {error or type(error).__name__}")
            raise aiohttp.ClientProxyConnectionError(req.connection_key, reason) from error
        finally:
            await tunnel.close()


def _tunnel(proxy: str) -> ProxyConnector:
    address = proxy.replace("https:", "http:", 1)
    return ProxyConnector.from_url(address, proxy_ssl=_proxy_tls(proxy), ssl=tls())


def _proxy_tls(proxy: str) -> ssl.SSLContext | None:
    return tls() if proxy.startswith("https:") else None


def _shown(proxy: str) -> str:
    """Return the address of a proxy without its password."""
    return proxy.rpartition("@")[2].rpartition("/")[2]


class _Transport(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See the base class, which lets an error of the library for SOCKS through."""
        try:
            return await super().handle_async_request(request)
        except SOCKSError as error:
            raise httpx.ProxyError(str(error), request=request) from error


def httpx_transport(url: str, limits: httpx.Limits) -> httpx.AsyncHTTPTransport:
    """Return the transport of an httpx client for a URL. Raises SettingsError."""
    proxy = proxy_for(url)
    return _Transport(
        verify=tls(),
        limits=limits,
        trust_env=False,
        proxy=None if proxy is None else httpx.Proxy(proxy, ssl_context=_proxy_tls(proxy)),
    )
