"""Render what *Show data* and *Show steps* post in a card's thread.

The variants of a message are ordered: the richest first, the plainest last.
"""

import re

from bot.domain import (
    SUMMARIZE,
    Block,
    JobResult,
    Message,
    QueryData,
    QueryDefinition,
    Step,
    Upload,
    strip_control_chars,
)
from bot.rendering.blocks import LONGEST_SECTION, context, section
from bot.rendering.csv_export import Rows, csv_file, number, read_rows
from bot.rendering.data_blocks import MOST_ROWS, chart, fitting, one_line, table
from bot.rendering.markdown.document import to_text
from bot.rendering.markdown.mrkdwn import clock, code, fenced, shortened
from bot.rendering.markdown.parse import parse
from bot.rendering.markdown.to_mrkdwn import aligned

MOST_SHOWN = 3
"""Queries that get their own message. The others are only files."""

MOST_FILES = 10

_ROWS_OF_MANY = 20
"""Rows shown of a query that has too many for a table. Its file has all of them."""

_LONGEST_NAME = 100

_LONGEST_FILE_NAME = 80

_LONGEST_CODE = 2_800

_LONGEST_FALLBACK = 1_000

_FALLBACK_ROWS = 10

_NOT_IN_FILE_NAMES = re.compile(r"[^\w .,()+-]+")


def with_rows(result: JobResult) -> list[QueryData]:
    """Return the queries that have a header and at least one row."""
    return [query for query in result.queries if query.csv and read_rows(query.csv, 1).rows]


def messages(queries: list[QueryData], *, with_charts: bool) -> list[tuple[Message, ...]]:
    """Render a message for each query, in its variants. `with_charts`: include Slack's own charts."""
    several = len(queries) > 1
    shown = [
        _message(query, _name(query, place if several else None), with_chart=with_charts)
        for place, query in enumerate(queries[:MOST_SHOWN], start=1)
    ]
    more = len(queries) - MOST_SHOWN
    return [*shown, (_and_more(more, len(queries)),)] if more > 0 else shown


def uploads(queries: list[QueryData]) -> list[Upload]:
    """Render each query as a CSV file with a unique name."""
    files: list[Upload] = []
    taken: set[str] = set()
    several = len(queries) > 1
    for place, query in enumerate(queries[:MOST_FILES], start=1):
        name = _name(query, place if several else None)
        file_name = _file_name(name, taken)
        title = f"{one_line(name, _LONGEST_NAME)}{' (truncated by Omni)' * query.is_truncated}"
        files.append(Upload(file_name, title, csv_file(query.csv or "")))
    return files


def _message(query: QueryData, name: str, *, with_chart: bool) -> tuple[Message, ...]:
    rows = _shown(query)
    count = _count(query, rows.total)
    heading = section(f"*{shortened(name, _LONGEST_NAME)}* · {count}")
    text = "\n".join([f"{shortened(name, _LONGEST_NAME)}: {count}.", _fallback_text(rows)])
    charts = [block] if with_chart and (block := chart(query)) is not None else []
    tables = [block] if (block := table(rows, name)) is not None else []
    variants = []
    if tables:
        cut = _cut(rows, len(rows.rows))
        if charts:
            variants.append(Message(text, (heading, *charts, *tables, *cut)))
        variants.append(Message(text, (heading, *tables, *cut)))
    return *variants, Message(text, (heading, *_rows_as_code(rows))), Message(text)


def _shown(query: QueryData) -> Rows:
    rows = fitting(read_rows(query.csv or "", MOST_ROWS))
    return rows if rows.are_all else rows.first(_ROWS_OF_MANY)


def _rows_as_code(rows: Rows) -> list[Block]:
    # As many rows as fit into one section.
    for most in (len(rows.rows), 10, 5, 2, 1):
        if most <= len(rows.rows):
            lines = [[one_line(cell, 100) for cell in row] for row in (rows.heading, *rows.rows[:most])]
            numbers = {at for row in rows.rows[:1] for at, cell in enumerate(row) if number(cell) is not None}
            block = fenced(aligned(lines, numbers))
            if len(block) <= _LONGEST_CODE:
                return [section(block), *_cut(rows, most)]
    return [context("The rows are too wide to show here.")]


def _cut(rows: Rows, shown: int) -> list[Block]:
    if shown == rows.total:
        return []
    return [context(f"Showing the first {_rows(shown)} of {rows.total:,}.")]


def _fallback_text(rows: Rows) -> str:
    # For notifications and screen readers.
    lines = (", ".join(filter(None, row)) for row in (rows.heading, *rows.rows[:_FALLBACK_ROWS]))
    return shortened("\n".join(one_line(line, 200) for line in lines), _LONGEST_FALLBACK)


