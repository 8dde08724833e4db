"""How much of an answer of Slack's, or of somebody in its place, is read."""

import gzip
import tracemalloc

import pytest

from bot.domain.errors import OutcomeUnknown
from bot.domain.messages import Message
from bot.domain.ports.metrics import NO_METRICS
from bot.slack import messages
from bot.slack.messages import identify, slack_client, slack_session
from bot.slack.views import reply_to_response_url
from tests.support.omni_http import MANY, coded, raw_server

BOMB = gzip.compress(b'{"ok": true, "x": "' + b" " * MANY + b'"}')


def typed(kind: str, answer: bytes) -> bytes:
    """The answer with that Content-Type."""
    return answer.replace(b"\r\n", f"\r\nContent-Type: {kind}\r\n".encode(), 1)


@pytest.mark.parametrize(
    "answer", [coded("gzip", BOMB), coded("identity", b" " * 400_000)], ids=["gzip", "plain"]
)
@pytest.mark.parametrize("kind", ["text/plain", "application/json"])
async def test_no_answer_takes_much_memory(answer: bytes, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "LARGEST_ANSWER_BYTES", 100_000)
    async with raw_server(typed(kind, answer)) as server, slack_session() as session:
        tracemalloc.start()
        try:
            with pytest.raises(OutcomeUnknown, match="ClientPayloadError"):
                await identify(slack_client("xoxb", f"{server.url}/", session))
            with pytest.raises(OutcomeUnknown, match="ClientPayloadError"):
                await reply_to_response_url(session, NO_METRICS, server.url, Message("For you alone."))
            assert tracemalloc.get_traced_memory()[1] < MANY / 2
        finally:
            tracemalloc.stop()


async def test_a_compressed_answer_is_read() -> None:
    body = b'{"ok": true, "team_id": "T1", "user_id": "U1"}'
    answer = typed("application/json", coded("gzip", gzip.compress(body)))
    async with raw_server(answer) as server, slack_session() as session:
        assert (await identify(slack_client("xoxb", f"{server.url}/", session))).teams == ("T1",)
