"""The methods for views, users and conversations, over real sockets."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from bot.demo.slack.simulator import HISTORY_SCOPES, SimulatedSlack
from bot.demo.slack.surfaces import TRIGGER_SECONDS, TRIGGERS_REMEMBERED
from tests.support.clock import Clock
from tests.support.slack_http import Answer, Api, running
from tests.support.views import (
    conversations,
    external,
    home,
    modal,
    option,
    plain,
    section,
    select,
    text_input,
)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running(limits=False) as api:
        yield api


async def opened(api: Api, view: Any = None, user: str = "ada") -> Answer:
    trigger = api.slack.workspace.trigger(api.user(user))
    return await api("views.open", trigger_id=trigger, view=view or modal())


# Triggers


async def test_trigger_opens_modal_for_its_user(api: Api) -> None:
    answer = await opened(api)
    assert answer.ok, answer.body
    shown = answer.body["view"]
    assert (shown["type"], shown["callback_id"], shown["app_id"]) == ("modal", "ask", api.slack.app_id)
    assert shown["root_view_id"] == shown["id"] and shown["previous_view_id"] is None
    assert shown["state"] == {
        "values": {"question": {"question_text": {"type": "plain_text_input", "value": None}}}
    }
    view = api.slack.modal("ada")
    assert view is not None and (view.id, view.hash) == (shown["id"], shown["hash"])
    assert api.slack.modal("grace") is None


@pytest.mark.parametrize(
    "seconds, error", [(TRIGGER_SECONDS, None), (TRIGGER_SECONDS + 0.1, "expired_trigger_id")]
)
async def test_trigger_is_valid_for_three_seconds(seconds: float, error: str | None) -> None:
    clock = Clock()
    async with running(now=clock) as api:
        trigger = api.slack.workspace.trigger(api.user("ada"))
        clock.time += seconds
        answer = await api("views.open", trigger_id=trigger, view=modal())
    assert answer.body.get("error") == error
    assert (api.slack.modal("ada") is None) is (error is not None)


@pytest.mark.parametrize("first", [modal(), modal(title=plain(""))], ids=["taken", "refused"])
async def test_trigger_works_once(api: Api, first: Any) -> None:
    trigger = api.slack.workspace.trigger(api.user("ada"))
    await api("views.open", trigger_id=trigger, view=first)
    assert (await api("views.open", trigger_id=trigger, view=modal())).error == "exchanged_trigger_id"


@pytest.mark.parametrize(
    "later, error", [(TRIGGERS_REMEMBERED - 1, None), (TRIGGERS_REMEMBERED, "invalid_trigger_id")]
)
async def test_only_latest_thousand_triggers_are_kept(api: Api, later: int, error: str | None) -> None:
    trigger = api.slack.workspace.trigger(api.user("ada"))
    for _ in range(later):
        api.slack.workspace.trigger(api.user("grace"))
    answer = await api("views.open", trigger_id=trigger, view=modal())
    assert answer.body.get("error") == error


async def test_unknown_trigger_is_invalid(api: Api) -> None:
    assert (await api("views.open", trigger_id="1.2.abc", view=modal())).error == "invalid_trigger_id"
    assert (await api("views.open", view=modal())).error == "invalid_arguments"


async def test_invalid_view_error_has_details(api: Api) -> None:
    answer = await opened(api, modal(title=plain("x" * 25)))
    assert answer.error == "invalid_arguments"
    assert answer.messages[-1] == "[ERROR] must be less than 25 characters [json-pointer:/view/title/text]"
    assert api.slack.modal("ada") is None


# Updates


async def test_update_keeps_values_of_kept_inputs(api: Api) -> None:
    shown = (await opened(api, modal(text_input(), select()))).body["view"]
    await api.slack.enter({"question": "Top products?", "model": "growth"}, user="ada")
    other = select(options=[option("orders")])
    answer = await api(
        "views.update", view_id=shown["id"], view=modal(text_input(), other | {"block_id": "topic"})
    )
    assert answer.body["view"]["hash"] != shown["hash"]
    values = answer.body["view"]["state"]["values"]
    assert values["question"]["question_text"]["value"] == "Top products?"
    assert values["topic"]["model_choice"]["selected_option"] is None
    assert "model" not in values


async def test_stale_update_is_a_conflict(api: Api) -> None:
    shown = (await opened(api)).body["view"]
    assert (await api("views.update", view_id=shown["id"], view=modal(), hash=shown["hash"])).ok
    again = await api("views.update", view_id=shown["id"], view=modal(), hash=shown["hash"])
    assert again.error == "hash_conflict"


async def test_closed_or_unknown_view_is_not_found(api: Api) -> None:
    shown = (await opened(api)).body["view"]
    await api.slack.close_view(user="ada")
    assert (await api("views.update", view_id=shown["id"], view=modal())).error == "not_found"
    assert (await api("views.update", view_id="V0", view=modal())).error == "not_found"
    assert (await api("views.update", view=modal())).error == "invalid_arguments"


async def test_external_view_id_is_unique(api: Api) -> None:
    assert (await opened(api, modal(external_id="ask-1"))).ok
    assert (await opened(api, modal(external_id="ask-1"), "grace")).error == "duplicate_external_id"
    assert (await api("views.update", external_id="ask-1", view=modal(external_id="ask-1"))).ok


async def test_modal_cannot_become_home_tab(api: Api) -> None:
    shown = (await opened(api)).body["view"]
    assert (await api("views.update", view_id=shown["id"], view=home())).error == "invalid_arguments"


# Home tabs


async def test_home_tab_can_be_published_again(api: Api) -> None:
    first = await api("views.publish", user_id=api.user("ada"), view=home())
    second = await api("views.publish", user_id=api.user("ada"), view=home(section("Two")))
    assert first.body["view"]["id"] == second.body["view"]["id"]
    view = api.slack.home("ada")
    assert view is not None and view.content["blocks"][0]["text"]["text"] == "Two"
    assert api.slack.home("grace") is None
    stale = await api("views.publish", user_id=api.user("ada"), view=home(), hash=first.body["view"]["hash"])
    assert stale.error == "hash_conflict"


@pytest.mark.parametrize("user", ["U0NOBODY", "U0OMNIBOT", "U0EDSGERDI"])
async def test_only_workspace_members_have_home_tab(api: Api, user: str) -> None:
    assert (await api("views.publish", user_id=user, view=home())).error == "user_not_found"


async def test_disabled_home_tab_is_not_published(api: Api) -> None:
    api.slack.workspace.surfaces.home_enabled = False
    assert (await api("views.publish", user_id=api.user("ada"), view=home())).error == "not_enabled"
    with pytest.raises(LookupError):
        await api.slack.open_home("ada")


# People and conversations


async def info(api: Api, user: str) -> dict[str, Any]:
    answer = await api("users.info", user=api.user(user))
    told: dict[str, Any] = answer.body["user"]
    return told


async def test_users_have_distinct_kinds(api: Api) -> None:
    ada, marie, edsger = [await info(api, name) for name in ("ada", "marie", "edsger")]
    assert ada["team_id"] == marie["team_id"] == api.slack.team != edsger["team_id"]
    assert [person.get("is_restricted") for person in (ada, marie, edsger)] == [False, True, None]
    assert (await info(api, "omni-job-bot"))["is_bot"] is True


@pytest.mark.parametrize("guest, ultra", [("restricted", False), ("ultra_restricted", True)])
async def test_guest_kinds_are_distinguished(api: Api, guest: Any, ultra: bool) -> None:
    users = api.slack.workspace.users
    users[api.user("marie")] = replace(users[api.user("marie")], guest=guest)
    told = await info(api, "marie")
    assert (told["is_restricted"], told["is_ultra_restricted"]) == (True, ultra)


async def test_stranger_depends_on_shared_channels(api: Api) -> None:
    assert (await info(api, "edsger"))["is_stranger"] is False
    await api.slack.remove_bot("partners")
    assert (await info(api, "edsger"))["is_stranger"] is True


async def test_email_needs_scope_and_membership(api: Api) -> None:
    assert (await info(api, "ada"))["profile"]["email"] == "ada@example.com"
    assert "email" not in (await info(api, "edsger"))["profile"]
    api.slack.granted_scopes.discard("users:read.email")
    assert "email" not in (await info(api, "ada"))["profile"]


async def channel_info(api: Api, channel: str) -> Answer:
    return await api("conversations.info", channel=api.channel(channel))


async def test_conversation_names_its_shared_teams(api: Api) -> None:
    await api.slack.share_channel("sales", pending=True)
    told = [(await channel_info(api, name)).body["channel"] for name in ("data-team", "sales", "partners")]
    assert [c["is_ext_shared"] for c in told] == [False, False, True]
    assert [c["is_pending_ext_shared"] for c in told] == [False, True, False]
    assert (await channel_info(api, "random")).body["channel"]["is_member"] is False


async def test_direct_message_names_its_user(api: Api) -> None:
    api.slack.dm("ada")
    api.slack.granted_scopes.add("im:read")
    told = (await channel_info(api, "bot-ada")).body["channel"]
    assert (told["is_im"], told["user"]) == (True, api.user("ada"))


@pytest.mark.parametrize(
    "channel, scope", [("data-team", "channels:read"), ("leadership", "groups:read"), ("bot-ada", "im:read")]
)
async def test_conversation_info_needs_scope_of_kind(api: Api, channel: str, scope: str) -> None:
    api.slack.dm("ada")
    await api.slack.invite_bot("leadership")
    api.slack.granted_scopes.add("im:read")
    assert (await channel_info(api, channel)).ok
    api.slack.granted_scopes.discard(scope)
    assert (await channel_info(api, channel)).body["needed"] == scope


@pytest.mark.parametrize("channel", ["leadership", "ada-grace"])
async def test_invisible_channel_is_not_found(api: Api, channel: str) -> None:
    assert (await channel_info(api, channel)).error == "channel_not_found"


async def test_ephemeral_message_can_be_in_thread(api: Api) -> None:
    parent = await api.post()
    place = api.channel("data-team")
    answer = await api(
        "chat.postEphemeral", channel=place, user=api.user("ada"), text="psst", thread_ts=parent
    )
    assert answer.ok
    (line,) = api.slack.private("ada")
    assert line.thread_ts == parent
    assert api.slack.replies("data-team", parent) == []


async def test_app_can_lack_history_scopes() -> None:
    async with SimulatedSlack(history_scopes=False) as slack:
        assert not slack.granted_scopes & HISTORY_SCOPES
        assert {"users:read", "app_mentions:read"} <= slack.granted_scopes


async def test_external_select_loads_options_on_request(api: Api) -> None:
    assert (await opened(api, modal(external()))).ok
    with pytest.raises(LookupError):
        await api.slack.enter({"topic": "orders"}, user="ada")


async def test_conversations_select_offers_what_its_filter_allows(api: Api) -> None:
    channels_only = {"include": ["public", "private"], "exclude_external_shared_channels": True}
    assert (await opened(api, modal(conversations(filter=channels_only)))).ok
    for hidden in ("partners", "ada-grace", "old-project"):
        with pytest.raises(LookupError):
            await api.slack.enter({"channel": api.channel(hidden)}, user="ada")
    view = api.slack.modal("ada")
    assert view is not None
    for shown in ("data-team", "random", "leadership"):
        await api.slack.enter({"channel": api.channel(shown)}, user="ada")
        entered = view.values["channel"]["channel_choice"]
        assert entered == {"type": "conversations_select", "selected_conversation": api.channel(shown)}


async def test_private_channel_is_offered_to_members(api: Api) -> None:
    await opened(api, modal(conversations()), user="marie")
    with pytest.raises(LookupError):
        await api.slack.enter({"channel": api.channel("leadership")}, user="marie")


@pytest.mark.parametrize("unknown", [{}, {"include": []}, {"include": ["dm"]}, {"include": "public"}])
async def test_malformed_conversation_filter_is_refused(api: Api, unknown: dict[str, object]) -> None:
    assert (await opened(api, modal(conversations(filter=unknown)))).error == "invalid_arguments"
