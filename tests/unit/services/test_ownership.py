"""A job stays with the person who asked for it or followed it first, whatever others type and press later."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from bot.domain.access import AccessPolicy
from bot.domain.cards import Card, CardId, ChannelId, ChannelRef, MessageTs, UserId
from bot.domain.jobs import JobState
from bot.domain.messages import Message
from bot.domain.ports.slack import SlackViews
from bot.domain.questions import ModelId, OmniUserId
from bot.handlers.background import InteractionRunner
from bot.handlers.commands import CommandHandlers
from bot.rendering import ask_replies, replies
from bot.services.ask import AskRequest
from bot.services.authorization import PolicyAuthorization
from bot.services.job_data import JobDataService
from bot.services.lookups import Lookups
from bot.user_limit import UserLimit
from tests.support.ask_world import CHAT, OLD_MODEL, AskWorld, Services, direct, said
from tests.support.fakes import (
    ADA,
    GRACE,
    HERE,
    JOB,
    START,
    FakeDirectory,
    FakeMembers,
    Posted,
    a_card,
    a_job,
    now,
)
from tests.support.fakes import said as told

pytestmark = pytest.mark.looptime

THERE = ChannelRef(HERE.team, ChannelId("C0THERE"))
MINE, CARD = CardId("watch"), MessageTs("100.0")
LINUS = UserId("U0LINUS")
OWNERS = {ADA: OmniUserId("a"), GRACE: OmniUserId("g")}

Ways = dict[str, Callable[[Services, AskWorld], Awaitable[object]]]


async def use_shortcut(services: Services, stage: AskWorld) -> None:
    """`Follow Omni job` in the menu of a message that names the job."""

    async def ignore(*_: object, **__: object) -> None:
        pass

    interactions = InteractionRunner(ignore, cast(SlackViews, None), stage.fake_slack)
    handlers = CommandHandlers(
        follow_service=services.follow,
        job_data_service=cast(JobDataService, None),
        ask_service=services.ask_service,
        cancel_service=services.cancel,
        interactions=interactions,
        team=HERE.team,
    )
    body: dict[str, Any] = {
        "team": {"id": HERE.team},
        "user": {"id": GRACE},
        "channel": {"id": HERE.id},
        "trigger_id": "trigger",
        "message": {"text": f"see {JOB}"},
        "response_url": "https://hooks.slack.com/x",
    }
    await handlers.on_follow_message(ignore, body)  # type: ignore[arg-type]
    await interactions.drain()


COMES: Ways = {
    "here": lambda services, _: services.follow.follow(JOB, HERE, GRACE),
    "elsewhere": lambda services, _: services.follow.follow(JOB, THERE, GRACE),
    "privately": lambda services, _: services.follow.follow(f"{JOB} private", HERE, GRACE),
    "by shortcut": use_shortcut,
    "by resume": lambda services, _: services.follow.resume(MINE, HERE, CARD, GRACE),
}
RUNNING: dict[str, dict[str, Any]] = {
    "followed": {},
    "just left": {"followers": ()},
    "left": {"followers": (), "closed_at": START},
    "rested": {"closed_at": START, "shown_fingerprint": "rested"},
    "lost": {
        "closed_at": START,
        "completion_reply_started_at": START,
        "completion_reply_ts": MessageTs("101.0"),
    },
}


def adas_job(state: JobState = JobState.EXECUTING, **more: object) -> AskWorld:
    """A job that Ada followed first, with its card."""
    card = replace(a_card(), message_ts=CARD, **more)  # type: ignore[arg-type]
    stage = AskWorld(card)
    stage.fake_slack.posted[CARD] = Posted(HERE, Message("the card"), "watch/1", None)
    stage.omni.says(JOB, state, conversation=CHAT, model=OLD_MODEL)
    stage.access.only_requesters = True
    return stage


async def cancel(services: Services, card: Card, user: UserId) -> str:
    return said(await services.cancel.cancel(card.id, card.channel, card.message_ts or MessageTs(""), user))


@pytest.mark.parametrize("way", COMES)
@pytest.mark.parametrize("before", RUNNING)
async def test_later_follower_cannot_cancel(before: str, way: str) -> None:
    stage = adas_job(**RUNNING[before])
    async with stage.bot() as services:
        await asyncio.sleep(5)
        await COMES[way](services, stage)
        await asyncio.sleep(10)
        cards = stage.card_repository.rows
        theirs = [card for card in cards.values() if GRACE in card.followers]
        assert len(theirs) == 1
        for card in cards.values():
            assert await cancel(services, card, GRACE) == replies.not_yours()
        assert stage.asking.cancelled == [] and cards[MINE].requester == ADA
        if theirs[0].id == MINE:
            assert f"Followed by <@{ADA}>, also followed by" in str(
                stage.fake_slack.posted[CARD].message.blocks
            )
        assert await cancel(services, cards[MINE], ADA) == ask_replies.cancelled()


@pytest.mark.parametrize("way", [way for way in COMES if way != "by resume"])
@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
async def test_later_follower_cannot_retry(state: JobState, way: str) -> None:
    stage = adas_job(state, closed_at=START, ended=True, outcome=state)
    async with stage.bot() as services:
        await asyncio.sleep(5)
        await COMES[way](services, stage)
        await asyncio.sleep(10)
        for card in list(stage.card_repository.rows.values()):
            line = await services.ask.retry(card.id, card.channel, card.message_ts, GRACE)
            assert said(line) == replies.not_yours()
        assert stage.asking.submitted == []
        (listed,) = await stage.card_repository.ended_cards(HERE.team, ADA, 9)
        assert listed.id == MINE, "her Home tab keeps it"
        assert await services.ask.retry(MINE, HERE, CARD, ADA) is None
    assert len(stage.asking.submitted) == 1


@pytest.mark.parametrize("is_card_gone", [False, True])
async def test_asked_job_stays_with_asker(is_card_gone: bool) -> None:
    stage = AskWorld()
    stage.access.only_requesters = True
    async with stage.bot() as services:
        await services.ask.ask(AskRequest("Top products?", ModelId(OLD_MODEL)), HERE, ADA)
        await asyncio.sleep(5)
        (hers,) = stage.card_repository.rows.values()
        if is_card_gone:
            await stage.card_repository.remove(hers)
        await services.follow.follow(f"{JOB} private", HERE, GRACE)
        await asyncio.sleep(5)
        (his,) = [card for card in stage.card_repository.rows.values() if card.channel == direct(GRACE)]
        assert await cancel(services, his, GRACE) == replies.not_yours()
        assert stage.asking.cancelled == []
        # Somebody who may act presses the button of any card of the job.
        assert await cancel(services, his, ADA) == ask_replies.cancelled()


async def test_moved_card_stays_with_first_follower() -> None:
    stage = adas_job(followers=(GRACE,))
    stage.access.shared = {HERE}
    async with stage.bot() as services:
        await asyncio.sleep(1)
        await services.follow.follow(f"{JOB} private", HERE, GRACE)
        await asyncio.sleep(5)
        stage.omni.says(JOB, JobState.FAILED, conversation=CHAT, model=OLD_MODEL)
        await asyncio.sleep(30)
        (his,) = [card for card in stage.card_repository.rows.values() if GRACE in card.followers]
        assert (his.channel, his.requester) == (direct(GRACE), ADA)
        line = await services.ask.retry(his.id, his.channel, his.message_ts, GRACE)
    assert said(line) == replies.not_yours()


def with_owners(stage: AskWorld, **rules: object) -> None:
    """Let each job be shown only to its owner in Omni; this one is Ada's."""

    class Users(FakeMembers):
        async def omni_user(self, user: UserId) -> OmniUserId | None:
            return OWNERS.get(user)

    directory = FakeDirectory()
    keeper = PolicyAuthorization(
        AccessPolicy(only_owners=True, **rules),  # type: ignore[arg-type]
        people=Lookups(directory.user),
        omni=stage.omni,
        identities=Users(),
        cards=stage.card_repository,
        questions=stage.questions,
        now=now,
        user_limit=UserLimit(1_000),
    )
    stage.access = keeper  # type: ignore[assignment]
    stage.omni.jobs[JOB] = replace(cast(Any, stage.omni.jobs[JOB]), user=OWNERS[ADA])


