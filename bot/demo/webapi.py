"""The Web API as a whole: which methods there are, and what is checked before any of them. No I/O."""

from bot.demo.call import Answer, Call, Method, Refused, need_scope
from bot.demo.chat_methods import CHAT_METHODS
from bot.demo.conversation_methods import OTHER_METHODS
from bot.demo.file_methods import FILE_METHODS
from bot.demo.people_methods import PEOPLE_METHODS
from bot.demo.view_methods import VIEW_METHODS

METHODS: dict[str, Method] = {
    **CHAT_METHODS,
    **FILE_METHODS,
    **OTHER_METHODS,
    **PEOPLE_METHODS,
    **VIEW_METHODS,
}
"""Every method by its name."""


def answer(name: str, token: str | None, tokens: dict[str, str], call: Call) -> Answer:
    """What Slack answers to a request.

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
