"""Whatever Markdown an answer is made of, it is complete, in order, safe and within Slack's limits in every variant."""

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.demo.slack.block_kit.messages import Refusal, judge
from bot.domain.jobs import Job, JobId, JobState
from bot.domain.messages import Message
from bot.rendering import answer
from tests.support.reading import Row, flat, read_blocks, read_markdown, read_mrkdwn, told

TENANT = "https://acme.omniapp.co"
NOW = datetime(2026, 5, 4, 14, 4, tzinfo=UTC)
BARE = answer.AnswerLayout(spoken="Answered.", above=(), below=(), caution="", signature=())
EXAMPLES = int(os.environ.get("ANSWER_EXAMPLES", "60"))
SEVERAL_TABLES = Refusal("invalid_attachments", ("only_one_table_allowed",))

WORD, NUMBER, LINK = "§", "¤", "¶"
"""Placeholders, so that every word, number and link of an answer is unique."""
ALPHABETS = ("abcdefghij", "àéîõüçñøßž", "αβγδεζηθικ", "абвгдежзик", "אבגדהוזחטי", "年月日売上高東京都市")
NUMBERS = ("${}", "{}%", "-{}", "€{}", "({})", "1,{}", "{}.5", "¥{}")
MENTIONS = (
    "<!channel>",
    "<@U0ADA>",
    "@here",
    "@everyone",
    "&lt;!here&gt;",
    "<!subteam^S1|x>",
    "ops@channel4.com",
)

prose = st.integers(1, 30).map(lambda length: " ".join([WORD] * length))
pieces = st.one_of(
    prose,
    st.sampled_from(
        [NUMBER, *MENTIONS, f"[{WORD}]({LINK})", f"**[{WORD} {WORD}]({LINK})**", f"`{WORD}[1]::{WORD}`"]
    ),
    *[prose.map(form.format) for form in ("**{}**", "*{}*", "~~{}~~", "**{}:**", "_{}_")],
)
lines = st.lists(pieces, min_size=1, max_size=4).map(" ".join)
cells = st.sampled_from(
    [WORD, NUMBER, f"{WORD} {WORD}", f"**{WORD}**", f"[{WORD}]({LINK})", f"`{WORD}`", "", f"~~{WORD}~~"]
)


