"""Whether an Omni takes a key: one request, which is made whether or not the bot is running."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

from bot.budget import Gate, Rate
from bot.credentials import OmniAccount
from bot.errors import JobNotFound, OmniBusy
from bot.job import JobId
from bot.omni import OmniApi, omni_client

NOBODYS_JOB = JobId("00000000-0000-0000-0000-000000000000")
"""A job that does not exist: a good key is told so, a bad one is refused."""


@asynccontextmanager
async def unmetered(account: OmniAccount) -> AsyncIterator[OmniApi]:
    """Omni, beside the budget that the running bot keeps for the key."""
    async with omni_client(account.base_url, account.api_token) as client:
        yield OmniApi(client, Gate(_Unmetered(), "check", Rate.within(1, burst=1)), Random())


async def prove(omni: OmniApi) -> None:
    """Ask for nobody's job.

    Raises:
        KeyRefused: Omni does not take the key.
        OmniError: Omni does not answer, or not as Omni does.
    """
    with suppress(JobNotFound, OmniBusy):
        await omni.status(NOBODYS_JOB)


class _Unmetered:
    """A ledger for the few requests of a check."""

    async def take(self, _budget: str, _rate: Rate, *, urgent: bool = True) -> float:  # noqa: ARG002
        return 0.0

    async def pause(self, _budget: str, _rate: Rate, _seconds: float) -> None:
        """One request needs no pause after it."""
