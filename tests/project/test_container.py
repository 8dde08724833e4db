"""The container image, tested without an engine: a folder is built as the Dockerfile does."""

import asyncio
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.demo.omni.server import SimulatedOmni
from bot.demo.slack.simulator import SimulatedSlack
from tests.support.dockerfile import is_in_context, stages, words
from tests.support.paths import ROOT

_UV, BUILD, LAST = stages()
ENTRYPOINT = words(LAST.one("ENTRYPOINT"))
HEALTHCHECK = words(LAST.one("HEALTHCHECK").partition(" CMD ")[2])


class Image:
    """The image's folders, in one that is the test's own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.app = root / "app"
        self.data = root / "data"

    def build(self) -> None:
        """Do what the build stage does, with the packages that uv has in its cache and the Python that runs here.

        Their bytecode is left out: compiling it takes longer than all the rest.
        """
        self.data.mkdir()
        for sources, target in BUILD.copied:
            for source in sources:
                self._copy(source, self.app / target / (Path(source).name if target == "./" else ""))
        environment = BUILD.environment | {"UV_PYTHON": sys.executable}
        del environment["UV_NO_CACHE"], environment["UV_LINK_MODE"], environment["UV_COMPILE_BYTECODE"]
        for command in BUILD.all("RUN"):
            subprocess.run(
                shlex.split(command),
                cwd=self.app,
                env=_without_venv() | environment,
                check=True,
                capture_output=True,
            )

    def _copy(self, source: str, target: Path) -> None:
        here = ROOT / source
        for file in [here] if here.is_file() else here.rglob("*"):
            if file.is_file() and is_in_context(str(file.relative_to(ROOT))):
                copy = target / file.relative_to(here)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copy)

    @property
    def environment(self) -> dict[str, str]:
        """Map a path in the container to this folder."""
        found = {name: value.replace("/app/", f"{self.app}/") for name, value in LAST.environment.items()}
        found["PATH"] = found["PATH"].replace("$PATH", os.environ["PATH"])
        found["DATABASE_URL"] = found["DATABASE_URL"].replace("//data", f"/{self.data}")
        return found

    def files(self) -> dict[str, tuple[int, int]]:
        """Every file of `/app`, and when and how it was written."""
        found = ((path, path.lstat()) for path in self.app.rglob("*"))
        return {str(path): (status.st_mtime_ns, status.st_size) for path, status in found}

    def make_read_only(self) -> None:
        for path in [self.app, *self.app.rglob("*")]:
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))

    def make_removable(self) -> None:
        for path in [self.app, *self.app.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)


def _without_venv() -> dict[str, str]:
    ours = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if name not in ours}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    image = Image(tmp_path_factory.mktemp("image"))
    image.build()
    image.make_read_only()
    yield image
    image.make_removable()


async def test_bot_runs_in_image_writing_only_database(image: Image) -> None:
    before = image.files()
    async with SimulatedSlack() as slack, SimulatedOmni() as omni:
        settings = {
            "SLACK_BOT_TOKEN": slack.bot_token,
            "SLACK_APP_TOKEN": slack.app_token,
            "SLACK_API_URL": slack.api_url,
            "OMNI_BASE_URL": omni.base_url,
            "OMNI_API_TOKEN": omni.api_key,
            "PORT": str(_free_port()),
        }
        assert await _run(HEALTHCHECK, image, settings) == 1
        bot = await _start(ENTRYPOINT, image, settings)
        try:
            await slack.connected(timeout=30)
            assert await _run(HEALTHCHECK, image, settings) == 0
            bot.send_signal(signal.Signals[LAST.one("STOPSIGNAL")])
            async with asyncio.timeout(15):
                assert await bot.wait() == 0
        finally:
            if bot.returncode is None:
                bot.kill()
                await bot.wait()

    assert image.files() == before
    assert (image.data / "omni-job-bot.sqlite3").exists()


def test_image_contains_only_bot_and_dependencies(image: Image) -> None:
    packages = {path.name for path in image.app.glob(".venv/lib/python*/site-packages/*")}

    assert {path.name for path in image.app.iterdir()} == {".venv", "bot", "pyproject.toml", "uv.lock"}
    assert "slack_bolt" in packages
    assert packages.isdisjoint({"pytest", "mypy", "hypothesis", "pip", "setuptools", "uv"})


@pytest.mark.parametrize(
    "path", [".env", "bot/.env", "omni-job-bot.sqlite3", ".git/config", "bot/__pycache__/app.pyc"]
)
def test_build_excludes_settings_database_and_history(path: str) -> None:
    assert not is_in_context(path)


def test_copied_files_exist_in_build_context() -> None:
    copied = [source for stage in (BUILD, LAST) for sources, _ in stage.copied for source in sources]

    assert copied
    assert all((ROOT / source).exists() and is_in_context(source) for source in copied)


def test_both_stages_use_tested_python() -> None:
    version = (ROOT / ".python-version").read_text("utf-8").strip()

    assert BUILD.image == LAST.image == f"python:{version}-slim-bookworm"


def test_images_have_fixed_tags() -> None:
    assert all(re.fullmatch(r"[a-z./-]+:\d+\.\d+[a-z0-9.-]*", stage.image) for stage in stages())


def test_container_runs_without_root() -> None:
    user = LAST.one("USER")

    assert user.isdecimal() and int(user) > 0
    assert f"--uid {user} " in LAST.one("RUN")


def test_container_port_is_reachable() -> None:
    assert LAST.environment["HOST"] == "0.0.0.0"
    assert LAST.environment["PORT"] == LAST.one("EXPOSE")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def _start(command: list[str], image: Image, settings: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(str(image.app / ".venv/bin" / command[0]), *command[1:]),
        cwd=image.app,
        env=image.environment | settings,
    )


async def _run(command: list[str], image: Image, settings: dict[str, str]) -> int:
    return await (await _start(command, image, settings)).wait()
