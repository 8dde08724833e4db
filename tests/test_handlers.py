"""What Slack sends is acknowledged first, handed to the desk as ids, and answered privately, once."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import pytest
from slack_bolt.async_app import AsyncAck

from bot import lines
from bot.datadesk import DataDesk
from bot.desk import Desk
from bot.errors import BoardBusy, BoardUnreachable, Unanswered
from bot.handlers import Handlers
from bot.watch import ChannelId, Place, TeamId, Ts, UserId, WatchId

pytestmark = pytest.mark.looptime

TEAM = TeamId("T0ACME")
HERE = Place(TeamId("T0SENT"), ChannelId("C0HERE"))
ADA = UserId("U0ADA")
URL = "https://hooks.slack.com/actions/1"
CLICK = (WatchId("watch"), HERE, Ts("1.1"), ADA)


def click(**changed: Any) -> dict[str, Any]:
    """What Slack sends when somebody presses a button of a card."""
    body = {
        "team": {"id": HERE.team},
        "user": {"id": ADA},
        "container": {"channel_id": HERE.channel, "message_ts": "1.1"},
        "actions": [{"value": "watch"}],
        "trigger_id": "trigger",
        "response_url": URL,
    }
    return {name: value for name, value in (body | changed).items() if value is not None}


class RememberingDesk:
    """Remembers what it was asked, and answers after a while what the test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.answer: str | Exception | None = "line"

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, str | None]]:
        async def ask(*args: object) -> str | None:
            self.asked.append((name, *args))
            await asyncio.sleep(1.0)
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return ask


class Counter:
    """Handlers between a desk and a person, both of which remember."""

    def __init__(self) -> None:
        self.desk = RememberingDesk()
        self.told: list[tuple[str, str]] = []
        self.refusals: list[Exception] = []
        self.acknowledged_at: list[float] = []
        self.handlers = Handlers(cast(Desk, self.desk), cast(DataDesk, self.desk), self._whisper, TEAM)

    async def _whisper(self, response_url: str, line: str) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.told.append((response_url, line))

    async def press(self, listener: Callable[..., Awaitable[None]], body: dict[str, Any]) -> None:
        async def ack() -> None:
            self.acknowledged_at.append(asyncio.get_running_loop().time())

        await listener(cast(AsyncAck, ack), body)
        assert self.acknowledged_at[-1] == asyncio.get_running_loop().time(), "nothing is waited for"

    async def resume(self, **changed: Any) -> None:
        await self.press(self.handlers.on_resume, click(**changed))


async def test_resume_hands_the_desk_what_was_pressed_where_and_by_whom() -> None:
    counter = Counter()
    await counter.resume()
    await counter.handlers.drain()
    assert counter.desk.asked == [("resume", *CLICK)]
    assert counter.told == [(URL, "line")]


async def test_each_button_goes_to_its_own_errand() -> None:
    counter = Counter()
    await counter.press(counter.handlers.on_stop_following, click(trigger_id="one"))
    await counter.press(counter.handlers.on_resume, click(trigger_id="other"))
    await counter.press(counter.handlers.on_show_data, click(trigger_id="third"))
    await counter.press(counter.handlers.on_show_steps, click(trigger_id="fourth"))
    await counter.handlers.drain()
    asked = ["stop_following", "resume", "show_data", "show_steps"]
    assert counter.desk.asked == [(name, *CLICK) for name in asked]


async def test_a_click_that_slack_delivers_twice_is_answered_once() -> None:
    counter = Counter()
    for trigger in ("one", "one", "two"):
        await counter.resume(trigger_id=trigger)
    await counter.handlers.drain()
    assert len(counter.desk.asked) == len(counter.told) == 2
    assert len(counter.acknowledged_at) == 3


@pytest.mark.parametrize(
    "changed, asked",
    [
        ({"team": None}, (CLICK[0], Place(TEAM, HERE.channel), *CLICK[2:])),
        ({"container": None}, (CLICK[0], Place(HERE.team, ChannelId("")), Ts(""), ADA)),
        ({"actions": None}, (WatchId(""), *CLICK[1:])),
        ({"actions": []}, (WatchId(""), *CLICK[1:])),
        ({"user": None}, (*CLICK[:3], UserId(""))),
    ],
    ids=["no team", "no container", "no actions", "empty actions", "no user"],
)
async def test_a_click_that_lacks_something_is_still_the_desks_to_judge(
    changed: dict[str, Any], asked: tuple[object, ...]
) -> None:
    counter = Counter()
    await counter.resume(**changed)
    await counter.handlers.drain()
    assert counter.desk.asked == [("resume", *asked)]


async def test_a_defect_at_the_desk_is_told_as_one() -> None:
    counter = Counter()
    counter.desk.answer = ZeroDivisionError("a defect")
    await counter.resume()
    await counter.handlers.drain()
    assert counter.told == [(URL, lines.broken())]


@pytest.mark.parametrize("refusal", [BoardBusy("ratelimited", 1.0), BoardUnreachable("no_connection")])
async def test_a_line_that_was_certainly_not_told_is_told_once_more(refusal: Exception) -> None:
    counter = Counter()
    counter.refusals = [refusal]
    await counter.resume()
    await counter.handlers.drain()
    assert counter.told == [(URL, "line")]


@pytest.mark.parametrize("refusals", [[Unanswered("TimeoutError")], [BoardUnreachable("x")] * 2])
async def test_a_line_that_can_not_be_told_disturbs_nobody(refusals: list[Exception]) -> None:
    counter = Counter()
    counter.refusals = refusals
    await counter.resume()
    await counter.handlers.drain()
    assert counter.told == []


async def test_whoever_waits_when_the_bot_ends_is_told_so() -> None:
    counter = Counter()
    await counter.resume()
    draining = asyncio.create_task(counter.handlers.drain())
    await asyncio.sleep(0.5)
    draining.cancel()
    await asyncio.gather(draining, return_exceptions=True)
    assert counter.told == [(URL, lines.restarting())]
