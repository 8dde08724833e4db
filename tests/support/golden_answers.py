"""Realistic analytics answers, and the golden files that hold how each is rendered for every target.

After a deliberate change, run `uv run python -m tests.support.golden_answers` to rewrite the files in
`tests/data/analytics/`. Then read the difference.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from bot.rendering.markdown.document import to_text
from bot.rendering.markdown.parse import parse
from bot.rendering.markdown.to_blocks import to_blocks
from bot.rendering.markdown.to_mrkdwn import to_mrkdwn
from tests.support.paths import DATA

FOLDER = DATA / "analytics"
RENEW = "To rewrite the files after a deliberate change: uv run python -m tests.support.golden_answers"
TENANT = "https://acme.omniapp.co"
ANSWERS = {file.stem: file.read_text() for file in sorted(FOLDER.glob("*.md"))}
"""By name."""


def rendered(markdown: str) -> str:
    """An answer as blocks with all tables and, where that differs, with none; as mrkdwn; and as plain words."""
    document = parse(markdown, TENANT)
    richest, plainest = (list(_written(to_blocks(document, most))) for most in (99, 0))
    targets = (
        {"blocks": richest, "blocks without tables": plainest} if richest != plainest else {"blocks": richest}
    )
    targets |= {"mrkdwn": [to_mrkdwn(document)], "text": [to_text(document)]}
    text = "\n\n".join("\n".join([f"=== {name}", *lines]) for name, lines in targets.items()) + "\n"
    return text.replace("\u200b", "⟦ZW⟧")


def _written(blocks: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Blocks in short: one line for each block, element, item and row."""
    for block in blocks:
        match block["type"]:
            case "header":
                yield f"header: {block['text']['text']}"
            case "table":
                yield f"table: {' '.join(column['align'] for column in block['column_settings'])}"
                for row in block["rows"]:
                    yield "  | " + " | ".join(map(_text, row))
            case "rich_text":
                for element in block["elements"]:
                    yield from _element(element)
            case other:
                yield f"{other}"


def _element(element: dict[str, Any]) -> Iterator[str]:
    named = [
        f"{key} {element[key]}"
        for key in ("style", "offset", "indent", "border", "language")
        if key in element
    ]
    kind = element["type"].removeprefix("rich_text_")
    if kind == "list":
        yield f"list: {', '.join(named)}"
        yield from (f"  - {_text(item)}" for item in element["elements"])
    else:
        yield f"{' '.join([kind, *named])}: {_text(element)}"


def _text(node: dict[str, Any]) -> str:
    if "elements" in node:
        return "".join(map(_text, node["elements"]))
    text = str(node["text"]).replace("\n", "⏎\n    ")
    styles = "+".join(node.get("style", ()))
    marked = f"‹{styles}: {text}›" if styles else text
    return f"[{marked} → {node['url']}]" if "url" in node else marked


if __name__ == "__main__":
    for name, answer in ANSWERS.items():
        (FOLDER / f"{name}.txt").write_text(rendered(answer))
