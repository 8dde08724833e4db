"""The list of conversations moves in each way that Omni may move it."""

from typing import Any
from uuid import UUID

import pytest

from bot.demo.omni.conversations import Listing, conversations_page
from bot.demo.omni.jobs import SimulatedJob
from bot.demo.omni.organization import ADA, KEY_OWNER, Key, Refusal
from bot.demo.omni.timeline import Complete, Script, timestamp

BEGAN = 1_700_000_000.0
STEPS = Script(0.0, ((10.0, "One", 1), (10.0, "Two", 2)), 0.0, Complete("Done."))
ORGANIZATION, PERSONAL = Key(KEY_OWNER), Key(ADA, is_personal=True)


def a_chat(number: int, user: str = KEY_OWNER, began: float = BEGAN) -> SimulatedJob:
    chat = str(UUID(int=number))
    return SimulatedJob(
        str(UUID(int=1_000 + number)), chat, "", user, f"Question {number}", None, STEPS, began
    )


def page(
    listing: Listing, after: float, *jobs: SimulatedJob, key: Key = ORGANIZATION, **query: str
) -> dict[str, Any]:
    return conversations_page(jobs, query, key, listing, BEGAN + after)


@pytest.mark.parametrize(
    "listing, updated",
    [
        (Listing("step"), [0, 10, 20]),
        (Listing("end"), [0, 0, 20]),
        (Listing("question"), [0, 0, 0]),
        (Listing("step", late_seconds=6.0), [0, 0, 10]),
        (Listing("end", late_seconds=6.0), [0, 0, 0]),
    ],
)
def test_update_moves_as_listed(listing: Listing, updated: list[float]) -> None:
    rows = [page(listing, after, a_chat(1))["data"][0] for after in (5.0, 15.0, 25.0)]
    assert [row["updatedAt"] for row in rows] == [timestamp(BEGAN + after) for after in updated]
    assert {key for row in rows for key in row} == {"id", "name", "lastUserPrompt", "createdAt", "updatedAt"}


def test_most_recent_comes_first_page_by_page() -> None:
    jobs = [a_chat(number, began=BEGAN + number) for number in range(5)]
    first = page(Listing(), 9.0, *jobs, pageSize="3")
    second = page(Listing(), 9.0, *jobs, pageSize="3", cursor=first["pageInfo"]["nextCursor"])
    found = [UUID(row["id"]).int for body in (first, second) for row in body["data"]]
    assert found == [4, 3, 2, 1, 0]
    assert (first["pageInfo"]["totalRecords"], second["pageInfo"]["hasNextPage"]) == (5, False)


def test_personal_token_lists_its_own() -> None:
    jobs = a_chat(1), a_chat(2, ADA)
    assert len(page(Listing(), 1.0, *jobs)["data"]) == 2
    assert [row["lastUserPrompt"] for row in page(Listing(), 1.0, *jobs, key=PERSONAL)["data"]] == [
        "Question 2"
    ]
    assert len(page(Listing(), 1.0, *jobs, userId=ADA)["data"]) == 1
    with pytest.raises(Refusal, match="User-scoped"):
        page(Listing(), 1.0, *jobs, key=PERSONAL, userId=ADA)


def test_crowd_fills_the_page() -> None:
    body = page(Listing(crowd=100), 5.0, a_chat(1), pageSize="100")
    assert a_chat(1).conversation_id not in [row["id"] for row in body["data"]]
    assert body["pageInfo"]["totalRecords"] == 101


def test_times_may_be_missing_and_the_list_refused() -> None:
    assert "updatedAt" not in page(Listing(has_times=False), 5.0, a_chat(1))["data"][0]
    with pytest.raises(Refusal):
        page(Listing(refusal=403), 5.0, a_chat(1))


@pytest.mark.parametrize("query", [{"pageSize": "0"}, {"pageSize": "101"}, {"cursor": "x"}])
def test_invalid_query_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(Refusal):
        conversations_page([], query, ORGANIZATION, Listing(), BEGAN)
