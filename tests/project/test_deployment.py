"""Compose, systemd and Heroku start the bot with minimal permissions."""

import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import yaml

from bot import __main__ as command_line
from bot.settings import HINTS, Settings
from tests.support.dockerfile import stages
from tests.support.paths import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
BOT: dict[str, Any] = COMPOSE["services"]["bot"]
DATABASE: dict[str, Any] = COMPOSE["services"]["database"]
UNIT = re.findall(r"^([A-Z]\w+)=(.*)$", (ROOT / "docs/omni-job-bot.service").read_text("utf-8"), re.MULTILINE)
ENDS_WITHIN_SECONDS = 10


def unit(name: str) -> list[str]:
    """All values of a directive."""
    return [value for said, value in UNIT if said == name]


def filled_in(text: str) -> str:
    """A value of compose's, with the password in it."""
    return re.sub(r"\$\{POSTGRES_PASSWORD:\?[^}]+\}", "hunter2", text)


# compose


def test_compose_sets_existing_settings() -> None:
    given = {name.lower(): filled_in(value) for name, value in BOT["environment"].items()}
    values = {
        "slack_bot_token": "xoxb-1",
        "slack_app_token": "xapp-1",
        "omni_base_url": "https://acme.omniapp.co",
    }
    settings = Settings.model_validate({**values, "omni_api_token": "key", **given})

    assert set(BOT["environment"]) <= set(HINTS)
    assert (
        settings.database_url.get_secret_value()
        == "postgresql+psycopg://omni_job_bot:hunter2@database/omni_job_bot"
    )
    assert str(settings.port) == stages()[-1].one("EXPOSE")


def test_compose_bot_uses_its_database() -> None:
    made = {name: filled_in(value) for name, value in DATABASE["environment"].items()}
    address = "postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@database/{POSTGRES_DB}".format_map(made)

    assert filled_in(BOT["environment"]["DATABASE_URL"]) == address
    assert f"--username={made['POSTGRES_USER']}" in DATABASE["healthcheck"]["test"]
    assert f"--dbname={made['POSTGRES_DB']}" in DATABASE["healthcheck"]["test"]


def test_compose_waits_for_persistent_database() -> None:
    assert BOT["depends_on"] == {"database": {"condition": "service_healthy"}}
    (volume,) = DATABASE["volumes"]
    assert volume.split(":")[0] in COMPOSE["volumes"]


def test_compose_contains_no_secret() -> None:
    text = (ROOT / "compose.yaml").read_text("utf-8")

    assert re.findall(r"\$\{(\w+)(:\?)?", text) == [("POSTGRES_PASSWORD", ":?")] * 2
    assert BOT["env_file"] == ".env"


def test_compose_bot_is_read_only_and_unprivileged() -> None:
    assert BOT["read_only"] is True
    assert BOT["cap_drop"] == ["ALL"]
    assert BOT["security_opt"] == DATABASE["security_opt"] == ["no-new-privileges:true"]


def test_compose_publishes_only_to_localhost() -> None:
    assert "ports" not in DATABASE
    assert all(port.startswith("127.0.0.1:") for port in BOT["ports"])


def test_compose_restarts_and_stops_gracefully() -> None:
    assert BOT["restart"] == DATABASE["restart"] == "unless-stopped"
    assert int(BOT["stop_grace_period"].removesuffix("s")) > ENDS_WITHIN_SECONDS


# systemd


def test_unit_starts_installed_bot() -> None:
    (folder,) = unit("WorkingDirectory")

    assert unit("ExecStart") == [f"{folder}/.venv/bin/python -m bot"]


def test_unit_restarts_except_on_bad_configuration() -> None:
    never = {command_line.BAD_SETTINGS, command_line.TOKEN_REFUSED}

    assert unit("Restart") == ["on-failure"]
    assert unit("StartLimitIntervalSec") == ["0"], "a database that is away for an hour must not end the bot"
    assert {int(code) for code in unit("RestartPreventExitStatus")[0].split()} == never
    assert int(unit("TimeoutStopSec")[0]) > ENDS_WITHIN_SECONDS


def test_unit_database_is_in_writable_folder() -> None:
    variables = dict(word.split("=", 1) for word in unit("Environment")[0].split())

    assert variables["DATABASE_URL"].startswith(f"sqlite:////var/lib/{unit('StateDirectory')[0]}/")
    assert unit("ProtectSystem") == ["strict"] and not unit("ReadWritePaths")


@pytest.mark.parametrize(
    "name, value",
    [
        ("DynamicUser", "yes"),
        ("CapabilityBoundingSet", ""),
        ("NoNewPrivileges", "yes"),
        ("PrivateDevices", "yes"),
        ("PrivateTmp", "yes"),
        ("ProtectHome", "yes"),
        ("ProtectProc", "invisible"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("RestrictNamespaces", "yes"),
        ("SystemCallArchitectures", "native"),
        ("UMask", "0077"),
    ],
)
def test_unit_has_no_unneeded_permissions(name: str, value: str) -> None:
    assert unit(name) == [value]


# Heroku


@pytest.mark.parametrize("number, kind", [(0, "web"), (1, "worker")])
def test_procfile_commands_run(number: int, kind: str) -> None:
    lines = (ROOT / "Procfile").read_text("utf-8").splitlines()
    name, command = lines[number].split(": ", 1)
    variables, words = _parted(shlex.split(command))
    program, *arguments = words
    run = subprocess.run([sys.executable, *arguments, "--help"], cwd=ROOT, capture_output=True, check=False)

    assert (len(lines), name, program) == (2, kind, "python")
    assert set(variables) <= set(HINTS)
    assert (run.returncode, run.stderr) == (0, b"")


def test_heroku_router_reaches_web_process() -> None:
    (web, _worker) = (ROOT / "Procfile").read_text("utf-8").splitlines()

    assert web.startswith("web: HOST=0.0.0.0 ")


def _parted(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """A command's own variables, and the command."""
    variables = [word for word in words if "=" in word]
    return dict(word.split("=", 1) for word in variables), words[len(variables) :]


# The updates


def test_all_dependencies_are_kept_up_to_date() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text("utf-8"))["updates"]

    assert {update["package-ecosystem"] for update in updates} == {
        "uv",
        "github-actions",
        "docker",
        "docker-compose",
    }
