"""The lists that the simulated Omni answers with, page by page: models, topics, users. No I/O.

Shapes: `ModelsListResponse`, `ModelsListTopicsResponse` and `ScimUsersListResponse` of Omni's OpenAPI document
(github.com/exploreomni/cli, api/openapi.json).
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from bot.demo.omni.organization import Member, Model, Refusal

MODELS_PER_PAGE = 20
"""Where the request does not say. The document's example; it names no default and no greatest number."""
MOST_PER_PAGE = 100
USERS_PER_PAGE = 100
"""Where the request does not say. Source: `count` in the OpenAPI document."""
_KINDS = ("SCHEMA", "SHARED", "SHARED_EXTENSION", "BRANCH", "WORKBOOK", "QUERY")
_SORTED_BY = ("name", "modelKind", "connectionId", "baseModelId", "createdAt", "updatedAt")
_CURSOR = re.compile(r"after-(\d{1,9})")
_NUMBER = re.compile(r"-?\d*\.?\d+")
_FILTER = re.compile(r'\s*userName\s+eq\s+("(?:[^"\\]|\\.)*")\s*', re.IGNORECASE)

Body = dict[str, Any]


def models_page(models: Iterable[Model], query: Mapping[str, str]) -> Body:
    """The body of `GET /api/v1/models`. Raises Refusal."""
    kind = _one_of(query, "modelKind", _KINDS)
    sort_field = _one_of(query, "sortField", _SORTED_BY)
    direction = _one_of(query, "sortDirection", ("asc", "desc"))
    with_deleted = _one_of(query, "includeDeleted", ("0", "1", "true", "false")) in ("1", "true")
    records = [
        model.record()
        for model in models
        if (kind is None or model.kind == kind) and (with_deleted or not model.is_deleted)
    ]
    if sort_field is not None:
        records.sort(key=lambda record: record[sort_field] or "", reverse=direction == "desc")
    size = read_page_size(query.get("pageSize"), MODELS_PER_PAGE)
    first = read_cursor(query.get("cursor"))
    shown = records[first : first + size]
    has_next = first + size < len(records)
    page = {
        "hasNextPage": has_next,
        "nextCursor": f"after-{first + size}" if has_next else None,
        "pageSize": size,
        "totalRecords": len(records),
    }
    return {"pageInfo": page, "records": shown}


def topics_list(model: Model) -> Body:
    """The body of `GET /api/v1/models/{modelId}/topic`."""
    shown = [{"name": name, "label": name.title(), "base_view_name": name} for name in model.topics]
    hidden = [{"name": name, "base_view_name": name, "hidden": True} for name in model.hidden_topics]
    return {"success": True, "topics": shown + hidden}


def users_page(
    members: Iterable[Member], query: Mapping[str, str], *, most: int, ignores_filter: bool
) -> Body:
    """The body of `GET /api/scim/v2/Users`; `most` rows on a page, however many are asked for. Raises Refusal."""
    wanted = _user_name(query["filter"]) if "filter" in query else None
    if ignores_filter:
        wanted = None
    found = [m for m in members if wanted is None or m.email.casefold() == wanted.casefold()]
    first = max(1, _number(query.get("startIndex"), 1, "startIndex"))
    count = max(0, _number(query.get("count"), USERS_PER_PAGE, "count"))
    shown = found[first - 1 : first - 1 + min(count, most)]
    return {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": len(found),
        "startIndex": first,
        "itemsPerPage": len(shown),
        "Resources": [user_resource(member) for member in shown],
    }


def user_resource(member: Member) -> Body:
    """A user as SCIM shows them, without attributes."""
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": member.id,
        "userName": member.email,
        "displayName": member.name,
        "active": member.is_active,
    }


def _user_name(filter_: str) -> str:
    """The address that a filter asks for; no other filter is played."""
    asked = _FILTER.fullmatch(filter_)
    try:
        name: str = json.loads(asked.group(1)) if asked else ""
    except ValueError:
        name = ""
    if not name:
        raise Refusal(400, "Invalid filter")
    return name


def _one_of(query: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str | None:
    value = query.get(name)
    if value is not None and value not in allowed:
        raise Refusal(400, f"Bad Request: {name}: Invalid enum value")
    return value


def read_page_size(value: str | None, default: int) -> int:
    """The number of rows that a page has at most. Raises Refusal."""
    if value is None:
        return default
    if not value.isdecimal() or not 0 < int(value) <= MOST_PER_PAGE:
        raise Refusal(400, "Bad Request: pageSize: Invalid number")
    return int(value)


def read_cursor(cursor: str | None) -> int:
    """How many rows come before the page. Raises Refusal."""
    if cursor is None:
        return 0
    given = _CURSOR.fullmatch(cursor)
    if given is None:
        raise Refusal(400, "Bad Request: cursor: Invalid cursor")
    return int(given.group(1))


def _number(value: str | None, default: int, name: str) -> int:
    if value is None:
        return default
    if not _NUMBER.fullmatch(value):
        raise Refusal(400, f"Bad Request: {name}: Invalid number")
    return int(float(value))
