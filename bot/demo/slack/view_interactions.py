"""Slack's payloads for interactions in modals and on the Home tab. No I/O.

Source: docs.slack.dev/reference/interaction-payloads (view-interactions, block_actions, block_suggestion).
"""

from typing import Any

from bot.demo.slack.interactions import Payload, person_json, sent_by
from bot.demo.slack.records import User
from bot.demo.slack.surfaces import OpenView
from bot.demo.slack.workspace import Workspace

_SETTINGS = {
    "private_metadata": "",
    "callback_id": "",
    "external_id": "",
    "title": None,
    "submit": None,
    "close": None,
    "clear_on_close": False,
    "notify_on_close": False,
}


def view_json(workspace: Workspace, view: OpenView, *, with_state: bool = True) -> Payload:
    """A view as answers and payloads show it, with the workspace in which it was opened and the one that has the app.
    Source: slackapi/bolt-js#1614."""
    return {
        "id": view.id,
        "team_id": view.team or workspace.team,
        "app_id": workspace.app,
        "app_installed_team_id": workspace.organization or workspace.team,
        "bot_id": workspace.bot_id,
        **_SETTINGS,
        **view.content,
        "state": {"values": view.values if with_state else {}},
        "hash": view.hash,
        "root_view_id": view.root,
        "previous_view_id": view.previous,
    }


def submission_payload(workspace: Workspace, user: User, view: OpenView) -> Payload:
    """The payload of a submitted modal."""
    return _from_view(workspace, user, view, "view_submission") | {"response_urls": []}


def closed_payload(workspace: Workspace, user: User, view: OpenView, *, is_cleared: bool) -> Payload:
    """The payload of a modal that was closed, for views that asked for it."""
    body = _from_view(workspace, user, view, "view_closed") | {"is_cleared": is_cleared}
    del body["trigger_id"]
    return body


def action_payload(workspace: Workspace, user: User, view: OpenView, action: Payload) -> Payload:
    """The payload of a click or a choice. There is no message, no channel and no response_url in it."""
    return _from_view(workspace, user, view, "block_actions") | {
        "container": {"type": "view", "view_id": view.id},
        "actions": [{**action, "action_ts": workspace.next_ts()}],
    }


def suggestion_payload(
    workspace: Workspace, user: User, view: OpenView, block_id: str, action_id: str, query: str
) -> Payload:
    """The payload that asks for the options of an external select. Values of other inputs are not sent
    (slackapi/bolt-js#660, slackapi/java-slack-sdk#1292)."""
    body = _from_view(workspace, user, view, "block_suggestion") | {
        "container": {"type": "view", "view_id": view.id},
        "block_id": block_id,
        "action_id": action_id,
        "value": query,
        "view": view_json(workspace, view, with_state=False),
    }
    del body["trigger_id"]
    return body


def _from_view(workspace: Workspace, user: User, view: OpenView, kind: str) -> dict[str, Any]:
    return {
        **sent_by(workspace, kind),
        "user": person_json(workspace, user, team_of_view=view.team),
        "trigger_id": workspace.trigger(user.id),
        "view": view_json(workspace, view),
    }
