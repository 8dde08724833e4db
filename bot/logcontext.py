"""What a line of the log is about: which follow, and which errand of a person. Bound where one starts, it stands in
every line that comes of it, also in those of tasks begun there.

Bindings are of the task in which they are made, so that nobody has to undo them.
"""

from uuid import uuid4

from structlog.contextvars import bind_contextvars, clear_contextvars

from bot.job import JobId


def begin_errand() -> None:
    """From here on, lines are about something that a person has just done; an id tells it from all else."""
    bind_contextvars(errand=uuid4().hex[:8])


def begin_follow(job: JobId) -> None:
    """From here on, lines are about this follow, and no more about the errand for which it was begun."""
    clear_contextvars()
    bind_contextvars(follow=job)


def about(job: JobId) -> None:
    """From here on, lines are also about this follow. Its id is its job's: a job has one follow."""
    bind_contextvars(follow=job)
