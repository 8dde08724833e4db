"""Reference links of Markdown, `[words][1]` and elsewhere `[1]: https://…`, written where they are used.

An answer that is cut would leave the words on one piece and the address on another; and whether Slack's
`markdown` block knows reference links at all is documented nowhere.
"""

import re
from typing import Any

from markdown_it.common.utils import normalizeReference

from bot.rendering.markdown.sanitize import BREAK, block_parser

_USE = re.compile(
    r"`{1,3}[^`\n]{1,500}`{1,3}"  # code, in which nothing is a link
    r"|(?<!\\)(?P<words>!?\[[^\[\]\n]{1,300}\])(?:\[(?P<label>[^\[\]\n]{0,300})\])?(?![\[(:])"
)
_NAME = re.compile(r"\](?=:)")
_PARENTHESES = str.maketrans({"(": "%28", ")": "%29"})


def inline_references(text: str) -> str:
    """The Markdown with each reference link as an inline link; an address that nothing uses is shown as text.

    Takes what is `neutral`, and gives what is as harmless.
    """
    if "]:" not in text:
        return text
    found: dict[str, Any] = {}
    tokens = block_parser.parse(text, found)
    definitions: dict[str, dict[str, Any]] = found.get("references", {})
    if not definitions:
        return text
    lines = text.splitlines(keepends=True)
    code = {
        number
        for token in tokens
        if token.type in ("fence", "code_block") and token.map
        for number in range(*token.map)
    }
    of_definitions = {number for each in definitions.values() for number in range(*each["map"])}
    used: set[str] = set()

    def inline(match: re.Match[str]) -> str:
        words = match["words"]
        if words is None:
            return match.group()
        label = normalizeReference(match["label"] or words.removeprefix("!")[1:-1])
        if label not in definitions:
            return match.group()
        used.add(label)
        return f"{words}({definitions[label]['href'].translate(_PARENTHESES)})"

    for number, line in enumerate(lines):
        if number not in code and number not in of_definitions:
            lines[number] = _USE.sub(inline, line)
    for label, definition in definitions.items():
        first, end = definition["map"]
        if label in used:
            lines[first:end] = [""] * (end - first)
        else:
            lines[first] = _NAME.sub(f"]{BREAK}", lines[first], count=1)
    for repeated in found.get("duplicate_refs", ()):
        first = repeated["map"][0]
        lines[first] = _NAME.sub(f"]{BREAK}", lines[first], count=1)
    return "".join(lines)
