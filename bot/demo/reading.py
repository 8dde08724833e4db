"""How a request to the Web API carries its token and arguments."""

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

_JSON_ARGUMENTS = ("blocks", "metadata", "attachments", "files", "view")


@dataclass(frozen=True, slots=True)
class Read:
    """A request as read. `error` is Slack's code where the body can't be read."""

    token: str | None
    args: dict[str, Any]
    error: str | None = None
    client: tuple[str, str] | None = None
    """The app's client id and secret, where they came in place of a token (HTTP Basic)."""


async def read(request: web.Request) -> Read:
    """Take a request apart: GET query, form or JSON body; the token from the header, else from the form.

    A token inside a JSON body does not count. Source: docs.slack.dev/apis/web-api (evaluating responses,
    post bodies).
    """
    authorization = request.headers.get("Authorization", "")
    client = _client(authorization)
    token = None if client else authorization.removeprefix("Bearer").strip() or None
    args: dict[str, Any] = dict(request.query)
    error = None
    if request.can_read_body:
        kind = request.content_type
        if kind == "application/json":
            body, error = _json(await request.text())
            args |= {name: value for name, value in body.items() if name != "token"}
        elif kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
            args |= {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        else:
            error = "invalid_post_type"
    token = token or args.get("token")
    args.pop("token", None)
    return Read(token, _unpacked(args), error, client)


def _client(authorization: str) -> tuple[str, str] | None:
    if not authorization.startswith("Basic "):
        return None
    try:
        login, _, password = (
            b64decode(authorization.removeprefix("Basic "), validate=True).decode().partition(":")
        )
    except ValueError:
        return None
    return login, password


async def read_upload(request: web.Request) -> bytes:
    """The bytes of a file, sent as they are or as the one file of a form.

    Source: docs.slack.dev/reference/methods/files.getUploadURLExternal, usage.
    """
    if request.content_type != "multipart/form-data":
        return await request.read()
    for value in (await request.post()).values():
        if isinstance(value, web.FileField):
            return value.file.read()
    return b""


def _json(text: str) -> tuple[dict[str, Any], str | None]:
    try:
        body = json.loads(text)
    except ValueError:
        return {}, "invalid_json"
    if not isinstance(body, dict):
        return {}, "json_not_object"
    return body, None


def _unpacked(args: Mapping[str, Any]) -> dict[str, Any]:
    """Blocks, views, metadata and the like may come as JSON in a string; what is no JSON is left for the judge."""
    unpacked = dict(args)
    for name in _JSON_ARGUMENTS:
        if isinstance(unpacked.get(name), str):
            body, error = _any_json(unpacked[name])
            if error is None:
                unpacked[name] = body
    return unpacked


def _any_json(text: str) -> tuple[Any, str | None]:
    try:
        return json.loads(text), None
    except ValueError:
        return None, "invalid_json"
