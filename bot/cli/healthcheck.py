"""`python -m bot.cli.healthcheck`: whether the bot beside it is alive, as a container's HEALTHCHECK asks.

Reads `HOST` and `PORT` from the environment alone and imports nothing of the bot: it runs every half minute, and all
settings together take a second.
"""

import os
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException

ALIVE = 0
NOT_ALIVE = 1
ANSWERS_WITHIN_SECONDS = 3.0
_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where such a listener is reached


def main(environment: Mapping[str, str]) -> int:
    """Ask `/healthz`. Returns the exit code: 0 or, as Docker wants it, 1."""
    host = environment.get("HOST", "")
    try:
        status = _status(_ANY.get(host, host), int(environment.get("PORT", "")))
    except ValueError:
        return _not_alive("PORT is not set to a number")
    except (OSError, HTTPException) as error:
        return _not_alive(f"/healthz does not answer: {error!r}")
    return ALIVE if status == 200 else _not_alive(f"/healthz answers {status}")


def _status(host: str, port: int) -> int:
    """A connection of its own: urllib would go through the proxy that the environment names."""
    connection = HTTPConnection(host, port, timeout=ANSWERS_WITHIN_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


def _not_alive(why: str) -> int:
    print(why, file=sys.stderr)
    return NOT_ALIVE


if __name__ == "__main__":
    sys.exit(main(os.environ))
