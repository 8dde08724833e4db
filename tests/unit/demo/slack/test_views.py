"""views.* and what is told of people and conversations, asked over real sockets."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from bot.demo.slack.simulator import HISTORY_SCOPES, SimulatedSlack
from bot.demo.slack.surfaces import TRIGGER_SECONDS, TRIGGERS_REMEMBERED
from tests.support.clock import Clock
from tests.support.slack_http import Answer, Api, running
from tests.support.views import external, home, modal, option, plain, section, select, text_input


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running(limits=False) as api:
        yield api


async def opened(api: Api, view: Any = None, user: str = "ada") -> Answer:
    trigger = api.slack.workspace.trigger(api.user(user))
    return await api("views.open", trigger_id=trigger, view=view or modal())


# Triggers


async def test_a_trigger_opens_one_modal_for_whose_it_is(api: Api) -> None:
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
async def test_a_trigger_is_good_for_three_seconds(seconds: float, error: str | None) -> None:
    clock = Clock()
    async with running(now=clock) as api:
        trigger = api.slack.workspace.trigger(api.user("ada"))
        clock.time += seconds
        answer = await api("views.open", trigger_id=trigger, view=modal())
    assert answer.body.get("error") == error
    assert (api.slack.modal("ada") is None) is (error is not None)


@pytest.mark.parametrize("first", [modal(), modal(title=plain(""))], ids=["taken", "refused"])
async def test_a_trigger_is_good_once_whatever_came_of_it(api: Api, first: Any) -> None:
    trigger = api.slack.workspace.trigger(api.user("ada"))
    await api("views.open", trigger_id=trigger, view=first)
    assert (await api("views.open", trigger_id=trigger, view=modal())).error == "exchanged_trigger_id"


@pytest.mark.parametrize(
    "later, error", [(TRIGGERS_REMEMBERED - 1, None), (TRIGGERS_REMEMBERED, "invalid_trigger_id")]
)
async def test_a_trigger_is_forgotten_after_a_thousand_others(
    api: Api, later: int, error: str | None
) -> None:
    trigger = api.slack.workspace.trigger(api.user("ada"))
    for _ in range(later):
        api.slack.workspace.trigger(api.user("grace"))
    answer = await api("views.open", trigger_id=trigger, view=modal())
    assert answer.body.get("error") == error


async def test_a_trigger_that_slack_never_gave_is_invalid(api: Api) -> None:
    assert (await api("views.open", trigger_id="1.2.abc", view=modal())).error == "invalid_trigger_id"
    assert (await api("views.open", view=modal())).error == "invalid_arguments"


async def test_a_view_that_slack_does_not_take_is_told_in_detail(api: Api) -> None:
    answer = await opened(api, modal(title=plain("x" * 25)))
    assert answer.error == "invalid_arguments"
    assert answer.messages[-1] == "[ERROR] must be less than 25 characters [json-pointer:/view/title/text]"
    assert api.slack.modal("ada") is None


# Updates


async def test_an_update_keeps_what_was_typed_where_the_input_stays(api: Api) -> None:
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


async def test_an_update_from_an_older_state_is_a_conflict(api: Api) -> None:
    shown = (await opened(api)).body["view"]
    assert (await api("views.update", view_id=shown["id"], view=modal(), hash=shown["hash"])).ok
    again = await api("views.update", view_id=shown["id"], view=modal(), hash=shown["hash"])
    assert again.error == "hash_conflict"


async def test_what_was_closed_or_never_was_is_not_found(api: Api) -> None:
    shown = (await opened(api)).body["view"]
    await api.slack.close_view(user="ada")
    assert (await api("views.update", view_id=shown["id"], view=modal())).error == "not_found"
    assert (await api("views.update", view_id="V0", view=modal())).error == "not_found"
    assert (await api("views.update", view=modal())).error == "invalid_arguments"


async def test_a_view_goes_by_its_external_id_which_no_two_share(api: Api) -> None:
    assert (await opened(api, modal(external_id="ask-1"))).ok
    assert (await opened(api, modal(external_id="ask-1"), "grace")).error == "duplicate_external_id"
    assert (await api("views.update", external_id="ask-1", view=modal(external_id="ask-1"))).ok


async def test_a_modal_does_not_become_a_home_tab(api: Api) -> None:
    shown = (await opened(api)).body["view"]
    assert (await api("views.update", view_id=shown["id"], view=home())).error == "invalid_arguments"


# Home tabs


async def test_a_home_tab_is_published_and_published_anew(api: Api) -> None:
    first = await api("views.publish", user_id=api.user("ada"), view=home())
    second = await api("views.publish", user_id=api.user("ada"), view=home(section("Two")))
    assert first.body["view"]["id"] == second.body["view"]["id"]
    view = api.slack.home("ada")
    assert view is not None and view.content["blocks"][0]["text"]["text"] == "Two"
    assert api.slack.home("grace") is None
    stale = await api("views.publish", user_id=api.user("ada"), view=home(), hash=first.body["view"]["hash"])
    assert stale.error == "hash_conflict"


@pytest.mark.parametrize("user", ["U0NOBODY", "U0OMNIBOT", "U0EDSGERDI"])
async def test_only_people_of_the_workspace_have_a_home_tab(api: Api, user: str) -> None:
    assert (await api("views.publish", user_id=user, view=home())).error == "user_not_found"


async def test_without_a_home_tab_nothing_is_published_or_opened(api: Api) -> None:
    api.slack.workspace.surfaces.home_enabled = False
    assert (await api("views.publish", user_id=api.user("ada"), view=home())).error == "not_enabled"
    with pytest.raises(LookupError):
        await api.slack.open_home("ada")


# People and conversations


async def info(api: Api, user: str) -> dict[str, Any]:
    answer = await api("users.info", user=api.user(user))
    told: dict[str, Any] = answer.body["user"]
    return told


async def test_people_are_told_apart(api: Api) -> None:
    ada, marie, edsger = [await info(api, name) for name in ("ada", "marie", "edsger")]
    assert ada["team_id"] == marie["team_id"] == api.slack.team != edsger["team_id"]
    assert [person.get("is_restricted") for person in (ada, marie, edsger)] == [False, True, None]
    assert (await info(api, "omni"))["is_bot"] is True


@pytest.mark.parametrize("guest, ultra", [("restricted", False), ("ultra_restricted", True)])
async def test_a_guest_of_one_channel_is_told_from_one_of_several(api: Api, guest: Any, ultra: bool) -> None:
    users = api.slack.workspace.users
    users[api.user("marie")] = replace(users[api.user("marie")], guest=guest)
    told = await info(api, "marie")
    assert (told["is_restricted"], told["is_ultra_restricted"]) == (True, ultra)


async def test_a_person_of_another_company_is_a_stranger_only_where_no_channel_is_shared(api: Api) -> None:
    assert (await info(api, "edsger"))["is_stranger"] is False
    await api.slack.remove_bot("partners")
    assert (await info(api, "edsger"))["is_stranger"] is True


async def test_an_address_is_told_only_with_its_scope_and_of_ones_own_people(api: Api) -> None:
    assert (await info(api, "ada"))["profile"]["email"] == "ada@example.com"
    assert "email" not in (await info(api, "edsger"))["profile"]
    api.slack.granted_scopes.discard("users:read.email")
    assert "email" not in (await info(api, "ada"))["profile"]


async def channel_info(api: Api, channel: str) -> Answer:
    return await api("conversations.info", channel=api.channel(channel))


async def test_a_conversation_tells_with_whom_it_is_shared(api: Api) -> None:
    await api.slack.share_channel("sales", pending=True)
    told = [(await channel_info(api, name)).body["channel"] for name in ("data-team", "sales", "partners")]
    assert [c["is_ext_shared"] for c in told] == [False, False, True]
    assert [c["is_pending_ext_shared"] for c in told] == [False, True, False]
    assert (await channel_info(api, "random")).body["channel"]["is_member"] is False


async def test_a_direct_message_tells_with_whom_it_is(api: Api) -> None:
    api.slack.dm("ada")
    api.slack.granted_scopes.add("im:read")
    told = (await channel_info(api, "bot-ada")).body["channel"]
    assert (told["is_im"], told["user"]) == (True, api.user("ada"))


@pytest.mark.parametrize(
    "channel, scope", [("data-team", "channels:read"), ("leadership", "groups:read"), ("bot-ada", "im:read")]
)
async def test_a_conversation_is_told_with_the_scope_of_its_kind(api: Api, channel: str, scope: str) -> None:
    api.slack.dm("ada")
    await api.slack.invite_bot("leadership")
    api.slack.granted_scopes.add("im:read")
    assert (await channel_info(api, channel)).ok
    api.slack.granted_scopes.discard(scope)
    assert (await channel_info(api, channel)).body["needed"] == scope


@pytest.mark.parametrize("channel", ["leadership", "ada-grace"])
async def test_what_the_bot_can_not_see_is_not_there(api: Api, channel: str) -> None:
    assert (await channel_info(api, channel)).error == "channel_not_found"


async def test_a_private_line_may_stand_in_a_thread(api: Api) -> None:
    parent = await api.post()
    place = api.channel("data-team")
    answer = await api(
        "chat.postEphemeral", channel=place, user=api.user("ada"), text="psst", thread_ts=parent
    )
    assert answer.ok
    (line,) = api.slack.private("ada")
    assert line.thread_ts == parent
    assert api.slack.replies("data-team", parent) == []


async def test_an_app_may_have_everything_but_history() -> None:
    async with SimulatedSlack(history_scopes=False) as slack:
        assert not slack.granted_scopes & HISTORY_SCOPES
        assert {"users:read", "app_mentions:read"} <= slack.granted_scopes


async def test_an_external_select_offers_nothing_before_it_was_asked(api: Api) -> None:
    assert (await opened(api, modal(external()))).ok
    with pytest.raises(LookupError):
        await api.slack.enter({"topic": "orders"}, user="ada")
