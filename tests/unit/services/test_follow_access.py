"""Who may follow what, and where the card of it goes: in virtual time."""

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from bot.domain.access import ConversationInfo
from bot.domain.cards import Card, CardId, ChannelRef, MessageTs, UserId
from bot.domain.errors import (
    NotAllowedHere,
    OmniBusy,
    OmniError,
    Refused,
    ScopeMissing,
    SlackBusy,
    SlackError,
    SlackUnreachable,
)
from bot.domain.jobs import JobState
from bot.domain.messages import Message
from bot.rendering import refusal_replies, replies
from bot.services.targets import has_private_flag, parse_private_flag
from tests.support.fakes import ADA, GRACE, HERE, JOB, a_card, a_job, said
from tests.support.tracking import Stage, a_follow_service, direct

pytestmark = pytest.mark.looptime

BOT = UserId("U0BOT")
SECRET = "The secret answer."
CARD = MessageTs("1.0")


async def follow(stage: Stage, text: str = str(JOB), user: UserId = ADA, channel: ChannelRef = HERE) -> str:
    async with stage.bot() as runner:
        line = await a_follow_service(stage, runner.start).follow(text, channel, user)
        await asyncio.sleep(60)
    return said(line)


def asks_omni(stage: Stage) -> bool:
    return bool(stage.omni.asked)


@pytest.mark.parametrize("why", ["refused", "limited"])
async def test_whoever_may_not_follow_is_told_so_and_nothing_is_begun(why: str) -> None:
    stage = Stage(a_job())
    getattr(stage.access, why)[ADA] = "No."
    assert await follow(stage) == "No."
    assert stage.card_repository.rows == {} and stage.fake_slack.posted == {} and not asks_omni(stage)


async def test_job_of_another_user_is_not_followed() -> None:
    stage = Stage(a_job())
    stage.access.owner_only = True
    stage.access.hidden = {ADA}
    assert await follow(stage) == replies.no_such_job()
    assert stage.card_repository.rows == {} and stage.fake_slack.posted == {}


@pytest.mark.parametrize("judged, line", [(True, replies.no_such_job()), (False, replies.chat_without_job())])
async def test_a_chat_without_a_job_is_told_of_only_where_everybody_may_see_every_job(
    judged: bool, line: str
) -> None:
    stage = Stage(a_job())
    stage.access.owner_only = judged

    async def newest_job(_conversation: object) -> None:
        return None

    stage.omni.newest_job = newest_job  # type: ignore[method-assign]
    assert await follow(stage, "https://acme.omniapp.co/chat/0b9d3f3e-6c1f-4b53-9f6f-2f1f1f6a0c11") == line


async def test_ones_own_job_is_followed_and_joined_by_nobody_whose_it_is_not() -> None:
    stage = Stage(a_job())
    stage.access.owner_only = True
    stage.access.hidden = {GRACE}
    async with stage.bot() as runner:
        service = a_follow_service(stage, runner.start)
        assert await service.follow(str(JOB), HERE, ADA) is None
        assert said(await service.follow(str(JOB), HERE, GRACE)) == replies.no_such_job()
    (card,) = stage.card_repository.rows.values()
    assert card.followers == (ADA,)


async def test_user_without_access_can_stop_but_not_resume() -> None:
    stage = Stage(a_job(), replace(a_card(), message_ts=CARD))
    stage.access.refused[ADA] = "No."
    async with stage.bot() as runner:
        service = a_follow_service(stage, runner.start)
        assert await service.resume(a_card().id, HERE, CARD, ADA) == "No."
        assert await service.stop_following(a_card().id, HERE, CARD, ADA) == replies.unfollowed(0)


POSTED = replace(a_card(), message_ts=CARD)


@pytest.mark.parametrize("why", ["refused", "not theirs"])
async def test_follow_button_needs_access(why: str) -> None:
    stage = Stage(a_job(), POSTED)
    if why == "refused":
        stage.access.refused[GRACE] = "No."
    else:
        stage.access.owner_only, stage.access.hidden = True, {GRACE}
    async with stage.bot() as runner:
        line = await a_follow_service(stage, runner.start).join(POSTED.id, HERE, CARD, GRACE)
    assert line == ("No." if why == "refused" else replies.no_such_job())
    assert stage.card_repository.rows[POSTED.id].followers == (ADA,)


async def test_follow_button_adds_a_user_once() -> None:
    stage = Stage(a_job(), POSTED)
    async with stage.bot() as runner:
        service = a_follow_service(stage, runner.start)
        with capture_logs() as logs:
            lines = [await service.join(POSTED.id, HERE, CARD, GRACE) for _ in range(2)]
        await asyncio.sleep(60)
    assert lines == [replies.joined(), replies.followed_before()]
    assert stage.card_repository.rows[POSTED.id].followers == (ADA, GRACE)
    assert stage.card_repository.rows[POSTED.id].requester == ADA
    assert [line["outcome"] for line in logs if line["event"] == "audit"] == ["followed"]


@pytest.mark.parametrize(
    "card, ts, line",
    [
        (replace(POSTED, ended=True), CARD, replies.too_late_to_follow()),
        (POSTED, MessageTs("2.0"), replies.nothing_to_show_here()),
        (replace(POSTED, id=CardId("another")), CARD, replies.nothing_to_show_here()),
    ],
    ids=["ended", "another message", "unknown id"],
)
async def test_follow_button_of_no_running_card(card: Card, ts: MessageTs, line: str) -> None:
    stage = Stage(a_job(), card)
    async with stage.bot() as runner:
        assert await a_follow_service(stage, runner.start).join(POSTED.id, HERE, ts, GRACE) == line
        assert stage.card_repository.rows[card.id].followers == (ADA,)


@pytest.mark.parametrize(
    "error, line",
    [
        (Refused(replies.identity_unavailable()), replies.identity_unavailable()),
        (OmniBusy(), replies.omni_busy()),
        (OmniError(), replies.omni_down()),
    ],
)
async def test_where_nobody_can_tell_whose_a_job_is_nothing_is_begun(error: Exception, line: str) -> None:
    stage = Stage(a_job())
    stage.access.owner_only = True
    stage.access.error = error
    assert await follow(stage) == line
    assert stage.card_repository.rows == {} and stage.fake_slack.posted == {}


async def test_omni_is_asked_nothing_more_where_everybody_may_see_every_job() -> None:
    stage = Stage(OmniBusy())
    await follow(stage)
    assert len(stage.card_repository.rows) == 1, (
        "a job that Omni does not tell of right now is followed all the same"
    )


@pytest.mark.parametrize("text", [f"{JOB} private", f"`{JOB}`  Private "])
async def test_a_private_card_is_in_direct_messages_and_a_line_says_where(text: str) -> None:
    stage = Stage(a_job())
    line = await follow(stage, text)
    assert line == replies.sent_privately("https://example.slack.com/1.0")
    assert stage.shown() == [] and len(stage.shown(direct(ADA))) == 1


async def test_a_private_card_that_was_asked_for_in_direct_messages_needs_no_line() -> None:
    stage = Stage(a_job())
    assert await follow(stage, f"{JOB} private", channel=direct(ADA)) == ""


async def test_in_a_shared_channel_the_card_goes_to_direct_messages_and_a_line_says_why() -> None:
    stage = Stage(a_job(JobState.COMPLETE, answer=SECRET))
    stage.access.shared = {HERE}
    line = await follow(stage)
    assert line == replies.kept_private("https://example.slack.com/1.0")
    assert stage.shown() == []
    assert SECRET in stage.shown(direct(ADA))[0]


@pytest.mark.parametrize(
    "error, line",
    [
        (NotAllowedHere("user_disabled"), refusal_replies.no_direct_messages("user_disabled")),
        (ScopeMissing("missing_scope"), refusal_replies.no_direct_messages("missing_scope")),
        (SlackBusy("ratelimited", 3.0), replies.slack_busy()),
        (SlackUnreachable("no_connection"), replies.slack_busy()),
    ],
)
async def test_where_there_are_no_direct_messages_nothing_is_begun(error: Exception, line: str) -> None:
    stage = Stage(a_job())
    stage.fake_slack.plan("direct", error)  # type: ignore[arg-type]
    assert await follow(stage, f"{JOB} private") == line
    assert stage.card_repository.rows == {}


async def test_a_channel_that_was_shared_meanwhile_never_gets_the_answer() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(20)
        stage.directory.venues[HERE] = ConversationInfo(is_shared=True)
        stage.says(JobState.COMPLETE, answer=SECRET)
        await asyncio.sleep(60)
    (card,) = stage.fake_slack.top_level()
    assert not any(SECRET in str(message) for _, message in card.edits)
    assert "not shown here" in card.message.text
    assert stage.told() == []
    assert SECRET in stage.shown(direct(ADA))[0]
    assert stage.all_closed()


