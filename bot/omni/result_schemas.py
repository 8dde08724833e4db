"""Parses the result of a job: the steps of the AI, with the queries it ran and their rows."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ValidationError

from bot.domain import (
    GENERATE_QUERY,
    JobResult,
    OmniUnreachable,
    QueryData,
    QueryDefinition,
    QuerySort,
    Step,
)
from bot.omni.schemas import (
    AnyText,
    Beginning,
    Body,
    Flag,
    Number,
    Text,
    Time,
    cut_answer,
    decoded,
    list_or_empty,
    object_or_empty,
)

_NO_MESSAGE = ("null", "undefined")
"""Messages that mean none; live tenants send them."""


class _QueryResult(Body):
    query_name: Text = None
    status: Text = None
    csv_result: AnyText = None
    csv_result_was_truncated: Flag = None
    has_results: Flag = None
    total_row_count: Number = None
    query: Any = None


class _Action(Body):
    type: Text = None
    message: Text = None
    timestamp: Time = None
    result: Annotated[_QueryResult, BeforeValidator(object_or_empty)] = _QueryResult()


class _Result(Body):
    message: Beginning = None
    result_summary: Beginning = None
    topic: Text = None
    omni_chat_url: Text = None
    actions: Annotated[
        tuple[Annotated[_Action, BeforeValidator(object_or_empty)], ...], BeforeValidator(list_or_empty)
    ] = ()


def read_result(body: bytes) -> JobResult:
    """Parse a result. Raises OmniUnreachable if it is not a JSON object."""
    try:
        result = _Result.model_validate(decoded(body))
    except ValidationError as error:
        raise OmniUnreachable("not a job result") from error
    message, is_cut = cut_answer(result.message or result.result_summary)
    return JobResult(
        topic=result.topic,
        chat_url=result.omni_chat_url,
        message=message,
        message_is_cut=is_cut,
        steps=tuple(_step(action) for action in result.actions if action.type is not None),
        queries=tuple(_query(action.result) for action in result.actions if action.type == GENERATE_QUERY),
    )


def _step(action: _Action) -> Step:
    message = (action.message or "").strip()
    is_query = action.type == GENERATE_QUERY
    return Step(
        type=action.type or "",
        message="" if message in _NO_MESSAGE else message,
        at=action.timestamp,
        query=action.result.query_name if is_query else None,
        definition=_definition(action.result.query if is_query else None),
    )


def _query(result: _QueryResult) -> QueryData:
    return QueryData(
        name=result.query_name,
        status=result.status,
        csv=result.csv_result,
        is_truncated=result.csv_result_was_truncated is True,
        total_rows=result.total_row_count,
        has_results=result.has_results,
    )


MOST_PARTS = 100
"""Fields, filters or sorts that are read. No query that a person reads has more."""

_LONGEST_CONDITION = 1_000


def _texts(value: object) -> object:
    items = value if isinstance(value, list) else []
    return [item for item in items[:MOST_PARTS] if isinstance(item, str) and item.strip()]


class _Sort(BaseModel, extra="ignore"):
    column_name: Text = None
    sort_descending: Flag = None


class _SemanticQuery(BaseModel, extra="ignore", hide_input_in_errors=True):
    """Its keys are in snake case, unlike those of all other bodies."""

    fields_: Annotated[tuple[str, ...], BeforeValidator(_texts)] = ()
    filters: Annotated[dict[str, object], BeforeValidator(object_or_empty)] = {}
    sorts: Annotated[
        tuple[Annotated[_Sort, BeforeValidator(object_or_empty)], ...], BeforeValidator(list_or_empty)
    ] = ()
    limit: Number = None


def _definition(query: object) -> QueryDefinition:
    """Parse the semantic query of an action.

    Omni documents it as any object that `POST /api/v1/query/run` takes, so each part is read for itself and left out if
    it is of another type. Source: docs.omni.co/api/query.
    """
    value = query if isinstance(query, dict) else {}
    parsed = _SemanticQuery.model_validate({**value, "fields_": value.get("fields")})
    return QueryDefinition(
        fields=parsed.fields_,
        filters=tuple(
            (field, _condition(condition)) for field, condition in list(parsed.filters.items())[:MOST_PARTS]
        ),
        sorts=tuple(
            QuerySort(sort.column_name, is_descending=sort.sort_descending is True)
            for sort in parsed.sorts[:MOST_PARTS]
            if sort.column_name
        ),
        limit=parsed.limit,
    )


def _condition(condition: object) -> str:
    """A filter in words: Omni's own filter expression, or the values of its filter object."""
    if isinstance(condition, str):
        return condition
    if not isinstance(condition, dict):
        return _json(condition)
    kind = str(condition.get("kind") or "").replace("_", " ").lower()
    values = condition.get("values")
    sides = [condition.get(key) for key in ("left_side", "right_side") if condition.get(key) is not None]
    operands = values if isinstance(values, list) else sides
    if not kind or not operands:
        return _json(condition)
    words = ["not"] if condition.get("is_negative") is True else []
    # The reader gets "users.state is CA, NY".
    words += [kind] if kind != "equals" else []
    return " ".join([*words, ", ".join(_json(operand) for operand in operands)])


def _json(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text[:_LONGEST_CONDITION]
