"""*Show data* and *Show steps*: posted once, to users who may see the job, in virtual time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bot.delivery.fallback import BlockSupport
from bot.delivery.posts import MessagePoster
from bot.domain.access import ContentPolicy
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
from bot.rendering import answer_replies, refusal_replies
from bot.rendering import replies as reply_texts
from bot.services.job_data import JobDataService
from bot.services.job_results import CACHED_SECONDS_INCOMPLETE, JobResults
from tests.support.fakes import (
    ADA,
    GRACE,
    HERE,
    START,
    FakeAccess,
    FakeCards,
    FakeOmni,
    FakeRemovals,
    FakeSlackMessages,
    a_card,
    a_job,
    now,
)

pytestmark = pytest.mark.looptime

TENANT = "https://acme.omniapp.co"
LINK = f"{TENANT}/chat/1"
BOT = UserId("U0BOT")
CARD = MessageTs("100.0")
CARD_ID = CardId("watch")
TOP = QueryData("Top products", "success", "Product,Revenue\nJeans,5\nBags,4")
STEPS = (Step("generate_query", "Looking", START), Step("summarize", "42", START))
RESULT = JobResult("orders", LINK, STEPS, (TOP,))


class World:
    """The service between fakes, and a card whose job is complete."""

    def __init__(self, result: JobResult = RESULT) -> None:
        self.omni = FakeOmni(a_job(JobState.COMPLETE, completed_at=START))
        self.finds(result)
        self.fake_slack = FakeSlackMessages()
        self.card_repository = FakeCards(replace(a_card(), message_ts=CARD, closed_at=START, ended=True))
        self.access = FakeAccess()
        self.content_policy = ContentPolicy()
        self.service = self.open()

    def open(self) -> JobDataService:
        return JobDataService(
            omni=self.omni,
            results=JobResults(self.omni, now),
            messages=self.fake_slack,
            cards=self.card_repository,
            removals=FakeRemovals(self.card_repository),
            now=now,
            poster=MessagePoster(self.fake_slack, self.card_repository, now, BlockSupport()),
            authorization=self.access,
            is_shared=self.access.is_shared,
            content_policy=self.content_policy,
            tenant=TENANT,
            bot_user=BOT,
        )

    def finds(self, result: JobResult) -> None:
        self.omni.found.clear()
        self.omni.found.append(result)

    async def data(
        self,
        card_id: CardId = CARD_ID,
        channel: ChannelRef = HERE,
        message_ts: MessageTs = CARD,
        user: UserId = ADA,
    ) -> str | None:
        return await self.service.show_data(card_id, channel, message_ts, user)

    async def steps(self) -> str | None:
        return await self.service.show_steps(CARD_ID, HERE, CARD, ADA)

    @property
    def replies(self) -> list[str]:
        assert all(
            (posted.place, posted.thread) == (HERE, CARD) for posted in self.fake_slack.posted.values()
        )
        return [posted.message.text for posted in self.fake_slack.posted.values()]

    @property
    def files(self) -> list[str]:
        assert all((file.place, file.thread) == (HERE, CARD) for file in self.fake_slack.uploaded)
        return [file.upload.name for file in self.fake_slack.uploaded]


async def test_data_is_a_table_and_a_file() -> None:
    world = World()
    assert await world.data() is None
    (text,) = world.replies
    assert text.startswith("Top products: 2 rows.")
    upload = world.fake_slack.uploaded[0].upload
    assert (upload.name, upload.title) == ("Top products.csv", "Top products")
    assert upload.content.decode("utf-8-sig") == '"Product","Revenue"\r\n"Jeans","5"\r\n"Bags","4"\r\n'


async def test_link_only_channel_gets_no_data() -> None:
    world = World()
    world.content_policy = ContentPolicy(link_only_channels=frozenset({HERE.id}))
    world.service = world.open()
    assert await world.data() == await world.steps() == reply_texts.not_shown_in_link_only()
    assert world.replies == world.files == [] and world.omni.looked == []


async def test_steps_are_one_message() -> None:
    world = World()
    assert await world.steps() is None
    assert len(world.replies) == 1 and "1. *Ran a query*" in world.replies[0]
    assert world.files == []


async def test_second_click_links_to_first_result() -> None:
    world = World()
    await world.data()
    for user in (ADA, GRACE):
        assert await world.data(user=user) == reply_texts.already_shown("https://example.slack.com/1.0")
    await world.steps()
    assert await world.steps() == reply_texts.already_shown("https://example.slack.com/2.0")
    assert (len(world.replies), len(world.files), len(world.omni.looked)) == (2, 1, 1)


async def test_concurrent_clicks_post_once() -> None:
    world = World()
    world.omni.delay_seconds = 1.0
    answers = await asyncio.gather(*(world.data() for _ in range(10)))
    assert answers.count(None) == 1
    assert (len(world.replies), len(world.files), len(world.omni.looked)) == (1, 1, 1)


async def test_deleted_result_is_posted_again() -> None:
    world = World()
    await world.data()
    world.fake_slack.posted.clear()
    assert await world.data() is None
    assert len(world.replies) == 1


async def test_restart_forgets_what_was_posted() -> None:
    world = World()
    await world.data()
    world.service = world.open()
    assert await world.data() is None
    assert len(world.replies) == 2


# Untrusted clicks


@pytest.mark.parametrize(
    "card_id, channel, message_ts",
    [
        (CardId("another"), HERE, CARD),
        (CARD_ID, ChannelRef(HERE.team, ChannelId("C0ELSE")), CARD),
        (CARD_ID, HERE, MessageTs("9.9")),
    ],
    ids=["other card", "other channel", "other message"],
)
async def test_forged_click_shows_nothing(
    card_id: CardId, channel: ChannelRef, message_ts: MessageTs
) -> None:
    world = World()
    assert await world.data(card_id, channel, message_ts) == reply_texts.nothing_to_show_here()
    assert world.fake_slack.calls == [] and world.omni.looked == [] and world.omni.asked == []


async def test_database_down_is_reported() -> None:
    world = World()
    world.card_repository.error = StoreUnavailable("away")
    assert await world.data() == reply_texts.storage_down()


# Omni has no result, or not yet


async def test_failed_job_has_nothing_to_show() -> None:
    world = World()
    world.omni.found[0] = JobNotFound("404")
    world.omni.answer = a_job(JobState.FAILED)
    assert await world.data() == reply_texts.not_fetched(JobNotFound("404"))


async def test_busy_omni_is_reported() -> None:
    world = World()
    world.omni.found[0] = OmniBusy("429")
    assert await world.steps() == reply_texts.omni_busy()


async def test_answer_without_rows_or_steps() -> None:
    world = World(JobResult(queries=(QueryData("q", "error"),)))
    assert await world.data() == reply_texts.nothing_found(True)
    assert await world.steps() == reply_texts.nothing_found(False)


async def test_late_rows_are_posted_when_they_arrive() -> None:
    pending = QueryData("Later", "pending")
    world = World(replace(RESULT, queries=(pending,)))
    assert await world.data() == reply_texts.data_pending()
    world.finds(replace(RESULT, queries=(TOP, pending)))
    await asyncio.sleep(CACHED_SECONDS_INCOMPLETE + 1)
    assert await world.data() == reply_texts.data_pending_in_part()
    world.finds(replace(RESULT, queries=(TOP, replace(TOP, name="Later"))))
    await asyncio.sleep(CACHED_SECONDS_INCOMPLETE + 1)
    assert await world.data() is None
    assert [text.split(":")[0] for text in world.replies] == ["Top products", "Later"]
    assert world.files == ["Top products.csv", "Later.csv"]


async def test_chart_block_only_without_omni_chart() -> None:
    for picture, drawn in ((None, True), (b"png", False)):
        world = World()
        world.omni.image = picture
        await world.data()
        (posted,) = world.fake_slack.posted.values()
        assert ("data_visualization" in str(posted.message.blocks)) is drawn


# Slack refuses or does not answer


async def test_refused_message_gets_a_plainer_variant() -> None:
    world = World()
    world.fake_slack.plan("post", PayloadRefused("invalid_blocks"), PayloadRefused("invalid_blocks"))
    assert await world.data() is None
    (posted,) = world.fake_slack.posted.values()
    assert [block["type"] for block in posted.message.blocks] == ["section", "section"]


async def test_closed_thread_gets_a_link_to_omni() -> None:
    world = World()
    world.fake_slack.closed.add(HERE)
    line = await world.data()
    assert line is not None and "I'm not in this channel" in line and f"<{LINK}|in Omni>" in line
    assert [name for _, name in world.fake_slack.calls] == ["post"]


@pytest.mark.parametrize(
    "error",
    [
        ScopeMissing("missing_scope"),
        NotAllowedHere("file_uploads_disabled"),
        PayloadRefused("file_upload_size_restricted"),
    ],
)
async def test_refused_upload_still_posts_the_table(
    error: SlackError,
) -> None:
    world = World(replace(RESULT, queries=(TOP, replace(TOP, name="Other"))))
    world.fake_slack.plan("upload", error)
    assert await world.data() == refusal_replies.no_files_here(LINK)
    assert (len(world.replies), world.files) == (2, [])
    assert len(world.fake_slack.times("upload")) == 1
    assert await world.data() is None, "uploads are allowed now: only the missing files are posted"
    assert (len(world.replies), len(world.files)) == (2, 2)


async def test_malformed_chat_link_is_not_shown() -> None:
    world = World(replace(RESULT, chat_url="https://ada@evil.example/chat/1"))
    world.fake_slack.closed.add(HERE)
    line = await world.data()
    assert line is not None and "in Omni" in line and "evil" not in line


@pytest.mark.parametrize("method", ["post", "upload"])
async def test_unconfirmed_post_is_not_repeated(method: str) -> None:
    world = World()
    world.fake_slack.plan(method, OutcomeUnknown("TimeoutError"), after_effect=True)
    assert await world.data() == reply_texts.unconfirmed_in_thread()
    await world.data()
    assert (len(world.replies), len(world.files)) == (1, 1)


@pytest.mark.parametrize("error", [SlackUnreachable("no_connection"), TokenRefused("token_revoked")])
@pytest.mark.parametrize("method", ["post", "upload"])
async def test_next_click_posts_what_failed(method: str, error: SlackError) -> None:
    world = World()
    world.fake_slack.plan(method, error)
    assert await world.data() == refusal_replies.slack_down(LINK)
    assert await world.data() is None
    assert (len(world.replies), len(world.files)) == (1, 1)


async def test_busy_slack_is_awaited_briefly() -> None:
    world = World()
    world.fake_slack.plan("post", SlackBusy("ratelimited", 7.0))
    assert await world.data() is None
    assert asyncio.get_running_loop().time() >= 7.0
    world.service = world.open()
    world.fake_slack.plan("post", *[SlackBusy("ratelimited", 7.0)] * 4)
    assert await world.data() == refusal_replies.slack_down(LINK)


async def test_posts_respect_the_channel_rate() -> None:
    world = World(replace(RESULT, queries=tuple(replace(TOP, name=f"{n}") for n in range(5))))
    assert await world.data() is None
    times = world.fake_slack.times("post")
    assert len(times) == 4 and times[-1] - times[0] >= 2.0


async def test_missing_permalink_is_left_out() -> None:
    world = World()
    await world.data()
    world.fake_slack.plan("permalink", SlackUnreachable("no_connection"))
    assert await world.data() == reply_texts.already_shown(None)


async def test_large_result_is_rendered_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    in_thread: list[str] = []

    async def to_thread(work: Callable[..., object], *args: object) -> object:
        in_thread.append(work.__name__)
        return work(*args)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    rows = "a\n" + "x,1\n" * 100_000
    world = World(replace(RESULT, queries=(replace(TOP, csv=rows),)))
    assert await world.data() is None
    assert in_thread == ["_data"]
    assert "the first 20 rows of 100,000" in str(next(iter(world.fake_slack.posted.values())).message.blocks)


@pytest.mark.parametrize("show", ["show_data", "show_steps"])
@pytest.mark.parametrize("why", ["user", "channel"])
async def test_data_are_shown_only_where_allowed(show: str, why: str) -> None:
    world = World()
    if why == "user":
        world.access.refused[ADA] = "No."
    else:
        world.access.shared = {HERE}
    reply = "No." if why == "user" else reply_texts.not_shown_where_shared()
    assert await getattr(world.service, show)(CARD_ID, HERE, CARD, ADA) == reply
    assert world.fake_slack.posted == {} and world.fake_slack.uploaded == []


@pytest.mark.parametrize("show", ["show_data", "show_steps"])
async def test_hidden_job_shows_nothing(show: str) -> None:
    world = World()
    world.access.owner_only = True
    world.access.hidden = {GRACE}
    assert await getattr(world.service, show)(CARD_ID, HERE, CARD, GRACE) == reply_texts.no_such_job()
    assert world.fake_slack.posted == {} and world.fake_slack.uploaded == []
    assert await getattr(world.service, show)(CARD_ID, HERE, CARD, ADA) is None


async def test_rate_limit_storage_down_is_reported() -> None:
    world = World()

    async def result(*_job: object, **_how: object) -> JobResult:
        raise StoreUnavailable("no budget")

    world.omni.result = result  # type: ignore[method-assign]
    assert await world.data() == reply_texts.storage_down()


async def test_removed_answer_shows_nothing() -> None:
    world = World()
    world.card_repository.rows[CARD_ID] = replace(world.card_repository.rows[CARD_ID], removed_by=ADA)
    assert await world.data() == answer_replies.removed_before()
    assert world.fake_slack.posted == {}


async def test_data_after_a_removal_are_taken_back() -> None:
    world = World()
    removals = FakeRemovals(world.card_repository)

    class RemovedMeanwhile(FakeSlackMessages):
        async def post(self, *where: Any, **more: Any) -> MessageTs:
            ts = await super().post(*where, **more)
            assert await removals.request(CARD_ID, ADA)
            return ts

    world.fake_slack = RemovedMeanwhile()
    world.service = world.open()
    assert await world.data() == answer_replies.removed_before()
    assert world.fake_slack.posted == {} and world.fake_slack.uploaded == []


async def test_posted_pieces_are_stored_for_a_removal() -> None:
    world = World()
    assert await world.data() is None
    stored = world.card_repository.threads[CARD_ID]
    assert {reply.ts for reply in stored.values()} == {
        *world.fake_slack.posted,
        *(MessageTs(file.id) for file in world.fake_slack.uploaded),
    }


async def test_refused_piece_is_forgotten() -> None:
    world = World()
    world.fake_slack.plan("upload", ScopeMissing("missing_scope"))
    await world.data()
    assert all(reply.ts is not None for reply in world.card_repository.threads[CARD_ID].values())