async def test_whose_card_was_moved_is_still_who_asked_first() -> None:
    stage = Stage(a_job(JobState.COMPLETE, answer=SECRET), replace(a_card(), followers=(ADA, GRACE)))
    stage.directory.venues[HERE] = ConversationInfo(is_shared=True)
    async with stage.bot():
        await asyncio.sleep(60)
    moved = {card.channel: card for card in stage.card_repository.rows.values()}
    assert {place: card.requester for place, card in moved.items()} == {
        direct(ADA): ADA,
        direct(GRACE): ADA,
    }


async def test_a_card_that_is_late_in_a_channel_that_was_shared_meanwhile_goes_to_direct_messages() -> None:
    stage = Stage(a_job(JobState.COMPLETE, answer=SECRET), a_card())
    stage.directory.venues[HERE] = ConversationInfo(is_shared=True)
    async with stage.bot():
        await asyncio.sleep(60)
    assert stage.shown() == [] and SECRET in stage.shown(direct(ADA))[0]


@pytest.mark.parametrize("error", [SlackBusy("ratelimited", 3.0), SlackUnreachable("no_connection")])
async def test_a_follow_in_a_shared_channel_survives_a_slack_that_is_busy(error: SlackError) -> None:
    stage = Stage(a_job())
    stage.access.shared = {HERE}
    stage.directory.venues[HERE] = ConversationInfo(is_shared=True)
    stage.fake_slack.plan("direct", error)
    line = await follow(stage)
    assert line == replies.kept_private(None)
    assert stage.shown() == [] and len(stage.shown(direct(ADA))) == 1


async def test_an_edit_that_comes_after_the_end_was_withheld_is_undone() -> None:
    """Of a process that was paused over it; what it showed is overtaken, and nobody follows the job there any more."""
    stage = Stage(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(20)
        stage.directory.venues[HERE] = ConversationInfo(is_shared=True)
        stage.says(JobState.COMPLETE, answer=SECRET)
        await asyncio.sleep(200)
        (card,) = stage.fake_slack.top_level()
        assert "not shown here" in card.message.text
        await stage.fake_slack.update(HERE, CARD, Message("Omni is working on it"))
        await stage.card_repository.mark_stale(a_card().id, CARD)
        await runner.start_missing(await stage.card_repository.open_jobs())
        await asyncio.sleep(20)
    assert "no longer follows" in card.message.text and "goes on" not in card.message.text
    assert SECRET not in f"{card.message}"
    assert stage.all_closed()


async def test_an_answer_waits_for_slack_to_say_who_reads_along() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(20)
        stage.directory.errors = [SlackUnreachable("no_connection"), SlackBusy("ratelimited", 20.0)]
        stage.says(JobState.COMPLETE, answer=SECRET)
        await asyncio.sleep(10)
        assert SECRET not in stage.shown()[0]
        await asyncio.sleep(60)
    assert SECRET in stage.shown()[0], "a moment's silence makes no channel shared"


async def test_every_follow_leaves_a_line_in_the_audit_trail() -> None:
    stage = Stage(a_job())
    with capture_logs() as logs:
        await follow(stage)
    (line,) = [line for line in logs if line["event"] == "audit"]
    assert (line["act"], line["user"], line["channel"], line["job"]) == ("follow", ADA, HERE.id, JOB)
    assert line["outcome"] == "followed"


@pytest.mark.parametrize(
    "text, split",
    [
        ("550e private", ("550e", True)),
        ("550e PRIVATE ", ("550e", True)),
        ("private", ("private", False)),
        ("550e privately", ("550e privately", False)),
        ("", ("", False)),
    ],
)
def test_private_is_the_last_word_of_several(text: str, split: tuple[str, bool]) -> None:
    assert parse_private_flag(text) == split


@pytest.mark.parametrize(
    "text, private",
    [
        ("550e private", True),
        ("Private 550e", True),
        ("`550e` private.", True),
        ("550e privately", False),
        ("550e", False),
    ],
)
def test_private_is_any_word_with_an_id(text: str, private: bool) -> None:
    assert has_private_flag(text) is private
