"""Markdown from Omni becomes pieces that Slack accepts, without mentions or unsafe links."""

import re
import time
from itertools import count

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bot.demo.slack.block_kit.messages import judge
from bot.domain.text import strip_control_chars
from bot.rendering.markdown.sanitize import BREAK, sanitize
from bot.rendering.markdown.split import MOST_BLOCKS, SHORTEST_PIECE, first_pieces, pieces
from tests.support.reading import LIVE, as_anybody_reads_it, flat, read_markdown, told
from tests.support.tables import for_each

HOSTILE = (
    "<!channel>",
    "<!here|here>",
    "<@U0ADA>",
    "<#C0DATA|data>",
    "<!subteam^S1>",
    "<!date^1^{time}|x>",
    "@here",
    "@Channel",
    "@everyone",
    "&lt;!channel&gt;",
    "&#60;!channel>",
    "&#x3C;@U0ADA>",
    "&amp;lt;!here>",
    "&LT;&excl;here>",
    "<\\!channel>",
    "\\<!channel>",
    "&commat;here",
    "@h&#101;re",
    "@\\here",
    "<&#33;here>",
    "<\u200b!channel>",
    "@\u2060here",
    "<\u202e@U0ADA>",
    "<\ufe0f!here>",
    "@\u200dhere",
)
LEADING_ASTRAY = (
    "[x](javascript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x]( data:text/html,x)",
    "[x](slack://open)",
    "[x](java&#115;cript:alert(1))",
    "[x](\njavascript:alert(1))",
    "![x](file:///etc/passwd)",
    "[x]: javascript:alert(1)\n\n[x]",
    "[x]:\n<slack://open>\n\n[y][x]",
    "<javascript:alert(1)>",
    "<slack://open>",
    "[x](/relative)",
)
MARKUP = (
    *("# ", "- ", "1. ", "> ", "```", "```sql\n", "~~~\n", "`", "**", "_", "~~", "[", "](", ")", "<", ">"),
    *("|", "| a | b |\n|---|---|\n| 1 |  |\n", "---\n", "    ", "\t", "\n", "\n\n", "&", "&amp;", "\\", "!"),
    *(
        "[docs](https://omni.co/docs)",
        "https://omni.co/@here",
        "word",
        "two words",
        "naïve",
        "日本",
        "👩\u200d💻",
    ),
    *(
        "\x00",
        "\u202e",
        "\u200d",
        "\ufe0f",
        "1\ufe0f\u20e3",
        "\r\n",
        "\u2028",
        "می\u200cخواهم",
        "&shy;",
        "&#8238;",
    ),
)
fragments = st.lists(st.one_of(st.sampled_from([*HOSTILE, *LEADING_ASTRAY, *MARKUP]), st.text(max_size=8)))
documents = fragments.map("".join)


