"""Measure how long answers and results of 5 MB block the event loop, with five cards each.

    uv run python -m tests.benchmarks.lag [emoji data …]

Everything of the bot from Omni's body to the message for Slack, in real time, in one process; the database, Slack
and the network are fakes that cost nothing. A probe sleeps again and again, and notes for how long the loop did
not let it go on, and how much processor time the loop's thread used meanwhile: other work on the machine lengthens
the first, not the second.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from random import Random

import httpx

from bot.delivery.fallback import BlockSupport
from bot.delivery.posts import MessagePoster
from bot.domain.access import ContentPolicy
from bot.domain.cards import CardId, ChannelId, ChannelRef, MessageTs
from bot.domain.jobs import JobState
from bot.omni.client import OmniClient
from bot.ratelimit import Rate, RateLimiter
from bot.services.job_data import JobDataService
from bot.services.job_results import JobResults
from tests.support.ask_world import BOT, TENANT, AskWorld
from tests.support.fakes import (
    ADA,
    HERE,
    FakeAccess,
    FakeCards,
    FakeRemovals,
    FakeSlackMessages,
    FreeLedger,
    a_card,
    now,
)

SIZE = 5_000_000
"""Bytes, as JSON."""
PLACES = 5
PROBE_SECONDS = 0.002
LONGEST_RUN_SECONDS = 120.0
CHUNK_BYTES = 64 * 1024


def repeated(unit: str, before: str = "") -> str:
    """A text of SIZE bytes."""
    return before + unit * (SIZE // (len(json.dumps(unit, ensure_ascii=False).encode()) - 2))


ANSWERS = {
    "prose": repeated(
        "Sales rose by 4 % in **May**, see [the chart](https://acme.omniapp.co/x). " * 5 + "\n\n"
    ),
    "table": repeated("| Jeans & Co | 678,994.41 |\n", "| Product | Revenue |\n| --- | --- |\n"),
    "bullets": repeated("- one **two** three @here <!channel>\n"),
    "numbers": repeated("1. one\n"),
    "quotes": repeated("> " * 200 + "x\n"),
    "code": repeated("```\nselect 1\n```\n"),
    "references": repeated("[a]: https://x.y\n"),
    "images": repeated("!["),
    "one word": repeated("x"),
    "emoji": repeated("\U0001f469\u200d\U0001f469\u200d\U0001f467"),
    "mentions": repeated("&#60;!channel&#62; "),
    "blank lines": repeated("\n") + "x",
}


@dataclass(slots=True)
class Lag:
    """The longest time for which the loop did one thing."""

    wall_ms: float = 0.0
    processor_ms: float = 0.0


@asynccontextmanager
async def probe() -> AsyncIterator[Lag]:
    """Measure while the context is open."""
    lag = Lag()

    async def look() -> None:
        while True:
            wall, processor = time.perf_counter(), time.thread_time()
            await asyncio.sleep(PROBE_SECONDS)
            lag.wall_ms = max(lag.wall_ms, 1_000 * (time.perf_counter() - wall - PROBE_SECONDS))
            lag.processor_ms = max(lag.processor_ms, 1_000 * (time.thread_time() - processor))

    looking = asyncio.create_task(look())
    try:
        yield lag
    finally:
        await asyncio.sleep(2 * PROBE_SECONDS)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


@asynccontextmanager
async def omni_that_says(status: object, result: object = None) -> AsyncIterator[OmniClient]:
    """The bot's own Omni client; no network."""
    bodies = {False: json.dumps(status, ensure_ascii=False).encode(), True: json.dumps(result).encode()}

    def answered(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/vis"):
            return httpx.Response(404, content=_streamed(b'{"detail": "none", "status": 404}'))
        return httpx.Response(200, content=_streamed(bodies[request.url.path.endswith("/result")]))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answered), base_url=TENANT) as client:
        yield OmniClient(client, RateLimiter(FreeLedger(), "requests", Rate(0.01, 1.0)), Random(1))


async def _streamed(body: bytes) -> AsyncIterator[bytes]:
    """A body that the client can read as it comes, as over a socket."""
    for start in range(0, len(body), CHUNK_BYTES):
        yield body[start : start + CHUNK_BYTES]


async def of_nothing() -> Lag:
    """Measure the lateness of an idle loop."""
    async with probe() as lag:
        await asyncio.sleep(5.0)
    return lag


async def of_an_answer(answer: str) -> Lag:
    """Follow one job in five places until all of its answer is there."""
    stage = AskWorld(*[replace(a_card(str(number)), channel=_place(number)) for number in range(PLACES)])
    status = {"state": JobState.COMPLETE, "resultSummary": answer, "completedAt": now().isoformat()}
    async with omni_that_says(status) as omni:
        stage.omni = omni  # type: ignore[assignment]
        async with probe() as lag, stage.bot(), asyncio.timeout(LONGEST_RUN_SECONDS):
            while any(card.closed_at is None for card in stage.card_repository.rows.values()):
                await asyncio.sleep(0.1)
    assert len(stage.fake_slack.posted) >= PLACES
    return lag


async def of_a_result(*actions: object, show: Callable[[JobDataService], Awaitable[str | None]]) -> Lag:
    """Press a button under the answer of one job."""
    fake_slack = FakeSlackMessages()
    cards = FakeCards(replace(a_card("card"), message_ts=MessageTs("1.0"), ended=True))
    async with omni_that_says({"state": JobState.COMPLETE}, {"actions": actions}) as omni:
        service = JobDataService(
            omni=omni,
            results=JobResults(omni, now),
            messages=fake_slack,
            cards=cards,
            removals=FakeRemovals(cards),
            now=now,
            poster=MessagePoster(fake_slack, cards, now, BlockSupport()),
            authorization=FakeAccess(),
            is_shared=FakeAccess().is_shared,
            content_policy=ContentPolicy(),
            tenant=TENANT,
            bot_user=BOT,
        )
        async with probe() as lag:
            assert await show(service) is None
    return lag


def _place(number: int) -> ChannelRef:
    return ChannelRef(HERE.team, ChannelId(f"C{number}"))


def _show_data(service: JobDataService) -> Awaitable[str | None]:
    return service.show_data(CardId("card"), HERE, MessageTs("1.0"), ADA)


def _show_steps(service: JobDataService) -> Awaitable[str | None]:
    return service.show_steps(CardId("card"), HERE, MessageTs("1.0"), ADA)


async def main(chosen: Sequence[str]) -> None:
    """Print a line for each kind of text, or for those that are chosen."""
    rows = repeated("Jeans & Co,678994.41\n", "Product,Revenue\n")
    query = {"type": "generate_query", "result": {"queryName": "Top", "csvResult": rows}}
    long, short = (
        {"type": "inspect_model", "message": repeated("1. one\n")[:size]} for size in (125_000, 6_000)
    )
    runs = (
        {"nothing": of_nothing}
        | {name: partial(of_an_answer, answer) for name, answer in ANSWERS.items()}
        | {
            "data": partial(of_a_result, query, show=_show_data),
            "40 steps of 125,000": partial(of_a_result, *[long] * 40, show=_show_steps),
            "40 steps of 6,000": partial(of_a_result, *[short] * 40, show=_show_steps),
        }
    )
    print("longest hold of the event loop, ms   wall  processor")
    await of_an_answer("x")  # what is done only once
    for name in chosen or runs:
        lag = await runs[name]()
        print(f"{name:<34} {lag.wall_ms:6.0f}     {lag.processor_ms:6.0f}")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