@pytest.mark.parametrize("before", RUNNING)
async def test_owners_job_is_closed_to_others(before: str) -> None:
    stage = adas_job(**RUNNING[before])
    with_owners(stage)
    async with stage.bot() as services:
        await asyncio.sleep(5)
        kept = stage.card_repository.rows.get(MINE)
        for way in ("here", "elsewhere", "privately", "by resume"):
            line = await COMES[way](services, stage)
            assert told(line) == replies.no_such_job()  # type: ignore[arg-type]
        assert said(await services.ask.retry(MINE, HERE, CARD, GRACE)) == replies.not_yours()
        follow_up = await services.ask.follow_up(AskRequest("And?", request_id="x"), MINE, HERE, CARD, GRACE)
        assert said(follow_up) == replies.no_such_job()
        assert said(await services.cancel.cancel(MINE, HERE, CARD, GRACE)) == replies.not_yours()
        assert stage.card_repository.rows == {MINE: kept}
    assert stage.asking.submitted == [] and stage.asking.cancelled == []


async def test_admin_acts_but_takes_nothing() -> None:
    stage = adas_job(followers=(), closed_at=START)
    with_owners(stage, admins=frozenset({LINUS}))
    async with stage.bot() as services:
        await services.follow.follow(JOB, HERE, LINUS)
        await asyncio.sleep(5)
        assert await cancel(services, stage.card_repository.rows[MINE], LINUS) == ask_replies.cancelled()
        kept = stage.card_repository.rows[MINE]
    assert (kept.requester, kept.followers) == (ADA, (LINUS,))
    assert stage.omni.jobs[JOB] == replace(a_job(), conversation=CHAT, model=OLD_MODEL, user=OWNERS[ADA])
