"""Blocks and files as the page receives them."""

from typing import Any

import pytest

from bot.demo.omni.job_data import HEIGHT, WIDTH, bars
from bot.demo.page_views import messages
from bot.demo.page_views.messages import block, message
from bot.demo.slack.block_kit.messages import judge
from bot.demo.slack.files import StoredFile
from tests.browser.specimens import ANSWER, BLOCKS, CHART, DATA_TABLE, OTHER, PICTURE, PIE, SHEET, TASKS


def view(raw: dict[str, Any]) -> dict[str, Any]:
    return block(raw, str)


def shared(*files: StoredFile, text: str = "") -> dict[str, Any]:
    stored = {"ts": "1.2", "channel": "C0DATA", "thread_ts": "1.1", "user": "U0OMNIBOT", "by_bot": True}
    told: dict[str, Any] = {"edits": 0, "only_for": None, "text": text, "blocks": []}
    told |= {"files": [f.as_json() for f in files]}
    return message(stored | told, str)


@pytest.mark.parametrize("name", BLOCKS)
def test_specimens_are_valid_and_drawn(name: str) -> None:
    assert judge("text", BLOCKS[name]) is None
    assert all(view(raw)["type"] != "unknown" for raw in BLOCKS[name])


def test_spoken_text_has_no_markup() -> None:
    text = "*Queued* since <!date^1777903350^{date_short_pretty} {time}|2026-05-04 14:02 UTC> by <@U0ADA>"
    assert shared(text=text)["said"] == "Queued since 2026-05-04 14:02 UTC by @U0ADA"


class TestTasks:
    def test_task_keeps_state_and_details(self) -> None:
        seen = view(TASKS[1])
        assert (seen["type"], seen["status"]) == ("task", "in_progress")
        assert seen["details"][0]["children"][0] == {"tag": "code", "children": ["order_items"]}
        assert seen["sources"] == [{"tag": "a", "href": "https://example.com/orders", "children": ["Orders"]}]

    def test_a_hidden_title_is_hidden(self) -> None:
        assert view(TASKS[0] | {"hide_title": True})["title"] == ""

    def test_non_web_source_is_not_linked(self) -> None:
        source = {"type": "url", "url": "javascript:alert(1)", "text": "Orders"}
        assert view(TASKS[0] | {"sources": [source]})["sources"] == [{"tag": "span", "children": ["Orders"]}]

    def test_a_plan_holds_its_tasks(self) -> None:
        seen = view({"type": "plan", "title": "Two", "tasks": TASKS[:2]})
        assert [task["status"] for task in seen["tasks"]] == ["complete", "in_progress"]


class TestData:
    def test_table_sorts_numerically(self) -> None:
        seen = view(DATA_TABLE)
        assert [cell["text"] for cell in seen["head"]] == [["Product"], ["Orders"], ["Revenue"]]
        assert seen["rows"][0] == [
            {"text": ["Sunglasses"], "key": "sunglasses"},
            {"text": ["9,000"], "key": 9_000},
            {"text": ["$120,000"], "key": 120_000},
        ]
        assert (seen["page_size"], seen["row_header"]) == (5, 0)

    def test_chart_values_follow_category_order(self) -> None:
        points = [{"label": "May", "value": 2}, {"label": "April", "value": 1}]
        shuffled = {"type": "line", "series": [{"name": "Online", "data": points}]}
        axes = {"axis_config": {"categories": ["April", "May", "June"]}}
        seen = view({"type": "data_visualization", "title": "x", "chart": shuffled | axes})
        assert (seen["kind"], seen["labels"]) == ("line", ["April", "May", "June"])
        assert seen["series"] == [{"name": "Online", "values": [1, 2, None]}]

    def test_a_pie_is_a_chart_of_one_series(self) -> None:
        seen = view(PIE)
        assert (seen["labels"], seen["series"]) == (["EMEA", "APAC"], [{"name": "", "values": [41, 18.25]}])

    def test_axes_have_names(self) -> None:
        assert (view(CHART)["x_label"], view(CHART)["y_label"]) == ("Month", "Thousand dollars")


