"""Slack's payloads for commands, buttons and shortcuts. No I/O.

Source: docs.slack.dev/interactivity/implementing-slash-commands and
docs.slack.dev/reference/interaction-payloads (block_actions, shortcuts).
"""

from typing import Any

from bot.demo.slack.web_api.call import message_json
from bot.demo.slack.workspace import Channel, StoredMessage, User, Workspace

Payload = dict[str, Any]

_TOKEN = "deprecated-verification-token"


def command_payload(
    workspace: Workspace, *, command: str, text: str, user: User, channel: Channel, response_url: str
) -> Payload:
    """The payload of a slash command. There is no ts and no event id in it."""
    return {
        "token": _TOKEN,
        "team_id": workspace.team_of(channel),
        "team_domain": workspace.domain,
        "channel_id": channel.id,
        "channel_name": _channel_name(channel),
        "user_id": user.id,
        "user_name": user.name,
        "command": command,
        "text": text,
        "api_app_id": workspace.app,
        "is_enterprise_install": "true" if workspace.organization else "false",
        **({"enterprise_id": workspace.organization} if workspace.organization else {}),
        "response_url": response_url,
        "trigger_id": workspace.trigger(user.id, channel),
    }


def click_payload(
    workspace: Workspace,
    *,
    user: User,
    channel: Channel,
    message: StoredMessage,
    action: Payload,
    response_url: str,
) -> Payload:
    """The payload of a click on a button. For an ephemeral message it has only the container."""
    ephemeral = message.only_for is not None
    container: Payload = {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": channel.id,
        "is_ephemeral": ephemeral,
    }
    if message.thread_ts is not None:
        container["thread_ts"] = message.thread_ts
    payload: Payload = {
        **sent_by(workspace, "block_actions"),
        "user": person_json(workspace, user, channel),
        "container": container,
        "trigger_id": workspace.trigger(user.id, channel),
        "channel": {"id": channel.id, "name": _channel_name(channel)},
        "state": {"values": {}},
        "response_url": response_url,
        "actions": [{**action, "action_ts": workspace.next_ts()}],
    }
    if not ephemeral:
        payload["message"] = message_json(workspace, message, all_metadata=True)
    return payload


def shortcut_payload(workspace: Workspace, *, callback_id: str, user: User) -> Payload:
    """The payload of a global shortcut: no channel, no message, no response_url."""
    return {
        **sent_by(workspace, "shortcut"),
        "user": person_json(workspace, user),
        "callback_id": callback_id,
        "trigger_id": workspace.trigger(user.id),
        "action_ts": workspace.next_ts(),
    }


def message_shortcut_payload(
    workspace: Workspace,
    *,
    callback_id: str,
    user: User,
    channel: Channel,
    message: StoredMessage,
    response_url: str,
) -> Payload:
    """The payload of a shortcut on a message, which may be in a thread."""
    return shortcut_payload(workspace, callback_id=callback_id, user=user) | {
        "type": "message_action",
        "user": person_json(workspace, user, channel),
        "trigger_id": workspace.trigger(user.id, channel),
        "channel": {"id": channel.id, "name": _channel_name(channel)},
        "message_ts": message.ts,
        "message": message_json(workspace, message, all_metadata=True),
        "response_url": response_url,
    }


def sent_by(workspace: Workspace, kind: str) -> Payload:
    """Common fields of all payloads. `team` is the workspace of the app, even if the user belongs to another one. It is
    null where the app is installed for a whole organization.
    Source: docs.slack.dev/enterprise/developing-for-enterprise-orgs."""
    organization = workspace.organization
    return {
        "type": kind,
        "token": _TOKEN,
        "api_app_id": workspace.app,
        "team": None if organization else {"id": workspace.team, "domain": workspace.domain},
        "enterprise": {"id": organization, "name": "Omni Grid"} if organization else None,
        "is_enterprise_install": bool(organization),
    }


def person_json(
    workspace: Workspace, user: User, channel: Channel | None = None, *, team_of_view: str = ""
) -> Payload:
    """A person as interactions name them: in an organization with the workspace in which they act."""
    team = user.team
    if workspace.organization:
        here = workspace.team if channel is None else workspace.team_of(channel)
        team = team_of_view or here
    return {"id": user.id, "username": user.name, "name": user.name, "team_id": team}


def find_control(message: StoredMessage, name: str) -> Payload | None:
    """The action that a click on a message's button sends, or a choice in its overflow menu; None without such.

    `name`: the button's action_id, or the first word of the value of an option or of a feedback button.
    """
    for index, block in enumerate(message.blocks):
        block_id = block.get("block_id", f"{message.ts[-4:]}{index}")
        for element in [*block.get("elements", ()), block.get("accessory")]:
            if not isinstance(element, dict):
                continue
            action = {key: element[key] for key in _ACTION_KEYS if key in element}
            if element.get("action_id") == name and element["type"] == "button":
                return {**action, "block_id": block_id}
            if element.get("type") == "feedback_buttons":
                for part in ("positive_button", "negative_button"):
                    pressed = element.get(part) or {}
                    if str(pressed.get("value", "")).split(" ")[0] == name:
                        return {**action, **pressed, "block_id": block_id}
            for option in element.get("options", ()) if element.get("type") == "overflow" else ():
                if str(option.get("value", "")).split(" ")[0] == name:
                    return {**action, "block_id": block_id, "selected_option": option}
    return None


_ACTION_KEYS = ("type", "action_id", "text", "value", "style", "url")


def _channel_name(channel: Channel) -> str:
    """Slack does not send the names of private channels."""
    return {"public": channel.name, "private": "privategroup", "direct": "directmessage"}[channel.kind]
