"""What is left of workspaces that have removed the app goes when its time has come, and nothing else does."""

from datetime import timedelta

import pytest

from bot.domain.cards import CardId, ChannelId, ChannelRef, TeamId, UserId
from bot.domain.questions import PendingQuestion, QuestionId
from bot.storage.cards import SqlCardRepository
from bot.storage.installations import delete_uninstalled
from bot.storage.questions import SqlQuestionLookup, SqlQuestionRepository
from bot.storage.transactions import Transactions
from tests.support.databases import ADA, NOON, Opened, new_card
from tests.support.installed import ACME, OTHER, installation, store

DAY = timedelta(days=1)


@pytest.fixture
async def transactions(database: Opened) -> Transactions:
    return await database.process()


async def followed(transactions: Transactions, team: TeamId, *, days_ago: float) -> CardId:
    """A running follow in a workspace, and a question."""
    place, name = ChannelRef(team, ChannelId("C0HERE")), f"{team} {days_ago}"
    asked_at = NOON - days_ago * DAY
    mine = await SqlCardRepository(transactions, team).add(
        new_card(place, ADA, name=name[:36], asked_at=asked_at)
    )
    await SqlQuestionRepository(transactions, team).begin(
        PendingQuestion(QuestionId(name), place, UserId(ADA), asked_at, asked_at)
    )
    return mine.id


async def is_there(transactions: Transactions, team: TeamId, name: CardId) -> tuple[bool, bool]:
    ask = await SqlQuestionLookup(transactions).get(team, QuestionId(name))
    return await SqlCardRepository(transactions, team).get(name) is not None, ask is not None


async def test_only_old_rows_without_app_are_deleted(
    transactions: Transactions,
) -> None:
    await store(transactions).async_save(installation(ACME))
    here = await followed(transactions, ACME, days_ago=40)
    left = await followed(transactions, OTHER, days_ago=40)
    assert await delete_uninstalled(transactions, NOON - 41 * DAY) == 0
    assert await delete_uninstalled(transactions, NOON - 30 * DAY) == 1
    assert await is_there(transactions, ACME, here) == (True, True)
    assert await is_there(transactions, OTHER, left) == (False, False)


async def test_recent_rows_wait_for_reinstallation(transactions: Transactions) -> None:
    lately = await followed(transactions, OTHER, days_ago=1)
    assert await delete_uninstalled(transactions, NOON - 30 * DAY) == 0
    assert await is_there(transactions, OTHER, lately) == (True, True)
