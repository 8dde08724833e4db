"""The result of a job: the steps of the AI with their queries, and the rows of each query as CSV."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

PENDING = "pending"
"""Status of a query whose rows are not available yet, as may be right after the job's end."""
ERROR = "error"
GENERATE_QUERY = "generate_query"
SUMMARIZE = "summarize"
"""Action types that the bot treats specially. A job may have any others."""


class Rating(StrEnum):
    """A user's feedback on an answer. The values are stored, counted and sent in buttons."""

    HELPFUL = "helpful"
    UNHELPFUL = "unhelpful"


@dataclass(frozen=True, slots=True)
class QuerySort:
    """A column by which a query sorts."""

    column: str
    is_descending: bool = False


@dataclass(frozen=True, slots=True)
class QueryDefinition:
    """Definition of a query. All names are those of Omni's model, `view.field`."""

    fields: tuple[str, ...] = ()
    filters: tuple[tuple[str, str], ...] = ()
    """Field and condition, such as `"last 12 months"`."""
    sorts: tuple[QuerySort, ...] = ()
    limit: int | None = None
    """Most rows; None: Omni does not say, or there is no limit."""


@dataclass(frozen=True, slots=True)
class Step:
    """One action of the AI."""

    type: str
    message: str = field(default="", repr=False)
    """Omni's text about the step; may be Markdown."""
    at: datetime | None = None
    """Aware UTC."""
    query: str | None = field(default=None, repr=False)
    """Name of the query that it ran."""
    definition: QueryDefinition = field(default=QueryDefinition(), repr=False)
    """The definition of that query."""


@dataclass(frozen=True, slots=True)
class QueryData:
    """One query and its rows. A field that Omni left out or sent as null is None."""

    name: str | None = field(default=None, repr=False)
    status: str | None = None
    csv: str | None = field(default=None, repr=False)
    """Header and rows. Numbers are formatted for display."""
    is_truncated: bool = False
    """Omni cut rows off."""
    total_rows: int | None = None
    """Number of rows in the database."""
    has_results: bool | None = None

    @property
    def is_pending(self) -> bool:
        """Whether its rows may still come."""
        if self.csv is not None or self.status == ERROR:
            return False
        return self.status == PENDING or self.has_results is not False


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of a job."""

    topic: str | None = None
    chat_url: str | None = field(default=None, repr=False)
    """`omniChatUrl` as received and not validated; see `chat_link`."""
    steps: tuple[Step, ...] = field(default=(), repr=False)
    queries: tuple[QueryData, ...] = field(default=(), repr=False)
    message: str | None = field(default=None, repr=False)
    """The answer, of at most LONGEST_ANSWER characters, for a job whose status has none."""
    message_is_cut: bool = False
    """Whether the message is longer in Omni."""

    @property
    def is_pending(self) -> bool:
        """Whether a query's rows may still come."""
        return any(query.is_pending for query in self.queries)

    @property
    def last_step_at(self) -> datetime | None:
        """Time of the last dated step: about the end of the job."""
        return max((step.at for step in self.steps if step.at is not None), default=None)

    @property
    def size(self) -> int:
        """Approximate number of characters."""
        rows = sum(len(query.csv or "") for query in self.queries)
        return rows + sum(len(step.message) for step in self.steps)
