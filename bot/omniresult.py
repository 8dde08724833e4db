"""The body of `GET /api/v1/ai/jobs/{jobId}/result`, read into a `JobResult`.

Source of fields: `AiJobResultResponse` of Omni's OpenAPI document (github.com/exploreomni/cli,
api/openapi.json), where all of them are optional; live tenants also send them as null.
"""

from typing import Annotated

from pydantic import BeforeValidator, ValidationError

from bot.errors import OmniUnreachable
from bot.omnibody import AnyText, Body, Flag, Number, Text, Time, decoded, list_or_empty, object_or_empty
from bot.result import GENERATE_QUERY, JobResult, QueryData, Step

_NO_MESSAGE = ("null", "undefined")
"""What some live messages consist of."""


class _QueryResult(Body):
    query_name: Text = None
    status: Text = None
    csv_result: AnyText = None
    csv_result_was_truncated: Flag = None
    has_results: Flag = None
    total_row_count: Number = None


class _Action(Body):
    type: Text = None
    message: Text = None
    timestamp: Time = None
    result: Annotated[_QueryResult, BeforeValidator(object_or_empty)] = _QueryResult()


class _Result(Body):
    topic: Text = None
    omni_chat_url: Text = None
    actions: Annotated[
        tuple[Annotated[_Action, BeforeValidator(object_or_empty)], ...], BeforeValidator(list_or_empty)
    ] = ()


def read_result(body: bytes) -> JobResult:
    """A result body as a `JobResult`.

    Raises:
        OmniUnreachable: it is not a JSON object.
    """
    try:
        result = _Result.model_validate(decoded(body))
    except ValidationError as error:
        raise OmniUnreachable("not a job result") from error
    return JobResult(
        topic=result.topic,
        chat_url=result.omni_chat_url,
        steps=tuple(_step(action) for action in result.actions if action.type is not None),
        queries=tuple(_query(action.result) for action in result.actions if action.type == GENERATE_QUERY),
    )


def _step(action: _Action) -> Step:
    message = (action.message or "").strip()
    return Step(
        type=action.type or "",
        message="" if message in _NO_MESSAGE else message,
        at=action.timestamp,
        query=action.result.query_name if action.type == GENERATE_QUERY else None,
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
