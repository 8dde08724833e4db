"""The buttons under an answer, in virtual time: what is shown once, to whom, and what is told instead."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from bot.delivery.fallback import BlockSupport
from bot.delivery.posts import MessagePoster
from bot.domain.cards import CardId, ChannelId, ChannelRef, MessageTs, UserId
from bot.domain.errors import (
    JobNotFound,
    NotAllowedHere,
    OmniBusy,
    OutcomeUnknown,
    PayloadRefused,
    ScopeMissing,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    StoreUnavailable,
    TokenRefused,
)
from bot.domain.jobs import JobState
from bot.domain.results import JobResult, QueryData, Step
from bot.rendering import replies as replies_module
from bot.services.job_data import JobDataService
from bot.services.job_results import KEPT_SECONDS_UNFINISHED, JobResults
from tests.support.fakes import (
    ADA,
    GRACE,
    HERE,
    START,
    FakeAccess,
    FakeBoard,
    FakeOmni,
    FakeWatches,
    a_job,
    a_watch,
    now,
)

pytestmark = pytest.mark.looptime

TENANT = "https://acme.omniapp.co"
LINK = f"{TENANT}/chat/1"
BOT = UserId("U0BOT")
CARD = MessageTs("100.0")
WATCH = CardId("watch")
TOP = QueryData("Top products", "success", "Product,Revenue\nJeans,5\nBags,4")
STEPS = (Step("generate_query", "Looking", START), Step("summarize", "42", START))
RESULT = JobResult("orders", LINK, STEPS, (TOP,))


class Counter:
    """A data desk between fakes, and a card whose job is answered."""

    def __init__(self, result: JobResult = RESULT) -> None:
        self.omni = FakeOmni(a_job(JobState.COMPLETE, completed_at=START))
        self.finds(result)
        self.board = FakeBoard()
        self.watches = FakeWatches(replace(a_watch(), message_ts=CARD, closed_at=START, ended=True))
        self.access = FakeAccess()
        self.desk = self.open()

    def open(self) -> JobDataService:
        return JobDataService(
            omni=self.omni,
            results=JobResults(self.omni, now),
            messages=self.board,
            cards=self.watches,
            poster=MessagePoster(self.board, now, BlockSupport()),
            authorization=self.access,
            tenant=TENANT,
            bot_user=BOT,
        )

    def finds(self, result: JobResult) -> None:
        self.omni.found.clear()
        self.omni.found.append(result)

    async def data(
        self,
        card_id: CardId = WATCH,
        channel: ChannelRef = HERE,
        message_ts: MessageTs = CARD,
        user: UserId = ADA,
    ) -> str | None:
        return await self.desk.show_data(card_id, channel, message_ts, user)

    async def steps(self) -> str | None:
        return await self.desk.show_steps(WATCH, HERE, CARD, ADA)

    @property
    def replies(self) -> list[str]:
        assert all((posted.place, posted.thread) == (HERE, CARD) for posted in self.board.posted.values())
        return [posted.message.text for posted in self.board.posted.values()]

    @property
    def files(self) -> list[str]:
        assert all((file.place, file.thread) == (HERE, CARD) for file in self.board.uploaded)
        return [file.upload.name for file in self.board.uploaded]


async def test_data_comes_into_the_thread_as_a_table_and_a_file() -> None:
    counter = Counter()
    assert await counter.data() is None
    (text,) = counter.replies
    assert text.startswith("Top products: 2 rows.")
    upload = counter.board.uploaded[0].upload
    assert (upload.name, upload.title) == ("Top products.csv", "Top products")
    assert upload.content.decode("utf-8-sig") == '"Product","Revenue"\r\n"Jeans","5"\r\n"Bags","4"\r\n'


async def test_steps_come_into_the_thread_as_one_message() -> None:
    counter = Counter()
    assert await counter.steps() is None
    assert len(counter.replies) == 1 and "1. *Ran a query*" in counter.replies[0]
    assert counter.files == []


async def test_who_asks_again_is_led_to_what_is_there_and_omni_is_asked_once() -> None:
    counter = Counter()
    await counter.data()
    for person in (ADA, GRACE):
        assert await counter.data(user=person) == replies_module.already_shown(
            "https://example.slack.com/1.0"
        )
    await counter.steps()
    assert await counter.steps() == replies_module.already_shown("https://example.slack.com/2.0")
    assert (len(counter.replies), len(counter.files), len(counter.omni.looked)) == (2, 1, 1)


async def test_ten_who_press_at_once_are_shown_it_once() -> None:
    counter = Counter()
    counter.omni.delay_seconds = 1.0
    told = await asyncio.gather(*(counter.data() for _ in range(10)))
    assert told.count(None) == 1
    assert (len(counter.replies), len(counter.files), len(counter.omni.looked)) == (1, 1, 1)


async def test_what_somebody_deleted_is_shown_again() -> None:
    counter = Counter()
    await counter.data()
    counter.board.posted.clear()
    assert await counter.data() is None
    assert len(counter.replies) == 1


async def test_after_a_restart_it_is_not_known_what_was_shown() -> None:
    counter = Counter()
    await counter.data()
    counter.desk = counter.open()
    assert await counter.data() is None
    assert len(counter.replies) == 2


# A click that can't be believed


@pytest.mark.parametrize(
    "card_id, channel, message_ts",
    [
        (CardId("another"), HERE, CARD),
        (WATCH, ChannelRef(HERE.team, ChannelId("C0ELSE")), CARD),
        (WATCH, HERE, MessageTs("9.9")),
    ],
    ids=["another watch", "another place", "another card"],
)
async def test_a_click_that_does_not_fit_the_table_shows_nothing(
    card_id: CardId, channel: ChannelRef, message_ts: MessageTs
) -> None:
    counter = Counter()
    assert await counter.data(card_id, channel, message_ts) == replies_module.nothing_to_show_here()
    assert counter.board.calls == [] and counter.omni.looked == [] and counter.omni.asked == []


async def test_a_table_of_watches_that_is_away_is_told() -> None:
    counter = Counter()
    counter.watches.error = StoreUnavailable("away")
    assert await counter.data() == replies_module.storage_down()


# Omni has nothing, or not yet


async def test_a_job_that_did_not_end_complete_has_nothing_to_show() -> None:
    counter = Counter()
    counter.omni.found[0] = JobNotFound("404")
    counter.omni.answer = a_job(JobState.FAILED)
    assert await counter.data() == replies_module.not_fetched(JobNotFound("404"))


async def test_a_busy_omni_is_told() -> None:
    counter = Counter()
    counter.omni.found[0] = OmniBusy("429")
    assert await counter.steps() == replies_module.omni_busy()


async def test_an_answer_without_rows_or_steps_says_so() -> None:
    counter = Counter(JobResult(queries=(QueryData("q", "error"),)))
    assert await counter.data() == replies_module.nothing_found(True)
    assert await counter.steps() == replies_module.nothing_found(False)


async def test_rows_that_do_not_come_are_told_and_shown_once_they_are_there() -> None:
    pending = QueryData("Later", "pending")
    counter = Counter(replace(RESULT, queries=(pending,)))
    assert await counter.data() == replies_module.data_pending()
    counter.finds(replace(RESULT, queries=(TOP, pending)))
    await asyncio.sleep(KEPT_SECONDS_UNFINISHED + 1)
    assert await counter.data() == replies_module.data_pending_in_part()
    counter.finds(replace(RESULT, queries=(TOP, replace(TOP, name="Later"))))
    await asyncio.sleep(KEPT_SECONDS_UNFINISHED + 1)
    assert await counter.data() is None
    assert [text.split(":")[0] for text in counter.replies] == ["Top products", "Later"]
    assert counter.files == ["Top products.csv", "Later.csv"]


async def test_slack_draws_no_chart_where_omni_has_one() -> None:
    for picture, drawn in ((None, True), (b"png", False)):
        counter = Counter()
        counter.omni.image = picture
        await counter.data()
        (posted,) = counter.board.posted.values()
        assert ("data_visualization" in str(posted.message.blocks)) is drawn


# Slack refuses


async def test_a_form_that_slack_refuses_is_followed_by_a_plainer_one() -> None:
    counter = Counter()
    counter.board.plan("post", PayloadRefused("invalid_blocks"), PayloadRefused("invalid_blocks"))
    assert await counter.data() is None
    (posted,) = counter.board.posted.values()
    assert [block["type"] for block in posted.message.blocks] == ["section", "section"]


async def test_where_the_bot_is_no_member_one_private_line_leads_to_omni() -> None:
    counter = Counter()
    counter.board.closed.add(HERE)
    assert await counter.data() == replies_module.not_shown_here(BOT, LINK)
    assert f"<{LINK}|in Omni>" in replies_module.not_shown_here(BOT, LINK)
    assert [name for _, name in counter.board.calls] == ["post"]


@pytest.mark.parametrize(
    "error",
    [
        ScopeMissing("missing_scope"),
        NotAllowedHere("file_uploads_disabled"),
        PayloadRefused("file_upload_size_restricted"),
    ],
)
async def test_without_the_right_to_upload_the_table_is_there_and_one_line_says_what_is_not(
    error: SlackError,
) -> None:
    counter = Counter(replace(RESULT, queries=(TOP, replace(TOP, name="Other"))))
    counter.board.plan("upload", error)
    assert await counter.data() == replies_module.no_files_here(LINK)
    assert (len(counter.replies), counter.files) == (2, [])
    assert len(counter.board.times("upload")) == 1
    assert await counter.data() is None, "granted meanwhile: only what was missing comes"
    assert (len(counter.replies), len(counter.files)) == (2, 2)


async def test_a_link_that_is_not_the_tenants_is_not_told() -> None:
    counter = Counter(replace(RESULT, chat_url="https://evil.example/chat/1"))
    counter.board.closed.add(HERE)
    told = await counter.data()
    assert told == replies_module.not_shown_here(BOT, None) and "evil" not in told


@pytest.mark.parametrize("method", ["post", "upload"])
async def test_what_slack_did_not_answer_is_not_repeated_and_that_is_told(method: str) -> None:
    counter = Counter()
    counter.board.plan(method, OutcomeUnknown("TimeoutError"), after_effect=True)
    assert await counter.data() == replies_module.unconfirmed_in_thread()
    await counter.data()
    assert (len(counter.replies), len(counter.files)) == (1, 1)


@pytest.mark.parametrize("error", [SlackUnreachable("no_connection"), TokenRefused("token_revoked")])
@pytest.mark.parametrize("method", ["post", "upload"])
async def test_what_slack_certainly_did_not_take_is_shown_by_the_next_click(
    method: str, error: SlackError
) -> None:
    counter = Counter()
    counter.board.plan(method, error)
    assert await counter.data() == replies_module.slack_down(LINK)
    assert await counter.data() is None
    assert (len(counter.replies), len(counter.files)) == (1, 1)


async def test_a_busy_slack_is_waited_for_but_not_forever() -> None:
    counter = Counter()
    counter.board.plan("post", SlackBusy("ratelimited", 7.0))
    assert await counter.data() is None
    assert asyncio.get_running_loop().time() >= 7.0
    counter.desk = counter.open()
    counter.board.plan("post", *[SlackBusy("ratelimited", 7.0)] * 4)
    assert await counter.data() == replies_module.slack_down(LINK)


async def test_messages_take_turns_in_their_place() -> None:
    counter = Counter(replace(RESULT, queries=tuple(replace(TOP, name=f"{n}") for n in range(5))))
    assert await counter.data() is None
    times = counter.board.times("post")
    assert len(times) == 4 and times[-1] - times[0] >= 2.0


async def test_a_permalink_that_can_not_be_had_is_done_without() -> None:
    counter = Counter()
    await counter.data()
    counter.board.plan("permalink", SlackUnreachable("no_connection"))
    assert await counter.data() == replies_module.already_shown(None)


async def test_a_large_result_is_made_ready_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    aside: list[str] = []

    async def to_thread(work: Callable[..., object], *args: object) -> object:
        aside.append(work.__name__)
        return work(*args)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    rows = "a\n" + "x,1\n" * 100_000
    counter = Counter(replace(RESULT, queries=(replace(TOP, csv=rows),)))
    assert await counter.data() is None
    assert aside == ["_data"]
    assert "the first 20 rows of 100,000" in str(next(iter(counter.board.posted.values())).message.blocks)


@pytest.mark.parametrize("show", ["show_data", "show_steps"])
async def test_whose_job_it_is_not_is_shown_nothing_that_the_card_does_not_say(show: str) -> None:
    counter = Counter()
    counter.access.owner_only = True
    counter.access.hidden = {GRACE}
    assert await getattr(counter.desk, show)(WATCH, HERE, CARD, GRACE) == replies_module.no_such_job()
    assert counter.board.posted == {} and counter.board.uploaded == []
    assert await getattr(counter.desk, show)(WATCH, HERE, CARD, ADA) is None


async def test_a_budget_that_can_not_be_asked_is_told() -> None:
    counter = Counter()

    async def result(*_job: object, **_how: object) -> JobResult:
        raise StoreUnavailable("no budget")

    counter.omni.result = result  # type: ignore[method-assign]
    assert await counter.data() == replies_module.storage_down()
