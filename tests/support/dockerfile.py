"""What the Dockerfile and `.dockerignore` say, read as far as the tests need that try them without an engine."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.support.paths import ROOT


@dataclass(slots=True)
class Stage:
    """What stands between one FROM and the next."""

    image: str
    name: str
    said: list[tuple[str, str]] = field(default_factory=list)
    """Each instruction's keyword, and what follows it, on one line."""

    def all(self, keyword: str) -> list[str]:
        return [rest for said, rest in self.said if said == keyword]

    def one(self, keyword: str) -> str:
        (rest,) = self.all(keyword)
        return rest

    @property
    def environment(self) -> dict[str, str]:
        pairs = [pair.partition("=")[::2] for line in self.all("ENV") for pair in line.split()]
        return dict(pairs)

    @property
    def copied(self) -> list[tuple[list[str], str]]:
        """What is copied from the build context: the sources, and where to."""
        lines = [line.split() for line in self.all("COPY") if not line.startswith("--from=")]
        return [(sources, target) for *sources, target in lines]


def stages() -> list[Stage]:
    """The Dockerfile's stages, in order."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    found: list[Stage] = []
    for line in filter(None, re.sub(r"\\\n\s*", "", text).splitlines()):
        keyword, rest = line.split(maxsplit=1)
        if keyword == "FROM":
            image, _, name = rest.partition(" AS ")
            found.append(Stage(image, name))
        else:
            found[-1].said.append((keyword, rest))
    return found


def words(form: str) -> list[str]:
    """The exec form of a command, as in ENTRYPOINT and CMD."""
    parsed: Any = json.loads(form)
    assert isinstance(parsed, list)
    return [str(word) for word in parsed]


def is_in_context(path: str) -> bool:
    """Whether `.dockerignore` lets a path of this folder into the build. As Docker has it, the last line that speaks
    of a path or of a folder above it decides."""
    inside = True
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if line and not line.startswith("#") and _speaks_of(line.removeprefix("!"), path):
            inside = line.startswith("!")
    return inside


def _speaks_of(pattern: str, path: str) -> bool:
    glob = (
        re.escape(pattern)
        .replace(r"\*\*/", "(?:.*/)?")
        .replace(r"\*", "[^/]*")
        .replace(r"\[", "[")
        .replace(r"\]", "]")
    )
    return re.fullmatch(rf"{glob}(?:/.*)?", path) is not None
