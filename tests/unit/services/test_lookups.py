"""What Slack says of people and places is asked once for all who wait, until Slack answers. In virtual time."""

import asyncio

import pytest

from bot.domain.errors import (
    OutcomeUnknown,
    ScopeMissing,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    TokenRefused,
)
from bot.services.lookups import AT_ONCE, MOST_KNOWN, Lookups

pytestmark = pytest.mark.looptime

BUSY = SlackBusy("ratelimited", 20.0)


class Slack:
    """Answers after a second with a number that grows, or with the errors of a test first."""

    def __init__(self) -> None:
        self.errors: list[SlackError] = []
        self.asked: list[tuple[float, str]] = []
        self.under_way: dict[str, int] = {}
        self.most_under_way = 0
        self.most_of_one = 0

    async def ask(self, key: str) -> int:
        self.asked.append((asyncio.get_running_loop().time(), key))
        self.under_way[key] = self.under_way.get(key, 0) + 1
        self.most_of_one = max(self.most_of_one, self.under_way[key])
        self.most_under_way = max(self.most_under_way, sum(self.under_way.values()))
        try:
            await asyncio.sleep(1.0)
            if self.errors:
                raise self.errors.pop(0)
        finally:
            self.under_way[key] -= 1
        return len(self.asked)

    def times(self) -> list[float]:
        return [at for at, _ in self.asked]


async def get(lookups: Lookups[str, int], key: str = "ada", seconds: float = 60.0) -> int:
    return await lookups.get(key, known_for_seconds=seconds)


async def test_concurrent_lookups_share_one_request() -> None:
    slack = Slack()
    lookups = Lookups(slack.ask)
    assert await asyncio.gather(*(get(lookups) for _ in range(50))) == [1] * 50
    assert len(slack.asked) == 1


async def test_an_answer_counts_for_so_long() -> None:
    slack = Slack()
    lookups = Lookups(slack.ask)
    assert [await get(lookups), await get(lookups)] == [1, 1]
    await asyncio.sleep(5.0)
    assert await get(lookups, seconds=60.0) == 1
    assert await get(lookups, seconds=5.0) == 2


@pytest.mark.parametrize(
    "error",
    [BUSY, SlackUnreachable("no_connection"), OutcomeUnknown("http_500"), TokenRefused("token_revoked")],
)
async def test_no_answer_is_asked_for_again(error: SlackError) -> None:
    slack = Slack()
    slack.errors = [error, error]
    assert await get(Lookups(slack.ask)) == 3


async def test_a_refusal_is_not_remembered() -> None:
    slack = Slack()
    slack.errors = [ScopeMissing("missing_scope")]
    lookups = Lookups(slack.ask)
    with pytest.raises(ScopeMissing):
        await get(lookups)
    assert await get(lookups) == 2


async def test_429_holds_all_others_back() -> None:
    slack = Slack()
    slack.errors = [BUSY]
    lookups = Lookups(slack.ask)
    first = asyncio.create_task(get(lookups, "ada"))
    await asyncio.sleep(5.0)
    await get(lookups, "grace")
    await first
    assert slack.times() == pytest.approx([0.0, 21.0, 21.0])


async def test_few_requests_run_into_a_limit() -> None:
    slack = Slack()
    slack.errors = [BUSY] * AT_ONCE
    lookups = Lookups(slack.ask)
    await asyncio.gather(*(get(lookups, str(number)) for number in range(100)))
    assert len(slack.asked) == 100 + AT_ONCE
    assert slack.most_under_way == AT_ONCE


async def test_cancelled_lookup_leaves_others_their_turn() -> None:
    slack = Slack()
    slack.errors = [BUSY]
    lookups = Lookups(slack.ask)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3.0):
                await get(lookups)

    patient = asyncio.create_task(get(lookups))
    await asyncio.gather(*(impatient() for _ in range(10)))
    await patient
    assert slack.most_of_one == 1 and len(slack.asked) == 2


async def test_so_many_answers_are_remembered() -> None:
    async def ask(_key: str) -> int:
        return 1

    lookups = Lookups(ask)
    for number in range(MOST_KNOWN + 5):
        await get(lookups, str(number))
    assert len(lookups._known) == MOST_KNOWN
