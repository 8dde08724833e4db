"""The Web API as a whole: which methods there are, and what is checked before any of them. No I/O."""

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bot.demo.slack.web_api.call import Answer, Call, Method, Refused, need_scope
from bot.demo.slack.web_api.chat import CHAT_METHODS
from bot.demo.slack.web_api.conversations import OTHER_METHODS
from bot.demo.slack.web_api.files import FILE_METHODS
from bot.demo.slack.web_api.users import PEOPLE_METHODS
from bot.demo.slack.web_api.views import VIEW_METHODS

METHODS: dict[str, Method] = {
    **CHAT_METHODS,
    **FILE_METHODS,
    **OTHER_METHODS,
    **PEOPLE_METHODS,
    **VIEW_METHODS,
}
"""Every method by its name."""


def answer(name: str, token: str | None, tokens: dict[str, str], call: Call) -> Answer:
    """Slack's response to a request.

    `tokens` are the good ones: token to kind, which is "bot", "app" or "revoked".

    Raises:
        Refused: the request was not done.
    """
    method = METHODS.get(name)
    if method is None:
        raise Refused("unknown_method", req_method=name)
    _check_token(token, tokens, method)
    if call.limits is not None and (seconds := call.limits.admit(name, method.per_minute, call.now)):
        # chat.postMessage documents this second spelling beside the usual one.
        raise Refused("rate_limited" if name == "chat.postMessage" else "ratelimited", retry_after=seconds)
    if method.scope is not None:
        need_scope(call, method.scope)
    _check_arguments(method, call)
    return method.serve(call)


def _check_token(token: str | None, tokens: dict[str, str], method: Method) -> None:
    if not token:
        raise Refused("not_authed")
    kind = tokens.get(token)
    if kind is None:
        raise Refused("invalid_auth")
    if kind == "revoked":
        raise Refused("token_revoked")
    if kind != method.token:
        raise Refused("not_allowed_token_type")


def _check_arguments(method: Method, call: Call) -> None:
    """Slack passes over arguments that it does not know; refusing them catches misspelt ones.

    `team_id` goes with everything that Bolt's client for a request sends; it matters to tokens of a whole
    organisation only.
    """
    unknown = sorted(set(call.args) - method.arguments - {"team_id"})
    if unknown:
        raise Refused("invalid_arguments", tuple(f"invalid additional property: {name}" for name in unknown))


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
    return Read(token, unpacked(args), error, client)


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


def unpacked(args: Mapping[str, Any]) -> dict[str, Any]:
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