def parsed(text: str) -> list[Token]:
    """Every token, by a parser that takes any address for a link."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    tokens = parser.parse(text)
    return [*tokens, *[child for token in tokens for child in token.children or ()]]


def addresses(text: str) -> list[str]:
    found = [token.attrs.get("href") or token.attrs.get("src") for token in parsed(text)]
    return [str(address) for address in found if address is not None]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.replace(BREAK, "").replace("%40", "@"))


def number_of(text: str, kind: str) -> int:
    return sum(token.type == kind for token in parsed(text))


@for_each("ping", HOSTILE)
@for_each("around", ["{}", "so {}, they say", "`{}`", "```\n{}\n```", "| {} | b |\n|---|---|\n", "**{}**"])
def test_no_mention_survives_sanitizing(ping: str, around: str) -> None:
    assert not LIVE.search(as_anybody_reads_it(sanitize(around.format(ping))))


@for_each("link", LEADING_ASTRAY)
def test_unsafe_links_become_text(link: str) -> None:
    assert addresses(sanitize(f"see {link} there\n\n{link}")) == []


@for_each(
    "link",
    [
        "[a](https://x.y/z)",
        "<http://x.y>",
        "[a](mailto:a@x.y)",
        "[a][1]\n\n[1]: https://x.y",
        "![a](https://x.y/z.png)",
    ],
)
def test_web_and_mail_links_stay(link: str) -> None:
    assert sanitize(link) == link


@for_each("address", ["slack://open?team=T1", "javascript:alert(1)"])
def test_bare_client_urls_are_broken(address: str) -> None:
    scheme, rest = address.split(":", 1)
    assert sanitize(f"see {address} there") == f"see {scheme}{BREAK}:{rest} there"


def test_slack_link_syntax_is_broken() -> None:
    assert "<https" not in sanitize("<https://evil.example|https://bank.example>")


def test_mention_in_url_keeps_the_target() -> None:
    assert sanitize("https://medium.com/@channel/post") == "https://medium.com/%40channel/post"


def test_harmless_fenced_code_is_unchanged() -> None:
    code = "```js\nhandlers[name](event)\nif (a <@ b) x[1]: y\n<xs:schema>\n```"
    assert sanitize(code) == code


def test_invisible_characters_are_removed() -> None:
    assert sanitize("pay\u202epal \u2066x\u2069 a\u200bb c\x07d \ufeffe") == "paypal x ab cd e"


def test_line_ends_are_normalized() -> None:
    assert strip_control_chars("a\r\nb\rc\u2028d") == "a\nb\nc\nd"


@for_each(
    "text", ["👩\u200d💻", "❤\ufe0f\u200d🔥", "می\u200cخواهم", "1\ufe0f\u20e3", "✅\ufe0f done", "שלום"]
)
def test_necessary_joiners_stay(text: str) -> None:
    assert strip_control_chars(text) == text


def test_entity_of_invisible_character_is_replaced() -> None:
    assert sanitize("a&#8238;b") == "a\ufffdb"


@given(documents)
def test_sanitizing_is_idempotent(text: str) -> None:
    assert sanitize(sanitize(text)) == sanitize(text)


@given(documents)
def test_sanitizing_keeps_words_in_order(text: str) -> None:
    assume("&shy;" not in strip_control_chars(text) and "&#8238;" not in strip_control_chars(text))
    assert words(sanitize(text)) == words(strip_control_chars(text))


@given(documents, st.integers(SHORTEST_PIECE, 2_000))
def test_pieces_are_safe_and_short(text: str, limit: int) -> None:
    for piece in pieces(text, limit):
        assert 0 < len(piece) <= limit
        assert not LIVE.search(as_anybody_reads_it(piece))
        assert all(re.match(r"(?i)https?://|mailto:", address) for address in addresses(piece))
        assert number_of(piece, "table_open") <= 1


@given(documents)
def test_fitting_answer_is_one_piece(text: str) -> None:
    assume("&shy;" not in strip_control_chars(text) and "&#8238;" not in strip_control_chars(text))
    found = pieces(text, 100_000)
    assume(len(found) < 2)
    assert words("".join(found)) == words(strip_control_chars(text))
    assert first_pieces(text, 100_000, 1) == (found, False)


@given(
    st.lists(st.sampled_from(["word ", "longer ", "- item\n", "\n\n", "> said\n", "# Title\n\n", "`code` "]))
)
def test_pieces_keep_every_word_once(parts: list[str]) -> None:
    text = "".join(parts * 20)
    assert words("\n".join(pieces(text, SHORTEST_PIECE))) == words(text)


@given(documents, st.integers(SHORTEST_PIECE, 2_000))
def test_first_pieces_report_whether_cut(text: str, limit: int) -> None:
    everything = pieces(text, limit)
    for most in (1, 3):
        assert first_pieces(text, limit, most) == (everything[:most], len(everything) > most)


def test_text_after_long_gap_counts() -> None:
    assert first_pieces("a" + "\n" * 10_000 + "b", 500, 1) == (["a"], True)


def test_blank_text_has_no_pieces() -> None:
    assert pieces(" \n\u200b\n ", 500) == []
    assert first_pieces("", 500, 1) == ([], False)


def test_a_piece_ends_between_blocks() -> None:
    paragraphs = [f"Paragraph {n} " + "tells something " * 8 for n in range(9)]
    found = pieces("\n\n".join(paragraphs), 600)
    assert all(piece.startswith("Paragraph") for piece in found)
    assert len(found) == 3


def test_heading_stays_with_its_section() -> None:
    found = pieces(f"{'word ' * 60}\n\n## Next\n\n{'word ' * 60}", 350)
    assert [piece.split("\n")[0][:7] for piece in found] == ["word wo", "## Next"]


def test_cut_fence_is_closed_and_reopened() -> None:
    code = "".join(f"SELECT {n} FROM orders\n" for n in range(100))
    found = pieces(f"Before\n\n```sql\n{code}```\n\nAfter", 500)
    fences = [token for piece in found for token in parsed(piece) if token.type == "fence"]
    assert "".join(fence.content for fence in fences) == code
    assert {fence.info for fence in fences} == {"sql"}
    assert found[0].startswith("Before") and found[-1].endswith("After")


def test_unclosed_fence_is_closed() -> None:
    assert pieces("```json\n{}", 500) == ["```json\n{}\n```"]


def test_nested_fence_stays_inside() -> None:
    (piece,) = pieces("````md\n```sql\nSELECT 1\n```\n````\n\nafter", 500)
    (fence,) = [token for token in parsed(piece) if token.type == "fence"]
    assert words(fence.content) == ["sql", "SELECT", "1"]
    assert piece.endswith("\n\nafter")


def test_leading_backticks_open_no_fence() -> None:
    text = "some words ```before more words " * 60
    for limit in range(SHORTEST_PIECE, SHORTEST_PIECE + 40):
        assert all(number_of(piece, "fence") == 0 for piece in pieces(text, limit))


def test_code_in_cut_list_stays_code() -> None:
    code = "".join(f"  SELECT {n}\n" for n in range(60))
    found = pieces(f"- query:\n\n  ```sql\n{code}  ```\n- done", 300)
    content = "".join(token.content for piece in found for token in parsed(piece) if token.type == "fence")
    assert content == code.replace("  SELECT", "SELECT")


def test_cut_table_repeats_its_heading() -> None:
    rows = [f"| region {n} | {n} |" for n in range(60)]
    found = pieces("\n".join(["| Region | Sales |", "| --- | ---: |", *rows]), 400)
    assert all(piece.startswith("| Region | Sales |\n| --- | ---: |\n") for piece in found)
    assert [line for piece in found for line in piece.split("\n")[2:]] == rows


def test_a_second_table_becomes_aligned_text() -> None:
    table = "| a | b |\n|---|---|\n| one | 2 |\n"
    (piece,) = pieces(f"{table}\n\nand\n\n{table}", 1_000)
    assert number_of(piece, "table_open") == 1
    assert "a   | b\n----+--\none | 2" in piece


def test_wide_second_table_starts_a_piece() -> None:
    wide = f"| {'b' * 40} | a |\n|---|---|\n" + "| 1 | 2 |\n" * 9
    found = pieces(f"{wide}\n{wide}", 400)
    assert [number_of(piece, "table_open") for piece in found] == [1, 1]


def test_table_with_long_rows_becomes_text() -> None:
    row = "| " + "word " * 60 + "| 2 |\n"
    found = pieces("| a | b |\n|---|---|\n" + row * 3, 250)
    assert all(len(piece) <= 250 and number_of(piece, "table_open") == 0 for piece in found)
    assert words("".join(found)).count("word") == 180


def test_table_in_list_becomes_text() -> None:
    table = "| a | b |\n|---|---|\n| one | 2 |\n"
    nested = "".join(f"  {line}\n" for line in table.splitlines())
    (piece,) = pieces(f"{table}\n\n- here:\n\n{nested}", 1_000)
    assert number_of(piece, "table_open") == 1
    assert words(piece) == ["a", "b", "one", "2", "here", "a", "b", "one", "2"]


def test_empty_cells_are_filled() -> None:
    (piece,) = pieces("| a | b |\n|---|---|\n| 1 |  |\n| |2|", 500)
    cells = [cell for row in piece.split("\n") for cell in row.strip("|").split("|")]
    assert all(cell.strip() for cell in cells)


def test_extra_cells_widen_the_table() -> None:
    (piece,) = pieces("| a |\n|---|\n| 1 | 2 | three |", 500)
    assert words(piece) == ["a", "1", "2", "three"]
    assert "three" in [token.content for token in parsed(piece) if token.type == "text"]


def test_escaped_pipe_stays_in_its_cell() -> None:
    (piece,) = pieces("| a | b |\n|---|---|\n| x \\| y | 2 |", 500)
    assert "x | y" in [token.content for token in parsed(piece) if token.type == "text"]


@for_each("rows, columns", [(101, 3), (3, 21)])
def test_oversized_table_becomes_text(rows: int, columns: int) -> None:
    lines = ["|" + " x |" * columns, "|" + "---|" * columns, *["|" + " y |" * columns] * (rows - 1)]
    found = pieces("\n".join(lines), 7_000)
    assert all(number_of(piece, "table_open") == 0 for piece in found)
    assert len(words("".join(found))) == rows * columns


def test_pieces_stay_within_block_limit() -> None:
    found = pieces("# Title\n\ntext\n\n---\n\n- item\n\n" * 60, 7_000)
    assert len(found) == 60 * 4 // MOST_BLOCKS
    assert all(judge("text", [{"type": "markdown", "text": piece}]) is None for piece in found)


@given(documents)
def test_slack_takes_every_piece(text: str) -> None:
    for piece in pieces(text, 7_000):
        assert judge("text", [{"type": "markdown", "text": piece}]) is None


def test_only_overlong_words_are_cut() -> None:
    found = pieces("short " + "x" * 1_000 + " short", 400)
    assert "".join(found).count("x") == 1_000
    assert all(len(piece) <= 400 for piece in found)


def test_links_are_not_cut() -> None:
    link = "[the whole report](https://omni.co/report)"
    for padding in range(0, 60, 7):
        text = "x" * padding + " " + f"some words {link} " * 60
        assert sum(piece.count(link) for piece in pieces(text, 500)) == 60


def test_too_short_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 200"):
        pieces("text", SHORTEST_PIECE - 1)


HOSTILE_UNITS = (
    *(
        "[a](",
        "*a ",
        ">",
        "| a | b |\n|---|---|\n",
        "|||||\n",
        "`",
        "```\n",
        "<!",
        "&amp;",
        "@h",
        "<https://",
    ),
    *("a\n\n", "- a\n", "](", "> - ", "\u200d\ufe0f", "\t- a\n", "x", "[a]: b\n", "&lt;https://a"),
    *(
        "1. a\n",
        "1. 1. a\n",
        "[a]: https://b\n",
        "[a][b]",
        "`a ",
        "**a ",
        "~~a ",
        "[a ",
        "日",
        "🇩🇪",
        "- ```\n",
        "![a](",
    ),
)


@pytest.mark.timeout(300)
@for_each("unit", HOSTILE_UNITS)
def test_splitting_time_is_linear(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        started = time.process_time()
        assert all(len(piece) <= 2_800 for piece in pieces(text, 2_800))
        return time.process_time() - started

    # Measured in one run, so a busy machine slows both; a square would be sixteen times.
    assert seconds(80_000) < 9 * seconds(20_000) + 0.2


@pytest.mark.timeout(300)
@for_each("unit", HOSTILE_UNITS)
def test_only_the_shown_part_is_split(unit: str) -> None:
    """Each takes under 0.7 s on a busy machine of 2 cores; the bound is generous."""
    started = time.process_time()
    found, is_cut = first_pieces(unit * (250_000 // len(unit)), 2_800, 6)
    assert time.process_time() - started < 10
    assert is_cut or len(found) <= 1


@pytest.mark.timeout(20)
def test_uneven_table_does_not_grow() -> None:
    text = "|" * 5_000 + "\n" + "|---" * 5_000 + "|\n" + "|\n" * 100_000
    assert sum(map(len, pieces(text, 7_000))) < 2 * len(text)


def test_documented_answers_are_unchanged() -> None:
    answer = "### Top 5 Products by Revenue\n\n1. **Sunglasses** - $678,994\n2. **Jeans** - $475,072"
    assert first_pieces(answer, 2_800, 1) == ([answer], False)


def test_entities_stay_what_they_are() -> None:
    assert sanitize("a &amp; b &lt; c") == "a &amp; b &lt; c"


@for_each("numbers", [range(1, 31), [1] * 30, [7] * 30])
def test_cut_list_keeps_its_numbers(numbers: list[int]) -> None:
    found = pieces("\n".join(f"{n}. item {'word ' * 8}" for n in numbers), 300)
    assert len(found) > 2
    shown = [int(line.split(".")[0]) for piece in found for line in piece.splitlines()]
    assert shown == list(range(numbers[0], numbers[0] + 30))


def test_item_content_follows_longer_number() -> None:
    source = "\n".join(f"1. item\n   - below\n\n     ```\n     code {n}\n     ```" for n in range(12))
    assert re.search(
        r"^10\. item\n    - below\n\n      ```\n      code 9$", "".join(pieces(source, 5_000)), re.MULTILINE
    )


def test_cut_item_continues_without_indent() -> None:
    inner = "\n".join(f"   1. inner {n} {'word ' * 6}" for n in range(9))
    found = pieces(f"1. first\n1. second\n{inner}\n1. third", 250)
    assert found[0].startswith("1. first\n2. second\n   1) inner 0")
    assert re.match(r"[2-9]\) inner", found[1])
    assert found[-1].endswith("\n\n3. third")


@for_each("character", ["👩\u200d💻", "🇩🇪", "👍🏽", "e\u0301\u0302", "❤\ufe0f\u200d🔥"])
def test_grapheme_clusters_are_never_cut(character: str) -> None:
    for lead in ("", "a", "ab"):
        found = pieces(lead + character * 400, SHORTEST_PIECE)
        assert len(found) > 1
        assert all(not piece.removeprefix(lead).replace(character, "") for piece in found)


def test_chinese_is_cut_between_characters() -> None:
    found = pieces("销售额增长。" * 300, SHORTEST_PIECE)
    assert "".join(found) == "销售额增长。" * 300
    assert all(len(piece) > 100 for piece in found[:-1])
    assert not any(piece.startswith("。") for piece in found)


@for_each("said", ["- no item", "1. no number", "# no heading", "> no quote", "--- ", "+ no", "=== "])
def test_start_of_piece_is_no_markup(said: str) -> None:
    plain = MarkdownIt("commonmark").parse("words")
    for piece in pieces(f"words {said}" * 90, SHORTEST_PIECE):
        assert [token.type for token in MarkdownIt("commonmark").parse(piece)] == [
            token.type for token in plain
        ]


def test_cut_quote_stays_a_quote() -> None:
    assert all(piece.startswith("> ") for piece in pieces("> " + "said " * 200, 300))


def test_short_bold_text_is_not_cut() -> None:
    text = "some words and **what is bold here** " * 60
    assert all(piece.count("**") % 2 == 0 for piece in pieces(text, 300))


def test_table_as_text_repeats_its_heading() -> None:
    rows = "".join(f"| {'cell ' * 20} | {n} |\n" for n in range(12))
    found = pieces(f"| Words | Number |\n|---|---|\n{rows}", 300)
    assert all(re.match(r"```\nWords +\| Number\n", piece) for piece in found)


@for_each(
    "source, inline",
    [
        ("[a][1]\n\n[1]: https://x.y/z", "[a](https://x.y/z)"),
        ("[A]\n\n[a]: https://x.y", "[A](https://x.y)"),
        ("[a][]\n\n[a]: <https://x.y> 'title'", "[a](https://x.y)"),
        ("![a][1]\n\n[1]: https://x.y/a_(b)", "![a](https://x.y/a_%28b%29)"),
        ("`[a][1]` \\[a][1]\n\n[1]: https://x.y", "`[a][1]` \\[a][1](https://x.y)"),
        ("text\n\n[1]: https://x.y", f"text\n\n[1]{BREAK}: https://x.y"),
        ("```\n[a][1]\n```\n[a][1]\n\n[1]: https://x.y", "```\n[a][1]\n```\n[a](https://x.y)"),
    ],
)
def test_reference_links_become_inline(source: str, inline: str) -> None:
    assert "".join(pieces(source, 1_000)).strip() == inline


# From here on, an independent reader compares the pieces of an answer with its source.

WORD = "§"
"""Placeholder for the next word, so that every word is unique."""
ALPHABETS = ("abcdefghij", "àéîõüçñøßž", "αβγδεζηθικ", "абвгдежзик", "אבגדהוזחטי")

prose = st.integers(1, 30).map(lambda length: " ".join([WORD] * length))
inlines = st.one_of(
    prose, *[prose.map(form.format) for form in ("**{}**", "`{}`", "[{}](https://omni.co/docs)", "*{}*")]
)
lines = st.lists(inlines, min_size=1, max_size=3).map(" ".join)


@st.composite
def lists(draw: st.DrawFn, depth: int = 0) -> str:
    """A list with items of any size; an ordered one may repeat one number, as Markdown allows."""
    ordered = draw(st.booleans())
    # Only a list from 1 may follow a line without a blank one between.
    first, step = draw(st.sampled_from([(1, 1), (1, 0), *([] if depth else [(8, 1), (98, 0)])]))
    written: list[str] = []
    for at in range(draw(st.integers(1, 9))):
        mark = f"{first + at * step}. " if ordered else "- "
        inside = [draw(lines)]
        if depth < 2 and draw(st.integers(0, 4)) == 4:
            inside += draw(lists(depth + 1)).split("\n")
        if draw(st.integers(0, 9)) == 9:
            inside += ["", "```sql", *[WORD] * draw(st.integers(1, 12)), "```"]
        written += [mark + inside[0], *(" " * len(mark) * bool(line) + line for line in inside[1:])]
    return "\n".join(written)


def grid(columns: int, rows: int) -> str:
    row = f"|{f' {WORD} |' * columns}\n"
    return row + "|" + "---|" * columns + "\n" + row * rows


def numbered_words(text: str) -> str:
    found = count(100)

    def word(_: re.Match[str]) -> str:
        number = next(found)
        return "".join(ALPHABETS[number % len(ALPHABETS)][int(digit)] for digit in str(number))

    return re.sub(WORD, word, text)


code_blocks = st.integers(0, 60).map(lambda rows: "```python\n" + f"{WORD} {WORD} {WORD}\n" * rows + "```")
quotes = st.lists(lines, min_size=1, max_size=6).map(lambda said: "\n".join(f"> {line}" for line in said))
headings = st.just(f"## {WORD}")
grids = st.builds(grid, st.integers(1, 12), st.integers(0, 40))
answers = (
    st.lists(st.one_of(lines, headings, lists(), grids, code_blocks, quotes, st.just("---")), max_size=6)
    .map("\n\n".join)
    .map(numbered_words)
)


@settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], max_examples=30
)
@given(answers, st.integers(SHORTEST_PIECE, 3_000))
def test_pieces_read_like_the_answer(text: str, limit: int) -> None:
    source = flat(read_markdown(text))
    assert told([read_markdown(piece) for piece in pieces(text, limit)], source) == source


@settings(deadline=None)
@given(documents, st.integers(SHORTEST_PIECE, 2_000), st.integers(1, 40))
@example("| a | b |\n|---|---|\n| 1 |  |\n| a | b |\n|---|---|\n| 1 |  |\n", 200, 17)
def test_pieces_keep_letters_in_order(text: str, limit: int, times: int) -> None:
    text = text * times
    assume(not re.search(r"&shy;|&#8238;|\]:", strip_control_chars(text)))
    source = letters(text)
    # The first line, in code the second, may be a heading that was given again, or as it stands there: where
    # the source repeats itself, both may fit.
    reached = {0}
    for piece in pieces(text, limit):
        readings = {letters(piece), letters(piece.removeprefix("```\n").partition("\n")[2])}
        reached = {at + len(own) for at in reached for own in readings if source.startswith(own, at)}
    assert len(source) in reached


def letters(text: str) -> str:
    """All letters; numbers of a list's items may be written anew."""
    return re.sub(r"[\W\d_]", "", strip_control_chars(text).replace(BREAK, "").replace("%40", "@"))


@for_each("heading", ["# {}", "{}\n==="])
def test_overlong_heading_becomes_text(heading: str) -> None:
    (piece,) = pieces("before\n\n" + heading.format("word " * 60) + "\n\nafter", 1_000)
    assert number_of(piece, "heading_open") == 0
    assert words(piece) == ["before", *["word"] * 60, "after"]


@for_each("heading", ["#", "# ", "### ###"])
def test_empty_heading_is_shown_as_typed(heading: str) -> None:
    (piece,) = pieces(f"before\n\n{heading}\n\nafter", 1_000)
    assert number_of(piece, "heading_open") == 0 and "#" in piece


def test_list_after_cut_list_is_separate() -> None:
    long = "word " * 40
    text = f"- {long}\n  1. {long}\n  2. {long}\n  3. last\n\n1. first\n\nend"
    told = "\n".join(pieces(text, 300))
    assert re.search(r"^3[.)] last$", told, re.MULTILINE)
    lists = re.search(r"3[.)] last\n(.*)1\. first", told, re.DOTALL)
    assert lists and lists[1].strip("\n") == BREAK
