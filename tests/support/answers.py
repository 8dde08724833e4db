"""Realistic and hostile answers: those in `tests/data/answers/`, and generated ones."""

from collections.abc import Iterator

from tests.support.paths import DATA

STORED = DATA / "answers"


def _prose(letters: int) -> str:
    """Paragraphs of unique words, so that a lost or doubled one is noticed."""
    written: list[str] = []
    length = 0
    for number in range(letters):
        written.append(f"w{_letters(number)}" + ("\n\n" if number % 60 == 59 else ""))
        length += len(written[-1]) + 1
        if length >= letters:
            break
    return " ".join(written)


def _letters(number: int) -> str:
    """A number as letters, so that no rule about numbers touches it."""
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def _big_table(rows: int) -> str:
    lines = [f"| region {_letters(n)} | sales {_letters(n)} | ${n:,} |" for n in range(rows)]
    return "\n".join(["| Region | Sales | Sum |", "|---|---|---:|", *lines])


GENERATED = {
    "empty": "",
    "only-spaces": "   \t \n \n",
    "only-invisible": "\u200b\u200b\n\ufeff",
    "only-controls": "\x00\x01\x1b",
    "control-characters": "bell\x07 escape\x1b[31mred\x1b[0m null\x00 tab\t form\x0cfeed end",
    "bidi-overrides": "pay\u202elap \u2066isolated\u2069 \u200fmarked\u200e end",
    "zero-width-mentions": "<\u200b!channel> @\u2060here <\u202e@U0ADABYRON> <\ufe0f!here> @\u200dhere \u200b",
    "lone-surrogates": "half \ud83d and \udc69 of a pair",
    "line-separators": "one\u2028two\u2029three\x85four\x0bfive",
    "thirty-thousand-characters": _prose(30_000),
    "nine-thousand-characters": _prose(9_000),
    "three-thousand-and-one": ("word " * 601)[:3_001],
    "twelve-thousand-and-one": _prose(12_001),
    "a-word-of-twenty-thousand": "x" * 20_000,
    "emoji-of-twenty-thousand": "👩\u200d💻" * 6_666,
    "flags": "🇩🇪🇯🇵" * 2_000,
    "chinese-without-spaces": "销售额按地区增长并且利润稳定。" * 900,
    "combining-marks": "e" + "\u0301" * 9_000,
    "five-thousand-quotes": ">" * 5_000 + " deep",
    "five-thousand-brackets": "[a](" * 5_000,
    "five-thousand-stars": "*a " * 5_000,
    "backticks": "`" * 9_001,
    "open-fences": "```\n" * 3_001,
    "ampersands": "&" * 9_000,
    "entities": "&lt;!channel&gt; " * 900,
    "mentions": "<!channel> <@U0ADABYRON> @here " * 400,
    "hundred-headings": "\n\n".join(
        f"# Title {_letters(n)}\n\ntext {_letters(n)}\n\n---" for n in range(100)
    ),
    "hundred-levels": "\n".join("  " * n + f"- level {_letters(n)}" for n in range(100)),
    "thousand-items": "\n".join(f"1. item {_letters(n)}" for n in range(1_000)),
    "table-of-99-rows": _big_table(98),
    "table-of-101-rows": _big_table(101),
    "table-of-thousand-rows": _big_table(1_000),
    "thirty-tables": "\n\n".join(
        f"| k{_letters(n)} | v |\n|---|---|\n| a{_letters(n)} | b |" for n in range(30)
    ),
    "code-of-thousand-lines": "```sql\n" + "".join(f"SELECT c{_letters(n)}\n" for n in range(1_000)) + "```",
    "one-line-of-code": "```\n" + " ".join(f"c{_letters(n)}" for n in range(3_000)) + "\n```",
    "gap-of-blank-lines": "start" + "\n" * 50_000 + "end",
    "quarter-of-a-megabyte": _prose(250_000),
}
"""By name, as `stored`."""


def stored() -> Iterator[tuple[str, str]]:
    """Name and text of the stored answers."""
    for file in sorted(STORED.glob("*.md")):
        yield file.stem, file.read_bytes().decode()


ANSWERS = {**dict(stored()), **GENERATED}
