"""Text that tries to mention users."""

from hypothesis import strategies as st

PINGS = ("<!channel>", "<!here>", "<@U0ADA>", "@here", "@channel", "@everyone", "&lt;!channel&gt;")

HOSTILE = st.lists(st.sampled_from([*PINGS, *'<>|`*\n,"=a1\u202e']), max_size=20).map("".join)

WORDS = st.text(max_size=30) | HOSTILE | st.sampled_from(PINGS) | st.integers().map(str)

HOSTILE_UNITS = (
    *("[a](", "*a ", ">", "| a | b |\n|---|---|\n", "|||||\n", "`", "```\n", "<!", "&amp;", "@h", "<https://"),
    *("a\n\n", "- a\n", "](", "> - ", "\u200d\ufe0f", "\t- a\n", "x", "[a]: b\n", "&lt;https://a", "https://"),
    *("1. a\n", "1. 1. a\n", "[a]: https://b\n", "[a][b]", "[1]", "`a ", "**a ", "~~a ", "[a ", "日", "🇩🇪", "- ```\n"),
    *("![a](", "\\(", "\\[^", "<!--", "<a ", "<b", "**<https://a", "[a](https://b ", "*https://a", "[^1]", "| a\n"),
    *("_a ", "<a href="),
)  # fmt: skip
"""Units of text that, repeated, may cost a Markdown parser more than linear time."""
