"""Slack's mrkdwn, Markdown and blocks as trees for the page: correct, and always text."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.demo.page_views.messages import block, message
from bot.demo.page_views.text import Node, as_words, markdown, mrkdwn

NAMES = {"U0ADA": "Ada Byron", "C0DATA": "data-team"}


def name(some_id: str) -> str:
    return NAMES.get(some_id, some_id)


def tag(kind: str, *children: Node, **more: Any) -> Node:
    return {"tag": kind, **more, "children": list(children)}


def every(nodes: list[Node]) -> Iterator[dict[str, Any]]:
    for node in nodes:
        if isinstance(node, dict):
            yield node
            yield from every(node.get("children", []))


def words(nodes: list[Node]) -> str:
    return as_words(nodes, lambda node: f"at {node['unix']}")


class TestMrkdwn:
    @pytest.mark.parametrize(
        ("text", "tree"),
        [
            ("plain", ["plain"]),
            ("*bold* _it_ ~no~", [tag("strong", "bold"), " ", tag("em", "it"), " ", tag("s", "no")]),
            ("*bold _and it_*", [tag("strong", "bold ", tag("em", "and it"))]),
            ("`a *b*` c", [tag("code", "a *b*"), " c"]),
            ("```\na < *b*\n```", [tag("pre", "a < *b*")]),
            ("2*3*4 snake_case_name", ["2*3*4 snake_case_name"]),
            ("a\nb", ["a", {"tag": "br"}, "b"]),
            ("> one\n> two\nthree", [tag("blockquote", "one", {"tag": "br"}, "two"), "three"]),
            ("&gt; one", [tag("blockquote", "one")]),
            ("&lt;b&gt; &amp;lt;", ["<b> &lt;"]),
            ("<@U0ADA>", [tag("mention", "@Ada Byron", id="U0ADA")]),
            ("<#C0DATA|x>", [tag("mention", "#data-team", id="C0DATA")]),
            ("<!channel>", [tag("mention", "@channel", id="!channel")]),
            ("<https://a.b/c_d_e|here>", [tag("a", "here", href="https://a.b/c_d_e")]),
            ("<https://a.b/?x=1&amp;y=2>", [tag("a", "https://a.b/?x=1&y=2", href="https://a.b/?x=1&y=2")]),
            ("<javascript:alert(1)|here>", ["<javascript:alert(1)|here>"]),
            ("<img src=x onerror=alert(1)>", ["<img src=x onerror=alert(1)>"]),
        ],
    )
    def test_is_parsed_like_slack(self, text: str, tree: list[Node]) -> None:
        assert mrkdwn(text, name) == tree

    def test_date_keeps_time_and_format(self) -> None:
        (node,) = mrkdwn("<!date^1700000000^{date_short_pretty} {time}|14 Nov>", name)
        assert node == {
            "tag": "time",
            "unix": 1_700_000_000,
            "format": "{date_short_pretty} {time}",
            "fallback": "14 Nov",
            "href": "",
        }

    def test_a_broken_date_shows_its_fallback(self) -> None:
        assert mrkdwn("<!date^soon^{time}|some day>", name) == ["some day"]

    def test_words_leave_the_form_out(self) -> None:
        tree = mrkdwn("*Queued* since <!date^5^{time}|x>\n> by <@U0ADA>", name)
        assert words(tree) == "Queued since at 5by @Ada Byron"

    @given(st.text())
    def test_arbitrary_text_is_safe(self, text: str) -> None:
        for node in every(mrkdwn(text, name)):
            assert (
                node.get("href", "https:").lower().startswith(("http:", "https:", "mailto:"))
                or not node["href"]
            )


class TestMarkdown:
    def test_supported_markdown_is_drawn(self) -> None:
        tree = markdown("# One\n\n**two** ~~three~~\n\n3. four\n\n---\n\n```sql\nselect 1\n```", name)
        assert tree == [
            tag("h4", "One"),
            tag("p", tag("strong", "two"), " ", tag("s", "three")),
            tag("ol", tag("li", "four"), start=3),
            {"tag": "hr"},
            tag("pre", "select 1", language="sql"),
        ]

    def test_item_with_checkbox_is_a_task(self) -> None:
        tree = markdown("- [x] done\n- [ ] **open**\n- [y] neither\n- [x]", name)
        assert [node.get("task") for node in every(tree) if node["tag"] == "li"] == [
            "done",
            "open",
            None,
            None,
        ]
        assert words(tree) == "doneopen[y] neither[x]"

    def test_item_with_paragraphs_can_be_task(self) -> None:
        (item,) = [n for n in every(markdown("1. [ ] one\n\n   more", name)) if n["tag"] == "li"]
        assert (item["task"], words([item])) == ("open", "onemore")

    def test_a_table_keeps_its_alignment(self) -> None:
        (table,) = markdown("| a | b |\n|---|--:|\n| 1 | 2 |", name)
        cells = [(n["tag"], n["align"], n["children"]) for n in every([table]) if n["tag"] in ("th", "td")]
        assert cells == [("th", "", ["a"]), ("th", "right", ["b"]), ("td", "", ["1"]), ("td", "right", ["2"])]

    def test_html_stays_text(self) -> None:
        assert words(markdown("<b>x</b> <script>y</script>", name)) == "<b>x</b> <script>y</script>"

    @pytest.mark.parametrize("href", ["javascript:alert(1)", "data:text/html,x", "vbscript:x", "slack://x"])
    def test_non_web_link_is_text(self, href: str) -> None:
        assert not [n for n in every(markdown(f"[x]({href}) ![y]({href})", name)) if n["tag"] == "a"]

    def test_an_image_is_a_link_to_it(self) -> None:
        assert markdown("![chart](https://a.b/c.png)", name) == [
            tag("p", tag("a", "chart", href="https://a.b/c.png"))
        ]

    @given(st.text())
    def test_nothing_breaks_it(self, text: str) -> None:
        assert isinstance(markdown(text, name), list)


class TestBlocks:
    def test_rich_text_is_drawn(self) -> None:
        raw = {
            "type": "rich_text",
            "elements": [
                {
                    "type": "rich_text_quote",
                    "elements": [
                        {"type": "text", "text": "a\nb", "style": {"bold": True}},
                        {"type": "user", "user_id": "U0ADA"},
                    ],
                }
            ],
        }
        bold = tag("strong", "a", {"tag": "br"}, "b")
        mention = tag("mention", "@Ada Byron", id="U0ADA")
        assert block(raw, name)["text"] == [tag("blockquote", bold, mention)]

    def test_a_table_block_has_a_head(self) -> None:
        cell = {"type": "raw_text", "text": "x"}
        raw = {"type": "table", "rows": [[cell], [cell]], "column_settings": [{"align": "right"}]}
        (table,) = block(raw, name)["text"]
        assert [n["tag"] for n in every([table])] == ["table", "thead", "tr", "th", "tbody", "tr", "td"]

    def test_a_button_keeps_what_it_does(self) -> None:
        confirm = {"title": {"type": "plain_text", "text": "Sure?"}}
        button = {
            "type": "button",
            "text": {"type": "plain_text", "text": "Stop *it*"},
            "action_id": "stop",
            "style": "danger",
            "confirm": confirm,
        }
        (seen,) = block({"type": "actions", "elements": [button]}, name)["elements"]
        assert (seen["text"], seen["action_id"], seen["style"]) == (["Stop *it*"], "stop", "danger")
        assert seen["confirm"]["title"] == ["Sure?"]

    def test_an_unknown_block_is_named(self) -> None:
        assert block({"type": "carousel"}, name) == {"type": "unknown", "name": "carousel"}

    def test_a_message_without_blocks_shows_its_text(self) -> None:
        stored: dict[str, Any] = {
            "ts": "1.2",
            "channel": "C0DATA",
            "thread_ts": None,
            "user": "U0ADA",
            "by_bot": False,
            "edits": 0,
            "only_for": None,
            "text": "hello <@U0ADA>",
            "blocks": [],
            "files": [],
        }
        seen = message(stored, name)
        assert words(seen["blocks"][0]["text"]) == "hello @Ada Byron"
        assert seen["mentions"] == ["U0ADA"]
