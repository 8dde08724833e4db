"""Writes a document as plain words, for notifications and screen readers."""

from bot.rendering.markdown.document import Block, Blocks, CodeBlock, List, Quote, Rule, Table, words


def to_text(blocks: Blocks) -> str:
    """Write the words without markup. A row of a table is a line. Not escaped for mrkdwn."""
    return "\n".join(line for block in blocks for line in _lines(block))


def _lines(block: Block) -> list[str]:
    match block:
        case List(items, start):
            return [
                line
                for number, item in enumerate(items, start or 0)
                for line in _item(item, start and number)
            ]
        case Quote(blocks):
            return [line for inner in blocks for line in _lines(inner)]
        case CodeBlock(code):
            return code.split("\n")
        case Table(rows):
            return [", ".join(filter(None, map(words, row))) for row in rows]
        case Rule():
            return []
    return words(block.content).split("\n")


def _item(item: Blocks, number: int | None) -> list[str]:
    first, *more = [line for block in item for line in _lines(block)] or [""]
    return [f"{'•' if number is None else f'{number}.'} {first}", *more]
