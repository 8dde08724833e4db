"""Files as the page draws them: pictures as pictures, tables and texts by their beginning, all with name and size."""

import csv
from collections.abc import Mapping
from typing import Any

from bot.demo.text import markdown

Raw = Mapping[str, Any]
View = dict[str, Any]

_ROWS = 6
_UNITS = ("B", "kB", "MB", "GB")


def file(raw: Raw) -> View:
    """A file of a message, as `StoredFile.as_json` tells it."""
    preview = raw.get("preview")
    shown: View = {
        "name": raw["name"],
        "title": raw.get("title") or raw["name"],
        "size": size(raw["size"]),
        "url": raw["url_private"],
        "kind": "other",
    }
    if str(raw["mimetype"]).startswith("image/"):
        dimensions = {"width": raw.get("original_w"), "height": raw.get("original_h")}
        return shown | dimensions | {"kind": "image", "alt": raw.get("alt_txt", "")}
    if not preview:
        return shown
    if raw["mimetype"] == "text/csv":
        return shown | _table(str(preview), raw.get("lines_more", 0))
    if raw["mimetype"] == "text/markdown":
        return shown | {"kind": "text", "text": markdown(str(preview), str), "more": raw.get("lines_more", 0)}
    plain = [{"tag": "pre", "children": [str(preview)]}]
    return shown | {"kind": "text", "text": plain, "more": raw.get("lines_more", 0)}


def size(length: int) -> str:
    """Bytes as people read them."""
    amount, unit = float(length), 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    digits = 0 if amount >= 10 or not unit else 1
    return f"{amount:.{digits}f}\N{NO-BREAK SPACE}{_UNITS[unit]}"


def _table(preview: str, lines_more: int) -> View:
    rows = [row for row in csv.reader(preview.splitlines()) if row]
    more = max(0, len(rows) - _ROWS) + lines_more
    return {"kind": "table", "head": rows[:1], "rows": rows[1:_ROWS], "more": more}