def _count(query: QueryData, n_rows: int) -> str:
    if not query.is_truncated:
        return _rows(n_rows)
    if query.total_rows is not None and query.total_rows > n_rows:
        return f"truncated by Omni: the first {_rows(n_rows)} of {query.total_rows:,}"
    return f"truncated by Omni: the first {_rows(n_rows)}"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _and_more(more: int, total: int) -> Message:
    queries = "1 more query has" if more == 1 else f"{more} more queries have"
    text = f"{queries} rows, too many to show here."
    if total > MOST_FILES:
        text += f" The first {MOST_FILES} are attached as files; the others are in Omni."
    return Message(text, (section(text),))


def _name(query: QueryData, place: int | None) -> str:
    return " ".join((query.name or "").split()) or ("Query" if place is None else f"Query {place}")


def _file_name(name: str, taken: set[str]) -> str:
    stem = _NOT_IN_FILE_NAMES.sub("_", strip_control_chars(name))[:_LONGEST_FILE_NAME].strip(" ._") or "query"
    number = 1
    while (file_name := f"{stem}{f' ({number})' if number > 1 else ''}.csv").lower() in taken:
        number += 1
    taken.add(file_name.lower())
    return file_name


MOST_STEPS = 40

_LONGEST_MESSAGE = 300

_MOST_PARSED = 1_200

_LONGEST_QUERY = 100

_MOST_PARTS = 6
"""Fields, filters or sorts of a query that are shown."""
_LONGEST_PART = 60

_LONGEST_TYPE = 60

_LONGEST = 7_000

_LONGEST_TEXT = 2_500

_ACTIONS = {
    "generate_query": "Ran a query",
    SUMMARIZE: "Wrote the answer",
    "inspect_model": "Looked at the model",
    "search_model": "Searched the model",
    "search_model_files": "Searched the model's files",
    "manage_task_list": "Planned its work",
    "create_dashboard_from_chat": "Built a dashboard",
    "create_app": "Built an app",
    "create_app_from_chat": "Built an app",
}
"""Labels of the action types seen in Omni (exploreomni/OmniKit). Other types are shown by their name."""


def steps_message(result: JobResult) -> tuple[Message, ...] | None:
    """Render the steps as the variants of a message. None without steps."""
    if not result.steps:
        return None
    lines = _within(
        [_line(place, step) for place, step in enumerate(result.steps[:MOST_STEPS], start=1)], _LONGEST
    )
    count = "1 step" if len(result.steps) == 1 else f"{len(result.steps)} steps"
    more = _more(len(result.steps) - len(lines))
    blocks = [section(f"*What the AI did* · {count}"), *map(section, _sections([*lines, *more]))]
    shown = _within(lines, _LONGEST_TEXT)
    text = "\n".join([f"What the AI did, in {count}:", *shown, *_more(len(result.steps) - len(shown))])
    return Message(text, tuple(blocks)), Message(text)


def _line(place: int, step: Step) -> str:
    action = _ACTIONS.get(step.type) or _type(step.type)
    query = f" “{shortened(' '.join(step.query.split()), _LONGEST_QUERY)}”" if step.query else ""
    # A summary repeats the whole answer, which is on the card.
    said = "" if step.type == SUMMARIZE else " ".join(to_text(parse(step.message[:_MOST_PARSED])).split())
    at = f" · {clock(step.at)}" if step.at is not None else ""
    message = f": {shortened(said, _LONGEST_MESSAGE)}" if said else ""
    return "\n".join([f"{place}. *{action}*{query}{message}{at}", *_definition(step.definition)])


def _definition(query: QueryDefinition) -> list[str]:
    """Write the definition of a query as a line that Slack sets apart from the step. Empty if Omni does not say."""
    filters = [f"{_code(field)} is {_code(condition)}" for field, condition in query.filters]
    sorts = [f"{_code(sort.column)}{' descending' * sort.is_descending}" for sort in query.sorts]
    named = (("fields", [*map(_code, query.fields)]), ("filters", filters), ("sorted by", sorts))
    parts = [f"{name} {_first(items)}" for name, items in named if items]
    parts += [f"limit {query.limit:,}"] if query.limit is not None else []
    return [f"> {' · '.join(parts)}"] if parts else []


def _code(text: str) -> str:
    return code(text, _LONGEST_PART)


def _first(items: list[str]) -> str:
    return ", ".join([*items[:_MOST_PARTS], *_more(len(items) - _MOST_PARTS)]).rstrip(".")


def _type(name: str) -> str:
    return shortened(" ".join(name.replace("_", " ").split()), _LONGEST_TYPE) or "Something else"


def _more(left_out: int) -> list[str]:
    return [f"and {left_out} more."] if left_out > 0 else []


def _within(lines: list[str], limit: int) -> list[str]:
    length = 0
    for place, line in enumerate(lines):
        length += len(line) + 1
        if length > limit:
            return lines[:place]
    return lines


def _sections(lines: list[str]) -> list[str]:
    texts = [lines[0]]
    for line in lines[1:]:
        joined = f"{texts[-1]}\n{line}"
        if len(joined) <= LONGEST_SECTION:
            texts[-1] = joined
        else:
            texts.append(line)
    return texts
