"""`docs/licences.md` lists all dependencies, and only accepted licenses."""

import tomllib
from email.message import Message

import pytest

from tests.support import licences
from tests.support.licences import (
    DOCUMENT,
    PERMISSIVE,
    WEAK_COPYLEFT,
    identifiers,
    licence,
    listed,
    locked,
    written,
)
from tests.support.paths import ROOT

LOCK = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))
REMEDY = "run `uv run python -m tests.support.licences`"


def test_list_matches_lock_file() -> None:
    assert {package.name: package.version for package in listed()} == locked(LOCK), REMEDY
    assert DOCUMENT.read_text("utf-8") == written(listed()), REMEDY


def test_listed_licenses_match_installed_packages() -> None:
    said = {package.name: licence(package.name) for package in listed()}

    assert {name for name, found in said.items() if found} >= {"slack-bolt", "psycopg", "aiohttp"}
    assert [
        package for package in listed() if (said[package.name] or package.licence) != package.licence
    ] == [], REMEDY


def test_licenses_are_permissive_or_accepted() -> None:
    allowed = {*PERMISSIVE, *WEAK_COPYLEFT}

    assert [package for package in listed() if not identifiers(package.licence) <= allowed] == []


def test_locked_packages_have_hashes() -> None:
    files = [
        file
        for package in LOCK["package"]
        if package["name"] != "omni-job-bot"
        for file in [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    ]

    assert files
    assert all(file["hash"].startswith("sha256:") for file in files)
    assert {package["source"].get("registry") for package in LOCK["package"]} == {
        None,
        "https://pypi.org/simple",
    }


def test_transitive_dependencies_include_extras() -> None:
    lock = {
        "package": [
            {"name": "omni-job-bot", "dependencies": [{"name": "driver", "extra": ["binary"]}]},
            {
                "name": "driver",
                "version": "1",
                "dependencies": [{"name": "typing"}],
                "optional-dependencies": {
                    "binary": [{"name": "driver-binary"}],
                    "pool": [{"name": "driver-pool"}],
                },
            },
            {"name": "typing", "version": "2", "dependencies": [{"name": "driver"}]},
            {"name": "driver-binary", "version": "3"},
            {"name": "driver-pool", "version": "4"},
            {"name": "pytest", "version": "5"},
        ]
    }

    assert locked(lock) == {"driver": "1", "driver-binary": "3", "typing": "2"}


@pytest.mark.parametrize(
    "said, found",
    [
        ({"License-Expression": "MIT OR Apache-2.0"}, "MIT OR Apache-2.0"),
        ({"License": "BSD-3-Clause"}, "BSD-3-Clause"),
        ({"License": "a text of\nmany lines", "Classifier": "License :: OSI Approved :: MIT License"}, "MIT"),
    ],
)
def test_license_is_read_from_any_field(
    said: dict[str, str], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(said, monkeypatch)

    assert licence("anything") == found


@pytest.mark.parametrize(
    "said",
    [
        {"License-Expression": "AGPL-3.0-only"},
        {"License-Expression": "MIT AND GPL-2.0-or-later", "License": "MIT"},
        {"Classifier": "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"},
        {"License": "Proprietary"},
        {"License": "MIT", "Classifier": "License :: OSI Approved"},
        {},
    ],
)
def test_copyleft_and_missing_licenses_are_refused(
    said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    says(said, monkeypatch)

    with pytest.raises(LookupError, match="not known here"):
        licence("anything")


def says(fields: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every package say this."""
    message = Message()
    for name, value in fields.items():
        message[name] = value
    monkeypatch.setattr(licences, "metadata", lambda _name: message)
