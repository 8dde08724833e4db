"""Writes `docs/licences.md` anew: `uv run python -m tests.support.licences`, after the lock has changed."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from typing import Any

from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "licences.md"

PERMISSIVE = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"}
"""May be used, changed and passed on as long as their texts are passed on, too."""

WEAK_COPYLEFT = {
    "LGPL-3.0-only": (
        "used as a library, unchanged, in files of its own that anybody can replace;\n  "
        "whoever passes the image on passes on the licence, too, and does not forbid to replace them"
    ),
    "MPL-2.0": "file by file: only whoever changes certifi's own files has to publish those",
}
"""What is taken nevertheless, and why that asks nothing of the bot's own code. Anything else has to be argued here."""

_NAMES = {
    "Apache 2.0": "Apache-2.0",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
}
"""SPDX's identifiers for what packages say that are older than those."""

_ABOVE = """# Licenses

The bot itself is under the [MIT license](../LICENSE). It runs with the packages below, at the versions in `uv.lock`.
Each package includes the text of its license; in the container image it is below `/app/.venv`. The image also contains
Debian and Python, whose licenses are in `/usr/share/doc` and `/usr/local/lib`. Packages that only the tests use are not
listed.

`uv run python -m tests.support.licences` writes this page from the lock file. A test fails if they differ, or if a
license is not accepted here.

| Package | Version | License |
| --- | --- | --- |
"""


@dataclass(frozen=True, slots=True)
class Package:
    """What the bot is run with."""

    name: str
    version: str
    licence: str
    """As SPDX writes it."""


def locked(lock: Mapping[str, Any]) -> dict[str, str]:
    """The versions of all packages that the bot needs on any platform, those of its own dependencies included."""
    packages = {package["name"]: package for package in lock["package"]}
    seen: set[tuple[str, str]] = set()

    def follow(name: str, extra: str) -> None:
        if (name, extra) in seen:
            return
        seen.add((name, extra))
        package = packages[name]
        needed = (
            package.get("optional-dependencies", {}).get(extra, [])
            if extra
            else package.get("dependencies", [])
        )
        for dependency in needed:
            for each in ["", *dependency.get("extra", [])]:
                follow(dependency["name"], each)

    follow("omni-job-bot", "")
    return {name: packages[name]["version"] for name, _ in sorted(seen) if name != "omni-job-bot"}


def listed() -> list[Package]:
    """What `docs/licences.md` says."""
    text = DOCUMENT.read_text("utf-8") if DOCUMENT.exists() else ""
    found = re.findall(r"^\| \[([^]]+)\]\([^)]+\) \| (\S+) \| ([^|]+) \|$", text, re.MULTILINE)
    return [Package(*cells) for cells in found]


def licence(name: str) -> str | None:
    """What an installed package says of itself; None if it is not installed here.

    Raises:
        LookupError: it says nothing that is understood.
    """
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return None
    words = _said(said)
    if not identifiers(words) <= {*PERMISSIVE, *WEAK_COPYLEFT}:
        raise LookupError(f"{name} has a licence that is not known here: {words[:80]!r}")
    return words


def identifiers(expression: str) -> set[str]:
    """The licences that an SPDX expression names."""
    return set(re.split(r" (?:AND|OR|WITH) ", expression.replace("(", "").replace(")", "")))


def written(packages: list[Package]) -> str:
    """The document."""
    rows = [
        f"| [{package.name}](https://pypi.org/project/{package.name}/{package.version}/) | {package.version} "
        f"| {package.licence} |\n"
        for package in packages
    ]
    used = {identifier for package in packages for identifier in identifiers(package.licence)}
    reasons = [f"- **{name}**: {why}.\n" for name, why in WEAK_COPYLEFT.items() if name in used]
    return _ABOVE + "".join(rows) + "\nLicenses with conditions beyond attribution:\n\n" + "".join(reasons)


def _said(package: PackageMetadata) -> str:
    """The newest field is exact; of the older ones, the last may be a name or a whole text."""
    expression = package.get_all("License-Expression")
    classifiers = [said for said in package.get_all("Classifier") or [] if said.startswith("License ::")]
    said = expression or classifiers or package.get_all("License") or [""]
    return " AND ".join(_NAMES.get(each, each) for each in said)


def main() -> None:
    """Write the document. What is not installed on this machine keeps the licence that it is listed with."""
    before = {package.name: package.licence for package in listed()}
    lock = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))
    packages = [
        Package(name, version, licence(name) or before[name]) for name, version in locked(lock).items()
    ]
    DOCUMENT.write_text(written(packages), "utf-8")


if __name__ == "__main__":
    main()
