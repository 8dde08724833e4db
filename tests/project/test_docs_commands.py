"""Commands, settings, paths, services and processes that the docs name exist."""

import re
import shlex
import tomllib
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import pytest
import yaml

from bot.__main__ import _parser
from bot.server.routes import Routes
from bot.settings import Settings
from tests.support.dockerfile import stages
from tests.support.paths import ROOT
from tests.support.project_docs import POSSIBLE

PAGES = (
    ROOT / "README.md",
    ROOT / ".env.example",
    ROOT / ".github" / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
)
TEXTS = {page.name: page.read_text("utf-8") for page in PAGES}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES = set(COMPOSE["services"])
IMAGE: str = COMPOSE["services"]["bot"]["image"]
PROCESSES = set(re.findall(r"^(\w+): ", (ROOT / "Procfile").read_text("utf-8"), re.MULTILINE))
MARKERS = {
    marker.split(":")[0]
    for marker in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"][
        "ini_options"
    ]["markers"]
}
FIELDS = {name.upper() for name in Settings.model_fields}

NOT_OURS = set(
    "POSTGRES_PASSWORD UV_MANAGED_PYTHON UV_SYSTEM_CERTS UV_PYTHON_INSTALL_DIR HYPOTHESIS_PROFILE OUT_DIR"
    " HTTPS_PROXY ALL_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE ORG_ADMIN JOB_ID".split()
)
"""Names in capitals in the docs that are not settings of the bot: those of compose.yaml, uv, the tests, the network and
Omni, a placeholder for a folder, and a variable of a CI job."""

OTHERS = set(
    "chmod cp curl docker echo git heroku journalctl mkdir openssl pg_dump readlink systemctl systemd-run tar"
    " uv".split()
)
"""Programs that are not part of the project."""


def commands() -> list[tuple[str, str]]:
    """Pairs of a page and a command in it, from blocks and sentences."""
    found: list[tuple[str, str]] = []
    for name, text in TEXTS.items():
        blocks = re.findall(r"^( *)```sh\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
        lines = [re.sub(r"(^|\s)#.*", "", line) for _, block in blocks for line in joined(block)]
        spans = [
            " ".join(span.split())
            for span in re.findall(r"`([^`|]+)`", re.sub("```.*?```", "", text, flags=re.DOTALL))
        ]
        typed = [
            span for span in spans if re.match(r"(uv run|python -m|python -c|docker|heroku|systemctl) ", span)
        ]
        parts = [part.strip() for line in [*lines, *typed] for part in re.split(r" (?:&&|\|) ", line)]
        found += [(name, part) for part in dict.fromkeys(parts) if part]
    return found


def joined(block: str) -> list[str]:
    """The lines of a block, each with those that continue it."""
    return re.sub(r"\\\n\s*", "", block).splitlines()


def words(command: str) -> list[str]:
    """A command's words, without environment variables, `sudo`, `uv run` and the file it writes."""
    found = shlex.split(re.sub(r" >>? \S+$", "", command))
    while found[0] == "sudo" or "=" in found[0]:
        found = found[1:]
    if found[:2] == ["uv", "run"]:
        found = found[2:]
        while found[0].startswith("--"):
            found = found[2:]
    return found


def test_documented_commands_can_be_run() -> None:
    broken = []
    for page, command in commands():
        try:
            check(page, command)
        except (AssertionError, SystemExit, SyntaxError) as error:
            broken.append(f"{page}: {command}: {error!r}")

    assert broken == []


def check(page: str, command: str) -> None:
    """Check a command as far as possible without running it.

    Raises:
        AssertionError, SystemExit, SyntaxError: it can't be run.
    """
    program, *arguments = words(command)
    match [program, *arguments[:2]]:
        case ["python", "-m", "bot"]:
            if arguments[2:] != ["--version"]:
                _parser().parse_args(arguments[2:])
        case ["python", "-m", module]:
            assert find_spec(module), page
        case ["python", "-c", line]:
            compile(line, page, "exec")
        case ["pytest", *_]:
            assert set(values(arguments, "-m")) <= MARKERS
            assert all((ROOT / path).exists() for path in arguments if "/" in path)
        case ["docker", "compose", _]:
            assert {word.split("=")[0] for word in plain(arguments[2:])[:1]} <= SERVICES
            if "python" in arguments:
                _parser().parse_args(arguments[arguments.index("-m") + 2 :])
        case ["docker", "run", *_]:
            assert values(arguments, "-v") in ([], [f"{IMAGE}:{stages()[-1].one('VOLUME')}"])
            _parser().parse_args(arguments[len(arguments) - arguments[::-1].index(IMAGE) :])
        case ["heroku", "ps:scale", *_]:
            assert scaled(command) <= PROCESSES
        case ["heroku", "config:set", *_]:
            assert {pair.split("=")[0] for pair in arguments[1:]} <= FIELDS
        case _ if (ROOT / program).is_file():
            pass
        case _:
            assert program in OTHERS | {"ruff", "mypy", "lint-imports"}, page


def values(arguments: list[str], option: str) -> list[str]:
    """All values of an option."""
    return [value for name, value in pairwise(arguments) if name == option]


def plain(arguments: list[str]) -> list[str]:
    """Arguments that are not options."""
    return [argument for argument in arguments if not argument.startswith("-")]


def scaled(command: str) -> set[str]:
    """Names of the processes that a command scales."""
    return set(re.findall(r"\b(\w+)=\d+", command))


def test_docs_contain_commands() -> None:
    assert {page for page, _ in commands()} >= {"README.md", "deploying.md", "operating.md", "measured.md"}


@pytest.mark.parametrize("page", TEXTS)
def test_documented_settings_exist(page: str) -> None:
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", TEXTS[page]))

    assert named - FIELDS - NOT_OURS == set()


def test_docs_name_exactly_the_served_paths() -> None:
    apart = {"slack_bot_token", "slack_app_token"}
    values = {name: value for name, value in POSSIBLE.items() if name not in apart}
    settings = Settings.model_validate(values | {"metrics_token": "x" * 16})
    answered = {route.path.removesuffix("/{team}/{ask}") for route in Routes(settings).routes()}
    documented = re.findall(
        r"(?<![\w.])(/(?:healthz|readyz|metrics|slack/\w+|omni/\w+))\b", "\n".join(TEXTS.values())
    )

    assert set(documented) == answered
