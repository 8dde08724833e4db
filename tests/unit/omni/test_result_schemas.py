"""The semantic query of an action: each part is read for itself, whatever the others are."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.results import QueryDefinition, QuerySort
from bot.omni.result_schemas import MOST_PARTS, read_result

SCALAR: st.SearchStrategy[Any] = st.sampled_from([None, True, 5, 0.5, 10**30, "", "text", "\ud800", [], {}])
PART = SCALAR | st.lists(SCALAR, max_size=3) | st.dictionaries(st.sampled_from("ab"), SCALAR)
ANY = PART | st.lists(PART, max_size=3) | st.dictionaries(st.sampled_from("ab"), PART)


def definition(query: Any) -> QueryDefinition:
    action = {"type": "generate_query", "result": {"queryName": "Top", "query": query}}
    (step,) = read_result(json.dumps({"actions": [action]}).encode()).steps
    return step.definition


def test_query_of_the_documentation() -> None:
    query = {
        "table": "order_items",
        "fields": ["order_items.created_at[month]", "order_items.total_revenue"],
        "filters": {"order_items.created_at": "this quarter", "users.age": ">25"},
        "sorts": [{"column_name": "order_items.total_revenue", "sort_descending": True}],
        "limit": 100,
    }
    assert definition(query) == QueryDefinition(
        fields=("order_items.created_at[month]", "order_items.total_revenue"),
        filters=(("order_items.created_at", "this quarter"), ("users.age", ">25")),
        sorts=(QuerySort("order_items.total_revenue", is_descending=True),),
        limit=100,
    )


@pytest.mark.parametrize(
    "condition, said",
    [
        ({"kind": "EQUALS", "type": "string", "values": ["CA", "NY"]}, "CA, NY"),
        ({"kind": "EQUALS", "type": "string", "values": ["CA"], "is_negative": True}, "not CA"),
        ({"kind": "GREATER_THAN", "type": "number", "values": [5]}, "greater than 5"),
        (
            {"kind": "TIME_FOR_INTERVAL_DURATION", "left_side": "6 months ago", "right_side": "6 months"},
            "time for interval duration 6 months ago, 6 months",
        ),
        ({"kind": "IS_NULL"}, '{"kind": "IS_NULL"}'),
        (["a", "ü"], '["a", "ü"]'),
        (None, "null"),
    ],
)
def test_filter_objects_become_words(condition: Any, said: str) -> None:
    assert definition({"filters": {"users.state": condition}}).filters == (("users.state", said),)


@pytest.mark.parametrize(
    "query", [None, "text", [], {}, {"fields": "a", "filters": [], "sorts": {}, "limit": "5"}]
)
def test_unknown_forms_are_left_out(query: Any) -> None:
    assert definition(query) == QueryDefinition()


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["fields", "filters", "sorts", "limit"], ANY)))
def test_any_query_can_be_read(query: Any) -> None:
    found = definition(query)
    assert max(len(found.fields), len(found.filters), len(found.sorts)) <= MOST_PARTS
