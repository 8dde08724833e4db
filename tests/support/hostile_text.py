"""Text that tries to mention users."""

from hypothesis import strategies as st

PINGS = ("<!channel>", "<!here>", "<@U0ADA>", "@here", "@channel", "@everyone", "&lt;!channel&gt;")

HOSTILE = st.lists(st.sampled_from([*PINGS, *'<>|`*\n,"=a1\u202e']), max_size=20).map("".join)

WORDS = st.text(max_size=30) | HOSTILE | st.sampled_from(PINGS) | st.integers().map(str)
