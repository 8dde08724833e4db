"""What follows an answered card in its thread."""

from dataclasses import dataclass

from bot.answer import pieces
from bot.blocks import markdown
from bot.job import Job, JobState
from bot.mrkdwn import plain, shortened
from bot.ports import Message, Upload

MOST_REPLIES = 5
_LONGEST_PIECE = 7_000
_LONGEST_HEARD = 1_000


@dataclass(frozen=True, slots=True)
class Rest:
    """What follows an answered card in its thread, in this order."""

    replies: tuple[tuple[Message, ...], ...] = ()
    """The forms of each reply, richest first; Slack is more certain to take a later one."""
    file: Upload | None = None
    """The whole answer, where the card and MOST_REPLIES replies do not hold it."""


def rest(job: Job, tenant: str) -> Rest:  # noqa: ARG001
    """What follows the answered card of a job; nothing where the card holds all of the answer."""
    if job.state is not JobState.COMPLETE or not job.answer:
        return Rest()
    _, *following = pieces(job.answer, _LONGEST_PIECE) or [""]
    file = Upload("answer.md", "The whole answer", job.answer.encode())
    return Rest(tuple(map(_forms, following[:MOST_REPLIES])), file if len(following) > MOST_REPLIES else None)


def _forms(piece: str) -> tuple[Message, ...]:
    heard = shortened(plain(piece), _LONGEST_HEARD)
    return Message(heard, (markdown(piece),)), Message(heard)
