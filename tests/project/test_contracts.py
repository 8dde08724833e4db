"""The README, `docs/` and `.env.example` agree with the code."""

import ast
import functools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from bot.__main__ import EPILOG
from bot.domain.jobs import JobState
from bot.settings import Settings
from bot.slack.scopes import OPTIONAL_SCOPES, REQUIRED_SCOPES
from tests.support import settings_docs
from tests.support.paths import ROOT
from tests.support.project_docs import POSSIBLE, REQUIRED

PAGES = {
    path: path.read_text("utf-8")
    for path in (
        ROOT / "README.md",
        ROOT / ".github" / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
}

ALL = "\n".join(PAGES.values())

EXAMPLE = settings_docs.EXAMPLE.read_text("utf-8")

FIELDS = [name.upper() for name in Settings.model_fields]


def examples() -> list[tuple[str, str]]:
    """The settings in `.env.example` with their values. Commented ones are defaults."""
    return re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE)


def section(heading: str) -> str:
    """The text under a heading, to the next heading of its level or above."""
    marks, text = re.split(rf"^(#+) {re.escape(heading)}\n", ALL, maxsplit=1, flags=re.MULTILINE)[1:]
    return re.split(rf"^#{{1,{len(marks)}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, without headings."""
    lines = re.findall(r"^\| (.*) \|$", text.replace("| |", "|  |"), re.MULTILINE)
    cells = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    rules = [number for number, row in enumerate(cells) if set(row[0]) == {"-"}]
    return [row for number, row in enumerate(cells) if number not in rules and number + 1 not in rules]


@functools.cache
def texts_in_code() -> list[str]:
    """Every string literal in the code, adjacent ones joined."""
    return [
        node.value
        for path in (ROOT / "bot").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def quoted_messages() -> Iterator[str]:
    """The fixed parts of the bot's messages that the docs quote."""
    for first, *_ in rows(section("Troubleshooting")):
        if not first.startswith("Slack itself"):
            for message in re.split(r", (?=[A-Z`])|; ", first):
                yield from filter(None, (part.strip(" `().:;") for part in message.split("…")))


def test_settings_are_documented_as_declared() -> None:
    remedy = "run `uv run python -m tests.support.settings_docs`"
    assert settings_docs.EXAMPLE.read_text("utf-8") == settings_docs.example(), remedy
    page = settings_docs.PAGE.read_text("utf-8")
    assert page == settings_docs.page(page), remedy


def test_each_setting_has_one_section() -> None:
    titles = [title for title, _ in settings_docs.sections()]
    assert len(titles) == len(set(titles)) > 1


def test_example_shows_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in FIELDS:
        monkeypatch.delenv(name, raising=False)
    shown = {name.lower(): value for name, value in examples()}
    without_default = {name for name, field in Settings.model_fields.items() if field.default is None}

    taken = Settings.model_validate({name: shown[name] for name in shown.keys() - without_default} | REQUIRED)
    assert taken == Settings.model_validate(REQUIRED)


def test_example_leaves_only_required_settings_empty() -> None:
    empty = set(re.findall(r"^([A-Z_]+)=$", EXAMPLE, re.MULTILINE))

    assert empty == {name.upper() for name in REQUIRED}
    assert empty == {name.upper() for name, field in Settings.model_fields.items() if field.is_required()}


@pytest.mark.parametrize("way, needed", rows(section("Required settings")))
def test_each_mode_needs_exactly_the_documented_settings(way: str, needed: str) -> None:
    names = [name.lower() for name in re.findall(r"`(\w+)`", needed)]
    values = {name: POSSIBLE[name] for name in names}

    settings = Settings.model_validate(values)
    assert ("HTTP mode" in way, "everal" in way) == (not settings.app_token, not settings.bot_token)
    for name in names:
        with pytest.raises(ValidationError):
            Settings.model_validate({other: value for other, value in values.items() if other != name})


def test_docs_give_reason_for_every_scope() -> None:
    named = " ".join(row[0] for row in rows(section("What the Slack app may do")))

    assert set(re.findall(r"`([a-z_.:]+)`", named)) == REQUIRED_SCOPES | OPTIONAL_SCOPES


def test_docs_list_exit_codes() -> None:
    assert EPILOG in section("Health")


def test_docs_draw_every_job_state() -> None:
    (diagram,) = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", ALL, re.DOTALL)

    assert set(re.findall(r"[A-Z]{5,}", diagram)) == set(JobState) - {JobState.UNKNOWN}


def packages() -> dict[str, str]:
    """The packages of the bot, and the first sentence or sentences of each one's docstring."""
    found = {}
    for path in (ROOT / "bot").glob("*/__init__.py"):
        docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        found[path.parent.name] = " ".join(docstring.split("\n\n")[0].split())
    return found


def test_docs_describe_every_package() -> None:
    described = dict(rows(section("The packages")))

    assert described == {f"`{name}`": sentence for name, sentence in packages().items()}


def test_paths_named_in_the_contributor_guide_exist() -> None:
    guide = PAGES[ROOT / ".github" / "CONTRIBUTING.md"]
    named = set(re.findall(r"`([\w.-]+(?:/[\w.-]*)+|[\w-]+\.(?:toml|yml|md|lock))`", guide))

    assert len(named) > 40
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def imports_between_packages() -> set[tuple[str, str]]:
    """Each pair of packages of which the first imports the second."""
    pairs = set()
    for name in packages():
        for path in (ROOT / "bot" / name).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bot."):
                    pairs.add((name, (node.module or "").split(".")[1]))
    return {(name, other) for name, other in pairs if other in packages() and other != name}


def drawn_arrows() -> set[tuple[str, str]]:
    """The arrows between packages in the picture of the docs."""
    lines = re.findall(r"^ +(.+) --> (.+)$", section("The packages"), re.MULTILINE)
    pairs = {(a, b) for left, right in lines for a in left.split(" & ") for b in right.split(" & ")}
    return {(a, b) for a, b in pairs if a in packages()}


def test_docs_draw_the_imports_between_packages() -> None:
    arrows, imports = drawn_arrows(), imports_between_packages()
    reached = set(arrows)
    while more := {(a, d) for a, b in reached for c, d in arrows if b == c} - reached:
        reached |= more

    assert arrows <= imports
    assert imports <= reached
    assert set(packages()) == {name for arrow in arrows for name in arrow} | {"demo"}


def test_documented_messages_exist_in_code() -> None:
    texts = "\0".join(texts_in_code())
    messages = set(quoted_messages())

    assert len(messages) > 100
    assert [message for message in sorted(messages) if message not in texts] == []


def test_docs_explain_every_logged_warning() -> None:
    logged = {
        call.args[0].value
        for path in (ROOT / "bot").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) in ("log.warning", "log.error", "log.exception")
        and isinstance(call.args[0], ast.Constant)
    }

    assert len(logged) > 10
    assert logged - set(quoted_messages()) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_files_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)[^):]*\)|(?:src|srcset)=\"([^\":]+)\"", PAGES[page])

    assert [link for link in map("".join, links) if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_sections_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", PAGES[page])

    assert [
        (to, section) for to, section in links if section not in anchors(page.parent / to if to else page)
    ] == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's sections."""
    headings = re.findall(r"^#+ (.*)$", PAGES[page.resolve()], re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_docs_explain_every_alarm() -> None:
    rules = (ROOT / "docs" / "alerts.yml").read_text("utf-8")

    alarms = {name for row in rows(section("Alarms")) for name in re.findall(r"`(OmniJobBot\w+)`", row[0])}
    assert alarms == set(re.findall(r"alert: (\w+)", rules))


def test_readme_is_one_page() -> None:
    assert len(PAGES[ROOT / "README.md"].splitlines()) <= 130


def test_heroku_finds_lock_file_and_python_version() -> None:
    locks = {"uv.lock", "poetry.lock", "Pipfile.lock", "requirements.txt"}

    assert [name for name in sorted(locks) if (ROOT / name).exists()] == ["uv.lock"]
    assert re.fullmatch(r"3\.\d+\n", (ROOT / ".python-version").read_text("utf-8"))


def test_lint_exceptions_have_reasons() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    lint = tomllib.loads(text)["tool"]["ruff"]["lint"]
    rules = {*lint["ignore"], *(rule for rules in lint["per-file-ignores"].values() for rule in rules)}

    assert [rule for rule in sorted(rules) if not re.search(rf'"{rule}"[,\]] *# \S', text)] == []
