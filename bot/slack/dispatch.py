"""Dispatches Slack's requests, from Socket Mode or HTTP, to the app of their workspace."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bot.domain import StoreUnavailable, TeamId

log = structlog.get_logger()


class EventSource(Protocol):
    """Receives Slack's requests and passes them to a `Dispatcher`."""

    async def run(self) -> None:
        """Receive requests until cancelled."""
        ...

    def problem(self) -> str | None:
        """Return why Slack can't reach the bot now, in a few words, or None if it can, as far as known."""
        ...


NOT_CONNECTED = "not connected to Slack"


Apps = Callable[[TeamId], Awaitable[AsyncApp | None]]
"""The Bolt app of a workspace, or None where the bot does not serve it. Empty: the payload names no workspace. Raises
StoreUnavailable."""


NOT_WORKING = "I can't work in this workspace right now. Ask the operator of this bot to check its log."


class Dispatcher:
    """Passes each payload to the app of its workspace. Slack may send an event twice; the listeners mind that."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps

    async def async_dispatch(self, request: AsyncBoltRequest) -> BoltResponse:
        """Return the response to Slack.

        It is an empty 200 for an unknown workspace (with a line for commands), a malformed payload and an event without
        a listener, since Slack would send a refused event again; 503 if the database does not answer.
        """
        if _is_malformed(request.body):
            log.warning("malformed payload dropped")
            return BoltResponse(status=200)
        team = team_of(request.body, str(request.context.team_id or ""))
        try:
            app = await self._apps(team)
        except StoreUnavailable as error:
            log.warning("payload refused", reason=str(error))
            return BoltResponse(status=503)
        if app is None:
            log.warning("payload of an unknown workspace dropped", team=team)
            return BoltResponse(status=200, body=NOT_WORKING if "command" in request.body else "")
        response = await app.async_dispatch(request)
        if response.status == 404 and request.body.get("event_id"):
            log.info("event without a listener")
            return BoltResponse(status=200)
        return response


def team_of(body: Mapping[str, Any], named: str) -> TeamId:
    """Return the workspace that a payload is about.

    In payloads to an app that is installed for a whole organization `team` may be null, or name the organization.

    `named`: the team that Bolt finds.
    """
    event, view, user = (_part(body, name) for name in ("event", "view", "user"))
    candidates = (
        named,
        body.get("context_team_id"),
        body.get("team_id"),
        view.get("team_id"),
        user.get("team_id"),
        event.get("team"),
    )
    workspaces = (str(team) for team in candidates if str(team or "").startswith("T"))
    return TeamId(next(workspaces, named))


def _part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = body.get(name)
    return part if isinstance(part, Mapping) else {}


def _is_malformed(body: Mapping[str, Any]) -> bool:
    """Return whether a part is missing that Bolt reads unchecked and would answer with 500."""
    match body.get("type"):
        case "event_callback":
            return not isinstance(body.get("event"), dict)
        case "block_actions":
            actions = body.get("actions")
            return not (isinstance(actions, list) and actions and _has(actions[0], "action_id"))
        case "view_submission" | "view_closed":
            return not _has(body.get("view"), "type")
    return False


def _has(part: object, name: str) -> bool:
    return isinstance(part, dict) and name in part


QUIET = logging.getLogger("bot.bolt")
"""Logger for the libraries of Slack: errors only."""

QUIET.setLevel(logging.ERROR)
