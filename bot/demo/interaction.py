"""What Slack sends to an app when a person types a command or clicks a button. No I/O.

Source: docs.slack.dev/interactivity/implementing-slash-commands and
docs.slack.dev/reference/interaction-payloads/block_actions-payload.
"""

import secrets
from typing import Any

from bot.demo.call import message_json
from bot.demo.workspace import Channel, StoredMessage, User, Workspace

Payload = dict[str, Any]

_TOKEN = "deprecated-verification-token"


def command_payload(
    workspace: Workspace, *, command: str, text: str, user: User, channel: Channel, response_url: str
) -> Payload:
    """The payload of a slash command. There is no ts and no event id in it."""
    return {
        "token": _TOKEN,
        "team_id": workspace.team,
        "team_domain": workspace.domain,
        "channel_id": channel.id,
        "channel_name": _channel_name(channel),
        "user_id": user.id,
        "user_name": user.name,
        "command": command,
        "text": text,
        "api_app_id": workspace.app,
        "is_enterprise_install": "false",
        "response_url": response_url,
        "trigger_id": _trigger_id(workspace),
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
    """The payload of a click on a button. Of an ephemeral message only the container is told."""
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
        "type": "block_actions",
        "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": workspace.team},
        "api_app_id": workspace.app,
        "token": _TOKEN,
        "container": container,
        "trigger_id": _trigger_id(workspace),
        "team": {"id": workspace.team, "domain": workspace.domain},
        "enterprise": None,
        "is_enterprise_install": False,
        "channel": {"id": channel.id, "name": _channel_name(channel)},
        "state": {"values": {}},
        "response_url": response_url,
        "actions": [{**action, "action_ts": workspace.next_ts()}],
    }
    if not ephemeral:
        payload["message"] = message_json(workspace, message, all_metadata=True)
    return payload


def find_button(message: StoredMessage, action_id: str) -> Payload | None:
    """The action that a click on a message's button sends, or None where there is no such button."""
    for index, block in enumerate(message.blocks):
        for element in [*block.get("elements", ()), block.get("accessory")]:
            if isinstance(element, dict) and element.get("action_id") == action_id:
                action = {name: element[name] for name in _ACTION_KEYS if name in element}
                return {**action, "block_id": block.get("block_id", f"{message.ts[-4:]}{index}")}
    return None


_ACTION_KEYS = ("type", "action_id", "text", "value", "style", "url")


def _channel_name(channel: Channel) -> str:
    """Slack does not tell an app what private places are called."""
    return {"public": channel.name, "private": "privategroup", "direct": "directmessage"}[channel.kind]


def _trigger_id(workspace: Workspace) -> str:
    return f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
