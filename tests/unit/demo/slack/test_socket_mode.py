"""The simulated Socket Mode, spoken to by a bare websocket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.support.slack_http import Api, running


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running() as api:
        yield api


async def open_url(api: Api) -> str:
    answer = await api("apps.connections.open", token=api.slack.app_token)
    return str(answer.body["url"])


async def connect(api: Api) -> aiohttp.ClientWebSocketResponse:
    return await api.session.ws_connect(await open_url(api))


async def test_a_connection_begins_with_hello(api: Api) -> None:
    socket = await connect(api)
    hello = await socket.receive_json(timeout=5)
    assert hello["type"] == "hello"
    assert hello["num_connections"] == 1
    assert hello["connection_info"] == {"app_id": api.slack.app_id}
    assert hello["debug_info"]["approximate_connection_time"] == 18060


async def test_ticket_works_once(api: Api) -> None:
    url = await open_url(api)
    await api.session.ws_connect(url)
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await api.session.ws_connect(url)
    assert caught.value.status == 403


async def test_ticket_cannot_be_guessed(api: Api) -> None:
    url = (await open_url(api)).split("?")[0]
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await api.session.ws_connect(f"{url}?ticket=guessed")
    assert api.slack.socket_mode.connections == 0


async def test_eleventh_connection_is_refused(api: Api) -> None:
    held = [await connect(api) for _ in range(10)]
    for one in held:
        await one.receive_json(timeout=5)
    socket = await connect(api)
    farewell = await socket.receive_json(timeout=5)
    assert (farewell["type"], farewell["reason"]) == ("disconnect", "too_many_websockets")
    assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
    assert api.slack.socket_mode.connections == 10


async def test_an_envelope_is_acknowledged_by_its_id(api: Api) -> None:
    socket = await connect(api)
    await socket.receive_json(timeout=5)
    typing = asyncio.create_task(api.slack.command("x", user="ada", channel="data-team"))
    envelope = await socket.receive_json(timeout=5)
    assert (envelope["type"], envelope["accepts_response_payload"]) == ("slash_commands", True)
    await socket.send_json({"envelope_id": "another"})
    await socket.send_json({"envelope_id": envelope["envelope_id"], "payload": {"text": "hi"}})
    acked = await typing
    assert (acked.acked, acked.payload) == (True, {"text": "hi"})
    assert 0 < acked.seconds < 3
    assert [message.text for message in api.slack.private("ada")] == ["hi"]


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"text": "x" * 4001}, "msg_too_long"),
        ({"text": "x", "blocks": [{"type": "markdown", "text": "x"}]}, "invalid_blocks"),
        ({"blocks": []}, "no_text"),
    ],
)
async def test_ack_response_is_validated(api: Api, payload: dict[str, Any], error: str) -> None:
    socket = await connect(api)
    await socket.receive_json(timeout=5)
    typing = asyncio.create_task(api.slack.command("x", user="ada", channel="data-team"))
    envelope = await socket.receive_json(timeout=5)
    await socket.send_json({"envelope_id": envelope["envelope_id"], "payload": payload})
    await typing
    (line,) = api.slack.private("ada")
    assert f"`{error}`" in line.text


async def test_late_ack_changes_nothing(api: Api) -> None:
    api.slack.socket_mode.ack_seconds = 0.01
    socket = await connect(api)
    await socket.receive_json(timeout=5)
    acked = await api.slack.command("x", user="ada", channel="data-team")
    envelope = await socket.receive_json(timeout=5)
    await socket.send_json({"envelope_id": envelope["envelope_id"], "payload": {"text": "late"}})
    await api.slack.until(lambda: bool(api.slack.socket_mode.acks))
    assert not acked.acked
    assert ["operation_timeout" in message.text for message in api.slack.private("ada")] == [True]


@pytest.mark.parametrize("reason", ["warning", "refresh_requested", "link_disabled"])
async def test_disconnect_is_announced_with_reason(api: Api, reason: str) -> None:
    sockets = [await connect(api), await connect(api)]
    for socket in sockets:
        await socket.receive_json(timeout=5)
    leaving = asyncio.create_task(api.slack.disconnect(reason))
    for socket in sockets:
        farewell = await socket.receive_json(timeout=5)
        assert (farewell["type"], farewell["reason"]) == ("disconnect", reason)
        await socket.close()
    await leaving
    assert api.slack.socket_mode.connections == 0


async def test_remaining_client_is_disconnected(api: Api) -> None:
    api.slack.socket_mode.leave_seconds = 0.01
    socket = await connect(api)
    await socket.receive_json(timeout=5)
    leaving = asyncio.create_task(api.slack.disconnect())
    await socket.receive_json(timeout=5)
    assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
    await leaving


async def test_closing_connection_still_accepts_acks(api: Api) -> None:
    socket = await connect(api)
    await socket.receive_json(timeout=5)
    typing = asyncio.create_task(api.slack.command("x", user="ada", channel="data-team"))
    envelope = await socket.receive_json(timeout=5)
    leaving = asyncio.create_task(api.slack.disconnect())
    await socket.receive_json(timeout=5)
    await socket.send_json({"envelope_id": envelope["envelope_id"]})
    assert (await typing).acked
    await socket.close()
    await leaving


async def test_cut_connection_sends_no_disconnect(api: Api) -> None:
    socket = await connect(api)
    await socket.receive_json(timeout=5)
    api.slack.socket_mode.cut()
    assert (await socket.receive(timeout=5)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    assert socket.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE
