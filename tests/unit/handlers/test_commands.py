"""What Slack sends is acknowledged first, handed to the desk as ids, and answered privately, once."""

import asyncio
from contextlib import suppress
from typing import Any, cast

import pytest

from bot.delivery.direct_messages import InterruptedRequest
from bot.domain.cards import CardId, ChannelId, ChannelRef, MessageTs, UserId
from bot.domain.errors import OutcomeUnknown, SlackBusy, SlackError, SlackUnreachable
from bot.rendering import replies
from bot.services.ask import AskRequest
from bot.services.follow import FollowService
from bot.services.intents import SavedRequest
from tests.support.slack_payloads import ADA, HERE, URL, Counter, click, slow_outcome

pytestmark = pytest.mark.looptime

CLICK = (CardId("watch"), HERE, MessageTs("1.1"), ADA)


async def test_resume_passes_card_channel_and_user() -> None:
    counter = Counter()
    await counter.resume()
    await counter.interactions.drain()
    assert counter.service.asked == [("resume", *CLICK)]
    assert counter.told == [(URL, "line")]


async def test_each_button_calls_its_service() -> None:
    counter = Counter()
    await counter.press(counter.handlers.on_stop_following, click(trigger_id="one"))
    await counter.press(counter.handlers.on_resume, click(trigger_id="other"))
    await counter.press(counter.handlers.on_show_data, click(trigger_id="third"))
    await counter.press(counter.handlers.on_show_steps, click(trigger_id="fourth"))
    await counter.press(counter.handlers.on_cancel, click(trigger_id="fifth"))
    await counter.press(counter.handlers.on_follow, click(trigger_id="sixth"))
    await counter.interactions.drain()
    asked = ["stop_following", "resume", "show_data", "show_steps", "cancel", "join"]
    assert counter.service.asked == [(name, *CLICK) for name in asked]


@pytest.mark.parametrize("option, asked", [("stop_following", "stop_following"), ("cancel_job", "cancel")])
async def test_menu_choice_acts_like_its_button(option: str, asked: str) -> None:
    counter = Counter()
    chosen = [{"type": "overflow", "selected_option": {"value": f"{option} watch"}}]
    await counter.press(counter.handlers.on_card_menu, click(actions=chosen))
    await counter.interactions.drain()
    assert counter.service.asked == [(asked, *CLICK)]


@pytest.mark.parametrize("value", ["", "watch", "follow watch", "delete_all watch", None])
async def test_unknown_menu_choice_does_nothing(value: str | None) -> None:
    counter = Counter()
    await counter.press(counter.handlers.on_card_menu, click(actions=[{"selected_option": {"value": value}}]))
    await counter.interactions.drain()
    assert counter.service.asked == [] and counter.told == [(URL, replies.nothing_to_show_here())]


async def test_duplicate_click_is_answered_once() -> None:
    counter = Counter()
    for trigger in ("one", "one", "two"):
        await counter.resume(trigger_id=trigger)
    await counter.interactions.drain()
    assert len(counter.service.asked) == len(counter.told) == 2
    assert len(counter.acknowledged_at) == 3


@pytest.mark.parametrize(
    "changed, asked",
    [
        ({"team": None}, CLICK),
        ({"team": {"id": "T0STRANGER"}}, CLICK),
        ({"container": None}, (CLICK[0], ChannelRef(HERE.team, ChannelId("")), MessageTs(""), ADA)),
        ({"actions": None}, (CardId(""), *CLICK[1:])),
        ({"actions": []}, (CardId(""), *CLICK[1:])),
        ({"user": None}, (*CLICK[:3], UserId(""))),
    ],
    ids=["no team", "a stranger's team", "no container", "no actions", "empty actions", "no user"],
)
async def test_incomplete_click_reaches_the_service(
    changed: dict[str, Any], asked: tuple[object, ...]
) -> None:
    counter = Counter()
    await counter.resume(**changed)
    await counter.interactions.drain()
    assert counter.service.asked == [("resume", *asked)]


async def test_defect_is_reported_to_the_user() -> None:
    counter = Counter()
    counter.service.answer = ZeroDivisionError("a defect")
    await counter.resume()
    await counter.interactions.drain()
    assert counter.told == [(URL, replies.broken())]


@pytest.mark.parametrize("refusal", [SlackBusy("ratelimited", 1.0), SlackUnreachable("no_connection")])
async def test_undelivered_reply_is_sent_once_more(refusal: Exception) -> None:
    counter = Counter()
    counter.refusals = [refusal]
    await counter.resume()
    await counter.interactions.drain()
    assert counter.told == [(URL, "line")]


@pytest.mark.parametrize("refusals", [[OutcomeUnknown("TimeoutError")], [SlackUnreachable("x")] * 2])
async def test_undeliverable_reply_is_dropped(refusals: list[Exception]) -> None:
    counter = Counter()
    counter.refusals = refusals
    await counter.resume()
    await counter.interactions.drain()
    assert counter.told == []


