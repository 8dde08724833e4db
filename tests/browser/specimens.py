"""One example of everything a Slack message can contain."""

from typing import Any

from bot.demo.omni.job_data import bars
from bot.demo.sample_answers import (
    CHANNELS_CSV,
    COHORT_QUERY,
    HOSTILE,
    LANGUAGES,
    QUARTERLY_REVIEW,
    RETURNS,
    TOP_PRODUCTS,
)
from bot.demo.slack.files import StoredFile

Block = dict[str, Any]

PICTURE = StoredFile(
    "F0PICTURE", "revenue.png", 0, "Bars that rise from April to September", "Revenue by month"
)
PICTURE.content = bars((412_300, 448_700, 467_200, 501_900, 523_400, 548_100))
SHEET = StoredFile("F0SHEET", "revenue-by-channel-and-month.csv", 0, None, "Revenue by channel and month")
SHEET.content = ("\ufeff" + CHANNELS_CSV + CHANNELS_CSV.partition("\n")[2] * 8).encode()
ANSWER = StoredFile("F0ANSWER", "answer.md", 0, None, "The full answer")
ANSWER.content = QUARTERLY_REVIEW.encode() * 20
OTHER = StoredFile("F0OTHER", "an-archive-with-a-name-that-goes-on-" + "and-on-" * 12 + ".zip", 18_400_000)
FILES = (PICTURE, SHEET, ANSWER, OTHER)
for file in FILES:
    file.length = len(file.content or b"") or file.length


def said(*parts: Block) -> Block:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": list(parts)}]}


def text(words: str, **style: bool) -> Block:
    return {"type": "text", "text": words} | ({"style": style} if style else {})


def raw(words: str) -> Block:
    return {"type": "raw_text", "text": words}


def task(number: int, title: str, status: str, **more: Any) -> Block:
    return {"type": "task_card", "task_id": str(number), "title": title, "status": status, **more}


PRODUCTS = ("Sunglasses", "Jeans", "Rain jackets", "Running shoes", "Tote bags", "Scarves", "Wool hats")
DATA_TABLE: Block = {
    "type": "data_table",
    "caption": "Top products by revenue",
    "rows": [
        [raw("Product"), raw("Orders"), raw("Revenue")],
        *(
            [
                raw(product),
                {"type": "raw_number", "value": 9_000 - 731 * at, "text": f"{9_000 - 731 * at:,}"},
                {"type": "raw_number", "value": 120_000 + 977 * at, "text": f"${120_000 + 977 * at:,}"},
            ]
            for at, product in enumerate(PRODUCTS)
        ),
    ],
}
MONTHS = ("April", "May", "June", "July")


def series(name: str, *values: float) -> Block:
    return {"name": name, "data": [{"label": m, "value": v} for m, v in zip(MONTHS, values, strict=True)]}


CHART: Block = {
    "type": "data_visualization",
    "title": "Revenue by channel",
    "chart": {
        "type": "bar",
        "series": [series("Online", 412, 448, 467, 502), series("Stores", 456, 447, 432, -20.5)],
        "axis_config": {"categories": list(MONTHS), "x_label": "Month", "y_label": "Thousand dollars"},
    },
}
PIE: Block = {
    "type": "data_visualization",
    "title": "Share of orders",
    "chart": {
        "type": "pie",
        "segments": [{"label": label, "value": value} for label, value in (("EMEA", 41), ("APAC", 18.25))],
    },
}
TABLE: Block = {
    "type": "table",
    "rows": [[raw("Region"), raw("Sales")], [said(text("EMEA", bold=True)), raw("$2,541,800")]],
    "column_settings": [{"align": "left"}, {"align": "right"}],
}
TASKS = [
    task(1, "Step 1: Searching for revenue fields", "complete", output=said(text("12 fields found"))),
    task(
        2,
        "Step 2: Running query: Revenue by channel and month, with the marketplace apart",
        "in_progress",
        details=said(text("order_items", code=True), text(" by month")),
        sources=[{"type": "url", "url": "https://example.com/orders", "text": "Orders"}],
    ),
    task(3, "Step 3: Comparing", "error", output=said(text("The query took too long."))),
]

BLOCKS: dict[str, list[Block]] = {
    "tasks": TASKS,
    "plan": [{"type": "plan", "title": "The same as a plan", "tasks": TASKS}],
    "data_table": [DATA_TABLE],
    "charts": [CHART, PIE],
    "table": [TABLE],
    "images": [
        {
            "type": "image",
            "slack_file": {"id": PICTURE.id},
            "alt_text": PICTURE.alt_txt,
            "title": {"type": "plain_text", "text": "Revenue by month"},
        }
    ],
    "markdown": [
        {
            "type": "markdown",
            "text": f"{TOP_PRODUCTS}\n\n---\n\n- a\n  - nested\n    1. deeper\n\nA [link](https://example.com).",
        }
    ],
}
"""By what is shown."""
ANSWERS = {"code": COHORT_QUERY, "languages": LANGUAGES, "wide": RETURNS, "hostile": HOSTILE}
"""Answers that are not easily drawn, as Omni writes them."""
