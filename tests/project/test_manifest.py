"""`manifest.yml` requests exactly what the code registers and calls.

Slack's own schema of manifests (github.com/slackapi/manifest-schema) judges it too where the file lies beside
the checkout, in `../shared/facts`.
"""

import ast
import copy
import inspect
import json
import re
from collections.abc import Callable
from difflib import unified_diff
from itertools import pairwise
from pathlib import Path
from time import time
from typing import Any, cast

import pytest
import yaml
from jsonschema import Draft7Validator
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.demo.slack.workspace import Workspace
from bot.handlers.commands import CommandHandlers
from bot.handlers.home_tab import HomeTabs
from bot.handlers.messages import MessageHandlers
from bot.handlers.modals import ModalHandlers
from bot.rendering import blocks, home_tab, modals
from bot.server.slack_events import PATH
from bot.slack.scopes import EVENT_SCOPES, METHOD_SCOPES, OPTIONAL_SCOPES, REQUIRED_SCOPES
from bot.workspaces.uninstall import Uninstaller
from tests.support.paths import ROOT

SOURCE = (ROOT / "manifest.yml").read_text("utf-8")
MANIFEST: dict[str, Any] = yaml.safe_load(SOURCE)
OVER_HTTP = (ROOT / "manifest-http.yml").read_text("utf-8")
"""The same for HTTP mode."""
REQUEST_URL = f"https://omni-jobs.example.com{PATH}"
SLACKS_SCHEMA = ROOT.parent / "shared" / "facts" / "slack-manifest.schema.2.0.0.json"


def text(shortest: int, longest: int) -> dict[str, Any]:
    return {"type": "string", "minLength": shortest, "maxLength": longest}


OUR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["display_information", "features", "oauth_config", "settings"],
    "properties": {
        "display_information": {
            "properties": {
                "name": text(1, 35),
                "description": text(1, 140),
                "long_description": text(175, 4_000),
            },
        },
        "features": {
            "properties": {
                "bot_user": {"required": ["display_name"], "properties": {"display_name": text(1, 80)}},
                "slash_commands": {
                    "items": {
                        "required": ["command", "description"],
                        "properties": {
                            "command": {**text(2, 32), "pattern": "^/"},
                            "description": text(1, 2_000),
                            "usage_hint": text(1, 1_000),
                            "should_escape": {"type": "boolean"},
                            "url": {"type": "string", "pattern": "^https://"},
                        },
                        "additionalProperties": False,
                    }
                },
            },
        },
        "settings": {"properties": {"socket_mode_enabled": {"type": "boolean"}}},
    },
}
"""The limits that matter here, for checkouts without Slack's schema."""

SCHEMAS = [OUR_SCHEMA, *([json.loads(SLACKS_SCHEMA.read_text("utf-8"))] if SLACKS_SCHEMA.exists() else [])]


class RememberingApp:
    """Stands in for Bolt's app and records the kind and id of each route."""

    def __init__(self) -> None:
        self.routes: set[tuple[str, str]] = set()

    def __getattr__(self, kind: str) -> Callable[[Any], Any]:
        def route(what: Any, **_options: Any) -> Any:
            self.routes.add((kind, what if isinstance(what, str) else ""))
            return lambda listener: listener

        return route


class AnyListener:
    """Has every listener."""

    def __getattr__(self, _name: str) -> None:
        return None


def routes() -> set[tuple[str, str]]:
    app = RememberingApp()
    for kind in (CommandHandlers, ModalHandlers, MessageHandlers, HomeTabs, Uninstaller):
        kind.register(cast(Any, AnyListener()), cast(AsyncApp, app))
    return app.routes


def web_api_methods() -> set[str]:
    """Every Web API method as the SDK spells it, such as `chat_postMessage`."""
    return {
        name for name, _ in inspect.getmembers(AsyncWebClient, inspect.iscoroutinefunction) if name[0] != "_"
    }


def web_api_calls(module: Path) -> set[str]:
    """The Web API methods that a module names as an attribute of anything."""
    tree = ast.parse(module.read_text("utf-8"))
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return named & web_api_methods()


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("source", [SOURCE, OVER_HTTP], ids=["Socket Mode", "HTTP mode"])
def test_manifest_is_valid(schema: dict[str, Any], source: str) -> None:
    problems = [error.message for error in Draft7Validator(schema).iter_errors(yaml.safe_load(source))]

    assert problems == []


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("display_information name", "x" * 36),
        ("display_information long_description", "Too short."),
        ("features slash_commands 0 command", "omni-job"),
        ("features slash_commands 0 usage", "<job id>"),
        ("settings socket_mode_enabled", "yes"),
    ],
)
def test_invalid_manifest_is_detected(schema: dict[str, Any], path: str, wrong: object) -> None:
    broken = copy.deepcopy(MANIFEST)
    *way, last = path.split()
    place: Any = broken
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = wrong

    assert not Draft7Validator(schema).is_valid(broken)


def test_manifest_commands_match_code() -> None:
    offered = {command["command"] for command in MANIFEST["features"]["slash_commands"]}

    assert offered == {what for kind, what in routes() if kind == "command"}


def test_manifest_shortcuts_match_code() -> None:
    offered = [shortcut["callback_id"] for shortcut in MANIFEST["features"]["shortcuts"]]

    assert set(offered) == {what for kind, what in routes() if kind == "shortcut"}
    assert len(offered) == len(set(offered))


