"""A program in the demo that announces jobs over the bot's HTTP API, as a CI job or a script would."""

import json
import secrets
import socket
from collections.abc import Mapping, Sequence

import aiohttp

_WITHIN_SECONDS = 25.0
"""The bot answers within 20 s."""


class NotAnnounced(Exception):
    """The job was not announced; `str(error)` is the reason for the visitor."""


class Program:
    """Announces jobs with a token of its own. `environment` makes the bot accept it."""

    def __init__(self) -> None:
        self._port = _free_port()
        self._token = secrets.token_urlsafe(32)

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings that the bot needs."""
        return {"PORT": str(self._port), "API_TOKEN": self._token}

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"http://127.0.0.1:{self._port}/api/follows"

    def curl(self, job: str, channel: str, mention: Sequence[str]) -> str:
        """Return the command that announces a job."""
        return " ".join(
            [
                f"curl {self.url} -H 'Authorization: Bearer {self._token}'",
                f"-H 'Content-Type: application/json' -d '{json.dumps(_body(job, channel, mention))}'",
            ]
        )

    async def announce(self, job: str, channel: str, mention: Sequence[str]) -> None:
        """Announce a job in a channel.

        Raises:
            NotAnnounced: the bot does not run, or refuses.
        """
        timeout = aiohttp.ClientTimeout(total=_WITHIN_SECONDS)
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as client,
                client.post(self.url, json=_body(job, channel, mention)) as response,
            ):
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NotAnnounced("The CI job could not reach the bot.") from error
        if response.status not in (200, 202):
            raise NotAnnounced(f"The bot answered the CI job {response.status}: {answer['message']}")


def _body(job: str, channel: str, mention: Sequence[str]) -> dict[str, object]:
    return {"job_id": job, "channel": channel, "mention": list(mention)}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
