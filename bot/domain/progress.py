"""What Omni's AI reports while it works on a job, and what the bot keeps of it."""

from dataclasses import dataclass, replace
from typing import Self

LONGEST_REPORT = 1_000
"""Most characters of a report that are kept. More are never shown."""
MOST_REPORTS = 6
"""How many reports are kept. Older ones are only counted."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the AI is doing. Omni reports it only while EXECUTING, and not from the start."""

    message: str
    iteration: int | None = None


@dataclass(frozen=True, slots=True)
class JobHistory:
    """What the bot keeps of a running job, because Omni's status has only the current progress report.

    A report that came and went between two polls is not in it.
    """

    recent: tuple[Progress, ...] = ()
    """At most MOST_REPORTS, newest last. Messages have at most LONGEST_REPORT characters."""
    earlier: int = 0
    """How many older reports are no longer kept."""
    usual_seconds: tuple[float, float] | None = None
    """The quartiles of how long jobs took, as they were when the job was first seen; None: not known yet. They stay,
    because a card that says other figures would need an edit."""

    def with_report(self, progress: Progress) -> Self:
        """Add a report. One of the newest iteration replaces the report before, so that repeating it changes nothing.

        An iteration that was reported before is reached again when Omni has begun anew: the later ones are dropped.
        """
        new = replace(progress, message=progress.message[:LONGEST_REPORT])
        kept = [each for each in self.recent if not _is_superseded(each, new)]
        reports = kept if kept and kept[-1] == new else [*kept, new]
        folded = max(0, len(reports) - MOST_REPORTS)
        earlier = self.earlier + folded if kept else 0
        return replace(self, recent=tuple(reports[folded:]), earlier=earlier)

    def begun_anew(self) -> Self:
        """Drop the reports."""
        return replace(self, recent=(), earlier=0)


def _is_superseded(report: Progress, new: Progress) -> bool:
    if report.iteration is None or new.iteration is None:
        return False
    return report.iteration >= new.iteration