async def test_shutdown_is_reported_to_waiting_users() -> None:
    counter = Counter()
    await counter.resume()
    draining = asyncio.create_task(counter.interactions.drain())
    await asyncio.sleep(0.5)
    draining.cancel()
    await asyncio.gather(draining, return_exceptions=True)
    assert counter.told == [(URL, replies.restarting())]


@pytest.mark.parametrize("refusals, forgotten", [([], 1), ([SlackUnreachable("x")] * 2, 0)])
async def test_interrupted_request_is_deleted_once_reported(
    refusals: list[Exception], forgotten: int
) -> None:
    counter = Counter()
    counter.refusals = refusals
    forgot: list[str] = []

    async def forget() -> None:
        forgot.append(counter.told[-1][1])

    async def errand() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise InterruptedRequest(forget) from None

    counter.interactions.run(
        "one", errand(), counter.interactions.reply_to({"response_url": URL}, HERE, ADA), ADA
    )
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await counter.interactions.drain()
    assert forgot == [replies.restarting()] * forgotten


async def test_expired_response_url_falls_back_to_ephemeral() -> None:
    counter = Counter()
    counter.refusals = [SlackError("http_404")]
    await counter.resume()
    await counter.interactions.drain()
    assert counter.told == []
    assert counter.views.whispered == [(HERE, ADA, "line", None)]


async def test_unanswered_response_url_has_no_fallback() -> None:
    counter = Counter()
    counter.refusals = [OutcomeUnknown("TimeoutError")]
    await counter.resume()
    await counter.interactions.drain()
    assert counter.told == [] and counter.views.whispered == []


async def test_try_again_asks_the_buttons_value() -> None:
    counter = Counter()
    question = [{"value": "Top products?"}]
    for _ in range(2):
        await counter.accept(counter.handlers.on_try_again, click(actions=question, trigger_id="one"))
    await counter.accept(
        counter.handlers.on_try_again_privately, click(actions=question, trigger_id="another")
    )
    await counter.interactions.drain()
    assert counter.service.asked == [
        ("ask", AskRequest("Top products?", request_id="one"), HERE, ADA),
        ("ask", AskRequest("Top products?", private=True, request_id="another"), HERE, ADA),
    ]
    assert counter.told == [(URL, "line")] * 2


async def test_duplicate_is_acknowledged_only_once_saved() -> None:
    counter = Counter()
    listening = [
        asyncio.create_task(counter.accept(counter.handlers.on_retry, click(trigger_id="one")))
        for _ in range(2)
    ]
    await asyncio.sleep(0.5)
    assert counter.acknowledged_at == [], "the desk has not answered yet"
    await asyncio.gather(*listening)
    await counter.accept(counter.handlers.on_retry, click(trigger_id="one"))
    assert len(counter.acknowledged_at) == 3 and len(counter.service.asked) == 1


class Storing:
    """A desk that stores after so many seconds, or refuses."""

    def __init__(self, seconds: float, *, refuses: bool = False) -> None:
        self.seconds = seconds
        self.refuses = refuses

    async def follow(self, *_: object, request_id: str) -> SavedRequest | str:
        await asyncio.sleep(self.seconds)
        return replies.storage_down() if self.refuses else SavedRequest(slow_outcome)


COMMAND = {
    "text": "job",
    "user_id": ADA,
    "channel_id": HERE.id,
    "trigger_id": "one",
    "response_url": URL,
}


@pytest.mark.parametrize("seconds, acknowledged", [(0.5, 1), (2.5, 1), (2.9, 0)])
async def test_command_is_acknowledged_only_if_saved(seconds: float, acknowledged: int) -> None:
    counter = Counter()
    counter.handlers._follow_service = cast(FollowService, Storing(seconds))
    await counter.accept(counter.handlers.on_command, COMMAND)
    assert counter.acknowledged_at == [pytest.approx(seconds)] * acknowledged
    assert asyncio.get_running_loop().time() < 3.0, "until then Slack waits"


async def test_refused_command_is_answered_before_acknowledged() -> None:
    counter = Counter()
    counter.handlers._follow_service = cast(FollowService, Storing(0.5, refuses=True))
    counter.refusals = [SlackUnreachable("no_connection")]
    await counter.accept(counter.handlers.on_command, COMMAND)
    assert counter.told == [(URL, replies.storage_down())]
    assert counter.acknowledged_at == [pytest.approx(1.5)]


async def test_unanswered_refusal_is_not_acknowledged() -> None:
    counter = Counter()
    counter.handlers._follow_service = cast(FollowService, Storing(0.5, refuses=True))
    counter.refusals = [SlackUnreachable("no_connection")] * 2
    for _ in range(2):
        await counter.accept(counter.handlers.on_command, COMMAND)
        counter.refusals = []
    assert len(counter.acknowledged_at) == 1, "what comes again is served"


async def test_duplicate_retry_is_done_once() -> None:
    counter = Counter()
    for _ in range(2):
        await counter.accept(counter.handlers.on_retry, click())
    await counter.interactions.drain()
    assert counter.service.asked == [("retry", *CLICK, "trigger")]