@st.composite
def grids(draw: st.DrawFn, most_rows: int = 40) -> str:
    columns = draw(st.integers(1, 12))
    rows = [draw(st.lists(cells, min_size=columns, max_size=columns)) for _ in range(draw(st.integers(0, 6)))]
    rows *= draw(st.integers(1, max(1, most_rows // 6)))
    heading = [WORD] * columns
    dashes = draw(st.lists(st.sampled_from(["---", "---:", ":---"]), min_size=columns, max_size=columns))
    return "\n".join(f"| {' | '.join(row)} |" for row in [heading, dashes, *rows])


@st.composite
def lists(draw: st.DrawFn, depth: int = 0) -> str:
    """A list with items of any size; an ordered one may repeat one number, as Markdown allows."""
    ordered = draw(st.booleans())
    first, step = draw(st.sampled_from([(1, 1), (1, 0), *([] if depth else [(8, 1), (98, 0), (2026, 1)])]))
    written: list[str] = []
    for at in range(draw(st.integers(1, 9))):
        mark = f"{first + at * step}. " if ordered else "- "
        inside = [draw(lines)]
        match draw(st.integers(0, 12)):
            case 12 if depth < 2:
                inside += draw(lists(depth + 1)).split("\n")
            case 11:
                inside += ["", "```sql", *[f"{WORD}  {WORD}"] * draw(st.integers(1, 12)), "```"]
            case 10:
                inside += ["", *draw(grids(6)).split("\n"), ""]
            case 9:
                inside += ["", draw(lines)]
        written += [mark + inside[0], *(" " * len(mark) * bool(line) + line for line in inside[1:])]
    return "\n".join(written)


codes = st.integers(1, 60).map(
    lambda rows: "```python\n" + f"  {WORD} <@{WORD}> {NUMBER} [a](b) &amp;\n" * rows + "```"
)
quotes = st.one_of(st.lists(lines, min_size=1, max_size=6).map("\n".join), grids(6), lists(1)).map(
    lambda said: "\n".join(f"> {line}" for line in said.split("\n"))
)
headings = st.sampled_from([f"## {WORD}", f"# {WORD} **{WORD}**", f"### [{WORD}]({LINK})"])
answers = st.lists(
    st.one_of(lines, headings, lists(), grids(), codes, quotes, st.just("---")), min_size=1, max_size=9
).map(lambda blocks: numbered("\n\n".join(blocks)))


def numbered(text: str) -> str:
    """Replace each placeholder by something unique."""
    found = count(100)

    def unique(match: re.Match[str]) -> str:
        number = next(found)
        match match.group():
            case "¤":
                return NUMBERS[number % len(NUMBERS)].format(number)
            case "¶":
                return f"https://acme.omniapp.co/w/{number}?a=1&b=_{number}_"
            case _:
                return "".join(ALPHABETS[number % len(ALPHABETS)][int(digit)] for digit in str(number))

    return re.sub(f"[{WORD}{NUMBER}{LINK}]", unique, text)


def variants(text: str) -> tuple[list[tuple[Message, ...]], answer.Continuation]:
    job = Job(JobId("1"), JobState.COMPLETE, "COMPLETE", answer=text)
    found = answer.continuation(job, TENANT)
    return [answer.answer_card(job, BARE, TENANT), *found.replies], found


def rows_of(message: Message) -> list[Row]:
    """The part of the answer in a message, without the bot's own text around it."""
    sections = [block["text"]["text"] for block in message.blocks if block["type"] == "section"]
    if sections:
        return read_mrkdwn(sections[0])
    if message.blocks:
        return read_blocks(message.blocks)
    return read_mrkdwn(message.text.partition("\n")[2].removesuffix("\nThe answer continues in the thread."))


def by_richness(messages: list[tuple[Message, ...]]) -> Iterator[list[Message]]:
    """The whole answer in each richness: with all tables, one, none; as mrkdwn; without blocks."""
    for at in range(3):
        yield [forms[min(at, len(forms) - 4)] for forms in messages]
    for at in (-3, -2):
        yield [forms[at] for forms in messages]


def literal_texts(message: Message) -> Iterator[str]:
    """All texts and addresses that the blocks show, or the text of a message without blocks."""
    for block in message.blocks:
        yield from map(unescaped if block["type"] == "section" else str, texts_of(block))
    if not message.blocks:
        yield unescaped(message.text)


def unescaped(mrkdwn: str) -> str:
    return mrkdwn.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def texts_of(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (node[key] for key in ("text", "url") if isinstance(node.get(key), str))
        for value in node.values():
            yield from texts_of(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from texts_of(value)


@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(answers)
def test_answer_is_complete_safe_and_within_limits(text: str) -> None:
    messages, found = variants(text)
    source = flat(read_markdown(text))
    for parts in by_richness(messages):
        for message in parts:
            assert len(message.text) <= 3_900
            assert judge(message.text, list(message.blocks)) in (None, SEVERAL_TABLES)
            assert_pings_nobody(message)
        said = told([rows_of(message) for message in parts], source)
        assert said == source[: len(said)] if found.file else said == source
        if not found.file:
            assert_keeps_links_and_code(text, parts)
    if found.file:
        assert found.file.content.decode() == text.strip()


def assert_pings_nobody(message: Message) -> None:
    """Rich text and headers are literal: only elements of their own mention. mrkdwn needs its `<` escaped."""
    assert not re.search(r'"type": "(user|usergroup|broadcast|channel)"', json.dumps(message.blocks))
    for block in message.blocks:
        if block["type"] == "section":
            assert not re.search("<[!@#]", block["text"]["text"])
    assert not re.search("<[!@#]", message.text)


def assert_keeps_links_and_code(text: str, parts: list[Message]) -> None:
    shown = "\n".join(text for message in parts for text in literal_texts(message))
    for address in re.findall(r"https://[^)\s]+", text):
        assert address in shown
    for code in re.findall(r"```python\n(.*?)\n```", text, re.DOTALL):
        assert all(line in shown for line in code.split("\n"))
    for number in re.findall(r"(?<!\S)(?:[$€¥-]|1,)?\d{3,}(?:%|\.5)?(?!\S)|(?<!\S)\(\d{3,}\)(?!\S)", text):
        assert number in shown
