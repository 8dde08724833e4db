"""What is left of workspaces that have removed the app goes when its time has come, and nothing else does."""

from datetime import timedelta

import pytest

from bot.domain.cards import ChannelId, Place, TeamId, UserId, WatchId
from bot.domain.questions import Ask, AskId
from bot.storage.cards import Store
from bot.storage.questions import AllAsks, StoredAsks
from bot.storage.retention import forget_left
from bot.storage.transactions import Transactions
from tests.support.databases import ADA, NOON, Opened, watch
from tests.support.installed import ACME, OTHER, installation, store

DAY = timedelta(days=1)


@pytest.fixture
async def transactions(database: Opened) -> Transactions:
    return await database.process()


async def followed(transactions: Transactions, team: TeamId, *, days_ago: float) -> WatchId:
    """A running follow in a workspace, and a question."""
    place, name = Place(team, ChannelId("C0HERE")), f"{team} {days_ago}"
    asked_at = NOON - days_ago * DAY
    mine = await Store(transactions, team).add(watch(place, ADA, name=name[:36], asked_at=asked_at))
    await StoredAsks(transactions, team).begin(Ask(AskId(name), place, UserId(ADA), asked_at, asked_at))
    return mine.id


async def is_there(transactions: Transactions, team: TeamId, name: WatchId) -> tuple[bool, bool]:
    ask = await AllAsks(transactions).get(team, AskId(name))
    return await Store(transactions, team).get(name) is not None, ask is not None


async def test_only_what_is_old_and_of_a_workspace_without_the_app_is_forgotten(
    transactions: Transactions,
) -> None:
    await store(transactions).async_save(installation(ACME))
    here = await followed(transactions, ACME, days_ago=40)
    left = await followed(transactions, OTHER, days_ago=40)
    assert await forget_left(transactions, NOON - 41 * DAY) == 0
    assert await forget_left(transactions, NOON - 30 * DAY) == 1
    assert await is_there(transactions, ACME, here) == (True, True)
    assert await is_there(transactions, OTHER, left) == (False, False)


async def test_what_was_asked_for_lately_waits_for_the_app_to_come_back(transactions: Transactions) -> None:
    lately = await followed(transactions, OTHER, days_ago=1)
    assert await forget_left(transactions, NOON - 30 * DAY) == 0
    assert await is_there(transactions, OTHER, lately) == (True, True)
