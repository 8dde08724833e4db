"""The audit trail: one line in the log per ask, follow, cancel, retry and refusal. No prompt, and no answer.

Its logger has a name of its own, so that `LOG_LEVEL` leaves it alone: `logs` says so.
"""

from enum import StrEnum

import structlog

from bot.job import JobId
from bot.watch import Place, UserId

LOGGER = "bot.audit"


class Act(StrEnum):
    """What a person did, or wanted to."""

    ASK = "ask"
    FOLLOW_UP = "follow up"
    RETRY = "retry"
    FOLLOW = "follow"
    CANCEL = "cancel"
    USE = "use"
    """Anything at all: what is refused to people who may not use the bot."""


_log = structlog.get_logger(LOGGER)


def record(act: Act, user: UserId, place: Place | None, outcome: str, *, job: JobId | None = None) -> None:
    """Write a line: who, where, which job, and what came of it, in words of ours.

    `place`: None where what is refused has none, such as a job that a list leaves out.
    """
    where = {} if place is None else {"team": place.team, "channel": place.channel}
    which = {} if job is None else {"job": job}
    _log.info("audit", act=act.value, user=user, **where, **which, outcome=outcome)
