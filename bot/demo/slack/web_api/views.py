"""The views.* methods of the Web API. No I/O.

Source of their errors: docs.slack.dev/reference/methods/<method>, unless noted.
"""

from typing import Any

from bot.demo.slack.block_kit import messages, views
from bot.demo.slack.limits import TIER_4
from bot.demo.slack.surfaces import OpenView, TriggerRefused
from bot.demo.slack.view_interactions import view_json
from bot.demo.slack.web_api.call import Answer, Call, Method, Refused, need_content

_VIEW_ARGUMENTS = frozenset({"view", "trigger_id", "interactivity_pointer"})


def _open(call: Call) -> Answer:
    """That a refused view uses up its trigger all the same is an assumption: the stricter way."""
    surfaces = call.workspace.surfaces
    try:
        user, team = surfaces.exchange(call.text("trigger_id"), call.now)
    except TriggerRefused as refused:
        raise Refused(str(refused)) from None
    view = _view(call, "modal")
    _need_own_external_id(call, view, None)
    return _answer(call, surfaces.open(user, view, team))


def _update(call: Call) -> Answer:
    surfaces = call.workspace.surfaces
    if "view_id" not in call.args and "external_id" not in call.args:
        raise Refused("invalid_arguments", ("missing required field: view_id",))
    open_view = surfaces.found(call.args.get("view_id"), call.args.get("external_id"))
    if open_view is None:
        raise Refused("not_found")
    _need_hash(call, open_view)
    view = _view(call, open_view.content["type"])
    _need_own_external_id(call, view, open_view)
    surfaces.replace(open_view, view)
    call.workspace.tell_view("view", open_view)
    return _answer(call, open_view)


def _publish(call: Call) -> Answer:
    surfaces = call.workspace.surfaces
    user = call.workspace.users.get(call.text("user_id"))
    if not surfaces.home_enabled:
        raise Refused("not_enabled")
    # Slack's page names no code for a person whom it does not know, or of another workspace.
    if user is None or user.is_bot or not call.workspace.is_member(user):
        raise Refused("user_not_found")
    before = surfaces.homes.get(user.id)
    if before is not None:
        _need_hash(call, before)
    view = _view(call, "home")
    _need_own_external_id(call, view, before)
    published = surfaces.publish(user.id, view)
    call.workspace.tell_view("home", published)
    return _answer(call, published)


def _view(call: Call, kind: str) -> dict[str, Any]:
    if call.args.get("view") is None:
        raise Refused("invalid_arguments", ("missing required field: view",))
    need_content(views.judge(call.args["view"], kind=kind))
    decoded = messages.decode(call.args["view"])
    assert isinstance(decoded, dict)
    return decoded


def _need_hash(call: Call, view: OpenView) -> None:
    """Refuse a change that was made from an older state than the view's."""
    if call.args.get("hash") not in (None, view.hash):
        raise Refused("hash_conflict")


def _need_own_external_id(call: Call, view: dict[str, Any], own: OpenView | None) -> None:
    external_id = view.get("external_id")
    if external_id and call.workspace.surfaces.found(None, external_id) not in (None, own):
        raise Refused("duplicate_external_id")


def _answer(call: Call, view: OpenView) -> Answer:
    if view.content["type"] == "modal":
        call.workspace.tell_view("view", view)
    return {"ok": True, "view": view_json(call.workspace, view)}


VIEW_METHODS = {
    "views.open": Method(_open, TIER_4, _VIEW_ARGUMENTS),
    "views.update": Method(_update, TIER_4, frozenset({"view", "view_id", "external_id", "hash"})),
    "views.publish": Method(_publish, TIER_4, frozenset({"view", "user_id", "hash"})),
}
