"""Whether a person may be shown a job of which only the id is known: where it depends on the job, Omni tells of it."""

import asyncio

from bot import accesslines, lines
from bot.access import Access, Unjudged
from bot.errors import OmniError
from bot.job import JobId
from bot.ports import Omni
from bot.watch import UserId

OMNI_ANSWERS_WITHIN_SECONDS = 15.0
"""How long a person waits for what has to be known before anything is begun for them: who they are, which job is meant
and whose it is. Nothing is stored before that."""


async def not_shown(access: Access, omni: Omni, person: UserId, job: JobId) -> str | None:
    """Why this person may not be shown the job, as a private line; None: they may. A job that is not there and one
    that is somebody else's read the same. Raises StoreUnavailable."""
    if not access.looks_at_jobs:
        return None
    try:
        async with asyncio.timeout(OMNI_ANSWERS_WITHIN_SECONDS):
            may_see = await access.may_see(person, await omni.status(job, urgent=True))
    except Unjudged:
        return accesslines.not_known()
    except OmniError as error:
        return lines.not_looked_up(error)
    except TimeoutError:
        return lines.omni_busy()
    return None if may_see else lines.no_such_job()
