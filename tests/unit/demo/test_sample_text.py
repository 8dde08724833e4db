"""How Slack formats a typed line."""

import pytest

from bot.demo.slack.message_text import as_stored, mentions
from bot.demo.slack.records import User

OMNI = User("U0OMNIBOT", "omni-job-bot", "Omni job bot", is_bot=True)
LINK = "https://acme.omniapp.co/chat/1"


@pytest.mark.parametrize(
    "typed, stored",
    [
        ("a < b & c", "a &lt; b &amp; c"),
        ("<!channel> <b>", "&lt;!channel&gt; &lt;b&gt;"),
        ("@omni-job-bot why?", "<@U0OMNIBOT> why?"),
        ("<@U0OMNIBOT> why?", "<@U0OMNIBOT> why?"),
        ("ada@omni.co and @nobody", "<mailto:ada@omni.co|ada@omni.co> and @nobody"),
        ("users of acme.com?", "users of <http://acme.com|acme.com>?"),
        (f"see {LINK}.", f"see <{LINK}>."),
        (f"({LINK})", f"(<{LINK}>)"),
        (f"<{LINK}|chat>", f"<{LINK}|chat>"),
        (f"{LINK}?a=1&b=2", f"<{LINK}?a=1&amp;b=2>"),
    ],
)
def test_references_are_formatted_and_text_is_escaped(typed: str, stored: str) -> None:
    assert as_stored(typed, [OMNI]) == stored


def test_a_mention_is_of_one_person() -> None:
    assert mentions("<@U0OMNIBOT> hello", "U0OMNIBOT")
    assert mentions("<@U0OMNIBOT|omni>", "U0OMNIBOT")
    assert not mentions("<@U0OMNIBOT2> U0OMNIBOT", "U0OMNIBOT")
