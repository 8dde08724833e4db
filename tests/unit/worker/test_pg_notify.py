"""What one process tells, the others hear, as long as they can; what is lost is known to be lost."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import psycopg
import pytest

from bot.delivery.outcomes import CardOutcomes
from bot.domain.cards import CardFailure, CardId
from bot.domain.ports.worker import MessageBus
from bot.tasks import end
from bot.worker.pg import open_pool
from bot.worker.pg_notify import CHANNEL, MOST_WAITING, PgNotify
from tests.support.postgres import Cable
from tests.support.processes import until

CARD_ID = CardId("watch")


class Speaker:
    """A process that remembers what it has heard, and when it had to look for what it missed."""

    def __init__(self, relay: PgNotify, cable: Cable) -> None:
        self.relay = relay
        self.cable = cable
        self.heard: list[tuple[str, Mapping[str, str]]] = []
        self.looked = 0
        for topic in ("news", "weather"):
            relay.subscribe(topic, lambda words, topic=topic: self.heard.append((topic, words)))  # type: ignore[misc]
        relay.on_reconnect(self.look)

    def look(self) -> None:
        self.looked += 1


@asynccontextmanager
async def speaking(url: str) -> AsyncIterator[Speaker]:
    async with Cable(url).laid() as cable, open_pool(cable.url, within_seconds=0.5) as pool:
        speaker = Speaker(PgNotify(cable.url, pool), cable)
        running = asyncio.create_task(speaker.relay.run())
        try:
            await speaker.relay.listening.wait()
            yield speaker
        finally:
            await end([running])


@pytest.fixture
async def three(postgresql: str) -> AsyncIterator[list[Speaker]]:
    async with AsyncExitStack() as closing:
        yield [await closing.enter_async_context(speaking(postgresql)) for _ in range(3)]


async def test_message_reaches_all_but_its_sender(three: list[Speaker]) -> None:
    one, two, three_ = three
    bus: MessageBus = one.relay
    await bus.publish("news", job="one", person="Zoë “Ω”")
    await until(lambda: bool(two.heard and three_.heard))
    assert two.heard == three_.heard == [("news", {"job": "one", "person": "Zoë “Ω”"})]
    await asyncio.sleep(0.1)
    assert one.heard == []


async def test_messages_keep_their_order(three: list[Speaker]) -> None:
    one, two, _ = three
    for number in range(300):
        one.relay.publish("news" if number % 2 else "weather", number=str(number))
    await until(lambda: len(two.heard) == 300)
    assert [words["number"] for _, words in two.heard] == [str(number) for number in range(300)]


async def test_unknown_messages_are_ignored(three: list[Speaker], postgresql: str) -> None:
    one, two, _ = three
    await one.relay.publish("gossip", about="nothing")
    async with await psycopg.AsyncConnection.connect(
        postgresql.replace("+psycopg", ""), autocommit=True
    ) as stranger:
        for payload in ("", "?", "[]", "null", '"news"', "{}", json.dumps({"topic": "news"})):
            await stranger.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
    await one.relay.publish("news", job="one")
    await until(lambda: bool(two.heard))
    assert two.heard == [("news", {"job": "one"})]


async def test_failing_subscriber_loses_no_message(
    three: list[Speaker], capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, _ = three

    def breaks(words: Mapping[str, str]) -> None:
        raise ZeroDivisionError(words["job"])

    two.relay.subscribe("weather", breaks)
    one.relay.publish("weather", job="one")
    one.relay.publish("news", job="two")
    await until(lambda: bool(two.heard))
    assert two.heard == [("news", {"job": "two"})]
    assert "message not handled" in capsys.readouterr().out


async def test_reconnect_is_reported(three: list[Speaker]) -> None:
    one, two, _ = three
    assert two.looked == 1, "what was told before the start was missed, too"
    two.cable.cut()
    await until(lambda: not two.relay.listening.is_set())
    await one.relay.publish("news", job="missed")
    two.cable.mend()
    await until(two.relay.listening.is_set)
    assert two.looked == 2
    await one.relay.publish("news", job="heard")
    await until(lambda: bool(two.heard))
    assert two.heard == [("news", {"job": "heard"})]
    assert one.looked == 1


async def test_unsent_messages_are_dropped(three: list[Speaker], capsys: pytest.CaptureFixture[str]) -> None:
    one, two, _ = three
    one.cable.cut()
    async with asyncio.timeout(3.0):
        await one.relay.publish("news", job="lost")
    assert "messages lost" in capsys.readouterr().out
    one.cable.mend()

    async def told() -> bool:
        await one.relay.publish("news", job="sent")
        return bool(two.heard)

    async with asyncio.timeout(5.0):
        while not await told():
            pass
    assert two.heard[0] == ("news", {"job": "sent"})


async def test_outbox_is_bounded(postgresql: str) -> None:
    async with open_pool(postgresql) as pool:
        relay = PgNotify(postgresql, pool)
        sent = [relay.publish("news") for _ in range(MOST_WAITING + 1)]
        assert [number for number, each in enumerate(sent) if each.done()] == [MOST_WAITING]


async def test_outcome_reaches_another_process(three: list[Speaker]) -> None:
    one, two, _ = (CardOutcomes(each.relay) for each in three)
    with one.subscribe(CARD_ID) as waiting:
        two.resolve(CARD_ID, CardFailure.NO_SUCH_JOB)
        assert (await asyncio.wait_for(waiting, 1.0)).result is CardFailure.NO_SUCH_JOB
