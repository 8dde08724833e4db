"""What a job has found: the steps that the AI took, and each query's rows as Omni's CSV."""

from dataclasses import dataclass, field
from datetime import datetime

PENDING = "pending"
"""A query's status while its rows are still on their way, which may be so right after the job's end."""
ERROR = "error"
GENERATE_QUERY = "generate_query"
SUMMARIZE = "summarize"
"""The types of action that mean something here. A job may have any others."""


@dataclass(frozen=True, slots=True)
class Step:
    """One action of the AI."""

    type: str
    message: str = field(default="", repr=False)
    """What Omni says of it; may be Markdown."""
    at: datetime | None = None
    """Aware UTC."""
    query: str | None = field(default=None, repr=False)
    """The query's name, where it ran one that has a name."""


@dataclass(frozen=True, slots=True)
class QueryData:
    """One query and its rows. What Omni left out or sent as null is None."""

    name: str | None = field(default=None, repr=False)
    status: str | None = None
    csv: str | None = field(default=None, repr=False)
    """The heading and the rows. Numbers in it are formatted for people."""
    is_truncated: bool = False
    """Omni cut rows off."""
    total_rows: int | None = None
    """How many there are in the database."""
    has_results: bool | None = None

    @property
    def is_pending(self) -> bool:
        """Whether its rows may still come."""
        if self.csv is not None or self.status == ERROR:
            return False
        return self.status == PENDING or self.has_results is not False


@dataclass(frozen=True, slots=True)
class JobResult:
    """One reading of a job's result."""

    topic: str | None = None
    chat_url: str | None = field(default=None, repr=False)
    """`omniChatUrl` as received; whether it may become a link is decided where it is rendered."""
    steps: tuple[Step, ...] = field(default=(), repr=False)
    queries: tuple[QueryData, ...] = field(default=(), repr=False)

    @property
    def is_pending(self) -> bool:
        """Whether a query's rows may still come."""
        return any(query.is_pending for query in self.queries)

    @property
    def last_step_at(self) -> datetime | None:
        """When the AI did the last thing that Omni dates: about when the job ended."""
        return max((step.at for step in self.steps if step.at is not None), default=None)

    @property
    def size(self) -> int:
        """About how many characters it holds."""
        rows = sum(len(query.csv or "") for query in self.queries)
        return rows + sum(len(step.message) for step in self.steps)