def test_every_button_and_menu_has_a_listener() -> None:
    shown = {
        blocks.OPEN_CHAT,
        blocks.FOLLOW,
        blocks.STOP_FOLLOWING,
        blocks.CARD_MENU,
        blocks.RESUME,
        blocks.SHOW_DATA,
        blocks.SHOW_STEPS,
        blocks.CANCEL_JOB,
        blocks.RETRY_JOB,
        blocks.ASK_FOLLOW_UP,
        blocks.RATE,
        blocks.RATE_HELPFUL,
        blocks.RATE_UNHELPFUL,
        blocks.TRY_AGAIN,
        blocks.TRY_AGAIN_PRIVATELY,
        modals.CHOOSE_MODEL,
        home_tab.CHOOSE_NOTIFY,
    }

    assert shown == {what for kind, what in routes() if kind == "action"}
    assert MANIFEST["settings"]["interactivity"]["is_enabled"] is True


def test_every_modal_has_a_listener() -> None:
    assert {modals.ASK, modals.FOLLOW_UP, modals.FOLLOW_JOB, modals.EXPLAIN_RATING} == {
        what for kind, what in routes() if kind == "view"
    }


def test_manifest_events_match_code() -> None:
    # Slack names message events by the kind of channel; Bolt routes them all as `message`.
    subscribed = {event.split(".")[0] for event in MANIFEST["settings"]["event_subscriptions"]["bot_events"]}

    assert subscribed == {what for kind, what in routes() if kind == "event"}
    assert {kind for kind, _ in routes()} == {"command", "action", "shortcut", "view", "event", "error"}


def test_product_has_one_name() -> None:
    title = (ROOT / "README.md").read_text("utf-8").partition("\n")[0].removeprefix("# ")
    for manifest in (MANIFEST, yaml.safe_load((ROOT / "manifest-http.yml").read_text("utf-8"))):
        assert manifest["display_information"]["name"] == title
        assert manifest["features"]["bot_user"]["display_name"] == title
    assert Workspace(time).bot.real_name == title


def test_manifest_scopes_match_code() -> None:
    scopes = MANIFEST["oauth_config"]["scopes"]

    assert set(scopes["bot"]) == REQUIRED_SCOPES | OPTIONAL_SCOPES
    assert set(scopes["bot_optional"]) == OPTIONAL_SCOPES
    assert len(scopes["bot"]) == len(set(scopes["bot"]))
    assert set(scopes) == {"bot", "bot_optional"}


def test_manifest_gives_reason_for_every_scope() -> None:
    lines = SOURCE.splitlines()
    asked = lines[lines.index("    bot:") + 1 : lines.index("    bot_optional:")]
    bare = [line for before, line in pairwise(asked) if "- " in line and "#" not in before]

    assert asked[0].strip().startswith("#")
    assert bare == []


WEB_API_MODULES = ("slack/messages.py", "slack/directory.py", "slack/views.py")


def test_called_methods_have_scopes() -> None:
    called = set().union(*(web_api_calls(ROOT / "bot" / name) for name in WEB_API_MODULES))

    assert called == {method.replace(".", "_") for method in METHOD_SCOPES}


def test_subscribed_events_have_scopes() -> None:
    assert set(MANIFEST["settings"]["event_subscriptions"]["bot_events"]) == set(EVENT_SCOPES)


def test_only_three_modules_call_the_web_api() -> None:
    counts_calls = "slackclient.py"
    others = [
        path
        for path in (ROOT / "bot").glob("*.py")
        if path.name not in WEB_API_MODULES and path.name != counts_calls
    ]

    assert {path.name: calls for path in others if (calls := web_api_calls(path))} == {}
    assert [path.name for path in others if re.search(r"\bapi_call\b", path.read_text("utf-8"))] == []


def test_manifest_enables_socket_mode_and_direct_messages() -> None:
    settings = MANIFEST["settings"]

    assert settings["socket_mode_enabled"] is True
    assert settings["org_deploy_enabled"] is True and settings["token_rotation_enabled"] is False
    assert MANIFEST["features"]["app_home"] == {
        "home_tab_enabled": True,
        "messages_tab_enabled": True,
        "messages_tab_read_only_enabled": False,
    }


def test_manifests_differ_only_in_transport() -> None:
    expected = copy.deepcopy(MANIFEST)
    for command in expected["features"]["slash_commands"]:
        command["url"] = REQUEST_URL
    settings = expected["settings"]
    settings["socket_mode_enabled"] = False
    settings["interactivity"]["request_url"] = settings["event_subscriptions"]["request_url"] = REQUEST_URL

    assert yaml.safe_load(OVER_HTTP) == expected


def test_manifests_have_the_same_comments() -> None:
    def body(source: str) -> list[str]:
        return source[source.index("display_information") :].splitlines()

    changed = [line for line in unified_diff(body(SOURCE), body(OVER_HTTP), n=0) if line[0] in "+-"]
    ours = ("---", "+++", "-  # The app connects to Slack", "+  # Slack calls the app.")

    assert [
        line
        for line in changed
        if not line.startswith(ours) and REQUEST_URL not in line and "socket_mode_enabled" not in line
    ] == []
