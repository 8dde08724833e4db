"""The list of conversations, in every way in which it may behave: Omni documents only its form. No I/O.

Source of the form: docs.omni.co/api/ai/list-ai-conversations.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal
from uuid import UUID

from bot.demo.omni.jobs import SimulatedJob
from bot.demo.omni.lists import read_cursor, read_page_size
from bot.demo.omni.organization import Key, Refusal
from bot.demo.omni.timeline import FINAL_STATES, timestamp

CONVERSATIONS_PER_PAGE = 50
"""Where the request does not say."""


@dataclass(slots=True)
class Listing:
    """How the list behaves."""

    moves: Literal["step", "end", "question"] = "end"
    """When `updatedAt` moves: at each step of a job, only at its question and its end, or only at its question."""
    late_seconds: float = 0.0
    """How much later the list shows a step or an end."""
    refusal: int | None = None
    """The status that the list answers instead."""
    has_times: bool = True
    """Whether rows have an `updatedAt`."""
    crowd: int = 0
    """How many conversations of other people have just moved, at each request."""


def conversations_page(
    jobs: Iterable[SimulatedJob], query: Mapping[str, str], key: Key, listing: Listing, now: float
) -> dict[str, Any]:
    """The body of `GET /api/v1/ai/conversations`. Raises Refusal."""
    if listing.refusal is not None:
        raise Refusal(listing.refusal, "Not available")
    if "userId" in query and key.is_personal:
        raise Refusal(403, "User-scoped tokens cannot filter by userId")
    size = read_page_size(query.get("pageSize"), CONVERSATIONS_PER_PAGE)
    first = read_cursor(query.get("cursor"))
    owner = key.member if key.is_personal else query.get("userId")
    seen = sorted(
        (job for job in jobs if owner in (None, job.user_id)),
        key=lambda job: (job.conversation_id, job.created_at),
    )
    rows = [_row(list(chat), listing, now) for _, chat in groupby(seen, key=lambda job: job.conversation_id)]
    rows += [(now, _other(number, now)) for number in range(listing.crowd)]
    rows.sort(key=lambda row: row[0], reverse=True)
    shown = [row for _, row in rows[first : first + size]]
    if not listing.has_times:
        for row in shown:
            del row["updatedAt"]
    has_next = first + size < len(rows)
    page = {
        "hasNextPage": has_next,
        "nextCursor": f"after-{first + size}" if has_next else None,
        "pageSize": size,
        "totalRecords": len(rows),
    }
    return {"data": shown, "pageInfo": page}


def _row(jobs: list[SimulatedJob], listing: Listing, now: float) -> tuple[float, dict[str, Any]]:
    """One conversation, and when it was updated."""
    updated = max(_updated(job, listing, now) for job in jobs)
    return updated, _body(jobs[0].conversation_id, jobs[-1].prompt, jobs[0].created_at, updated)


def _updated(job: SimulatedJob, listing: Listing, now: float) -> float:
    last = job.moment(now - listing.late_seconds)
    moves = listing.moves == "step" or (listing.moves == "end" and last.state in FINAL_STATES)
    return job.created_at + (last.since_seconds if moves else 0.0)


def _other(number: int, now: float) -> dict[str, Any]:
    return _body(str(UUID(int=number + 1, version=4)), "A secret question of another user", now, now)


def _body(conversation: str, prompt: str, created_at: float, updated_at: float) -> dict[str, Any]:
    return {
        "id": conversation,
        "name": None,
        "lastUserPrompt": prompt,
        "createdAt": timestamp(created_at),
        "updatedAt": timestamp(updated_at),
    }
