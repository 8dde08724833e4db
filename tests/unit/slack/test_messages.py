"""Slack's answers become errors that say what to do, nothing is posted twice, and a lost post can be found."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.demo.faults import HTML_500, RESET_AFTER, RESET_BEFORE, Fault
from bot.demo.slack.simulator import SimulatedSlack, too_many_requests
from bot.domain.cards import CardId, ChannelId, ChannelRef, MessageTs, TeamId, UserId
from bot.domain.errors import (
    MessageGone,
    NotAllowedHere,
    OutcomeUnknown,
    PayloadRefused,
    ScopeMissing,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    TokenRefused,
    ViewGone,
)
from bot.domain.messages import Message
from bot.domain.ports.metrics import RequestOutcome
from bot.slack import messages as slack_module
from bot.slack.messages import WebApiMessages, identify, may_connect, slack_client, slack_session
from bot.slack.scopes import OPTIONAL_SCOPES, REQUIRED_SCOPES
from bot.slack.web_api import LONGEST_RETRY_AFTER_SECONDS, error_for
from tests.support.fakes import FakeMeter
from tests.support.slack_messages import CARD, CARD_ID, SECTION, World, messages_of

asyncio.set_event_loop(None)  # as in tests/demo/conftest.py

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

_REACTIONS: dict[type[SlackError], str] = {
    # Use the direct message instead, and tell how to invite the bot; never retry.
    NotAllowedHere: """
        not_in_channel no_permission channel_not_found user_not_in_channel is_archived is_inactive
        restricted_action restricted_action_read_only_channel restricted_action_thread_only_channel
        restricted_action_non_threadable_channel restricted_action_thread_locked messages_tab_disabled
        app_access_restricted ekm_access_denied access_denied team_access_not_granted accesslimited
        not_enabled user_not_found cannot_dm_bot user_disabled method_not_supported_for_channel_type
        team_not_found slack_connect_file_link_sharing_blocked streaming_state_conflict never_heard_of
    """,
    # Stop drawing this message.
    MessageGone: """
        message_not_found cant_update_message edit_window_closed block_mismatch cannot_reply_to_message
        thread_not_found cannot_find_message
    """,
    # Tell the person otherwise: there is no modal to show it in.
    ViewGone: "expired_trigger_id exchanged_trigger_id invalid_trigger_id not_found hash_conflict",
    # A plainer or smaller form may pass.
    PayloadRefused: """
        msg_too_long msg_blocks_too_long attachment_payload_limit_exceeded invalid_blocks
        invalid_blocks_format invalid_attachments too_many_attachments no_text markdown_text_conflict
        invalid_arguments metadata_too_large
        view_too_large invalid_block_of_a_new_kind too_many_tables unsupported_block table_too_large cells_too_long
    """,
    # Wait as long as Slack says.
    SlackBusy: "ratelimited rate_limited",
    # Certainly not done: do it again later.
    SlackUnreachable: "message_limit_exceeded external_channel_migrating team_added_to_org org_login_required",
    # "Part of the action may have happened": look before doing it again.
    OutcomeUnknown: """
        internal_error fatal_error service_unavailable request_timeout update_failed backend_error
        temporarily_unavailable
    """,
    # Uninstalled or rotated: the operator must act.
    TokenRefused: """
        account_inactive token_revoked invalid_auth not_authed token_expired not_allowed_token_type
    """,
    ScopeMissing: "missing_scope",
}

_TABLE = [(code, error) for error, codes in _REACTIONS.items() for code in codes.split()]


@pytest.mark.parametrize("code, error", _TABLE)
def test_each_of_slacks_codes_means_one_reaction(code: str, error: type[SlackError]) -> None:
    found = error_for(code, status=200, retry_after=None)
    assert type(found) is error
    assert found.code == code


@pytest.mark.parametrize("status", [200, 500, 502, 503, 504])
def test_response_without_code_has_unknown_outcome(status: int) -> None:
    found = error_for("", status=status, retry_after=None)
    assert type(found) is OutcomeUnknown and found.code == f"http_{status}"


def test_429_is_busy_whatever_the_body_says() -> None:
    assert type(error_for("", status=429, retry_after="3")) is SlackBusy
    assert type(error_for("internal_error", status=429, retry_after="3")) is SlackBusy


@pytest.mark.parametrize(
    "retry_after, seconds",
    [
        ("30", 30.0),
        ("0.5", 0.5),
        ("0", 0.1),
        ("-1", 0.1),
        ("86400", LONGEST_RETRY_AFTER_SECONDS),
        ("inf", LONGEST_RETRY_AFTER_SECONDS),
        ("nan", 0.1),
        (None, 1.0),
        ("", 1.0),
        ("soon", 1.0),
    ],
)
def test_retry_after_is_bounded(retry_after: str | None, seconds: float) -> None:
    busy = error_for("ratelimited", status=429, retry_after=retry_after)
    assert isinstance(busy, SlackBusy) and busy.retry_after_seconds == seconds


@given(st.text(), st.integers(100, 599), st.one_of(st.none(), st.text(), st.floats().map(str)))
def test_whatever_slack_says_it_means_something(code: str, status: int, retry_after: str | None) -> None:
    found = error_for(code, status=status, retry_after=retry_after)
    assert isinstance(found, SlackError)
    if isinstance(found, SlackBusy):
        assert 0.1 <= found.retry_after_seconds <= LONGEST_RETRY_AFTER_SECONDS


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with SimulatedSlack(limits=False) as slack, messages_of(slack) as messages:
        yield World(slack, messages)


async def test_post_has_mark_and_no_unfurling(world: World) -> None:
    ts = await world.messages.post(world.here, CARD, mark=CARD_ID)
    (posted,) = world.slack.messages("data-team")
    assert (posted.ts, posted.text, posted.blocks) == (ts, CARD.text, [SECTION])
    assert posted.metadata == {"event_type": "omni_job_watch", "event_payload": {"mark": CARD_ID}}
    (call,) = world.slack.calls("chat.postMessage")
    assert str(call.args["unfurl_links"]).lower() in ("false", "0")
    assert str(call.args["unfurl_media"]).lower() in ("false", "0")


async def test_a_reply_goes_into_its_thread(world: World) -> None:
    parent = await world.messages.post(world.here, CARD, mark=CARD_ID)
    ts = await world.messages.post(world.here, Message("It failed."), mark=CARD_ID, thread=parent)
    (reply,) = world.slack.replies("data-team", parent)
    assert (reply.ts, reply.text) == (ts, "It failed.")
    assert len(world.slack.messages("data-team")) == 1


async def test_reply_without_parent_is_deleted(world: World) -> None:
    parent = await world.messages.post(world.here, CARD, mark=CARD_ID)
    await world.slack.delete_message("data-team", parent)
    with pytest.raises(MessageGone):
        await world.messages.post(world.here, Message("It failed."), mark=CARD_ID, thread=parent)
    assert world.slack.messages("data-team") == []


async def test_reply_stays_if_parent_exists(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = await world.messages.post(world.here, CARD, mark=CARD_ID)
    post = AsyncWebClient.chat_postMessage

    async def say_less(self: AsyncWebClient, **arguments: Any) -> AsyncSlackResponse:
        answer = await post(self, **arguments)
        cast(dict[str, Any], answer.data)["message"].pop("thread_ts")
        return answer

    monkeypatch.setattr(AsyncWebClient, "chat_postMessage", say_less)
    ts = await world.messages.post(world.here, Message("It failed."), mark=CARD_ID, thread=parent)
    assert [reply.ts for reply in world.slack.replies("data-team", parent)] == [ts]


async def test_an_update_brings_its_own_blocks(world: World) -> None:
    ts = await world.messages.post(world.here, CARD, mark=CARD_ID)
    newer = {"type": "section", "text": {"type": "mrkdwn", "text": "*Done*"}}
    await world.messages.update(world.here, ts, Message("Top products: done", (newer,)))
    (posted,) = world.slack.messages("data-team")
    assert (posted.text, posted.blocks) == ("Top products: done", [newer])


async def test_update_replaces_content_and_keeps_mark(world: World) -> None:
    ts = await world.messages.post(world.here, CARD, mark=CARD_ID)
    await world.messages.update(world.here, ts, Message("Top products: done"))
    (posted,) = world.slack.messages("data-team")
    assert (posted.text, posted.blocks, posted.edits) == ("Top products: done", [], 1)
    assert await world.messages.find_by_metadata(world.here, mark=CARD_ID, since=LONG_AGO) == ts


_CALLS: dict[str, Callable[[World], Awaitable[object]]] = {
    "post": lambda world: world.messages.post(world.here, CARD, mark=CARD_ID),
    "update": lambda world: world.messages.update(world.here, MessageTs("1777900000.000100"), CARD),
    "find": lambda world: world.messages.find_by_metadata(world.here, mark=CARD_ID, since=LONG_AGO),
    "find in a thread": lambda world: world.messages.find_by_metadata(
        world.here, mark=CARD_ID, since=LONG_AGO, thread=MessageTs("1777900000.000100")
    ),
    "delete": lambda world: world.messages.delete(world.here, MessageTs("1777900000.000100")),
    "permalink": lambda world: world.messages.permalink(world.here, MessageTs("1777900000.000100")),
    "direct": lambda world: world.messages.open_dm(world.here, world.person("ada")),
}


@pytest.mark.parametrize("call", _CALLS.values(), ids=_CALLS)
@pytest.mark.parametrize("code, error", [("internal_error", OutcomeUnknown), ("token_revoked", TokenRefused)])
async def test_every_call_passes_slacks_refusal_on(
    world: World, call: Callable[[World], Awaitable[object]], code: str, error: type[SlackError]
) -> None:
    world.refuses(code)
    with pytest.raises(error) as raised:
        await call(world)
    assert raised.value.code == code


@pytest.mark.parametrize("name", ["post", "find", "permalink", "direct"])
async def test_response_without_its_fields_is_unknown(world: World, name: str) -> None:
    world.slack.faults.plan(Fault("status", 200, '{"ok": true}'))
    with pytest.raises(OutcomeUnknown):
        await _CALLS[name](world)


BODIES = {
    "a page": Fault("status", 200, "<html>Sign in</html>", "text/html"),
    "a line of text": Fault("status", 200, "upstream connect error", "text/plain"),
    "a line of text with 503": Fault("status", 503, "upstream connect error", "text/plain"),
    "a page with 500": HTML_500,
    "a page that claims to be JSON": Fault("status", 502, "<html>Bad Gateway</html>"),
    "half a body": Fault("status", 200, '{"ok": tr'),
    "nothing": Fault("status", 200, ""),
    "null": Fault("status", 200, "null"),
    "a list": Fault("status", 200, "[1]"),
    "a list with 500": Fault("status", 500, "[1]"),
    "no ok": Fault("status", 200, "{}"),
    "an empty error": Fault("status", 200, '{"ok": false, "error": null}'),
}


@pytest.mark.parametrize("fault", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("call", [_CALLS["post"], _CALLS["update"]], ids=["post", "update"])
async def test_invalid_response_has_unknown_outcome(
    world: World, call: Callable[[World], Awaitable[object]], fault: Fault
) -> None:
    world.slack.faults.plan(fault)
    with pytest.raises(OutcomeUnknown):
        await call(world)


@pytest.mark.parametrize("code", ["ratelimited", "rate_limited"])
@pytest.mark.parametrize("call", _CALLS.values(), ids=_CALLS)
async def test_both_rate_limit_codes_have_retry_after(
    world: World, call: Callable[[World], Awaitable[object]], code: str
) -> None:
    world.slack.faults.plan(too_many_requests(7, code))
    with pytest.raises(SlackBusy) as raised:
        await call(world)
    assert (raised.value.code, raised.value.retry_after_seconds) == (code, 7.0)
    assert len(world.slack.requests) == 1


@pytest.mark.parametrize("header", ["Retry-After", "retry-after"])
@pytest.mark.parametrize(
    "body, content_type",
    [("", "text/plain"), ("<html>", "text/html"), ("<html>", "application/json")],
)
async def test_empty_429_has_retry_after(world: World, header: str, body: str, content_type: str) -> None:
    world.slack.faults.plan(Fault("status", 429, body, content_type, ((header, "9"),)))
    with pytest.raises(SlackBusy) as raised:
        await world.messages.post(world.here, CARD, mark=CARD_ID)
    assert raised.value.retry_after_seconds == 9.0


async def test_nobody_listening_is_certainly_not_done(world: World) -> None:
    await world.slack.close()
    with pytest.raises(SlackUnreachable):
        await world.messages.post(world.here, CARD, mark=CARD_ID)


async def test_lost_response_leaves_one_message(world: World) -> None:
    world.slack.faults.plan(RESET_AFTER, on="chat.postMessage")
    with pytest.raises(OutcomeUnknown):
        await world.messages.post(world.here, CARD, mark=CARD_ID)
    assert len(world.slack.calls("chat.postMessage")) == 1
    (posted,) = world.slack.messages("data-team")
    assert await world.messages.find_by_metadata(world.here, mark=CARD_ID, since=LONG_AGO) == posted.ts


async def test_lost_request_leaves_no_message(
    world: World,
) -> None:
    world.slack.faults.plan(RESET_BEFORE, on="chat.postMessage")
    with pytest.raises(OutcomeUnknown):
        await world.messages.post(world.here, CARD, mark=CARD_ID)
    assert len(world.slack.calls("chat.postMessage")) == 1
    assert await world.messages.find_by_metadata(world.here, mark=CARD_ID, since=LONG_AGO) is None


@pytest.mark.parametrize("kind", [RESET_BEFORE, RESET_AFTER], ids=["before", "after"])
async def test_stale_connection_is_not_retried(world: World, kind: Fault) -> None:
    await world.messages.post(world.here, CARD, mark=CARD_ID)
    world.slack.faults.plan(kind, on="chat.postMessage")
    with pytest.raises(OutcomeUnknown):
        await world.messages.post(world.here, CARD, mark=CARD_ID)
    assert len(world.slack.calls("chat.postMessage")) == 2


async def test_late_response_has_unknown_outcome(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_module, "TIMEOUT_SECONDS", 0.2)
    world.slack.faults.plan(Fault("delay", delay_seconds=0.6))
    async with messages_of(world.slack) as hasty:
        with pytest.raises(OutcomeUnknown):
            await hasty.post(world.here, CARD, mark=CARD_ID)


@pytest.mark.parametrize("channel", ["random", "leadership", "old-project", "ada-grace"])
async def test_forbidden_channel_is_not_allowed(world: World, channel: str) -> None:
    with pytest.raises(NotAllowedHere):
        await world.messages.post(world.place(channel), CARD, mark=CARD_ID)


async def test_invalid_message_is_refused(world: World) -> None:
    bad = Message("text", ({"type": "section"},))
    with pytest.raises(PayloadRefused):
        await world.messages.post(world.here, bad, mark=CARD_ID)


async def test_deleted_card_is_gone(world: World) -> None:
    ts = await world.messages.post(world.here, CARD, mark=CARD_ID)
    await world.slack.delete_message("data-team", ts)
    with pytest.raises(MessageGone):
        await world.messages.update(world.here, ts, CARD)
    with pytest.raises(MessageGone):
        await world.messages.permalink(world.here, ts)
    with pytest.raises(MessageGone):
        await world.messages.find_by_metadata(world.here, mark=CARD_ID, since=LONG_AGO, thread=ts)


async def test_delete_is_idempotent(world: World) -> None:
    card = await world.messages.post(world.here, CARD, mark=CARD_ID)
    kept = await world.messages.post(world.here, CARD, mark=CARD_ID)
    for _ in range(2):
        await world.messages.delete(world.here, card)
    assert [posted.ts for posted in world.slack.messages("data-team")] == [kept]


async def test_somebody_elses_message_is_not_deleted(world: World) -> None:
    said = await world.slack.say("hello", user="ada", channel="data-team")
    with pytest.raises(SlackError):
        await world.messages.delete(world.here, MessageTs(said.ts))
    assert len(world.slack.messages("data-team")) == 1


async def test_a_permalink_leads_to_the_message(world: World) -> None:
    ts = await world.messages.post(world.here, CARD, mark=CARD_ID)
    link = await world.messages.permalink(world.here, ts)
    assert link.endswith(f"/archives/{world.here.id}/p{ts.replace('.', '')}")


async def test_direct_message_can_be_opened(world: World) -> None:
    place = await world.messages.open_dm(world.here, world.person("ada"))
    assert place == ChannelRef(world.here.team, ChannelId(world.slack.dm("ada")))
    assert await world.messages.open_dm(world.here, world.person("ada")) == place
    await world.messages.post(place, CARD, mark=CARD_ID)
    assert len(world.slack.messages(place.id)) == 1


async def test_bots_and_strangers_have_no_direct_message(world: World) -> None:
    for nobody in (world.slack.bot_user, "U0STRANGER"):
        with pytest.raises(NotAllowedHere):
            await world.messages.open_dm(world.here, UserId(nobody))


async def test_direct_message_needs_its_scope(world: World) -> None:
    world.slack.granted_scopes.discard("im:write")
    with pytest.raises(ScopeMissing):
        await world.messages.open_dm(world.here, world.person("ada"))


async def test_uninstall_refuses_the_token(world: World) -> None:
    world.slack.revoke_token()
    for call in _CALLS.values():
        with pytest.raises(TokenRefused):
            await call(world)


@pytest.mark.parametrize("call", _CALLS.values(), ids=_CALLS)
async def test_refused_token_is_remembered_until_accepted(
    world: World, call: Callable[[World], Awaitable[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.messages.refused is None
    for code in ("token_revoked", "account_inactive"):
        world.refuses(code)
        with pytest.raises(TokenRefused):
            await call(world)
        assert world.messages.refused == code
    assert capsys.readouterr().out.count("slack token refused") == 1, "logged once, not with every call"
    await world.messages.post(world.here, CARD, mark=CARD_ID)
    assert world.messages.refused is None


@pytest.mark.parametrize("code", ["internal_error", "not_in_channel", "missing_scope", "ratelimited"])
async def test_other_errors_keep_the_token(world: World, code: str) -> None:
    world.refuses(code)
    with pytest.raises(SlackError):
        await world.messages.post(world.here, CARD, mark=CARD_ID)
    assert world.messages.refused is None


async def test_card_is_found_by_its_mark(world: World) -> None:
    other = CardId("other")
    await world.slack.say("hello", user="ada", channel="data-team")
    ts = await world.messages.post(world.here, CARD, mark=CARD_ID)
    await world.messages.post(world.here, CARD, mark=other)
    await world.messages.post(world.here, Message("reply"), mark=other, thread=ts)
    assert await world.messages.find_by_metadata(world.here, mark=CARD_ID, since=LONG_AGO) == ts
    assert await world.messages.find_by_metadata(world.here, mark=CardId("nothing"), since=LONG_AGO) is None


async def test_reply_is_found_in_its_thread(world: World) -> None:
    card = await world.messages.post(world.here, CARD, mark=CARD_ID)
    assert (
        await world.messages.find_by_metadata(world.here, mark=CARD_ID, since=LONG_AGO, thread=card) is None
    )
    await world.slack.say("hm", user="ada", channel="data-team")
    reply = await world.messages.post(world.here, Message("It failed."), mark=CARD_ID, thread=card)
    assert (
        await world.messages.find_by_metadata(world.here, mark=CARD_ID, since=LONG_AGO, thread=card) == reply
    )
    assert await world.messages.find_by_metadata(world.here, mark=CARD_ID, since=LONG_AGO) == card


async def test_search_ignores_older_messages(world: World) -> None:
    await world.messages.post(world.here, CARD, mark=CARD_ID)
    soon = datetime.now(UTC) + timedelta(seconds=5)
    assert await world.messages.find_by_metadata(world.here, mark=CARD_ID, since=soon) is None


@pytest.mark.parametrize("n_later", [0, 1, 199, 200, 450])
async def test_search_reads_all_pages(world: World, n_later: int) -> None:
    ts = await world.messages.post(world.here, CARD, mark=CARD_ID)
    for _ in range(n_later):
        await world.slack.say("chatter", user="ada", channel="data-team")
    assert await world.messages.find_by_metadata(world.here, mark=CARD_ID, since=LONG_AGO) == ts
    assert len(world.slack.calls("conversations.history")) == n_later // 200 + 1


async def test_reply_is_found_in_long_thread(world: World) -> None:
    card = await world.messages.post(world.here, CARD, mark=CARD_ID)
    channel = world.slack.workspace.channel("data-team")
    for _ in range(450):
        world.slack.workspace.post(channel, world.person("ada"), "chatter", thread=card)
    reply = await world.messages.post(world.here, Message("It failed."), mark=CARD_ID, thread=card)
    assert (
        await world.messages.find_by_metadata(world.here, mark=CARD_ID, since=LONG_AGO, thread=card) == reply
    )


async def test_search_needs_history_scope() -> None:
    async with SimulatedSlack(limits=False, history_scopes=False) as slack, messages_of(slack) as messages:
        here = World(slack, messages).here
        ts = await messages.post(here, CARD, mark=CARD_ID)
        with pytest.raises(ScopeMissing):
            await messages.find_by_metadata(here, mark=CARD_ID, since=LONG_AGO)
        with pytest.raises(ScopeMissing):
            await messages.find_by_metadata(here, mark=CARD_ID, since=LONG_AGO, thread=ts)


@pytest.fixture
async def distributed(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """An app with one page of 15 messages a minute. Waiting costs no time."""
    now = [datetime.now(UTC).timestamp()]

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(slack_module, "asyncio", SimpleNamespace(sleep=sleep))
    async with SimulatedSlack(distributed=True, now=lambda: now[0]) as slack, messages_of(slack) as messages:
        yield World(slack, messages)


async def test_search_goes_on_after_a_429(distributed: World) -> None:
    world = distributed
    ts = await world.messages.post(world.here, CARD, mark=CARD_ID)
    for _ in range(40):
        await world.slack.say("chatter", user="ada", channel="data-team")
    assert await world.messages.find_by_metadata(world.here, mark=CARD_ID, since=LONG_AGO) == ts
    cursors = [call.args.get("cursor") for call in world.slack.calls("conversations.history") if call.ok]
    assert cursors == [None, "15", "30"], "each page is read once"


async def test_search_ends_after_some_pages(distributed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_module, "MOST_PAGES", 2)
    world = distributed
    await world.messages.post(world.here, CARD, mark=CARD_ID)
    for _ in range(40):
        await world.slack.say("chatter", user="ada", channel="data-team")
    with pytest.raises(ScopeMissing, match="too_many_messages"):
        await world.messages.find_by_metadata(world.here, mark=CARD_ID, since=LONG_AGO)


async def test_search_ignores_metadata_of_other_apps(world: World) -> None:
    channel = world.slack.workspace.channel("data-team")
    for metadata in (
        {"event_type": "other", "event_payload": {"mark": CARD_ID}},
        {"event_type": "omni_job_watch", "event_payload": {}},
        {"event_type": "omni_job_watch", "event_payload": {"mark": 3}},
        {},
    ):
        world.slack.workspace.post(channel, world.slack.bot_user, "x", metadata=metadata)
    assert await world.messages.find_by_metadata(world.here, mark=CARD_ID, since=LONG_AGO) is None


async def test_identify_returns_user_and_scopes(world: World) -> None:
    async with slack_session() as session:
        me = await identify(slack_client(world.slack.bot_token, world.slack.api_url, session))
    assert (me.teams, me.user) == ((world.slack.team,), world.slack.bot_user)
    assert me.bot_id and me.team_name
    assert me.scopes == REQUIRED_SCOPES | OPTIONAL_SCOPES


@pytest.mark.parametrize("token", ["xoxb-wrong", "xapp-wrong"])
async def test_a_wrong_token_is_refused(world: World, token: str) -> None:
    async with slack_session() as session:
        client = slack_client(token, world.slack.api_url, session)
        with pytest.raises(TokenRefused):
            await identify(client)
        with pytest.raises(TokenRefused):
            await may_connect(client)


async def test_only_app_token_opens_socket_mode(world: World) -> None:
    async with slack_session() as session:
        await may_connect(slack_client(world.slack.app_token, world.slack.api_url, session))
        with pytest.raises(TokenRefused):
            await may_connect(slack_client(world.slack.bot_token, world.slack.api_url, session))


async def test_no_token_is_in_any_error(world: World) -> None:
    for fault in (*BODIES.values(), RESET_AFTER, too_many_requests(1)):
        world.slack.faults.plan(fault)
        with pytest.raises(SlackError) as raised:
            await world.messages.post(world.here, CARD, mark=CARD_ID)
        chain: BaseException | None = raised.value
        while chain is not None:
            assert world.slack.bot_token not in f"{chain} {chain!r}"
            chain = chain.__cause__ or chain.__context__


def refusal(code: str) -> Fault:
    return Fault("status", 200, json.dumps({"ok": False, "error": code}))


@asynccontextmanager
async def metered(slack: SimulatedSlack) -> AsyncIterator[tuple[World, FakeMeter]]:
    meter = FakeMeter()
    async with slack_session() as session:
        yield (
            World(slack, WebApiMessages(slack_client(slack.bot_token, slack.api_url, session, meter))),
            meter,
        )


@pytest.mark.parametrize(
    "fault, outcome",
    [
        (None, RequestOutcome.OK),
        (refusal("channel_not_found"), RequestOutcome.REFUSED),
        (refusal("token_revoked"), RequestOutcome.KEY_REFUSED),
        (refusal("ratelimited"), RequestOutcome.RATE_LIMITED),
        (too_many_requests(1), RequestOutcome.RATE_LIMITED),
        (refusal("fatal_error"), RequestOutcome.UNANSWERED),
        (HTML_500, RequestOutcome.UNANSWERED),
        (RESET_AFTER, RequestOutcome.UNANSWERED),
        (Fault("status", 200, "a line of a proxy's"), RequestOutcome.UNANSWERED),
    ],
)
async def test_calls_are_counted_by_method(fault: Fault | None, outcome: RequestOutcome) -> None:
    async with SimulatedSlack(limits=False) as slack, metered(slack) as (world, meter):
        if fault is not None:
            slack.faults.plan(fault)
        with suppress(SlackError):
            await world.messages.post(world.here, CARD, mark=CARD_ID)
    assert meter.slack_calls == [("chat.postMessage", outcome)]


async def test_unsent_call_is_counted_separately() -> None:
    meter = FakeMeter()
    async with slack_session() as session:
        messages = WebApiMessages(slack_client("xoxb-1", "http://127.0.0.1:9/", session, meter))
        with pytest.raises(SlackUnreachable):
            await messages.permalink(ChannelRef(TeamId("T0"), ChannelId("C0")), MessageTs("1.0"))
    assert meter.slack_calls == [("chat.getPermalink", RequestOutcome.NOT_SENT)]
