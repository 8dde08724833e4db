"""Reads what people write where an address, a key or an id is meant."""

import ipaddress
import re
from urllib.parse import urlsplit

_HOST = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]+")
_PATH = re.compile(r"[A-Za-z0-9._~%/+-]*")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def omni_address(value: str) -> str:
    """Omni's address without `/api` and without a slash at its end. Raises ValueError."""
    address = web_address(value).removesuffix("/api").rstrip("/")
    if urlsplit(address).path:
        raise ValueError("has a path after the host")
    return address


def is_token(value: str) -> bool:
    """Whether a key can be sent in a header."""
    return bool(value) and value.isascii() and value.isprintable() and " " not in value


def is_uuid(value: str) -> bool:
    """Whether it is a UUID, in capitals or not."""
    return _UUID.fullmatch(value) is not None


def web_address(value: str) -> str:
    """An https address (http on loopback only) without query, fragment, user or slash at its end. Raises ValueError, in
    words that go on from the name of a setting."""
    try:
        url = urlsplit(value.strip())
        host, _ = url.hostname, url.port
        (host or "").encode("ascii").decode("idna")
    except ValueError as error:
        raise ValueError("is not a web address") from error
    if url.scheme not in ("http", "https") or not host:
        raise ValueError("is not a web address that starts with https://")
    if not (_HOST.fullmatch(host) and _PATH.fullmatch(url.path)):
        raise ValueError("has characters that no web address has")
    if "@" in url.netloc or url.query or url.fragment:
        raise ValueError("has more in it than a host and a path")
    if url.scheme == "http" and not _is_loopback(host):
        raise ValueError("is not https, and a key must not travel unencrypted")
    return f"{url.scheme}://{url.netloc.lower()}{url.path.rstrip('/')}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