class TestImages:
    def test_image_has_url_or_file(self) -> None:
        image = {"type": "image", "alt_text": "Bars"}
        assert view(image | {"image_url": "https://a.b/c.png"})["url"] == "https://a.b/c.png"
        assert view(image | {"slack_file": {"url": "https://a.b/c.png"}})["url"] == "https://a.b/c.png"
        by_id = view(image | {"slack_file": {"id": "F0PICTURE"}})
        assert (by_id["url"], by_id["file"], by_id["alt"]) == (None, "F0PICTURE", "Bars")

    @pytest.mark.parametrize(
        "source",
        [
            {},
            {"slack_file": {}},
            {"slack_file": {"id": "F0", "url": "https://a.b/c.png"}},
            {"slack_file": {"id": "F0"}, "image_url": "https://a.b/c.png"},
        ],
    )
    def test_slack_wants_exactly_one_source(self, source: dict[str, Any]) -> None:
        refusal = judge("text", [{"type": "image", "alt_text": "Bars", **source}])
        assert refusal is not None
        assert refusal.error == "invalid_blocks"


class TestFiles:
    def test_a_message_of_files_has_no_empty_card(self) -> None:
        assert shared(SHEET)["blocks"] == []
        assert len(shared(SHEET, text="The rows")["blocks"]) == 1

    def test_picture_has_size_and_description(self) -> None:
        (seen,) = shared(PICTURE)["files"]
        assert (seen["kind"], seen["width"], seen["height"]) == ("image", WIDTH, HEIGHT)
        assert seen["alt"] == "Bars that rise from April to September"

    def test_sheet_shows_first_rows_and_count(self) -> None:
        (seen,) = shared(SHEET)["files"]
        assert seen["head"] == [["month", "online", "stores", "marketplace"]]
        assert seen["rows"][0] == ["2026-04", "412300", "455900", "61200"]
        assert len(seen["rows"]) + seen["more"] == 54

    def test_long_sheet_counts_unread_lines(self) -> None:
        long = StoredFile("F1", "long.csv", 0, content=b"a,b\r\n" + b"1,2\r\n" * 5_000)
        (seen,) = shared(long)["files"]
        assert (len(seen["rows"]), seen["more"]) == (5, 4_995)

    def test_a_cell_may_hold_commas_and_quotes(self) -> None:
        quoted = StoredFile("F1", "q.csv", 0, content=b'a,b\r\n"1,2","say ""hi"""\r\n')
        assert shared(quoted)["files"][0]["rows"] == [["1,2", 'say "hi"']]

    def test_only_markdown_files_are_rendered(self) -> None:
        (answer,) = shared(ANSWER)["files"]
        assert answer["text"][0] == {"tag": "h4", "children": ["Quarterly sales review"]}
        (plain,) = shared(StoredFile("F1", "steps.txt", 7, content=b"# steps"))["files"]
        assert plain["text"] == [{"tag": "pre", "children": ["# steps"]}]

    def test_file_without_preview_shows_name(self) -> None:
        (seen,) = shared(OTHER)["files"]
        assert (seen["kind"], seen["title"]) == ("other", OTHER.name)

    @pytest.mark.parametrize(
        "length, words",
        [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (18_400_000, "18 MB"),
            (2_000_000_000_000, "2000 GB"),
        ],
    )
    def test_sizes_are_human_readable(self, length: int, words: str) -> None:
        assert messages.size(length).replace("\N{NO-BREAK SPACE}", " ") == words

    def test_invalid_picture_has_no_size(self) -> None:
        (seen,) = shared(StoredFile("F1", "x.png", 3, content=b"GIF"))["files"]
        assert seen["width"] is None


def test_drawn_picture_height_follows_values() -> None:
    low, high = bars((1, 1)), bars((1, 2))
    assert low != high
    assert low.startswith(b"\x89PNG") and low.endswith(b"IEND\xaeB`\x82")
