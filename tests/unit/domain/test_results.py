"""A job's result is parsed tolerantly: an odd field never costs the others."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import OmniUnreachable
from bot.domain.results import JobResult, QueryData, Step
from bot.omni.result_schemas import read_result
from tests.support.tables import for_each

AT = "2025-01-15T10:00:10.000Z"
QUERY: dict[str, Any] = {
    "queryName": "Top products",
    "status": "success",
    "csvResult": 'Product,Revenue\nSunglasses,"678,994.41"',
    "csvResultWasTruncated": True,
    "hasResults": True,
    "totalRowCount": 48,
    "query": {"table": "order_items"},
}
BODY: dict[str, Any] = {
    "message": "42",
    "resultSummary": "42",
    "topic": "order_items",
    "omniChatUrl": "https://acme.omni.co/chat/1",
    "actions": [
        {"type": "search_model", "message": "Looking.", "timestamp": AT},
        {"type": "generate_query", "message": "I'll run a query.", "timestamp": AT, "result": QUERY},
        {"type": "summarize", "message": "42", "timestamp": AT},
    ],
    "metrics": {"durationMs": 17},
}


def read(body: object) -> JobResult:
    return read_result(json.dumps(body).encode())


def query(**changed: object) -> QueryData:
    action = {"type": "generate_query", "message": "", "timestamp": AT, "result": QUERY | changed}
    (found,) = read({"actions": [action]}).queries
    return found


def test_documented_result_is_parsed() -> None:
    at = datetime(2025, 1, 15, 10, 0, 10, tzinfo=UTC)
    result = read(BODY)
    assert result == JobResult(
        topic="order_items",
        chat_url="https://acme.omni.co/chat/1",
        steps=(
            Step("search_model", "Looking.", at),
            Step("generate_query", "I'll run a query.", at, "Top products"),
            Step("summarize", "42", at),
        ),
        queries=(QueryData("Top products", "success", QUERY["csvResult"], True, 48, True),),
        message="42",
    )
    assert result.last_step_at == at and not result.is_pending


def test_repr_has_no_answer_or_rows() -> None:
    assert "Sunglasses" not in repr(read(BODY)) and "42" not in repr(read(BODY))


@for_each("body", [{}, dict.fromkeys(BODY), {"actions": {}}, {"actions": [None, 3, [], {}]}])
def test_empty_result_is_accepted(body: dict[str, Any]) -> None:
    assert read(body) == JobResult()


@for_each("message", [None, "", " ", "null", "undefined", 3, []])
def test_step_without_message_is_empty(message: object) -> None:
    (step,) = read({"actions": [{"type": "create_app", "message": message, "timestamp": "soon"}]}).steps
    assert step == Step("create_app")


@for_each(
    "changed, is_pending",
    [
        ({}, False),
        ({"csvResult": ""}, False),
        ({"csvResult": None}, True),
        ({"csvResult": 3}, True),
        ({"csvResult": None, "status": "pending", "hasResults": None}, True),
        ({"csvResult": None, "status": "pending", "hasResults": False}, True),
        ({"csvResult": None, "status": "error"}, False),
        ({"csvResult": None, "hasResults": False}, False),
    ],
)
def test_query_is_pending_while_rows_may_come(changed: dict[str, Any], is_pending: bool) -> None:
    assert query(**changed).is_pending is is_pending


@for_each("body", [b"", b"[]", b"null", b"<html>", b"\xff", b"[" * 100_000, b'{"actions": ['])
def test_malformed_result_is_unreachable(body: bytes) -> None:
    with pytest.raises(OmniUnreachable) as error:
        read_result(body)
    assert len(str(error.value)) < 100


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=[])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*BODY, *QUERY, "type", "timestamp", "result"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(BODY)), _ANYTHING))
def test_any_field_may_have_any_type(changed: dict[str, Any]) -> None:
    result = read(BODY | changed)
    if "actions" not in changed:
        assert result.queries == read(BODY).queries
    for text in (
        result.topic,
        *(each.csv for each in result.queries),
        *(each.message for each in result.steps),
    ):
        (text or "").encode("utf-8")
