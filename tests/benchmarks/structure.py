"""Measure the structure of the code: `python -m tests.benchmarks structure`.

Counts packages, modules, layers and wording, and follows one `/omni-job` through the code. The demo is left out.
"""

import ast
import asyncio
import re
import statistics
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType

from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.simulator import SimulatedSlack
from bot.log import configure
from tests.end_to_end.world import World
from tests.support.paths import ROOT

BOT = ROOT / "bot"
TESTS = ROOT / "tests"
DEMO = BOT / "demo"
ANSWER = "### Top 5 products\n\n1. **Sunglasses** - $678,994\n2. **Jeans** - $475,072"
START_SECONDS = 2.0
"""After this time the bot's start is complete."""
SMALL_MODULE_LINES = 60
LARGE_MODULE_LINES = 420
ODD_WORDS = re.compile(
    r"\b(?:told|tells?|nobody|somebody|anybody|everybody|whoever|whatever)\b"
    r"|\bof it\b|\bby itself\b|\bany more\b"
    r"|(?:^|(?<=[.!?] ))(?:What|Whoever|All that)\b"
)
"""Words and openings that `docs/glossary.md` and the style of this project avoid."""


@dataclass(frozen=True)
class Figure:
    """One measured figure and the value it must not pass."""

    name: str
    value: float
    limit: float | None = None

    def __str__(self) -> str:
        limit = "" if self.limit is None else f"at most {self.limit:g}"
        return f"{self.name:<58} {self.value:>8.5g}  {limit}"


def figures() -> list[Figure]:
    """Measure everything."""
    modules, functions = asyncio.run(trace_follow())
    return [*code_figures(), *test_figures(), *trace_figures(modules, functions)]


def code_figures() -> list[Figure]:
    """Figures about `bot/` without the demo."""
    files = list(_bot_files())
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in files}
    modules = {path: count for path, count in lines.items() if path.name != "__init__.py"}
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    glossary = (ROOT / "docs/glossary.md").read_text("utf-8")
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [
        Figure("lines of bot/ without the demo", sum(lines.values())),
        Figure("entries of the fullest folder", max(_entries(folder) for folder in _folders(BOT)), 26),
        Figure(
            "packages",
            sum(1 for path in BOT.iterdir() if (path / "__init__.py").exists() and path != DEMO),
            16,
        ),
        Figure("modules", len(modules)),
        Figure("lines of the median module", statistics.median(modules.values())),
        Figure(
            f"modules under {SMALL_MODULE_LINES} lines",
            sum(n < SMALL_MODULE_LINES for n in modules.values()),
            12,
        ),
        Figure(
            f"modules over {LARGE_MODULE_LINES} lines",
            sum(n > LARGE_MODULE_LINES for n in modules.values()),
            0,
        ),
        Figure("layers", len(layers), 18),
        Figure("terms in docs/glossary.md", glossary.count("\n| **"), 40),
        *_wording(files),
    ]


def test_figures() -> list[Figure]:
    """Figures about `tests/`."""
    names, imports = [], 0
    for path in TESTS.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                names.append(node.name.count("_"))
            if isinstance(node, ast.ImportFrom) and path.name.startswith("test_"):
                module = node.module or ""
                imports += module.startswith("tests.") and module.rpartition(".")[2].startswith("test_")
    return [
        Figure("files directly in tests/", sum(1 for path in TESTS.iterdir() if path.is_file()), 5),
        Figure("tests (functions)", len(names)),
        Figure("words in the median test name", statistics.median(names), 7),
        Figure("imports of one test module by another", imports, 0),
    ]


def trace_figures(modules: set[str], functions: set[CodeType]) -> list[Figure]:
    """Figures about one `/omni-job`, from the command to the final edit, on SQLite."""
    return [
        Figure("modules that one /omni-job passes through", len(modules), 48),
        Figure("named functions that one /omni-job passes through", len(functions), 240),
    ]


async def trace_follow() -> tuple[set[str], set[CodeType]]:
    """Follow one job in the real bot between the simulators. Returns the modules and named functions of `bot/`
    that ran between the command and the final edit."""
    seen: set[CodeType] = set()
    is_recording = False

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and is_recording:
            seen.add(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)

    with tempfile.TemporaryDirectory() as folder:
        async with SimulatedSlack() as slack, SimulatedOmni() as omni:
            world = World(slack, omni, Path(folder))
            async with world.bot():
                await asyncio.sleep(START_SECONDS)
                job = omni.add(Script(0.0, ((3.0, "Running query: Top products", 2),), 0.0, Complete(ANSWER)))
                is_recording = True
                await world.type(job)
                await world.card("Answered in", timeout=60)
                is_recording = False
    threading.setprofile(None)
    sys.setprofile(None)
    functions = {code for code in seen if _is_of_bot(code) and not code.co_name.startswith("<")}
    return {code.co_filename for code in functions}, functions


def _is_of_bot(code: CodeType) -> bool:
    path = Path(code.co_filename)
    return path.is_relative_to(BOT) and not path.is_relative_to(DEMO)


def _wording(files: list[Path]) -> list[Figure]:
    words = odd = 0
    for path in files:
        for docstring in _docstrings(path):
            words += len(docstring.split())
            odd += len(ODD_WORDS.findall(" ".join(docstring.split())))
    return [
        Figure("words in docstrings", words),
        Figure("odd words per 1,000 docstring words", 1_000 * odd / max(words, 1), 2),
    ]


def _docstrings(path: Path) -> Iterator[str]:
    """Docstrings of a module, its classes and functions, and those of its values."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str(docstring))):
                yield docstring


def _bot_files() -> Iterator[Path]:
    return (path for path in sorted(BOT.rglob("*.py")) if not path.is_relative_to(DEMO))


def _folders(top: Path) -> Iterator[Path]:
    yield top
    yield from (path for path in top.rglob("*") if path.is_dir() and path.name != "__pycache__")


def _entries(folder: Path) -> int:
    return sum(1 for path in folder.iterdir() if path.name != "__pycache__")


def show() -> None:
    """Print every figure beside its limit."""
    configure("ERROR")
    for figure in figures():
        print(figure)
