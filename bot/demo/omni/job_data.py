"""Result of a simulated job: the body of `/result` and the picture of `/vis`.

Shapes: `AiJobResultResponse`, `AiJobAction` and `AiJobActionQueryResult` of Omni's OpenAPI document
(github.com/exploreomni/cli, api/openapi.json). Live tenants also do this: a COMPLETE job may hold a
query that is still `pending`, any field may be null, and a step may have no message.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.demo.omni.timeline import timestamp

NOT_DRAWABLE = "Visualization type is not renderable as an image"
"""Omni's response for tables and single numbers, and so for most jobs (exploreomni/omni-agentic-chat-demo)."""

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """A query that the AI ran, and its rows as CSV. None as `csv`: it failed, and `status` says so."""

    name: str | None
    csv: str | None
    status: str = "success"
    truncated: bool = False
    total_rows: int | None = None
    message: str | None = "I'll run a query."
    query: tuple[tuple[str, Any], ...] = (("table", "order_items"),)
    """The semantic query, as `POST /api/v1/query/run` takes it."""

    def action(self, at: str, *, pending: bool) -> Body:
        """The action in the body of `/result`."""
        result: Body = {
            "queryName": self.name,
            "status": "pending" if pending else self.status,
            "query": dict(self.query),
        }
        if not pending:
            result |= {
                "csvResult": self.csv,
                "csvResultWasTruncated": self.truncated,
                "hasResults": bool(self.csv),
                "totalRowCount": self.total_rows,
            }
        return {"type": "generate_query", "message": self.message, "timestamp": at, "result": result}


@dataclass(frozen=True, slots=True)
class JobData:
    """Data of a COMPLETE job. Times are seconds after its end.

    Args:
        queries: in the order in which they ran.
        picture: what `/vis` answers; None: 422 with `why_no_picture`.
        ready_after_seconds: until then `/result` and `/vis` answer 404.
        pending_seconds: until then every query is `pending` and has no CSV.
        steps: type and message of what the AI did besides, before the queries.
        changed: fields of the body of `/result` to answer instead of what belongs there.
        raw: the whole body of `/result` instead.
    """

    queries: tuple[Query, ...] = ()
    picture: bytes | None = None
    why_no_picture: str = NOT_DRAWABLE
    ready_after_seconds: float = 0.0
    pending_seconds: float = 0.0
    steps: tuple[tuple[str, str | None], ...] = ()
    changed: tuple[tuple[str, Any], ...] = ()
    raw: bytes | None = None

    def result(
        self, *, answer: str | None, topic: str | None, chat_url: str, ended_at: float, now: float
    ) -> bytes:
        """The body of `/result`: one JSON document."""
        if self.raw is not None:
            return self.raw
        at = timestamp(ended_at)
        pending = now - ended_at < self.pending_seconds
        steps = [{"type": kind, "message": message, "timestamp": at} for kind, message in self.steps]
        queries = [query.action(at, pending=pending) for query in self.queries]
        summary = {"type": "summarize", "message": answer or "", "timestamp": at}
        body: Body = {
            "message": answer,
            "resultSummary": answer,
            "topic": topic,
            "omniChatUrl": chat_url,
            "actions": [*steps, *queries, summary],
        }
        return json.dumps(body | dict(self.changed)).encode()


WIDTH, HEIGHT = 720, 360

_MARGIN = 32

_LINES = 4

_WHITE, _GRID, _BAR = b"\xff\xff\xff", b"\xe6\xe6\xe2", b"\x0b\x6b\x5d"


def bars(values: Sequence[float]) -> bytes:
    """A PNG with a bar for each value, all above zero, over a grid."""
    ground = HEIGHT - _MARGIN
    full = ground - _MARGIN
    step = (WIDTH - 2 * _MARGIN) / len(values)
    tops = [ground - round(full * value / max(values)) for value in values]
    grid = {ground - full * line // _LINES for line in range(_LINES + 1)}
    rows = bytearray()
    for y in range(HEIGHT):
        row = bytearray((_GRID if y in grid else _WHITE) * WIDTH)
        for index, top in enumerate(tops):
            if top <= y <= ground:
                left = round(_MARGIN + step * (index + 0.2))
                right = round(_MARGIN + step * (index + 0.8))
                row[3 * left : 3 * right] = _BAR * (right - left)
        rows += b"\x00" + row
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(rows), 9)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Length, kind, data, checksum. Source: www.w3.org/TR/png, 5.3."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
