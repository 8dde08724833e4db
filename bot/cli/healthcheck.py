"""`python -m bot.cli.healthcheck`: the HEALTHCHECK of a container.

Reads only `HOST` and `PORT` and imports nothing else of the bot, since it runs every 30 s and importing the settings
takes a second.
"""

import os
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException

ALIVE = 0
NOT_ALIVE = 1
ANSWERS_WITHIN_SECONDS = 3.0
_REACHED_AT = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - listening on all


def main(environment: Mapping[str, str]) -> int:
    """Request `/healthz`. Returns the exit code: 0, or 1 as Docker requires."""
    host = environment.get("HOST", "")
    try:
        status = _status(_REACHED_AT.get(host, host), int(environment.get("PORT", "")))
    except ValueError:
        return _not_alive("PORT is not set to a number")
    except (OSError, HTTPException) as error:
        return _not_alive(f"/healthz does not answer: {error!r}")
    return ALIVE if status == 200 else _not_alive(f"/healthz answers {status}")


def _status(host: str, port: int) -> int:
    """Request `/healthz` directly; urllib would use the proxy in the environment."""
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
